# SPDX-License-Identifier: GPL-2.0-or-later
"""Sitronix's ST1633 touchscreen controller: registers with a pointer that advances, up to five fingers."""

from __future__ import annotations

from typing import NamedTuple

from dmasafe.devices.slaves.quick import Quick

FIRMWARE_VERSION = 0x00
STATUS = 0x01
RESOLUTION = 0x04
FIRMWARE_REVISION = 0x0C
COORDINATES = 0x12
FINGERS = 5
_FINGER_BYTES = 4
_VALID = 0x80
_REGISTERS = 0x40


class Finger(NamedTuple):
    """Where a finger is, in the screen's own units, 0 to 2047."""

    x: int
    y: int


class St1633(Quick):
    """``touch()`` says what the coordinates' registers hold; the interrupt line is somebody else's. Drivers: st1232.

    ``touches`` counts its calls.
    """

    def __init__(self, width: int = 1024, height: int = 600, version: int = 0x17, revision: int = 0x01020304) -> None:
        self.registers = bytearray(_REGISTERS)
        self.registers[FIRMWARE_VERSION] = version
        self.registers[FIRMWARE_REVISION : FIRMWARE_REVISION + 4] = revision.to_bytes(4, "little")
        self.registers[RESOLUTION : RESOLUTION + 3] = _packed(width, height)
        self.pointer = 0
        self.fingers: list[Finger] = []
        self.touches = 0
        self.touch([Finger(321, 123), Finger(1000, 599)])

    @property
    def version(self) -> int:
        return self.registers[FIRMWARE_VERSION]

    @property
    def revision(self) -> int:
        return int.from_bytes(self.registers[FIRMWARE_REVISION : FIRMWARE_REVISION + 4], "little")

    def touch(self, fingers: list[Finger]) -> None:
        """These fingers, and no other, are on the screen."""
        self.fingers = fingers[:FINGERS]
        self.touches += 1
        for number in range(FINGERS):
            start = COORDINATES + _FINGER_BYTES * number
            packed = bytes(_FINGER_BYTES)
            if number < len(self.fingers):
                first, *rest = _packed(*self.fingers[number])
                packed = bytes((first | _VALID, *rest, 0))
            self.registers[start : start + _FINGER_BYTES] = packed

    def write(self, data: bytes) -> int:
        if data:
            self.pointer = data[0] % _REGISTERS
        return len(data)

    def read(self, length: int) -> bytes:
        start = self.pointer
        whole = self.registers[start:] + self.registers[:start]
        return bytes((whole * (length // _REGISTERS + 1))[:length])


def _packed(x: int, y: int) -> bytes:
    """Three bytes: the upper bits of both, then the lower ones."""
    return bytes((x >> 4 & 0x70 | y >> 8 & 0x07, x & 0xFF, y & 0xFF))


CHIPS = {"st1633": St1633}
