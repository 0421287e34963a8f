# SPDX-License-Identifier: GPL-2.0-or-later
"""A controller driver under test on its PCI function: built, loaded, transferred with, judged, undone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dmasafe.carriers.own import OWN
from dmasafe.devices.values import import_path
from dmasafe.outcome import Judgement, Verdict
from dmasafe.pytest_plugin.errors import PluginError, plainly
from dmasafe.pytest_plugin.module import LoadedModule, ModuleLoader
from dmasafe.targets.own import VIRTIO_I2C, OwnDriver, own_suite
from dmasafe.targets.shared_boot import SharedBoot

MARK = "dmasafe_pci"
# What the fixture's own driver is called among the guest's adapters, unless the test gives it another name.
ADAPTER = OWN.name


def marked(item: pytest.Item) -> str:
    """What stands for the PCI function that the test's mark names: ids, or ``module:Class``. Raises SlaveError."""
    mark = item.get_closest_marker(MARK)
    if mark is None:
        return VIRTIO_I2C
    # Not an argument without a name: pytest would take a class for what it marks.
    if mark.args or set(mark.kwargs) != {"function"}:
        how = f"write @pytest.mark.{MARK}(function=CLASS), with a PciFunction or its 'module:Class'"
        raise pytest.fail.Exception(how, pytrace=False)
    found = mark.kwargs["function"]
    return found if isinstance(found, str) else import_path(found)


@dataclass
class PciDriver:
    """A driver on its function. ``adapter`` is the N of /dev/i2c-N, ``policy`` what the driver promises.

    ``undeclared`` are accesses to where the function has no register: (BAR, offset, bytes, whether it was a write).
    """

    module: LoadedModule
    adapter: int
    policy: str
    undeclared: Sequence[tuple[int, int, int, bool]]
    _run: Callable[[Sequence[str]], list[Judgement]] = field(repr=False)

    def run(self, scenario: str) -> Judgement:
        """Perform ``BUFFER/OPERATION/LENGTH``, such as ``stack/master_recv/8``, on this adapter, and judge it.

        It is judged by what the kernel and a driver of ``policy`` must do. Its splats count as expected by the test.
        """
        __tracebackhide__ = True
        head, separator, tail = scenario.rpartition("/")
        if head.count("/") != 1 or not separator:
            raise pytest.fail.Exception(f"'{scenario}' is no BUFFER/OPERATION/LENGTH, such as stack/master_recv/8")
        (judged,) = self._run([f"{head}/{OWN.name}:{self.policy}/{tail}"])
        return judged

    def failures(self, suite: str = "smoke") -> dict[str, Judgement]:
        """Perform what a suite (``smoke``, ``core``) has for such a driver: what did not go as it must, by scenario."""
        __tracebackhide__ = True
        names = [scenario.id for scenario in own_suite(suite, self.policy)]
        judged = zip(names, self._run(names), strict=True)
        return {name: one for name, one in judged if one.verdict not in (Verdict.PASS, Verdict.SKIP)}


class PciLoader:
    """``dmasafe_pci``: see __call__. ``device`` is the function that the boot has for the test."""

    def __init__(
        self,
        shared: SharedBoot,
        device: str,
        modules: ModuleLoader,
        run: Callable[[Sequence[str]], list[Judgement]],
        once: Callable[[], Path],
    ) -> None:
        self._once = once
        self._shared = shared
        self._device = device
        self._modules = modules
        self._run = run
        self._lent = False

    @plainly
    def __call__(
        self,
        directory: Path | str,
        *,
        policy: str = "bounce",
        adapter: str = ADAPTER,
        params: str = "",
        name: str | None = None,
    ) -> PciDriver:
        """Build the controller driver in ``directory`` (Kbuild file; relative to the test's file), load and bind it.

        It gets the PCI function of the test's mark ``dmasafe_pci(function=CLASS)``; without one, that of vhost-user-i2c
        (1af4:1062). ``policy`` is what it promises to do with buffers: bounce, flag-only, trusting, pio, virtio. Its
        adapter is known as ``adapter`` to the other fixtures. ``params`` and ``name`` are as for ``dmasafe_module()``.
        """
        __tracebackhide__ = True
        if policy not in OWN.policies:
            raise PluginError(f"there is no policy {policy}: it is one of {', '.join(OWN.policies)}")
        if self._lent:
            raise PluginError("the test's PCI function has a driver already: one dmasafe_pci() a test")
        loaded = self._modules(directory, params=params, name=name)
        self._lent = True
        number = self._shared.boot.lend(
            OwnDriver((), self._device, loaded=(self._modules.objects[loaded.name],), once=self._once())
        )
        self._shared.boot.adapters[adapter] = number
        return PciDriver(loaded, number, policy, self._shared.seen.undeclared, self._run)

    def undo(self) -> None:
        """The driver is unloaded: its function is whose it was. Raises BootLost."""
        if self._lent:
            self._lent = False
            self._shared.boot.take_back()
