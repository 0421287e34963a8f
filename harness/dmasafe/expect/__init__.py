# SPDX-License-Identifier: GPL-2.0-or-later
"""The one source of expectations: rows for seeded faults, a controller's own rule, or the model of the kernel."""

from __future__ import annotations

from dataclasses import replace

from dmasafe.carriers import controller_of
from dmasafe.devices.bus import default_bus
from dmasafe.expect.faults import expect_seeded
from dmasafe.expect.hardware import expect_failing, expect_unbound
from dmasafe.facts import KernelFacts
from dmasafe.model import predict
from dmasafe.outcome import Expectation, Skip
from dmasafe.scenario import Scenario
from dmasafe.vocabulary import SUSPEND


def expect(scenario: Scenario, kernel: KernelFacts) -> Expectation | Skip:
    """What must happen to this scenario on this kernel, or why it cannot exist there."""
    if scenario.fault is not None:
        return expect_seeded(scenario, kernel)
    if scenario.meanwhile == SUSPEND and not kernel.has("PM_SLEEP_DEBUG"):
        return Skip("this kernel cannot be put to sleep and woken: CONFIG_PM_SLEEP_DEBUG is not set")
    if scenario.meanwhile is not None:
        staying = expect(scenario.with_driver_bound, kernel)
        return staying if isinstance(staying, Skip) else expect_unbound(scenario, staying, kernel.version)
    if scenario.hardware is not None:
        sound = expect(scenario.on_sound_hardware, kernel)
        return sound if isinstance(sound, Skip) else expect_failing(scenario, sound)
    row = controller_of(scenario.controller)
    if row.like:
        controller, policy = row.like[scenario.policy or ""]
        return expect(replace(scenario, controller=controller, policy=policy), kernel)
    expects = row.expects
    if expects is not None:
        return expects(scenario, kernel, predict)
    # The emulated hardware's own slaves: they refuse a wrong count or packet error code.
    return predict(scenario, kernel, default_bus)
