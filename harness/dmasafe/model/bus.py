# SPDX-License-Identifier: GPL-2.0-or-later
"""The bus as the model sees it, a bus over any slaves that are handed in, and the slaves that predictions need.

Bus and Slave are dmasafe/devices' by shape (duck typing): its objects work here unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from dmasafe.vocabulary import (
    NAK_DATA_ADDRESS,
    RECORDER_ADDRESS,
    REGISTER_FILE_ADDRESS,
    SMBUS_BLOCK_ADDRESS,
)

ADDRESS_NAK = -1
# More slaves of dmasafe/devices' default bus, which acknowledge everything: two EEPROMs and a slow one.
OTHER_ADDRESSES = (0x50, 0x51, 0x68)


class Slave(Protocol):
    """What is at an address; see dmasafe/devices/bus.py."""

    @property
    def stretch_s(self) -> float: ...

    def write(self, data: bytes) -> int: ...

    def read(self, length: int) -> bytes | None: ...

    def stop(self) -> None: ...


class Result(Protocol):
    """One message's fate: ``nak`` is empty text if it was acknowledged, ``data`` are the bytes on the wire."""

    @property
    def nak(self) -> str: ...

    @property
    def data(self) -> bytes: ...

    @property
    def delay_s(self) -> float: ...


class Bus(Protocol):
    """Carries a message: ``payload`` is the bytes to write or the number of bytes to read; a stop follows the last."""

    def transfer(self, address: int, read: bool, payload: bytes | int, last: bool = True) -> Result: ...

    def stop(self) -> None: ...


class Fate(NamedTuple):
    """The model's own Result."""

    nak: str
    data: bytes
    delay_s: float = 0.0


class SlaveBus:
    """A bus over slaves by 7-bit address."""

    def __init__(self, slaves: Mapping[int, Slave]) -> None:
        self.slaves = dict(slaves)
        self._addressed: Slave | None = None

    def transfer(self, address: int, read: bool, payload: bytes | int, last: bool = True) -> Fate:
        slave = self.slaves.get(address)
        if slave is None:
            self.stop()
            return Fate("nobody acknowledged the address", b"")
        if self._addressed is not slave:
            self.stop()
            self._addressed = slave
        nak = ""
        if read:
            length = payload if isinstance(payload, int) else len(payload)
            answer = slave.read(length)
            if answer is None:
                nak, data = "the slave did not acknowledge its address", b""
            else:
                data = answer if len(answer) == length else answer[:length].ljust(length, b"\xff")
        else:
            data = bytes(payload)
            accepted = slave.write(data)
            if accepted < len(data):
                nak = "the slave did not acknowledge " + ("its address" if accepted == ADDRESS_NAK else "a data byte")
                data = data[: accepted + 1]
        if last or nak:
            self.stop()
        return Fate(nak, data, slave.stretch_s)

    def stop(self) -> None:
        if self._addressed is not None:
            self._addressed.stop()
            self._addressed = None


def pattern(step: int) -> bytes:
    """65,792 bytes, each different from its neighbours, no two runs of 256 the same; ``step`` is odd."""
    row = bytes(n * step & 0xFF for n in range(256)) * 2
    return b"".join(row[n : n + 256] for n in range(257))


_TALK = pattern(167)


class Talker:
    """Acknowledges everything, serves bytes nobody can guess by accident, different from read to read."""

    stretch_s = 0.0

    def __init__(self) -> None:
        self.reads = 0

    def write(self, data: bytes) -> int:
        return len(data)

    def read(self, length: int) -> bytes:
        self.reads = (self.reads + 1) & 0xFF
        return _TALK[self.reads : self.reads + length]

    def stop(self) -> None:
        """Nothing happens at a stop."""


class BlockTalker(Talker):
    """Serves SMBus blocks of eight bytes: the count, the bytes, then a bus left high."""

    def read(self, length: int) -> bytes:
        self.reads = (self.reads + 1) & 0xFF
        return (b"\x08" + _TALK[self.reads : self.reads + 8])[:length]


class Refuser(Talker):
    """Acknowledges its address and one byte of each write."""

    def write(self, data: bytes) -> int:
        return min(len(data), 1)


class StandardBus(SlaveBus):
    """What the named suites find at their addresses, reduced to what decides an outcome.

    A slave that judges what it is sent (counts, PEC) is not among them: for that, hand in dmasafe/devices' own.
    """

    def __init__(self) -> None:
        self.talkers = {
            REGISTER_FILE_ADDRESS: Talker(),
            RECORDER_ADDRESS: Talker(),
            SMBUS_BLOCK_ADDRESS: BlockTalker(),
            NAK_DATA_ADDRESS: Refuser(),
            **{address: Talker() for address in OTHER_ADDRESSES},
        }
        super().__init__(self.talkers)

    def reset(self) -> None:
        """The slaves forget what they served."""
        for talker in self.talkers.values():
            talker.reads = 0
