# SPDX-License-Identifier: GPL-2.0-or-later
"""The I2C bus behind a PCI function: each message becomes a line of the trace, with the DMA that belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from dmasafe.devices.bus import Bus, Nak, Result
from dmasafe.devices.pci.dma import DmaAccess
from dmasafe.devices.trace import Record, Segment

MAX_ADDRESS = 0x7F


class _Message(NamedTuple):
    seq: int | None
    address: int
    read: bool
    length: int
    result: Result
    # What was read from memory for it.
    fetched: Sequence[DmaAccess] = ()


def _nobodys(seq: int | None, read: bool, accesses: Sequence[DmaAccess]) -> _Message:
    """What stands for a message where stray DMA belongs to none."""
    return _Message(seq, 0, read, sum(access.length for access in accesses), Result(Nak.NONE, b""))


class I2cBus:
    """A Bus (devices/bus.py) as a function drives it. ``seq`` tells the scenario under way, ``trace`` takes Records.

    A record is written when it is known which DMA belongs to its message: of a message to a slave what the function
    read from memory since the message before, of a message from a slave what it writes to memory until the next one;
    all of the same scenario. Stray DMA that belongs to no message, bookkeeping too, becomes a record of its own.
    """

    def __init__(
        self,
        name: str,
        bus: Bus,
        seq: Callable[[], int | None] = lambda: None,
        trace: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self.name = name
        self.bus = bus
        self._seq = seq
        self._trace = trace
        self._message: _Message | None = None
        self._fetched: list[DmaAccess] = []
        self._stored: list[DmaAccess] = []
        self._control: list[DmaAccess] = []
        self._seq_of_dma: int | None = None
        #: A message is under way of which transfer() will be told only at its end: DMA until then belongs to it.
        self.under_way = False
        self._begun: int | None = None

    def begin(self) -> None:
        """A message begins that transfer() is told of at its end: it is of the scenario that is under way now."""
        self.under_way = True
        self._begun = self._seq()

    def transfer(self, address: int, read: bool, payload: bytes | int, last: bool = True) -> Result:
        """One message; see Bus.transfer(). An address of more than seven bits is nobody's."""
        self.flush()
        self._same_scenario()
        seq = self._begun if self.under_way else self._seq()
        self.under_way = False
        if 0 <= address <= MAX_ADDRESS:
            result = self.bus.transfer(address, read, payload, last)
        else:
            self.bus.stop()
            result = Result(Nak.NO_SLAVE, b"")
        length = payload if isinstance(payload, int) else len(payload)
        fetched: Sequence[DmaAccess] = ()
        if not read:
            # What comes after it, before anybody flushes, is of the next message.
            fetched, self._fetched = self._fetched, []
        self._message = _Message(seq, address, read, length, result, fetched)
        return result

    def stop(self) -> None:
        """A stop without a message before it."""
        self.bus.stop()

    def present(self, address: int) -> bool:
        """Whether somebody is at this address."""
        return address in self.bus.slaves

    def seen(self, access: DmaAccess) -> None:
        """The function did some DMA."""
        self._same_scenario()
        if access.control and access.stray:
            self._record(_nobodys(self._seq_of_dma, access.write, [access]), [access])
            return
        (self._control if access.control else self._stored if access.write else self._fetched).append(access)

    def flush(self) -> None:
        """Writes the record of the last message, if it is not yet written."""
        message, self._message = self._message, None
        if message is None:
            return
        self._record(message, self._stored if message.read else message.fetched)
        if message.read:
            self._stored.clear()
        self._control.clear()

    def finish(self) -> None:
        """Nobody waits for anything: no message will come for what was fetched or stored."""
        self.flush()
        if self.under_way:
            return
        for read, accesses in ((False, self._fetched), (True, self._stored)):
            if any(access.stray for access in accesses):
                self._record(_nobodys(self._seq_of_dma, read, accesses), accesses)
            accesses.clear()
        self._control.clear()

    def reset(self) -> None:
        """The function was reset, or its client is gone."""
        self.under_way = False
        self.finish()
        self.bus.stop()

    def _same_scenario(self) -> None:
        seq = self._seq()
        if seq != self._seq_of_dma:
            self.finish()
            self._seq_of_dma = seq

    def _record(self, message: _Message, accesses: Sequence[DmaAccess]) -> None:
        seq, address, read, length, result, _fetched = message
        why = result.nak.value or next((_stray(access) for access in accesses if access.stray), "")
        segments, headers = (tuple(map(_segment, some)) for some in (accesses, self._control))
        self._trace(Record(self.name, seq, address, read, length, result.data, not why, why, segments, headers))


def _segment(access: DmaAccess) -> Segment:
    return Segment(access.address, access.length, access.stray, access.physical)


def _stray(access: DmaAccess) -> str:
    return f"stray DMA: {access.length} bytes at {access.address:#x} are {access.why}"
