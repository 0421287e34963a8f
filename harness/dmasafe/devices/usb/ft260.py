# SPDX-License-Identifier: GPL-2.0-or-later
"""FTDI FT260: pieces of messages as output reports that say which start or stop goes with them; reads come as input
reports, the status is a feature (drivers/hid/hid-ft260.c). Only its I2C interface is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, IntFlag
from struct import Struct

from dmasafe.devices.bus import Nak
from dmasafe.devices.usb.hid import Hid, Report, Use, descriptors
from dmasafe.devices.usb.master import Bridge

PIECE_BYTES = 60
# 16-bit lengths, and no buffer of that size in the chip.
MAX_READ_BYTES = 65535


class Id(IntEnum):
    """Report numbers; I2C data has fifteen, one for each four bytes of payload."""

    CHIP_VERSION = 0xA0
    SYSTEM_SETTINGS = 0xA1
    I2C_STATUS = 0xC0
    I2C_READ_REQUEST = 0xC2
    I2C_DATA_MIN = 0xD0
    I2C_DATA_MAX = 0xDE


class Condition(IntFlag):
    """What goes with a piece: START alone is 2, a repeated one 3."""

    REPEATED = 0x01
    START = 0x02
    STOP = 0x04


class Status(IntFlag):
    """bus_status of the I2C status."""

    ERROR = 0x02
    ADDRESS_NO_ACK = 0x04
    DATA_NO_ACK = 0x08
    CONTROLLER_IDLE = 0x20


_READ = Struct("<BBBH")
_DATA = Struct("BBBB")
_STATUS = Struct("<BBHB")
_CLOCK_KHZ = 100
_CHIP_CODE = b"\x02\x60\x02\x00"
_CHIP_VERSION_BYTES = 13
_SETTINGS_BYTES = 25
_MODE_I2C = 1
_CLOCK_48_MHZ = 2
_RESET_I2C = 0x20
_REPORTS = (
    Report(Id.CHIP_VERSION, Use.FEATURE, _CHIP_VERSION_BYTES - 1),
    Report(Id.SYSTEM_SETTINGS, Use.FEATURE, _SETTINGS_BYTES - 1),
    Report(Id.I2C_STATUS, Use.FEATURE, _STATUS.size - 1),
    Report(Id.I2C_READ_REQUEST, Use.OUTPUT, _READ.size - 1),
    *(Report(Id.I2C_DATA_MIN + n, Use.INPUT, 1 + 4 * (n + 1)) for n in range(15)),
    *(Report(Id.I2C_DATA_MIN + n, Use.OUTPUT, 3 + 4 * (n + 1)) for n in range(15)),
)


class Ft260(Bridge):
    """The chip. A message in pieces is put together and carried out with its last piece."""

    descriptors = descriptors(0x0403, 0x6030, ("FTDI", "FT260"), _REPORTS)

    def _idle(self) -> None:
        self._status = Status.CONTROLLER_IDLE
        self._address = 0
        # The pieces of a write so far; None if none is under way.
        self._written: bytearray | None = None
        # How many bytes of a read have been fetched; None if none is under way.
        self._fetched: int | None = None

    def feature(self, number: int) -> bytes | None:
        match number:
            case Id.CHIP_VERSION:
                return (bytes((number,)) + _CHIP_CODE).ljust(_CHIP_VERSION_BYTES, b"\0")
            case Id.SYSTEM_SETTINGS:
                return bytes((number, _MODE_I2C, _CLOCK_48_MHZ, 0, 1, 1)).ljust(_SETTINGS_BYTES, b"\0")
            case Id.I2C_STATUS:
                return _STATUS.pack(number, self._status, _CLOCK_KHZ, 0)
        return None

    def set_feature(self, report: bytes) -> bool:
        if report[0] != Id.SYSTEM_SETTINGS or len(report) < 2:
            return False
        if report[1] == _RESET_I2C:
            self.reset()
        return True

    def output(self, report: bytes) -> Sequence[bytes] | None:
        if report[0] == Id.I2C_READ_REQUEST and len(report) >= _READ.size:
            _id, address, condition, length = _READ.unpack_from(report)
            return self._read(address, Condition(condition), length)
        if Id.I2C_DATA_MIN <= report[0] <= Id.I2C_DATA_MAX and len(report) >= _DATA.size:
            _id, address, condition, length = _DATA.unpack_from(report)
            payload = report[_DATA.size :][:length]
            if len(payload) == length:
                self._write(address, Condition(condition), payload)
                return []
        return None

    def _write(self, address: int, condition: Condition, payload: bytes) -> None:
        if condition & Condition.START:
            self._end()
            self._status = Status.CONTROLLER_IDLE
            self._address, self._written = address, bytearray()
        if self._written is None:
            self._refuse(Nak.ADDRESS)
            return
        self._written += payload
        if condition & Condition.STOP or not self._master.present(self._address):
            self._end()
            self._master.stop()

    def _read(self, address: int, condition: Condition, length: int) -> Sequence[bytes]:
        if condition & Condition.START:
            self._end()
            self._address, self._fetched = address, 0
            self._status = Status.CONTROLLER_IDLE
        if self._fetched is None or self._fetched + length > MAX_READ_BYTES:
            self._refuse(Nak.ADDRESS)
            return []
        start = self._fetched
        self._fetched += length
        data = None if condition & Condition.STOP else self._master.preview(self._address, self._fetched)
        if data is None:
            result = self._master.transfer(self._address, True, self._fetched)
            self._fetched = None
            if not result.ok:
                # The driver is left waiting, as by the chip.
                self._refuse(result.nak)
                return []
            data = result.data
        pieces = range(start, start + length, PIECE_BYTES)
        return [_input(data[at : min(at + PIECE_BYTES, start + length)]) for at in pieces]

    def _end(self) -> None:
        """Carry out what is under way."""
        if self._written is not None:
            result = self._master.transfer(self._address, False, bytes(self._written), last=False)
            self._written = None
            self._refuse(result.nak)
        if self._fetched is not None:
            self._master.transfer(self._address, True, self._fetched, last=False)
            self._fetched = None

    def _refuse(self, nak: Nak) -> None:
        if nak is Nak.DATA:
            self._status |= Status.ERROR | Status.DATA_NO_ACK
        elif nak is not Nak.NONE:
            self._status |= Status.ERROR | Status.ADDRESS_NO_ACK


def _input(piece: bytes) -> bytes:
    """A piece as an input report, as long as the report descriptor says."""
    row = (len(piece) - 1) // 4
    return bytes((Id.I2C_DATA_MIN + row, len(piece))) + piece.ljust(4 * (row + 1), b"\0")


BRIDGES = {"ft260": lambda master: Hid(Ft260(master))}
