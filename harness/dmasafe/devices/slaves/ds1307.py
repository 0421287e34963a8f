# SPDX-License-Identifier: GPL-2.0-or-later
"""The DS1307 real time clock: seven registers of time in BCD, a control byte, 56 bytes of RAM."""

from __future__ import annotations

from collections.abc import Mapping

from dmasafe.devices.slaves.register_file import RegisterFile

CONTROL = 7
RAM = 8
RAM_BYTES = 56


class Ds1307(RegisterFile):
    """The time stands still, so that what is read can be compared with it. Drivers: rtc-ds1307.

    ``registers``: seconds, minutes, hours, day of the week (1 to 7), day, month, year, control, RAM. The address wraps
    behind the last one.
    """

    # Datasheet, table 2.
    bits: Mapping[int, int] = dict(enumerate((0xFF, 0x7F, 0x7F, 0x07, 0x3F, 0x1F, 0xFF, 0x93)))

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


CHIPS = {"ds1307": Ds1307}
