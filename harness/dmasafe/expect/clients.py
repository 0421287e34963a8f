# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's client drivers as scenarios (a client, a phase, a controller), and what must come of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from dmasafe.carriers import controller_of
from dmasafe.errors import unknown
from dmasafe.expect import expect
from dmasafe.expect.client_drivers import CLIENT_DRIVERS, ClientDriver, Phase, Sent
from dmasafe.facts import KernelFacts
from dmasafe.outcome import Expectation, Outcome, Skip
from dmasafe.scenario import BUFFER_KINDS, CONTROLLERS, Scenario, ScenarioError

# The version whose virtcons_restore() fills the control queue last.
_PORTS_FORGET = (7, 3)
_NO_BLOCK_READS_WHY = (
    "the adapter does not offer SMBus block reads, the client does not ask, and i2c_smbus_xfer_emulated() does not "
    "refuse: one byte is read, the rest is zeros"
)


@dataclass(frozen=True)
class Place:
    """A controller, and its driver's policy if it has any."""

    controller: str
    policy: str | None = None

    @property
    def name(self) -> str:
        return self.controller if self.policy is None else f"{self.controller}:{self.policy}"


#: Where there is DMA, and the policies against it; further controllers are named by the user.
DEFAULT_PLACES = (
    *(Place("dmasafe", policy) for policy in CONTROLLERS["dmasafe"].policies),
    Place("virtio"),
    Place("tiny-usb"),
    Place("osif"),
)


@dataclass(frozen=True)
class ClientScenario:
    """One phase of one client on one controller."""

    client: ClientDriver
    phase: Phase
    place: Place

    @property
    def id(self) -> str:
        """``lm75/probe/dmasafe:bounce``"""
        return f"{self.client.name}/{self.phase}/{self.place.name}"

    # Its row in results: the client stands where a scenario has its buffer, the phase where it has its operation.
    length: ClassVar[int] = 0
    fault: ClassVar[None] = None

    @property
    def buffer(self) -> str:
        return self.client.name

    @property
    def operation(self) -> str:
        return self.phase

    @property
    def controller(self) -> str:
        return self.place.controller

    @property
    def policy(self) -> str | None:
        return self.place.policy


def parse_place(text: str) -> Place:
    """``virtio``, ``dmasafe:bounce``. Raises ScenarioError."""
    controller, _, policy = text.partition(":")
    if controller not in CONTROLLERS:
        raise ScenarioError(unknown("controller", controller, CONTROLLERS))
    policies = CONTROLLERS[controller].policies
    if (policy or None) not in (policies or (None,)):
        one = ", ".join(f"{controller}:{name}" for name in policies) or controller
        raise ScenarioError(f"there is no place '{text}': it is one of {one}")
    return Place(controller, policy or None)


def parse_client(text: str) -> ClientDriver:
    """A row of CLIENT_DRIVERS by its name. Raises ScenarioError."""
    if text not in CLIENT_DRIVERS:
        raise ScenarioError(unknown("client", text, CLIENT_DRIVERS))
    return CLIENT_DRIVERS[text]


def parse_client_scenario(text: str) -> ClientScenario:
    """``lm75/probe/dmasafe:bounce``. Raises ScenarioError."""
    name, phase, place = (*text.split("/"), "", "")[:3]
    if phase not in list(Phase):
        raise ScenarioError(unknown("phase", phase, Phase))
    return ClientScenario(parse_client(name), Phase(phase), parse_place(place))


def expect_client(scenario: ClientScenario, facts: KernelFacts) -> Expectation | Skip:
    """The first of the phase's messages that does not go well, as the model says; SAFE if there is none."""
    client, place = scenario.client, scenario.place
    if not facts.has(client.needs):
        return Skip(
            f"{client.name} needs CONFIG_{client.needs}, which this kernel does not have (--config upstream has most)"
        )
    controller = controller_of(place.controller)
    symbol = controller.lacks(facts.has)
    if symbol is not None:
        return Skip(f"{place.controller} needs CONFIG_{symbol}, which this kernel does not have")
    if scenario.phase is not Phase.PROBE:
        probe = expect_client(replace(scenario, phase=Phase.PROBE), facts)
        if isinstance(probe, Expectation) and probe.outcome is not Outcome.SAFE:
            return Skip(f"its probe is not expected to succeed here: {probe.why}")
    if scenario.phase is Phase.MESSAGES:
        return Expectation(Outcome.SAFE, "the messages are those of the driver's source")
    if not controller.survives_suspend and scenario.phase is Phase.SUSPEND:
        return Skip("USB unbinds a driver that cannot suspend, and the adapter goes with it")
    if scenario.phase is Phase.SUSPEND and facts.version >= _PORTS_FORGET:
        return Skip(
            "virtio_console takes its host for gone after a suspend, so the agent hears nothing any more: from 7.3 on "
            "virtcons_restore() asks the host before there is a buffer for the answer"
        )
    for sent in client.sends(facts.version)[scenario.phase]:
        found = expect(_as_scenario(sent, place), facts)
        if isinstance(found, Expectation) and found.outcome is not Outcome.SAFE:
            return Expectation(found.outcome, f"{sent.words}: {found.why}", found.classes)
    if client.reads_blocks and scenario.phase in (Phase.USE, Phase.SUSPEND) and not controller.reads_blocks:
        return Expectation(Outcome.SILENT, _NO_BLOCK_READS_WHY)
    return Expectation(Outcome.SAFE, "every buffer suits what the controller's driver does with it")


def _as_scenario(sent: Sent, place: Place) -> Scenario:
    assert sent.buffer in BUFFER_KINDS
    operation = ("master_recv" if sent.read else "master_send") + ("_dmasafe" if sent.marked else "")
    return Scenario(sent.buffer, operation, place.controller, place.policy, sent.length)
