# SPDX-License-Identifier: GPL-2.0-or-later
"""What the register models of host controllers have in common: a message on the bus and its end, and ways to fail.

A model moves payload with ``fetch()`` and ``store()`` and its bits with the registers; when a message is through is
said here, and so is what faulty hardware does instead (faults.py).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

from dmasafe.devices.bus import Nak, Result
from dmasafe.devices.errors import FunctionError
from dmasafe.devices.hosts.declaration import BAR_BYTES
from dmasafe.devices.hosts.faults import FAULTS, SOUND, HardwareFault
from dmasafe.devices.pci import Machine, PciFunction

# No message of struct i2c_msg is longer.
MAX_MESSAGE_BYTES = 0xFFFF


# After this the second of two interrupts comes.
AGAIN_S = 0.02


class Carried(NamedTuple):
    """A message's fate: ``data`` are the bytes on the wire, a refused one included; ``lost`` is arbitration."""

    nak: Nak
    data: bytes
    lost: bool = False

    @property
    def ok(self) -> bool:
        return self.nak is Nak.NONE and not self.lost


class Wire:
    """The bus for a controller that moves byte by byte, and learns only at the stop how long a message was.

    Slaves know messages: what one says is looked at beforehand (I2cHost.preview()), the message itself is carried out
    at its end. ``active``: between a start and its stop. ``delay_s`` is for how long the slave holds the clock.
    """

    def __init__(self, host: I2cHost) -> None:
        self._host = host
        self.reset()

    def reset(self) -> None:
        """Nothing is under way."""
        self.active = False
        self.read = False
        self.refused = False
        self.delay_s = 0.0
        self._limit: int | None = None
        self._address = 0
        self._sent = bytearray()
        self._ahead = b""
        self._got = 0

    def start(self, octet: int) -> Carried:
        """A start or repeated start with an address and direction: whether somebody acknowledges."""
        if self.active:
            self.end(last=False)
        host = self._host
        host.bus.flush()
        self.reset()
        if host.fault.arbitration_lost:
            return Carried(Nak.NONE, b"", lost=True)
        self.active = True
        host.bus.begin()
        self._address, self.read = octet >> 1 & 0x7F, bool(octet & 1)
        slave = host.bus.bus.slaves.get(self._address)
        self._limit = getattr(slave, "accepts", None)
        self.delay_s = 0.0 if slave is None else slave.stretch_s
        self.refused = slave is None or host.fault.nak_at == 0
        return Carried(Nak.ADDRESS if self.refused else Nak.NONE, b"")

    def put(self, byte: int) -> bool:
        """One byte to the slave; whether it is acknowledged."""
        self._sent.append(byte & 0xFF)
        count = len(self._sent)
        limited = self._limit is not None and count > self._limit
        self.refused = self.refused or limited or self._host.fault.nak_at == count
        return not self.refused

    def get(self) -> int:
        """One byte from the slave."""
        if self._got >= len(self._ahead):
            self._ahead = self._host.preview(self._address, max(64, 2 * self._got))
        self._got += 1
        return 0xFF if self.refused else self._ahead[self._got - 1]

    def end(self, last: bool = True) -> bool:
        """A stop, or (not ``last``) what comes before a repeated start; whether all was acknowledged."""
        if not self.active:
            return True
        self.active = False
        payload: bytes | int = self._got if self.read else bytes(self._sent)
        if self._host.fault.nak_at == 0:
            self._host.bus.under_way = False
            return False
        result = self._host.bus.transfer(self._address, self.read, payload, last or self.refused)
        return result.ok and not self.refused


class I2cHost(PciFunction):
    """A controller. Models of platform devices leave the ids alone: nobody but the machine's builder reads them."""

    vendor_id = 0x1234
    device_id = 0xD5A0
    needs_bus_master = False
    fault: HardwareFault = SOUND

    def __init__(self) -> None:
        super().__init__()
        self._job = 0
        # What ends the message under way.
        self._finishes: Callable[[], None] | None = None

    def plug(self, machine: Machine) -> None:
        if not self.needs_bus_master:
            # A platform device: the machine's builder counts on it (dmasafe/qemu/hosts.py).
            self.bars[0].size = max(self.bars[0].size, BAR_BYTES)
        super().plug(machine)

    def fail(self, name: str | None) -> None:
        """From now on the hardware has this fault, or none. Raises FunctionError if there is no such fault."""
        if name is not None and name not in FAULTS:
            raise FunctionError(f"there is no fault '{name}': it is one of {', '.join(FAULTS)}")
        self.fault = SOUND if name is None else FAULTS[name]
        if not self.fault.interrupts:
            self.set_irq(False)

    # A message known as a whole.

    def carry(
        self, address: int, read: bool, payload: bytes | int, last: bool, done: Callable[[Carried], None]
    ) -> None:
        """One message. ``done`` is called when the wire has got so far, unless ``abort()`` comes before."""
        self._job += 1
        job = self._job
        carried, delay_s = self._on_wire(address, read, payload, last)

        def end() -> None:
            if job == self._job:
                self._finishes = None
                done(carried)

        self._finishes = end
        self.later(delay_s + self.fault.delay_s, end)

    def last_moment(self) -> None:
        """The message under way is about to be reset. With the fault of this name it is done now."""
        if self.fault.last_moment and self._finishes is not None:
            self._finishes()
            self._job += 1

    def abort(self) -> None:
        """Forgets the message under way: what its driver does with a reset."""
        self.last_moment()
        self._finishes = None
        self._job += 1

    def reset(self) -> None:
        self._finishes = None
        self.abort()

    def _on_wire(self, address: int, read: bool, payload: bytes | int, last: bool) -> tuple[Carried, float]:
        fault = self.fault
        if fault.arbitration_lost:
            return Carried(Nak.NONE, b"", lost=True), 0.0
        refused = fault.nak_at
        if refused == 0:
            return Carried(Nak.ADDRESS, b""), 0.0
        if not read and refused is not None and isinstance(payload, bytes) and refused <= len(payload):
            self.bus.transfer(address, read, payload[:refused], True)
            return Carried(Nak.DATA, payload[:refused]), 0.0
        result: Result = self.bus.transfer(address, read, payload, last)
        return Carried(result.nak, result.data), result.delay_s

    def preview(self, address: int, length: int) -> bytes:
        """What a slave would say to a read, without its being read."""
        slave = self.bus.bus.slaves.get(address)
        if slave is None:
            return b"\xff" * length
        answer = deepcopy(slave).read(length)
        return b"\xff" * length if answer is None else answer[:length].ljust(length, b"\xff")

    # Payload in memory.

    def fetch(self, address: int, length: int) -> bytes:
        """Payload from memory, for the next message; all ones where there is none, as where nobody answers on PCI."""
        self.bus.flush()
        return self.dma.read(address, length)

    def store(self, address: int, data: bytes) -> None:
        """Payload to memory."""
        if not data:
            return

        def put() -> None:
            self.dma.write(address, data)

        def again() -> None:
            self.dma.write(address, bytes(octet ^ 0xFF for octet in data))

        if self.fault.store_after_s:
            self.later(self.fault.store_after_s, put)
        else:
            put()
        if self.fault.again_after_s:
            self.later(self.fault.again_after_s, again)

    # Interrupts.

    def event(self, vector: int = 0) -> None:
        """An interrupt that is a message: sent as often as the hardware's fault says."""
        for number in range(self.fault.interrupts):
            if number:
                self.later(number * AGAIN_S, lambda: self.raise_irq(vector))
            else:
                self.raise_irq(vector)

    def level(self, high: bool) -> None:
        """The interrupt of a status register behind its mask."""
        if self.fault.interrupts:
            self.set_irq(high)
