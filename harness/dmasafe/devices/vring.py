# SPDX-License-Identifier: GPL-2.0-or-later
"""The device's side of a split virtqueue (VIRTIO 1.2, section 2.7) in memory that the guest may fill with anything.

Every way in which a guest can break the rules is a named Violation; none is an exception, none makes the device loop or
read outside the tables.
"""

from __future__ import annotations

import threading
from enum import StrEnum
from mmap import mmap
from struct import Struct
from typing import NamedTuple

from dmasafe.devices.guest_memory import AddressSpace, GuestMemory, Slot, fetch
from dmasafe.devices.iotlb import Iotlb

F_INDIRECT_DESC = 1 << 28
F_EVENT_IDX = 1 << 29
F_ACCESS_PLATFORM = 1 << 33

# VIRTIO allows 32768; QEMU's own limit keeps a request's cost and its trace line small.
MAX_QUEUE_SIZE = 1024

_DESCRIPTOR_BYTES = 16
_F_NEXT = 1
_F_WRITE = 2
_F_INDIRECT = 4
_AVAIL_F_NO_INTERRUPT = 1
_RING_HEADER_BYTES = 4
_AVAIL_ENTRY_BYTES = 2
_USED_ENTRY_BYTES = 8
_EVENT_BYTES = 2

_DESCRIPTOR = Struct("<QIHH")
_USED_ENTRY = Struct("<II")
# On a little-endian host these are single loads and stores, so an index is never seen half-written.
_U16 = Struct("<H")
_TWO_U16 = Struct("<HH")

_barrier_lock = threading.Lock()
_acquire = _barrier_lock.acquire
_release = _barrier_lock.release


def _barrier() -> None:
    """Orders what was stored before it with what is loaded after it.

    Python has no fence; taking and giving a lock twice is one on x86 (locked instructions) and on arm64 (the second
    acquire cannot pass the first release).
    """
    _acquire()
    _release()
    _acquire()
    _release()


class What(StrEnum):
    """The ways to break the rules, as slugs for the trace."""

    RING_OUTSIDE_MEMORY = "ring-outside-memory"
    AVAILABLE_INDEX = "available-index"
    HEAD_OUTSIDE_TABLE = "head-outside-table"
    NEXT_OUTSIDE_TABLE = "next-outside-table"
    CHAIN_TOO_LONG = "chain-too-long"
    INDIRECT_NOT_NEGOTIATED = "indirect-not-negotiated"
    INDIRECT_NESTED = "indirect-nested"
    INDIRECT_WITH_NEXT = "indirect-with-next"
    INDIRECT_LENGTH = "indirect-length"
    INDIRECT_STRAY = "indirect-stray"
    READABLE_AFTER_WRITABLE = "readable-after-writable"
    NO_REQUEST_HEADER = "no-request-header"
    NO_STATUS = "no-status"
    STRAY_REQUEST_HEADER = "stray-request-header"
    STRAY_STATUS = "stray-status"
    ADDRESS_FORMAT = "address-format"
    RESERVED_FLAGS = "reserved-flags"
    WRONG_DIRECTION = "wrong-direction"
    MESSAGE_TOO_LONG = "message-too-long"
    ZERO_LENGTH = "zero-length"
    GROUP_UNFINISHED = "group-unfinished"
    FEATURE_MISSING = "feature-missing"
    FRONTEND_MESSAGE = "frontend-message"
    USBREDIR = "usbredir"
    # The device's own rules: what no guest can cause.
    DEVICE_USED_LENGTH = "device-used-length"
    DEVICE_USED_TWICE = "device-used-twice"


class Violation(NamedTuple):
    """One broken rule, with the numbers that broke it."""

    what: What
    why: str


class Descriptor(NamedTuple):
    """One element of a request: ``length`` bytes at ``address``, which the device may write or only read."""

    address: int
    length: int
    writable: bool


class Chain(NamedTuple):
    """One request. ``violation`` says why ``descriptors`` cannot be trusted; it must be given back all the same."""

    head: int
    descriptors: list[Descriptor]
    violation: Violation | None = None


class Published(NamedTuple):
    """``call``: the guest wants to be told. ``more``: a request has come since, of which nobody will tell."""

    call: bool
    more: bool


_NOTHING = Published(False, False)


class _Rings(NamedTuple):
    """The three parts where they lie in our own memory, and the tables' generation at which that was true."""

    descriptors: Slot
    available: Slot
    used: Slot
    generation: int


class Vring:
    """One queue. Set ``size``, ``features``, ``base`` and the addresses, then ``peek``, ``give_back`` and ``publish``.

    ``address_space`` is where descriptors point. The addresses of the ring itself are the frontend's own, unless
    ``iotlb`` is in use: then they are I/O virtual addresses too, and every method may raise IotlbMiss without having
    changed anything.
    """

    def __init__(self, memory: GuestMemory, iotlb: Iotlb) -> None:
        self._memory = memory
        self._iotlb = iotlb
        # A space of the machine's own, where it has one (strict.py).
        self.strict: AddressSpace | None = None
        self.reset()

    def reset(self) -> None:
        """As after a device reset: no size, no addresses, nothing negotiated."""
        self.size = 0
        self.features = 0
        self.addresses: tuple[int, int, int] | None = None
        self._rings: _Rings | None = None
        self.set_base(0)

    def set_features(self, features: int) -> None:
        """The features that driver and device agreed on."""
        self.features = features
        self._rings = None

    def set_base(self, base: int) -> None:
        """The next entry of the available ring to look at, modulo 65536."""
        self.base = base
        self._used_index: int | None = None
        self._signalled: int | None = None
        self._taken = False
        self.broken: Violation | None = None

    @property
    def address_space(self) -> AddressSpace:
        return self.strict or (self._iotlb if self.features & F_ACCESS_PLATFORM else self._memory)

    def set_addresses(self, descriptors: int, available: int, used: int) -> str | None:
        """What is wrong with the addresses, or None. Alignments are those of VIRTIO 1.2, section 2.7."""
        for name, address, alignment in (
            ("descriptor table", descriptors, 16),
            ("available ring", available, 2),
            ("used ring", used, 4),
        ):
            if address % alignment:
                return f"the {name} at {address:#x} is not aligned to {alignment} bytes"
        self.addresses = (descriptors, available, used)
        self._rings = None
        self.broken = None
        return None

    def peek(self) -> Chain | Violation | None:
        """The next request, None if there is none, or a Violation if the ring cannot be read at all.

        A request stays the next one until ``give_back``. A Violation is reported once; the ring is then ``broken``
        and gives nothing until it is set up again.
        """
        if self.broken is not None:
            return None
        rings = self._resolve()
        if rings is None:
            if self.addresses is None or not self.size:
                return None
            return self._break(What.RING_OUTSIDE_MEMORY, "the ring does not lie in guest memory")
        buffer, offset = rings.available
        (index,) = _U16.unpack_from(buffer, offset + 2)
        waiting = (index - self.base) & 0xFFFF
        if not waiting:
            return None
        if waiting > self.size:
            why = f"the available index went from {self.base} to {index} in a ring of {self.size}"
            return self._break(What.AVAILABLE_INDEX, why)
        entry = offset + _RING_HEADER_BYTES + _AVAIL_ENTRY_BYTES * (self.base % self.size)
        (head,) = _U16.unpack_from(buffer, entry)
        self._taken = True
        if head >= self.size:
            return Chain(head, [], Violation(What.HEAD_OUTSIDE_TABLE, f"head {head} in a table of {self.size}"))
        return self._walk(head, rings.descriptors)

    def ready(self) -> None:
        """Raises IotlbMiss if a part of the ring must be asked for; otherwise ``give_back`` will not."""
        self._resolve()

    def give_back(self, chain: Chain, length: int) -> Violation | None:
        """Marks the peeked request as used, ``length`` bytes written. The guest sees it after ``publish``.

        The Violation is the device's own: it is done all the same.
        """
        rings = self._resolve()
        wrong = self._dishonest(chain, length)
        if self._taken:
            self.base = (self.base + 1) & 0xFFFF
            self._taken = False
        if rings is None or chain.head >= self.size:
            return wrong
        buffer, offset = rings.used
        if self._used_index is None:
            (self._used_index,) = _U16.unpack_from(buffer, offset + 2)
        if self._signalled is None:
            self._signalled = self._used_index
        entry = offset + _RING_HEADER_BYTES + _USED_ENTRY_BYTES * (self._used_index % self.size)
        _USED_ENTRY.pack_into(buffer, entry, chain.head, length)
        self._used_index = (self._used_index + 1) & 0xFFFF
        return wrong

    def forget(self) -> None:
        """Goes on to the next request without giving this one back, as no device should."""
        self.base = (self.base + 1) & 0xFFFF
        self._taken = False

    def _dishonest(self, chain: Chain, length: int) -> Violation | None:
        """What the device behind this queue does wrong: no driver is bound to check it (VIRTIO 1.2, 2.7.8.2)."""
        if not self._taken:
            return Violation(What.DEVICE_USED_TWICE, f"the device completed request {chain.head} more than once")
        room = sum([size for _address, size, writable in chain.descriptors if writable])
        if length > room:
            why = f"the device claims to have written {length} bytes into a request with room for {room}"
            return Violation(What.DEVICE_USED_LENGTH, why)
        return None

    def publish(self) -> Published:
        """Shows the guest what was given back, and asks to be told of more (VIRTIO 1.2, 2.7.7 and 2.7.10)."""
        rings = self._resolve()
        if rings is None:
            return _NOTHING
        used, used_at, available, available_at = *rings.used, *rings.available
        now, before = self._used_index, self._signalled
        event_idx = self.features & F_EVENT_IDX
        if now != before:
            _barrier()
            _U16.pack_into(used, used_at + 2, now)
        if event_idx:
            _U16.pack_into(used, used_at + _RING_HEADER_BYTES + _USED_ENTRY_BYTES * self.size, self.base)
        _barrier()
        self._signalled = now
        flags, index = _TWO_U16.unpack_from(available, available_at)
        more = index != self.base and self.broken is None
        if now is None or before is None or now == before:
            return Published(False, more)
        if not event_idx:
            return Published(not flags & _AVAIL_F_NO_INTERRUPT, more)
        (wanted,) = _U16.unpack_from(available, available_at + _RING_HEADER_BYTES + _AVAIL_ENTRY_BYTES * self.size)
        return Published((now - wanted - 1) & 0xFFFF < (now - before) & 0xFFFF, more)

    def _break(self, what: What, why: str) -> Violation:
        self.broken = Violation(what, why)
        return self.broken

    def _resolve(self) -> _Rings | None:
        """Where the ring lies now, or None. May raise IotlbMiss."""
        # Both only ever grow, so an equal sum means that neither has changed.
        generation = self._memory.generation + self._iotlb.generation
        rings = self._rings
        if rings is not None and rings.generation == generation:
            return rings
        self._rings = None
        if self.addresses is None or not self.size:
            return None
        event = _EVENT_BYTES if self.features & F_EVENT_IDX else 0
        wanted = (
            (self.addresses[0], _DESCRIPTOR_BYTES * self.size, False),
            (self.addresses[1], _RING_HEADER_BYTES + _AVAIL_ENTRY_BYTES * self.size + event, False),
            (self.addresses[2], _RING_HEADER_BYTES + _USED_ENTRY_BYTES * self.size + event, True),
        )
        slots = []
        for address, length, write in wanted:
            if self.features & F_ACCESS_PLATFORM:
                slot = self._iotlb.slot(address, length, write)
            else:
                slot = self._memory.user_slot(address, length)
            if slot is None:
                return None
            slots.append(slot)
        self._rings = _Rings(slots[0], slots[1], slots[2], generation)
        return self._rings

    def _walk(self, head: int, table: Slot) -> Chain:
        """Follows a chain from ``head``. At most ``size`` descriptors in all, which also ends every loop."""
        found: list[Descriptor] = []
        buffer: mmap | bytes
        buffer, offset = table
        entries = self.size
        at = head
        indirect = False
        while True:
            address, length, flags, following = _DESCRIPTOR.unpack_from(buffer, offset + _DESCRIPTOR_BYTES * at)
            if flags & _F_INDIRECT:
                wrong = self._wrong_indirect(length, flags, indirect)
                if wrong is not None:
                    return Chain(head, found, wrong)
                # A copy: the guest cannot change the table between the check and the use.
                reach = self.address_space.reach(address, length, False)
                if reach is None:
                    why = f"the indirect table at {address:#x} lies outside guest memory"
                    return Chain(head, found, Violation(What.INDIRECT_STRAY, why))
                buffer, offset, entries, at, indirect = fetch(reach), 0, length // _DESCRIPTOR_BYTES, 0, True
                continue
            if found and found[-1].writable and not flags & _F_WRITE:
                why = f"descriptor {at} is readable after a writable one"
                return Chain(head, found, Violation(What.READABLE_AFTER_WRITABLE, why))
            found.append(Descriptor(address, length, bool(flags & _F_WRITE)))
            if not flags & _F_NEXT:
                return Chain(head, found)
            if following >= entries:
                why = f"descriptor {at} continues at {following} in a table of {entries}"
                return Chain(head, found, Violation(What.NEXT_OUTSIDE_TABLE, why))
            if len(found) >= self.size:
                why = f"more than {self.size} descriptors from head {head}, or a loop"
                return Chain(head, found, Violation(What.CHAIN_TOO_LONG, why))
            at = following

    def _wrong_indirect(self, length: int, flags: int, nested: bool) -> Violation | None:
        if not self.features & F_INDIRECT_DESC:
            return Violation(What.INDIRECT_NOT_NEGOTIATED, "an indirect descriptor was not negotiated")
        if nested:
            return Violation(What.INDIRECT_NESTED, "an indirect table refers to another one")
        if flags & _F_NEXT:
            return Violation(What.INDIRECT_WITH_NEXT, "an indirect descriptor is followed by another one")
        # No chain may be longer than the queue (VIRTIO 1.2, section 2.7.5.3.1), so no table need be.
        if not length or length % _DESCRIPTOR_BYTES or length > self.size * _DESCRIPTOR_BYTES:
            return Violation(What.INDIRECT_LENGTH, f"an indirect table of {length} bytes")
        return None
