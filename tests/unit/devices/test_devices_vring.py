# SPDX-License-Identifier: GPL-2.0-or-later
"""The device's side of a virtqueue: requests come out whole, and broken rules come out with a name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from devices_frontend import I2C_FEATURES, INDIRECT, NEXT, USER_BASE, WRITE, DriverQueue, GuestRam, Part

from dmasafe.devices.guest_memory import GuestMemory
from dmasafe.devices.iotlb import READ, Iotlb, IotlbMiss
from dmasafe.devices.iotlb import WRITE as IOTLB_WRITE
from dmasafe.devices.vring import (
    F_ACCESS_PLATFORM,
    F_EVENT_IDX,
    F_INDIRECT_DESC,
    Chain,
    Descriptor,
    Violation,
    Vring,
    What,
)

PARTS = [Part(0x4000, 8), Part(0x5000, 100), Part(0x6000, 1, True)]
DESCRIPTORS = [Descriptor(0x4000, 8, False), Descriptor(0x5000, 100, False), Descriptor(0x6000, 1, True)]


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    found = GuestRam()
    yield found
    found.close()


@pytest.fixture
def memory(ram: GuestRam) -> GuestMemory:
    found = GuestMemory()
    found.replace([ram.spec], [ram.fd])
    return found


@pytest.fixture
def queue(ram: GuestRam) -> DriverQueue:
    return DriverQueue(ram, size=8)


@pytest.fixture
def vring(memory: GuestMemory, queue: DriverQueue) -> Vring:
    return ready(Vring(memory, Iotlb(memory)), queue)


def ready(vring: Vring, queue: DriverQueue, features: int = I2C_FEATURES) -> Vring:
    vring.size = queue.size
    vring.set_features(features)
    offset = 0 if features & F_ACCESS_PLATFORM else USER_BASE
    assert vring.set_addresses(offset + queue.descriptors, offset + queue.available, offset + queue.used) is None
    return vring


def chain_of(vring: Vring) -> Chain:
    chain = vring.peek()
    assert isinstance(chain, Chain)
    return chain


def broken(vring: Vring) -> What:
    chain = chain_of(vring)
    assert chain.violation is not None
    assert chain.violation.why
    return chain.violation.what


def test_a_direct_chain(vring: Vring, queue: DriverQueue) -> None:
    assert vring.peek() is None
    head = queue.add(PARTS)
    assert vring.peek() == Chain(head, DESCRIPTORS)
    assert vring.peek() == Chain(head, DESCRIPTORS), "it stays until given back"


def test_an_indirect_chain(vring: Vring, queue: DriverQueue) -> None:
    head = queue.add(PARTS, indirect=0x8000)
    assert vring.peek() == Chain(head, DESCRIPTORS)


def test_requests_come_in_order_and_around_the_end_of_the_ring(vring: Vring, queue: DriverQueue) -> None:
    for number in range(70000):
        head = queue.add([Part(0x4000 + number % 100, 8), Part(0x6000, 1, True)], indirect=0x8000)
        chain = chain_of(vring)
        assert chain.head == head and chain.descriptors[0].address == 0x4000 + number % 100
        vring.give_back(chain, number)
        vring.publish()
        assert queue.done() == [(head, number)]


def test_used_requests_are_not_seen_before_they_are_published(vring: Vring, queue: DriverQueue) -> None:
    queue.add(PARTS)
    queue.add(PARTS)
    vring.give_back(chain_of(vring), 1)
    vring.give_back(chain_of(vring), 2)
    assert queue.done() == []
    vring.publish()
    assert [length for _head, length in queue.done()] == [1, 2]


def test_the_used_index_goes_on_where_the_guest_has_it(vring: Vring, queue: DriverQueue, ram: GuestRam) -> None:
    ram.write(queue.used + 2, b"\xff\xff")
    queue.seen = 0xFFFF
    head = queue.add(PARTS)
    vring.give_back(chain_of(vring), 7)
    vring.publish()
    assert queue.done() == [(head, 7)]
    assert queue.used_index() == 0


def test_a_base_other_than_zero_is_where_it_begins(vring: Vring, queue: DriverQueue) -> None:
    queue.index = 0xFFFE
    for _ in range(4):
        queue.add(PARTS, indirect=0x8000)
    vring.set_base(0xFFFE)
    heads = []
    while (chain := vring.peek()) is not None:
        assert isinstance(chain, Chain)
        heads.append(chain.head)
        vring.give_back(chain, 0)
    assert heads == [0, 1, 2, 3]
    assert vring.base == 2


# Notifications


def test_with_event_idx_the_guest_is_told_when_it_asked_to_be(vring: Vring, queue: DriverQueue) -> None:
    told = []
    for wanted in (0, 5, 2, 2, 4):
        queue.want_event(wanted)
        queue.add(PARTS, indirect=0x8000)
        vring.give_back(chain_of(vring), 0)
        told.append(vring.publish().call)
    assert told == [True, False, True, False, True]


def test_with_event_idx_a_batch_tells_if_the_event_lies_in_it(vring: Vring, queue: DriverQueue) -> None:
    queue.want_event(1)
    for _ in range(3):
        queue.add([Part(0x4000, 8)])
        vring.give_back(chain_of(vring), 0)
    assert vring.publish().call
    assert not vring.publish().call, "only once"


def test_without_event_idx_the_flag_decides(vring: Vring, queue: DriverQueue) -> None:
    vring.set_features(I2C_FEATURES & ~F_EVENT_IDX)
    told = []
    for forbid in (False, True, False):
        queue.forbid_interrupts(forbid)
        queue.add([Part(0x4000, 8)])
        vring.give_back(chain_of(vring), 0)
        told.append(vring.publish().call)
    assert told == [True, False, True]


def test_the_driver_is_asked_to_kick_for_the_next_request(vring: Vring, queue: DriverQueue) -> None:
    queue.add(PARTS)
    vring.give_back(chain_of(vring), 0)
    assert not vring.publish().more
    assert queue.available_event() == 1
    queue.add(PARTS)
    assert vring.publish().more, "it came before we asked: nobody will kick"


# Broken rules


def test_a_loop_ends_at_the_size_of_the_queue(vring: Vring, queue: DriverQueue) -> None:
    queue.descriptor(0, 0x4000, 8, NEXT, 1)
    queue.descriptor(1, 0x4000, 8, NEXT, 0)
    queue.offer(0)
    assert broken(vring) is What.CHAIN_TOO_LONG
    assert len(chain_of(vring).descriptors) <= queue.size


def test_a_loop_in_an_indirect_table_ends_too(vring: Vring, queue: DriverQueue, ram: GuestRam) -> None:
    queue.add(PARTS, indirect=0x8000)
    queue.descriptor(1, 0x8000, 32, INDIRECT)
    ram.write(0x8000, ram.read(0x8000, 12) + b"\x01\x00\x00\x00" + ram.read(0x8000, 12) + b"\x01\x00\x00\x00")
    queue.offer(1)
    vring.give_back(chain_of(vring), 0)
    assert broken(vring) is What.CHAIN_TOO_LONG


def test_heads_and_links_outside_the_table(vring: Vring, queue: DriverQueue) -> None:
    queue.offer(8)
    assert broken(vring) is What.HEAD_OUTSIDE_TABLE
    vring.give_back(chain_of(vring), 0)
    vring.publish()
    assert queue.done() == [], "there is nothing that could be given back"
    queue.descriptor(0, 0x4000, 8, NEXT, 8)
    queue.offer(0)
    assert broken(vring) is What.NEXT_OUTSIDE_TABLE


def test_a_writable_descriptor_before_a_readable_one(vring: Vring, queue: DriverQueue) -> None:
    queue.add([Part(0x4000, 8), Part(0x6000, 1, True), Part(0x5000, 1)])
    assert broken(vring) is What.READABLE_AFTER_WRITABLE


@pytest.mark.parametrize(
    ("address", "length", "flags", "what"),
    [
        (0x8000, 48, INDIRECT | NEXT, What.INDIRECT_WITH_NEXT),
        (0x8000, 0, INDIRECT, What.INDIRECT_LENGTH),
        (0x8000, 47, INDIRECT, What.INDIRECT_LENGTH),
        (0x8000, 16 * 9, INDIRECT, What.INDIRECT_LENGTH),
        (0x8000, 0xFFFFFFF0, INDIRECT, What.INDIRECT_LENGTH),
        (0x2000E0C0, 48, INDIRECT, What.INDIRECT_STRAY),
        ((1 << 64) - 16, 48, INDIRECT, What.INDIRECT_STRAY),
    ],
)
def test_bad_indirect_descriptors(
    vring: Vring, queue: DriverQueue, address: int, length: int, flags: int, what: What
) -> None:
    queue.descriptor(0, address, length, flags)
    queue.offer(0)
    assert broken(vring) is what


def test_indirect_tables_do_not_nest(vring: Vring, queue: DriverQueue, ram: GuestRam) -> None:
    queue.descriptor(0, 0x8000, 16, INDIRECT)
    ram.write(0x8000, ram.read(queue.descriptors, 16))
    queue.offer(0)
    assert broken(vring) is What.INDIRECT_NESTED


def test_an_indirect_descriptor_must_have_been_negotiated(vring: Vring, queue: DriverQueue) -> None:
    vring.set_features(I2C_FEATURES & ~F_INDIRECT_DESC)
    queue.add(PARTS, indirect=0x8000)
    assert broken(vring) is What.INDIRECT_NOT_NEGOTIATED


def test_an_available_index_too_far_ahead_breaks_the_ring_once(vring: Vring, queue: DriverQueue) -> None:
    queue.index = 100
    queue.add(PARTS)
    violation = vring.peek()
    assert isinstance(violation, Violation) and violation.what is What.AVAILABLE_INDEX
    assert vring.peek() is None
    assert not vring.publish().more
    vring.set_base(100)
    assert isinstance(vring.peek(), Chain)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_ring_outside_memory(vring: Vring, queue: DriverQueue, part: int) -> None:
    addresses = [USER_BASE + queue.descriptors, USER_BASE + queue.available, USER_BASE + queue.used]
    # The last eight bytes of memory: it begins inside and ends outside.
    addresses[part] = USER_BASE + queue.ram.spec.size - (16 if part == 0 else 8)
    assert vring.set_addresses(*addresses) is None
    violation = vring.peek()
    assert isinstance(violation, Violation) and violation.what is What.RING_OUTSIDE_MEMORY


def test_misaligned_rings_are_refused(vring: Vring) -> None:
    assert vring.set_addresses(USER_BASE + 8, USER_BASE, USER_BASE)
    assert vring.set_addresses(USER_BASE, USER_BASE + 1, USER_BASE)
    assert vring.set_addresses(USER_BASE, USER_BASE, USER_BASE + 2)


def test_a_ring_follows_its_memory_to_a_new_table(vring: Vring, queue: DriverQueue, memory: GuestMemory) -> None:
    queue.add(PARTS)
    vring.give_back(chain_of(vring), 0)
    memory.replace([queue.ram.spec], [queue.ram.fd])
    vring.publish()
    assert len(queue.done()) == 1
    memory.close()
    queue.add(PARTS)
    violation = vring.peek()
    assert isinstance(violation, Violation) and violation.what is What.RING_OUTSIDE_MEMORY


def test_behind_an_iommu_ring_and_buffers_are_asked_for(memory: GuestMemory, queue: DriverQueue) -> None:
    iotlb = Iotlb(memory)
    vring = ready(Vring(memory, iotlb), queue, I2C_FEATURES | F_ACCESS_PLATFORM)
    head = queue.add(PARTS, indirect=0x8000)
    asked = []
    for _ in range(10):
        try:
            chain = vring.peek()
            break
        except IotlbMiss as miss:
            asked.append((miss.address & ~0xFFF, miss.write))
            iotlb.update(miss.address & ~0xFFF, 0x1000, USER_BASE + (miss.address & ~0xFFF), READ)
            if miss.write:
                iotlb.update(miss.address & ~0xFFF, 0x1000, USER_BASE + (miss.address & ~0xFFF), READ | IOTLB_WRITE)
    assert chain == Chain(head, DESCRIPTORS)
    assert asked == [(0x1000, False), (0x1000, True), (0x8000, False)]


def test_the_flags_mean_what_they_say(vring: Vring, queue: DriverQueue) -> None:
    queue.descriptor(0, 0x4000, 8, NEXT, 3)
    queue.descriptor(3, 0x6000, 1, WRITE, 99)
    queue.offer(0)
    assert vring.peek() == Chain(0, [Descriptor(0x4000, 8, False), Descriptor(0x6000, 1, True)])
