# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of ids as bytes: 32 bits each, little endian, deflated for the database.

1,500 findings are 6,000 bytes raw and some hundred deflated. Two lists are compared block by block, so that what is
alike costs a memcmp().
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from array import array
from collections.abc import Iterable

ITEM_BYTES = 4
_LEVEL = 6
_BLOCK_BYTES = 32 * ITEM_BYTES


def raw(ids: Iterable[int]) -> bytes:
    """The ids, each below 2**32, as bytes."""
    items = array("I", ids)
    if sys.byteorder == "big":
        items.byteswap()
    return items.tobytes()


def ids(data: bytes) -> array[int]:
    """The way back from raw()."""
    items = array("I")
    items.frombytes(data)
    if sys.byteorder == "big":
        items.byteswap()
    return items


def deflate(data: bytes) -> bytes:
    return zlib.compress(data, _LEVEL)


def inflate(data: bytes, size: int) -> bytes:
    """The way back from deflate() for what was ``size`` ids long. Raises ValueError for anything else."""
    decompressor = zlib.decompressobj()
    try:
        found = decompressor.decompress(data, size * ITEM_BYTES + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(found) != size * ITEM_BYTES or not decompressor.eof:
        raise ValueError(f"{len(found)} bytes where {size * ITEM_BYTES} belong")
    return found


def digest(*parts: bytes) -> str:
    """What content is found again by: 32 hexadecimal digits."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()


def changed(before: bytes, after: bytes) -> list[int]:
    """The places at which two lists of the same length differ, in order."""
    if before == after:
        return []
    found: list[int] = []
    for start in range(0, len(before), _BLOCK_BYTES):
        old, new = before[start : start + _BLOCK_BYTES], after[start : start + _BLOCK_BYTES]
        if old != new:
            pairs = enumerate(zip(ids(old), ids(new), strict=True), start // ITEM_BYTES)
            found += [place for place, (one, other) in pairs if one != other]
    return found
