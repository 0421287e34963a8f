# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptor chains from a hostile guest: ``python tests/fuzz/fuzz_devices.py --count 1000000``, or --seconds.

What must hold is check(): no exception, bounded work, and not a byte outside guest memory read or written.
"""

from __future__ import annotations

import json
import mmap
import os
import secrets
import struct

import fuzzing

with fuzzing.instrumented():
    from dmasafe.devices import trace
    from dmasafe.devices.bus import default_bus
    from dmasafe.devices.guest_memory import GuestMemory, RegionSpec
    from dmasafe.devices.iotlb import READ, WRITE, Iotlb, IotlbMiss
    from dmasafe.devices.lies import LIES
    from dmasafe.devices.virtio_i2c import Mailbox, VirtioI2c
    from dmasafe.devices.vring import F_ACCESS_PLATFORM, F_EVENT_IDX, F_INDIRECT_DESC, Chain, Violation, Vring

# Two regions of guest memory with a hole between them, in a file with something secret around each.
PAGE = 0x1000
LOW, HIGH = 0x10000, 0x8000
HOLE = 0x4000
HIGH_START = LOW + HOLE
GUARD = 0x800
USER = 0x7F00_0000_0000
QUEUE, HEADERS, TABLE, PAYLOAD = 0x1000, 0x4000, 0x8000, 0xC000
SIZES = (1, 2, 4, 8, 16, 64)
# A payload of one message, the header of the next read as data, and the like: it takes many to fill this.
MAX_WORK_BYTES = 1 << 24
ADDRESSES = (
    0, QUEUE, QUEUE + 16, HEADERS, TABLE, PAYLOAD, LOW - 1, LOW - 8, LOW, LOW + 1, HIGH_START - 1, HIGH_START,
    HIGH_START + HIGH - 1, HIGH_START + HIGH, 0x2000E0C0, 2**32 - 1, 2**63, 2**64 - 16, 2**64 - 1,
)  # fmt: skip
LENGTHS = (0, 1, 2, 7, 8, 9, 16, 32, 48, 64, 256, 4096, LOW, 65535, 65536, 2**31, 2**32 - 1)


class Bytes:
    """A fuzzer's bytes as choices; zeros when they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken.ljust(size, b"\0")

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def pick(self, choices: tuple[int, ...], raw_bytes: int) -> int:
        """One of ``choices``, one near by, or any number."""
        how = self.number(1)
        if how < 0xC0:
            return choices[how % len(choices)]
        if how < 0xE0:
            return (choices[self.number(1) % len(choices)] + self.number(1) - 128) % (1 << 8 * raw_bytes)
        return self.number(raw_bytes)


class Guest:
    """Guest memory in a file whose other parts nobody may see or touch."""

    def __init__(self) -> None:
        self.secret = secrets.token_bytes(16)
        size = GUARD + LOW + PAGE + HIGH + PAGE
        self.fd = os.memfd_create("fuzz")
        os.ftruncate(self.fd, size)
        self.file = mmap.mmap(self.fd, size)
        self.low = GUARD
        self.high = GUARD + LOW + PAGE
        # Offsets off the page, so that the mappings reach beyond the regions at both ends.
        self.specs = [RegionSpec(0, LOW, USER, self.low), RegionSpec(HIGH_START, HIGH, USER + HIGH_START, self.high)]
        self._outside = [(0, self.low), (self.low + LOW, self.high), (self.high + HIGH, size)]
        for start, end in self._outside:
            self.file[start:end] = self.secret * ((end - start) // 16)
        self._guards = [self.file[start:end] for start, end in self._outside]
        self._zeros = bytes(LOW)

    def clear(self) -> None:
        self.file[self.low : self.low + LOW] = self._zeros

    def write(self, address: int, data: bytes) -> None:
        self.file[self.low + address : self.low + address + len(data)] = data

    def untouched(self) -> bool:
        return all(self.file[a:b] == guard for (a, b), guard in zip(self._outside, self._guards, strict=True))


GUEST = Guest()
MEMORY = GuestMemory()
MEMORY.replace(GUEST.specs, [GUEST.fd, GUEST.fd])


def _row(source: Bytes, size: int) -> bytes:
    address, length = source.pick(ADDRESSES, 8), source.pick(LENGTHS, 4)
    how = source.number(1)
    following = how >> 4 if how & 8 else size
    # INDIRECT in one row of eight only: it hides the rest.
    flags = how & 3 | (4 if how & 7 == 7 else 0)
    return struct.pack("<QIHH", address, length, flags, following & 0xFFFF if following < size else source.number(2))


def _chain(source: Bytes, size: int, at: int) -> bytes:
    """A request as a driver would make it, but for one thing or another."""
    how = source.number(1)
    rows = [(HEADERS + 8 * (how & 7), 8, 1), (source.pick(ADDRESSES, 8), source.pick(LENGTHS, 4), 1 | how >> 4 & 2)]
    rows.append((PAYLOAD - 1, 1, 2))
    return b"".join(
        struct.pack("<QIHH", address, length, flags, (at + number + 1) % size)
        for number, (address, length, flags) in enumerate(rows)
    )


def _queue(source: Bytes) -> tuple[int, int, list[int]]:
    """Fills the guest's memory; the queue's size, its features, and the heads on offer."""
    shape = source.number(1)
    size = SIZES[shape % len(SIZES)]
    features = (F_INDIRECT_DESC if shape & 0x40 else 0) | (F_EVENT_IDX if shape & 0x80 else 0)
    features |= F_ACCESS_PLATFORM if source.number(1) & 1 else 0
    table = b""
    while len(table) < 16 * size:
        table += _chain(source, size, len(table) // 16) if source.number(1) & 1 else _row(source, size)
    GUEST.write(QUEUE, table[: 16 * size])
    GUEST.write(TABLE, b"".join(_row(source, 4) for _ in range(4)))
    addresses = (0x30, 0x20, 0x40, 0x50, 0x51, 0x60, 0x68, 0x77)
    for number in range(8):
        how = source.number(1)
        GUEST.write(
            HEADERS + 8 * number,
            struct.pack("<HHI", addresses[how & 7] << 1, 0, how >> 3 & 3) if how < 0xE0 else source.take(8),
        )
    heads = [source.number(1) % (size + 1) if how < 0xF0 else source.number(2) for how in source.take(1 + size // 2)]
    return size, features, heads


def check(data: bytes) -> int:
    """The number of chains handled."""
    source = Bytes(data)
    GUEST.clear()
    size, features, heads = _queue(source)
    behind_iommu = bool(features & F_ACCESS_PLATFORM)
    available, used = QUEUE + 16 * size, QUEUE + 16 * size + 256
    iotlb = Iotlb(MEMORY)
    vring = Vring(MEMORY, iotlb)
    vring.size = size
    vring.set_features(features)
    base = 0 if behind_iommu else USER
    assert vring.set_addresses(base + QUEUE, base + available, base + used) is None
    ahead = source.number(1)
    index = len(heads) if ahead < 0xF8 else source.number(2)
    GUEST.write(available, struct.pack(f"<HH{len(heads)}H", ahead & 1, index, *heads))
    work = 0

    def seen(record: trace.Record) -> None:
        nonlocal work
        work += len(record.data)
        assert GUEST.secret not in record.data, "bytes from outside guest memory"
        if ahead & 2:
            json.loads(trace.line(record))

    mailbox = Mailbox()
    mailbox.address = source.pick(ADDRESSES, 8)
    device = VirtioI2c("virtio", default_bus(), mailbox, seen, lambda violation, _seq: str(violation) and None)
    lie = tuple(LIES.values())[source.number(1) % len(LIES)] if ahead & 4 else None
    handled = misses = 0
    while handled < 4 * size:
        try:
            chain = vring.peek()
            if chain is None or isinstance(chain, Violation):
                break
            assert isinstance(chain, Chain) and len(chain.descriptors) <= size
            job = device.handle(chain, vring.address_space, MEMORY)
            if lie is not None:
                job.falsify(lie.flip)
            vring.ready()
            length = job.finish()
            assert 0 <= length <= 65536
            wrong = vring.give_back(chain, length)
            assert wrong is None, wrong
            handled += 1
            work += length
            assert work < MAX_WORK_BYTES
        except IotlbMiss as miss:
            misses += 1
            assert misses < 4000, "misses without end"
            start = miss.address & ~(PAGE - 1)
            if start < HIGH_START + HIGH and not LOW <= start < HIGH_START:
                iotlb.update(start, PAGE, USER + start, READ | WRITE)
            else:
                iotlb.deny(miss.address, miss.write)
    vring.publish()
    assert GUEST.untouched(), "bytes outside guest memory were written"
    return handled


if __name__ == "__main__":
    fuzzing.main(check, "devices", "descriptor chains")
