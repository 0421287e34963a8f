# SPDX-License-Identifier: GPL-2.0-or-later
"""The MAX31722 thermometer: a chip for SPI, which a board of dmasafe_prove.ko puts on any I2C bus (docs/prove.md)."""

from __future__ import annotations

from dmasafe.devices.slaves.quick import Quick

# Datasheet, table "Register addresses"; the top bit of an address says that it is written.
CONFIGURATION, TEMPERATURE = 0x00, 0x01
_WRITTEN = 0x80
_REGISTERS = 7


class Max31722(Quick):
    """``registers`` are bytes; the temperature is 16 bits, low byte first, in 1/256 degree. Drivers: max31722."""

    def __init__(self, temperature: int = 0x1AE0) -> None:
        self.registers = bytearray(_REGISTERS)
        self.registers[TEMPERATURE : TEMPERATURE + 2] = temperature.to_bytes(2, "little")
        self.pointer = 0

    def write(self, data: bytes) -> int:
        if data:
            self.pointer = (data[0] & ~_WRITTEN) % _REGISTERS
            for value in data[1:] if data[0] & _WRITTEN else b"":
                self.registers[self.pointer] = value
                self.pointer = (self.pointer + 1) % _REGISTERS
        return len(data)

    def read(self, length: int) -> bytes:
        return bytes(self.registers[(self.pointer + at) % _REGISTERS] for at in range(length))


CHIPS = {"max31722": Max31722}
