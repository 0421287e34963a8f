# SPDX-License-Identifier: GPL-2.0-or-later
"""Accesses of a driver gone mad to every host's registers: ``python tests/fuzz/fuzz_registers.py --count 1200000``.

What must hold is check(): a model raises nothing, lets others have a turn, and touches no memory that it
was not given. --count is of all hosts together.
"""

from __future__ import annotations

import heapq
import itertools
import os
from collections import Counter
from collections.abc import Callable

import fuzzing

with fuzzing.instrumented():
    from dmasafe.devices.bus import default_bus
    from dmasafe.devices.dma_map import READ, WRITE, DmaMap
    from dmasafe.devices.hosts import hosts
    from dmasafe.devices.pci import Dma, I2cBus, Register, RegisterBlock

RAM = 0x4000
# Callbacks in one instant: a model with more never lets anybody else have a turn.
MAX_CALLBACKS = 1000
# What a model does for ever, as its hardware would, is cut off here.
SETTLE_S = 0.002
MAX_ACCESSES = 64
# What drivers write: bits, lengths, addresses of memory and of slaves, all ones.
VALUES = (0, 1, 2, 8, 0x20, 0x41, 0x100, 0x1000, 0xFFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)


class Machine:
    """A host plugged in, in a time of its own. ``accessed`` counts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.host = hosts()[name].function()
        self.fd = os.memfd_create("ram")
        os.ftruncate(self.fd, RAM)
        space = DmaMap()
        space.add(0x1000, RAM - 0x1000, READ | WRITE, self.fd, 0x1000)
        self.now = 0.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.bus = I2cBus(name, default_bus())
        self.dma = Dma(space, self.bus.seen)
        self.host.plug(self)
        self.host.reset_all()
        self.places = [
            (bar.index, (entry.base if isinstance(entry, RegisterBlock) else 0) + register.offset, register.width)
            for bar in self.host.bars
            for entry in bar.registers or (self.host,)
            for register in (entry.registers if isinstance(entry, RegisterBlock) else (entry,))
            if isinstance(register, Register)
        ]

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self.now + seconds, next(self._numbers), callback))

    def message(self, vector: int) -> bool:
        return bool(self.host.msi)

    def line(self, high: bool) -> None:
        """Nobody answers."""

    def undeclared(self, bar: int, offset: int, size: int, write: bool) -> None:
        """A driver gone mad does."""

    def run(self, seconds: float) -> None:
        """Lets so much time pass."""
        end = self.now + seconds
        instant, callbacks = self.now, 0
        while self._timers and self._timers[0][0] <= end:
            self.now, _number, callback = heapq.heappop(self._timers)
            callbacks = callbacks + 1 if self.now == instant else 0
            instant = self.now
            assert callbacks < MAX_CALLBACKS, f"{self.name} does something for ever in one instant"
            callback()
        self.now = end

    def access(self, how: int, which: int, value: int, seconds: float) -> None:
        """One access: to a register, a part of one, or anywhere in its BAR."""
        bar, offset, width = self.places[which % len(self.places)]
        decoder = self.host.decoders[bar]
        if how & 0x0E == 0x0E:
            offset, width = which * 4 % decoder.bar.size, 4
        elif how & 0x0E == 0x0C:
            offset, width = offset + how % width, 1
        if how & 1:
            decoder.read(offset, width)
        else:
            decoder.write(offset, (value & (1 << 8 * width) - 1).to_bytes(width, "little"))
        self.run(seconds)

    def reset(self) -> None:
        self.run(SETTLE_S)
        self._timers.clear()
        self.bus.reset()
        self.bus.bus = default_bus()
        self.host.reset_all()
        assert os.pread(self.fd, 0x1000, 0) == bytes(0x1000), "memory was written to that was never mapped"


MACHINES: list[Machine] = []
ACCESSES: Counter[str] = Counter()


def check(data: bytes) -> int:
    """The number of accesses: five bytes each, to the host that the first byte names."""
    if not MACHINES:
        MACHINES.extend(map(Machine, hosts()))
    if not data:
        return 0
    machine = MACHINES[data[0] % len(MACHINES)]
    accesses = [data[at : at + 5] for at in range(1, len(data) - 4, 5)][:MAX_ACCESSES]
    for how, which, high, low, pause in accesses:
        value = VALUES[low % len(VALUES)] if high & 1 else high << 8 | low
        machine.access(how, which, value, (0.0, 0.0, 1e-5, 1e-4, 1e-3)[pause % 5])
    machine.reset()
    ACCESSES[machine.name] += len(accesses)
    return len(accesses)


if __name__ == "__main__":
    try:
        fuzzing.main(check, "registers", "accesses")
    finally:
        print(*(f"{name} {count:,}" for name, count in sorted(ACCESSES.items())), sep=", ")
