# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from dataclasses import replace

import pytest
from report_samples import errored, failed, lost, make_splat, passed, skipped

from dmasafe.outcome import Judgement, Outcome, Verdict
from dmasafe.report.results import Row, by_place, counts, exit_status
from dmasafe.report.splat_text import blamed
from dmasafe.report.text import one_line, visible, xml_text
from dmasafe.scenario import parse_scenario


@pytest.mark.parametrize(
    ("judgements", "status"),
    [
        ([passed(), skipped()], 0),
        ([passed(Outcome.SILENT), passed(Outcome.CAUGHT)], 0),
        ([passed(), failed()], 1),
        ([passed(), lost()], 2),
        ([passed(), errored()], 2),
        ([failed(), lost(), errored()], 1),
        ([skipped(), skipped()], 2),
        ([], 2),
    ],
)
def test_exit_status_is_0_only_if_something_was_judged_and_all_of_it_as_expected(
    judgements: list[Judgement], status: int, with_rows
) -> None:
    assert exit_status(with_rows(*judgements)) == status


def test_no_canary_or_a_reason_for_distrust_is_never_exit_status_0(with_rows) -> None:
    assert exit_status(with_rows(passed(), canary_splatted=False)) == 2
    assert exit_status(with_rows(passed(), reason="the guest rebooted")) == 2
    assert exit_status(with_rows(failed(), canary_splatted=False)) == 1


def test_counts_name_every_verdict(with_rows) -> None:
    assert counts(with_rows(passed(), passed(), failed())) == {
        Verdict.PASS: 2,
        Verdict.FAIL: 1,
        Verdict.INCONCLUSIVE: 0,
        Verdict.SKIP: 0,
        Verdict.ERROR: 0,
    }


def test_a_row_takes_its_place_and_id_from_the_scenario() -> None:
    row = Row.of(parse_scenario("user/i2cdev_rdwr/virtio/8+messages=w8,r8"), passed())
    assert (row.id, row.place, row.policy) == ("user/i2cdev_rdwr/virtio/8+messages=w8,r8", "virtio", None)
    assert Row.of(parse_scenario("heap/master_send/dmasafe:pio/8"), passed()).place == "dmasafe:pio"


def test_places_keep_the_order_of_the_run(passing) -> None:
    places = by_place(passing)
    assert list(places) == ["virtio", "dmasafe:bounce", "dmasafe:flag-only", "dmasafe:trusting", "dmasafe:pio"]
    assert sum(len(rows) for rows in places.values()) == len(passing.rows)


def test_blame_is_one_text_for_every_format() -> None:
    splat = make_splat()
    assert blamed(splat).startswith("dmasafe_xfer")
    assert blamed(replace(splat, frames=(), function=None)) == ""


def test_text_of_the_guest_cannot_leave_its_line_or_move_the_cursor() -> None:
    assert one_line("a\n\x1b[2Jb\r\tc") == "a \\x1b[2Jb c"
    assert visible("tab\tline\nbell\x07\x9b\u2028") == "tab\tline\nbell\\x07\\x9b\\u2028"
    assert xml_text("ok\x00\x0b\ufffe\ud800\U0001f600é\n") == "ok\\x00\\x0b\\ufffe\\ud800\U0001f600é\n"
