# SPDX-License-Identifier: GPL-2.0-or-later
"""Nano River Viperboard: messages through a buffer of the board's, by bulk transfers; the status by a control transfer
(drivers/i2c/busses/i2c-viperboard.c, drivers/mfd/viperboard.c).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct

from dmasafe.devices.usb.device import Descriptors, Endpoint, Function, Interface, RequestType, Setup, Transfer
from dmasafe.devices.usb.master import Bridge

EP_OUT = 0x02
EP_IN = 0x86
# Where the board's buffer begins in its own addresses, and its size (the driver's max_write_len).
BUFFER_ADDRESS = 0x4000
BUFFER_BYTES = 2048
# The most that one read request is answered with at a time.
READ_BYTES = 512


class Command(IntEnum):
    """The first byte of a bulk transfer."""

    WRITE = 0x00
    READ = 0x01
    ADDRESS = 0x02


class ViperboardRequest(IntEnum):
    """bRequest."""

    I2C_FREQUENCY = 0xE6
    I2C_STATUS = 0xE9
    MAJOR = 0xEA
    MINOR = 0xEB


# struct vprbrd_i2c_write_hdr, _read_hdr and _addr_msg.
_WRITE = Struct("<BHBBBBH")
_READ = Struct("<BHBBBBBBHH")
_ADDRESS = Struct("<BBBHBB")
_STATUS_BYTES = 12
_PROTOCOL_ERROR = 0x01


class Viperboard(Bridge, Function):
    """A write fills the buffer before it is told the address; a read is done when it is, and then fetched."""

    descriptors = Descriptors(
        vendor=0x2058, product=0x1005, strings=("Nano River Technologies", "Viperboard"),
        interfaces=(Interface(0, endpoints=(Endpoint(EP_OUT, Transfer.BULK), Endpoint(EP_IN, Transfer.BULK))),),
        device_class=(0xFF, 0, 0),
    )  # fmt: skip
    source = EP_IN

    def _idle(self) -> None:
        self._buffer = bytearray(BUFFER_BYTES)
        self._status = 0
        # What a second READ transfer is to bring: its header is not written anew by the driver.
        self._second: tuple[int, int] | None = None

    def control(self, setup: Setup, data: bytes) -> bytes | None:
        match setup.kind:
            case (RequestType.VENDOR_IN, ViperboardRequest.I2C_STATUS):
                return bytes(_STATUS_BYTES - 1) + bytes((self._status,))
            case (RequestType.VENDOR_IN, ViperboardRequest.MAJOR | ViperboardRequest.MINOR):
                return b"\x01"
            case (RequestType.VENDOR_OUT, ViperboardRequest.I2C_FREQUENCY) if len(data) == 1:
                return b""
        return None

    def out(self, endpoint: int, data: bytes) -> Sequence[bytes] | None:
        if endpoint != EP_OUT or not data:
            return None
        if self._second is not None and len(data) == _READ.size:
            (start, length), self._second = self._second, None
            return [self._slice(start, length)]
        self._second = None
        match data[0]:
            case Command.WRITE if len(data) >= _WRITE.size:
                return self._fill(data)
            case Command.READ if len(data) == _READ.size:
                return self._fetch(data)
            case Command.ADDRESS if len(data) == _ADDRESS.size:
                return self._address(data)
        return None

    def _fill(self, data: bytes) -> Sequence[bytes] | None:
        _command, address, first, second, *_rest = _WRITE.unpack_from(data)
        payload = data[_WRITE.size :]
        start = address - BUFFER_ADDRESS
        if first + second != len(payload) or not 0 <= start <= BUFFER_BYTES - len(payload):
            return None
        self._buffer[start : start + len(payload)] = payload
        return []

    def _fetch(self, data: bytes) -> Sequence[bytes] | None:
        _command, address, *_lengths, first, second = _READ.unpack(data)
        start = address - BUFFER_ADDRESS
        if first > READ_BYTES or second > READ_BYTES or not 0 <= start <= BUFFER_BYTES - first - second:
            return None
        if second:
            self._second = (start + first, second)
        return [self._slice(start, first)]

    def _address(self, data: bytes) -> Sequence[bytes] | None:
        _command, address, read, length, _unknown2, _unknown3 = _ADDRESS.unpack(data)
        if length > BUFFER_BYTES:
            return None
        result = self._master.transfer(address, bool(read), length if read else self._slice(0, length))
        self._status = 0 if result.ok else _PROTOCOL_ERROR
        if read:
            # A refused read is fetched all the same, before the status is asked for.
            self._buffer[:length] = result.data if result.ok else b"\xff" * length
        return []

    def _slice(self, start: int, length: int) -> bytes:
        return bytes(self._buffer[start : start + length])


BRIDGES = {"viperboard": Viperboard}
