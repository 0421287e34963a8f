# SPDX-License-Identifier: GPL-2.0-or-later
import pytest

from dmasafe.outcome import BusMessage, DmaSegment, Outcome, outcome_of
from dmasafe.scenario import parse_scenario
from dmasafe.targets.wire import line, observation, settings

MEMORY = range(1 << 12, 256 << 20)


@pytest.mark.parametrize(
    ("scenario", "set_", "words"),
    [
        (
            "stack/master_send/dmasafe:bounce/8+threshold=16",
            "policy=bounce threshold=16 fault=none",
            "op=master_send buffer=stack addr=0x30 len=8 fill={seed}",
        ),
        ("heap/transfer/virtio/8+dma_safe=1", "", "op=transfer buffer=heap addr=0x30 len=8 fill={seed} dma_safe=1"),
        (
            "user/i2cdev_rdwr/virtio/8@50+messages=w8,r8",
            "",
            "front=i2cdev op=rdwr addr=0x50 len=8 fill={seed} messages=w8,r8",
        ),
    ],
)
def test_a_scenario_becomes_the_agents_line(scenario, set_, words):
    assert settings(parse_scenario(scenario)) == set_
    assert line(parse_scenario(scenario)) == words.format(seed=parse_scenario(scenario).seed)


def test_an_answer_and_the_trace_become_an_observation():
    scenario = parse_scenario("heap/master_send_dmasafe/dmasafe:bounce/2")
    message = {"rd": 0, "data": "0102", "pa": "0x5000", "dma_safe": 1}
    reply = {"re": "run", "seq": 3, "answer": {"ret": 2, "ns": 1500, "transferred": True, "msgs": [message]}}
    trace = [BusMessage(0x30, False, b"\x01\x02", True, (DmaSegment(0x5000, 2),))]
    seen = observation(scenario, reply, [], trace, MEMORY)
    assert (seen.ret, seen.us, seen.caller[0].physical, seen.caller[0].flagged) == (2, 1.5, 0x5000, True)
    assert outcome_of(seen)[0] is Outcome.SAFE


def test_get_put_is_judged_by_what_was_mapped():
    scenario = parse_scenario("vmalloc/get_put/dmasafe:bounce/2+dma_safe=1")

    def seen(**fields):
        message = {"rd": 0, "data": "0102", "want": "0102", "pa": "0x5000", "dma": "0x5000", **fields}
        answer = {"ret": 0, "transferred": True, "msgs": [message]}
        return outcome_of(observation(scenario, {"answer": answer}, [], [], MEMORY))[0]

    assert seen() is Outcome.SAFE
    assert seen(data="0103") is Outcome.SILENT
    assert seen(dma=hex(MEMORY.stop - 1)) is Outcome.SILENT
    assert seen(dma=hex(MEMORY.stop - 2)) is Outcome.SAFE
    assert seen(dma=hex(MEMORY.start - 1)) is Outcome.SILENT


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        ({"hung": 5000}, "did not return within 5000 ms"),
        ({"died": 9}, "signal 9"),
        ({"error": "no such adapter"}, "no such adapter"),
        ({"answer": [1]}, "agent"),
        ({"answer": {"ret": -95, "unsupported": "no highmem"}}, "no highmem"),
        ({}, "agent"),
    ],
)
def test_an_answer_that_is_none_cannot_be_trusted(reply, word):
    seen = observation(parse_scenario("heap/master_send/virtio/8"), reply, [], [], MEMORY)
    assert seen.lost is not None and word in seen.lost


def test_a_task_that_the_kernels_report_explains_is_an_observation():
    records = [
        "4,10,100,-;------------[ cut here ]------------",
        "2,11,101,-;kernel BUG at include/linux/scatterlist.h:187!",
        "4,12,102,-;Oops: invalid opcode: 0000 [#1] PREEMPT SMP",
        "4,13,103,-;---[ end trace 0000000000000000 ]---",
    ]
    seen = observation(parse_scenario("stack/master_send_dmasafe/virtio/8"), {"died": 9}, records, [], MEMORY)
    assert seen.lost is None
    assert outcome_of(seen)[0] is Outcome.CAUGHT


@pytest.mark.parametrize(
    ("place", "ret", "ok", "lost"),
    [
        ("viperboard", -110, True, True),
        # The slave refused: that is the bridge's answer.
        ("viperboard", -121, False, False),
        ("viperboard", 4, True, False),
        # It waits as long as it takes.
        ("dmasafe:bounce", -110, True, False),
    ],
)
def test_a_driver_that_gave_up_on_work_that_was_done_proves_nothing(place, ret, ok, lost):
    answer = {"ret": ret, "ns": 5, "transferred": ret >= 0, "msgs": [{"rd": 0, "data": "01020304", "pa": 4096}]}
    trace = [BusMessage(0x30, False, bytes((1, 2, 3, 4)), ok)]
    seen = observation(parse_scenario(f"heap/master_send/{place}/4"), {"answer": answer}, [], trace, range(1 << 20))
    assert (seen.lost is not None and "too slow" in seen.lost) is lost
