# SPDX-License-Identifier: GPL-2.0-or-later
"""A PCI function in Python: what a class of it declares, and what it can do in the machine that it is plugged into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from dmasafe.devices.errors import FunctionError
from dmasafe.devices.pci.config_space import ConfigSpace, msix_bar_bytes, msix_pending_at
from dmasafe.devices.pci.dma import Dma
from dmasafe.devices.pci.i2c import I2cBus
from dmasafe.devices.pci.registers import Bar, Decoder, RegisterBlock, Window


class Machine(Protocol):
    """What a function is plugged into: a transport (devices/vfio_user.py), or a test."""

    dma: Dma
    bus: I2cBus

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls once, so many seconds from now, unless the function is reset before."""

    def message(self, vector: int) -> bool:
        """Sends the message of an MSI or MSI-X vector. False if the driver enabled neither."""

    def line(self, high: bool) -> None:
        """The function's INTx line has this level now."""

    def undeclared(self, bar: int, offset: int, size: int, write: bool) -> None:
        """The driver used what nobody declared, for the first time."""


class PciFunction(RegisterBlock):
    """One PCI function. A class of it declares, as class attributes:

    ``vendor_id``, ``device_id``, ``subsystem_vendor_id``, ``subsystem_id``, ``class_code`` (24 bits), ``revision``;
    its Registers; ``bars``, the BARs with what lies in them; ``irq_pin`` (1 to 4 for INTA to INTD, 0 for none), ``msi``
    and ``msix``, the numbers of its vectors (0 for none; the MSI-X table gets a BAR of its own, the last free one);
    ``needs_bus_master``: whether DMA is stray until the driver has called pci_set_master(), as on real PCI. A device
    that a platform driver reaches through a BAR has nobody who would call it.

    What it does: ``dma.read()`` and ``dma.write()``, ``bus.transfer()`` on the I2C bus behind it, ``raise_irq()``,
    ``lower_irq()``, ``set_irq()``, ``later()``. A register's handler must return at once: while it runs, all of the
    guest waits, and after five seconds QEMU gives up. What takes time is done by ``later()``.

    It is made without arguments. What each one has of its own (RegisterBlocks, bars of them) is built in
    ``__init__()``, after ``super().__init__()``. ``dma`` and ``bus`` are there from ``plug()`` on, which the transport
    calls. ``reset()`` is for more than the registers. Raises FunctionError for a declaration that cannot be.
    """

    vendor_id: int = 0
    device_id: int = 0
    subsystem_vendor_id: int = 0
    subsystem_id: int = 0
    class_code: int = 0x0C8000
    revision: int = 0
    bars: Sequence[Bar] = ()
    irq_pin: int = 1
    msi: int = 0
    msix: int = 0
    needs_bus_master: bool = True

    dma: Dma
    bus: I2cBus
    msix_bar: Bar
    _machine: Machine | None = None

    def __init__(self) -> None:
        super().__init__()
        self._high: set[int] = set()

    def plug(self, machine: Machine) -> None:
        """The function is put into a machine: from now on it is what its class, and its ``__init__()``, declared."""
        self._machine = machine
        self.dma, self.bus = machine.dma, machine.bus
        self.pending = bytearray((self.msix + 63) // 64 * 8)
        if self.msix:
            self.msix_bar = self._place_msix()
            self.bars = (*self.bars, self.msix_bar)
        self.decoders = {bar.index: Decoder(bar, self, partial(machine.undeclared, bar.index)) for bar in self.bars}
        self.config = ConfigSpace(self)

    def reset(self) -> None:
        """The guest or QEMU reset the function: registers have been set back already, timers are gone."""

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls ``callback()`` once, ``seconds`` from now. A reset of the function forgets it."""
        self._plugged().later(seconds, callback)

    def raise_irq(self, vector: int = 0) -> None:
        """An interrupt: the message of ``vector`` if the driver enabled MSI-X or MSI, else INTx goes high and stays.

        Each call sends a message. See ``set_irq()`` for interrupts that have a level.
        """
        if not 0 <= vector < max(1, self.msi, self.msix):
            raise FunctionError(f"{type(self).__name__} has no interrupt vector {vector}")
        self._high.add(vector)
        if not self._plugged().message(vector):
            self._plugged().line(True)

    def lower_irq(self, vector: int = 0) -> None:
        """The source of ``vector`` is quiet. INTx goes low if all are; with messages nothing is sent."""
        self._high.discard(vector)
        self._plugged().line(bool(self._high))

    def set_irq(self, high: bool, vector: int = 0) -> None:
        """The level of an interrupt's source, for status registers behind a mask: a message is sent when it rises."""
        if not high:
            self.lower_irq(vector)
        elif vector not in self._high:
            self.raise_irq(vector)

    def reset_all(self) -> None:
        """What a reset does, for the transport: configuration space, registers of all blocks, interrupts, reset()."""
        self.config.reset()
        self.pending[:] = bytes(len(self.pending))
        self._high.clear()
        self._plugged().line(False)
        blocks = [entry for bar in self.bars for entry in bar.registers if isinstance(entry, RegisterBlock)]
        for block in (self, *blocks):
            block.reset_registers()
        self.reset()

    def _plugged(self) -> Machine:
        if self._machine is None:
            raise FunctionError(f"{type(self).__name__} is not plugged in")
        return self._machine

    def _place_msix(self) -> Bar:
        taken = {bar.index + more for bar in self.bars for more in range(1 + bar.wide)}
        free = [index for index in range(6) if index not in taken]
        if not free:
            raise FunctionError(f"{type(self).__name__} has no BAR left for its MSI-X table")
        at, size = msix_pending_at(self.msix), len(self.pending)
        table = Window(0, at)
        pending = Window(at, size, on_read=lambda offset, length: bytes(self.pending[offset : offset + length]))
        return Bar(free[-1], msix_bar_bytes(self.msix), (table, pending))
