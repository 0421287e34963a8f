# SPDX-License-Identifier: GPL-2.0-or-later
"""The AD5110 digital potentiometer: two-byte commands, one byte to read after a command that asks for it."""

from __future__ import annotations

from dmasafe.devices.slaves.quick import Quick

# Datasheet, table "Input shift register": commands 0 to 6.
NOP, STORE, WRITE, SHUTDOWN, RESET, READ_WIPER, READ_EEPROM = range(7)
_COMMAND_BYTES = 2
_ADDRESS_TOLERANCE = 1


class Ad5110(Quick):
    """``wiper`` is the RDAC register, ``stored`` what the EEPROM has of it, ``tolerance`` its sign and magnitude.

    What a command asks for is read in a transaction of its own: a stop changes nothing. Drivers: ad5110.
    """

    def __init__(self, stored: int = 0x2A, tolerance: int = 0x85) -> None:
        self.stored = stored
        self.tolerance = tolerance
        self.wiper = 0x40
        self.shut_down = False
        self._answer: int | None = None

    def write(self, data: bytes) -> int:
        self._answer = None
        if len(data) < _COMMAND_BYTES:
            return len(data)
        command, value = data[0] & 0x07, data[1]
        if command == STORE:
            self.stored = self.wiper
        elif command == WRITE:
            self.wiper = value & 0x7F
        elif command == SHUTDOWN:
            self.shut_down = bool(value & 1)
        elif command == RESET:
            self.wiper = self.stored
        elif command == READ_WIPER:
            self._answer = self.wiper
        elif command == READ_EEPROM:
            self._answer = self.tolerance if value & 1 == _ADDRESS_TOLERANCE else self.stored
        # The shift register takes two bytes; the chip ignores what comes after.
        return len(data)

    def read(self, length: int) -> bytes:
        answer = 0 if self._answer is None else self._answer
        return bytes((answer,)) * length


CHIPS = {"ad5110": Ad5110}
