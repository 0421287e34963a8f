# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest memory: what is in the table is reached, everything else is stray, nothing raises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from devices_frontend import USER_BASE, GuestRam

from dmasafe.devices.errors import MemoryTableError
from dmasafe.devices.guest_memory import GuestMemory, RegionSpec, fetch, store

END = 1 << 64


@pytest.fixture
def rams() -> Iterator[list[GuestRam]]:
    """Two regions that meet at 0x10000, and one far above."""
    found = [GuestRam(0x10000), GuestRam(0x10000, 0x10000), GuestRam(0x1000, 1 << 32)]
    yield found
    for ram in found:
        ram.close()


@pytest.fixture
def memory(rams: list[GuestRam]) -> GuestMemory:
    found = GuestMemory()
    found.replace([ram.spec for ram in rams], [ram.fd for ram in rams])
    return found


def test_memory_is_shared_with_the_guest(memory: GuestMemory, rams: list[GuestRam]) -> None:
    rams[2].write((1 << 32) + 16, b"hello")
    reach = memory.reach((1 << 32) + 16, 5, True)
    assert reach is not None and fetch(reach) == b"hello"
    store(reach, b"world")
    assert rams[2].read((1 << 32) + 16, 5) == b"world"


def test_a_range_may_run_on_into_the_next_region(memory: GuestMemory, rams: list[GuestRam]) -> None:
    reach = memory.reach(0xFFFC, 8, True)
    assert reach is not None
    store(reach, b"12345678")
    assert rams[0].read(0xFFFC, 4) + rams[1].read(0x10000, 4) == b"12345678"
    assert fetch(reach) == b"12345678"
    assert memory.slot(0xFFFC, 8) is None


@pytest.mark.parametrize(
    ("address", "length"),
    [
        (0x20000, 1),
        (0x1FFFF, 2),
        (0x2000E0C0, 8),
        ((1 << 32) - 1, 2),
        (END - 1, 1),
        (END - 4, 8),
        (0, 1 << 63),
        (0, END),
    ],
)
def test_anything_else_is_stray(memory: GuestMemory, address: int, length: int) -> None:
    assert memory.reach(address, length, False) is None
    assert memory.slot(address, length) is None


def test_without_a_table_everything_is_stray() -> None:
    assert GuestMemory().reach(0, 1, False) is None


def test_user_addresses_are_the_frontends(memory: GuestMemory, rams: list[GuestRam]) -> None:
    rams[1].write(0x10010, b"x")
    slot = memory.user_slot(USER_BASE + 0x10010, 1)
    assert slot is not None and slot[0][slot[1]] == ord("x")
    assert memory.user_slot(0x10010, 1) is None


def test_a_region_may_start_anywhere_in_its_file(rams: list[GuestRam]) -> None:
    rams[0].write(0x1234, b"here")
    memory = GuestMemory()
    memory.replace([RegionSpec(0x5000, 0x100, USER_BASE, 0x1234)], [rams[0].fd])
    reach = memory.reach(0x5000, 4, False)
    assert reach is not None and fetch(reach) == b"here"


@pytest.mark.parametrize(
    "specs",
    [
        [RegionSpec(0, 0, USER_BASE, 0)],
        [RegionSpec(END - 1, 2, USER_BASE, 0)],
        [RegionSpec(0, 0x1000, END - 1, 0)],
        [RegionSpec(0, 0x1000, USER_BASE, END - 0x1000)],
        [RegionSpec(0, 1 << 62, USER_BASE, 0)],
        [RegionSpec(0, 0x20000, USER_BASE, 0)],
        [RegionSpec(0, 0x1000, USER_BASE, 0), RegionSpec(0x800, 0x1000, USER_BASE + 0x10000, 0)],
        [RegionSpec(0, 0x1000, USER_BASE, 0), RegionSpec(0x8000, 0x1000, USER_BASE + 0x800, 0)],
    ],
    ids=["empty", "guest end", "user end", "offset", "huge", "larger than the file", "overlap", "user overlap"],
)
def test_an_impossible_table_is_refused_and_the_old_one_stays(
    memory: GuestMemory, rams: list[GuestRam], specs: list[RegionSpec]
) -> None:
    with pytest.raises(MemoryTableError):
        memory.replace(specs, [rams[0].fd] * len(specs))
    assert memory.reach(0, 1, False) is not None


def test_a_descriptor_that_is_no_memory_is_refused(memory: GuestMemory) -> None:
    with pytest.raises(MemoryTableError):
        memory.replace([RegionSpec(0, 0x1000, USER_BASE, 0)], [99999])
    with pytest.raises(MemoryTableError):
        memory.replace([RegionSpec(0, 0x1000, USER_BASE, 0)], [])


def test_a_new_table_is_a_new_generation(memory: GuestMemory) -> None:
    before = memory.generation
    memory.close()
    assert memory.generation > before
    assert memory.reach(0, 1, False) is None
