# SPDX-License-Identifier: GPL-2.0-or-later
"""A chip with 256 byte-wide registers and a pointer that advances, as most sensors have."""

from __future__ import annotations

from collections.abc import Mapping

from dmasafe.devices.slaves.quick import Quick

REGISTERS = 256


class RegisterFile(Quick):
    """The first byte of a write sets the pointer; further bytes go to the registers; reads start at the pointer.

    The pointer wraps after register 255 and survives a stop. Register N holds N until written, so that no read is
    all zeros.
    """

    #: What there is of a register that has not all its bits; the others read as 0.
    bits: Mapping[int, int] = {}

    def __init__(self) -> None:
        self.registers = bytearray(range(REGISTERS))
        self.pointer = 0

    def write(self, data: bytes) -> int:
        if data:
            self.pointer = data[0] % len(self.registers)
            for value in data[1:]:
                self.registers[self.pointer] = value & self.bits.get(self.pointer, 0xFF)
                self.pointer = (self.pointer + 1) % len(self.registers)
        return len(data)

    def read(self, length: int) -> bytes:
        start, size = self.pointer, len(self.registers)
        self.pointer = (start + length) % size
        whole = self.registers[start:] + self.registers[:start]
        return bytes((whole * (length // size + 1))[:length])
