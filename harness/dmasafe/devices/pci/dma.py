# SPDX-License-Identifier: GPL-2.0-or-later
"""A function's DMA: reads and writes of guest memory, bounds-checked, each of them seen by whoever keeps the trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dmasafe.devices.guest_memory import AddressSpace, Reach, fetch, store

# No function's transfer is longer; a register with nonsense in it must not make this process ask for gigabytes.
MAX_TRANSFER_BYTES = 1 << 24
_ADDRESS_MASK = (1 << 64) - 1


class DmaAccess(NamedTuple):
    """What a function did: ``length`` bytes from ``address`` on, as the function saw the address.

    ``control`` is its own bookkeeping (descriptors, rings, status), not payload. ``physical`` is where an IOMMU led it,
    None if there is none. ``why`` is empty unless memory was not reached.
    """

    write: bool
    address: int
    length: int
    control: bool
    physical: int | None
    why: str = ""

    @property
    def stray(self) -> bool:
        return bool(self.why)


class Dma:
    """What a PciFunction sees of the machine's memory. Addresses and lengths are in bytes.

    An access of which any byte cannot be reached is *stray*: it is recorded and nothing of it is done; a read gives
    all ones, as on a PCI bus where nobody answers. ``allowed`` says why the function may do no DMA at all (its bus
    master bit is off), or is empty. ``space`` is what can be reached; a strict machine changes it.
    """

    def __init__(
        self,
        space: AddressSpace,
        seen: Callable[[DmaAccess], None] = lambda access: None,
        allowed: Callable[[], str] = lambda: "",
    ) -> None:
        self.space = space
        self._seen = seen
        self._allowed = allowed

    def read(self, address: int, length: int, control: bool = False) -> bytes:
        """``length`` bytes of guest memory from ``address`` on."""
        reach, access = self._reach(address, length, False, control)
        self._seen(access)
        return b"\xff" * min(length, MAX_TRANSFER_BYTES) if reach is None else fetch(reach)

    def write(self, address: int, data: bytes, control: bool = False) -> bool:
        """Puts ``data`` into guest memory from ``address`` on. Whether it got there."""
        reach, access = self._reach(address, len(data), True, control)
        if reach is not None:
            store(reach, data)
        self._seen(access)
        return reach is not None

    def reaches(self, address: int, length: int, write: bool) -> bool:
        """Whether an access gets there, for functions that tell their driver of bus errors. It is recorded if not."""
        reach, access = self._reach(address, length, write, False)
        if reach is None:
            self._seen(access)
        return reach is not None

    def _reach(self, address: int, length: int, write: bool, control: bool) -> tuple[Reach | None, DmaAccess]:
        address &= _ADDRESS_MASK
        why = self._allowed()
        reach: Reach | None = None
        if not why and length > MAX_TRANSFER_BYTES:
            why = f"a transfer of {length} bytes; at most {MAX_TRANSFER_BYTES}"
        if not why:
            reach = self.space.reach(address, length, write) if length else ()
            if reach is None:
                why = "outside what the machine lets it write to" if write else "outside what the machine lets it read"
        physical = self.space.physical(address, reach) if reach else None
        return reach, DmaAccess(write, address, length, control, None if physical == address else physical, why)
