# SPDX-License-Identifier: GPL-2.0-or-later
"""Silicon Labs CP2112: requests as output reports; status and data are asked for and come as input reports
(drivers/hid/hid-cp2112.c, AN495). Its GPIO pins read as they were set.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct

from dmasafe.devices.usb.hid import Hid, Report, Use, descriptors
from dmasafe.devices.usb.master import Bridge

MAX_READ_BYTES = 512
MAX_WRITE_BYTES = 61
MAX_TARGET_ADDRESS_BYTES = 16
_PART_NUMBER = 0x0C
# The driver uses repeated starts from 2 on.
_HARDWARE_VERSION = 3


class Id(IntEnum):
    """Report numbers."""

    GPIO_CONFIG = 0x02
    GPIO_GET = 0x03
    GPIO_SET = 0x04
    VERSION = 0x05
    SMBUS_CONFIG = 0x06
    READ_REQUEST = 0x10
    WRITE_READ_REQUEST = 0x11
    READ_FORCE_SEND = 0x12
    READ_RESPONSE = 0x13
    WRITE_REQUEST = 0x14
    STATUS_REQUEST = 0x15
    STATUS_RESPONSE = 0x16
    CANCEL = 0x17


class Status(IntEnum):
    """status0 of a transfer."""

    IDLE = 0x00
    COMPLETE = 0x02
    ERROR = 0x03


# status1 of one that ended.
_TIMEOUT_NACK = 0x00
_SUCCESS = 0x05

_READ = Struct(">BBH")
_WRITE_READ = Struct(">BBHB")
_WRITE = Struct("BBB")
_FORCE = Struct(">BH")
_STATUS = Struct(">BBBHH")
# struct cp2112_smbus_config_report: 100 kHz, address 2, no timeouts, no automatic read.
_CONFIG = Struct(">BIBBHHBH")

_LENGTHS = {
    Id.GPIO_CONFIG: 5,
    Id.GPIO_GET: 2,
    Id.GPIO_SET: 3,
    Id.VERSION: 3,
    Id.SMBUS_CONFIG: _CONFIG.size,
}
_REPORTS = (
    *(Report(number, Use.FEATURE, length - 1) for number, length in _LENGTHS.items()),
    Report(Id.READ_REQUEST, Use.OUTPUT, _READ.size - 1),
    Report(Id.WRITE_READ_REQUEST, Use.OUTPUT, _WRITE_READ.size - 1 + MAX_TARGET_ADDRESS_BYTES),
    Report(Id.READ_FORCE_SEND, Use.OUTPUT, _FORCE.size - 1),
    Report(Id.READ_RESPONSE, Use.INPUT, 2 + MAX_WRITE_BYTES),
    Report(Id.WRITE_REQUEST, Use.OUTPUT, 2 + MAX_WRITE_BYTES),
    Report(Id.STATUS_REQUEST, Use.OUTPUT, 1),
    Report(Id.STATUS_RESPONSE, Use.INPUT, _STATUS.size - 1),
    Report(Id.CANCEL, Use.OUTPUT, 1),
)


class Cp2112(Bridge):
    """The chip."""

    descriptors = descriptors(0x10C4, 0xEA90, ("Silicon Laboratories", "CP2112 HID USB-to-SMBus Bridge"), _REPORTS)

    def _idle(self) -> None:
        self._features = {
            Id.GPIO_CONFIG: bytes((Id.GPIO_CONFIG, 0, 0, 0, 0)),
            Id.GPIO_GET: bytes((Id.GPIO_GET, 0)),
            Id.GPIO_SET: bytes((Id.GPIO_SET, 0, 0)),
            Id.VERSION: bytes((Id.VERSION, _PART_NUMBER, _HARDWARE_VERSION)),
            Id.SMBUS_CONFIG: _CONFIG.pack(Id.SMBUS_CONFIG, 100_000, 0x02, 0, 0, 0, 0, 0),
        }
        self._finish(Status.IDLE, 0, b"")

    def _finish(self, status: Status, reason: int, data: bytes) -> None:
        self._status = status
        self._reason = reason
        self._done = len(data)
        self._data = data

    def feature(self, number: int) -> bytes | None:
        return self._features.get(Id(number)) if number in _LENGTHS else None

    def set_feature(self, report: bytes) -> bool:
        number = report[0]
        if number not in _LENGTHS or number == Id.VERSION or len(report) != _LENGTHS[Id(number)]:
            return False
        self._features[Id(number)] = report
        return True

    def output(self, report: bytes) -> Sequence[bytes] | None:
        match report[0]:
            case Id.READ_REQUEST if len(report) >= _READ.size:
                _id, target, length = _READ.unpack_from(report)
                return self._transfer(target, b"", length)
            case Id.WRITE_READ_REQUEST if len(report) >= _WRITE_READ.size:
                _id, target, length, count = _WRITE_READ.unpack_from(report)
                written = report[_WRITE_READ.size :][:count]
                return self._transfer(target, written, length) if len(written) == count > 0 else None
            case Id.WRITE_REQUEST if len(report) >= _WRITE.size:
                _id, target, count = _WRITE.unpack_from(report)
                written = report[_WRITE.size :][:count]
                return self._transfer(target, written, 0) if len(written) == count else None
            case Id.READ_FORCE_SEND if len(report) >= _FORCE.size:
                return [self._read_response(_FORCE.unpack_from(report)[1])]
            case Id.STATUS_REQUEST:
                return [_STATUS.pack(Id.STATUS_RESPONSE, self._status, self._reason, 0, self._done)]
            case Id.CANCEL:
                self._finish(Status.IDLE, 0, b"")
                self._master.stop()
                return []
        return None

    def _transfer(self, target: int, written: bytes, length: int) -> Sequence[bytes] | None:
        """A write, a read, or both with a repeated start between them."""
        address = target >> 1
        if len(written) > MAX_WRITE_BYTES or length > MAX_READ_BYTES:
            return None
        data = b""
        good = True
        if written or not length:
            good = self._master.transfer(address, False, written, last=not length).ok
        if good and length:
            result = self._master.transfer(address, True, length)
            good, data = result.ok, result.data
        if good:
            self._finish(Status.COMPLETE, _SUCCESS, data)
        else:
            self._finish(Status.ERROR, _TIMEOUT_NACK, b"")
        return []

    def _read_response(self, length: int) -> bytes:
        piece = self._data[: min(length, MAX_WRITE_BYTES)]
        self._data = self._data[len(piece) :]
        return bytes((Id.READ_RESPONSE, self._status, len(piece))) + piece.ljust(MAX_WRITE_BYTES, b"\0")


BRIDGES = {"cp2112": lambda master: Hid(Cp2112(master))}
