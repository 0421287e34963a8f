# SPDX-License-Identifier: GPL-2.0-or-later
"""How long work tells what it is doing: a protocol, and the listener that says nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Stage:
    """One step on the way to the verdicts, and how long it took."""

    name: str
    seconds: float


class Progress(Protocol):
    """Where a long job says how far it is; calls come from the thread that works."""

    def stage(self, text: str) -> None:
        """A new step begins; ``text`` is a short present participle ("unpacking linux-source-6.12")."""

    def advance(self, done: int, total: int | None, text: str) -> None:
        """``done`` of ``total`` units of the step are done (None: unknown); ``text`` names the current one."""

    def stages(self) -> tuple[Stage, ...]:
        """Every stage so far with its time, of a listener that keeps it; else nothing."""


class SilentProgress:
    """Says nothing, and keeps nothing."""

    def stage(self, text: str) -> None:
        pass

    def advance(self, done: int, total: int | None, text: str) -> None:
        pass

    def stages(self) -> tuple[Stage, ...]:
        return ()


SILENT: Progress = SilentProgress()
