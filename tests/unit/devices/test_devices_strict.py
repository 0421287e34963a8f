# SPDX-License-Identifier: GPL-2.0-or-later
"""The strict machine's table as the hardware reads it: what is mapped is reached, all else is refused and noted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

import pytest
from devices_frontend import GuestRam

from dmasafe.devices import strict
from dmasafe.devices.guest_memory import GuestMemory, fetch
from dmasafe.devices.strict import BEYOND, DIRECTION, LIVE, READABLE, UNMAPPED, WRITABLE, StrictSpace

HEADER, ENTRIES, CHUNK = 0x1000, 0x2000, 0x40000
PAGES = 16
DEVICE = "0000:00:06.0"
DRIVERS_OWN = 0x9020
# A mapping of 32 bytes in the third page, seen from the table; the device may write to it.
BUS = CHUNK + 2 * strict.PAGE_BYTES + 0x20
IMAGES = Path(__file__).parents[3] / "images" / "strict"


class Table:
    """A machine's table in memory, as strict_table.c makes it."""

    def __init__(self, ram: GuestRam) -> None:
        self.ram = ram
        memory = GuestMemory()
        memory.replace([ram.spec], [ram.fd])
        chunks = [CHUNK] + [0] * (strict.CHUNKS - 1)
        ram.write(HEADER, Struct(f"<8sIIQ{strict.CHUNKS}Q").pack(strict.MAGIC, PAGES, PAGES, ENTRIES, *chunks))
        self.space = StrictSpace(memory, HEADER, DEVICE)

    def enter(self, page: int, flags: int, size: int = 32, number: int = 7) -> None:
        entry = Struct("<QQIII4x").pack(BUS, DRIVERS_OWN, size, flags, number)
        self.ram.write(ENTRIES + page * len(entry), entry)

    def noted(self) -> list[tuple[int, int, int, bool, int, str]]:
        """(address, bytes, mapping, write, why, device) of each refusal."""
        at = HEADER + Struct(f"<8sIIQ{strict.CHUNKS}Q").size
        (count,) = Struct("<I").unpack(self.ram.read(at, 4))
        row = Struct("<QIIBB6x16s")
        found = []
        for number in range(count):
            place = at + 8 + number % strict.REFUSALS * row.size
            address, size, mapping, write, why, device = row.unpack(self.ram.read(place, row.size))
            found.append((address, size, mapping, bool(write), why, device.rstrip(b"\0").decode()))
        return found


@pytest.fixture
def table() -> Iterator[Table]:
    ram = GuestRam()
    yield Table(ram)
    ram.close()


def test_what_is_mapped_is_reached_and_stands_for_the_drivers_own_memory(table: Table) -> None:
    table.enter(2, LIVE | READABLE)
    table.ram.write(BUS, b"bytes to send")
    reach = table.space.reach(BUS + 1, 12, False)
    assert reach is not None and fetch(reach) == b"ytes to send"
    assert table.space.physical(BUS + 1, reach) == DRIVERS_OWN + 1
    assert table.noted() == []


@pytest.mark.parametrize(
    ("flags", "address", "size", "write", "why", "number"),
    [
        (0, BUS, 32, True, UNMAPPED, 7),
        (LIVE | WRITABLE, BUS - 1, 1, True, UNMAPPED, 7),
        (LIVE | WRITABLE, BUS + 32, 1, True, BEYOND, 7),
        (LIVE | WRITABLE, BUS + 32 + strict.REDZONE_BYTES, 1, True, UNMAPPED, 7),
        (LIVE | WRITABLE, BUS, 33, True, BEYOND, 7),
        (LIVE | WRITABLE, BUS + 31, 2, True, BEYOND, 7),
        (LIVE | WRITABLE, BUS, 32, False, DIRECTION, 7),
        (LIVE | READABLE, BUS, 32, True, DIRECTION, 7),
        (LIVE | WRITABLE, CHUNK + 3 * strict.PAGE_BYTES, 1, True, UNMAPPED, 0),
        (LIVE | WRITABLE, DRIVERS_OWN, 32, True, UNMAPPED, 0),
        (LIVE | WRITABLE, (1 << 64) - 1, 32, True, UNMAPPED, 0),
    ],
)
def test_all_else_is_refused_and_noted(
    table: Table, flags: int, address: int, size: int, write: bool, why: int, number: int
) -> None:
    table.enter(2, flags)
    assert table.space.reach(address, size, write) is None
    assert table.noted() == [(address, size, number, write, why, DEVICE)]


def test_both_ways_are_open_where_a_mapping_goes_both_ways(table: Table) -> None:
    table.enter(2, LIVE | READABLE | WRITABLE)
    assert table.space.reach(BUS, 32, True) and table.space.reach(BUS, 32, False)


def test_more_refusals_than_there_is_room_for_are_counted_all_the_same(table: Table) -> None:
    for _ in range(strict.REFUSALS + 1):
        table.space.reach(BUS, 1, True)
    assert len(table.noted()) == strict.REFUSALS + 1


def test_nothing_is_reached_by_a_table_that_is_none(table: Table) -> None:
    table.enter(2, LIVE | READABLE)
    table.ram.write(HEADER, b"\0" * 8)
    assert table.space.reach(BUS, 1, False) is None
    assert StrictSpace(GuestMemory(), HEADER, DEVICE).reach(BUS, 1, False) is None


def test_the_layout_is_that_of_the_module() -> None:
    text = (IMAGES / "strict_table.c").read_text()
    assert re.search(r'memcpy\(header->magic, "(\w+)"', text)[1].encode() == strict.MAGIC  # type: ignore[index]
    defines = dict(re.findall(r"#define (CHUNKS|REFUSALS|REFUSED_\w+) (\d+)", text))
    bits = dict(re.findall(r"#define (ENTRY_\w+) BIT\((\d)\)", text))
    assert defines == {
        "CHUNKS": str(strict.CHUNKS),
        "REFUSALS": str(strict.REFUSALS),
        "REFUSED_UNMAPPED": str(UNMAPPED),
        "REFUSED_BEYOND": str(BEYOND),
        "REFUSED_DIRECTION": str(DIRECTION),
    }
    assert {name: 1 << int(bit) for name, bit in bits.items()} == {
        "ENTRY_LIVE": LIVE,
        "ENTRY_DEVICE_READS": READABLE,
        "ENTRY_DEVICE_WRITES": WRITABLE,
    }
