# SPDX-License-Identifier: GPL-2.0-or-later
import dataclasses

import pytest

from dmasafe.outcome import (
    BusMessage,
    CallerMessage,
    DmaSegment,
    Expectation,
    Frame,
    Noticed,
    Observation,
    Outcome,
    Skip,
    Splat,
    Verdict,
    direct,
    judge,
    noticed,
    outcome_of,
)

BUFFER = 0x5000
GOOD = Observation(
    ret=2,
    caller=(CallerMessage(False, b"\x01\x02", BUFFER, True),),
    bus=(BusMessage(0x30, False, b"\x01\x02", True, (DmaSegment(BUFFER, 2),)),),
)
SPLAT = Splat("map-invalid-area", "0000:00:06.0", "dmasafe_controller", "device driver maps memory from invalid area")
STRAY = (BusMessage(0x30, False, b"", False, (DmaSegment(1 << 40, 2, stray=True),)),)
SAFE = Expectation(Outcome.SAFE, "it is heap memory")


def changed(**fields):
    return dataclasses.replace(GOOD, **fields)


def on_the_bus(**fields):
    return changed(bus=(GOOD.bus[0]._replace(**fields),))


@pytest.mark.parametrize(
    ("observation", "outcome", "word"),
    [
        (GOOD, Outcome.SAFE, "right data"),
        (changed(splats=(SPLAT,)), Outcome.CAUGHT, "map-invalid-area"),
        (changed(splats=(SPLAT,), damage=("read-only",)), Outcome.CAUGHT, "map-invalid-area"),
        (changed(damage=("guard-after",)), Outcome.SILENT, "guard-after"),
        (on_the_bus(segments=(DmaSegment(1 << 40, 2, stray=True),)), Outcome.SILENT, "stray DMA to 0x10000000000"),
        (changed(ret=-5, bus=STRAY), Outcome.SILENT, "stray"),
        (on_the_bus(data=b"\x01\x03"), Outcome.SILENT, "byte 1"),
        (on_the_bus(data=b"\x01"), Outcome.SILENT, "2 bytes at the caller, 1 on the bus"),
        (on_the_bus(read=True), Outcome.SILENT, "wrong way"),
        (changed(bus=()), Outcome.SILENT, "1 messages were asked for, 0 seen"),
        (changed(ret=-6, transferred=False, bus=()), Outcome.REFUSED, "-6"),
        (changed(ret=0, transferred=False, bus=()), Outcome.REFUSED, "returned 0"),
        (changed(ret=None), Outcome.SILENT, "never returned"),
        (changed(bus=None), Outcome.SAFE, "right data"),
    ],
)  # fmt: skip
def test_the_four_oracles_agree_on_one_outcome(observation, outcome, word):
    found, why = outcome_of(observation)
    assert found is outcome
    assert word in why


@pytest.mark.parametrize(
    ("observation", "answer"),
    [
        (GOOD, True),
        (on_the_bus(segments=(DmaSegment(0x9000, 2),)), False),
        (on_the_bus(segments=(DmaSegment(BUFFER, 2, stray=True),)), None),
        (on_the_bus(segments=()), None),
        (changed(caller=(CallerMessage(False, b"\x01\x02"),)), None),
        (changed(bus=None), None),
    ],
)
def test_direct_compares_the_devices_address_with_the_callers(observation, answer):
    assert direct(observation) is answer


def test_direct_is_about_the_payload_not_about_the_command_before_it():
    command = CallerMessage(False, b"\x10", 0x7000, False)
    bounced = BusMessage(0x30, False, b"\x10", True, (DmaSegment(0x8000, 1),))
    assert direct(changed(caller=(command, *GOOD.caller), bus=(bounced, *GOOD.bus))) is True


def test_as_expected_is_a_pass_and_anything_else_a_fail_that_says_both():
    assert judge(SAFE, GOOD).verdict is Verdict.PASS
    failed = judge(SAFE, changed(damage=("guard-before",)))
    assert failed.verdict is Verdict.FAIL
    assert "guard-before" in failed.why and "it is heap memory" in failed.why


def test_the_splat_classes_must_be_the_expected_ones():
    caught = Expectation(Outcome.CAUGHT, "not in the linear map", ("map-stack",))
    found = judge(caught, changed(splats=(SPLAT,)))
    assert found.verdict is Verdict.FAIL
    assert "missing map-stack" in found.why and "unexpected map-invalid-area" in found.why
    right = Expectation(Outcome.CAUGHT, "not in the linear map", ("map-invalid-area",))
    assert judge(right, changed(splats=(SPLAT, SPLAT))).verdict is Verdict.PASS


def test_classes_that_depend_on_what_ran_before_may_come_with_the_expected_ones():
    other = dataclasses.replace(SPLAT, splat_class="free-unallocated")
    caught = Expectation(Outcome.CAUGHT, "unmapped wrongly", ("map-invalid-area",), also=("free-unallocated",))
    assert judge(caught, changed(splats=(SPLAT,))).verdict is Verdict.PASS
    assert judge(caught, changed(splats=(SPLAT, other))).verdict is Verdict.PASS
    assert judge(caught, changed(splats=(other,))).verdict is Verdict.FAIL
    assert "unexpected free-unallocated" in judge(caught._replace(also=()), changed(splats=(SPLAT, other))).why


def test_a_payload_that_took_another_way_is_a_fail():
    expected = Expectation(Outcome.SAFE, "bounced", direct=False)
    assert judge(expected, GOOD).verdict is Verdict.FAIL
    assert "straight from the caller's buffer" in judge(expected, GOOD).why


@pytest.mark.parametrize("observation", [GOOD, changed(splats=(SPLAT,)), None])
def test_what_cannot_be_trusted_is_never_a_pass(observation):
    found = judge(SAFE, observation, untrusted="the canary did not splat")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "canary" in found.why


def test_a_lost_observation_is_inconclusive_even_if_it_looks_right():
    assert judge(SAFE, changed(lost="log records 5 to 9 are missing")).verdict is Verdict.INCONCLUSIVE


def test_what_cannot_exist_is_skipped_with_its_reason():
    found = judge(Skip("kmap needs CONFIG_HIGHMEM"), None)
    assert (found.verdict, found.why) == (Verdict.SKIP, "kmap needs CONFIG_HIGHMEM")


@pytest.mark.parametrize(
    ("caller", "bus", "prefix", "outcome"),
    [
        (b"\x01\x02", b"\x01\x02\x03", True, Outcome.SAFE),
        (b"\x01\x02", b"\x01\x02", True, Outcome.SAFE),
        (b"\x01\x02\x03", b"\x01\x02", True, Outcome.SILENT),
        (b"\x01\x02", b"\x01\x02\x03", False, Outcome.SILENT),
        (b"\x01\x03", b"\x01\x02\x03", True, Outcome.SILENT),
    ],
)
def test_where_the_slave_decides_the_length_the_bus_may_carry_more(caller, bus, prefix, outcome):
    sent = CallerMessage(True, caller, BUFFER, prefix=prefix)
    seen = BusMessage(0x30, True, bus, True, (DmaSegment(BUFFER, len(bus)),))
    assert outcome_of(changed(caller=(sent,), bus=(seen,)))[0] is outcome


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (False, "message 0, byte 1: the caller sent 0x02, the bus carried 0x03"),
        (True, "message 0, byte 1: the caller got 0x02, the bus carried 0x03"),
    ],
)
def test_wrong_data_names_the_byte_and_both_sides(read, words):
    sent = CallerMessage(read, b"\x01\x02", BUFFER)
    _, why = outcome_of(changed(caller=(sent,), bus=(BusMessage(0x30, read, b"\x01\x03", True),)))
    assert why == f"wrong data without a report: {words}"


def test_wrong_data_of_a_later_message_is_found():
    good = CallerMessage(False, b"\x01", BUFFER)
    seen = BusMessage(0x30, False, b"\x01", True)
    _, why = outcome_of(changed(caller=(good, good), bus=(seen, seen._replace(data=b"\x02"))))
    assert "message 1, byte 0" in why


@pytest.mark.parametrize(
    ("fields", "outcome", "why"),
    [
        ({"wrong": ("the register",)}, Outcome.SILENT, "wrong data without a report: the register"),
        ({"error": "probe failed"}, Outcome.REFUSED, "probe failed"),
        ({"wrong": ("a",), "error": "b"}, Outcome.SILENT, "wrong data without a report: a"),
        ({"ret": None, "bus": STRAY}, Outcome.SILENT, "stray DMA to 0x10000000000 without a report"),
        ({"damage": ("read-only",), "bus": STRAY}, Outcome.SILENT, "damaged without a report: read-only"),
        ({"ret": -6}, Outcome.REFUSED, "returned -6, 1 of 1 messages were transferred"),
        ({"ret": 0}, Outcome.SAFE, "right data, no splat"),
        ({"ret": 2, "transferred": False, "bus": None}, Outcome.REFUSED, "returned 2, nothing was transferred"),
    ],
)
def test_the_order_of_trust_is_reports_damage_stray_dma_data_errors(fields, outcome, why):
    assert outcome_of(changed(**fields)) == (outcome, why)


def test_a_class_is_named_once_in_the_order_it_came():
    other = dataclasses.replace(SPLAT, splat_class="map-stack")
    assert outcome_of(changed(splats=(SPLAT, other, SPLAT)))[1] == "the kernel reported map-invalid-area, map-stack"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, Noticed()),
        ({"splats": (SPLAT, SPLAT)}, Noticed(kernel=("map-invalid-area",))),
        ({"ret": None}, Noticed(returned=("never",))),
        ({"ret": -6}, Noticed(returned=("-ENXIO",))),
        ({"ret": -9999}, Noticed(returned=("-9999",))),
        ({"ret": 0}, Noticed()),
        ({"ret": -1}, Noticed(returned=("-EPERM",))),
        ({"ret": 0, "transferred": False}, Noticed(returned=("0",))),
        ({"ret": 0, "bus": None}, Noticed()),
        ({"damage": ("guard-after",)}, Noticed(memory=("guard-after",))),
        ({"bus": STRAY}, Noticed(device=("stray DMA",))),
        ({"bus": (GOOD.bus[0]._replace(data=b"\x01\x03"),)}, Noticed(device=("wrong data",))),
        ({"ret": -6, "bus": (GOOD.bus[0]._replace(data=b"\x01"),)}, Noticed(returned=("-ENXIO",))),
        (
            {"bus": (GOOD.bus[0]._replace(segments=(DmaSegment(0x9000, 2),)),)},
            Noticed(device=("other buffer",)),
        ),
    ],
)
def test_every_oracle_speaks_for_itself(fields, said):
    assert noticed(changed(**fields)) == said


def test_beyond_is_what_was_said_here_and_not_there():
    here = Noticed(("a", "b"), ("-EIO",), ("stray DMA",), ("guard-after",))
    there = Noticed(("b",), ("-EIO",), (), ("guard-before",))
    assert here.beyond(there) == Noticed(("a",), (), ("stray DMA",), ("guard-after",))
    assert here.words() == (("a", "b"), ("-EIO",), ("stray DMA",), ("guard-after",), ())


def test_the_strict_machine_is_an_oracle_of_its_own():
    slugs = ("strict-unmapped", "free-size", "strict-unmap")
    found = noticed(changed(splats=tuple(Splat(slug, None, None, "") for slug in slugs)))
    assert (found.kernel, found.strict) == (("free-size",), ("strict-unmap", "strict-unmapped"))


@pytest.mark.parametrize(
    ("expected", "observation", "verdict"),
    [
        (None, GOOD, Verdict.PASS),
        (True, GOOD, Verdict.PASS),
        (False, GOOD, Verdict.FAIL),
        (False, changed(bus=None), Verdict.PASS),
        (True, on_the_bus(segments=(DmaSegment(0x9000, 2),)), Verdict.FAIL),
        (None, on_the_bus(segments=(DmaSegment(0x9000, 2),)), Verdict.PASS),
    ],
)
def test_the_way_of_a_payload_counts_where_it_is_known_and_expected(expected, observation, verdict):
    found = judge(Expectation(Outcome.SAFE, "why", direct=expected), observation)
    assert found.verdict is verdict and found.direct == direct(observation)


@pytest.mark.parametrize(
    ("expected", "observation", "verdict"),
    [
        (SAFE, changed(ret=-6, transferred=False, bus=()), Verdict.FAIL),
        (SAFE._replace(instead=(Outcome.REFUSED,)), changed(ret=-6, transferred=False, bus=()), Verdict.PASS),
        (SAFE._replace(instead=(Outcome.REFUSED,)), GOOD, Verdict.PASS),
        (SAFE._replace(instead=(Outcome.REFUSED,)), on_the_bus(data=b"\x01\x03"), Verdict.FAIL),
        (SAFE._replace(instead=(Outcome.CAUGHT,)), changed(splats=(SPLAT,)), Verdict.FAIL),
        (SAFE._replace(instead=(Outcome.CAUGHT,), also=(SPLAT.splat_class,)), changed(splats=(SPLAT,)), Verdict.PASS),
        (SAFE, changed(slept=True), Verdict.FAIL),
        (SAFE._replace(instead=(Outcome.REFUSED,)), changed(slept=True, ret=-6, transferred=False), Verdict.FAIL),
        (SAFE._replace(sleeps=True), changed(slept=True), Verdict.PASS),
    ],
)
def test_which_of_two_is_faster_may_be_open_but_not_whether_a_transfer_is_slept_through(expected, observation, verdict):
    assert judge(expected, observation).verdict is verdict


def test_a_judgement_keeps_what_happened():
    observation = changed(splats=(SPLAT,), us=12.5)
    found = judge(SAFE, observation)
    assert (found.outcome, found.expected, found.splats, found.us) == (Outcome.CAUGHT, Outcome.SAFE, (SPLAT,), 12.5)
    assert judge(SAFE, None).why == "the scenario was not reached" and judge(SAFE, None, "lost").why == "lost"


def test_an_untrusted_run_gives_its_own_reason_before_the_observations():
    assert judge(SAFE, changed(lost="no answer"), "the canary").why == "the canary"
    assert judge(Skip("no highmem"), GOOD, "the canary").verdict is Verdict.SKIP


def test_expectations_and_messages_say_the_least_unless_told():
    assert Expectation(Outcome.SAFE, "").destructive is False
    assert CallerMessage(False, b"").prefix is False and DmaSegment(0, 0).stray is False
    assert Frame("f").reliable is True and Splat("a", None, None, "").truncated is False
    assert Observation(0).transferred is True


def test_a_splat_is_a_json_object_with_its_frames():
    frame = Frame("f", 1, 2, "m", False, "f.c", 3)
    found = dataclasses.replace(SPLAT, frames=(frame,), fields={"length": 8}, log_line=5).to_json()
    assert found["class"] == "map-invalid-area" and found["fields"] == {"length": 8} and found["log_line"] == 5
    assert found["frames"] == [{
        "function": "f", "offset": 1, "size": 2, "module": "m", "reliable": False, "file": "f.c", "line": 3,
    }]  # fmt: skip
