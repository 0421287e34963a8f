# SPDX-License-Identifier: GPL-2.0-or-later
"""What a boot has said: events are kept and bounded, rules that were broken cost the trust they should."""

import io
from pathlib import Path

import pytest

from dmasafe.targets.errors import HostTrouble
from dmasafe.targets.gathered import LOST_LOG, MAX_RECORDS_PER_SCENARIO, MAX_VIOLATIONS, OUTSIDE, Gathered


@pytest.fixture
def gathered():
    return Gathered(io.BytesIO())


def record(sequence, number=1):
    return {"ev": "kmsg", "seq": number, "records": [f"4,{sequence},1,-;text"]}


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


def test_a_scenarios_end_mark_continues_the_records_numbers(gathered):
    gathered.take_message(record(1))
    assert gathered.take_message({"re": "run", "seq": 1, "log": 2}) == {"re": "run", "seq": 1, "log": 2}
    gathered.take_message({"re": "run", "seq": 2, "log": 3})
    assert gathered.lost_log is None
    reply = gathered.take_message({"re": "run", "seq": 3, "log": 5})
    assert reply[LOST_LOG] == "log records 4 to 4 are missing"


def test_what_is_lost_is_the_next_scenarios_and_no_other_replys(gathered):
    gathered.take_message({"ev": "kmsg-lost"})
    for other in ({"re": "read"}, {"re": "run", "seq": 0}):
        assert gathered.take_message(other) == other
    assert LOST_LOG in gathered.take_message({"re": "run", "seq": 4})
    assert LOST_LOG not in gathered.take_message({"re": "run", "seq": 5}) and gathered.lost_log is None


def test_an_end_mark_without_a_number_is_a_lost_log(gathered):
    reply = gathered.take_message({"re": "run", "seq": 1, "log": "x"})
    assert reply[LOST_LOG] == "a scenario's log has no end"


def test_a_flood_of_records_is_bounded_and_said(gathered):
    for sequence in range(MAX_RECORDS_PER_SCENARIO + 5):
        gathered.take_message(record(sequence))
    assert len(gathered.records[1]) == MAX_RECORDS_PER_SCENARIO
    assert "more than 20000" in gathered.lost_log


@pytest.mark.parametrize(
    "text", ["", "nonsense", "4,x,1,-;t", "4,²,1,-;t", f"4,{'9' * 5000},1,-;t", ["4,1,1,-;t"], {"a": 1}, None, 7]
)
def test_what_is_no_record_is_a_note(gathered, text):
    gathered.take_message({"ev": "kmsg", "seq": 1, "records": [text]})
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
    assert gathered.broken_rules == {} and gathered.distrust is None and gathered.violations == []


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


@pytest.mark.parametrize("text", ["4,٣,1,-;t", "4,1", "4", f"4,{'1' * 21},1,-;t"])
def test_a_number_that_the_kernel_cannot_have_written_is_none(gathered, text):
    gathered.take_message({"ev": "kmsg", "seq": 1, "records": [text]})
    assert gathered.violations == [f"no kernel log record: {text[:80]!r}"] and gathered.records == {}


def test_the_largest_number_of_the_kernels_is_one(gathered):
    gathered.take_message(record(99999999999999999999))
    assert gathered.violations == [] and len(gathered.records[1]) == 1


def test_a_record_twice_and_a_step_back_are_lost_logs(gathered):
    gathered.take_message(record(5))
    gathered.take_message(record(5))
    assert gathered.lost_log == "log records 6 to 4 are missing"


@pytest.mark.parametrize("seq", [None, "x", 1.5])
def test_a_record_without_a_scenario_is_from_outside(gathered, seq):
    gathered.take_message(record(1, seq))
    assert list(gathered.records) == [OUTSIDE]


def test_a_flood_outside_any_scenario_costs_none(gathered, monkeypatch):
    monkeypatch.setattr("dmasafe.targets.gathered.MAX_RECORDS_PER_SCENARIO", 2)
    for sequence in range(4):
        gathered.take_message(record(sequence, OUTSIDE))
    assert len(gathered.records[OUTSIDE]) == 2 and gathered.lost_log is None


def test_scenarios_that_do_not_exist_are_bounded(gathered, monkeypatch):
    monkeypatch.setattr("dmasafe.targets.gathered.MAX_SCENARIOS", 2)
    for sequence, number in enumerate((1, 2, 1, 2)):
        gathered.take_message(record(sequence, number))
        gathered.take_event(message(number, stray=False))
    assert gathered.lost_log is None
    gathered.take_message(record(4, 3))
    gathered.take_event(message(3, stray=False))
    assert gathered.lost_log == "log records of more scenarios than there are"
    assert list(gathered.records) == list(gathered.trace) == [1, 2]
    assert [len(found) for found in gathered.trace.values()] == [2, 2]


@pytest.mark.parametrize("seconds", [2, "2", None])
def test_a_lateness_that_is_no_number_of_seconds_is_none(gathered, seconds):
    gathered.take_event({"ev": "late", "seconds": seconds})
    assert gathered.late_s == 0.0


def test_the_first_reason_for_distrust_is_kept(gathered):
    gathered.take_event(violation("chain-too-long"))
    gathered.take_event(violation("zero-length"))
    gathered.take_event(message(None, stray=True))
    gathered.take_message({"re": "run", "trace": [7]})
    assert gathered.distrust.endswith("about chain-too-long")


def test_the_first_rule_broken_in_a_scenario_is_kept_and_a_strange_number_is_from_outside(gathered):
    gathered.take_event(violation("chain-too-long", 5))
    gathered.take_event(violation("zero-length", 5))
    assert gathered.broken_rules[5].endswith("about chain-too-long") and gathered.distrust is None
    gathered.take_event(violation("zero-length", "5"))
    assert gathered.distrust.endswith("about zero-length")


def test_an_event_of_another_kind_is_none(gathered):
    gathered.take_event({"ev": "connected"})
    assert (gathered.trace, gathered.violations, gathered.distrust) == ({}, [], None)


def test_a_lost_log_and_a_record_without_a_gap_are_told_apart(gathered):
    assert gathered.take_message({"ev": "kmsg-lost"}) is None
    assert gathered.lost_log == "the kernel overwrote log records before they were read"


def test_what_makes_no_sense_is_quoted_in_part(gathered):
    gathered.take_message({"ev": "trace", "trace": ["x" * 500]})
    assert gathered.distrust.startswith("the agent's trace makes no sense: ") and len(gathered.distrust) < 300
    gathered.take_message({"ev": "kmsg", "records": ["y" * 200]})
    assert gathered.violations == [f"no kernel log record: {'y' * 80!r}"]


@pytest.mark.parametrize(
    ("event", "entries"),
    [
        ({"ev": "queue", "controller": "virtio", "entries": 64}, 64),
        ({"ev": "queue", "controller": "dmasafe", "entries": 64}, None),
        ({"ev": "queue", "controller": "virtio", "entries": "64"}, None),
    ],
)
def test_the_length_of_virtios_queue_is_kept(gathered, event, entries):
    gathered.take_event(event)
    assert gathered.queue_entries == entries
