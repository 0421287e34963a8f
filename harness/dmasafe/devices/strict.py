# SPDX-License-Identifier: GPL-2.0-or-later
"""The strict machine seen from the hardware: what is mapped at this moment, by the table of images/strict/.

Whatever is not mapped, beyond a mapping or against its direction is refused, as an IOMMU would, and noted in the table
for the guest's kernel to report. docs/strict.md has the layout.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple, Protocol

from dmasafe.devices.guest_memory import Reach, Slot

PAGE_BYTES = 4096
MAGIC = b"dmastrct"
CHUNKS = 16
REFUSALS = 32
LIVE, READABLE, WRITABLE = 1, 2, 4
UNMAPPED, BEYOND, DIRECTION = 0, 1, 2
# Whoever starts so close behind a mapping has gone beyond it.
REDZONE_BYTES = 64

_HEADER = Struct(f"<8sIIQ{CHUNKS}Q")
_COUNTERS = Struct("<II")
_ENTRY = Struct("<QQIII4x")
_REFUSAL = Struct("<QIIBB6x16s")
_NOTED_AT = _HEADER.size
_REFUSALS_AT = _NOTED_AT + _COUNTERS.size
_HEADER_BYTES = _REFUSALS_AT + REFUSALS * _REFUSAL.size


class Entry(NamedTuple):
    """The mapping that a page of bus addresses belongs to: ``size`` bytes at ``address``.

    ``physical`` is where the driver's own memory is, ``flags`` are or'ed, ``number`` is no other mapping's.
    """

    address: int
    physical: int
    size: int
    flags: int
    number: int


_NOTHING = Entry(0, 0, 0, 0, 0)


class Memory(Protocol):
    """Guest-physical memory: what a device could reach if nobody were strict."""

    def slot(self, address: int, length: int) -> Slot | None:
        """Memory that lies in one mapping, or None."""

    def reach(self, address: int, length: int, write: bool) -> Reach | None:
        """See AddressSpace."""


class StrictSpace:
    """An AddressSpace in which a device reaches what is mapped for it. ``device`` is its name in the guest."""

    def __init__(self, memory: Memory, address: int, device: str) -> None:
        self._memory = memory
        self._address = address
        self._device = device.encode()[:15]

    def reach(self, address: int, length: int, write: bool) -> Reach | None:
        """See AddressSpace; what is refused is noted."""
        header = self._memory.slot(self._address, _HEADER_BYTES)
        if header is None:
            return None
        entry = self._entry(header, address)
        why = _refused(entry, address, length, write)
        if why is None:
            return self._memory.reach(address, length, write)
        self._note(header, address, length, write, why, entry.number)
        return None

    def physical(self, address: int, reach: Reach) -> int:
        """Where the driver's own memory is that is mapped at ``address``."""
        header = self._memory.slot(self._address, _HEADER_BYTES)
        entry = _NOTHING if header is None else self._entry(header, address)
        return entry.physical + address - entry.address

    def _entry(self, header: Slot, address: int) -> Entry:
        magic, pages, chunk_pages, entries, *chunks = _HEADER.unpack_from(*header)
        if magic != MAGIC or not chunk_pages:
            return _NOTHING
        for number, start in enumerate(chunks[: min(pages // chunk_pages, CHUNKS)]):
            if start <= address < start + chunk_pages * PAGE_BYTES:
                page = number * chunk_pages + (address - start) // PAGE_BYTES
                slot = self._memory.slot(entries + page * _ENTRY.size, _ENTRY.size)
                return _NOTHING if slot is None else Entry(*_ENTRY.unpack_from(*slot))
        return _NOTHING

    def _note(self, header: Slot, address: int, length: int, write: bool, why: int, number: int) -> None:
        mapping, at = header
        (noted, _read) = _COUNTERS.unpack_from(mapping, at + _NOTED_AT)
        place = at + _REFUSALS_AT + noted % REFUSALS * _REFUSAL.size
        _REFUSAL.pack_into(mapping, place, address, min(length, 0xFFFFFFFF), number, write, why, self._device)
        # The guest reads no further than this says: last, and in one store.
        mapping[at + _NOTED_AT : at + _NOTED_AT + 4] = ((noted + 1) & 0xFFFFFFFF).to_bytes(4, "little")


def _refused(entry: Entry, address: int, length: int, write: bool) -> int | None:
    """Why an access is refused, or None."""
    end = entry.address + entry.size
    if not length:
        return None
    if not entry.flags & LIVE or not entry.address <= address < end + REDZONE_BYTES:
        return UNMAPPED
    if address + length > end:
        return BEYOND
    return None if entry.flags & (WRITABLE if write else READABLE) else DIRECTION
