# SPDX-License-Identifier: GPL-2.0-or-later
"""The IOTLB: asks first, remembers answers, forgets when told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from devices_frontend import USER_BASE, GuestRam

from dmasafe.devices.guest_memory import GuestMemory, fetch
from dmasafe.devices.iotlb import MAX_ENTRIES, READ, WRITE, Iotlb, IotlbMiss

IOVA = 0xFFFF0000


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    found = GuestRam()
    yield found
    found.close()


@pytest.fixture
def iotlb(ram: GuestRam) -> Iotlb:
    memory = GuestMemory()
    memory.replace([ram.spec], [ram.fd])
    return Iotlb(memory)


def test_an_unknown_address_must_be_asked_for(iotlb: Iotlb) -> None:
    with pytest.raises(IotlbMiss) as miss:
        iotlb.reach(IOVA, 8, True)
    assert (miss.value.address, miss.value.write) == (IOVA, True)


def test_a_mapping_is_followed_across_pages_that_lie_apart(iotlb: Iotlb, ram: GuestRam) -> None:
    iotlb.update(IOVA, 0x1000, USER_BASE + 0x8000, READ)
    iotlb.update(IOVA + 0x1000, 0x1000, USER_BASE + 0x2000, READ)
    ram.write(0x8FFE, b"ab")
    ram.write(0x2000, b"cd")
    reach = iotlb.reach(IOVA + 0xFFE, 4, False)
    assert reach is not None and fetch(reach) == b"abcd"
    assert iotlb.slot(IOVA + 0xFFE, 4, False) is None, "a ring must lie in one piece"
    assert iotlb.slot(IOVA + 0xFFC, 4, False) is not None


def test_permission_counts(iotlb: Iotlb) -> None:
    iotlb.update(IOVA, 0x1000, USER_BASE, READ)
    assert iotlb.reach(IOVA, 1, False) is not None
    with pytest.raises(IotlbMiss):
        iotlb.reach(IOVA, 1, True)


def test_a_refused_page_is_stray_until_asked_again(iotlb: Iotlb) -> None:
    iotlb.deny(IOVA, False)
    assert iotlb.reach(IOVA + 4, 4, False) is None
    with pytest.raises(IotlbMiss):
        iotlb.reach(IOVA, 4, True)
    iotlb.allow_again()
    with pytest.raises(IotlbMiss):
        iotlb.reach(IOVA, 4, False)


def test_invalidation_forgets_what_it_touches(iotlb: Iotlb) -> None:
    iotlb.update(IOVA, 0x1000, USER_BASE, READ | WRITE)
    iotlb.update(IOVA + 0x1000, 0x1000, USER_BASE, READ | WRITE)
    iotlb.invalidate(IOVA + 0xFFF, 1)
    with pytest.raises(IotlbMiss):
        iotlb.reach(IOVA, 1, False)
    assert iotlb.reach(IOVA + 0x1000, 1, False) is not None


def test_a_mapping_to_nowhere_is_stray(iotlb: Iotlb) -> None:
    iotlb.update(IOVA, 0x1000, 0x1000, READ)
    assert iotlb.reach(IOVA, 1, False) is None


def test_impossible_entries_are_refused_and_the_table_is_bounded(iotlb: Iotlb) -> None:
    assert not iotlb.update(0, 0, USER_BASE, READ)
    assert not iotlb.update((1 << 64) - 1, 2, USER_BASE, READ)
    assert not iotlb.update(0, 1, USER_BASE, 7)
    for page in range(MAX_ENTRIES + 1):
        iotlb.update(page << 12, 0x1000, USER_BASE, READ)
    with pytest.raises(IotlbMiss):
        iotlb.reach(0, 1, False)
    assert iotlb.reach(MAX_ENTRIES << 12, 1, False) is not None
