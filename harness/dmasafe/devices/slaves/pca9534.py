# SPDX-License-Identifier: GPL-2.0-or-later
"""The PCA9534 I/O expander: eight pins, four registers, no automatic increment."""

from __future__ import annotations

from dmasafe.devices.slaves.quick import Quick

INPUT, OUTPUT, POLARITY, CONFIGURATION = range(4)
_POINTER_MASK = 3


class Pca9534(Quick):
    """``levels`` are the levels outside, which pins that are inputs see. Drivers: pca953x.

    A set bit in ``registers[CONFIGURATION]`` makes its pin an input, one in ``registers[POLARITY]`` inverts it.
    """

    def __init__(self, levels: int = 0x5A) -> None:
        self.levels = levels
        self.registers = [0, 0xFF, 0x00, 0xFF]
        self.pointer = 0

    @property
    def pins(self) -> int:
        """The levels at the pins: driven by the outputs, or from outside."""
        inputs = self.registers[CONFIGURATION]
        return self.levels & inputs | self.registers[OUTPUT] & ~inputs & 0xFF

    def write(self, data: bytes) -> int:
        if data:
            self.pointer = data[0] & _POINTER_MASK
            # Every further byte goes to the same register; the input port cannot be written.
            if len(data) > 1 and self.pointer != INPUT:
                self.registers[self.pointer] = data[-1]
        return len(data)

    def read(self, length: int) -> bytes:
        value = self.pins ^ self.registers[POLARITY] if self.pointer == INPUT else self.registers[self.pointer]
        return bytes((value,)) * length


CHIPS = {"pca9534": Pca9534}
