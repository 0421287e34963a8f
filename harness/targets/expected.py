# SPDX-License-Identifier: GPL-2.0-or-later
"""The one source of expectations: the model, configured as the kernel at hand; for faults and other buses, rows."""

from __future__ import annotations

from harness.buses import BUSES
from harness.devices.bus import default_bus
from harness.expectation import KernelFacts, expect_seeded
from harness.model import predict
from harness.outcome import Expectation, Outcome, Skip
from harness.scenario import BOARD, USER, Scenario
from harness.targets.expected_buses import expect_on_bus


def expect(scenario: Scenario, kernel: KernelFacts) -> Expectation | Skip:
    """What must happen to this scenario on this kernel, or why it cannot exist there."""
    if scenario.controller == BOARD.name:
        return _expect_of_board(kernel)
    if scenario.fault is not None:
        return expect_seeded(scenario, kernel)
    if scenario.controller in BUSES:
        return expect_on_bus(scenario, kernel)
    # The emulated hardware's own slaves: they refuse a wrong count or packet error code.
    return predict(scenario, kernel, default_bus)


def _expect_of_board(kernel: KernelFacts) -> Expectation | Skip:
    """A bus that nothing is known of: a device that answers, and an adapter's driver that does nothing wrong."""
    assert USER.needs is not None
    if not kernel.has(USER.needs):
        return Skip(f"{USER.name} needs CONFIG_{USER.needs}, which this kernel does not have")
    return Expectation(Outcome.SAFE, "the device at the named address answers, and nothing is reported")
