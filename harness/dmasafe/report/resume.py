# SPDX-License-Identifier: GPL-2.0-or-later
"""Resuming a run: what an earlier run left open, and the Results that two runs become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dmasafe.errors import DmasafeError
from dmasafe.facts import KernelInfo
from dmasafe.outcome import Verdict
from dmasafe.report import directory, json_report
from dmasafe.report.results import Results
from dmasafe.scenario import Scenario, parse_scenario

_OPEN = frozenset({Verdict.INCONCLUSIVE, Verdict.ERROR})


class ResumeError(DmasafeError):
    """Two runs that must not become one."""


def load(path: Path) -> Results:
    """The earlier run: a results.json or the directory it lies in. Raises ReportError."""
    return json_report.load(path / directory.RESULTS_JSON if path.is_dir() else path)


def left_open(earlier: Results) -> list[Scenario]:
    """What was not reached, or could not be trusted; all that was run if that is the run as a whole."""
    rows = [row for row in earlier.rows if row.judgement.verdict in _OPEN or row.doubt is not None]
    if earlier.reason is not None and not rows:
        rows = [row for row in earlier.rows if row.judgement.verdict is not Verdict.SKIP]
    return [parse_scenario(row.id) for row in rows]


def require_same_kernel(earlier: KernelInfo, now: KernelInfo) -> None:
    """Raises ResumeError if the verdicts of both do not belong into one table."""
    for what in ("release", "arch", "config", "source", "config_sha256"):
        before, after = getattr(earlier, what), getattr(now, what)
        # Only newer runs say what their configuration was made of.
        if before != after and not (what == "config_sha256" and not before):
            name = {"config": "configuration", "config_sha256": "configuration's content"}.get(what, what)
            raise ResumeError(
                f"the run to resume had kernel {name} '{before}', this one has '{after}': they cannot be merged; "
                "name the same kernel, or run everything anew"
            )


def merge(earlier: Results, again: Results, source: Path) -> Results:
    """The earlier run with the rows of what was run again. Raises ResumeError."""
    require_same_kernel(earlier.kernel, again.kernel)
    rows = {row.id: row for row in again.rows}
    return replace(
        again,
        suite=earlier.suite,
        rows=tuple(rows.get(row.id, row) for row in earlier.rows),
        scenarios_s=_sum(earlier.scenarios_s, again.scenarios_s),
        total_s=earlier.total_s + again.total_s,
        # What spoilt the second run spoilt its rows only, if they say so.
        reason=again.reason if len(rows) == len(earlier.rows) or not _any_open(again) else None,
        # What the earlier run noted is about boots whose rows were run again; of the kernel the second run says it.
        notes=(f"{len(rows)} scenarios of {source} were run again", *again.notes),
    )


def _any_open(results: Results) -> bool:
    return any(row.judgement.verdict in _OPEN for row in results.rows)


def _sum(*seconds: float | None) -> float | None:
    known: Sequence[float] = [value for value in seconds if value is not None]
    return sum(known) if known else None
