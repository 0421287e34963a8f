# SPDX-License-Identifier: GPL-2.0-or-later
"""What the pages show, taken from the history: the newest run of each cell in each of the last nights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, NamedTuple

from dmasafe.dmesg import SPLAT_CLASSES, explanation
from dmasafe.matrix import vectors
from dmasafe.matrix.agreement import Agreement, from_json
from dmasafe.matrix.cells import Cell
from dmasafe.matrix.compare import Comparison, regressions
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.history import History, Run, Sighting, Vector
from dmasafe.matrix.judgements import UNTRUSTED, StoredJudgement
from dmasafe.matrix.record import unpacked
from dmasafe.outcome import Verdict
from dmasafe.report.detection import in_log
from dmasafe.report.json_report import splat_from_json
from dmasafe.report.splat_text import blamed, splat_lines

# Rows of a list on a page; the rest is counted.
MAX_TROUBLES = 200
MAX_SPLATS = 200
_GROUPINGS = {"buffer": "buffer kind", "operation": "operation", "place": "controller"}


class Group(NamedTuple):
    """One field of the heat map: how many scenarios of a group have each verdict."""

    name: str
    passed: int = 0
    failed: int = 0
    unsaid: int = 0
    skipped: int = 0

    @property
    def state(self) -> str:
        """The worst verdict there is, as the style sheet calls it; ``none`` without scenarios."""
        if self.failed:
            return "fail"
        if self.unsaid:
            return "unsaid"
        if self.passed:
            return "pass"
        return "skip" if self.skipped else "none"

    @property
    def short(self) -> str:
        if self.failed:
            return f"{self.failed} FAIL"
        if self.unsaid:
            return f"{self.unsaid} ?"
        return str(self.passed) if self.passed else "skip" if self.skipped else ""

    @property
    def long(self) -> str:
        parts = (
            (self.passed, "pass"), (self.failed, "fail"), (self.unsaid, "inconclusive"), (self.skipped, "skipped"),
        )  # fmt: skip
        return ", ".join(f"{count} {what}" for count, what in parts if count) or "no scenarios"


@dataclass
class CellPage:
    """A cell, its run of each night (None where it did not run), and what its newest run found.

    ``slow``: of what its newest run needed more time than usual.
    """

    id: int
    cell: Cell
    runs: list[Run | None]
    newest: Run
    vector: Vector
    counts: list[Counter[Verdict] | None]
    heat: dict[str, list[Group]] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    more_troubles: int = 0
    model: Agreement | None = None
    slow: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[int, int, str]:
        """Sorts cells with most trouble first."""
        return -self.total.failed, -self.total.unsaid, self.cell.name

    @property
    def file(self) -> str:
        return f"cell-{self.id}.html"

    @property
    def total(self) -> Group:
        counts = self.counts[-1] if self.runs[-1] is not None else next(c for c in reversed(self.counts) if c)
        assert counts is not None
        return group("all", counts)

    @property
    def agreement(self) -> float | None:
        """The percentage of rows in which model and kernel agree: in every oracle, or where that is not known, in the
        verdicts that can be trusted."""
        if self.model is not None:
            return self.model.percent
        judged = self.total.passed + self.total.failed
        return 100.0 * self.total.passed / judged if judged else None


class Trouble(NamedTuple):
    """A scenario of the newest run that neither passed nor was skipped; ``splats`` are texts."""

    scenario: str
    finding: StoredJudgement
    why: str
    splats: tuple[str, ...]


@dataclass(frozen=True)
class SplatPage:
    """A signature with one example, and the cells that showed it in the nights shown."""

    anchor: str
    splat_class: str
    function: str
    means: str
    blame: str
    text: str
    scenario: str
    first: str
    last: str
    new: bool
    cells: tuple[tuple[str, str], ...]


class Detected(NamedTuple):
    """What the oracles said of one fault in one cell: texts, ``state`` as the style sheet calls it."""

    text: str
    state: str


class Mistake(NamedTuple):
    """One seeded fault, and what was said of it in each cell."""

    name: str
    what: str
    cells: tuple[Detected | None, ...]

    @property
    def worst(self) -> str:
        """The worst state in a cell: nobody noticed, others than the kernel did, it was not judged, the kernel did."""
        states = {one.state for one in self.cells if one is not None}
        return next(state for state in ("fail", "others", "unsaid", "pass") if state in states)


@dataclass(frozen=True)
class DetectionTable:
    """Seeded fault x cell. ``noticed``: faults that somebody noticed, that the kernel reported, that were judged."""

    cells: tuple[CellPage, ...]
    rows: tuple[Mistake, ...]
    noticed: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class SiteData:
    nights: tuple[str, ...]
    all_nights: int
    cells: tuple[CellPage, ...]
    columns: Mapping[str, tuple[str, tuple[str, ...]]]
    changes: Comparison
    splats: tuple[SplatPage, ...]
    more_splats: int
    detection: DetectionTable
    scenario_data: dict[str, Any]
    revision: str | None
    made: str


def collect(history: History, nights: int, now: datetime) -> SiteData:
    """Everything for the site. Raises MatrixError for an empty history."""
    newest = history.nights(nights)
    if not newest:
        raise MatrixError("the history is empty: record runs first (dmasafe matrix record)")
    shown = tuple(reversed(newest))
    # Of several runs in a night the worst verdict of each scenario counts.
    runs = history.nightly(history.runs_of_nights(shown[0], shown[-1]))
    found = history.vectors(run.vector_id for run in runs)
    counts = _all_counts(history, found)
    pages = _cells(history, shown, runs, found, counts)
    columns = _columns(history, pages)
    for page in pages:
        _fill(history, page, columns)
    _trouble_first(pages)
    last = [run.time for run in runs if run.night == shown[-1]]
    revisions = [page.newest.revision for page in pages if page.newest.revision]
    second = min((run.time for run in runs if run.night != shown[0]), default=None)
    splats, more = _splats(history, pages, min(run.time for run in runs), second)
    changes = regressions(history, min(last), f"the night of {shown[-1]}")
    for page in pages:
        page.slow = tuple(one.what for one in changes.slower if one.cell_id == page.id)
    return SiteData(
        nights=shown,
        all_nights=history.count_nights(),
        cells=tuple(pages),
        columns={key: (title, tuple(one.name for one in pages[0].heat[key])) for key, title in _GROUPINGS.items()},
        changes=changes,
        splats=splats,
        more_splats=more,
        detection=_detection(history, pages),
        scenario_data=_scenario_data(history, shown, pages, found),
        revision=revisions[-1] if revisions else None,
        made=f"{now.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
    )


def group(name: str, counts: Mapping[Verdict, int]) -> Group:
    unsaid = sum(counts.get(verdict, 0) for verdict in UNTRUSTED)
    return Group(
        name, counts.get(Verdict.PASS, 0), counts.get(Verdict.FAIL, 0), unsaid, counts.get(Verdict.SKIP, 0)
    )  # fmt: skip


def _all_counts(history: History, found: Mapping[int, Vector]) -> dict[int, Counter[Verdict]]:
    """Verdicts of each vector, each vector counted once."""
    ids = {id_: Counter(vectors.ids(vector.data)) for id_, vector in found.items()}
    findings = history.findings(finding for counted in ids.values() for finding in counted)
    counts: dict[int, Counter[Verdict]] = {}
    for id_, counted in ids.items():
        counts[id_] = Counter()
        for finding_id, count in counted.items():
            counts[id_][findings[finding_id].verdict] += count
    return counts


def _cells(
    history: History,
    nights: Sequence[str],
    runs: Iterable[Run],
    found: Mapping[int, Vector],
    counts: Mapping[int, Counter[Verdict]],
) -> list[CellPage]:
    grid: dict[int, dict[str, Run]] = {}
    for run in runs:
        grid.setdefault(run.cell_id, {})[run.night] = run
    pages = []
    for id_, cell in history.cells.items():
        if id_ in grid:
            row = [grid[id_].get(night) for night in nights]
            newest = next(run for run in reversed(row) if run is not None)
            counted = [counts[run.vector_id] if run is not None else None for run in row]
            pages.append(CellPage(id_, cell, row, newest, found[newest.vector_id], counted))
    return pages


def _columns(history: History, pages: Iterable[CellPage]) -> dict[str, tuple[str, ...]]:
    """The groups of each grouping that the newest runs have, sorted."""
    scenarios = {id_ for set_id in {page.vector.set_id for page in pages} for id_ in history.members(set_id)}
    rows = [history.scenarios[id_] for id_ in scenarios]
    return {key: tuple(sorted({getattr(row, key) for row in rows})) for key in _GROUPINGS}


def _fill(history: History, page: CellPage, columns: Mapping[str, Sequence[str]]) -> None:
    """The heat map's row of a cell, and its list of troubles."""
    now = history.by_scenario(page.vector)
    findings = history.findings(now.values())
    rows = [history.scenarios[id_] for id_ in now]
    for key, names in columns.items():
        counts: dict[str, Counter[Verdict]] = {name: Counter() for name in names}
        # By group and finding first: those are few, and Counter() counts them in C.
        for (name, finding_id), count in Counter(zip(map(attrgetter(key), rows), now.values(), strict=True)).items():
            counts[name][findings[finding_id].verdict] += count
        page.heat[key] = [group(name, counted) for name, counted in counts.items()]
    troubled = {id_ for id_ in set(now.values()) if findings[id_].verdict not in (Verdict.PASS, Verdict.SKIP)}
    bad = [(row, findings[id_]) for row, id_ in zip(rows, now.values(), strict=True) if id_ in troubled]
    bad.sort(key=lambda one: (one[1].verdict is not Verdict.FAIL, one[0].name))
    page.more_troubles = max(0, len(bad) - MAX_TROUBLES)
    evidence = _evidence(history, page) if bad else {}
    if page.newest.model_id is not None:
        page.model = from_json(unpacked(history.documents([page.newest.model_id])[page.newest.model_id]))
    for row, finding in bad[:MAX_TROUBLES]:
        told = evidence.get(row.name, {})
        verdicts = history.verdicts(page.newest, row.id)
        repeats = f"{len(verdicts)} runs: {', '.join(verdicts)}; " if verdicts else ""
        splats = tuple("\n".join(splat_lines(splat_from_json(one))) for one in told.get("splats", ()))
        page.troubles.append(Trouble(row.name, finding, repeats + told.get("why", finding.why), splats))


def _trouble_first(pages: Sequence[CellPage]) -> None:
    """Sort the fields of all heat maps alike: groups with most trouble first, then by name."""
    for key in _GROUPINGS:
        columns = list(zip(*(page.heat[key] for page in pages), strict=True))

        def trouble(number: int, columns: Sequence[Sequence[Group]] = columns) -> tuple[int, int]:
            fields = columns[number]
            return -sum(field.failed for field in fields), -sum(field.unsaid for field in fields)

        order = sorted(range(len(columns)), key=trouble)
        for page in pages:
            page.heat[key] = [page.heat[key][number] for number in order]


def _evidence(history: History, page: CellPage) -> dict[str, Any]:
    """The newest that is known of each scenario that went wrong in the nights shown."""
    runs = [one for run in page.runs if run is not None for one in history.repeats(run)]
    ids = [run.evidence_id for run in runs if run.evidence_id is not None]
    documents = history.documents(ids)
    known: dict[str, Any] = {}
    for id_ in ids:
        known |= unpacked(documents[id_])
    return known


def _splats(
    history: History, pages: Sequence[CellPage], since: int, new_since: int | None
) -> tuple[tuple[SplatPage, ...], int]:
    """The signatures seen since then, the newest first, and how many more there are; new from the second night on."""
    by_cell = {page.id: page for page in pages}
    groups: dict[tuple[str, str], list[Sighting]] = {}
    for one in history.sightings(last_since=since):
        if one.cell_id in by_cell:
            groups.setdefault(one.signature, []).append(one)
    # So that what does not fit is old.
    ordered = sorted(groups.values(), key=_first, reverse=True)
    found = [
        _splat(history, number, seen, new_since is not None and _first(seen) >= new_since, by_cell)
        for number, seen in enumerate(ordered[:MAX_SPLATS], 1)
    ]
    return tuple(found), max(0, len(groups) - MAX_SPLATS)


def _splat(
    history: History, number: int, seen: Sequence[Sighting], new: bool, by_cell: Mapping[int, CellPage]
) -> SplatPage:
    newest = max(seen, key=lambda one: one.last_time)
    splat = splat_from_json(unpacked(newest.example))
    splat_class, function = newest.signature
    return SplatPage(
        anchor=f"splat-{number}",
        splat_class=splat_class,
        function=function,
        means=explanation(splat_class).means if splat_class in SPLAT_CLASSES else "",
        blame=blamed(splat),
        text="\n".join(splat_lines(splat)),
        scenario=history.scenarios[newest.scenario_id].name,
        first=_day(_first(seen)),
        last=_day(max(one.last_time for one in seen)),
        new=new,
        cells=tuple((by_cell[one.cell_id].cell.name, by_cell[one.cell_id].file) for one in seen),
    )


def _first(seen: Iterable[Sighting]) -> int:
    return min(one.first_time for one in seen)


def _detection(history: History, pages: Sequence[CellPage]) -> DetectionTable:
    newest: dict[int, int] = {}
    for page in pages:
        ids = [run.detection_id for run in page.runs if run is not None and run.detection_id is not None]
        if ids:
            newest[page.id] = ids[-1]
    documents = history.documents(newest.values())
    cells = tuple(page for page in pages if page.id in newest)
    told = [{_fault(one): one for one in unpacked(documents[newest[page.id]])} for page in cells]
    names = dict.fromkeys(name for faults in told for name in faults)
    rows = []
    for name in names:
        what = next(faults[name]["what"] for faults in told if name in faults)
        rows.append(Mistake(name, what, tuple(_detected(faults[name]) if name in faults else None for faults in told)))
    return DetectionTable(cells, tuple(rows), tuple(_noticed(faults.values()) for faults in told))


def _fault(one: Mapping[str, Any]) -> str:
    return f"{one['fault']} ({one['shape']})" if one["shape"] else str(one["fault"])


def _detected(one: Mapping[str, Any]) -> Detected:
    if one["words"] is None:
        return Detected(one["why"], "unsaid")
    # Records of before the strict machine have no words of it.
    oracles = zip(("log", "return", "device", "memory", "strict machine"), one["words"], strict=False)
    text = "; ".join(f"{oracle}: {', '.join(words)}" for oracle, words in oracles if words)
    return Detected(text or "nobody", "pass" if in_log(one["words"]) else "others" if text else "fail")


def _noticed(faults: Iterable[Mapping[str, Any]]) -> tuple[int, int, int]:
    words = [one["words"] for one in faults if one["words"] is not None]
    return sum(any(said) for said in words), sum(in_log(said) for said in words), len(words)


def _scenario_data(
    history: History, nights: Sequence[str], pages: Sequence[CellPage], found: Mapping[int, Vector]
) -> dict[str, Any]:
    """What the page of scenarios computes with, in the form that site.js reads.

    A cell has an item for each night: null, or the number of a vector. A vector is a set with its findings, run-length
    coded, or another vector with changes: places and findings by turns.
    """
    shown = list(dict.fromkeys(run.vector_id for page in pages for run in page.runs if run is not None))
    sets = {set_id: number for number, set_id in enumerate(dict.fromkeys(found[id_].set_id for id_ in shown))}
    scenario_ids = list(dict.fromkeys(id_ for set_id in sets for id_ in history.members(set_id)))
    scenarios = {id_: number for number, id_ in enumerate(scenario_ids)}
    numbers: dict[int, int] = {}
    coded: list[dict[str, Any]] = []
    findings: dict[int, int] = {}

    def number_of(finding_id: int) -> int:
        return findings.setdefault(finding_id, len(findings))

    def code(id_: int, base: int | None) -> None:
        vector = found[id_]
        ids = vectors.ids(vector.data)
        if base is not None and found[base].set_id == vector.set_id:
            places = vectors.changed(found[base].data, vector.data)
            # Two numbers a change, two a run of the run-length code, of which there are fewer in a very other vector.
            if len(places) < len(ids) // 8:
                pairs = [part for place in places for part in (place, number_of(ids[place]))]
                coded.append({"base": numbers[base], "changes": pairs})
                return
        runs: list[int] = []
        for finding_id in ids:
            number = number_of(finding_id)
            if runs and runs[-2] == number:
                runs[-1] += 1
            else:
                runs += (number, 1)
        coded.append({"set": sets[vector.set_id], "runs": runs})

    # One vector of each set is written out; of the others most differ from the one before in a few places.
    base_of: dict[int, int] = {}
    for page in pages:
        before: int | None = None
        for run in page.runs:
            if run is None:
                continue
            if run.vector_id not in numbers:
                base = before if before is not None else base_of.get(found[run.vector_id].set_id)
                code(run.vector_id, base)
                numbers[run.vector_id] = len(numbers)
                base_of.setdefault(found[run.vector_id].set_id, run.vector_id)
            before = run.vector_id
    known = history.findings(findings)
    rows = [history.scenarios[id_] for id_ in scenario_ids]
    return {
        "nights": list(nights),
        "cells": [{"name": page.cell.name, "id": page.id, "file": page.file} for page in pages],
        "grid": [[None if run is None else numbers[run.vector_id] for run in page.runs] for page in pages],
        "scenarios": [[row.name, row.buffer, row.operation, row.place] for row in rows],
        "sets": [[scenarios[id_] for id_ in history.members(set_id)] for set_id in sets],
        "vectors": coded,
        "findings": [
            [one.verdict, one.outcome, one.expected, [str(signature) for signature in one.signatures], one.why]
            for one in (known[id_] for id_ in findings)
        ],
    }


def _day(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).date().isoformat()
