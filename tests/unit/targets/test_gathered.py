# SPDX-License-Identifier: GPL-2.0-or-later
"""What a boot has said: events are kept and bounded, rules that were broken cost the trust they should."""

import io
from pathlib import Path

import pytest

from dmasafe.targets.errors import HostTrouble
from dmasafe.targets.gathered import MAX_RECORDS_PER_SCENARIO, MAX_VIOLATIONS, OUTSIDE, Gathered


@pytest.fixture
def gathered():
    return Gathered(io.BytesIO())


def record(sequence, number=1):
    return {"ev": "kmsg", "seq": number, "record": f"4,{sequence},1,-;text"}


def violation(what, number=None):
    return {"ev": "violation", "controller": "virtio", "seq": number, "what": what, "why": f"about {what}"}


def message(number, stray):
    segments = [{"address": 0x1000, "length": 8, "stray": stray}]
    return {
        "ev": "message", "controller": "virtio", "seq": number, "addr": 0x30, "read": False, "data": "00", "ok": True,
        "why": "", "segments": segments,
    }  # fmt: skip


def test_a_reply_is_given_back_and_an_event_is_kept(gathered):
    assert gathered.take_message({"re": "run"}) == {"re": "run"}
    assert gathered.take_message(record(1)) is None
    assert gathered.records == {1: ["4,1,1,-;text"]}
    assert gathered.kmsg_log.getvalue() == b"4,1,1,-;text\n"


def test_a_gap_in_the_records_numbers_is_a_lost_log(gathered):
    gathered.take_message(record(1))
    gathered.take_message(record(2))
    assert gathered.lost_log is None
    gathered.take_message(record(9))
    assert gathered.lost_log == "log records 3 to 8 are missing"


def test_a_flood_of_records_is_bounded_and_said(gathered):
    for sequence in range(MAX_RECORDS_PER_SCENARIO + 5):
        gathered.take_message(record(sequence))
    assert len(gathered.records[1]) == MAX_RECORDS_PER_SCENARIO
    assert "more than 20000" in gathered.lost_log


@pytest.mark.parametrize(
    "text", ["", "nonsense", "4,x,1,-;t", "4,²,1,-;t", f"4,{'9' * 5000},1,-;t", ["4,1,1,-;t"], {"a": 1}, None, 7]
)
def test_what_is_no_record_is_a_note(gathered, text):
    gathered.take_message({"ev": "kmsg", "seq": 1, "record": text})
    assert gathered.violations and gathered.records == {}


def test_notes_are_bounded(gathered):
    for _ in range(3 * MAX_VIOLATIONS):
        gathered.take_message({"ev": "kmsg"})
        gathered.take_event(violation("zero-length"))
    assert len(gathered.violations) == MAX_VIOLATIONS


def test_a_rule_broken_in_a_scenario_costs_that_one_and_outside_all_of_them(gathered):
    gathered.take_event(violation("chain-too-long", 5))
    assert list(gathered.broken_rules) == [5] and gathered.distrust is None
    gathered.take_event(violation("chain-too-long"))
    assert "about chain-too-long" in gathered.distrust


def test_the_habits_of_upstream_drivers_cost_nothing(gathered):
    gathered.take_event(violation("group-unfinished", 5))
    gathered.take_event(violation("feature-missing"))
    assert gathered.broken_rules == {} and gathered.distrust is None and len(gathered.violations) == 2


def test_stray_dma_is_an_observation_within_a_scenario_and_a_reason_outside(gathered):
    gathered.take_event(message(3, stray=True))
    gathered.take_event(message(None, stray=False))
    assert gathered.distrust is None and set(gathered.trace) == {3, OUTSIDE}
    gathered.take_event(message(None, stray=True))
    assert gathered.distrust == "a driver sent stray DMA outside any scenario, to 0x1000"


def test_a_trace_with_gaps_and_a_device_that_was_late_are_remembered(gathered):
    gathered.take_event({"ev": "late", "seconds": 1.5})
    gathered.take_event({"ev": "late", "seconds": 0.7})
    gathered.take_event({"ev": "dropped", "count": 3})
    assert gathered.late_s == 1.5 and "gaps" in gathered.distrust


def test_a_log_that_cannot_be_written_is_this_machines_trouble():
    with Path("/dev/full").open("wb", buffering=0) as full:
        gathered = Gathered(full)
        with pytest.raises(HostTrouble, match=r"cannot write /dev/full: No space left on device; .* TMPDIR"):
            gathered.take_message(record(1))
