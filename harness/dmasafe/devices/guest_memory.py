# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's memory as the frontend shares it: a table of regions, each a mapped file descriptor.

An address that no region covers is *stray*: the answer is None or False, never an exception.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from dmasafe.devices.errors import MemoryTableError

_ADDRESS_END = 1 << 64
# Far above any guest's memory; keeps the sizes handed to mmap() sane.
MAX_REGION_BYTES = 1 << 46

# A stretch of memory in one mapping: the mapping and the offset in it.
Slot = tuple[mmap.mmap, int]
# Where a range of addresses really lies: (mapping, offset, bytes) of each part, in order. Good until memory changes.
Reach = tuple[tuple[mmap.mmap, int, int], ...]


class AddressSpace(Protocol):
    """What the device's DMA sees: guest-physical memory, or I/O virtual addresses behind an IOMMU."""

    def reach(self, address: int, length: int, write: bool) -> Reach | None:
        """Where ``length`` bytes from ``address`` lie, or None if any of them is stray."""

    def physical(self, address: int, reach: Reach) -> int:
        """The guest-physical address that ``address``, which leads to ``reach``, stands for."""


def fetch(reach: Reach) -> bytes:
    """The bytes that lie there."""
    if len(reach) == 1:
        mapping, offset, size = reach[0]
        return mapping[offset : offset + size]
    return b"".join([mapping[offset : offset + size] for mapping, offset, size in reach])


def store(reach: Reach, data: bytes) -> None:
    """Puts ``data`` there; it must be as long."""
    done = 0
    for mapping, offset, size in reach:
        mapping[offset : offset + size] = data[done : done + size]
        done += size


class RegionSpec(NamedTuple):
    """One row of a memory table (vhost-user specification, "Memory regions description"). All in bytes."""

    guest_address: int
    size: int
    user_address: int
    offset: int

    def check(self) -> None:
        """Raises MemoryTableError if the numbers cannot describe memory."""
        if not 0 < self.size <= MAX_REGION_BYTES:
            raise MemoryTableError(f"a memory region of {self.size} bytes")
        if self.guest_address + self.size > _ADDRESS_END or self.user_address + self.size > _ADDRESS_END:
            raise MemoryTableError(f"the memory region at {self.guest_address:#x} ends beyond 64 bits")
        if self.offset + self.size > MAX_REGION_BYTES:
            raise MemoryTableError(f"the memory region at {self.guest_address:#x} starts too far into its file")


class Region:
    """A mapped row. ``base`` is where the region's first byte lies in ``mapping``."""

    __slots__ = ("base", "guest_end", "guest_start", "mapping", "user_end", "user_start")

    def __init__(self, spec: RegionSpec, fd: int) -> None:
        spec.check()
        # mmap() wants the offset on an allocation boundary; the frontend need not give one.
        self.base = spec.offset % mmap.ALLOCATIONGRANULARITY
        try:
            self.mapping = mmap.mmap(
                fd,
                self.base + spec.size,
                flags=mmap.MAP_SHARED,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
                offset=spec.offset - self.base,
            )
        except (OSError, ValueError, OverflowError) as error:
            raise MemoryTableError(f"the memory region at {spec.guest_address:#x} cannot be mapped: {error}") from error
        self.guest_start = spec.guest_address
        self.guest_end = spec.guest_address + spec.size
        self.user_start = spec.user_address
        self.user_end = spec.user_address + spec.size


class GuestMemory:
    """The table. ``generation`` changes with it, so that a resolved Slot can be told to be out of date."""

    def __init__(self) -> None:
        self.regions: list[Region] = []
        self.generation = 0

    def replace(self, specs: Sequence[RegionSpec], fds: Sequence[int]) -> None:
        """The new table, all of it or (MemoryTableError) nothing. The caller keeps and closes ``fds``."""
        if len(specs) != len(fds):
            raise MemoryTableError(f"{len(specs)} memory regions came with {len(fds)} file descriptors")
        for number, one in enumerate(specs):
            one.check()
            for other in specs[:number]:
                for mine, theirs in ((one.guest_address, other.guest_address), (one.user_address, other.user_address)):
                    if mine < theirs + other.size and theirs < mine + one.size:
                        raise MemoryTableError(f"memory regions overlap at {max(mine, theirs):#x}")
        regions: list[Region] = []
        try:
            for spec, fd in zip(specs, fds, strict=True):
                regions.append(Region(spec, fd))
        except MemoryTableError:
            for region in regions:
                region.mapping.close()
            raise
        old, self.regions = self.regions, regions
        self.generation += 1
        for region in old:
            region.mapping.close()

    def close(self) -> None:
        """Forgets all memory: everything is stray."""
        self.replace((), ())

    def slot(self, address: int, length: int) -> Slot | None:
        """Guest-physical memory that lies in one mapping, or None."""
        for number, region in enumerate(self.regions):
            if region.guest_start <= address and address + length <= region.guest_end:
                if number:
                    # The region last used comes first: RAM, not the holes below 1 MiB.
                    self.regions[0], self.regions[number] = region, self.regions[0]
                return region.mapping, region.base + address - region.guest_start
        return None

    def user_slot(self, address: int, length: int) -> Slot | None:
        """The same by the frontend's own (user) address."""
        for region in self.regions:
            if region.user_start <= address and address + length <= region.user_end:
                return region.mapping, region.base + address - region.user_start
        return None

    def physical(self, address: int, reach: Reach) -> int:
        """See AddressSpace."""
        return address

    def guest_address(self, reach: Reach) -> int:
        """The guest-physical address at which ``reach`` starts; it must be of this memory."""
        mapping, offset, _size = reach[0]
        region = next(region for region in self.regions if region.mapping is mapping)
        return region.guest_start + offset - region.base

    def reach(self, address: int, length: int, write: bool) -> Reach | None:
        """See AddressSpace. A range may run on from one region into the next."""
        regions = self.regions
        if regions:
            region = regions[0]
            if region.guest_start <= address and address + length <= region.guest_end:
                return ((region.mapping, region.base + address - region.guest_start, length),)
        slot = self.slot(address, length)
        if slot is not None:
            return ((*slot, length),)
        pieces = []
        for region in sorted(regions, key=_guest_start):
            if length and region.guest_start <= address < region.guest_end:
                size = min(length, region.guest_end - address)
                pieces.append((region.mapping, region.base + address - region.guest_start, size))
                address += size
                length -= size
        return None if length else tuple(pieces)


def _guest_start(region: Region) -> int:
    return region.guest_start
