# SPDX-License-Identifier: GPL-2.0-or-later
"""A write-back cache that devices do not see: what memory holds, and what is lost, after each operation."""

import pytest

from dmasafe.model.caches import DataCache

LINE = 64


class Ram:
    """256 bytes, and every access to them."""

    def __init__(self):
        self.data = bytearray(b"m" * 256)
        self.reads, self.writes = [], []

    def read(self, phys, length):
        self.reads.append((phys, length))
        return bytes(self.data[phys : phys + length])

    def write(self, phys, data):
        self.writes.append((phys, len(data)))
        self.data[phys : phys + len(data)] = data


@pytest.fixture
def ram():
    return Ram()


@pytest.fixture
def cache(ram):
    return DataCache(LINE, ram.read, ram.write)


@pytest.mark.parametrize(
    ("phys", "length", "lines"),
    [
        (0, 1, [0]),
        (0, 64, [0]),
        (0, 65, [0, 64]),
        (63, 1, [0]),
        (63, 2, [0, 64]),
        (70, 130, [64, 128, 192]),
        (5, 0, []),
    ],
)
def test_every_line_that_is_touched_is_read_once_and_whole(ram, cache, phys, length, lines):
    for _ in range(2):
        assert cache.load(phys, length) == b"m" * length
    assert ram.reads == [(line, LINE) for line in lines]


def test_a_line_is_stale_until_it_is_invalidated(ram, cache):
    cache.load(60, 8)
    ram.data[:] = b"d" * 256
    assert cache.load(60, 8) == b"m" * 8
    cache.invalidate(0, LINE)
    assert cache.load(60, 8) == b"dddd" + b"mmmm"
    assert cache.load(128, 4) == b"dddd"


def test_a_store_reaches_memory_by_cleaning_as_whole_lines_and_once(ram, cache):
    cache.store(62, b"1234")
    assert ram.data == b"m" * 256 and cache.load(60, 8) == b"mm1234mm"
    cache.clean(64, 1)
    assert ram.writes == [(64, LINE)] and bytes(ram.data[60:68]) == b"mmmm34mm"
    cache.clean(0, 128)
    cache.clean(0, 256)
    assert ram.writes == [(64, LINE), (0, LINE)] and bytes(ram.data[60:68]) == b"mm1234mm"
    # It stays cached: what the device writes now is not seen.
    ram.data[62] = 0
    assert cache.load(62, 1) == b"1"


@pytest.mark.parametrize(
    ("phys", "length", "written"),
    [
        (0, 64, []),
        (0, 63, [(0, LINE)]),
        (1, 63, [(0, LINE)]),
        (0, 65, [(64, LINE)]),
        (32, 128, [(0, LINE), (128, LINE)]),
    ],
)
def test_invalidating_loses_whole_lines_and_cleans_those_it_covers_partly(ram, cache, phys, length, written):
    cache.store(0, b"s" * 192)
    cache.invalidate(phys, length)
    assert ram.writes == written
    cleaned = {start for start, _length in written}
    touched = range(phys // LINE * LINE, phys + length, LINE)
    for line in touched:
        assert cache.load(line, LINE) == (b"s" if line in cleaned else b"m") * LINE
    cache.evict()
    assert ram.writes[len(written) :] == [(line, LINE) for line in (0, 64, 128) if line not in touched]


def test_what_was_invalidated_is_not_written_back_later(ram, cache):
    cache.store(0, b"s")
    cache.invalidate(0, LINE)
    cache.load(0, 1)
    cache.clean(0, LINE)
    cache.evict()
    assert ram.writes == []


def test_eviction_writes_what_is_dirty_and_forgets_everything(ram, cache):
    cache.load(128, 1)
    cache.store(64, b"s")
    cache.store(0, b"s")
    cache.evict()
    assert ram.writes == [(0, LINE), (64, LINE)]
    ram.data[:] = b"d" * 256
    assert cache.load(0, 192) == b"d" * 192
    cache.evict()
    assert len(ram.writes) == 2


def test_a_reset_loses_what_was_not_cleaned(ram, cache):
    cache.store(0, b"s")
    cache.clear()
    assert cache.load(0, 1) == b"m"
    cache.evict()
    assert ram.writes == []
