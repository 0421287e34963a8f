# SPDX-License-Identifier: GPL-2.0-or-later
"""What a killed run had measured: the next one judges and publishes it, once."""

import pytest
from click.testing import CliRunner
from fake_session import FACTS, KERNEL, Rig, System, raises, splats

from dmasafe import scratch
from dmasafe.cli import group
from dmasafe.outcome import Verdict
from dmasafe.report import json_report
from dmasafe.scenario import parse_scenario
from dmasafe.targets import journal, runner
from dmasafe.targets.canaries import canaries

SEND, RECV = "heap/master_send/dmasafe:bounce/8", "heap/master_recv/dmasafe:bounce/8"
BAD, SKIPPED = "stack/master_send/dmasafe:trusting/8", "heap/master_send/dmasafe:pio/8"
IDS = (SEND, RECV, SKIPPED, BAD)


class Guest:
    name, kernel = "qemu", KERNEL

    def facts(self):
        return FACTS

    def cannot(self, scenario):
        return "not here" if scenario.id == SKIPPED else None


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    root = tmp_path / "tmp"
    root.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(root))
    return root


@pytest.fixture
def killed(temporary, tmp_path, monkeypatch):
    """``killed(*ids)``: the directory of a run that did these of IDS, and was killed."""
    monkeypatch.setattr(runner, "KEEP_EVERY_S", 0.0)

    def kill(*ids, begun=True, does=None):
        logs = temporary / "dmasafe-killed"
        logs.mkdir()
        (logs / ".lock").touch()
        (logs / "console.log").write_text("its console")
        if begun:
            journal.begin(logs, tmp_path / "out", Guest(), [parse_scenario(id_) for id_ in IDS], "smoke")
        # Something that the run does not live to see.
        last = "heap/master_send/dmasafe:bounce/9"
        Rig([System(does={BAD: splats("nothing"), last: raises(KeyboardInterrupt()), **(does or {})})], logs).run(
            *ids, last
        )
        return logs

    return kill


def test_what_was_measured_is_judged_and_lies_where_it_would_have(killed, tmp_path):
    logs = killed(SEND, RECV, BAD)
    (said,) = journal.save_killed()
    (published,) = (path for path in (tmp_path / "out").iterdir() if not path.is_symlink())
    assert said == f"a run was killed after 3 of 4 scenarios: what it had measured is in {published}/"
    results = json_report.load(published / "results.json")
    verdicts = [row.judgement.verdict for row in results.rows]
    assert verdicts == [Verdict.PASS, Verdict.PASS, Verdict.SKIP, Verdict.FAIL]
    assert (results.suite, results.accel, results.kernel) == ("smoke", "fake", KERNEL)
    assert results.provenance is not None and results.provenance.host.accelerator == "fake"
    assert (published / "console.log").read_text() == "its console"
    assert not logs.exists() and list(journal.save_killed()) == []


def test_what_was_not_reached_and_a_run_without_its_last_checks_are_inconclusive(killed, tmp_path):
    killed(SEND)
    assert len(list(journal.save_killed())) == 1
    rows = json_report.load(tmp_path / "out" / "latest" / "results.json").rows
    assert [row.judgement.why for row in rows][1::2] == ["not reached: the run was killed"] * 2
    killed(SEND, RECV, BAD)
    assert len(list(journal.save_killed())) == 1
    assert "not made: the run was killed" in str(json_report.load(tmp_path / "out" / "latest" / "results.json").reason)


def test_a_canary_that_did_not_splat_is_not_forgotten(killed, tmp_path):
    refused = {"answer": {"ret": -5, "transferred": False, "msgs": []}}
    killed(SEND, RECV, does={canary.scenario.id: lambda *_: refused for canary in canaries(FACTS)})
    assert len(list(journal.save_killed())) == 1
    results = json_report.load(tmp_path / "out" / "latest" / "results.json")
    assert not results.canary_splatted
    assert {row.judgement.verdict for row in results.rows} <= {Verdict.INCONCLUSIVE, Verdict.SKIP}


def test_what_the_last_checks_found_is_not_forgotten(killed, temporary, tmp_path):
    """A boot is judged as a whole at its end; the process may be killed in a later one."""
    logs = killed()
    Rig([System(files={"driver_filter": "foo"})], logs).run(SEND, RECV)
    assert len(list(journal.save_killed())) == 1
    rows = json_report.load(tmp_path / "out" / "latest" / "results.json").rows
    assert ["dma-debug's driver filter" in (row.judgement.why or "") for row in rows[:2]] == [True, True]


def test_a_line_that_was_under_way_is_not_taken(killed, tmp_path):
    file = killed(SEND, RECV) / "seen.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    assert "after 1 of 4" in next(journal.save_killed())


def test_a_run_in_progress_and_one_that_measured_nothing_are_no_news(killed, temporary):
    logs = killed(SEND, begun=False)
    with scratch.directory():
        assert not logs.exists()
    with scratch.directory() as mine:
        journal.begin(mine, temporary, Guest(), [], "smoke")
        assert list(journal.save_killed()) == [] and mine.exists()
    logs = killed()
    assert list(journal.save_killed()) == [] and not logs.exists()


@pytest.mark.parametrize("spoilt", ["unfinished.json", "machine.json", "seen.jsonl"])
def test_what_cannot_be_read_stays_and_is_said(killed, spoilt):
    logs = killed(SEND)
    (logs / spoilt).write_text("{}\n")
    (said,) = journal.save_killed()
    assert "cannot be saved" in said and f"see {logs}/, or remove it" in said and logs.exists()


def test_a_full_disk_costs_the_journal_and_not_the_run(temporary, tmp_path, monkeypatch):
    journal.begin(tmp_path, tmp_path, Guest(), [], "smoke")
    (tmp_path / "seen.jsonl").symlink_to("/dev/full")
    monkeypatch.setattr(runner, "KEEP_EVERY_S", 0.0)
    run = Rig([System()], tmp_path).run(SEND, RECV)
    assert run.untrusted == {} and run.doubts == {} and run.notes == ()
    assert not (tmp_path / "unfinished.json").exists()


def test_the_next_run_says_it_and_goes_on(killed, tmp_path):
    killed(SEND)
    arguments = ["run", "--target", "model", "--results", str(tmp_path / "mine"), SEND]
    done = CliRunner().invoke(group, arguments, standalone_mode=False)
    assert done.return_value == 0 and "dmasafe: a run was killed after 1 of 4" in done.output
