# SPDX-License-Identifier: GPL-2.0-or-later
import pytest

from dmasafe.outcome import BusMessage, CallerMessage, DmaSegment, Outcome, outcome_of
from dmasafe.scenario import parse_scenario
from dmasafe.targets.wire import line, observation, settings

RAM = range(1 << 12, 256 << 20)
# With a hole, as 32-bit and big machines have.
MEMORY = (RAM, range(1 << 32, 5 << 30))


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
    assert seen(dma=hex(RAM.stop - 1)) is Outcome.SILENT
    assert seen(dma=hex(RAM.stop - 2)) is Outcome.SAFE
    assert seen(dma=hex(RAM.start - 1)) is Outcome.SILENT


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
    seen = observation(parse_scenario(f"heap/master_send/{place}/4"), {"answer": answer}, [], trace, (range(1 << 20),))
    assert (seen.lost is not None and "too slow" in seen.lost) is lost


MARKED = "heap/master_send/viperboard/4"
GAVE_UP = {"ret": -110, "transferred": False, "msgs": [{"rd": 0, "data": "01020304", "pa": 4096}]}
CARRIED_OUT = BusMessage(0x30, False, bytes((1, 2, 3, 4)), True)
BY_DMA = CARRIED_OUT._replace(segments=(DmaSegment(4096, 4),))
FREED = [
    "4,1,1,-;------------[ cut here ]------------",
    "4,2,2,-;DMA-API: i2c-at91 1000.i2c: device driver tries to free DMA memory it has not allocated "
    "[device address=0x0000000000001000] [size=4 bytes]",
    "4,3,3,-;---[ end trace 0000000000000000 ]---",
]
WARNED = ["4,1,1,-;i2c i2c-1: rejecting DMA map of vmalloc memory"]


@pytest.mark.parametrize(
    ("scenario", "answer", "records", "trace", "lost"),
    [
        (MARKED, GAVE_UP, [], [CARRIED_OUT], True),
        (MARKED, {**GAVE_UP, "ret": -1}, [], [CARRIED_OUT], True),
        (MARKED, {**GAVE_UP, "ret": 0}, [], [CARRIED_OUT], False),
        (MARKED, {**GAVE_UP, "ret": None}, [], [CARRIED_OUT], False),
        (MARKED, GAVE_UP, WARNED, [CARRIED_OUT], False),
        # Its buffer went by DMA, so that it was not that one which could not be mapped.
        ("heap/master_send/at91/4", GAVE_UP, WARNED, [BY_DMA], True),
        # It waited for DMA that it had not started: a read is on the bus all the same.
        ("heap/master_send/at91/4", GAVE_UP, WARNED, [CARRIED_OUT], False),
        # So was the read after a write that had gone by DMA.
        ("heap/master_send/at91/4", GAVE_UP, WARNED, [BY_DMA, CARRIED_OUT], False),
        ("heap/master_send/imx/4", GAVE_UP, WARNED, [CARRIED_OUT], True),
        ("heap/master_send/at91/4", {**GAVE_UP, "ret": -1}, WARNED, [CARRIED_OUT], False),
        (MARKED, {**GAVE_UP, "damage": ["guard-after"]}, [], [CARRIED_OUT], False),
        # It gave up as it had to.
        ("heap/master_send/at91/4+hardware=late", GAVE_UP, [], [CARRIED_OUT], False),
        ("heap/master_send/at91/4+hardware=busy", GAVE_UP, [], [CARRIED_OUT], True),
        ("heap/master_send/at91/4", GAVE_UP, [], [], True),
        ("heap/master_send/at91/4", GAVE_UP, WARNED, [], False),
        # Another report does not say why nothing came.
        ("heap/master_send/at91/4", GAVE_UP, FREED, [], True),
        ("heap/master_send/at91/4", {**GAVE_UP, "ret": -1}, [], [], False),
        ("heap/master_send/at91/4", GAVE_UP, [], [CARRIED_OUT._replace(ok=False)], False),
        (MARKED, GAVE_UP, [], [], False),
        (MARKED, {**GAVE_UP, "msgs": []}, [], [], False),
        (MARKED, GAVE_UP, [], [CARRIED_OUT, CARRIED_OUT], False),
        ("user/i2cdev_read/board/4@50", GAVE_UP, [], [CARRIED_OUT], False),
        ("heap/master_send/virtio/4", GAVE_UP, [], [CARRIED_OUT], False),
    ],
)
def test_only_some_drivers_can_be_too_impatient_and_few_with_a_report(scenario, answer, records, trace, lost):
    seen = observation(parse_scenario(scenario), {"answer": answer}, records, trace, (range(1 << 20),))
    assert (seen.lost is not None) is lost
    if lost:
        assert f"carried out {len(trace)} of 1 messages" in seen.lost


@pytest.mark.parametrize(
    ("answer", "transferred"),
    [
        ({"ret": 8}, True),
        ({"ret": 0}, True),
        ({"ret": -1}, False),
        ({}, False),
        ({"ret": 8, "transferred": False}, False),
        ({"ret": -1, "transferred": True}, True),
    ],
)
def test_what_was_transferred_is_told_by_the_agent_or_else_by_what_the_call_returned(answer, transferred):
    assert observation(parse_scenario("heap/master_send/virtio/8"), {"answer": answer}, [], [], MEMORY).transferred is (
        transferred
    )


def test_a_message_says_little_of_itself_if_the_agent_does():
    answer = {"ret": 1, "ns": 2000, "msgs": [{}, 7, {"rd": 1, "dma_safe": 0, "recv_len": 1, "pa": 4096, "data": "0a"}]}
    seen = observation(parse_scenario("heap/master_send/virtio/8"), {"answer": answer}, [], [], MEMORY)
    assert seen.caller == (
        CallerMessage(False, b"", None, None, False),
        CallerMessage(True, b"\x0a", 4096, False, True),
    )
    assert seen.us == 2.0 and seen.damage == ()


def test_damage_is_kept_and_no_list_is_no_damage():
    for damage, kept in ((["guard-after", 7], ("guard-after", "7")), ("guard-after", ()), (None, ())):
        answer = {"ret": 8, "damage": damage}
        seen = observation(parse_scenario("heap/master_send/virtio/8"), {"answer": answer}, [], [], MEMORY)
        assert seen.damage == kept and seen.us is None


def test_qemus_own_slaves_tell_nothing():
    seen = observation(parse_scenario("heap/master_send/i801/8"), {"answer": {"ret": 8}}, [], [CARRIED_OUT], MEMORY)
    assert seen.bus is None
    other = observation(parse_scenario("user/i2cdev_read/board/8@50"), {"answer": {}}, [], [CARRIED_OUT], MEMORY)
    assert other.bus == (CARRIED_OUT,)


def mapped(**fields):
    scenario = parse_scenario("vmalloc/get_put/dmasafe:bounce/2+dma_safe=1")
    message = {"rd": 1, "data": "0102", "want": "0103", "pa": "0x5000", "dma": "0x6000", **fields}
    return observation(scenario, {"answer": {"ret": 0, "msgs": [message]}}, [], [], MEMORY)


def test_get_put_stands_for_a_bus_by_what_was_mapped():
    seen = mapped()
    assert seen.bus == (BusMessage(0, True, b"\x01\x02", True, (DmaSegment(0x6000, 2, False),)),)
    assert seen.caller == (CallerMessage(True, b"\x01\x03", 0x5000, None),)
    assert mapped(rd=None).bus[0].read is False
    assert mapped(dma=None).bus[0].segments == ()


def test_get_put_maps_within_memory_or_astray():
    for address, stray in ((RAM.start, False), (RAM.start - 1, True), (RAM.stop - 2, False)):
        assert mapped(dma=address).bus[0].segments[0].stray is stray
    assert mapped(dma=RAM.stop - 1).bus[0].segments[0].stray is True
    for part in MEMORY:
        assert mapped(dma=part.start).bus[0].segments[0].stray is False


def on_the_bus(*segments, **fields):
    scenario = parse_scenario("heap/regmap_write/bus-spi/1")
    reply = {"answer": {"ret": 0, "msgs": [], "bus": [{"rd": 0, "data": "0102", "segments": list(segments), **fields}]}}
    return observation(scenario, reply, [], [], MEMORY).bus[0]


def test_hardware_in_the_guest_tells_where_the_payload_lay():
    seen = on_the_bus({"address": "0x5000", "length": 2, "stray": 0}, {"address": 0x6000, "length": 3, "stray": 0})
    assert seen == BusMessage(0, False, b"\x01\x02", True, (DmaSegment(0x5000, 2), DmaSegment(0x6000, 3)))
    assert on_the_bus(rd=1).read is True and on_the_bus(rd=None).read is False


@pytest.mark.parametrize(
    ("address", "length", "stray", "is_stray"),
    [
        (RAM.start, 2, 0, False),
        (RAM.start - 1, 2, 0, True),
        (RAM.stop - 2, 2, 0, False),
        (RAM.stop - 1, 2, 0, True),
        (0x5000, 2, 1, True),
        (0x5000, 2, None, True),
        (0x5000, 0, 0, False),
        (0x5000, -1, 0, True),
        (None, 2, 0, True),
        (RAM.stop, None, 0, False),
    ],
)
def test_hardware_in_the_guest_is_believed_when_it_says_stray_and_checked_when_it_does_not(
    address, length, stray, is_stray
):
    segment = {"address": address, "length": length, "stray": stray}
    assert on_the_bus(segment).segments == (DmaSegment(address or 0, length or 0, is_stray),)


@pytest.mark.parametrize(
    ("reply", "lost"), [({"rebound": True}, False), ({"rebound": False}, True), ({"rebound": 1}, True), ({}, True)]
)
def test_a_driver_that_was_to_come_back_must_say_so(reply, lost):
    answer = {"answer": {"ret": 8, "msgs": []}, **reply}
    for one in (
        "heap/master_send_dmasafe/dmasafe:bounce/32+fault=leak-on-release",
        "user/i2cdev_write/at91/8+meanwhile=unbound",
    ):
        assert (observation(parse_scenario(one), answer, [], [], MEMORY).lost is not None) is lost
    # What a mistake is reported for excuses no driver.
    leak = parse_scenario("heap/master_send_dmasafe/dmasafe:bounce/32+fault=leak-on-release")
    assert (observation(leak, answer, FREED, [], MEMORY).lost is not None) is lost
    for other in ("heap/master_recv_dmasafe/dmasafe:bounce/32+fault=free-size", "heap/master_send/virtio/8"):
        assert observation(parse_scenario(other), answer, [], [], MEMORY).lost is None


@pytest.mark.parametrize(
    ("name", "ret", "records", "lost"),
    [
        ("at91", -110, [], True),
        ("qup", -110, [], False),
        ("qup", -5, [], True),
        # What these two are reported for says nothing of the transfer.
        ("stm32f4", -110, WARNED, True),
        ("imx", -110, [], True),
    ],
)
def test_a_driver_that_waits_in_vain_for_what_it_has_given_up_is_not_impatient(name, ret, records, lost):
    unbound = parse_scenario(f"user/i2cdev_write/{name}/4+meanwhile=unbound")
    answer = {**GAVE_UP, "ret": ret}
    seen = observation(unbound, {"answer": answer, "rebound": True}, records, [CARRIED_OUT], MEMORY)
    assert (seen.lost is not None) is lost


@pytest.mark.parametrize(
    ("scenario", "reply", "hasty"),
    [
        ("heap/master_send/at91/8+hardware=busy+meanwhile=unbind", {"hung": 10000}, True),
        ("heap/master_send/at91/8", {"hung": 5000}, False),
        ("heap/master_send/at91/8", {"error": "the adapter is gone"}, True),
        ("heap/master_send/at91/8", {"error": "no line in the request"}, False),
        ("user/i2cdev_write/at91/8+meanwhile=unbound", {"error": "meanwhile: there is no such adapter"}, True),
        ("user/i2cdev_write/at91/8+meanwhile=unbound", {"answer": {"ret": 8, "msgs": []}}, True),
        ("user/i2cdev_write/at91/8+meanwhile=unbound", {"answer": {"ret": 8, "msgs": []}, "rebound": True}, False),
        ("heap/master_send/at91/4", {"answer": GAVE_UP}, True),
    ],
)
def test_what_a_slow_machine_may_have_cost_is_told_from_the_rest(scenario, reply, hasty):
    trace = [CARRIED_OUT] if "msgs" in str(reply) else []
    assert observation(parse_scenario(scenario), reply, [], trace, MEMORY).hasty is hasty


def test_a_driver_that_was_unbound_too_late_proves_nothing():
    leaving = parse_scenario("heap/master_send/at91/8+hardware=busy+meanwhile=unbind")
    late = {"answer": {"ret": 8, "msgs": []}, "rebound": True, "caught": False}
    died = observation(leaving, {"answer": {"ret": 8, "msgs": []}}, WARNED, [], MEMORY)
    assert died.lost is None and died.splats
    assert "over before" in observation(leaving, late, [], [], MEMORY).lost


ASLEEP = parse_scenario("heap/master_send/tegra/8+hardware=busy+meanwhile=suspend")


def test_what_a_driver_did_while_the_system_slept_is_kept():
    woken = {"answer": {"ret": 8, "msgs": []}, "rebound": True}
    assert not observation(ASLEEP, woken, [], [], MEMORY).slept
    assert observation(ASLEEP, {**woken, "slept": True}, [], [], MEMORY).slept
    # Who is frozen does not see when his call is over.
    frozen = parse_scenario("user/i2cdev_read/tegra/8+hardware=busy+meanwhile=suspend")
    assert not observation(frozen, {**woken, "slept": True}, [], [], MEMORY).slept
    assert "over before the system slept" in observation(ASLEEP, {**woken, "caught": False}, [], [], MEMORY).lost


def test_the_read_that_tries_the_adapter_is_none_of_the_scenarios():
    sent = {"ret": 4, "transferred": True, "msgs": [{"rd": 0, "data": "01020304", "pa": 4096}]}
    tried = BusMessage(0x30, True, b"\x01", True)
    woken = observation(ASLEEP, {"answer": sent, "rebound": True}, [], [CARRIED_OUT, tried], MEMORY)
    assert woken.bus == (CARRIED_OUT,)


@pytest.mark.parametrize(
    ("error", "hardware", "wrong"), [(0, "busy", False), (108, "busy", True), (110, "busy", True), (110, "slow", False)]
)
def test_an_adapter_must_work_when_the_system_has_slept(error, hardware, wrong):
    asleep = parse_scenario(f"heap/master_send/tegra/8+hardware={hardware}+meanwhile=suspend")
    woken = {"answer": {"ret": 8, "msgs": []}, "rebound": True, "after": error}
    assert bool(observation(asleep, woken, [], [], MEMORY).wrong) is wrong


def test_a_driver_that_gives_up_because_its_interrupt_sleeps_is_not_impatient():
    gave_up = {"answer": GAVE_UP, "rebound": True}
    assert observation(ASLEEP, gave_up, [], [CARRIED_OUT], MEMORY).lost is None
    user = parse_scenario("user/i2cdev_write/tegra/4+meanwhile=suspend")
    assert observation(user, gave_up, [], [CARRIED_OUT], MEMORY).lost is not None


def test_a_caller_in_the_kernel_is_not_frozen():
    assert line(ASLEEP).endswith(" awake=1")
    assert "awake" not in line(parse_scenario("user/i2cdev_read/tegra/8+meanwhile=suspend"))
    assert "awake" not in line(parse_scenario("heap/master_send/tegra/8+meanwhile=unbind"))


def test_an_agents_complaint_is_bounded():
    seen = observation(parse_scenario("heap/master_send/virtio/8"), {"error": "x" * 300}, [], [], MEMORY)
    assert seen.lost == f"the agent: {'x' * 200}"


def test_what_was_seen_of_a_lost_answer_is_kept():
    seen = observation(parse_scenario("heap/master_send/virtio/8"), {"hung": 5000}, WARNED, [CARRIED_OUT], MEMORY)
    assert (seen.ret, seen.bus, len(seen.splats)) == (None, (CARRIED_OUT,), 1)
    assert "5000 ms" in seen.lost


def test_what_happens_beside_a_call_is_none_of_its_lines():
    assert "busy" not in line(parse_scenario("heap/master_send/at91/8+hardware=busy+meanwhile=unbind"))
    assert "unbind" not in line(parse_scenario("heap/master_send/at91/8+hardware=busy+meanwhile=unbind"))


def test_other_buses_are_named_in_the_line_and_get_put_has_its_own_threshold():
    assert line(parse_scenario("heap/regmap_write/bus-spi/1")).endswith(" bus=bus-spi")
    own = parse_scenario("heap/get_put/dmasafe:bounce/8+threshold=16")
    assert "threshold=16" in line(own) and line(own).startswith("op=get_put buffer=heap ")
    assert "threshold" not in line(parse_scenario("heap/master_send/dmasafe:bounce/8+threshold=16"))
    faulty = parse_scenario("heap/master_recv_dmasafe/dmasafe:bounce/32+fault=free-size")
    assert "fault" not in line(faulty) and settings(faulty).endswith(" threshold=1 fault=free-size")
