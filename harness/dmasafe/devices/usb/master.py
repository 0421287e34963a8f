# SPDX-License-Identifier: GPL-2.0-or-later
"""A bridge's I2C side: messages to the bus, each with a line in the trace.

USB shows the device no DMA addresses: the segments of these records are empty, and from them nobody can tell whether
a payload came straight from the caller's buffer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from dmasafe.devices.bus import Bus, Nak, Result
from dmasafe.devices.trace import Record

# No slave may hold a bridge for longer.
MAX_STRETCH_S = 65.536
MAX_ADDRESS = 0x7F


class Master:
    """Carries messages for the controller ``name``. ``seq`` tells the scenario under way, ``trace`` takes records.

    ``take_delay_s`` says for how long slaves held the clock since it was last asked.
    """

    def __init__(self, name: str, bus: Bus, seq: Callable[[], int | None], trace: Callable[[Record], None]) -> None:
        self.name = name
        self.bus = bus
        self._seq = seq
        self._trace = trace
        self._delay_s = 0.0

    def transfer(self, address: int, read: bool, payload: bytes | int, last: bool = True) -> Result:
        """One message; see Bus.transfer(). An address of more than seven bits is nobody's."""
        if 0 <= address <= MAX_ADDRESS:
            result = self.bus.transfer(address, read, payload, last)
        else:
            self.bus.stop()
            result = Result(Nak.NO_SLAVE, b"")
        length = payload if isinstance(payload, int) else len(payload)
        why = result.nak.value
        self._trace(Record(self.name, self._seq(), address, read, length, result.data, not why, why, (), ()))
        self._delay_s += min(result.delay_s, MAX_STRETCH_S)
        return result

    def stop(self) -> None:
        """A stop without a message before it."""
        self.bus.stop()

    def present(self, address: int) -> bool:
        """Whether somebody is at this address."""
        return address in self.bus.slaves

    def preview(self, address: int, length: int) -> bytes | None:
        """What a read of so many bytes would bring; the slave notices nothing.

        For bridges that fetch a message piece by piece and say only in the end that it was the last: the bus takes a
        message as a whole, and once its length is known it is read in earnest.
        """
        slave = self.bus.slaves.get(address)
        if slave is None:
            return None
        try:
            answer = copy.deepcopy(slave).read(length)
        except Exception:
            # A slave from outside that cannot be copied: it is as if it did not answer.
            return None
        return None if answer is None else answer[:length].ljust(length, b"\xff")

    def take_delay_s(self) -> float:
        delay_s, self._delay_s = self._delay_s, 0.0
        return delay_s


class Bridge:
    """What is the master of a bus: the state that it has after power-on, and after each reset again."""

    def __init__(self, master: Master) -> None:
        self._master = master
        self._idle()

    def _idle(self) -> None:
        """Nothing is under way."""

    def reset(self) -> None:
        """As after power-on; the slaves keep what they hold."""
        self._idle()
        self._master.stop()
