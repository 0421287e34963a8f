# SPDX-License-Identifier: GPL-2.0-or-later
"""Diolan DLN-2: commands to the chip's modules, each with a header that its answer repeats
(drivers/mfd/dln2.c, drivers/i2c/busses/i2c-dln2.c). Only its I2C module is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct

from dmasafe.devices.usb.device import Descriptors, Endpoint, Function, Interface, Transfer
from dmasafe.devices.usb.master import Bridge

EP_OUT = 0x01
EP_IN = 0x81
MAX_TRANSFER_BYTES = 256
HARDWARE_ID = 0x200


class Handle(IntEnum):
    """The module that a command is for, by the driver's numbers."""

    CONTROL = 1
    I2C = 3


class Command(IntEnum):
    """DLN2_CMD(): the command in the low byte, its module in the high one."""

    GET_DEVICE_VERSION = 0x0030
    GET_DEVICE_SERIAL = 0x0031
    I2C_GET_PORT_COUNT = 0x0300
    I2C_ENABLE = 0x0301
    I2C_DISABLE = 0x0302
    I2C_WRITE = 0x0306
    I2C_READ = 0x0307


class Result(IntEnum):
    """The driver takes everything above 0x80 for a failure."""

    SUCCESS = 0x00
    FAIL = 0x81


_HEADER = Struct("<HHHH")
_RESULT = Struct("<H")
_TRANSFER = Struct("<BBBIH")
_SERIAL = 2


class Dln2(Bridge, Function):
    """The chip: each transfer is a transaction of its own."""

    descriptors = Descriptors(
        vendor=0xA257, product=0x2013, strings=("Diolan", "DLN-2"),
        interfaces=(Interface(0, endpoints=(Endpoint(EP_IN, Transfer.BULK), Endpoint(EP_OUT, Transfer.BULK))),),
        device_class=(0xFF, 0, 0),
    )  # fmt: skip
    source = EP_IN

    def _idle(self) -> None:
        self._enabled = False

    def out(self, endpoint: int, data: bytes) -> Sequence[bytes] | None:
        if endpoint != EP_OUT or len(data) < _HEADER.size:
            return None
        size, command, echo, handle = _HEADER.unpack_from(data)
        if size != len(data):
            return None
        result, body = self._do(handle, command, data[_HEADER.size :])
        answer = _RESULT.pack(result) + body
        return [_HEADER.pack(_HEADER.size + len(answer), command, echo, handle) + answer]

    def _do(self, handle: int, command: int, body: bytes) -> tuple[Result, bytes]:
        match (handle, command):
            case (Handle.CONTROL, Command.GET_DEVICE_VERSION):
                return Result.SUCCESS, HARDWARE_ID.to_bytes(4, "little")
            case (Handle.CONTROL, Command.GET_DEVICE_SERIAL):
                return Result.SUCCESS, _SERIAL.to_bytes(4, "little")
            case (Handle.I2C, Command.I2C_GET_PORT_COUNT):
                return Result.SUCCESS, b"\x01"
            case (Handle.I2C, Command.I2C_ENABLE | Command.I2C_DISABLE) if body == b"\0":
                self._enabled = command == Command.I2C_ENABLE
                return Result.SUCCESS, b""
            case (Handle.I2C, Command.I2C_WRITE | Command.I2C_READ) if self._enabled:
                return self._transfer(body, command == Command.I2C_READ)
        return Result.FAIL, b""

    def _transfer(self, body: bytes, read: bool) -> tuple[Result, bytes]:
        if len(body) < _TRANSFER.size:
            return Result.FAIL, b""
        port, address, memory_length, _memory, length = _TRANSFER.unpack_from(body)
        payload = body[_TRANSFER.size :]
        if port or memory_length or length > MAX_TRANSFER_BYTES or len(payload) != (0 if read else length):
            return Result.FAIL, b""
        result = self._master.transfer(address, read, length if read else payload)
        if not result.ok:
            return Result.FAIL, b""
        return Result.SUCCESS, length.to_bytes(2, "little") + result.data if read else b""


BRIDGES = {"dln2": Dln2}
