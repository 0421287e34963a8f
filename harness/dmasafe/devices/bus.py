# SPDX-License-Identifier: GPL-2.0-or-later
"""An I2C bus: 7-bit addresses, slaves, messages, repeated starts and stops.

It knows nothing of virtio, QEMU or time: the controllers of this package drive it, and so does the kernel's model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol

from dmasafe.devices.slaves.eeprom import Eeprom
from dmasafe.devices.slaves.nak import NakSlave
from dmasafe.devices.slaves.recorder import Recorder
from dmasafe.devices.slaves.register_file import RegisterFile
from dmasafe.devices.slaves.slow import SlowSlave
from dmasafe.devices.slaves.smbus_block import SmbusBlockSlave

ADDRESS_NAK = -1


class Slave(Protocol):
    """What is at an address. Each ``write`` or ``read`` is one message, begun by a start or a repeated start."""

    @property
    def stretch_s(self) -> float:
        """Seconds for which this slave holds the clock during a message."""

    def write(self, data: bytes) -> int:
        """How many of ``data`` were acknowledged: all of them, or the number before the one refused.

        ADDRESS_NAK if the slave did not even answer to its address.
        """

    def read(self, length: int) -> bytes | None:
        """``length`` bytes, or None if the slave did not answer to its address."""

    def stop(self) -> None:
        """A stop ends the transaction in which this slave was addressed."""


class Nak(StrEnum):
    """Why a message failed."""

    NONE = ""
    NO_SLAVE = "nobody acknowledged the address"
    ADDRESS = "the slave did not acknowledge its address"
    DATA = "the slave did not acknowledge a data byte"


class Result(NamedTuple):
    """One message's fate.

    ``data`` are the bytes on the wire, a refused one included; for ``delay_s`` seconds the clock was held.
    """

    nak: Nak
    data: bytes
    delay_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.nak is Nak.NONE


class Bus:
    """Slaves by 7-bit address. One transaction is under way at a time: messages up to a stop."""

    def __init__(self, slaves: Mapping[int, Slave]) -> None:
        self.slaves = dict(slaves)
        self._addressed: list[Slave] = []

    def transfer(self, address: int, read: bool, payload: bytes | int, last: bool = True) -> Result:
        """One message: ``payload`` is the bytes to write, or the number of bytes to read.

        ``last`` puts a stop after it; otherwise the next message begins with a repeated start. A message that fails is
        followed by a stop in any case, as a master does.
        """
        slave = self.slaves.get(address)
        if slave is None:
            self.stop()
            return Result(Nak.NO_SLAVE, b"")
        if slave not in self._addressed:
            self._addressed.append(slave)
        delay_s = slave.stretch_s
        nak = Nak.NONE
        if read:
            length = payload if isinstance(payload, int) else len(payload)
            answer = slave.read(length)
            if answer is None:
                nak, data = Nak.ADDRESS, b""
            else:
                # A slave with too little to say leaves the bus high.
                data = answer if len(answer) == length else answer[:length].ljust(length, b"\xff")
        else:
            data = payload if isinstance(payload, bytes) else bytes(payload)
            accepted = slave.write(data)
            if accepted < len(data):
                nak = Nak.ADDRESS if accepted == ADDRESS_NAK else Nak.DATA
                data = data[: accepted + 1]
        if last or nak is not Nak.NONE:
            self.stop()
        return Result(nak, data, delay_s)

    def stop(self) -> None:
        """Ends the transaction under way, if there is one."""
        for slave in self._addressed:
            slave.stop()
        self._addressed.clear()


# Address -> slave of the default bus; a new slave is one row.
DEFAULT_SLAVES: Mapping[int, Callable[[], Slave]] = {
    0x20: RegisterFile,
    0x30: Recorder,
    0x40: SmbusBlockSlave,
    0x50: Eeprom.c02,
    0x51: Eeprom.c32,
    0x60: NakSlave,
    0x68: SlowSlave,
}


def default_bus() -> Bus:
    """A bus with new slaves as in DEFAULT_SLAVES; every other address is not acknowledged."""
    return Bus({address: make() for address, make in DEFAULT_SLAVES.items()})
