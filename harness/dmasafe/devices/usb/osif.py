# SPDX-License-Identifier: GPL-2.0-or-later
"""RobotFuzz OSIF: a control transfer a message, a stop, a status (drivers/i2c/busses/i2c-robotfuzz-osif.c).

The device is high-speed here, so that it can sit behind EHCI too; nothing of what the driver does depends on it.
"""

from __future__ import annotations

from enum import IntEnum

from dmasafe.devices.usb.device import IN, Descriptors, Function, Interface, RequestType, Setup, Speed
from dmasafe.devices.usb.master import Bridge


class Command(IntEnum):
    """bRequest."""

    READ = 20
    WRITE = 21
    STOP = 22
    STATUS = 23
    SET_BIT_RATE = 24


_ADDRESS_ACK = 0
_ADDRESS_NAK = 2


class Osif(Bridge, Function):
    """A refused message is carried through on USB all the same, and the status tells."""

    descriptors = Descriptors(
        vendor=0x1964, product=0x0001, strings=("RobotFuzz", "OSIF"),
        interfaces=(Interface(0),), speed=Speed.HIGH, device_class=(0xFF, 0, 0),
    )  # fmt: skip
    source = IN

    def _idle(self) -> None:
        self._status = _ADDRESS_ACK

    def control(self, setup: Setup, data: bytes) -> bytes | None:
        match setup.kind:
            case (RequestType.VENDOR_INTERFACE_IN, Command.READ):
                result = self._master.transfer(setup.index, True, setup.length, last=False)
                self._status = _ADDRESS_ACK if result.ok else _ADDRESS_NAK
                return result.data if result.ok else bytes(setup.length)
            case (RequestType.VENDOR_INTERFACE_OUT, Command.WRITE):
                result = self._master.transfer(setup.index, False, data, last=False)
                self._status = _ADDRESS_ACK if result.ok else _ADDRESS_NAK
                return b""
            case (RequestType.VENDOR_INTERFACE_OUT, Command.STOP):
                self._master.stop()
                return b""
            case (RequestType.VENDOR_INTERFACE_IN, Command.STATUS):
                return bytes((self._status,))
            case (RequestType.VENDOR_INTERFACE_OUT, Command.SET_BIT_RATE):
                return b""
        return None


BRIDGES = {"osif": Osif}
