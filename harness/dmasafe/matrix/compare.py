# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed between two sides of the history, or since a moment, told apart by whose doing it is.

A scenario that fails now and did not before is a regression if the kernel did something else than before; if the kernel
did the same and the expectation moved, model and kernel disagree. Where the same cell and source gave both verdicts, it
is flaky, and of a night the worst verdict counts. What cannot be said makes the exit status 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from statistics import median

from dmasafe.matrix import vectors
from dmasafe.matrix.cells import Cell
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.history import History, Run, Side, Sighting, Step, Vector
from dmasafe.matrix.judgements import TRUSTED, UNTRUSTED, Signature, StoredJudgement
from dmasafe.matrix.vectors import ITEM_BYTES
from dmasafe.outcome import Verdict

# Runs of a cell before a comparison in which a scenario may have shown that it is flaky.
FLAKY_RUNS = 30
# Runs with whose median a time is compared, and how many of them it takes.
TIMING_RUNS = 10
LEAST_TIMING_RUNS = 3
# A cell is missed if it ran in one of so many nights before; what ran longer ago was taken out of the matrix.
MISSED_NIGHTS = 10
SLOWER = 1.5
# Less than this many seconds more is noise, whatever the ratio.
TIMES: dict[str, tuple[Callable[[Run], float | None], float]] = {
    "boot": (lambda run: run.boot_s, 1.0),
    "build": (lambda run: run.build_s, 5.0),
}
EXIT_REGRESSIONS, EXIT_UNSAID = 1, 2


class ChangeKind(StrEnum):
    """What became of a scenario; the order is that of the reports."""

    NEW_FAILURE = "new failure"
    FLAKY = "flaky"
    DISAGREEMENT = "model-kernel disagreement"
    UNSAID = "inconclusive"
    NOT_JUDGED = "no longer judged"
    FIXED = "fixed"


@dataclass(frozen=True)
class Change:
    """One scenario of one cell. ``before`` is its last trusted finding, None if it had none; ``after`` is None if gone.

    ``new`` is False for what was so before and is only told again: a known flaky one, a standing disagreement.
    ``repeats`` are the verdicts of several runs in one night, if they differ.
    """

    kind: ChangeKind
    cell: Cell
    cell_id: int
    scenario: str
    before: StoredJudgement | None
    after: StoredJudgement | None
    run: str
    new: bool = True
    repeats: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class NewSignature:
    """A splat signature that its cell had not shown before."""

    cell: Cell
    cell_id: int
    signature: Signature
    scenario: str


@dataclass(frozen=True)
class Slower:
    """A ``boot`` or ``build`` of ``seconds``, where the median of the ``runs`` before was ``usual``."""

    cell: Cell
    cell_id: int
    what: str
    seconds: float
    usual: float
    runs: int

    @property
    def ratio(self) -> float:
        return self.seconds / self.usual


@dataclass
class Comparison:
    """``compared`` counts verdicts that were compared; ``missing`` are cells of the first side only."""

    before: str
    after: str
    cells: int = 0
    compared: int = 0
    changes: list[Change] = field(default_factory=list)
    signatures: list[NewSignature] = field(default_factory=list)
    slower: list[Slower] = field(default_factory=list)
    missing: list[Cell] = field(default_factory=list)
    fresh: list[Cell] = field(default_factory=list)

    def of(self, kind: ChangeKind, *, new: bool = True) -> list[Change]:
        return [change for change in self.changes if change.kind is kind and change.new is new]

    @property
    def exit_status(self) -> int:
        """0 nothing new, 1 regressions, 2 it cannot be said; 1 outweighs 2."""
        if self.of(ChangeKind.NEW_FAILURE) or self.of(ChangeKind.FLAKY) or self.signatures or self.slower:
            return EXIT_REGRESSIONS
        unsaid = self.missing or not self.compared
        if unsaid or any(self.of(kind) for kind in (ChangeKind.DISAGREEMENT, ChangeKind.UNSAID, ChangeKind.NOT_JUDGED)):
            return EXIT_UNSAID
        return 0


Chooses = Callable[[Cell], bool]


def _every(_: Cell) -> bool:
    return True


def compare(
    history: History, before: Side, after: Side, slower: float = SLOWER, chosen: Chooses = _every
) -> Comparison:
    """The second side compared with the first, cell by cell. ``slower`` is the ratio that counts, 0 for none.

    Raises MatrixError if the sides have no cell in common.
    """
    cells = {id_: cell for id_, cell in history.cells.items() if chosen(cell)}
    earlier, now = (
        {cells[id_].family: run for id_, run in side.runs.items() if id_ in cells} for side in (before, after)
    )
    if not earlier.keys() & now.keys():
        raise MatrixError(f"{before.title} and {after.title} have no cell in common: there is nothing to compare")
    found = Comparison(before.title, after.title)
    first_seen = {(one.cell_id, one.signature): one.first_time for one in history.sightings()}
    for cell_id, cell in cells.items():
        old, new = before.runs.get(cell_id), after.runs.get(cell_id)
        if new is None:
            found.missing += [cell] if old is not None and cell.family not in now else []
            continue
        # A cell that had another version of QEMU before is compared with it, but is no repeat of it.
        kin = old or earlier.get(cell.family)
        tonight = history.repeats(new)
        past = history.runs_before(tonight[0], cell_id, FLAKY_RUNS)
        known = history.vectors(run.vector_id for run in (*past, *tonight, new, *([kin] if kin else [])))
        look = _Look(history, cell, cell_id, slower, found)
        look.past(past if old is None or old.id in {run.id for run in past} else [*past, old], known)
        for run in tonight:
            look.window(run.step, known[run.vector_id])
        look.settle(new, known[new.vector_id])
        if kin is None:
            look.judge([])
            continue
        look.judge([known[kin.vector_id]])
        shown_before = look.signatures(known[kin.vector_id])
        for one, scenario_id in look.signatures(known[new.vector_id]).items():
            seen = kin.time < new.time and first_seen.get((cell_id, one), new.time) <= kin.time
            if one not in shown_before and not seen:
                look.add_signature(one, scenario_id)
    return _sorted(found)


def regressions(
    history: History, since: int, title: str, slower: float = SLOWER, chosen: Chooses = _every
) -> Comparison:
    """The newest run of each cell since a moment compared with what was before it, and what happened in between.

    Raises MatrixError if no run is that new.
    """
    found = Comparison(f"before {title}", f"since {title}")
    new_signatures: dict[int, list[Sighting]] = {}
    for sighting in history.sightings(since=since):
        new_signatures.setdefault(sighting.cell_id, []).append(sighting)
    ran: set[Cell] = set()
    recent = set(history.nights(MISSED_NIGHTS, before=datetime.fromtimestamp(since, UTC).date().isoformat()))
    for cell_id, cell in history.cells.items():
        if not chosen(cell):
            continue
        past = history.runs_before(since, cell_id, FLAKY_RUNS)
        known = history.vectors(run.vector_id for run in past)
        look = _Look(history, cell, cell_id, slower, found)
        look.past(past, known)
        for step, vector in history.steps_since(since, cell_id):
            look.window(step, vector)
        if look.newest is None:
            found.missing += [cell] if past and past[0].night in recent else []
            continue
        ran.add(cell.family)
        newest = history.run(look.newest.id)
        [tonight] = history.nightly(history.runs_of_night(cell_id, newest.night, since))
        look.settle(tonight, history.vectors([tonight.vector_id])[tonight.vector_id])
        # A cell that had another version of QEMU before is compared with it.
        nights = history.nightly(past or _relatives(history, cell, since))
        before = history.vectors(run.vector_id for run in nights)
        look.judge([before[run.vector_id] for run in reversed(nights)])
        if past:
            for sighting in new_signatures.get(cell_id, []):
                look.add_signature(sighting.signature, sighting.scenario_id)
    found.missing = [cell for cell in found.missing if cell.family not in ran]
    if not found.cells and not found.fresh:
        raise MatrixError(f"nothing was recorded since {title}: name an earlier time, or record runs first")
    return _sorted(found)


def _relatives(history: History, cell: Cell, before: int) -> list[Run]:
    """The newest runs before a time of the cell that differs in QEMU's version only, of those the newest."""
    kin = (
        history.runs_before(before, id_, FLAKY_RUNS) for id_, one in history.cells.items() if one.family == cell.family
    )
    return max(kin, key=lambda runs: runs[0].time if runs else 0)


class _Look:
    """One cell looked at: first its past, then the runs in question, then judge()."""

    def __init__(self, history: History, cell: Cell, cell_id: int, slower: float, found: Comparison) -> None:
        self.history, self.cell, self.cell_id, self.slower, self.found = history, cell, cell_id, slower, found
        self._flakes = _Flakes(history)
        self._flaky_before: set[int] = set()
        self._past: list[Run] = []
        self._judged: tuple[Run, Vector] | None = None
        #: The last of the runs in question.
        self.newest: Step | None = None

    def past(self, runs: Sequence[Run], known: Mapping[int, Vector]) -> None:
        """Runs before those in question, the newest first."""
        self._past = list(runs)
        for run in reversed(runs):
            self._flakes.add(run.step, known[run.vector_id])
        self._flaky_before = self._flakes.anywhere()

    def window(self, step: Step, vector: Vector) -> None:
        """One of the runs in question, the oldest first."""
        self._flakes.add(step, vector)
        self.newest = step

    def settle(self, run: Run, vector: Vector) -> None:
        """What judge() looks at: the last run, with the worst of its night."""
        self._judged = run, vector

    def judge(self, before: Sequence[Vector]) -> None:
        """Compare the newest run with what was before it, the newest first; a cell without it is a fresh one."""
        assert self._judged is not None
        run, vector = self._judged
        step = run.step
        known = _last_said(self.history, before)
        now = self.history.by_scenario(vector)
        findings = self.history.findings(now.values())
        here = self._flakes.of(step)
        newly = self._flakes.anywhere() - self._flaky_before
        ids = {*now.values(), *known.values()}
        trusted = {id_ for id_ in ids if findings[id_].verdict in TRUSTED}
        passed = {id_ for id_ in ids if findings[id_].verdict is Verdict.PASS}
        self.found.compared += sum(id_ in trusted and known.get(one) in trusted for one, id_ in now.items())
        as_before = {one for one, id_ in now.items() if id_ in passed and known.get(one) == id_}
        for scenario_id in ((now.keys() | known.keys()) - as_before) | ((here | newly) & now.keys()):
            old = findings[known[scenario_id]] if scenario_id in known else None
            new = findings[now[scenario_id]] if scenario_id in now else None
            kind = _kind(old, new, scenario_id in here, scenario_id in here or scenario_id in newly)
            if kind is not None:
                fresh = scenario_id not in self._flaky_before if kind is ChangeKind.FLAKY else not _standing(kind, old)
                name = self.history.scenarios[scenario_id].name
                repeats = self.history.verdicts(run, scenario_id)
                self.found.changes.append(
                    Change(kind, self.cell, self.cell_id, name, old, new, run.name, fresh, repeats)
                )
        if before:
            self.found.cells += 1
            self.found.slower += _slower(self.cell, self.cell_id, run, self._past, self.slower)
        else:
            self.found.fresh.append(self.cell)

    def signatures(self, vector: Vector) -> dict[Signature, int]:
        """What a run showed, each with the first scenario that showed it."""
        now = self.history.by_scenario(vector)
        findings = self.history.findings(now.values())
        splatted = {id_ for id_ in set(now.values()) if findings[id_].signatures}
        shown: dict[Signature, int] = {}
        for scenario_id, finding_id in now.items():
            if finding_id in splatted:
                for one in findings[finding_id].signatures:
                    shown.setdefault(one, scenario_id)
        return shown

    def add_signature(self, one: Signature, scenario_id: int) -> None:
        name = self.history.scenarios[scenario_id].name
        self.found.signatures.append(NewSignature(self.cell, self.cell_id, one, name))


class _Flakes:
    """Which scenarios gave both verdicts where nothing that is known had changed: same source, same harness."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._last: dict[tuple[str, str | None], Vector] = {}
        # Of each source and harness, scenarios with the findings they ever had, if those were several.
        self._seen: dict[tuple[str, str | None], dict[int, set[int]]] = {}

    def add(self, step: Step, vector: Vector) -> None:
        """The next run, in the order of time."""
        # Without the exact source, another verdict may be another source's.
        if not step.source_id:
            return
        key = step.source_id, step.revision
        last = self._last.get(key)
        if last is None or last == vector:
            self._last[key] = vector
            return
        differences = list(self._history.differences(last, vector))
        # Of a run that is untrusted as a whole there is nothing to learn, in many steps.
        if len(differences) > len(vector.data) // ITEM_BYTES // 4 and self._says_nothing(vector):
            return
        seen = self._seen.setdefault(key, {})
        for scenario_id, old, new in differences:
            seen.setdefault(scenario_id, {old}).update((old, new))
        self._last[key] = vector

    def _says_nothing(self, vector: Vector) -> bool:
        ids = set(vectors.ids(vector.data))
        findings = self._history.findings(ids)
        return not any(findings[id_].verdict in TRUSTED for id_ in ids)

    def of(self, step: Step) -> set[int]:
        """The scenarios that are flaky on this run's source."""
        return self._flaky(self._seen.get((step.source_id, step.revision), {}))

    def anywhere(self) -> set[int]:
        return {scenario_id for seen in self._seen.values() for scenario_id in self._flaky(seen)}

    def _flaky(self, seen: Mapping[int, set[int]]) -> set[int]:
        # Many scenarios went alike: one answer for each combination of findings.
        combinations = {scenario_id: frozenset(ids) for scenario_id, ids in seen.items()}
        different = set(combinations.values())
        findings = self._history.findings(id_ for ids in different for id_ in ids)
        flaky = {ids for ids in different if _contradict([findings[id_] for id_ in ids])}
        return {scenario_id for scenario_id, ids in combinations.items() if ids in flaky}


def _contradict(findings: Sequence[StoredJudgement]) -> bool:
    """Whether some pass and some fail by what the kernel did: by the same expectation, compared with other doings."""
    passed = [one for one in findings if one.verdict is Verdict.PASS]
    failed = [one for one in findings if one.verdict is Verdict.FAIL]
    return any(a.expected == b.expected and a.observed != b.observed for a in passed for b in failed)


def _kind(old: StoredJudgement | None, new: StoredJudgement | None, flaky_here: bool, flaky: bool) -> ChangeKind | None:
    """What became of a scenario. ``flaky_here``: on the source that was run last; ``flaky``: that, or newly so."""
    was = old.verdict if old is not None and old.verdict in TRUSTED else None
    if new is None or new.verdict is Verdict.SKIP:
        return ChangeKind.NOT_JUDGED if was else None
    if new.verdict in UNTRUSTED:
        return ChangeKind.UNSAID
    if flaky_here or (flaky and new.verdict is Verdict.PASS):
        return ChangeKind.FLAKY
    if new.verdict is Verdict.PASS:
        return ChangeKind.FIXED if was is Verdict.FAIL else None
    if old is None or was is None:
        return ChangeKind.NEW_FAILURE
    if was is Verdict.FAIL:
        return ChangeKind.DISAGREEMENT if old.outcome == new.outcome else ChangeKind.NEW_FAILURE
    return ChangeKind.DISAGREEMENT if old.observed == new.observed else ChangeKind.NEW_FAILURE


def _standing(kind: ChangeKind, old: StoredJudgement | None) -> bool:
    return kind is ChangeKind.DISAGREEMENT and old is not None and old.verdict is Verdict.FAIL


def _last_said(history: History, before: Sequence[Vector]) -> dict[int, int]:
    """The scenarios of the newest run, each with its last finding that is not INCONCLUSIVE or ERROR, if any."""
    if not before:
        return {}
    newest = history.by_scenario(before[0])
    said, pending = _split(history, newest)
    for vector in before[1:]:
        if not pending:
            break
        now = history.by_scenario(vector)
        found, _ = _split(history, {scenario_id: now[scenario_id] for scenario_id in pending & now.keys()})
        said |= found
        pending -= found.keys()
    return said


def _split(history: History, now: Mapping[int, int]) -> tuple[dict[int, int], set[int]]:
    """Scenarios with a finding that says something, and those without."""
    findings = history.findings(now.values())
    untrusted = {id_ for id_ in set(now.values()) if findings[id_].verdict in UNTRUSTED}
    said = {scenario_id: id_ for scenario_id, id_ in now.items() if id_ not in untrusted}
    return said, now.keys() - said.keys()


def _slower(cell: Cell, cell_id: int, run: Run, past: Iterable[Run], threshold: float) -> list[Slower]:
    if not threshold:
        return []
    found = []
    for what, (seconds_of, least_s) in TIMES.items():
        seconds = seconds_of(run)
        earlier = [s for one in past if one.accel == run.accel and (s := seconds_of(one)) is not None][:TIMING_RUNS]
        if seconds is None or len(earlier) < LEAST_TIMING_RUNS:
            continue
        usual = median(earlier)
        if seconds > threshold * usual and seconds - usual >= least_s:
            found.append(Slower(cell, cell_id, what, seconds, usual, len(earlier)))
    return found


def _sorted(found: Comparison) -> Comparison:
    order = {kind: number for number, kind in enumerate(ChangeKind)}
    found.changes.sort(key=lambda change: (order[change.kind], change.scenario, change.cell))
    found.signatures.sort(key=lambda one: (one.signature, one.cell))
    found.slower.sort(key=lambda one: -one.ratio)
    return found
