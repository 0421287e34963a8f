# SPDX-License-Identifier: GPL-2.0-or-later
"""What must come of a scenario whose hardware fails or whose driver goes: the driver says so, and harms nobody."""

from __future__ import annotations

from dmasafe.carriers import controller_of
from dmasafe.devices.hosts.faults import BUSY_S, FAULTS, SLOW_S
from dmasafe.host_policy import HostPolicy
from dmasafe.outcome import Expectation, Outcome, Skip
from dmasafe.scenario import Scenario
from dmasafe.vocabulary import OPERATIONS, SUSPEND, UNBIND, UNBOUND


def expect_failing(scenario: Scenario, sound: Expectation) -> Expectation:
    """``sound`` is what must come of it on hardware that does not fail."""
    fault = FAULTS[scenario.hardware or ""]
    if sound.outcome is not Outcome.SAFE or fault.interrupts > 1 or 0 < fault.delay_s <= BUSY_S:
        return sound
    model = controller_of(scenario.controller).model
    if 0 < fault.delay_s <= SLOW_S and isinstance(model, HostPolicy) and model.bears(fault.delay_s):
        return sound
    if not fault.interrupts and isinstance(model, HostPolicy) and model.asks:
        return sound._replace(why=f"the driver asks the hardware when its time is over; {sound.why}")
    if fault.nak_at and fault.nak_at > _sent(scenario):
        return sound._replace(why=f"no slave has a byte {fault.nak_at} to acknowledge; {sound.why}")
    if fault.dma_error and sound.direct is None:
        return sound._replace(why=f"no DMA engine is asked; {sound.why}")
    if fault.again_after_s:
        return sound._replace(why=f"what the hardware writes later no scenario sees; {sound.why}")
    if fault.store_after_s:
        if not scenario.reads or sound.direct is None:
            return sound
        return Expectation(Outcome.SILENT, "the hardware says that it is done before the data are in memory")
    return Expectation(Outcome.REFUSED, f"the hardware fails ({scenario.hardware}), and the driver has to say so")


def expect_unbound(scenario: Scenario, staying: Expectation, version: tuple[int, ...]) -> Expectation | Skip:
    """``staying`` is what must come of it where the driver is not unbound beside it, on a kernel of ``version``."""
    model = controller_of(scenario.controller).model
    assert isinstance(model, HostPolicy)
    gone = next((ending for ending in model.gone if ending.in_((version[0], version[1]))), None)
    if gone is not None and not gone.errno:
        why = f"{gone.what} ({gone.line})"
        if gone.unsafe and (scenario.operation, scenario.meanwhile) != ("i2cdev_write", UNBOUND):
            return Skip(f"the driver is unbound only once: {why}")
        return Expectation(Outcome.CAUGHT, why, ("other",), destructive=gone.unsafe)
    if scenario.meanwhile == SUSPEND:
        return _expect_asleep(scenario, staying, version)
    if gone is None or staying.outcome is not Outcome.SAFE:
        return staying._replace(why=f"i2c_del_adapter() waits for who has the adapter; {staying.why}")
    if scenario.meanwhile == UNBIND and not model.cut:
        return staying._replace(why=f"the driver waits for the transfer under way; {staying.why}")
    # A transfer that sleeps before its first byte enables its interrupt once more when the driver has gone.
    early = (Outcome.SAFE,) if scenario.meanwhile == UNBIND else ()
    return Expectation(Outcome.REFUSED, f"{gone.what} ({gone.line}): errno {gone.errno}", instead=early)


def _expect_asleep(scenario: Scenario, staying: Expectation, version: tuple[int, ...]) -> Expectation:
    """A caller in user space is frozen first, and for that waited for; one in the kernel is not."""
    model = controller_of(scenario.controller).model
    assert isinstance(model, HostPolicy)
    if OPERATIONS[scenario.operation].from_user_space:
        return staying._replace(why=f"user space is frozen first, which waits for system calls; {staying.why}")
    either: tuple[Outcome, ...] = (Outcome.SAFE, Outcome.REFUSED)
    if model.stale:
        # As after any transfer that fails.
        either = (*either, Outcome.CAUGHT)
    awake = next((ending for ending in model.awake if ending.in_((version[0], version[1]))), None)
    if awake is None:
        why = "the driver waits for the transfer's end, or for its time-out"
        return Expectation(Outcome.SAFE, why, also=model.stale, instead=either)
    why = f"{awake.what} ({awake.line})"
    return Expectation(Outcome.SAFE, why, also=model.stale, instead=either, sleeps=True)


def _sent(scenario: Scenario) -> int:
    """How many bytes the longest message to the slave has."""
    if scenario.operation == "transfer":
        return 1
    return 0 if scenario.reads else scenario.length
