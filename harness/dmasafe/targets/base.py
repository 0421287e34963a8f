# SPDX-License-Identifier: GPL-2.0-or-later
"""The protocol that every target answers: facts about its kernel, and a run that turns scenarios into observations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.outcome import Observation
from dmasafe.progress import Progress
from dmasafe.scenario import Scenario


@dataclass(frozen=True)
class TargetRun:
    """What a run brought back.

    ``observations`` lacks the scenarios that were not reached; ``untrusted`` maps a scenario's id to the reason why
    its boot (or its own records) cannot be trusted, ``skipped`` one to why this place cannot do it.
    ``boot_s`` is the first boot from the start of QEMU to the agent's first word, ``scenarios_s`` the time from there
    to the last answer, in seconds. ``facts`` are the target's facts() with what only the running machine tells; None if
    there is no more. ``qemu`` is the version of the QEMU that it was in. ``doubts`` maps the id of a scenario whose
    verdict stands by itself to what its boot lacks: the checks at its end, or to know which scenario ended it.
    ``rebooted`` are controllers whose scenarios took more than one boot: their slaves have forgotten between.
    """

    kernel: KernelInfo
    accel: str | None
    canary_splatted: bool
    observations: Mapping[str, Observation]
    untrusted: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    boot_s: float = 0.0
    scenarios_s: float = 0.0
    boots: int = 1
    notes: tuple[str, ...] = ()
    facts: KernelFacts | None = None
    qemu: str | None = None
    doubts: Mapping[str, str] = field(default_factory=dict)
    rebooted: frozenset[str] = frozenset()


def unchecked(ids: Iterable[str], why: str) -> dict[str, str]:
    """The ``doubts`` of scenarios that were answered before their boot ended too early."""
    return dict.fromkeys(ids, f"the checks after the last scenario were not made: {why}")


class Target(Protocol):
    """A place where scenarios run."""

    @property
    def name(self) -> str: ...

    @property
    def kernel(self) -> KernelInfo:
        """The kernel that will run."""

    def facts(self) -> KernelFacts:
        """What expectations depend on, for the kernel that will run."""

    def cannot(self, scenario: Scenario) -> str | None:
        """Why a scenario cannot exist in such a place, whatever its kernel; None if it can."""

    def run(self, scenarios: Sequence[Scenario], destructive: frozenset[str], progress: Progress) -> TargetRun:
        """Perform the scenarios; those whose id is in ``destructive`` come last, as they may cost the adapter.

        Raises TargetError only if nothing could be started; what goes wrong later is in the TargetRun.
        """
