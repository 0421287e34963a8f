# SPDX-License-Identifier: GPL-2.0-or-later
"""Each commit of a series is reported as what it is, and nothing else is."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
from series_rig import (
    BASE,
    CLIENT,
    CORE,
    DEV,
    DOCUMENT,
    FAULT,
    FILES,
    PROBE,
    READ,
    RTC,
    SEND,
    STACK,
    FakeBench,
    caught,
    commit,
    lost,
    refused,
    results,
    row,
    safe,
    skipped,
)

from dmasafe.audit import Level
from dmasafe.check import Checked
from dmasafe.check.judge import CheckResult, Step
from dmasafe.outcome import Outcome
from dmasafe.progress import SILENT
from dmasafe.scenario import CORE_LENGTHS
from dmasafe.series.choose import Job, choose
from dmasafe.series.differ import Kind
from dmasafe.series.run import Finding, _Look, look
from dmasafe.series.tree import Hunk


@pytest.fixture
def said():
    return []


@pytest.fixture
def judge(repository, said):
    """Look at what the branch has."""

    def judged(**more):
        series = repository.find([], None, SILENT)
        choice = choose(series.paths, "x86_64")
        judged.bench = FakeBench(repository, series, **({"kept": more.pop("kept")} if "kept" in more else {}))
        return look(series, choice, judged.bench, repository, said.append, **more)

    return judged


@pytest.fixture
def eight(tree):
    """One of each kind, in an order in which one hides behind another."""
    commit(tree, "Documentation: Plural", document="bytes\n")
    commit(tree, "core: Refactor", base="first\nsecond\n")
    commit(tree, "smbus: Lose the flag", core="WORSE\n")
    commit(tree, "core: Break", base="first\nBREAK\n")
    commit(tree, "core: Mend", base="first\nthird\n")
    commit(tree, "dev: On the stack", dev="WORSE\n")
    commit(tree, "ad5110: On the stack", client="WORSE\n")
    commit(
        tree,
        "rtc: spi_write()",
        rtc=FILES[RTC].replace("spi_write_then_read(spi, buf, 2, 0, 0)", "spi_write(spi, buf, 2)"),
    )
    return tree


def told(verdict):
    return [(one.kind, [commit.subject for commit in one.suspects]) for one in verdict.findings]


def test_each_commit_is_reported_as_what_it_is(eight, judge, said):
    verdict = judge(each=True)
    assert told(verdict) == [
        (Kind.BROKEN, ["core: Break"]),
        (Kind.WORSE, ["smbus: Lose the flag"]),
        (Kind.WORSE, ["dev: On the stack"]),
        (Kind.WORSE, ["ad5110: On the stack"]),
        (Kind.CHECKED, ["rtc: spi_write()"]),
    ]
    assert verdict.exit_status == 1 and verdict.tried == 8
    broken, send, read, probe, checked = verdict.findings
    assert "corrected by" in broken.what and "core: Mend" in broken.what
    assert (broken.file, broken.line, broken.why) == (BASE, 2, f"{BASE}:2: 'BREAK' undeclared")
    assert (send.ids, send.again, read.ids, probe.ids) == ((SEND,), (3, 3), (READ,), (PROBE,))
    assert [one.hunks[0].file for one in (send, read, probe, checked)] == [CORE, DEV, CLIENT, RTC]
    assert verdict.broken_in_both == 0 and verdict.compared == 5
    # In each of two cells.
    assert judge.bench.asked.count("build core: Break") == 2
    assert said[1].startswith("x86_64 default: base and tip are built")
    assert said[2].startswith("smoke on x86_64 default: ")


def test_without_each_the_commits_that_can_be_it_are_named(eight, judge):
    verdict = judge()
    suspects = {one.kind: one.suspects for one in verdict.findings if one.ids == (SEND,)}
    assert [one.subject for one in suspects[Kind.WORSE]] == [
        "core: Refactor", "smbus: Lose the flag", "core: Break", "core: Mend", "dev: On the stack",
    ]  # fmt: skip
    assert not [one for one in judge.bench.asked if "Break" in one], "only base and tip are built"
    # One commit is a reason to run the client.
    assert [one.suspects[0].subject for one in verdict.findings if one.ids == (PROBE,)] == ["ad5110: On the stack"]


def test_what_hides_behind_a_commit_that_does_not_build_may_be_either(tree, judge):
    commit(tree, "core: Good", base="good\n")
    commit(tree, "core: Break", base="BREAK\n")
    commit(tree, "core: Mend and lose", base="good\n", core="WORSE\n")
    verdict = judge(each=True)
    assert told(verdict)[1] == (Kind.WORSE, ["core: Break", "core: Mend and lose"])


def test_a_tip_that_does_not_build_is_the_first_such_commits(tree, judge):
    for number in range(6):
        commit(tree, f"core: {number}", base="BREAK\n" * (number >= 3) + f"{number}\n")
    verdict = judge()
    assert told(verdict) == told(judge(each=True)) == [(Kind.BROKEN, ["core: 3"])]
    assert not [one for one in judge.bench.asked if one.startswith("run")]
    assert verdict.exit_status == 1


def test_a_base_that_does_not_build_proves_nothing(tree, judge, repository):
    git_base = commit(tree, "core: Broken already", base="BREAK\n")
    commit(tree, "core: Mend", base="good\n")
    series = repository.find([f"{git_base}..HEAD"], None, SILENT)
    bench = FakeBench(repository, series)
    verdict = look(series, choose(series.paths, "x86_64"), bench, repository, str)
    assert [one.kind for one in verdict.findings] == [Kind.UNSAID] and verdict.exit_status == 2


def test_nothing_is_worse(tree, judge):
    commit(tree, "core: Refactor", base="first\nsecond\n")
    verdict = judge(each=True)
    assert (verdict.findings, verdict.exit_status, verdict.compared) == ((), 0, 4)
    # Nothing differed: nothing was run again.
    assert sum(one.startswith("run core") for one in judge.bench.asked) == 2


def test_what_is_broken_in_both_is_counted_and_no_more(tree, judge, monkeypatch):
    commit(tree, "core: Refactor", base="second\n")
    monkeypatch.setattr(FakeBench, "perform", lambda self, one, job, ids=(): results({SEND: caught()}, job.suite))
    verdict = judge()
    assert (verdict.broken_in_both, verdict.compared, verdict.findings, verdict.exit_status) == (1, 1, (), 0)


def test_a_mend_is_an_improvement_that_the_model_does_not_know(tree, judge):
    commit(tree, "dev: Mend", dev="BETTER\n")
    verdict = judge()
    (one,) = verdict.findings
    assert (one.kind, one.ids, one.unexpected, verdict.exit_status) == (Kind.BETTER, (STACK,), True, 0)


def test_a_row_that_differs_once_is_flaky(tree, judge):
    commit(tree, "core: Race", base="FLAKY\n")
    (one,) = judge().findings
    assert one.kind is Kind.FLAKY and one.again[1] == 3 and 0 < one.again[0] < 3


def test_what_only_the_smoke_suite_sees_is_told(tree, judge, monkeypatch):
    commit(tree, "core: The first call", base="FIRST\n")
    before = FakeBench.perform

    def perform(self, one, job, ids=()):
        found = before(self, one, job, ids)
        if "FIRST" not in self.contents(one)[BASE] or job.suite != "smoke":
            return found
        return replace(found, rows=tuple(row(one.id, caught()) if one.id == SEND else one for one in found.rows))

    monkeypatch.setattr(FakeBench, "perform", perform)
    verdict = judge()
    (one,) = verdict.findings
    assert (one.kind, one.ids, one.again) == (Kind.WORSE, (SEND,), (3, 3)) and one.where.startswith("smoke on ")
    # What the core suite sees as well is told of it alone.
    assert [run.job.suite for run in verdict.runs] == ["smoke", "core", "faults"]


def test_what_is_lost_at_the_tip_is_not_nothing(tree, judge):
    commit(tree, "dev: Lose the log", dev="LOST\n")
    verdict = judge()
    assert [one.kind for one in verdict.findings] == [Kind.UNSAID] and verdict.exit_status == 2


def test_what_nobody_can_judge_is_no_pass(tree, judge, monkeypatch):
    commit(tree, "dev: Change", dev="second\n")
    monkeypatch.setattr(
        FakeBench, "perform", lambda self, one, job, ids=(): results({SEND: skipped("no such controller")}, job.suite)
    )
    verdict = judge()
    assert {one.kind for one in verdict.findings} == {Kind.UNSAID} and verdict.exit_status == 2
    assert "nothing of core on x86_64 default was judged" in {one.what for one in verdict.findings}
    assert verdict.findings[0].why == "no such controller"


def test_what_is_skipped_at_the_tip_is_told_as_that_alone(tree, judge, monkeypatch):
    commit(tree, "dev: Change", dev="SKIP\n")
    monkeypatch.setattr(
        FakeBench,
        "perform",
        lambda self, one, job, ids=(): results(
            {READ: skipped() if "SKIP" in self.contents(one)[DEV] else safe()}, job.suite
        ),
    )
    verdict = judge(each=True)
    assert {one.kind for one in verdict.findings} == {Kind.GONE} and verdict.exit_status == 2
    # Whose doing it is nobody can say.
    assert {one.suspects for one in verdict.findings} == {()}


def test_a_result_of_the_source_check_is_of_the_commit_that_wrote_it(tree, judge, monkeypatch):
    commit(tree, "rtc: Comment", rtc=f"/* one */\n{FILES[RTC]}")
    commit(tree, "rtc: Send", rtc=f"/* one */\n{FILES[RTC]}/* two */\n")
    before = FakeBench.check

    def results_of(line, level=Level.WARNING, steps=()):
        one = CheckResult("a-rule", level, "stack", "spi", "spi_write()", RTC, line, "set", "buf", "", "", "", steps)
        monkeypatch.setattr(FakeBench, "check", lambda self: replace(before(self), results=(one,)))
        return told(judge())

    assert results_of(1) == [(Kind.CHECKED, ["rtc: Comment"])]
    # It was there: of a step that leads from it the commit is known, else it may be any that touches the file.
    assert results_of(3, steps=(Step(RTC, 8, "set", "spi_write"),)) == [(Kind.CHECKED, ["rtc: Send"])]
    assert results_of(3) == [(Kind.CHECKED, ["rtc: Comment", "rtc: Send"])]
    # A note is no news.
    assert results_of(1, level=Level.NOTE) == []


def test_what_the_source_check_cannot_read_is_no_pass(tree, judge, monkeypatch):
    commit(tree, "dev: Change", dev="second\n")
    monkeypatch.setattr(FakeBench, "check", lambda self: Checked((), 2, 0, (DEV, CORE)))
    verdict = judge()
    # What lies beside the files of the series is not its doing.
    assert [(one.kind, one.what) for one in verdict.findings] == [(Kind.UNSAID, DEV)] and verdict.exit_status == 2


def test_what_is_shown_of_a_change_is_where_it_shows():
    """The place of a result, else the function that a report blames, else what fits."""
    texts = {
        "near": Hunk(DEV, 1, "one()", "@@ -1 +1 @@ one()\n-first\n+WORSE"),
        "blamed": Hunk(CORE, 8, "payload_map()", "@@ -8 +8 @@ payload_map()" + "\n+x" * 30),
        "long": Hunk(BASE, 9, "three()", "@@ -9 +9 @@ three()" + "\n+x" * 60),
        "document": Hunk(DOCUMENT, 1, "", "@@ -1 +1 @@\n+x"),
    }
    series_text = SimpleNamespace(blamed=lambda *_: None, hunks=lambda _: [texts[name] for name in order])

    def shown(one):
        work = _Look(None, None, None, str, series_text, False, 3)
        return [name for name, text in texts.items() if text in work.hunks(one)]

    base = Finding(Kind.WORSE, "core", "what", suspects=("a commit",))
    order = list(texts)
    assert shown(base) == ["near", "blamed"]
    assert shown(replace(base, file=DEV, line=1, function="payload_map")) == ["near"]
    assert shown(replace(base, file=DEV, line=5, function="payload_map")) == ["blamed"]
    assert shown(replace(base, suspects=("a commit", "another"))) == shown(replace(base, suspects=())) == []
    # A long one alone is better than none.
    order = ["document", "long", "near"]
    assert shown(base) == ["long"]


def test_a_base_that_is_known_is_neither_built_nor_run(tree, judge, repository):
    commit(tree, "core: Refactor", base="first\nsecond\n")
    base = repository.find([], None, SILENT).base
    rows = FakeBench(repository, None).perform(base, Job("core", "default", "x86_64"))
    kept = {(base.tree, Job(name, "default", "x86_64")): rows for name in ("smoke", "core", "faults")}
    assert judge(kept=kept).exit_status == 0
    assert not [one for one in judge.bench.asked if "Linux 6.12.117" in one]


def test_a_documents_series_builds_nothing(tree, judge):
    commit(tree, "Documentation: Plural", document="bytes\n")
    verdict = judge(each=True)
    assert (verdict.exit_status, judge.bench.asked, verdict.tried) == (0, [], 0)


def test_a_slower_call_is_told_if_it_never_is_as_fast(tree, judge, monkeypatch):
    commit(tree, "dev: Sleep", dev="SLOW\n")
    calls, kinds = ("master_send", "master_recv"), ("heap", "devm", "pages", "coherent", "percpu")
    ids = [f"{kind}/{call}/virtio/{n}" for call in calls for kind in kinds for n in CORE_LENGTHS]
    times, clocks = [3.0] * 6, [1.0] * 6
    ran = []

    def perform(self, one, job, wanted=()):
        at_tip = "SLOW" in self.contents(one)[DEV]
        ran.append((job.suite, at_tip, len(wanted)))
        slow = (times if at_tip else clocks)[sum(each[:2] == (job.suite, at_tip) for each in ran) - 1]
        rows = {id_: safe(us=50.0 * (slow if "send" in id_ else 1.0)) for id_ in ids if not wanted or id_ in wanted}
        return results(rows, job.suite)

    monkeypatch.setattr(FakeBench, "perform", perform)
    verdict = judge()
    assert {one.kind for one in verdict.findings} == {Kind.SLOWER} and verdict.exit_status == 1
    assert verdict.findings[0].what.startswith("master_send on virtio takes 3.0 times as long")
    assert verdict.findings[0].again == (6, 6)
    # Beside the slow rows others are run, to see them beside.
    assert {count for _, _, count in ran} == {0, len(ids)}
    # The machine was busy, and quiet once: nothing is told, and no more is run.
    for times[:] in ([3.0, 1.0, 3.0], [3.0] * 4 + [1.0]):
        ran.clear()
        assert judge().findings == ()
        assert sum(each[:2] == ("core", True) for each in ran) == len(times)
    # At the base calls seemed short once: a guest's clock goes wrong on a busy machine.
    clocks[1], times[:] = 0.1, [3.0, *[1.0] * 5]
    ran.clear()
    assert judge().findings == ()
    assert sum(each[:2] == ("core", True) for each in ran) == 6
    # Beside that it is slower in most runs.
    times[1:4] = [3.0] * 3
    ran.clear()
    assert {one.kind for one in judge().findings} == {Kind.SLOWER}
    # Once is not often enough to say anything.
    ran.clear()
    assert judge(repeats=1).findings == ()


@pytest.fixture
def ways(monkeypatch):
    """What becomes of SEND in each core run on a kernel with BUSY in its i2c-dev: as before, when there is no more."""
    before, found = FakeBench.perform, []

    def perform(self, one, job, ids=()):
        made = before(self, one, job, ids)
        if job.suite != "core" or "BUSY" not in self.contents(one)[DEV] or not found:
            return made
        way = found.pop(0)
        return replace(made, rows=tuple(row(one.id, way) if one.id == SEND else one for one in made.rows))

    monkeypatch.setattr(FakeBench, "perform", perform)
    return found


def test_an_error_that_is_not_seen_again_is_a_busy_machines(tree, judge, ways):
    commit(tree, "dev: Change", dev="BUSY\n")
    late = refused(expected=Outcome.SAFE)
    for ways[:], told, status in (
        ([late], (Kind.OTHER, (1, 6)), 0),
        ([safe(), late], None, 0),
        ([lost()], (Kind.OTHER, (1, 6)), 0),
        ([late, safe(), safe(), late], (Kind.FLAKY, (2, 4)), 1),
        ([caught()], (Kind.FLAKY, (1, 3)), 1),
        ([late] * 3, (Kind.WORSE, (3, 3)), 1),
    ):
        verdict = judge()
        assert [(one.kind, one.again) for one in verdict.findings] == ([told] if told else [])
        assert verdict.exit_status == status


def test_only_what_each_run_has_is_bisected(tree, judge, ways):
    commit(tree, "dev: Change", dev="BUSY\n")
    commit(tree, "core: Refactor", base="second\n")
    late, both = refused(expected=Outcome.SAFE), ["dev: Change", "core: Refactor"]
    # The last is the run of the commit between.
    for ways[:], kind, subjects in (
        ([late] * 4, Kind.WORSE, both[:1]),
        ([late] * 3, Kind.WORSE, both[1:]),
        ([lost(), *[late] * 3], Kind.WORSE, both[:1]),
        ([caught(), safe(), safe(), caught()], Kind.FLAKY, both),
        ([late, *[safe()] * 5, late], Kind.OTHER, both),
    ):
        assert told(judge(each=True)) == [(kind, subjects)]


def test_a_commit_that_cannot_be_judged_is_neither_to_blame_nor_cleared(tree, judge, monkeypatch):
    for number in range(3):
        commit(tree, f"core: {number}", base=f"{number}\n")
    commit(tree, "smbus: Lose the flag", core="WORSE\n")
    commit(tree, "core: 4", base="4\n")
    before = FakeBench.perform

    def perform(self, one, job, ids=()):
        found = before(self, one, job, ids)
        return replace(found, reason="the guest hung") if one.subject == "core: 2" else found

    monkeypatch.setattr(FakeBench, "perform", perform)
    assert told(judge(each=True)) == [(Kind.WORSE, ["core: 2", "smbus: Lose the flag"])]


def test_no_end_that_is_not_trusted_gives_a_pass(tree, judge, monkeypatch):
    commit(tree, "core: Change", base="second\n")
    before = FakeBench.perform

    untrusted = {}

    def perform(self, one, job, ids=()):
        return replace(before(self, one, job, ids), **untrusted.get(one.subject, {}))

    monkeypatch.setattr(FakeBench, "perform", perform)
    doubts = {"reason": "the guest hung"}, {"canary_splatted": False}
    for end, doubt in itertools.product(("Linux 6.12.117", "core: Change"), doubts):
        untrusted = {end: doubt}
        verdict = judge(each=True)
        assert {one.kind for one in verdict.findings} == {Kind.UNSAID} and verdict.exit_status == 2
        assert {id_ for one in verdict.findings for id_ in one.ids} == {SEND, READ, STACK, FAULT}
