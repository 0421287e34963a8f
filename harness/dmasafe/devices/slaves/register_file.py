# SPDX-License-Identifier: GPL-2.0-or-later
"""A chip with 256 byte-wide registers and a pointer that advances, as most sensors have."""

from __future__ import annotations

REGISTERS = 256


class RegisterFile:
    """The first byte of a write sets the pointer; further bytes go to the registers; reads start at the pointer.

    The pointer wraps after register 255 and survives a stop. Register N holds N until written, so that no read is
    all zeros.
    """

    stretch_s = 0.0

    def __init__(self) -> None:
        self.registers = bytearray(range(REGISTERS))
        self.pointer = 0

    def write(self, data: bytes) -> int:
        if data:
            self.pointer = data[0]
            for value in data[1:]:
                self.registers[self.pointer] = value
                self.pointer = (self.pointer + 1) % REGISTERS
        return len(data)

    def read(self, length: int) -> bytes:
        start = self.pointer
        self.pointer = (start + length) % REGISTERS
        whole = self.registers[start:] + self.registers[:start]
        return bytes((whole * (length // REGISTERS + 1))[:length])

    def stop(self) -> None:
        """Nothing happens at a stop."""
