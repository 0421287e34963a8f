# SPDX-License-Identifier: GPL-2.0-or-later
"""How long work tells what it is doing: a two-method protocol, and the listener that says nothing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What the command line implements to show a build; calls come from the thread that works."""

    def stage(self, text: str) -> None:
        """A new step begins; ``text`` is a short present participle ("unpacking linux-source-6.12")."""

    def advance(self, done: int, total: int | None, text: str) -> None:
        """``done`` of ``total`` units of the step are done (None: unknown); ``text`` names the current one."""


class SilentProgress:
    """Says nothing."""

    def stage(self, text: str) -> None:
        pass

    def advance(self, done: int, total: int | None, text: str) -> None:
        pass


SILENT: Progress = SilentProgress()
