# SPDX-License-Identifier: GPL-2.0-or-later
"""Silicon Labs CP2615: an I2C transfer is a message of its I/O protocol and the answer to it
(drivers/i2c/busses/i2c-cp2615.c).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct

from dmasafe.devices.usb.device import Descriptors, Endpoint, Function, Interface, Transfer
from dmasafe.devices.usb.master import Bridge

EP_OUT = 0x02
EP_IN = 0x82
# Where the driver looks for the I/O protocol.
IOP_INTERFACE = 1
IOP_ALT = 2
# One bulk packet holds a message, and so much of an I2C transfer fits into it.
MAX_I2C_BYTES = 54


class Message(IntEnum):
    """What a message is."""

    GET_ACCESSORY_INFO = 0xD100
    ACCESSORY_INFO = 0xA100
    DO_I2C_TRANSFER = 0xD400
    I2C_TRANSFER_RESULT = 0xA400


class Status(IntEnum):
    """The result of an I2C transfer."""

    SUCCESS = 0
    BUS_ERROR = -1
    INVALID_PARAM = -4


_PREAMBLE = 0x2A2A
_HEADER = Struct(">HHH")
_TRANSFER = Struct("BBBB")
_RESULT = Struct("BBbB")
_ACCESSORY = Struct(">HHH")
_PART_ID_A02 = 0x1500


class Cp2615(Bridge, Function):
    """The bridge: no repeated start, a write and a read in one transfer have a stop between them."""

    descriptors = Descriptors(
        vendor=0x10C4, product=0xEAC1, strings=("Silicon Labs", "CP2615"),
        interfaces=(
            Interface(0),
            Interface(IOP_INTERFACE, alt=0),
            Interface(IOP_INTERFACE, alt=1),
            Interface(
                IOP_INTERFACE,
                alt=IOP_ALT,
                endpoints=(Endpoint(EP_OUT, Transfer.BULK), Endpoint(EP_IN, Transfer.BULK)),
            ),
        ),
    )  # fmt: skip
    source = EP_IN

    def out(self, endpoint: int, data: bytes) -> Sequence[bytes] | None:
        if endpoint != EP_OUT or len(data) < _HEADER.size:
            return None
        preamble, length, kind = _HEADER.unpack_from(data)
        if preamble != _PREAMBLE or length != len(data):
            return None
        body = data[_HEADER.size :]
        if kind == Message.GET_ACCESSORY_INFO:
            return [_message(Message.ACCESSORY_INFO, _ACCESSORY.pack(_PART_ID_A02, 0, 1))]
        if kind == Message.DO_I2C_TRANSFER and len(body) >= _TRANSFER.size:
            return [_message(Message.I2C_TRANSFER_RESULT, self._transfer(body))]
        return None

    def _transfer(self, body: bytes) -> bytes:
        tag, target, read_length, write_length = _TRANSFER.unpack_from(body)
        payload = body[_TRANSFER.size :]
        address = target >> 1
        if len(payload) != write_length or read_length > MAX_I2C_BYTES or not (read_length or write_length):
            return _RESULT.pack(tag, target, Status.INVALID_PARAM, 0)
        if write_length and not self._master.transfer(address, False, payload).ok:
            return _RESULT.pack(tag, target, Status.BUS_ERROR, 0)
        data = b""
        if read_length:
            result = self._master.transfer(address, True, read_length)
            if not result.ok:
                return _RESULT.pack(tag, target, Status.BUS_ERROR, 0)
            data = result.data
        return _RESULT.pack(tag, target, Status.SUCCESS, len(data)) + data


def _message(kind: Message, body: bytes) -> bytes:
    return _HEADER.pack(_PREAMBLE, _HEADER.size + len(body), kind) + body


BRIDGES = {"cp2615": Cp2615}
