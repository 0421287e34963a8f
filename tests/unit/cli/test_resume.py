# SPDX-License-Identifier: GPL-2.0-or-later
"""--resume: only what is open runs again, and two runs become one table only if they belong together."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from dmasafe.cli import group
from dmasafe.facts import KernelInfo
from dmasafe.outcome import Judgement, Outcome, Verdict
from dmasafe.report import directory, json_report, resume
from dmasafe.report.results import Results, Row, exit_status
from dmasafe.scenario import parse_scenario

KERNEL = KernelInfo("6.12.117", "x86_64", "default", "apt", "abc")
IDS = ("heap/master_send/dmasafe:bounce/8", "heap/master_recv/dmasafe:bounce/8", "stack/master_send/dmasafe:bounce/8")


def row(id_, verdict, why="", doubt=None):
    return Row.of(parse_scenario(id_), Judgement(verdict, Outcome.SAFE, Outcome.SAFE, why), doubt=doubt)


def run_of(*rows, kernel=KERNEL, canary=True, reason=None):
    return Results("smoke", "ssh:desk", kernel, None, canary, rows, 1.0, 2.0, 3.0, reason=reason, notes=("note",))


EARLIER = run_of(
    row(IDS[0], Verdict.PASS), row(IDS[1], Verdict.INCONCLUSIVE, "not reached"), row(IDS[2], Verdict.ERROR)
)


def test_only_what_is_open_runs_again():
    assert [scenario.id for scenario in resume.left_open(EARLIER)] == [IDS[1], IDS[2]]


def test_the_merged_run_has_every_row_once_and_says_so():
    again = run_of(row(IDS[1], Verdict.PASS), row(IDS[2], Verdict.FAIL))
    merged = resume.merge(replace(EARLIER, notes=("note", "boot 1: the guest hung")), again, Path("out/latest"))
    assert [(each.id, each.judgement.verdict) for each in merged.rows] == [
        (IDS[0], Verdict.PASS), (IDS[1], Verdict.PASS), (IDS[2], Verdict.FAIL)
    ]  # fmt: skip
    assert merged.notes == ("2 scenarios of out/latest were run again", "note") and merged.total_s == 6.0
    assert exit_status(merged) == 1


def test_a_run_that_was_not_checked_at_its_end_is_run_again_whole():
    rows = [row(id_, Verdict.PASS) for id_ in IDS[:2]] + [row(IDS[2], Verdict.SKIP)]
    unchecked = run_of(*rows, reason="the checks after the last scenario were not made")
    assert [scenario.id for scenario in resume.left_open(unchecked)] == list(IDS[:2])
    assert resume.merge(unchecked, run_of(*rows[:2]), Path("x")).reason is None
    assert exit_status(resume.merge(unchecked, run_of(*rows[:2], reason="again not"), Path("x"))) == 2


def test_what_a_lost_boot_left_unchecked_is_run_again_with_what_it_lost(tmp_path):
    """Its verdicts were PASS, and would be so in the merged run, though nobody looked at the boot's end."""
    doubtful = row(IDS[0], Verdict.PASS, doubt="the checks after the last scenario were not made: the guest died")
    json_report.write(
        run_of(doubtful, row(IDS[1], Verdict.INCONCLUSIVE), row(IDS[2], Verdict.PASS)), tmp_path / "r.json"
    )
    earlier = resume.load(tmp_path / "r.json")
    assert [scenario.id for scenario in resume.left_open(earlier)] == [IDS[0], IDS[1]]
    again = run_of(row(IDS[0], Verdict.PASS), row(IDS[1], Verdict.PASS))
    assert exit_status(resume.merge(earlier, again, Path("x"))) == 0
    still = run_of(doubtful, row(IDS[1], Verdict.PASS), reason=doubtful.doubt)
    assert exit_status(resume.merge(earlier, still, Path("x"))) == 2


def test_a_second_run_without_a_canary_is_no_pass():
    again = run_of(
        row(IDS[1], Verdict.INCONCLUSIVE), row(IDS[2], Verdict.INCONCLUSIVE), canary=False, reason="no canary"
    )
    merged = resume.merge(EARLIER, again, Path("x"))
    assert exit_status(merged) == 2 and merged.reason is None and not merged.canary_splatted


@pytest.mark.parametrize(
    ("field", "value"),
    [("release", "6.12.118"), ("arch", "i686"), ("config", "debug-sg"), ("source", "git"), ("config_sha256", "def")],
)
def test_runs_of_different_kernels_are_never_merged(field, value):
    again = run_of(row(IDS[1], Verdict.PASS), kernel=replace(KERNEL, **{field: value}))
    with pytest.raises(resume.ResumeError, match="cannot be merged"):
        resume.merge(EARLIER, again, Path("x"))


def test_an_older_file_without_the_digest_can_be_resumed():
    resume.require_same_kernel(replace(KERNEL, config_sha256=""), KERNEL)


def test_the_digest_survives_the_file(tmp_path):
    json_report.write(EARLIER, tmp_path / "r.json")
    assert resume.load(tmp_path / "r.json").kernel == KERNEL


def test_the_model_is_resumed_from_the_command_line(tmp_path):
    runner = CliRunner()
    arguments = ["run", "--target", "model", "--out", str(tmp_path)]
    assert runner.invoke(group, [*arguments, *IDS], standalone_mode=False).return_value == 0
    latest = tmp_path / "latest"
    whole = json_report.load(latest / directory.RESULTS_JSON)
    lost = replace(whole.rows[1], judgement=Judgement(Verdict.INCONCLUSIVE, None, Outcome.SAFE, "not reached: cut"))
    json_report.write(replace(whole, rows=(whole.rows[0], lost, whole.rows[2])), latest / directory.RESULTS_JSON)
    done = runner.invoke(group, ["run", "--out", str(tmp_path), "--resume", str(latest)], standalone_mode=False)
    assert done.return_value == 0, done.output
    merged = json_report.load(tmp_path / "latest" / directory.RESULTS_JSON)
    assert merged.target == "model" and {each.judgement.verdict for each in merged.rows} == {Verdict.PASS}
    assert merged.rows[0].judgement.us == pytest.approx(whole.rows[0].judgement.us, abs=0.1)
    again = runner.invoke(group, ["run", "--resume", str(tmp_path / "latest")], standalone_mode=False)
    assert again.return_value == 0 and "nothing to resume" in again.output


def test_a_resumed_run_takes_no_scenarios(tmp_path):
    json_report.write(EARLIER, tmp_path / "r.json")
    done = CliRunner().invoke(group, ["run", "--resume", str(tmp_path / "r.json"), IDS[0]], standalone_mode=False)
    assert "name no scenarios and no suite" in str(done.exception)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("boat", "there is no target 'boat'"),
        ("ssh:", "target ssh needs to know where: ssh:root@board"),
        ("serial", "target serial needs to know where"),
        ("qemu:x", "target qemu takes nothing behind a colon"),
        ("ssh:board", "name its build tree or headers by --kdir PATH"),
    ],
)
def test_a_target_that_does_not_exist_is_said(tmp_path, target, why):
    done = CliRunner().invoke(group, ["run", "--target", target, "--out", str(tmp_path)], standalone_mode=False)
    assert why in str(done.exception)
