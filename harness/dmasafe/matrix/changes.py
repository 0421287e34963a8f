# SPDX-License-Identifier: GPL-2.0-or-later
"""A comparison in words and in JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dmasafe.matrix.compare import Change, ChangeKind, Comparison
from dmasafe.matrix.judgements import StoredJudgement
from dmasafe.report.text import one_line, plural

SCHEMA = 1
SHOWN = 20
_CELLS_SHOWN = 3
_HEADINGS = {
    ChangeKind.NEW_FAILURE: "NEW FAILURES: the kernel did something else than before, or was not judged before",
    ChangeKind.FLAKY: "FLAKY: same cell, same source, different verdicts",
    ChangeKind.DISAGREEMENT: "MODEL-KERNEL DISAGREEMENTS: the kernel did as before, another outcome is expected now",
    ChangeKind.UNSAID: "INCONCLUSIVE: nothing can be said",
    ChangeKind.NOT_JUDGED: "NO LONGER JUDGED: skipped or gone",
    ChangeKind.FIXED: "FIXED",
}
_RESULTS = {0: "nothing new", 1: "regressions", 2: "it cannot be said whether there are regressions"}


def as_json(found: Comparison) -> dict[str, Any]:
    """The whole comparison; the keys are explained in docs/matrix-history.md."""
    return {
        "schema": SCHEMA,
        "before": found.before,
        "after": found.after,
        "status": found.exit_status,
        "cells": found.cells,
        "compared": found.compared,
        "changes": [
            {
                "kind": change.kind,
                "new": change.new,
                "cell": change.cell._asdict(),
                "scenario": change.scenario,
                "run": change.run,
                "before": _finding(change.before),
                "after": _finding(change.after),
                "repeats": list(change.repeats),
            }
            for change in found.changes
        ],
        "signatures": [
            {
                "cell": one.cell._asdict(),
                "class": one.signature.splat_class,
                "function": one.signature.function,
                "scenario": one.scenario,
            }
            for one in found.signatures
        ],
        "slower": [
            {
                "cell": one.cell._asdict(),
                "what": one.what,
                "seconds": round(one.seconds, 3),
                "median": round(one.usual, 3),
                "ratio": round(one.ratio, 3),
                "runs": one.runs,
            }
            for one in found.slower
        ],
        "missing": [cell._asdict() for cell in found.missing],
        "fresh": [cell._asdict() for cell in found.fresh],
    }


def _finding(found: StoredJudgement | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "verdict": found.verdict,
        "outcome": found.outcome,
        "expected": found.expected,
        "direct": found.direct,
        "signatures": [{"class": one.splat_class, "function": one.function} for one in found.signatures],
        "why": found.why,
    }


def as_text(found: Comparison, shown: int = SHOWN) -> Iterator[str]:
    """Lines for a terminal or a log; of each section only so many rows, all of them if ``shown`` is 0."""
    yield (
        f"{found.before} -> {found.after}: {plural(found.cells, 'cell')}, {plural(found.compared, 'verdict')} compared"
    )
    for kind in ChangeKind:
        yield from _section(_HEADINGS[kind], [_row(rows) for rows in _grouped(found.of(kind))], shown)
    signatures: dict[tuple[str, str], list[str]] = {}
    for one in found.signatures:
        signatures.setdefault((str(one.signature), one.scenario), []).append(one.cell.name)
    rows = [[f"{name}: {scenario}", f"  {_cells(cells)}"] for (name, scenario), cells in signatures.items()]
    yield from _section("NEW SPLAT SIGNATURES: not seen in the cell before", rows, shown)
    times = [
        [f"{one.cell.name}: {one.what} {one.seconds:.1f} s, {one.ratio:.2f} times the median of {one.runs} runs before"]
        for one in found.slower
    ]
    yield from _section("SLOWER", times, shown)
    yield from _section("MISSING: cells that were not run", [[cell.name] for cell in found.missing], shown)
    yield from _section("NEW CELLS: nothing to compare them with", [[cell.name] for cell in found.fresh], shown)
    standing = len(found.of(ChangeKind.DISAGREEMENT, new=False))
    if standing:
        yield f"\n{plural(standing, 'standing disagreement')} of model and kernel: failed before, fail alike"
    if known := len(found.of(ChangeKind.FLAKY, new=False)):
        yield f"\n{plural(known, 'scenario')} known to be flaky"
    yield f"\n{_counted(found)}: {_RESULTS[found.exit_status]}"


def _counted(found: Comparison) -> str:
    parts = [f"{len(found.of(kind))} {kind}" for kind in ChangeKind if found.of(kind)]
    parts += [plural(len(found.signatures), "new signature")] if found.signatures else []
    parts += [f"{len(found.slower)} slower"] if found.slower else []
    parts += [plural(len(found.missing), "missing cell")] if found.missing else []
    return ", ".join(parts) or "no change"


def _section(heading: str, rows: Sequence[Sequence[str]], shown: int) -> Iterator[str]:
    if not rows:
        return
    yield f"\n{heading}"
    for row in rows[:shown] if shown else rows:
        yield from (f"  {line}" for line in row)
    if shown and len(rows) > shown:
        yield f"  and {len(rows) - shown:,} more (--limit 0 shows all)"


def _grouped(changes: Sequence[Change]) -> list[list[Change]]:
    """Changes to the same for the same reason together: of a scenario in several cells, then of several scenarios."""
    by_scenario: dict[tuple[str, ...], list[Change]] = {}
    for change in changes:
        why = change.after.why if change.after is not None else ""
        by_scenario.setdefault((change.scenario, _said(change.before), _after(change), why), []).append(change)
    groups: dict[tuple[object, ...], list[Change]] = {}
    for (_scenario, *said), rows in by_scenario.items():
        groups.setdefault((*said, *(row.cell for row in rows)), []).extend(rows)
    return list(groups.values())


def _row(changes: Sequence[Change]) -> list[str]:
    one = changes[0]
    scenarios = len({change.scenario for change in changes})
    what = one_line(one.scenario) if scenarios == 1 else f"{scenarios:,} scenarios (first {one_line(one.scenario)})"
    lines = [f"{what}: {_said(one.before)} -> {_after(one)}"]
    lines += [f"  {_cells(list(dict.fromkeys(change.cell.name for change in changes)))}"]
    if one.after is not None and one.after.why and one.kind is not ChangeKind.FIXED:
        lines.append(f"  {one.after.why}")
    return lines


def _after(change: Change) -> str:
    if not change.repeats:
        return _said(change.after)
    return f"{_said(change.after)} ({len(change.repeats)} runs: {', '.join(change.repeats)})"


def _said(found: StoredJudgement | None) -> str:
    if found is None:
        return "nothing"
    return f"{found.verdict} {found.outcome}" if found.outcome else str(found.verdict)


def _cells(names: Sequence[str]) -> str:
    more = len(names) - _CELLS_SHOWN
    shown = ", ".join(one_line(name) for name in names[:_CELLS_SHOWN])
    return f"in {shown}" + (f" and {plural(more, 'cell')} more" if more > 0 else "")
