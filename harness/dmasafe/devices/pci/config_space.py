# SPDX-License-Identifier: GPL-2.0-or-later
"""A function's configuration space (PCI Local Bus 3.0, chapter 6), made from its declaration."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack_into, unpack_from
from typing import Protocol

from dmasafe.devices.errors import FunctionError
from dmasafe.devices.pci.registers import Bar

CONFIG_BYTES = 256
COMMAND, BARS, CAPABILITIES = 0x04, 0x10, 0x40
COMMAND_BUS_MASTER = 1 << 2
# I/O, memory, bus master, parity, SERR, INTx disable.
_COMMAND_WRITABLE = 0x0547
_STATUS_CAPABILITIES = 1 << 4
_MSI, _MSIX = 0x05, 0x11
_MSI_BYTES, _MSIX_BYTES = 16, 12
_MSI_64BIT = 1 << 7
MAX_MSI, MAX_MSIX = 32, 2048
MSIX_ENTRY_BYTES = 16
_MSIX_ENABLE = 1 << 7


class Declared(Protocol):
    """What a PciFunction declares (function.py)."""

    vendor_id: int
    device_id: int
    subsystem_vendor_id: int
    subsystem_id: int
    class_code: int
    revision: int
    bars: Sequence[Bar]
    irq_pin: int
    msi: int
    msix: int
    msix_bar: Bar


class ConfigSpace:
    """256 bytes, and which bits of them the guest may write. Raises FunctionError."""

    def __init__(self, function: Declared) -> None:
        _check(function)
        data, writable = bytearray(CONFIG_BYTES), bytearray(CONFIG_BYTES)
        status = _STATUS_CAPABILITIES if function.msi or function.msix else 0
        pack_into("<HHHH", data, 0, function.vendor_id, function.device_id, 0, status)
        pack_into("<I", data, 0x08, function.class_code << 8 | function.revision)
        pack_into("<HH", data, 0x2C, function.subsystem_vendor_id, function.subsystem_id)
        data[0x3D] = function.irq_pin
        pack_into("<H", writable, COMMAND, _COMMAND_WRITABLE)
        writable[0x0C] = writable[0x3C] = 0xFF
        for bar in function.bars:
            at = BARS + 4 * bar.index
            kind = 1 if bar.ports else 4 * bar.wide | 8 * bar.prefetchable
            pack_into("<I", data, at, kind)
            mask = -bar.size & ((1 << 64) - 1)
            pack_into("<Q" if bar.wide else "<I", writable, at, mask if bar.wide else mask & 0xFFFFFFFF)
        pointer, at = 0x34, CAPABILITIES
        if function.msi:
            data[pointer], pointer = at, at + 1
            control = _MSI_64BIT | (function.msi.bit_length() - 1) << 1
            pack_into("<BBH", data, at, _MSI, 0, control)
            pack_into("<HIIH", writable, at + 2, 0x0071, 0xFFFFFFFC, 0xFFFFFFFF, 0xFFFF)
            at += _MSI_BYTES
        if function.msix:
            data[pointer], pointer = at, at + 1
            pending = msix_pending_at(function.msix)
            bar_index = function.msix_bar.index
            pack_into("<BBHII", data, at, _MSIX, 0, function.msix - 1, bar_index, pending | bar_index)
            pack_into("<H", writable, at + 2, 0xC000)
            at += _MSIX_BYTES
        self._msix_control = at - _MSIX_BYTES + 2 if function.msix else 0
        self._data, self._writable, self._at_reset = data, bytes(writable), bytes(data)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        for at, octet in enumerate(data, offset):
            mask = self._writable[at]
            self._data[at] = self._data[at] & ~mask | octet & mask

    def reset(self) -> None:
        """As after power-on."""
        self._data[:] = self._at_reset

    @property
    def bus_master(self) -> bool:
        """Whether the function may do DMA."""
        (command,) = unpack_from("<H", self._data, COMMAND)
        return bool(command & COMMAND_BUS_MASTER)

    @property
    def msix_enabled(self) -> bool:
        """Whether the driver enabled MSI-X."""
        return bool(self._msix_control and self._data[self._msix_control + 1] & _MSIX_ENABLE)


def msix_pending_at(vectors: int) -> int:
    """Where the pending bits lie in the BAR of the MSI-X table: behind the table, on an 8-byte boundary."""
    return MSIX_ENTRY_BYTES * vectors


def msix_bar_bytes(vectors: int) -> int:
    """The size of that BAR: a power of two, a page at least (QEMU lays its own table over it by pages)."""
    return max(4096, 1 << (msix_pending_at(vectors) + (vectors + 63) // 64 * 8 - 1).bit_length())


def _check(function: Declared) -> None:
    name = type(function).__name__
    if not 0 <= function.irq_pin <= 4:
        raise FunctionError(f"{name}: irq_pin is 0 for none, or 1 to 4 for INTA to INTD")
    if function.msi and function.msi not in (1, 2, 4, 8, 16, 32):
        raise FunctionError(f"{name}: {function.msi} MSI vectors; a power of two up to {MAX_MSI}")
    if not 0 <= function.msix <= MAX_MSIX:
        raise FunctionError(f"{name}: {function.msix} MSI-X vectors; at most {MAX_MSIX}")
    _check_bars(name, [(bar.index, bar.wide) for bar in function.bars])


def _check_bars(name: str, bars: Sequence[tuple[int, bool]]) -> None:
    taken: set[int] = set()
    for index, wide in bars:
        wanted = {index, index + 1} if wide else {index}
        if taken & wanted:
            raise FunctionError(f"{name}: two BARs take index {index}; a wide one takes the next index too")
        taken |= wanted
