# SPDX-License-Identifier: GPL-2.0-or-later
"""A bounded slice of the fuzz target: whole logs, damaged; logs behind random prefixes, wrapped and cut at random."""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path

from dmesg_wrappers import WRAPPERS, Wrapper, made_up
from hypothesis import given, settings
from hypothesis import strategies as st

from dmasafe.dmesg import parse
from dmasafe.dmesg.anchors import ANCHORS
from dmasafe.dmesg.lines import read_line

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


@settings(max_examples=100)
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


RECORDED = [
    [part.text for line in path.read_text().splitlines() if not line.startswith("# ") for part in read_line(line)]
    for path in sorted((TESTS / "fixtures" / "dmesg").glob("*.log"))
    if not path.stem.startswith("synthetic-paste")
]
WRAPPED = st.one_of(st.sampled_from(list(WRAPPERS.values())), st.integers(0, 2**32).map(made_up))


def broken(log: str, width: int, words: bool) -> str:
    pieces = []
    for line in log.split("\n"):
        if words:
            pieces += textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
        else:
            pieces += [line[at : at + width] for at in range(0, max(len(line), 1), width)]
    return "\n".join(pieces)


@settings(max_examples=60)
@given(
    st.sampled_from(RECORDED),
    WRAPPED,
    st.integers(0, 2**32).map(made_up),
    st.integers(40, 200),
    st.booleans(),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_no_prefix_width_or_cut_makes_another_class_of_a_report(
    lines: list[str], wrap: Wrapper, random_prefix: Wrapper, width: int, words: bool, start: float, end: float
) -> None:
    classes = {splat.splat_class for splat in parse(lines)}
    first, last = sorted((int(start * len(lines)), int(end * len(lines))))
    for log in (wrap(lines), random_prefix(lines), wrap(lines[first : last + 1])):
        for data in (log, broken(log, width, words)):
            fuzz_dmesg.check(b"\x40" + data.encode())
            found = {splat.splat_class for splat in parse(data.encode().split(b"\n"))}
            assert found <= classes | {"other", "dma-debug-cut"}
    whole = [(splat.splat_class, splat.device) for splat in parse(lines)]
    assert [(splat.splat_class, splat.device) for splat in parse(random_prefix(lines).split("\n"))] == whole
