# SPDX-License-Identifier: GPL-2.0-or-later
"""A bounded slice of the fuzz target: whole logs, damaged."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dmasafe.dmesg.anchors import ANCHORS

TESTS = Path(__file__).parents[2]
LOGS = [path.read_bytes() for path in sorted((TESTS / "fixtures" / "dmesg").glob("*.log"))]
DAMAGE = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([anchor.encode() for anchor in ANCHORS]),
    st.sampled_from([b"\n", b"\r", b"> ", b"\x1b[", b'{"msg": "', b"[    1.000000] ", b"[   T35]", b"+0x1/0x2"]),
)

_spec = importlib.util.spec_from_file_location("fuzz_dmesg", TESTS / "fuzz" / "fuzz_dmesg.py")
assert _spec is not None and _spec.loader is not None
fuzz_dmesg = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzz_dmesg)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 255),
    st.lists(st.sampled_from(LOGS), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 200), DAMAGE), max_size=12),
)
def test_a_damaged_log_is_read_the_same_way_by_every_reader(
    length: int, logs: list[bytes], damages: list[tuple[int, int, bytes]]
) -> None:
    data = bytearray(b"".join(logs))
    for place, cut, put in damages:
        start = place % (len(data) + 1)
        data[start : start + cut] = put
    fuzz_dmesg.check(bytes([length]) + bytes(data))
