# SPDX-License-Identifier: GPL-2.0-or-later
"""The DS1307 real time clock: seven registers of time in BCD, a control byte, 56 bytes of RAM."""

from __future__ import annotations

CONTROL = 7
RAM = 8
RAM_BYTES = 56
_REGISTERS = RAM + RAM_BYTES
# What there is of each register; the rest reads as 0 (datasheet, table 2).
_BITS = (0xFF, 0x7F, 0x7F, 0x07, 0x3F, 0x1F, 0xFF, 0x93)


class Ds1307:
    """The time stands still, so that what is read can be compared with it. Drivers: rtc-ds1307.

    ``registers``: seconds, minutes, hours, day of the week (1 to 7), day, month, year, control, RAM. The address wraps
    behind the last one.
    """

    stretch_s = 0.0

    def __init__(self, time: str = "2024-02-29 23:58:59", weekday: int = 5) -> None:
        day, _, clock = time.partition(" ")
        year, month, date = (int(part, 16) for part in day[2:].split("-"))
        hours, minutes, seconds = (int(part, 16) for part in clock.split(":"))
        head = bytes((seconds, minutes, hours, weekday, date, month, year, 0x03))
        self.registers = bytearray(head + bytes(range(0xA0, 0xA0 + RAM_BYTES)))
        self.pointer = 0

    @property
    def time(self) -> str:
        """``YYYY-MM-DD HH:MM:SS``, this century, 24-hour mode."""
        second, minute, hour, _, date, month, year = self.registers[:CONTROL]
        return f"20{year:02x}-{month:02x}-{date:02x} {hour & 0x3F:02x}:{minute:02x}:{second & 0x7F:02x}"

    @property
    def ram(self) -> bytes:
        return bytes(self.registers[RAM:])

    def write(self, data: bytes) -> int:
        if data:
            self.pointer = data[0] % _REGISTERS
            for value in data[1:]:
                bits = _BITS[self.pointer] if self.pointer < RAM else 0xFF
                self.registers[self.pointer] = value & bits
                self.pointer = (self.pointer + 1) % _REGISTERS
        return len(data)

    def read(self, length: int) -> bytes:
        start = self.pointer
        self.pointer = (start + length) % _REGISTERS
        whole = self.registers[start:] + self.registers[:start]
        return bytes((whole * (length // _REGISTERS + 1))[:length])

    def stop(self) -> None:
        """Nothing happens at a stop."""


CHIPS = {"ds1307": Ds1307}
