# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory that a vfio-user client lets the device reach: ranges of DMA addresses, each with its permission.

Without an IOMMU these are guest-physical addresses, a handful of ranges. Behind one each of the guest's mappings is a
range of its own: each file is mapped into this process once, however many ranges lie in it.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_right, insort
from typing import NamedTuple

from dmasafe.devices.errors import MemoryTableError
from dmasafe.devices.guest_memory import MAX_REGION_BYTES, Reach, Slot

READ, WRITE = 1, 2
# What QEMU takes for granted (the specification's default for max_dma_maps).
MAX_RANGES = 65535
_ADDRESS_END = 1 << 64


class Range(NamedTuple):
    """DMA addresses from ``start`` up to ``end``, at ``base`` of ``file``; no file: this process cannot get there."""

    start: int
    end: int
    permission: int
    file: tuple[int, int] | None
    base: int


class _File:
    """A mapped file and the number of ranges in it."""

    def __init__(self, fd: int, size: int) -> None:
        self.mapping = mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self.ranges = 0


class DmaMap:
    """An AddressSpace (guest_memory.py). ``generation`` counts the changes."""

    def __init__(self) -> None:
        self._ranges: list[Range] = []
        self._files: dict[tuple[int, int], _File] = {}
        self._last: Range | None = None
        self.generation = 0

    def __len__(self) -> int:
        return len(self._ranges)

    def size(self) -> int:
        """How many bytes can be reached."""
        return sum(range_.end - range_.start for range_ in self._ranges)

    def ranges(self) -> tuple[Range, ...]:
        """All of them, by address."""
        return tuple(self._ranges)

    def add(self, start: int, size: int, permission: int, fd: int | None, offset: int) -> None:
        """VFIO_USER_DMA_MAP; ``fd`` stays the caller's. Raises MemoryTableError, or FileExistsError for an overlap."""
        end = start + size
        if not size or end > _ADDRESS_END:
            raise MemoryTableError(f"a DMA range of {size} bytes at {start:#x}")
        if len(self._ranges) >= MAX_RANGES:
            raise MemoryTableError(f"more than {MAX_RANGES} DMA ranges")
        at = self._after(start)
        beside = self._ranges[max(0, at - 1) : at + 1]
        if any(start < other.end and other.start < end for other in beside):
            raise FileExistsError(f"the DMA range at {start:#x} overlaps another one")
        file = None if fd is None else self._file(fd, offset, size)
        insort(self._ranges, Range(start, end, permission, file, offset), key=_start)
        if file is not None:
            self._files[file].ranges += 1
        self._changed()

    def remove(self, start: int, size: int) -> int:
        """VFIO_USER_DMA_UNMAP: every range from ``start`` on for ``size`` bytes; how many bytes they had.

        QEMU's IOMMUs unmap more than they mapped, so that no range at all is fine. Raises MemoryTableError for a part
        of one.
        """
        end = start + size
        first, last = self._after(start), self._after(end - 1)
        if first and self._ranges[first - 1].start == start:
            first -= 1
        gone = self._ranges[first:last]
        if (gone and gone[-1].end > end) or (first and self._ranges[first - 1].end > start):
            raise MemoryTableError(f"{size} bytes at {start:#x} are part of a DMA range: it goes as a whole")
        del self._ranges[first:last]
        self._changed()
        for range_ in gone:
            self._release(range_)
        return sum(range_.end - range_.start for range_ in gone)

    def close(self) -> None:
        """Forgets everything: all is stray."""
        self._ranges.clear()
        for file in self._files.values():
            file.mapping.close()
        self._files.clear()
        self._changed()

    def reach(self, address: int, length: int, write: bool) -> Reach | None:
        """See AddressSpace. A range may run on into the next."""
        wanted = WRITE if write else READ
        last = self._last
        if last is not None and last.start <= address and address + length <= last.end and last.permission & wanted:
            assert last.file is not None
            return ((self._files[last.file].mapping, last.base + address - last.start, length),)
        pieces = []
        at = self._after(address) - 1
        while length:
            if not 0 <= at < len(self._ranges):
                return None
            found = self._ranges[at]
            if not found.start <= address < found.end or found.file is None or not found.permission & wanted:
                return None
            size = min(length, found.end - address)
            pieces.append((self._files[found.file].mapping, found.base + address - found.start, size))
            address += size
            length -= size
            at += 1
            self._last = found
        return tuple(pieces)

    def slot(self, address: int, length: int) -> Slot | None:
        """Memory that lies in one range, or None."""
        reach = self.reach(address, length, False)
        return (reach[0][0], reach[0][1]) if reach is not None and len(reach) == 1 else None

    def physical(self, address: int, reach: Reach) -> int:
        """See AddressSpace. Nobody tells a vfio-user device what lies behind an IOMMU: the DMA address itself."""
        return address

    def _after(self, address: int) -> int:
        """The number of ranges that start at ``address`` or before it."""
        return bisect_right(self._ranges, address, key=_start)

    def _file(self, fd: int, offset: int, size: int) -> tuple[int, int]:
        """Maps the file if it is not mapped yet, whole: it is guest RAM."""
        try:
            status = os.fstat(fd)
            key = (status.st_dev, status.st_ino)
            if not 0 < offset + size <= min(status.st_size, MAX_REGION_BYTES):
                raise MemoryTableError(f"{size} bytes at {offset:#x} of a file of {status.st_size}")
            if key not in self._files or len(self._files[key].mapping) < offset + size:
                if key in self._files:
                    raise MemoryTableError(f"the file behind the DMA range at {offset:#x} has grown")
                self._files[key] = _File(fd, status.st_size)
        except (OSError, ValueError, OverflowError) as error:
            raise MemoryTableError(f"a DMA range cannot be mapped: {error}") from error
        return key

    def _release(self, range_: Range) -> None:
        if range_.file is None:
            return
        file = self._files[range_.file]
        file.ranges -= 1
        if not file.ranges:
            file.mapping.close()
            del self._files[range_.file]

    def _changed(self) -> None:
        self._last = None
        self.generation += 1


def _start(range_: Range) -> int:
    return range_.start
