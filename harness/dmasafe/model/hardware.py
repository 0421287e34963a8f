# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated I2C controller: fetches a payload by DMA, carries it over the bus, writes the answer back, notes all.

The same rules as dmasafe/devices/virtio_i2c.py: a stray payload fails before it reaches the bus; after a failure the
rest of a group fails too.
"""

from __future__ import annotations

from typing import NamedTuple

from dmasafe.model.bus import Bus
from dmasafe.model.memory import Memory
from dmasafe.model.strict import Strict


class Seen(NamedTuple):
    """One message as the device saw it. ``dma`` is None without payload; ``why`` is empty if it was carried out."""

    address: int
    read: bool
    data: bytes
    why: str
    dma: int | None
    length: int
    stray: bool


class Hardware:
    """One controller on a bus. ``trace`` grows until somebody takes it; ``now_s`` is how long slaves held the clock."""

    def __init__(self, memory: Memory, bus: Bus, strict: Strict | None = None) -> None:
        self.memory = memory
        self.strict = strict
        self.bus = bus
        self.trace: list[Seen] = []
        self.now_s = 0.0
        self._failed = False

    def reset(self) -> None:
        self.trace = []
        self.now_s = 0.0
        self._failed = False
        self.bus.stop()

    def end_group(self) -> None:
        """The driver sends no more of the group, whatever it announced."""
        self._failed = False
        self.bus.stop()

    def request(self, address: int, read: bool, dma: int | None, length: int, last: bool) -> bool:
        """One message; whether it succeeded. I2C_M_RECV_LEN is unknown to the hardware: it reads ``length`` bytes.

        ``address`` is the driver's: shifted by one, 16 bits of it reach the hardware, which takes no more than 7.
        """
        target = address << 1 & 0xFFFF
        address = target >> 1
        why = f"the address field {target:#06x} is no 7-bit address" if target > 0xFE else ""
        data = b""
        stray = False
        # What the trace says of it is the driver's own memory.
        physical = dma
        if dma is not None and self.strict is not None:
            physical = self.strict.reach(dma, length, read)
        if dma is not None and (physical is None or not self.memory.is_ram(dma, length)):
            stray = True
            why = why or f"stray DMA: {length} bytes at {dma:#x} are outside guest memory"
        if self._failed:
            why = why or "an earlier message of the group failed"
        elif not why:
            payload: bytes | int = length
            if not read:
                payload = b"" if dma is None else self.memory.ram_read(dma, length)
            result = self.bus.transfer(address, read, payload, last)
            data = result.data
            self.now_s += result.delay_s
            if result.nak:
                why = str(result.nak)
            elif read and dma is not None:
                self.memory.ram_write(dma, data)
        if why and not self._failed:
            self.bus.stop()
        self._failed = bool(why) and not last
        self.trace.append(Seen(address, read, data, why, dma if physical is None else physical, length, stray))
        return not why
