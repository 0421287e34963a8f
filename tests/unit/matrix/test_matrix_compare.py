# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed, and whose doing it was."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from matrix_samples import (
    FIRST,
    HIGHMEM,
    RECEIVE,
    SEND,
    STACK,
    failed,
    history_of,
    lost,
    passed,
    results,
    run,
    skipped,
    splat,
)

from dmasafe.matrix import changes
from dmasafe.matrix.compare import ChangeKind, compare, regressions
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.judgements import Signature
from dmasafe.matrix.record import Facts, prepare
from dmasafe.outcome import Judgement, Outcome, Verdict
from dmasafe.report.provenance import Host, Provenance, Tool

NEW = "6.12.118-1"


def compared(database, *runs, **options):
    """The last night compared with the first one."""
    with history_of(database, *runs) as history:
        return compare(history, history.side(runs[0].night), history.side(runs[-1].night), **options)


def since(database, night, *runs, **options):
    with history_of(database, *runs) as history:
        moment, title = history.moment(night)
        return regressions(history, moment, title, **options)


def kinds(found, new=True):
    return [(change.kind, change.scenario) for change in found.changes if change.new is new]


def test_two_nights_alike_are_nothing_new(database):
    found = compared(database, run(0), run(1))
    assert (found.exit_status, found.compared, found.cells, found.changes) == (0, 3, 1, [])


def test_another_doing_of_the_kernel_is_a_new_failure(database):
    found = compared(database, run(0), run(1, {SEND: failed()}, version=NEW))
    assert kinds(found) == [(ChangeKind.NEW_FAILURE, SEND)]
    assert found.exit_status == 1


def test_the_same_doing_with_another_expectation_is_a_disagreement(file_database):
    moved = Judgement(Verdict.FAIL, Outcome.SAFE, Outcome.CAUGHT, "right data, no splat; expected CAUGHT", True)
    found = compared(file_database, run(0), run(1, {SEND: moved}, revision="other"))
    assert kinds(found) == [(ChangeKind.DISAGREEMENT, SEND)]
    # Nobody knows which of the two is right.
    assert found.exit_status == 2


def test_what_failed_before_and_fails_alike_is_told_apart_and_not_new(file_database):
    found = compared(file_database, run(0, {SEND: failed()}), run(1, {SEND: failed()}))
    assert (kinds(found), kinds(found, new=False)) == ([], [(ChangeKind.DISAGREEMENT, SEND)])
    assert found.exit_status == 0


def test_what_failed_before_and_fails_otherwise_is_new(file_database):
    found = compared(file_database, run(0, {SEND: failed()}), run(1, {SEND: failed(Outcome.REFUSED)}, version=NEW))
    assert kinds(found) == [(ChangeKind.NEW_FAILURE, SEND)]


def test_fixed_is_nothing_bad(file_database):
    found = compared(file_database, run(0, {SEND: failed()}), run(1, version=NEW))
    assert kinds(found) == [(ChangeKind.FIXED, SEND)]
    assert found.exit_status == 0


def test_the_same_source_with_both_verdicts_is_flaky(database):
    found = compared(database, run(0), run(1, {SEND: failed()}))
    assert kinds(found) == [(ChangeKind.FLAKY, SEND)]
    assert found.exit_status == 1


def test_flaky_is_new_only_once(file_database):
    runs = [run(0), run(1, {SEND: failed()}), run(2), run(3, {SEND: failed()})]
    found = since(file_database, "latest", *runs)
    assert (kinds(found), kinds(found, new=False)) == ([], [(ChangeKind.FLAKY, SEND)])
    assert found.exit_status == 0


def test_flaky_on_the_old_source_does_not_excuse_the_new_one(file_database):
    runs = [run(0), run(1, {SEND: failed()}), run(2), run(3, {SEND: failed()}, version=NEW)]
    found = since(file_database, "latest", *runs)
    assert kinds(found) == [(ChangeKind.NEW_FAILURE, SEND)]


def test_another_revision_of_the_harness_is_no_flake(file_database):
    found = compared(file_database, run(0), run(1, {SEND: failed()}, revision="other"))
    assert kinds(found) == [(ChangeKind.NEW_FAILURE, SEND)]


def test_a_directory_of_unknown_content_is_never_the_same_source(file_database):
    found = compared(file_database, run(0, source="/home/me/linux"), run(1, {SEND: failed()}, source="/home/me/linux"))
    assert kinds(found) == [(ChangeKind.NEW_FAILURE, SEND)]


def test_a_corrected_expectation_is_no_flake(file_database):
    wrong = Judgement(Verdict.FAIL, Outcome.SAFE, Outcome.CAUGHT, "right data; expected CAUGHT", True)
    found = compared(file_database, run(0, {SEND: wrong}, revision=None), run(1, revision=None))
    assert kinds(found) == [(ChangeKind.FIXED, SEND)]


def test_a_flake_between_the_nights_is_seen_though_the_last_one_passed(file_database):
    found = since(file_database, "2026-11-02", run(0), run(1, {SEND: failed()}), run(2))
    assert kinds(found) == [(ChangeKind.FLAKY, SEND)]
    assert found.exit_status == 1


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        (lost(), ChangeKind.UNSAID),
        (Judgement(Verdict.ERROR, None, Outcome.SAFE, "half a line"), ChangeKind.UNSAID),
        (skipped(), ChangeKind.NOT_JUDGED),
        (None, ChangeKind.NOT_JUDGED),
    ],
)
def test_what_cannot_be_said_is_never_a_pass(file_database, after, kind):
    found = compared(file_database, run(0), run(1, {SEND: after}))
    assert kinds(found) == [(kind, SEND)]
    assert found.exit_status == 2


def test_a_night_without_canary_says_nothing(database):
    found = compared(database, run(0), run(1, {SEND: failed()}, canary=False))
    assert {change.kind for change in found.changes} == {ChangeKind.UNSAID}
    assert found.exit_status == 2


def test_the_last_trusted_verdict_counts_through_nights_without_one(file_database):
    runs = [run(0, {SEND: failed()}), run(1, canary=False), run(2, canary=False), run(3, {SEND: failed()})]
    found = since(file_database, "latest", *runs)
    assert (kinds(found), kinds(found, new=False)) == ([], [(ChangeKind.DISAGREEMENT, SEND)])


def test_skipped_before_and_failing_now_is_a_new_failure(file_database):
    found = compared(file_database, run(0), run(1, {HIGHMEM: failed()}, version=NEW))
    assert kinds(found) == [(ChangeKind.NEW_FAILURE, HIGHMEM)]


def test_a_cell_that_was_not_run_is_missing(file_database):
    found = compared(file_database, run(0), run(0, config="debug-sg"), run(1))
    assert [cell.config for cell in found.missing] == ["debug-sg"]
    assert found.exit_status == 2


def test_a_cell_taken_out_long_ago_is_not_missed(file_database):
    nights = [run(night) for night in range(1, 15)]
    found = since(file_database, "latest", run(0, config="old"), run(12, config="recent"), *nights)
    assert [cell.config for cell in found.missing] == ["recent"]


def test_a_new_cell_is_told_and_its_failures_count(file_database):
    found = since(file_database, "latest", run(0), run(1), run(1, {SEND: failed()}, config="kasan"))
    assert [cell.config for cell in found.fresh] == ["kasan"]
    assert [(change.kind, change.cell.config) for change in found.changes] == [(ChangeKind.NEW_FAILURE, "kasan")]
    assert found.exit_status == 1


def test_a_new_cell_without_failures_is_nothing_bad(file_database):
    found = since(file_database, "latest", run(0), run(1), run(1, config="kasan"))
    assert (found.exit_status, len(found.fresh), found.signatures) == (0, 1, [])


def test_a_signature_never_seen_in_the_cell_is_new_even_where_the_verdict_is_pass(database):
    other = {STACK: passed(Outcome.CAUGHT, splat("another_function"))}
    found = since(database, "latest", run(0), run(1), run(2, other))
    assert [(one.signature, one.scenario) for one in found.signatures] == [
        (Signature("map-vmalloc-rejected", "another_function"), STACK)
    ]
    assert found.exit_status == 1


def test_a_signature_seen_long_ago_is_not_new(file_database):
    other = {STACK: passed(Outcome.CAUGHT, splat("another_function"))}
    runs = [run(0, other), *(run(night) for night in range(1, 50)), run(50, other)]
    assert since(file_database, "latest", *runs).signatures == []
    with history_of(file_database) as history:
        found = compare(history, history.side("latest~1"), history.side("latest"))
    assert found.signatures == []


def test_compare_backwards_tells_what_the_older_one_had_more(file_database):
    runs = [run(0, {STACK: passed(Outcome.CAUGHT, splat("old"))}), run(1)]
    with history_of(file_database, *runs) as history:
        found = compare(history, history.side("latest"), history.side("latest~1"))
    assert [one.signature.function for one in found.signatures] == ["old"]


def test_slower_boots_and_builds_are_held_against_the_median_before(database):
    nights = [run(night, boot_s=2.0 + night / 10, build_s=100.0 if night % 2 else None) for night in range(9)]
    slow = run(9, boot_s=4.0, build_s=151.0)
    found = since(database, "latest", *nights, slow)
    assert [(one.what, round(one.usual, 2), one.runs) for one in found.slower] == [
        ("boot", 2.4, 9),
        ("build", 100.0, 4),
    ]
    assert found.exit_status == 1
    with history_of(database) as history:
        assert regressions(history, history.moment("latest")[0], "", slower=0).exit_status == 0
        assert regressions(history, history.moment("latest")[0], "", slower=2).exit_status == 0


def test_two_runs_are_no_median_and_a_few_tenths_no_regression(file_database):
    assert since(file_database, "latest", run(0), run(1), run(2, boot_s=9.0)).slower == []
    tiny = [run(night, boot_s=0.2, config="tiny") for night in range(3)]
    found = since(file_database, "latest", *tiny, run(3, boot_s=0.8, config="tiny"), run(3))
    assert found.slower == []


def test_only_chosen_cells_are_compared(file_database):
    runs = [run(0), run(0, config="kasan"), run(1), run(1, {SEND: failed()}, config="kasan", version=NEW)]
    found = since(file_database, "latest", *runs, chosen=lambda cell: cell.config == "default")
    assert (found.exit_status, found.cells) == (0, 1)


def test_another_order_of_scenarios_is_the_same_set(file_database):
    found = results()
    turned = replace(found, rows=found.rows[::-1])
    facts = Facts(FIRST)
    runs = [prepare(one, bytes([number]), facts, "results.json") for number, one in enumerate((found, turned))]
    with history_of(file_database, *runs) as history:
        first, second = history.runs_of_nights("2026-11-01", "2026-11-01")
    assert first.vector_id == second.vector_id


def test_a_scenario_new_in_the_suite_is_not_compared_but_counts_when_it_fails(file_database):
    found = compared(file_database, run(0, {SEND: None}), run(1, {SEND: failed()}))
    assert [(change.kind, change.before) for change in found.changes] == [(ChangeKind.NEW_FAILURE, None)]
    assert compared(file_database, run(2, {RECEIVE: None}), run(3)).exit_status == 0


def test_nothing_in_common_and_nothing_since_are_sentences(file_database):
    with history_of(file_database, run(0), run(1, config="kasan")) as history:
        with pytest.raises(MatrixError, match="no cell in common"):
            compare(history, history.side("2026-11-01"), history.side("2026-11-02"))
        with pytest.raises(MatrixError, match="nothing was recorded since"):
            regressions(history, 2**33, "the far future")


def test_sides_are_nights_runs_and_revisions(database):
    runs = [run(0, revision="aaaa1111"), run(1, revision="bbbb2222"), run(1, hour=3, revision="bbbb2222")]
    with history_of(database, *runs) as history:

        def digests(words):
            return [one.digest for one in history.side(words).runs.values()]

        assert digests("latest") == digests("2026-11-02") == [runs[2].digest]
        assert digests("latest~1") == digests("revision:aaaa1111") == digests("aaaa") == [runs[0].digest]
        assert digests("bbbb2222") == [runs[2].digest]
        assert digests(runs[1].digest[:12]) == digests(f"run:{runs[1].digest}") == [runs[1].digest]
        for words in ("2026-11-09", "latest~2", "cccc", "run:0000", "what; DROP TABLE run", "", "night:latest~7"):
            with pytest.raises(MatrixError, match="its 3 runs are of 2026-11-01 to 2026-11-02"):
                history.side(words)


def test_since_is_a_date_days_nights_or_a_run(database):
    runs = [run(night) for night in range(5)]
    with history_of(database, *runs) as history:
        times = [one.time for one in runs]
        assert history.moment("latest")[0] == times[4]
        assert history.moment("latest~2")[0] == times[2]
        assert times[1] < history.moment("3d")[0] <= times[2]
        assert times[1] < history.moment("2026-11-03")[0] <= times[2]
        assert history.moment("2026-11-03T02:00+00:00")[0] == times[2]
        assert history.moment(runs[3].digest[:12])[0] == times[3]


def test_the_text_groups_cells_and_the_json_has_everything(file_database):
    before = [run(0, config=f"c{number}") for number in range(5)]
    after = [run(1, {SEND: failed(why="damaged \x1b[2J")}, config=f"c{number}", version=NEW) for number in range(5)]
    found = compared(file_database, *before, *after)
    text = "\n".join(changes.as_text(found))
    assert f"{SEND}: PASS SAFE -> FAIL SILENT" in text
    assert "and 2 cells more" in text and text.endswith("5 new failure: regressions")
    assert "\x1b" not in text
    told = json.loads(json.dumps(changes.as_json(found)))
    assert (told["status"], len(told["changes"]), told["compared"]) == (1, 5, 15)
    assert told["changes"][0]["after"]["outcome"] == "SILENT"


# Several runs in one night


@pytest.mark.parametrize("verdicts", [("FAIL", "PASS"), ("PASS", "FAIL"), ("PASS", "FAIL", "PASS")])
def test_a_pass_of_the_same_night_hides_no_fail(database, verdicts):
    tonight = [
        run(1, {SEND: failed()} if verdict == "FAIL" else {}, hour=hour) for hour, verdict in enumerate(verdicts)
    ]
    with history_of(database, run(0), *tonight) as history:
        since, title = history.moment("latest")
        for found in (
            compare(history, history.side("latest~1"), history.side("latest")),
            regressions(history, since, title),
        ):
            [change] = found.of(ChangeKind.FLAKY)
            assert (change.scenario, change.after.verdict, change.repeats) == (SEND, Verdict.FAIL, verdicts)
            assert found.exit_status == 1
            text = "\n".join(changes.as_text(found))
            assert f"{SEND}: PASS SAFE -> FAIL SILENT ({len(verdicts)} runs: {', '.join(verdicts)})" in text


def test_a_night_before_that_failed_in_one_of_two_runs_is_a_failure_before(database):
    nights = (run(0), run(1, {SEND: failed()}), run(1, hour=1), run(2, revision="d668415"))
    with history_of(database, *nights) as history:
        found = compare(history, history.side("latest~1"), history.side("latest"))
        assert [change.kind for change in found.changes if change.new] == [ChangeKind.FIXED]


def test_a_run_that_says_nothing_takes_nothing_from_its_night(database):
    with history_of(database, run(0), run(1), run(1, {SEND: lost()}, hour=1)) as history:
        assert compare(history, history.side("latest~1"), history.side("latest")).changes == []


def test_another_source_of_the_same_night_is_no_repeat(database):
    nights = (run(0), run(1, {SEND: failed()}, source_id="broken"), run(1, hour=1, source_id="mended"))
    with history_of(database, *nights) as history:
        assert compare(history, history.side("latest~1"), history.side("latest")).changes == []


# Versions of QEMU


def in_qemu(version, night, changes=None, hour=0):
    made = Provenance(Tool("1", "1bc8f64"), version, Host("Debian", "some", "tcg"), "dmasafe run")
    found = replace(results(changes), provenance=made)
    facts = Facts(FIRST + timedelta(days=night, hours=hour))
    return prepare(found, f"{version} {night} {hour} {changes}".encode(), facts, "results.json")


def test_cells_of_different_qemu_are_told_apart(database):
    runs = [in_qemu("7.2", 0), in_qemu("10.0", 0, {SEND: failed()}, hour=1)]
    more = [in_qemu("7.2", 1), in_qemu("10.0", 1, {SEND: failed()}, hour=1)]
    with history_of(database, *runs, *more) as history:
        assert {cell.target for cell in history.cells.values()} == {"qemu 7.2", "qemu 10.0"}
        assert {cell.family.name for cell in history.cells.values()} == {"linux-source-6.12 x86_64 default"}
        found = compare(history, history.side("latest~1"), history.side("latest"))
        # Nothing is flaky, and nothing is new.
        assert found.of(ChangeKind.FLAKY) == found.of(ChangeKind.NEW_FAILURE) == [] and found.cells == 2


def test_a_new_version_of_qemu_is_compared_with_the_one_before(database):
    with history_of(database, run(0), in_qemu("7.2", 1), in_qemu("10.0", 2, {SEND: failed()})) as history:
        since, title = history.moment("latest")
        for found in (
            compare(history, history.side("latest~1"), history.side("latest")),
            regressions(history, since, title),
        ):
            assert [change.scenario for change in found.of(ChangeKind.NEW_FAILURE)] == [SEND]
            assert found.missing == [] and found.fresh == [] and found.exit_status == 1
        # And results of before there was a version in them with those that have one.
        assert compare(history, history.side("latest~2"), history.side("latest~1")).exit_status == 0
