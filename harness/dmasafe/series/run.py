# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine: base and tip built and run, the difference taken, repeated, and given to commits.

Its Bench does the work; what is here is the order in which it is asked, and what its answers mean.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from dmasafe.audit import Level
from dmasafe.check import CheckResult
from dmasafe.kernel.errors import BuildError
from dmasafe.report.results import Results
from dmasafe.report.text import plural
from dmasafe.series import differ
from dmasafe.series.bench import Bench, Cell
from dmasafe.series.choose import SMOKE, Choice, Job
from dmasafe.series.differ import BAD, UNTRUSTED, Changed, Judgements, Kind
from dmasafe.series.tree import Commit, Hunk, Series

#: How often the tip, and the base, run rows that differ.
REPEATS = 3
#: Rows of a difference that are run on the commits between; all of them would tell no more.
SAMPLE = 12
EXIT_WORSE, EXIT_UNTRUSTED = 1, 2
_COMPILER = re.compile(r"^\s*(?:\S*/tree/)?(\S+?):(\d+)(?::\d+)?: (?:fatal )?error: (.*)$", re.MULTILINE)
#: Lines of a change that are shown.
HUNK_LINES = 40


class Source(Protocol):
    """What is asked about the series' own text (tree.py)."""

    def blamed(self, series: Series, file: str, line: int) -> Commit | None: ...
    def hunks(self, commit: Commit, paths: Sequence[str] = ()) -> list[Hunk]: ...


@dataclass(frozen=True)
class Finding:
    """One difference. ``where`` is the cell, with the suite, or empty; ``what`` says it in a line, ``why`` more.

    ``suspects`` are the commits that it can be of: one, if it is known. ``file`` and ``line`` are where it shows.
    """

    kind: Kind
    where: str
    what: str
    why: str = ""
    ids: tuple[str, ...] = ()
    again: tuple[int, int] = (1, 1)
    suspects: tuple[Commit, ...] = ()
    file: str = ""
    line: int = 0
    blame: str = ""
    function: str = ""
    unexpected: bool = False
    checked: CheckResult | None = None
    hunks: tuple[Hunk, ...] = ()


@dataclass(frozen=True)
class JobRun:
    """One job at both ends, with its repetitions."""

    job: Job
    before: tuple[Results, ...]
    after: tuple[Results, ...]


@dataclass(frozen=True)
class Verdict:
    """What is said of a series. ``tried`` says how many commits were built by themselves (``--each``)."""

    series: Series
    choice: Choice
    findings: tuple[Finding, ...] = ()
    runs: tuple[JobRun, ...] = ()
    checked_files: int = 0
    tried: int = 0
    seconds: float = 0.0

    @property
    def compared(self) -> int:
        return sum(differ.compared(*sides(run)) for run in self.runs)

    @property
    def broken_in_both(self) -> int:
        return sum(differ.broken_in_both(*sides(run)) for run in self.runs)

    def of(self, kinds: Collection[Kind]) -> list[Finding]:
        return [one for one in self.findings if one.kind in kinds]

    @property
    def exit_status(self) -> int:
        """0 nothing is worse, 1 something is, 2 it cannot be said."""
        if self.of(BAD):
            return EXIT_WORSE
        return EXIT_UNTRUSTED if self.of(UNTRUSTED) else 0


def sides(run: JobRun) -> tuple[Judgements, Judgements]:
    return differ.judgements(run.before), differ.judgements(run.after)


@dataclass
class _Look:
    """One look at a series."""

    series: Series
    choice: Choice
    bench: Bench
    tell: Callable[[str], None]
    text: Source
    each: bool
    repeats: int
    #: Why a commit has no kernel in a cell; None if it has one.
    built: dict[tuple[str, Cell], str | None] = field(default_factory=dict)
    seen: dict[tuple[str, Job], dict[str, Results]] = field(default_factory=dict)

    def builds(self, commit: Commit, cell: Cell) -> str | None:
        """What the compiler says against it, None if it builds."""
        key = commit.sha, cell
        if key not in self.built:
            try:
                self.bench.compile(commit, cell)
                self.built[key] = None
            except BuildError as error:
                self.built[key] = str(error)
        return self.built[key]

    def source(self) -> tuple[list[Finding], int]:
        checked = self.bench.check()
        found = []
        for one in checked.results:
            if one.level is Level.NOTE:
                continue
            places = [(one.file, one.line), *((step.file, step.line) for step in one.steps)]
            guilty = next((commit for place in places if (commit := self.text.blamed(self.series, *place))), None)
            suspects = (guilty,) if guilty else self.touching([one.file])
            what = f"{one.rule}: {one.function}() in {one.file}:{one.line}"
            why = f"{one.why}: goes to {one.sink}"
            found.append(
                Finding(Kind.CHECKED, "source", what, why, suspects=suspects, file=one.file, line=one.line, checked=one)
            )
        if checked.files:
            self.tell(f"source: {plural(len(found), 'result')} new in {plural(checked.files, 'file')}")
        large = [file for file in checked.skipped if file in self.series.paths]
        found += [Finding(Kind.UNSAID, "source", file, "it is too large for the source check") for file in large]
        return found, checked.files

    def touching(self, files: Iterable[str]) -> tuple[Commit, ...]:
        wanted = set(files)
        return tuple(commit for commit in self.series.commits if wanted & set(commit.paths))

    def cell(self, cell: Cell) -> tuple[list[Finding], list[JobRun]]:
        """A cell's builds and jobs."""
        jobs = [job for job in self.choice.jobs if job.cell == cell]
        base, tip = self.series.base, self.series.tip
        name = f"{cell[1]} {cell[0]}"
        before = {job: known for job in jobs if (known := self.bench.known(base, job)) is not None}
        if len(before) < len(jobs) and (why := self.builds(base, cell)) is not None:
            what = f"the base ({base.sha[:12]}) does not build: nothing can be compared"
            return [Finding(Kind.UNSAID, name, what, _concise(why))], []
        found = []
        if self.each:
            found += self.broken_between(cell)
        if (why := self.builds(tip, cell)) is not None:
            if not found:
                found.append(self.broken(cell, self.first_broken(cell), why))
            return found, []
        self.tell(f"{name}: base and tip are built")
        runs: dict[Job, JobRun] = {}
        for job in jobs:
            after = self.bench.perform(tip, job)
            earlier = before.get(job) or self.bench.perform(base, job)
            runs[job] = JobRun(job, (earlier,), (after,))
            self.tell(f"{job.name}: {_news(runs[job])}")
            found += self.unjudged(runs[job])
        taken: set[str] = set()
        told: set[str] = set()
        # A row is told of one job. The smoke suite, which is for the news, has the rest, and what no other saw.
        for job in sorted(jobs, key=lambda job: job.suite == SMOKE):
            rows = {one.id for one in job.scenarios()}
            new = differ.differing(*sides(runs[job])).keys() - told
            run = runs[job] = self.repeated(_only(runs[job], rows - taken | rows & new))
            taken |= rows
            told |= differ.differing(*sides(run)).keys()
            found += [self.finding(job, run, change) for change in differ.changed(*sides(run))]
            found += self.slower(run)
        return found, list(runs.values())

    def unjudged(self, run: JobRun) -> list[Finding]:
        """Silence is no pass: a job of which base and tip have no verdict."""
        before, after = sides(run)
        if differ.compared(before, after) or differ.differing(before, after):
            return []
        skipped = next((one[0].why for one in after.values()), "it has no rows")
        return [Finding(Kind.UNSAID, run.job.name, f"nothing of {run.job.name} was judged", skipped)]

    def repeated(self, run: JobRun) -> JobRun:
        """Rows that differ are run again, at both ends; what a busy machine may do, more often."""
        ids = set(differ.differing(*sides(run))) | self.timed(run)
        for _ in range(self.repeats - 1 if ids else 0):
            run = self.again(run, ids)
        while 1 < len(run.after) < differ.DOUBTFUL_RUNS and (ids := differ.once(*sides(run)) | self.timed(run)):
            run = self.again(run, ids)
        return run

    def again(self, run: JobRun, ids: Collection[str]) -> JobRun:
        before = self.bench.perform(self.series.base, run.job, ids)
        after = self.bench.perform(self.series.tip, run.job, ids)
        return JobRun(run.job, (*run.before, before), (*run.after, after))

    def timed(self, run: JobRun) -> set[str]:
        """The rows that are slower, with some to see them beside."""
        slow = {id_ for _, rows in differ.slower(run.before, run.after).values() for id_ in rows}
        return slow | (differ.references(run.before, run.after, slow) if slow else set())

    def slower(self, run: JobRun) -> list[Finding]:
        # What can be heard now and then on a busy machine is not heard when it was quiet once; and a guest whose clock
        # went wrong once, so that its calls seem short, is one run of many.
        found = differ.slower(run.before, run.after) if len(run.after) >= differ.DOUBTFUL_RUNS else {}
        pairs = zip(run.before, run.after, strict=True)
        often = Counter(name for before, after in pairs for name in differ.slower([before], [after]))
        return [
            Finding(
                Kind.SLOWER, run.job.name, f"{name} takes {times:.1f} times as long, beside all other calls",
                ids=tuple(ids), again=(len(run.after), len(run.after)), suspects=self.maybe(run.job),
            )
            for name, (times, ids) in sorted(found.items())
            if 3 * often[name] >= 2 * len(run.after)
        ]  # fmt: skip

    def finding(self, job: Job, run: JobRun, change: Changed) -> Finding:
        what = f"{_scenarios(change.ids)}: {change.before} -> {change.after}"
        suspects: tuple[Commit, ...] = ()
        # One boot of a commit shows or clears what each run of the tip has, and nothing else.
        steady = change.kind in (Kind.WORSE, Kind.BETTER) or change.again[0] == change.again[1]
        if change.kind not in UNTRUSTED:
            suspects = self.first(job, run, change) if self.each and steady else self.maybe(job)
        return Finding(
            change.kind, job.name, what, change.why, change.ids, change.again, suspects, blame=change.blame,
            function=change.function, unexpected=change.unexpected,
        )  # fmt: skip

    def maybe(self, job: Job) -> tuple[Commit, ...]:
        """The commits because of which a job was chosen."""
        mine = tuple(commit for commit in self.series.commits if self.choice.chosen_by(job, commit.paths))
        return mine or self.series.commits

    # ---- commits between

    def broken_between(self, cell: Cell) -> list[Finding]:
        """Every commit is built, the oldest first; those that do not are named, with the one that corrects it."""
        found: list[Finding] = []
        since: Commit | None = None
        for commit in self.series.commits:
            why = self.builds(commit, cell)
            if why is not None and since is None:
                since = commit
                found.append(self.broken(cell, (commit,), why))
            elif why is None and since is not None:
                told = f"{found[-1].what}; corrected by {commit.sha[:12]} ({commit.subject})"
                found[-1] = replace(found[-1], what=told)
                since = None
        return found

    def first_broken(self, cell: Cell) -> tuple[Commit, ...]:
        """The first commit that does not build, where the tip does not either."""
        commits = self.series.commits
        low, high = 0, len(commits) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.builds(commits[middle], cell) is not None else (middle + 1, high)
        return (commits[high],)

    def broken(self, cell: Cell, suspects: tuple[Commit, ...], why: str) -> Finding:
        match = _COMPILER.search(why)
        file, line = (match[1], int(match[2])) if match else ("", 0)
        what = f"{suspects[0].sha[:12]} ({suspects[0].subject}) does not build"
        place = f"{cell[1]} {cell[0]}"
        return Finding(Kind.BROKEN, place, what, _concise(why), suspects=suspects, file=file, line=line)

    def first(self, job: Job, run: JobRun, change: Changed) -> tuple[Commit, ...]:
        """The first commit at which the rows differ: bisected over those that build and can be judged."""
        before, after = sides(run)
        series = self.series.commits
        commits = [commit for commit in series if self.builds(commit, job.cell) is None]
        sample = self.samples(job, before, after)
        mine = [id_ for id_ in change.ids if id_ in sample]
        known = {id_: before[id_] for id_ in mine if id_ in before}
        low, high = 0, len(commits) - 1
        while low < high:
            middle = (low + high) // 2
            there = differ.judgements([self.at(commits[middle], job, sample)])
            found = differ.differing(known, {id_: there[id_] for id_ in mine if id_ in there})
            if set(found.values()) - UNTRUSTED:
                high = middle
            elif len(found) == len(mine):
                del commits[middle]
                high -= 1
            else:
                low = middle + 1
        # Those just before it that do not build, or cannot be judged, may be it as well.
        first = last = series.index(commits[high])
        while first and series[first - 1] not in commits:
            first -= 1
        return series[first : last + 1]

    def hunks(self, finding: Finding) -> tuple[Hunk, ...]:
        """What of the one commit to show: where the finding is, else what its reports blame, else what fits."""
        if len(finding.suspects) != 1:
            return ()
        hunks = [hunk for hunk in self.text.hunks(finding.suspects[0]) if hunk.file.endswith((".c", ".h"))]
        near = [hunk for hunk in hunks if hunk.file == finding.file and hunk.covers(finding.line)]
        blamed = [hunk for hunk in hunks if finding.function and finding.function in hunk.function]
        chosen = near or blamed or hunks
        shown: list[Hunk] = []
        for hunk in chosen:
            if not shown or sum(one.text.count("\n") + 1 for one in (*shown, hunk)) <= HUNK_LINES:
                shown.append(hunk)
        return tuple(shown)

    def samples(self, job: Job, before: Judgements, after: Judgements) -> frozenset[str]:
        """The same rows of each change for every commit: one boot answers for all of them."""
        return frozenset(
            id_ for change in differ.changed(before, after) if change.kind not in UNTRUSTED
            for id_ in change.ids[:SAMPLE]
        )  # fmt: skip

    def at(self, commit: Commit, job: Job, ids: frozenset[str]) -> Results:
        kept = self.seen.setdefault((commit.sha, job), {})
        key = "\0".join(sorted(ids))
        if key not in kept:
            kept[key] = self.bench.perform(commit, job, ids)
        return kept[key]


def look(
    series: Series,
    choice: Choice,
    bench: Bench,
    text: Source,
    tell: Callable[[str], None],
    *,
    each: bool = False,
    repeats: int = REPEATS,
) -> Verdict:
    """Say what a series changes. ``tell`` hears the news early.

    Raises what the bench raises, but for BuildError.
    """
    started = time.monotonic()
    work = _Look(series, choice, bench, tell, text, each, repeats)
    findings, files = work.source()
    runs: list[JobRun] = []
    for cell in choice.cells:
        found, performed = work.cell(cell)
        findings += found
        runs += performed
    order = list(Kind)
    # What does not build in one cell does not build in the next.
    broken = {(one.suspects, one.why): one for one in reversed(findings) if one.kind is Kind.BROKEN}
    findings = [one for one in findings if one.kind is not Kind.BROKEN or one is broken[one.suspects, one.why]]
    findings = [replace(one, hunks=work.hunks(one)) for one in sorted(findings, key=lambda one: order.index(one.kind))]
    tried = len(series.commits) if each and choice.cells else 0
    return Verdict(series, choice, tuple(findings), tuple(runs), files, tried, time.monotonic() - started)


def _only(run: JobRun, ids: Collection[str]) -> JobRun:
    def some(all_: Iterable[Results]) -> tuple[Results, ...]:
        return tuple(replace(one, rows=tuple(row for row in one.rows if row.id in ids)) for one in all_)

    return JobRun(run.job, some(run.before), some(run.after))


def _news(run: JobRun) -> str:
    changes = differ.changed(*sides(run))
    count = plural(differ.compared(*sides(run)), "verdict")
    told = [f"{plural(sum(len(one.ids) for one in changes if one.kind is kind), 'row')} {kind}"
            for kind in Kind if any(one.kind is kind for one in changes)]  # fmt: skip
    return f"{count} compared, {', '.join(told) or 'no difference'}"


def _scenarios(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{plural(len(ids), 'row')} (first {ids[0]})"


def _concise(error: str) -> str:
    """What a compiler said, else the first line."""
    match = _COMPILER.search(error)
    if match:
        return f"{match[1]}:{match[2]}: {match[3]}"
    return next((line.strip() for line in error.splitlines() if line.strip()), "").removesuffix("; its last lines are")


def by_commit(findings: Iterable[Finding]) -> Mapping[tuple[Commit, ...], list[Finding]]:
    """Findings of the same suspects together."""
    found: dict[tuple[Commit, ...], list[Finding]] = {}
    for one in findings:
        found.setdefault(one.suspects, []).append(one)
    return found
