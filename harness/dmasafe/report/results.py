# SPDX-License-Identifier: GPL-2.0-or-later
"""What one run came to: the rows of verdicts, and what they were measured with.

Every report format takes a Results and nothing else, so that a results.json read back renders the same way.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from dmasafe.facts import KernelInfo
from dmasafe.faults import Fault
from dmasafe.outcome import Judgement, Noticed, Verdict
from dmasafe.progress import Stage
from dmasafe.report.provenance import Provenance
from dmasafe.scenario import OPERATIONS


class Performed(Protocol):
    """What has a row: a scenario (dmasafe.scenario), or one phase of a client driver (dmasafe.expect.clients)."""

    @property
    def id(self) -> str: ...
    @property
    def buffer(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def controller(self) -> str: ...
    @property
    def policy(self) -> str | None: ...
    @property
    def length(self) -> int: ...
    @property
    def fault(self) -> Fault | None: ...


@dataclass(frozen=True)
class Row:
    """One scenario with its judgement; the first six fields are those of what was performed.

    ``noticed`` is there where faults were seeded: what each oracle said, also of the scenarios without a fault.
    ``doubt`` is why the verdict counts only when the scenario was run again, as TargetRun's ``doubts``.
    ``command`` does it once more, if it is neither a scenario nor a client's phase.
    """

    id: str
    buffer: str
    operation: str
    controller: str
    policy: str | None
    length: int
    judgement: Judgement
    noticed: Noticed | None = None
    doubt: str | None = None
    command: str | None = None

    @classmethod
    def of(
        cls, scenario: Performed, judgement: Judgement, noticed: Noticed | None = None, doubt: str | None = None
    ) -> Row:
        return cls(
            scenario.id,
            scenario.buffer,
            scenario.operation,
            scenario.controller,
            scenario.policy,
            scenario.length,
            judgement,
            noticed,
            doubt,
        )

    @property
    def place(self) -> str:
        """``virtio`` or ``dmasafe:bounce``, as in the scenario's id."""
        return self.controller if self.policy is None else f"{self.controller}:{self.policy}"

    @property
    def again(self) -> str:
        """The command that does this once more; what is no scenario's operation is a phase of ``dmasafe clients``."""
        if self.command is not None:
            return self.command
        if self.operation not in OPERATIONS:
            return f"dmasafe clients {self.buffer} --place {self.place} --phase {self.operation}"
        return f"dmasafe run --target qemu '{self.id}'"


@dataclass(frozen=True)
class Results:
    """One run.

    ``boot_s`` and ``scenarios_s`` are None when the run did not get so far. ``reason`` says why no verdict of
    this boot can be trusted, None if they can. ``notes`` are sentences for the reader that change no verdict.
    ``provenance`` is None in results of earlier versions.
    """

    suite: str
    target: str
    kernel: KernelInfo
    accel: str | None
    canary_splatted: bool
    rows: tuple[Row, ...]
    boot_s: float | None = None
    scenarios_s: float | None = None
    total_s: float = 0.0
    stages: tuple[Stage, ...] = ()
    reason: str | None = None
    notes: tuple[str, ...] = ()
    provenance: Provenance | None = None


def counts(results: Results) -> dict[Verdict, int]:
    """How many rows have each verdict; all five verdicts are there, in their order."""
    found = Counter(row.judgement.verdict for row in results.rows)
    return {verdict: found[verdict] for verdict in Verdict}


def by_place(results: Results) -> dict[str, list[Row]]:
    """The rows of each controller and policy, both in the order of the run."""
    groups: dict[str, list[Row]] = {}
    for row in results.rows:
        groups.setdefault(row.place, []).append(row)
    return groups


def exit_status(results: Results) -> int:
    """0 all as expected, 1 a FAIL, 2 INCONCLUSIVE or ERROR; a FAIL outweighs those.

    2 as well for a run without a canary or with a reason not to trust it, and for one that judged nothing (no rows,
    or only SKIP): silence is never a pass.
    """
    found = counts(results)
    if found[Verdict.FAIL]:
        return 1
    if found[Verdict.INCONCLUSIVE] or found[Verdict.ERROR] or not found[Verdict.PASS]:
        return 2
    return 0 if results.canary_splatted and results.reason is None else 2
