# SPDX-License-Identifier: GPL-2.0-or-later
"""The trace that an agent brings is kept as the device process's is; what makes no sense costs the boot its trust."""

import io

import pytest

from dmasafe.outcome import DmaSegment
from dmasafe.targets.gathered import MAX_TRACE_PER_SCENARIO, Gathered


@pytest.fixture
def gathered():
    return Gathered(io.BytesIO())


def message(number=3, **changes):
    return {
        "ev": "message", "controller": "dmasafe-engine.0", "seq": number, "addr": 0x30, "read": True, "len": 2,
        "data": "0102", "ok": True, "why": "", "segments": [{"address": 0x1000, "length": 2, "stray": False}],
        "headers": [],
    } | changes  # fmt: skip


def test_a_replys_trace_is_kept_by_scenario_and_the_reply_given_back_without(gathered):
    reply = {"re": "run", "seq": 3, "trace": [message(), message(None)], "answer": {"ret": 2}}
    assert gathered.take_message(reply) == {"re": "run", "seq": 3, "answer": {"ret": 2}}
    (seen,) = gathered.trace[3]
    assert (seen.data, seen.read, seen.segments) == (b"\x01\x02", True, (DmaSegment(0x1000, 2),))
    assert gathered.distrust is None


def test_the_beginning_of_a_long_trace_comes_before_its_end(gathered):
    assert gathered.take_message({"ev": "trace", "trace": [message(data="0a")]}) is None
    gathered.take_message({"re": "run", "seq": 3, "trace": [message(data="0b")]})
    assert [seen.data for seen in gathered.trace[3]] == [b"\x0a", b"\x0b"]


def test_a_segment_is_where_memory_is_not_where_the_platforms_dma_addresses_are(gathered):
    segments = [{"address": 0xC000_1000, "length": 2, "stray": False, "physical": 0x1000}]
    gathered.take_message({"re": "run", "trace": [message(segments=segments)]})
    assert gathered.trace[3][0].segments == (DmaSegment(0x1000, 2),)


def test_a_flood_is_bounded(gathered):
    gathered.take_message({"re": "run", "trace": [message()] * (MAX_TRACE_PER_SCENARIO + 9)})
    assert len(gathered.trace[3]) == MAX_TRACE_PER_SCENARIO


@pytest.mark.parametrize(
    "trace",
    [
        7, None, "x", {"a": 1}, [7], [None], ["x"], [[]], [message(addr=None)], [message(data="0")],
        [message(addr=float("inf"))], [message(segments=[7])], [message(segments=[{}])], [message(segments=7)],
        [message(seq="x")], [{"ev": "dropped", "count": 3}],
    ],
)  # fmt: skip
def test_a_trace_that_cannot_be_read_or_has_gaps_makes_the_boot_untrusted(gathered, trace):
    assert gathered.take_message({"re": "run", "trace": trace}) == {"re": "run"}
    assert gathered.distrust is not None


def test_a_request_that_was_none_costs_its_scenario_the_trust(gathered):
    event = {"ev": "violation", "controller": "dmasafe-engine.0", "seq": 3, "what": "bad-request", "why": "a chain"}
    gathered.take_message({"re": "run", "trace": [event]})
    assert "a chain" in gathered.broken_rules[3]
