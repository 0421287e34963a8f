# SPDX-License-Identifier: GPL-2.0-or-later
"""What the register models of host controllers have in common: a message on the bus and its end, and ways to fail.

A model moves payload with ``fetch()`` and ``store()`` and its bits with the registers; when a message is through is
said here, and so is what faulty hardware does instead (FAULTS).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

from dmasafe.devices.bus import Nak, Result
from dmasafe.devices.errors import FunctionError
from dmasafe.devices.pci import PciFunction

# No message of struct i2c_msg is longer.
MAX_MESSAGE_BYTES = 0xFFFF


class HardwareFault(NamedTuple):
    """One way in which a controller fails.

    It is done ``delay_s`` late; it sends ``interrupts`` for one event; what it read is in memory only ``store_after_s``
    after it says so; byte number ``nak_at`` (0 is the address) of each message is not acknowledged; it loses the
    arbitration; its DMA engine stops with an error.
    """

    delay_s: float = 0.0
    interrupts: int = 1
    store_after_s: float = 0.0
    nak_at: int | None = None
    arbitration_lost: bool = False
    dma_error: bool = False


SOUND = HardwareFault()
# Beyond the time-out of every driver that has a host: the longest waits two seconds.
LATE_S = 2.5
FAULTS: dict[str, HardwareFault] = {
    "late": HardwareFault(delay_s=LATE_S),
    "interrupt-lost": HardwareFault(interrupts=0),
    "interrupt-twice": HardwareFault(interrupts=2),
    "interrupt-early": HardwareFault(store_after_s=0.05),
    "arbitration-lost": HardwareFault(arbitration_lost=True),
    "dma-error": HardwareFault(dma_error=True),
    **{f"nak-{byte}": HardwareFault(nak_at=byte) for byte in (0, 1, 2, 8, 31, 32)},
}
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


class I2cHost(PciFunction):
    """A controller. Models of platform devices leave the ids alone: nobody but the machine's builder reads them."""

    vendor_id = 0x1234
    device_id = 0xD5A0
    needs_bus_master = False
    fault: HardwareFault = SOUND

    def __init__(self) -> None:
        super().__init__()
        self._job = 0

    def fail(self, name: str | None) -> None:
        """From now on the hardware has this fault, or none. Raises FunctionError if there is no such fault."""
        if name is not None and name not in FAULTS:
            raise FunctionError(f"there is no fault '{name}': it is one of {', '.join(FAULTS)}")
        self.fault = SOUND if name is None else FAULTS[name]

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
                done(carried)

        self.later(delay_s + self.fault.delay_s, end)

    def abort(self) -> None:
        """Forgets the message under way: what its driver does with a reset."""
        self._job += 1

    def reset(self) -> None:
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

        if self.fault.store_after_s:
            self.later(self.fault.store_after_s, put)
        else:
            put()

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
