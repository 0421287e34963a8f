# SPDX-License-Identifier: GPL-2.0-or-later
import dataclasses

import pytest

from dmasafe.outcome import (
    BusMessage,
    CallerMessage,
    DmaSegment,
    Expectation,
    Observation,
    Outcome,
    Skip,
    Splat,
    Verdict,
    direct,
    judge,
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
    return changed(bus=(dataclasses.replace(GOOD.bus[0], **fields),))


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
