# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of ids as bytes."""

import random

import pytest

from dmasafe.matrix import vectors


def test_changed_finds_exactly_the_places_that_differ():
    source = random.Random(7)
    for size in (1, 31, 32, 33, 1500):
        before = [source.randrange(70_000) for _ in range(size)]
        after = [source.randrange(70_000) if source.random() < 0.1 else one for one in before]
        expected = [place for place in range(size) if before[place] != after[place]]
        assert vectors.changed(vectors.raw(before), vectors.raw(after)) == expected


def test_a_list_comes_back_from_the_database_as_it_was():
    wanted = [0, 1, 255, 256, 2**32 - 1]
    assert list(vectors.ids(vectors.inflate(vectors.deflate(vectors.raw(wanted)), len(wanted)))) == wanted


def test_alike_nights_deflate_to_a_tenth():
    data = vectors.raw([3] * 700 + [4] * 100 + [3] * 700)
    assert len(vectors.deflate(data)) < len(data) / 10


@pytest.mark.parametrize("data", [b"", b"junk", vectors.deflate(b"abc"), vectors.deflate(bytes(10_000_000))])
def test_damaged_data_is_an_error_and_never_inflates_without_bound(data):
    with pytest.raises(ValueError):
        vectors.inflate(data, 2)


def test_a_digest_tells_where_one_part_ends():
    assert vectors.digest(b"ab", b"c") != vectors.digest(b"a", b"bc")
