# SPDX-License-Identifier: GPL-2.0-or-later
"""i2c-tiny-usb: each message a vendor control transfer, then its status (drivers/i2c/busses/i2c-tiny-usb.c)."""

from __future__ import annotations

from enum import IntEnum

from dmasafe.devices.usb.device import IN, Descriptors, Function, Interface, Setup, Speed
from dmasafe.devices.usb.master import Bridge

_VENDOR_INTERFACE_OUT = 0x41
_VENDOR_INTERFACE_IN = 0xC1
_I2C_M_RD = 1
# I2C_FUNC_I2C, and I2C_FUNC_SMBUS_EMUL without the block read that needs I2C_M_RECV_LEN (include/uapi/linux/i2c.h).
_FUNCTIONALITY = 0x0EFF0009


class Command(IntEnum):
    """bRequest. I2C_IO's two lowest bits say BEGIN and END."""

    ECHO = 0
    GET_FUNC = 1
    SET_DELAY = 2
    GET_STATUS = 3
    I2C_IO = 4


_END = 2


class Status(IntEnum):
    """What GET_STATUS says of the last message."""

    IDLE = 0
    ADDRESS_ACK = 1
    ADDRESS_NAK = 2


class TinyUsb(Bridge, Function):
    """The firmware: a refused message is carried through on USB all the same, and the status tells."""

    descriptors = Descriptors(
        vendor=0x0403, product=0xC631, strings=("Till Harbaum", "i2c-tiny-usb"),
        interfaces=(Interface(0),), speed=Speed.LOW, version=0x0205, max_packet=8, device_class=(0xFF, 0, 0),
    )  # fmt: skip
    source = IN

    def _idle(self) -> None:
        self._status = Status.IDLE

    def control(self, setup: Setup, data: bytes) -> bytes | None:
        if setup.request_type not in (_VENDOR_INTERFACE_IN, _VENDOR_INTERFACE_OUT):
            return None
        if setup.request & ~(_END | 1) == Command.I2C_IO:
            return self._message(setup, data)
        match (setup.reads, setup.request):
            case (True, Command.ECHO):
                return setup.value.to_bytes(2, "little")
            case (True, Command.GET_FUNC):
                return _FUNCTIONALITY.to_bytes(4, "little")
            case (True, Command.GET_STATUS):
                return bytes((self._status,))
            case (False, Command.SET_DELAY):
                return b""
        return None

    def _message(self, setup: Setup, data: bytes) -> bytes | None:
        read = bool(setup.value & _I2C_M_RD)
        if read != setup.reads:
            return None
        last = bool(setup.request & _END)
        result = self._master.transfer(setup.index, read, setup.length if read else data, last)
        self._status = Status.ADDRESS_ACK if result.ok else Status.ADDRESS_NAK
        if not read:
            return b""
        return result.data if result.ok else bytes(setup.length)


BRIDGES = {"tiny-usb": TinyUsb}
