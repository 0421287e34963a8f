# SPDX-License-Identifier: GPL-2.0-or-later
"""A test on the model: a new kernel on a bus of dmasafe/devices. Nothing here is far away, so nothing can be lost."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NoReturn

import pytest

from dmasafe.devices.bus import Bus, default_bus
from dmasafe.devices.plugged import put_in
from dmasafe.devices.values import find
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.model import Config, ModelKernel
from dmasafe.outcome import BusMessage, DmaSegment, Judgement, Skip, judge
from dmasafe.progress import SILENT
from dmasafe.pytest_plugin.bus import PluginBus
from dmasafe.pytest_plugin.dmesg import Dmesg
from dmasafe.pytest_plugin.errors import plainly
from dmasafe.pytest_plugin.window import PluginTarget
from dmasafe.scenario import parse_scenario
from dmasafe.targets.judged import expectation_at
from dmasafe.targets.model import ModelTarget

_NO_ORACLE = "the model's kernel has no CONFIG_DMA_API_DEBUG: that it reports nothing means nothing"


class ModelWindow:
    """See the module."""

    def __init__(self, item: pytest.Item, facts: KernelFacts, kernel: KernelInfo) -> None:
        self._bus: Bus = default_bus()
        self._kernel = ModelKernel(Config.of(facts), self._bus)
        self._log: list[str] = []
        self._complaints: list[str] = []
        self._told = False
        self._dmesg = Dmesg(self._records, list, self._doubt)
        self.inconclusive: str | None = None
        self.target = PluginTarget(ModelTarget.name, kernel, facts, self._run)
        self.bus = PluginBus(self)

    def guest(self) -> NoReturn:
        pytest.skip("the model has no guest: --dmasafe-target=qemu")

    def modules(self) -> NoReturn:
        pytest.skip("the model loads no modules: --dmasafe-target=qemu")

    def pci(self) -> NoReturn:
        pytest.skip("the model has no PCI functions: --dmasafe-target=qemu")

    def dmesg(self) -> Dmesg:
        return self._dmesg

    def model(self) -> ModelKernel:
        return self._kernel

    # The bus's wiring.

    def plug(self, slaves: Mapping[int, object]) -> None:
        self._bus.stop()
        self._bus.slaves = {
            address: put_in(address, functools.partial(_made, slave), self._complaints.append)
            for address, slave in slaves.items()
        }

    def update_slaves(self) -> None:
        """They are the very objects."""

    def messages(self) -> list[BusMessage]:
        found = []
        for hardware in self._kernel.hardware.values():
            for seen in hardware.trace:
                segments = () if seen.dma is None else (DmaSegment(seen.dma, seen.length, seen.stray),)
                found.append(BusMessage(seen.address, seen.read, seen.data, not seen.why, segments, seen.why))
        return found

    # What the hooks ask.

    def complaint(self) -> str | None:
        if self._has_no_oracle():
            return f"INCONCLUSIVE: {self.inconclusive}"
        parts = self.accounts()
        self._told = True
        return "\n".join(parts) or None

    def distrusted(self, error: BaseException) -> str | None:
        self._told = self._has_no_oracle()
        return self.inconclusive

    def accounts(self) -> list[str]:
        if self._told:
            return []
        return [*dict.fromkeys(self._complaints), *self._dmesg.accounts(), *self.bus.accounts(self._dmesg.splats)]

    def section(self) -> str:
        head = f"the model of Linux {self.target.kernel.release}, {self.target.kernel.arch}"
        expected = [splat for splat in self._dmesg.splats if splat not in self._dmesg.unclaimed()]
        return "\n".join(line for line in (head, self._dmesg.describe(expected)) if line)

    def close(self) -> str | None:
        return None

    def _records(self) -> list[str]:
        if self._kernel.log.entries:
            self._log += self._kernel.log.take()
        return self._log

    def _has_no_oracle(self) -> bool:
        """Whether the test asked a log whose silence means nothing."""
        self.inconclusive = self._doubt() if self._dmesg.used else None
        return self.inconclusive is not None

    def _doubt(self) -> str | None:
        return None if self.target.facts.has("DMA_API_DEBUG") else _NO_ORACLE

    @plainly
    def _run(self, scenario_id: str) -> Judgement:
        __tracebackhide__ = True
        scenario = parse_scenario(scenario_id)
        target = ModelTarget(self.target.facts, self.target.kernel)
        expectation = expectation_at(target, scenario)
        if isinstance(expectation, Skip):
            pytest.skip(expectation.why)
        run = target.run([scenario], frozenset(), SILENT)
        return judge(expectation, run.observations.get(scenario.id), run.untrusted.get(scenario.id))


def _made(slave: Any) -> Any:
    """An object of whatever describes one; see PluginBus."""
    if isinstance(slave, str):
        slave = find(slave)
    return slave() if isinstance(slave, type | functools.partial) else slave
