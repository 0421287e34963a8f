# SPDX-License-Identifier: GPL-2.0-or-later
"""Temperature sensors with a pointer to registers of one or two bytes: LM75B and TMP102."""

from __future__ import annotations

from dmasafe.devices.slaves.quick import Quick

TEMPERATURE, CONFIGURATION, HYSTERESIS, OVERTEMPERATURE = range(4)
_POINTER_MASK = 3


class Lm75(Quick):
    """NXP's LM75B: big-endian words, the configuration is a byte. Drivers: lm75.

    ``registers`` holds numbers by pointer; temperatures in degrees, left-aligned, in 1/256. A read that goes on after
    the register's end repeats it, as the chip does.
    """

    sizes = (2, 1, 2, 2)
    #: What a write does not change.
    read_only = (0xFFFF, 0x00, 0x007F, 0x007F)

    def __init__(self, temperature: int = 0x1AE0, configuration: int = 0) -> None:
        self.registers = [temperature, configuration, 75 << 8, 80 << 8]
        self.pointer = 0

    def write(self, data: bytes) -> int:
        if data:
            self.pointer = data[0] & _POINTER_MASK
            size = self.sizes[self.pointer]
            if len(data) > size:
                keep = self.read_only[self.pointer]
                value = int.from_bytes(data[1 : 1 + size], "big")
                self.registers[self.pointer] = self.registers[self.pointer] & keep | value & ~keep & 0xFFFF
        return len(data)

    def read(self, length: int) -> bytes:
        size = self.sizes[self.pointer]
        register = self.registers[self.pointer].to_bytes(size, "big")
        return (register * (length // size + 1))[:length]


class Tmp102(Lm75):
    """Texas Instruments' TMP102: the configuration is a word, whose resolution bits (R1, R0) are always set."""

    sizes = (2, 2, 2, 2)
    read_only = (0xFFFF, 0x6020, 0x000F, 0x000F)

    def __init__(self, temperature: int = 0x1AE0, configuration: int = 0x60A0) -> None:
        super().__init__(temperature, configuration)


CHIPS = {"lm75b": Lm75, "tmp102": Tmp102}
