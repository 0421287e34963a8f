# SPDX-License-Identifier: GPL-2.0-or-later
"""The one source of expectations: the model, configured as the kernel at hand; for faults and other buses, rows."""

from __future__ import annotations

from dmasafe.buses import BUSES
from dmasafe.devices.bus import default_bus
from dmasafe.expect.faults import expect_seeded
from dmasafe.expect.other_bus import expect_on_bus
from dmasafe.facts import KernelFacts
from dmasafe.model import predict
from dmasafe.outcome import Expectation, Outcome, Skip
from dmasafe.scenario import BOARD, BUFFER_KINDS, CONTROLLERS, USER, OnBoard, Scenario


def expect(scenario: Scenario, kernel: KernelFacts) -> Expectation | Skip:
    """What must happen to this scenario on this kernel, or why it cannot exist there."""
    if scenario.controller == BOARD.name:
        return _expect_of_board(kernel)
    on_board = CONTROLLERS[scenario.controller].on_board if scenario.controller in CONTROLLERS else None
    if on_board is not None:
        return _expect_on_board(scenario, on_board, kernel)
    if scenario.fault is not None:
        return expect_seeded(scenario, kernel)
    if scenario.controller in BUSES:
        return expect_on_bus(scenario, kernel)
    # The emulated hardware's own slaves: they refuse a wrong count or packet error code.
    return predict(scenario, kernel, default_bus)


def _expect_on_board(scenario: Scenario, controller: OnBoard, kernel: KernelFacts) -> Expectation | Skip:
    """i2c-i801 copies each byte through the controller's registers, and has no I2C_FUNC_I2C."""
    if kernel.machine != controller.machine or not kernel.has(controller.needs):
        return Skip(f"{scenario.controller} is there with --config {scenario.controller} only")
    if scenario.operation == "get_put":
        return Skip("get_put maps for the controller that is named, and this one has no DMA")
    needs = USER.needs if scenario.buffer == USER.name else BUFFER_KINDS[scenario.buffer].needs
    if needs is not None and not kernel.has(needs):
        return Skip(f"{scenario.buffer} needs CONFIG_{needs}, which this kernel does not have")
    if scenario.operation != "i2cdev_smbus":
        return Expectation(Outcome.REFUSED, "the adapter carries SMBus calls only: i2c_transfer() returns -EOPNOTSUPP")
    return Expectation(Outcome.SAFE, "programmed input and output: no buffer is mapped")


def _expect_of_board(kernel: KernelFacts) -> Expectation | Skip:
    """A bus that nothing is known of: a device that answers, and an adapter's driver that does nothing wrong."""
    assert USER.needs is not None
    if not kernel.has(USER.needs):
        return Skip(f"{USER.name} needs CONFIG_{USER.needs}, which this kernel does not have")
    return Expectation(Outcome.SAFE, "the device at the named address answers, and nothing is reported")
