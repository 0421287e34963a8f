# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions to the history. What is asked more than once (findings, sets, cells) is kept for a History's life."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from dmasafe.matrix import schema, vectors
from dmasafe.matrix.cells import Cell
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.judgements import Signature, StoredJudgement
from dmasafe.matrix.writer import chunks
from dmasafe.outcome import Verdict
from dmasafe.report.compare import WORST_FIRST

SHORT_DIGEST = 12
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_LATEST = re.compile(r"latest(?:~(\d{1,4}))?")
_DAYS = re.compile(r"(\d{1,4})d(?:ays?)?")
_HEX = re.compile(r"[0-9a-f]{4,64}")


class Run(NamedTuple):
    """A row of the table ``run``, without what only one page of the site shows."""

    id: int
    digest: str
    cell_id: int
    time: int
    night: str
    source_id: str
    release: str
    revision: str | None
    accel: str | None
    vector_id: int
    build_s: float | None
    boot_s: float | None
    scenarios_s: float | None
    detection_id: int | None
    evidence_id: int | None
    model_id: int | None

    @property
    def name(self) -> str:
        return self.digest[:SHORT_DIGEST]

    @property
    def step(self) -> Step:
        return Step(self.id, self.source_id, self.revision, self.vector_id)


class Step(NamedTuple):
    """What there is to know of a run on the way through many of them."""

    id: int
    source_id: str
    revision: str | None
    vector_id: int


_RUN = tuple(schema.run.c[name] for name in Run._fields)
_STEP = tuple(schema.run.c[name] for name in Step._fields)


class Vector(NamedTuple):
    """What a run found: a set of scenarios, and raw ids of findings in its order."""

    set_id: int
    data: bytes


class ScenarioRow(NamedTuple):
    id: int
    name: str
    buffer: str
    operation: str
    place: str


class Sighting(NamedTuple):
    """A cell that showed a signature, when first and last; ``example`` is a packed splat."""

    cell_id: int
    signature: Signature
    first_time: int
    last_time: int
    scenario_id: int
    example: bytes


@dataclass(frozen=True)
class Side:
    """One side of a comparison: of each cell the newest night (History.nightly), and how the user called them."""

    title: str
    runs: dict[int, Run]


class History:
    """Questions on one Database.reading() connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._findings: dict[int, StoredJudgement] = {}
        self._sets: dict[int, array[int]] = {}
        # What nightly() made, by ids that no row has; the runs in it, by the newest one's id.
        self._merged: dict[int, Vector] = {}
        self._repeats: dict[int, list[Run]] = {}

    @cached_property
    def cells(self) -> dict[int, Cell]:
        rows = self.connection.execute(select(schema.cell).order_by(*(schema.cell.c[name] for name in Cell._fields)))
        return {row.id: Cell(*(getattr(row, name) for name in Cell._fields)) for row in rows}

    @cached_property
    def scenarios(self) -> dict[int, ScenarioRow]:
        """Every scenario that any run has, by id."""
        columns = (schema.scenario.c[name] for name in ScenarioRow._fields)
        return {row[0]: ScenarioRow(*row) for row in self.connection.execute(select(*columns))}

    def members(self, set_id: int) -> array[int]:
        """The scenarios of a set, by id, in the order of its vectors."""
        if set_id not in self._sets:
            table = schema.scenario_set
            row = self.connection.execute(select(table.c.size, table.c.members).where(table.c.id == set_id)).one()
            self._sets[set_id] = vectors.ids(_inflated(row.members, row.size))
        return self._sets[set_id]

    def vectors(self, ids: Iterable[int]) -> dict[int, Vector]:
        """Vectors by id."""
        table = schema.vector
        wanted = dict.fromkeys(ids)
        found = {id_: self._merged[id_] for id_ in wanted if id_ in self._merged}
        for part in chunks([id_ for id_ in wanted if id_ not in found]):
            rows = select(table.c.id, table.c.set_id, table.c.findings).where(table.c.id.in_(part))
            for id_, set_id, data in self.connection.execute(rows):
                found[id_] = Vector(set_id, _inflated(data, len(self.members(set_id))))
        return found

    def findings(self, ids: Iterable[int]) -> dict[int, StoredJudgement]:
        """Findings by id; all that were ever asked for, these among them."""
        table = schema.finding
        missing = set(ids) - self._findings.keys()
        for part in chunks(list(missing)):
            for id_, content in self.connection.execute(
                select(table.c.id, table.c.content).where(table.c.id.in_(part))
            ):
                self._findings[id_] = StoredJudgement.from_text(content)
        return self._findings

    def by_scenario(self, vector: Vector) -> dict[int, int]:
        """Scenario id to finding id."""
        return dict(zip(self.members(vector.set_id), vectors.ids(vector.data), strict=True))

    def differences(self, before: Vector, after: Vector) -> Iterator[tuple[int, int, int]]:
        """Scenario, finding before, finding after, where both have the scenario and the findings differ."""
        if before.set_id == after.set_id:
            members, old, new = self.members(before.set_id), vectors.ids(before.data), vectors.ids(after.data)
            yield from ((members[place], old[place], new[place]) for place in vectors.changed(before.data, after.data))
            return
        known = self.by_scenario(before)
        for scenario_id, finding_id in self.by_scenario(after).items():
            if known.get(scenario_id, finding_id) != finding_id:
                yield scenario_id, known[scenario_id], finding_id

    def nightly(self, runs: Iterable[Run]) -> list[Run]:
        """One run for each cell and night: the newest, with the worst verdict that each scenario had in all of them.

        Only runs of the newest one's source and harness are repeats: another source may be the fix. In the order of
        the newest runs.
        """
        groups: dict[tuple[int, str], list[Run]] = {}
        for run in sorted(runs, key=lambda run: (run.time, run.id)):
            groups.setdefault((run.cell_id, run.night), []).append(run)
        found = [self._worst(group) for group in groups.values()]
        return sorted(found, key=lambda run: (run.time, run.id))

    def repeats(self, run: Run) -> list[Run]:
        """The runs that nightly() made ``run`` of, the oldest first; itself if there was one."""
        return self._repeats.get(run.id, [run]) if run.vector_id in self._merged else [run]

    def _worst(self, group: Sequence[Run]) -> Run:
        newest = group[-1]
        same = [run for run in group if (run.source_id, run.revision) == (newest.source_id, newest.revision)]
        if len({run.vector_id for run in same}) == 1:
            return newest
        known = self.vectors(run.vector_id for run in same)
        ids = self.by_scenario(known[newest.vector_id])
        for run in reversed(same[:-1]):
            for scenario_id, finding_id in self.by_scenario(known[run.vector_id]).items():
                if ids.get(scenario_id, finding_id) != finding_id:
                    findings = self.findings((finding_id, ids[scenario_id]))
                    ids[scenario_id] = min(
                        (ids[scenario_id], finding_id), key=lambda id_: WORST_FIRST.index(findings[id_].verdict)
                    )
        merged = -len(self._merged) - 1
        self._merged[merged] = Vector(known[newest.vector_id].set_id, vectors.raw(ids.values()))
        self._repeats[newest.id] = same
        return newest._replace(vector_id=merged)

    def verdicts(self, run: Run, scenario_id: int) -> tuple[Verdict, ...]:
        """What each of the repeats said of a scenario, the oldest first; nothing if there was one run, or one word."""
        runs = self.repeats(run)
        known = self.vectors(one.vector_id for one in runs)
        ids = [self.by_scenario(known[one.vector_id]).get(scenario_id) for one in runs]
        findings = self.findings(id_ for id_ in ids if id_ is not None)
        said = tuple(findings[id_].verdict for id_ in ids if id_ is not None)
        return said if len(set(said)) > 1 else ()

    def runs_of_night(self, cell_id: int, night: str, since: int = 0) -> list[Run]:
        """The runs of a cell in a night, from a time on, the oldest first."""
        table = schema.run
        found = select(*_RUN).where(table.c.cell_id == cell_id, table.c.night == night, table.c.time >= since)
        return self._runs(found.order_by(table.c.time, table.c.id))

    def runs_before(self, run_or_time: Run | int, cell_id: int, count: int) -> list[Run]:
        """The newest ``count`` runs of a cell before a run or a time, the newest first."""
        table = schema.run
        if isinstance(run_or_time, Run):
            time, id_ = run_or_time.time, run_or_time.id
            earlier: ColumnElement[bool] = or_(table.c.time < time, and_(table.c.time == time, table.c.id < id_))
        else:
            earlier = table.c.time < run_or_time
        found = select(*_RUN).where(table.c.cell_id == cell_id, earlier)
        return self._runs(found.order_by(table.c.time.desc(), table.c.id.desc()).limit(count))

    def run(self, id_: int) -> Run:
        return Run(*self.connection.execute(select(*_RUN).where(schema.run.c.id == id_)).one())

    def steps_since(self, time: int, cell_id: int) -> Iterator[tuple[Step, Vector]]:
        """The runs of a cell from ``time`` on, the oldest first, each with its vector."""
        table, vector = schema.run, schema.vector
        found = (
            select(*_STEP, vector.c.set_id, vector.c.findings)
            .join(vector, table.c.vector_id == vector.c.id)
            .where(table.c.cell_id == cell_id, table.c.time >= time)
            .order_by(table.c.time, table.c.id)
            .execution_options(yield_per=500)
        )
        last_id, last = -1, Vector(0, b"")
        for row in self.connection.execute(found):
            step = Step(*row[: len(Step._fields)])
            if step.vector_id != last_id:
                set_id, data = row[len(Step._fields) :]
                last_id, last = step.vector_id, Vector(set_id, _inflated(data, len(self.members(set_id))))
            yield step, last

    def nights(self, count: int, skip: int = 0, before: str | None = None) -> list[str]:
        """The newest nights (of those before one), the newest first, without the first ``skip``."""
        night = schema.run.c.night
        asked = select(night).distinct().order_by(night.desc()).limit(count).offset(skip)
        if before is not None:
            asked = asked.where(night < before)
        return list(self.connection.execute(asked).scalars())

    def count_nights(self) -> int:
        return int(self.connection.execute(select(func.count(schema.run.c.night.distinct()))).scalar_one())

    def runs_of_nights(self, first: str, last: str) -> list[Run]:
        """The runs of these nights and those between, the oldest first."""
        table = schema.run
        found = select(*_RUN).where(table.c.night >= first, table.c.night <= last)
        return self._runs(found.order_by(table.c.time, table.c.id))

    def sightings(self, *, since: int | None = None, last_since: int | None = None) -> list[Sighting]:
        """Signatures by cell: those first seen at ``since`` or later, or last seen at ``last_since`` or later."""
        table, names = schema.sighting, schema.signature
        asked = select(
            table.c.cell_id, names.c.splat_class, names.c.function, table.c.first_time, table.c.last_time,
            table.c.scenario_id, table.c.example,
        ).join(names, table.c.signature_id == names.c.id)  # fmt: skip
        if since is not None:
            asked = asked.where(table.c.first_time >= since)
        if last_since is not None:
            asked = asked.where(table.c.last_time >= last_since)
        asked = asked.order_by(names.c.splat_class, names.c.function, table.c.cell_id)
        return [Sighting(cell, Signature(a, b), *rest) for cell, a, b, *rest in self.connection.execute(asked)]

    def documents(self, ids: Iterable[int]) -> dict[int, bytes]:
        table = schema.document
        found: dict[int, bytes] = {}
        for part in chunks(list(dict.fromkeys(ids))):
            rows = self.connection.execute(select(table.c.id, table.c.content).where(table.c.id.in_(part)))
            found |= {row.id: row.content for row in rows}
        return found

    def side(self, words: str) -> Side:
        """The runs that a user names: ``latest``, ``latest~N`` (nights), a date, a run, or a revision of the harness.

        ``night:``, ``run:`` and ``revision:`` before it say which is meant. Raises MatrixError.
        """
        kind, colon, rest = words.partition(":")
        if colon and kind in ("night", "run", "revision"):
            found = {"night": self._night, "run": self._run, "revision": self._revision}[kind](rest)
            if not found:
                raise MatrixError(f"the history has no {kind} '{rest}': {self._what_there_is()}")
            return self._side(words, found)
        if found := self._night(words):
            return self._side(words if _DATE.fullmatch(words) else f"{words} ({found[0].night})", found)
        found, revision = self._run(words), self._revision(words)
        if found and revision:
            raise MatrixError(f"'{words}' is a run and a revision: write run:{words} or revision:{words}")
        if not found and not revision:
            raise MatrixError(f"the history has no night, run or revision '{words}': {self._what_there_is()}")
        return self._side(words, found or revision)

    def _side(self, title: str, runs: Sequence[Run]) -> Side:
        return Side(title, {run.cell_id: run for run in self.nightly(runs)})

    def moment(self, words: str) -> tuple[int, str]:
        """What --since means: the first second that belongs to it, and how to call it.

        A date, ``7d``, ``latest``, ``latest~N``, or a run, which itself belongs to it. Raises MatrixError.
        """
        if days := _DAYS.fullmatch(words):
            newest = self.nights(1)
            if not newest:
                raise MatrixError("the history is empty: record runs first (dmasafe matrix record)")
            first = date.fromisoformat(newest[0]) - timedelta(days=int(days[1]) - 1)
            return _midnight(first), first.isoformat()
        if _LATEST.fullmatch(words):
            runs = self._night(words)
            if not runs:
                raise MatrixError(f"the history has no {words}: {self._what_there_is()}")
            return min(run.time for run in runs), f"{words} ({runs[0].night})"
        try:
            moment = datetime.fromisoformat(words)
        except ValueError:
            pass
        else:
            at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return int(at.timestamp()), words
        side = self.side(words)
        return min(run.time for run in side.runs.values()), side.title

    def _night(self, words: str) -> list[Run]:
        latest = _LATEST.fullmatch(words)
        nights = self.nights(1, int(latest[1] or 0)) if latest else [words] if _DATE.fullmatch(words) else []
        return self.runs_of_nights(nights[0], nights[0]) if nights else []

    def _run(self, words: str) -> list[Run]:
        if not _HEX.fullmatch(words):
            return []
        digest = schema.run.c.digest
        # A range, not LIKE: it uses the index, in every locale.
        found = self._runs(select(*_RUN).where(digest >= words, digest <= words.ljust(64, "f")).limit(2))
        if len(found) > 1:
            raise MatrixError(f"several runs begin with '{words}': write more of it")
        return found

    def _revision(self, words: str) -> list[Run]:
        revision = schema.run.c.revision
        asked: ColumnElement[bool] = revision == words
        if _HEX.fullmatch(words):
            known = self.connection.execute(
                select(revision).distinct().where(revision >= words, revision <= words.ljust(100, "f"))
            ).scalars()
            names = {name for name in known if name is not None and name.startswith(words)}
            if len(names) > 1:
                raise MatrixError(f"several revisions begin with '{words}': write more of it")
            asked = revision == (names.pop() if names else words)
        table = schema.run
        return self._runs(select(*_RUN).where(asked).order_by(table.c.time, table.c.id))

    def _runs(self, asked: Any) -> list[Run]:
        return [Run(*row) for row in self.connection.execute(asked)]

    def _what_there_is(self) -> str:
        count, first, last = self.connection.execute(
            select(func.count(), func.min(schema.run.c.night), func.max(schema.run.c.night)).select_from(schema.run)
        ).one()
        return f"its {count:,} runs are of {first} to {last}" if count else "it is empty, record runs first"


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _inflated(data: bytes, size: int) -> bytes:
    try:
        return vectors.inflate(data, size)
    except ValueError as error:
        raise MatrixError(f"the history is damaged: {error}; restore it, or record the runs again") from error
