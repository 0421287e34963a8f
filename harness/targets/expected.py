# SPDX-License-Identifier: GPL-2.0-or-later
"""The one source of expectations: the model, configured as the kernel at hand; for seeded faults, their rows."""

from __future__ import annotations

from harness.expectation import KernelFacts, expect_seeded
from harness.model import predict
from harness.outcome import Expectation, Skip
from harness.scenario import Scenario


def expect(scenario: Scenario, kernel: KernelFacts) -> Expectation | Skip:
    """What must happen to this scenario on this kernel, or why it cannot exist there."""
    if scenario.fault is not None:
        return expect_seeded(scenario, kernel)
    return predict(scenario, kernel)
