# SPDX-License-Identifier: GPL-2.0-or-later
"""The I2C bus behind a PCI function: each message becomes a line of the trace, with the DMA that belongs to it."""

from __future__ import annotations

from collections.abc import Callable
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


class I2cBus:
    """A Bus (devices/bus.py) as a function drives it. ``seq`` tells the scenario under way, ``trace`` takes Records.

    A record is written when it is known which DMA belongs to its message: of a message to a slave what the function
    read from memory since the message before, of a message from a slave what it writes to memory until the next one.
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
        self._fetched: list[Segment] = []
        self._stored: list[Segment] = []
        self._control: list[Segment] = []
        self._why = ""

    def transfer(self, address: int, read: bool, payload: bytes | int, last: bool = True) -> Result:
        """One message; see Bus.transfer(). An address of more than seven bits is nobody's."""
        self.flush()
        if 0 <= address <= MAX_ADDRESS:
            result = self.bus.transfer(address, read, payload, last)
        else:
            self.bus.stop()
            result = Result(Nak.NO_SLAVE, b"")
        length = payload if isinstance(payload, int) else len(payload)
        self._message = _Message(self._seq(), address, read, length, result)
        return result

    def stop(self) -> None:
        """A stop without a message before it."""
        self.bus.stop()

    def present(self, address: int) -> bool:
        """Whether somebody is at this address."""
        return address in self.bus.slaves

    def seen(self, access: DmaAccess) -> None:
        """The function did some DMA."""
        segment = Segment(access.address, access.length, access.stray, access.physical)
        (self._control if access.control else self._stored if access.write else self._fetched).append(segment)
        if access.stray and not self._why:
            self._why = f"stray DMA: {access.length} bytes at {access.address:#x} are {access.why}"

    def flush(self) -> None:
        """Writes the record of the last message, if it is not yet written."""
        message, self._message = self._message, None
        if message is None:
            return
        segments, why = self._stored if message.read else self._fetched, message.result.nak.value
        if any(segment.stray for segment in segments):
            why = why or self._why
        ok, data = not why, message.result.data
        self._trace(
            Record(
                self.name, message.seq, message.address, message.read, message.length, data, ok, why,
                tuple(segments), tuple(self._control),
            )
        )  # fmt: skip
        segments.clear()
        self._control.clear()
        self._why = ""

    def reset(self) -> None:
        """The function was reset: what it fetched is for no message any more."""
        self.flush()
        self._fetched.clear()
        self._stored.clear()
        self._control.clear()
        self.bus.stop()
