# SPDX-License-Identifier: GPL-2.0-or-later
"""Two runs compared: what is worse, better, flaky or unsaid, each reason once."""

from dataclasses import replace

import pytest
from click.testing import CliRunner
from report_samples import failed, lost, make_splat, passed, skipped

from dmasafe.cli import group
from dmasafe.facts import KernelInfo
from dmasafe.outcome import Outcome
from dmasafe.report import ReportError, json_report
from dmasafe.report.compare import ANY, Effect, as_json, as_text, compare, load_side


def told(found, shown=20):
    return "\n".join(line.plain for line in as_text(found, shown))


def only(found):
    [change] = found.changes
    return change


@pytest.mark.parametrize(
    ("before", "after", "effect", "status"),
    [
        (passed(), passed(), None, 0),
        (failed(), failed(), None, 0),
        (passed(), failed(), Effect.WORSE, 1),
        (skipped(), failed(), Effect.WORSE, 1),
        (lost(), failed(), Effect.WORSE, 1),
        (replace(failed(), outcome=Outcome.CAUGHT), failed(), Effect.WORSE, 1),
        (failed(), replace(failed(), outcome=Outcome.CAUGHT), Effect.OTHER, 0),
        (passed(), lost(), Effect.UNSAID, 2),
        (passed(), skipped(), Effect.GONE, 2),
        (failed(), passed(), Effect.BETTER, 0),
        (lost(), passed(), Effect.NEW, 0),
        (passed(), passed(Outcome.CAUGHT), Effect.OTHER, 0),
        (passed(), replace(passed(), splats=(make_splat(),)), Effect.OTHER, 0),
        (passed(), replace(passed(), direct=False), Effect.OTHER, 0),
    ],
)
def test_every_change_has_an_effect_and_the_status_follows(before, after, effect, status, with_rows):
    found = compare([with_rows(before, passed())], [with_rows(after, passed())])
    assert [change.effect for change in found.changes] == ([] if effect is None else [effect])
    assert found.exit_status == status


def test_what_changed_alike_for_the_same_reason_is_one_line(with_rows):
    before = with_rows(*[passed()] * 300)
    after = with_rows(*[lost(f"the guest hung after {1000 + n} ms") for n in range(299)], failed())
    found = compare([before], [after], ("a", "b"))
    assert [(change.effect, len(change.scenarios)) for change in found.changes] == [
        (Effect.WORSE, 1),
        (Effect.UNSAID, 299),
    ]
    assert found.changes[1].buffer == ANY and found.changes[1].why == "the guest hung after N ms"
    assert told(found) == (
        "a -> b: 1 cell, 1 verdict compared\n"
        "\nWORSE: 1 scenario\n"
        "  stack: PASS SAFE -> FAIL SILENT: 1 scenario in apt:linux-source-6.12 x86_64 default qemu core\n"
        "    damaged without a report: guard-after (first stack/master_send/dmasafe:bounce/299)\n"
        "\nNOTHING CAN BE SAID NOW: 299 scenarios\n"
        "  any buffer: PASS -> INCONCLUSIVE: 299 scenarios in apt:linux-source-6.12 x86_64 default qemu core\n"
        "    the guest hung after N ms (first stack/master_send/dmasafe:bounce/0)\n"
        "\n1 worse, 299 nothing can be said now: worse"
    )
    assert as_json(found)["status"] == 1 and as_json(found)["changes"][0]["effect"] == "worse"


def test_repeats_count_by_their_worst_verdict_and_are_flaky(with_rows):
    good, bad = with_rows(passed()), with_rows(failed())
    found = compare([good], [bad, good])
    assert only(found).effect is Effect.FLAKY and only(found).after == "2 runs: FAIL, PASS" and found.exit_status == 1
    assert only(compare([bad, good], [good])).before == "2 runs: FAIL, PASS"
    # A second run that says nothing takes nothing away, and one that says something is enough.
    assert compare([good], [good, with_rows(lost())]).changes == ()


def test_a_run_that_is_not_trusted_has_no_word(with_rows):
    for change in ({"canary_splatted": False}, {"reason": "the canary did not splat"}):
        found = compare([with_rows(passed())], [with_rows(passed(), **change)])
        assert only(found).effect is Effect.UNSAID and only(found).why == "the canary did not splat"


def test_cells_are_paired_whatever_version_their_kernel_has(with_rows):
    def run(source, arch, *judgements):
        return with_rows(*judgements, kernel=KernelInfo("6.12", arch, "default", source))

    before = [
        run("linux-source-6.12 6.12.117", "x86_64", passed()),
        run("linux-source-6.12 6.12.117", "arm64", passed()),
    ]
    after = [run("linux-source-6.12 6.12.118", "x86_64", failed()), run("/home/me/linux", "x86_64", passed())]
    found = compare(before, after)
    assert only(found).cell == "linux-source-6.12 x86_64 default qemu core" and found.cells == 1
    assert found.missing == ("linux-source-6.12 arm64 default qemu core",)
    assert found.fresh == ("/home/me/linux x86_64 default qemu core",)
    # A single run is compared with a single one, whatever they are of.
    assert compare(before[:1], after[1:]).cells == 1


def test_sides_are_files_or_directories(with_rows, tmp_path):
    for name, judgement in (("a/1", passed()), ("a/2", passed()), ("b", failed())):
        (tmp_path / name).mkdir(parents=True)
        json_report.write(with_rows(judgement), tmp_path / name / "results.json")
    assert len(load_side(tmp_path / "a")) == 2 and len(load_side(tmp_path / "b" / "results.json")) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReportError, match=r"there is no results\.json in .*empty"):
        load_side(tmp_path / "empty")
    done = CliRunner().invoke(group, ["compare", f"{tmp_path}/a", f"{tmp_path}/b"], standalone_mode=False)
    assert done.return_value == 1 and "1 worse: worse" in done.stdout
    done = CliRunner().invoke(group, ["compare", f"{tmp_path}/a", f"{tmp_path}/a"], standalone_mode=False)
    assert done.return_value == 0 and "no change: nothing is worse" in done.stdout
