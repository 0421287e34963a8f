# SPDX-License-Identifier: GPL-2.0-or-later
"""A host on a test bench: memory, a bus with the default slaves, time that the test passes, registers by name."""

from __future__ import annotations

import heapq
import itertools
import mmap
from collections.abc import Callable
from typing import Any

from dmasafe.devices.bus import Bus, default_bus
from dmasafe.devices.guest_memory import Reach
from dmasafe.devices.hosts import hosts
from dmasafe.devices.hosts.base import I2cHost
from dmasafe.devices.hosts.faults import FAULTS
from dmasafe.devices.pci import Dma, I2cBus, Register, RegisterBlock
from dmasafe.devices.trace import Record

MEMORY_BYTES = 1 << 20
BUFFER, RING = 0x1000, 0x8000
STRAY = 1 << 40


class _Space:
    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, MEMORY_BYTES)

    def reach(self, address: int, length: int, write: bool) -> Reach | None:
        if not address >= 0 or address + length > MEMORY_BYTES:
            return None
        return ((self.memory, address, length),)

    def physical(self, address: int, reach: Reach) -> int:
        return address


class Bench:
    """``host`` plugged in. ``records`` are the trace, ``irqs`` the messages sent, ``high`` the interrupt line."""

    def __init__(self, name: str, fault: str | None = None) -> None:
        self.space = _Space()
        self.memory = self.space.memory
        self.records: list[Record] = []
        self.irqs: list[int] = []
        self.high = False
        self.now = 0.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.i2c: Bus = default_bus()
        self.bus = I2cBus(name, self.i2c, lambda: 7, self.records.append)
        self.dma = Dma(self.space, self.bus.seen)
        host: Any = hosts()[name].function()
        assert isinstance(host, I2cHost)
        self.host = host
        host.plug(self)
        host.reset_all()
        if fault is not None:
            host.fault = FAULTS[fault]

    # What a function is plugged into.

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self.now + seconds, next(self._numbers), callback))

    def message(self, vector: int) -> bool:
        if not self.host.msi:
            return False
        self.irqs.append(vector)
        return True

    def line(self, high: bool) -> None:
        self.high = high

    def undeclared(self, bar: int, offset: int, size: int, write: bool) -> None:
        raise AssertionError(f"nobody declared {size} bytes at {offset:#x} of BAR {bar}")

    # What a test does.

    def run(self, seconds: float = 0.01) -> None:
        """Lets so much time pass."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            at, _number, callback = heapq.heappop(self._timers)
            self.now = max(self.now, at)
            callback()
        self.now = end

    def _place(self, name: str) -> tuple[int, int, int]:
        for bar in self.host.bars:
            for entry in bar.registers or (self.host,):
                block = entry if isinstance(entry, RegisterBlock) else self.host
                registers = block.registers if isinstance(entry, RegisterBlock) else (entry,)
                for register in registers:
                    if isinstance(register, Register) and register.name == name:
                        base = block.base if isinstance(entry, RegisterBlock) else 0
                        return bar.index, base + register.offset, register.width
        raise LookupError(name)

    def write(self, name: str, value: int) -> None:
        """writeb() to writeq(), as wide as the register."""
        bar, offset, width = self._place(name)
        self.host.decoders[bar].write(offset, (value & (1 << 8 * width) - 1).to_bytes(width, "little"))

    def read(self, name: str) -> int:
        bar, offset, width = self._place(name)
        return int.from_bytes(self.host.decoders[bar].read(offset, width), "little")

    def put(self, address: int, data: bytes) -> None:
        self.memory[address : address + len(data)] = data

    def get(self, address: int, length: int) -> bytes:
        return self.memory[address : address + length]

    def flush(self) -> list[Record]:
        """The trace so far."""
        self.bus.flush()
        return self.records
