# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's side of the DMA controller beside a host on the bench (devices/hosts/dmaengine.py)."""

from __future__ import annotations

from host_bench import Bench

from dmasafe.devices.hosts.declaration import DMA_WINDOW
from dmasafe.devices.hosts.dmaengine import CHANNEL_BYTES, START, STOP, TO_MEMORY


class Provider:
    """Channels as a provider for Linux' dmaengine uses them: the pieces of a list one after another."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._lists: dict[int, list[tuple[int, int]]] = {}
        self._ways: dict[int, int] = {}

    def _write(self, channel: int, offset: int, value: int, size: int = 4) -> None:
        at = DMA_WINDOW.offset + channel * CHANNEL_BYTES + offset
        self.bench.host.decoders[0].write(at, value.to_bytes(size, "little"))

    def _read(self, channel: int, offset: int) -> int:
        at = DMA_WINDOW.offset + channel * CHANNEL_BYTES + offset
        return int.from_bytes(self.bench.host.decoders[0].read(at, 4), "little")

    def start(self, channel: int, *pieces: tuple[int, int], to_memory: bool = False) -> None:
        """A transfer from or to these pieces of memory (address, bytes)."""
        self._lists[channel] = list(pieces)
        self._ways[channel] = TO_MEMORY if to_memory else 0
        self._next(channel)

    def _next(self, channel: int) -> None:
        address, length = self._lists[channel].pop(0)
        self._write(channel, 0x00, address, 8)
        self._write(channel, 0x08, length)
        self._write(channel, 0x0C, START | self._ways[channel])

    def stop(self, channel: int) -> None:
        self._lists[channel] = []
        self._write(channel, 0x0C, STOP)

    def poll(self, seconds: float = 1.0) -> dict[int, int]:
        """Lets time pass, going on with the lists; the last status of each channel that came to an end."""
        ended: dict[int, int] = {}
        for _ in range(2000):
            self.bench.run(seconds / 2000)
            for channel in tuple(self._lists):
                status = self._read(channel, 0x10)
                if status:
                    self._write(channel, 0x10, status)
                    if self._lists[channel] and status == 1:
                        self._next(channel)
                    else:
                        ended[channel] = status
                        del self._lists[channel]
        return ended

    def left(self, channel: int) -> int:
        """Bytes of the piece under way that are not yet moved."""
        return self._read(channel, 0x14)
