# SPDX-License-Identifier: GPL-2.0-or-later
"""The device's IOTLB: I/O virtual addresses to the frontend's addresses, filled on demand.

Only with a virtual IOMMU in the guest (QEMU takes VIRTIO_F_ACCESS_PLATFORM out of SET_FEATURES otherwise). What the
IOMMU does not map is stray, like an address outside memory.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from dmasafe.devices.guest_memory import GuestMemory, Reach, Slot

READ = 1
WRITE = 2
MAX_ENTRIES = 2048
# An IOMMU maps no less than this.
PAGE_BYTES = 4096


class IotlbMiss(Exception):
    """Not an error: the address must be asked for, and the request tried again. ``write`` says what for."""

    def __init__(self, address: int, write: bool) -> None:
        super().__init__(address)
        self.address = address
        self.write = write


class Entry(NamedTuple):
    """``start`` to ``end`` (exclusive) is mapped to ``user`` with ``permission`` (READ and WRITE, or'ed)."""

    start: int
    end: int
    user: int
    permission: int


class Iotlb:
    """An AddressSpace whose every access raises IotlbMiss until the frontend has answered for that address."""

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory
        self._entries: list[Entry] = []
        self._denied: set[tuple[int, bool]] = set()
        self.generation = 0

    def update(self, iova: int, size: int, user: int, permission: int) -> bool:
        """VHOST_IOTLB_UPDATE. Whether the entry is a possible one."""
        if size <= 0 or iova + size > 1 << 64 or user + size > 1 << 64 or permission & ~(READ | WRITE):
            return False
        self._forget(iova, size)
        self._entries.insert(0, Entry(iova, iova + size, user, permission))
        # The oldest go; they are asked for again if needed.
        del self._entries[MAX_ENTRIES:]
        return True

    def invalidate(self, iova: int, size: int) -> None:
        """VHOST_IOTLB_INVALIDATE: every entry that touches the range goes."""
        self._forget(iova, size)
        self._denied.clear()

    def deny(self, address: int, write: bool) -> None:
        """The frontend has answered, and not with a mapping: the page is stray until told otherwise."""
        self._denied.add((address // PAGE_BYTES, write))

    def allow_again(self) -> None:
        """Forgets refusals: the next request asks anew."""
        self._denied.clear()

    def clear(self) -> None:
        self.invalidate(0, 1 << 64)

    def maps(self, address: int, write: bool) -> bool:
        """Whether the byte at ``address`` is mapped."""
        wanted = WRITE if write else READ
        return any(e.start <= address < e.end and e.permission & wanted for e in self._entries)

    def slot(self, address: int, length: int, write: bool) -> Slot | None:
        """Memory that lies in one mapping (a ring), or None."""
        pieces = self._pieces(address, length, write)
        if pieces is None or any(a[0] + a[1] != b[0] for a, b in pairwise(pieces)):
            return None
        return self._memory.user_slot(pieces[0][0], length)

    def reach(self, address: int, length: int, write: bool) -> Reach | None:
        """See AddressSpace. Raises IotlbMiss if any part is not known."""
        pieces = self._pieces(address, length, write)
        if pieces is None:
            return None
        found = []
        for user, size in pieces:
            slot = self._memory.user_slot(user, size)
            if slot is None:
                return None
            found.append((*slot, size))
        return tuple(found)

    def physical(self, address: int, reach: Reach) -> int:
        """See AddressSpace."""
        return self._memory.guest_address(reach)

    def _forget(self, iova: int, size: int) -> None:
        self._entries = [e for e in self._entries if e.end <= iova or e.start >= iova + size]
        self.generation += 1

    def _pieces(self, address: int, length: int, write: bool) -> list[tuple[int, int]] | None:
        """(user address, size) of each part; None if any part is stray; raises IotlbMiss if any is not known."""
        if address + length > 1 << 64:
            return None
        wanted = WRITE if write else READ
        pieces = []
        while length > 0:
            for entry in self._entries:
                if entry.start <= address < entry.end and entry.permission & wanted:
                    size = min(length, entry.end - address)
                    pieces.append((entry.user + address - entry.start, size))
                    address += size
                    length -= size
                    break
            else:
                if (address // PAGE_BYTES, write) in self._denied:
                    return None
                raise IotlbMiss(address, write)
        return pieces
