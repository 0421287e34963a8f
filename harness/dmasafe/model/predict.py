# SPDX-License-Identifier: GPL-2.0-or-later
"""What must happen to a scenario on a kernel: it is carried out on the model, and the outcome is the expectation."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from dmasafe.carriers import CONTROLLERS, controller_of
from dmasafe.host_policy import HostPolicy
from dmasafe.model.bus import Bus, StandardBus
from dmasafe.model.client import Client
from dmasafe.model.config import Config, Facts
from dmasafe.model.errors import KernelPanic, Unsupported
from dmasafe.model.kernel import ModelKernel
from dmasafe.outcome import Expectation, Observation, Skip, direct, outcome_of
from dmasafe.vocabulary import Scenario, kind_of

_RIGHT = "right data, no splat"


def cannot_exist(scenario: Scenario, config: Config) -> Skip | None:
    """Why this kernel cannot have the scenario, or None."""
    controller = controller_of(scenario.controller)
    why = kind_of(scenario).missing(config.has) or controller.not_modelled(config.has)
    if why is None and isinstance(controller.model, HostPolicy):
        symbol = controller.model.lacks((config.version[0], config.version[1]), config.has)
        why = symbol and controller.absent.format(name=controller.name, symbol=symbol)
    return None if why is None else Skip(why)


class Lab:
    """A kernel that carries out one scenario after the other, each as if it were the first.

    Whatever a scenario leaves behind (leaked memory or mappings, a dead task's lock) is undone by going back to the
    state after boot. ``remembers``: mappings that a driver leaves behind with all it does (HostPolicy.leaves) stay.
    """

    def __init__(self, config: Config, bus: Bus | None = None) -> None:
        self.config = config
        self._own_bus = StandardBus() if bus is None else None
        self.kernel = ModelKernel(config, bus or self._own_bus)
        self.client = Client(self.kernel)
        for name in CONTROLLERS:
            if cannot_exist(Scenario("heap", "master_send", name, None, 1), config) is None:
                self.kernel.adapter(name)
        self.remembers = False
        self._state = self.kernel.save()
        self._baseline = self._leftovers()

    def _leftovers(self) -> tuple[int, int, int]:
        debug, strict = self.kernel.dma_debug, self.kernel.dma.strict
        live = 0 if strict is None else len(strict.live)
        return len(self.kernel.allocators.allocated), 0 if debug is None else debug.entries, live

    def run(self, scenario: Scenario) -> tuple[Observation, list[str], list[str]]:
        """(observation, the kernel's log as /dev/kmsg records, what was decided on the way). Raises Unsupported."""
        kernel = self.kernel
        self.prepare()
        observation = self.perform(scenario)
        records = kernel.log.take() if kernel.log.entries else []
        notes = list(kernel.notes)
        driver = controller_of(scenario.controller).model
        self.tidy(observation, self.remembers and isinstance(driver, HostPolicy) and bool(driver.leaves))
        return observation, records, notes

    def perform(self, scenario: Scenario) -> Observation:
        """The client's part alone. Raises Unsupported."""
        try:
            return self.client.run(scenario)
        except KernelPanic:
            self.kernel.restore(self._state)
            raise

    def prepare(self) -> None:
        """The log and the notes begin anew, and the slaves if they are the model's own."""
        self.kernel.notes.clear()
        self.kernel.log.entries = []
        if self._own_bus is not None:
            self._own_bus.reset()

    def tidy(self, observation: Observation, keep: bool = False) -> None:
        """Between two scenarios: once-only reports are re-armed, and what was left behind is undone.

        ``keep``: but not what dma-debug still holds for mapped.
        """
        kernel = self.kernel
        kernel.log.clear_warn_once()
        if observation.ret is None or self._leftovers() != self._baseline:
            held = kernel.dma_debug.save() if keep and kernel.dma_debug is not None else None
            kernel.restore(self._state)
            if kernel.dma_debug is not None and held is not None:
                kernel.dma_debug.restore(held)
        else:
            # What was freed in another order than it was allocated would be handed out in another order.
            kernel.allocators.restore(self._state.allocators)


@lru_cache(maxsize=64)
def _lab(facts: Facts, make_bus: Callable[[], Bus] | None) -> Lab:
    lab = Lab(facts if isinstance(facts, Config) else Config.of(facts), None if make_bus is None else make_bus())
    # Slaves that judge must be sent what the guest's would be.
    lab.client.exact = make_bus is not None
    return lab


def expectation_of(observation: Observation, notes: list[str]) -> Expectation:
    """An observation on the model as what must be seen elsewhere."""
    outcome, reason = outcome_of(observation)
    why = "; ".join(dict.fromkeys(notes))
    if reason != _RIGHT or not why:
        why = f"{why}; {reason}" if why else reason
    if not observation.splats:
        classes: tuple[str, ...] = ()
    else:
        classes = tuple(dict.fromkeys(splat.splat_class for splat in observation.splats))
    return Expectation(outcome, why, classes, direct(observation), observation.ret is None)


def predict(scenario: Scenario, facts: Facts, make_bus: Callable[[], Bus] | None = None) -> Expectation | Skip:
    """What must happen to ``scenario`` on the kernel of ``facts``, or why it cannot exist there.

    ``make_bus`` gives slaves that judge what they are sent; without it they are StandardBus's. The kernel is kept for
    the next call with the same facts (which must be hashable), so that a suite is one boot.
    """
    lab = _lab(facts, make_bus)
    skip = cannot_exist(scenario, lab.config)
    if skip is not None:
        return skip
    lab.prepare()
    try:
        observation = lab.perform(scenario)
    except Unsupported as error:
        return Skip(str(error))
    expectation = expectation_of(observation, lab.kernel.notes)
    lab.tidy(observation)
    driver = controller_of(scenario.controller).model
    if isinstance(driver, HostPolicy) and expectation.classes:
        expectation = expectation._replace(also=driver.leaves + driver.stale)
    return expectation
