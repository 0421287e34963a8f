# SPDX-License-Identifier: GPL-2.0-or-later
"""Elan's eKTH3500 touchscreen controller: commands of four or six bytes, packets of up to 169.

There is no public datasheet; this is what drivers/input/touchscreen/elants_i2c.c sends and expects.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from dmasafe.devices.slaves.quick import Quick

PACKET_BYTES = 169
_HEADER_BYTES = 4
_REPORT_BYTES = 55
_FINGERS = 10
_STRETCH_S = 4.0
_HELLO = bytes((0x55, 0x55, 0x55, 0x55))
_RESET = bytes((0x77, 0x77, 0x77, 0x77))
_BOOT = b"Main"
_CALIBRATED = bytes((0x66, 0x66, 0x66, 0x66))
_READ, _READ_6B, _WRITE = 0x53, 0x5B, 0x54
_RESPONSE, _RESPONSE_6B = 0x52, 0x9B
_SLEEP, _RESUME, _CALIBRATE = 0x50, 0x58, 0x29
_QUEUE_NORMAL = 0x63
# Places in a report of ten fingers.
_TYPE, _STATE, _COUNT, _XY, _TOOL, _CHECKSUM, _WIDTH, _PRESSURE = 0, 1, 2, 3, 33, 34, 35, 45
_TEN_FINGERS = 0x62


class Touch(NamedTuple):
    """One finger, coordinates and pressure as the chip reports them."""

    x: int
    y: int
    pressure: int
    width: int


class Ekth3500(Quick):
    """``touches`` are served, one packet after the other, by reads without a command. Drivers: elants_i2c.

    ``rows``, ``columns`` and ``osr`` make the resolution: (n - 1) * osr.
    """

    def __init__(self) -> None:
        self.versions = {0x00: 0x1234, 0x10: 0x5678, 0xE0: 0x9ABC, 0xF0: 0x0BCD}
        self.rows, self.columns, self.osr = 25, 41, 64
        self.size_mm = {0xD7: 157, 0xD8: 98}
        self.calibrations = 3
        self.touches: tuple[Touch, ...] = (Touch(700, 320, 77, 5), Touch(1500, 2000, 33, 9))
        self.awake = True
        self._answer: bytes | None = None
        self._pending: deque[bytes] = deque()

    @property
    def packet(self) -> bytes:
        """A queue of one report: the fingers that are on the screen now."""
        return bytes((_QUEUE_NORMAL, 1, _REPORT_BYTES, 0)) + self._report()

    def write(self, data: bytes) -> int:
        self._answer = None
        if data == _RESET:
            self._pending.clear()
        elif data == _BOOT:
            self._pending.append(_HELLO)
        elif len(data) == 4 and data[0] == _READ:
            self._answer = self._information(data[1])
        elif len(data) == 6 and data[0] == _READ_6B:
            self._answer = self._traces()
        elif len(data) == 4 and data[0] == _WRITE:
            self._command(data)
        return len(data)

    def read(self, length: int) -> bytes:
        answer, self._answer = self._answer, None
        if answer is None:
            # The probe for somebody at this address must not take a packet.
            answer = self._pending.popleft() if self._pending and length >= _HEADER_BYTES else self.packet
        return answer[:length].ljust(length, b"\0")

    def _command(self, data: bytes) -> None:
        if data[1] == _SLEEP:
            self.awake = False
        elif data[1] == _RESUME:
            self.awake = True
        elif data[1] == _CALIBRATE:
            self.calibrations += 1
            self._pending.append(_CALIBRATED)

    def _information(self, what: int) -> bytes:
        if what in self.versions:
            # Sixteen bits that begin in the middle of a byte.
            return bytes((_RESPONSE,)) + (what << 16 & 0xF00000 | self.versions[what] << 4).to_bytes(3, "big")
        if what == 0xD0:
            return bytes((_RESPONSE, what)) + self.calibrations.to_bytes(2, "big")
        if what == 0xD6:
            return bytes((_RESPONSE, what, 0, self.osr))
        return bytes((_RESPONSE, what)) + self.size_mm.get(what, 0).to_bytes(2, "big")

    def _traces(self) -> bytes:
        answer = bytearray(17)
        answer[0] = _RESPONSE_6B
        answer[2], answer[3] = self.rows, self.columns
        answer[16] = 1
        return bytes(answer)

    def _report(self) -> bytes:
        report = bytearray(_REPORT_BYTES)
        report[_TYPE] = _TEN_FINGERS
        fingers = self.touches[:_FINGERS]
        report[_STATE] = (1 << len(fingers)) - 1 & 0xFF
        report[_COUNT] = (1 << len(fingers)) - 1 >> 4 & 0x30 | len(fingers)
        report[_TOOL] = 1
        for number, touch in enumerate(fingers):
            at = _XY + 3 * number
            report[at : at + 3] = bytes((touch.x >> 4 & 0xF0 | touch.y >> 8 & 0x0F, touch.x & 0xFF, touch.y & 0xFF))
            report[_WIDTH + number] = touch.width
            report[_PRESSURE + number] = touch.pressure
        report[_CHECKSUM] = sum(report[:_CHECKSUM]) & 0xFF
        return bytes(report)


class SlowEkth3500(Ekth3500):
    """The same, but it holds the clock while it says that it is calibrated."""

    def __init__(self) -> None:
        super().__init__()
        self.stretch_s = 0.0

    def write(self, data: bytes) -> int:
        calibrates = data[:1] == bytes((_WRITE,)) and data[1:2] == bytes((_CALIBRATE,))
        self.stretch_s = _STRETCH_S if calibrates else 0.0
        return super().write(data)


CHIPS = {"ekth3500": Ekth3500, "ekth3500-slow": SlowEkth3500}
