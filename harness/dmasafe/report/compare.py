# SPDX-License-Identifier: GPL-2.0-or-later
"""Two runs compared, or two directories of them: what changed, grouped by cell, buffer and reason.

Runs of the same cell on one side are repeats: of each scenario the worst verdict counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.text import Text

from dmasafe.outcome import Judgement, Outcome, Verdict
from dmasafe.report import ReportError, json_report
from dmasafe.report.directory import RESULTS_JSON
from dmasafe.report.results import Results, Row
from dmasafe.report.text import general, one_line, plural

SHOWN = 20
ANY = "any buffer"
EXIT_WORSE, EXIT_UNSAID = 1, 2
_TRUSTED = (Verdict.PASS, Verdict.FAIL)
# What a run that failed is worth more than: a later one that passed, or that says nothing.
WORST_FIRST = (Verdict.FAIL, Verdict.PASS, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.SKIP)


class Effect(StrEnum):
    """What became of a scenario; the order is that of the report."""

    WORSE = "worse"
    FLAKY = "flaky"
    UNSAID = "nothing can be said now"
    GONE = "no longer judged"
    OTHER = "otherwise than before, and as expected or as wrong"
    NEW = "judged now"
    BETTER = "better"


_SHORT = (Effect.UNSAID, Effect.GONE, Effect.NEW)
_STYLE = {Effect.WORSE: "bold red", Effect.FLAKY: "bold red", Effect.UNSAID: "bold yellow", Effect.BETTER: "green"}


@dataclass(frozen=True)
class Change:
    """Scenarios of one cell and buffer (or ANY) to which the same happened for the same reason."""

    effect: Effect
    cell: str
    buffer: str
    before: str
    after: str
    why: str
    scenarios: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """``compared`` counts scenarios judged on both sides; ``missing`` and ``fresh`` are cells of one side only."""

    before: str
    after: str
    cells: int
    compared: int
    changes: tuple[Change, ...]
    missing: tuple[str, ...]
    fresh: tuple[str, ...]

    def of(self, *effects: Effect) -> list[Change]:
        return [change for change in self.changes if change.effect in effects]

    @property
    def exit_status(self) -> int:
        """0 nothing is worse, 1 something is, or is flaky, 2 it cannot be said."""
        if self.of(Effect.WORSE, Effect.FLAKY):
            return EXIT_WORSE
        return EXIT_UNSAID if self.missing or not self.compared or self.of(Effect.UNSAID, Effect.GONE) else 0


def load_side(path: Path) -> list[Results]:
    """The runs of a results.json, or of a directory with some in it (links not followed). Raises ReportError."""
    files = [path]
    if path.is_dir():
        files = sorted(path.rglob(RESULTS_JSON)) if not (path / RESULTS_JSON).is_file() else [path / RESULTS_JSON]
    if not files:
        raise ReportError(f"there is no {RESULTS_JSON} in {path}: name the directory that a run wrote")
    return [json_report.load(file) for file in files]


def compare(
    before: Sequence[Results], after: Sequence[Results], titles: tuple[str, str] = ("before", "after")
) -> Difference:
    """The second side compared with the first. A cell is known by what it is, whichever version its kernel has."""
    old, new = _cells(before), _cells(after)
    pairs = [(name, old[name], runs) for name, runs in new.items() if name in old]
    if len(old) == len(new) == 1 and not pairs:
        # Two runs are compared whatever they are of: that is what was asked for.
        (a, first), (b, second) = *old.items(), *new.items()
        pairs, old, new = [(f"{a} -> {b}", first, second)], {}, {}
    groups: dict[tuple[Effect, str, str, str, str, str], list[str]] = {}
    compared = 0
    for name, earlier, later in pairs:
        was, now = _rows(earlier), _rows(later)
        for id_ in was | now:
            one, other = was.get(id_), now.get(id_)
            compared += all(rows is not None and rows[0].judgement.verdict in _TRUSTED for rows in (one, other))
            effect = _effect(one, other)
            if effect is not None:
                row = (other or one or [])[0]
                why = general(row.judgement.why) if other and effect not in (Effect.BETTER, Effect.NEW) else ""
                # That nothing can be said has hardly to do with the buffer.
                short = effect in _SHORT
                said = _said(one, short), _said(other, short)
                groups.setdefault((effect, name, ANY if short else row.buffer, *said, why), []).append(id_)
    order = {effect: number for number, effect in enumerate(Effect)}
    changes = [Change(*key, tuple(ids)) for key, ids in groups.items()]
    changes.sort(key=lambda change: (order[change.effect], -len(change.scenarios)))
    missing, fresh = tuple(old.keys() - new.keys()), tuple(new.keys() - old.keys())
    return Difference(*titles, len(pairs), compared, tuple(changes), missing, fresh)


def _cells(runs: Sequence[Results]) -> dict[str, list[Results]]:
    found: dict[str, list[Results]] = {}
    for run in runs:
        kernel = run.kernel
        # The source without its version: a package, a tree, an address.
        words = (kernel.source.split(" ")[0], kernel.arch, kernel.config, run.target, run.suite)
        found.setdefault(" ".join(map(one_line, words)), []).append(run)
    return found


def _rows(runs: Sequence[Results]) -> dict[str, list[Row]]:
    """Each scenario with its rows of all runs, the worst first. A run that is not trusted has no word."""
    found: dict[str, list[Row]] = {}
    for run in runs:
        trusted = run.reason is None and run.canary_splatted
        for row in run.rows:
            if not trusted and row.judgement.verdict in _TRUSTED:
                why = run.reason or "the canary did not splat"
                row = replace(row, judgement=Judgement(Verdict.INCONCLUSIVE, None, row.judgement.expected, why))
            found.setdefault(row.id, []).append(row)
    for rows in found.values():
        rows.sort(key=lambda row: WORST_FIRST.index(row.judgement.verdict))
    return found


def _effect(before: Sequence[Row] | None, after: Sequence[Row] | None) -> Effect | None:
    was = before[0].judgement if before else None
    now = after[0].judgement if after else None
    said = was is not None and was.verdict in _TRUSTED
    if now is None or now.verdict is Verdict.SKIP:
        return Effect.GONE if said else None
    if now.verdict not in _TRUSTED:
        return Effect.UNSAID if said or was is None else None
    assert after is not None
    if now.verdict is Verdict.FAIL and any(row.judgement.verdict is Verdict.PASS for row in after):
        return Effect.FLAKY
    if was is None or not said:
        return Effect.WORSE if now.verdict is Verdict.FAIL else Effect.NEW
    if was.verdict is not now.verdict:
        return Effect.WORSE if now.verdict is Verdict.FAIL else Effect.BETTER
    if now.verdict is Verdict.FAIL and Outcome.SILENT is now.outcome is not was.outcome:
        return Effect.WORSE
    return None if _doings(was) == _doings(now) else Effect.OTHER


def _doings(judgement: Judgement) -> tuple[object, ...]:
    """What the kernel did."""
    return judgement.outcome, judgement.direct, {splat.splat_class for splat in judgement.splats}


def _said(rows: Sequence[Row] | None, short: bool) -> str:
    if not rows:
        return "nothing"
    if short:
        return rows[0].judgement.verdict
    if len({row.judgement.verdict for row in rows}) > 1:
        return f"{len(rows)} runs: {', '.join(row.judgement.verdict for row in rows)}"
    judgement = rows[0].judgement
    splats = sorted({splat.splat_class for splat in judgement.splats})
    words = [judgement.verdict, judgement.outcome or "", f"({', '.join(splats)})" if splats else ""]
    return " ".join(word for word in words if word)


def as_json(found: Difference) -> Mapping[str, Any]:
    """The whole difference, its keys as in Difference and Change."""
    return {"schema": 1, "status": found.exit_status, **asdict(found)}


def as_text(found: Difference, shown: int = SHOWN) -> Iterator[Text]:
    """Lines for a terminal; of each section only so many groups, all of them if ``shown`` is 0."""
    counted = f"{plural(found.cells, 'cell')}, {plural(found.compared, 'verdict')} compared"
    yield Text(f"{found.before} -> {found.after}: {counted}", "bold")
    for effect in Effect:
        groups = found.of(effect)
        if groups:
            total = sum(len(group.scenarios) for group in groups)
            yield Text(f"\n{effect.upper()}: {plural(total, 'scenario')}", _STYLE.get(effect, ""))
        for group in groups[:shown] if shown else groups:
            count = plural(len(group.scenarios), "scenario")
            yield Text(f"  {one_line(group.buffer)}: {group.before} -> {group.after}: {count} in {group.cell}")
            first = f"first {one_line(group.scenarios[0])}"
            yield Text(f"    {one_line(group.why)} ({first})" if group.why else f"    {first}")
        if shown and len(groups) > shown:
            yield Text(f"  and {plural(len(groups) - shown, 'group')} more (--limit 0 shows all)")
    for title, cells in (("NOT RUN NOW", found.missing), ("NOT RUN BEFORE", found.fresh)):
        yield from (Text(f"\n{title}: {cell}") for cell in cells)
    ending = {0: ("nothing is worse", "green"), 1: ("worse", "bold red"), 2: ("it cannot be said", "bold yellow")}
    parts = [f"{sum(len(group.scenarios) for group in found.of(e)):,} {e.split(',')[0]}" for e in Effect if found.of(e)]
    text, style = ending[found.exit_status]
    yield Text(f"\n{', '.join(parts) or 'no change'}: {text}", style)
