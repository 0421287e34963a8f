# SPDX-License-Identifier: GPL-2.0-or-later
"""A window: one test's view of a target, from its begin to its end. What every target's window can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.model import ModelKernel
from dmasafe.outcome import Judgement
from dmasafe.pytest_plugin.bus import PluginBus
from dmasafe.pytest_plugin.dmesg import Dmesg
from dmasafe.pytest_plugin.guest import Guest
from dmasafe.pytest_plugin.module import ModuleLoader
from dmasafe.pytest_plugin.pci import PciLoader


class PluginTarget:
    """Where the test runs: ``name`` (``qemu``, ``model``), ``kernel``, ``facts``."""

    def __init__(self, name: str, kernel: KernelInfo, facts: KernelFacts, run: Callable[[str], Judgement]) -> None:
        self.name = name
        self.kernel = kernel
        self.facts = facts
        self._run = run

    def run(self, scenario: str) -> Judgement:
        """Perform one of dmasafe's own scenarios (``stack/master_send/virtio/8``), judged by what is expected of it.

        Skips the test if the scenario cannot exist on this target. Its splats count as expected by the test.
        """
        __tracebackhide__ = True
        return self._run(scenario)


class Window(Protocol):
    """See the module. ``inconclusive`` is why the test cannot be trusted, None as long as nothing is known."""

    inconclusive: str | None

    @property
    def target(self) -> PluginTarget: ...

    @property
    def bus(self) -> PluginBus: ...

    def guest(self) -> Guest: ...

    def modules(self) -> ModuleLoader: ...

    def pci(self) -> PciLoader: ...

    def dmesg(self) -> Dmesg: ...

    def model(self) -> ModelKernel: ...

    def complaint(self) -> str | None:
        """The test has passed: why it may not, after everything was looked at. None if there is nothing."""

    def distrusted(self, error: BaseException) -> str | None:
        """The test has failed with ``error``: why that cannot be trusted, None if it can."""

    def accounts(self) -> list[str]:
        """What went wrong in the test so far, one text each, the cause before what it caused; empty if it is told."""

    def section(self) -> str:
        """For the report of a test that failed: the kernel, splats that were expected, where the logs are."""

    def close(self) -> str | None:
        """After all fixtures: what came too late for complaint(), None if nothing did."""
