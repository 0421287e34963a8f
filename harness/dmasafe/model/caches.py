# SPDX-License-Identifier: GPL-2.0-or-later
"""A processor's write-back data cache on a machine whose devices do not look into it.

Lines are filled on first touch and leave only when told to (or by evict()), so what is stale stays stale, every time.
"""

from __future__ import annotations

from collections.abc import Callable


class DataCache:
    """Lines by number; ``read`` and ``write`` reach memory by physical address. ``line_bytes`` is a power of two."""

    def __init__(self, line_bytes: int, read: Callable[[int, int], bytes], write: Callable[[int, bytes], None]) -> None:
        self.line_bytes = line_bytes
        self._read = read
        self._write = write
        self._lines: dict[int, bytearray] = {}
        self._dirty: set[int] = set()

    def load(self, phys: int, length: int) -> bytes:
        """What the processor sees."""
        out = bytearray()
        for number, start, end in self._pieces(phys, length):
            out += self._line(number)[start:end]
        return bytes(out)

    def store(self, phys: int, data: bytes) -> None:
        """The processor writes: memory learns of it when the line is cleaned or evicted."""
        done = 0
        for number, start, end in self._pieces(phys, len(data)):
            self._line(number)[start:end] = data[done : done + end - start]
            self._dirty.add(number)
            done += end - start

    def clean(self, phys: int, length: int) -> None:
        """Write dirty lines of the range to memory; they stay cached. A line is written as a whole."""
        for number, _start, _end in self._pieces(phys, length):
            self._write_back(number)

    def invalidate(self, phys: int, length: int) -> None:
        """Forget the lines of the range; what the processor wrote there and did not clean is lost.

        A line that the range covers only partly is cleaned first: arch/arm64/mm/cache.S dcache_inval_poc() and
        arch/arm/mm/cache-v7.S v7_dma_inv_range() do so to spare the neighbours.
        """
        for number, start, end in self._pieces(phys, length):
            if start != 0 or end != self.line_bytes:
                self._write_back(number)
            self._dirty.discard(number)
            self._lines.pop(number, None)

    def evict(self) -> None:
        """Hardware may write back and drop any line at any time: now it does, all of them."""
        for number in sorted(self._dirty):
            self._write_back(number)
        self._lines.clear()

    def clear(self) -> None:
        """As after a reset: nothing is cached, nothing is written back."""
        self._lines.clear()
        self._dirty.clear()

    def _pieces(self, phys: int, length: int) -> list[tuple[int, int, int]]:
        """(line number, first byte, end byte) of every line that the range touches."""
        size = self.line_bytes
        pieces = []
        while length > 0:
            start = phys % size
            end = min(size, start + length)
            pieces.append((phys // size, start, end))
            phys += end - start
            length -= end - start
        return pieces

    def _line(self, number: int) -> bytearray:
        line = self._lines.get(number)
        if line is None:
            line = bytearray(self._read(number * self.line_bytes, self.line_bytes))
            self._lines[number] = line
        return line

    def _write_back(self, number: int) -> None:
        if number in self._dirty:
            self._dirty.discard(number)
            self._write(number * self.line_bytes, bytes(self._lines[number]))
