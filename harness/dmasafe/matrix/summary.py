# SPDX-License-Identifier: GPL-2.0-or-later
"""The newest run of every cell, by kernel version and architecture: FAILs, the model's agreement, detected faults."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dmasafe.matrix import agreement
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.history import History, Run
from dmasafe.matrix.record import unpacked
from dmasafe.outcome import Verdict
from dmasafe.report.detection import in_log

CORE, FAULTS = "core", "faults"
# Where every oracle is there: without dma-debug, or where mappings bounce, other faults are seeded and seen.
DETECTING = "default"
HEADINGS = (
    "version", "architecture", "configurations", "core suite: FAIL", "not judged", "model agreement", "faults detected",
    "by the kernel's log",
)  # fmt: skip


@dataclass
class Line:
    """One version on one architecture: rows of the core suite in all configurations, faults in one."""

    version: str
    arch: str
    releases: set[str] = field(default_factory=set)
    configurations: list[str] = field(default_factory=list)
    failed: int = 0
    unsaid: int = 0
    judged: int = 0
    compared: int = 0
    differing: int = 0
    faults: int = 0
    noticed: int = 0
    logged: int = 0

    def cells(self) -> tuple[str, ...]:
        return (
            ", ".join(sorted(self.releases)),
            self.arch,
            ", ".join(sorted(self.configurations)),
            f"{self.failed:,} of {self.judged:,}",
            f"{self.unsaid:,}",
            _percent(self.compared - self.differing, self.compared),
            _percent(self.noticed, self.faults),
            _percent(self.logged, self.faults),
        )


def summarise(history: History, nights: int) -> list[Line]:
    """A line for each version and architecture, of the newest run of each cell in so many nights.

    Raises MatrixError for an empty history.
    """
    names = history.nights(nights)
    if not names:
        raise MatrixError("the history is empty: record runs first (dmasafe matrix run, dmasafe matrix record)")
    newest: dict[int, Run] = {}
    for run in history.nightly(history.runs_of_nights(names[-1], names[0])):
        if history.cells[run.cell_id].family.target == "qemu":
            newest[run.cell_id] = run
    lines: dict[tuple[str, str], Line] = {}
    for cell_id, run in newest.items():
        cell = history.cells[cell_id]
        version = re.match(r"\d+\.\d+", run.release)
        key = version[0] if version else run.release, cell.arch
        line = lines.setdefault(key, Line(*key))
        line.releases.add(run.release)
        if cell.suite == CORE:
            line.configurations.append(cell.config)
            _add_core(line, history, run)
        elif cell.suite == FAULTS and cell.config == DETECTING and run.detection_id is not None:
            _add_faults(line, unpacked(history.documents([run.detection_id])[run.detection_id]))
    return sorted(
        lines.values(), key=lambda line: ([int(part) for part in re.findall(r"\d+", line.version)], line.arch)
    )


def _add_core(line: Line, history: History, run: Run) -> None:
    vector = history.vectors([run.vector_id])[run.vector_id]
    ids = history.by_scenario(vector).values()
    findings = history.findings(ids)
    verdicts = [findings[id_].verdict for id_ in ids]
    line.failed += verdicts.count(Verdict.FAIL)
    line.judged += verdicts.count(Verdict.FAIL) + verdicts.count(Verdict.PASS)
    line.unsaid += verdicts.count(Verdict.INCONCLUSIVE) + verdicts.count(Verdict.ERROR)
    if run.model_id is not None:
        found = agreement.from_json(unpacked(history.documents([run.model_id])[run.model_id]))
        line.compared += found.compared
        line.differing += found.differing


def _add_faults(line: Line, faults: Sequence[dict[str, Any]]) -> None:
    said = [one["words"] for one in faults if one["words"] is not None]
    line.faults += len(said)
    line.noticed += sum(any(words) for words in said)
    line.logged += sum(in_log(words) for words in said)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % of {whole:,}" if whole else "not run"


def markdown(lines: Sequence[Line]) -> Iterator[str]:
    """A table, for docs/matrix.md."""
    yield f"| {' | '.join(HEADINGS)} |"
    yield f"|{'---|' * len(HEADINGS)}"
    for line in lines:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line.cells())} |"
