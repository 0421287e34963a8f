# SPDX-License-Identifier: GPL-2.0-or-later
"""A log of any length and from any source gives the splats of its lines, in constant memory and linear time."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import sys
import time
import tracemalloc
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmasafe.dmesg import Tally, follow, parse, parse_path, parse_stream
from dmasafe.dmesg.anchors import ANCHORS
from dmasafe.dmesg.reports import MAX_OPEN_REPORTS
from dmasafe.dmesg.stream import CHUNK_BYTES, IDLE_S
from dmasafe.dmesg.unpack import Unpacker
from dmasafe.outcome import Splat

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures" / "dmesg").glob("*.log"))
REPORT = b"".join(
    line
    for line in (FIXTURES[0].parent / "synthetic-6.12-map-stack.log").read_bytes().splitlines(keepends=True)
    if not line.startswith(b"# ")
)
CLEAN = b"[    1.000000] usb 1-1: new high-speed USB device number 2 using xhci_hcd, DEBUG: no overflow\n"


class Pieces(io.RawIOBase):
    """A stream that gives out its bytes in pieces of given sizes, as a pipe does."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        super().__init__()
        self._data, self._sizes, self._at, self._turn = data, sizes, 0, 0

    def read(self, size: int = -1) -> bytes:
        piece = self._sizes[self._turn % len(self._sizes)]
        self._turn += 1
        self._at += piece
        return self._data[self._at - piece : self._at]


def streamed(data: bytes, sizes: list[int] | None = None) -> list[Splat]:
    stream: Any = Pieces(data, sizes) if sizes else io.BytesIO(data)
    return list(parse_stream(stream))


FRAGMENTS = st.one_of(
    st.sampled_from([anchor.encode() for anchor in ANCHORS]),
    st.sampled_from([line for path in FIXTURES for line in path.read_bytes().splitlines(keepends=True)]),
    st.sampled_from([b"\n", b"\r\n", b"\r", b"DE", b'{"msg": "', b"\x1b[0m", CLEAN * 3]),
    st.binary(max_size=30),
)


@given(st.lists(FRAGMENTS, max_size=60), st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_the_fast_path_finds_what_the_lines_hold(fragments: list[bytes], sizes: list[int]) -> None:
    data = b"".join(fragments)
    if b"".join([*(unpacker := Unpacker(lambda note: None)).take(data), *unpacker.close()]) != data:
        data = b"log\n" + data.replace(b"\x00", b"")
    expected = list(parse(io.BytesIO(data)))
    assert streamed(data, sizes) == expected
    assert streamed(data) == expected


@pytest.mark.parametrize("around", range(-700, 700, 97))
def test_a_report_across_the_border_of_two_chunks_keeps_its_line_numbers(around: int) -> None:
    clean = CLEAN * (CHUNK_BYTES // len(CLEAN) + 20)
    head = clean[: clean.index(b"\n", CHUNK_BYTES + around - len(REPORT) // 2) + 1]
    tally = Tally()
    (splat,) = parse_stream(io.BytesIO(head + REPORT + clean), tally)
    assert splat.splat_class == "map-stack"
    assert splat.log_line == head.count(b"\n") + 3
    assert tally.lines == (head + REPORT + clean).count(b"\n")
    assert tally.size == len(head + REPORT + clean)


def test_a_log_without_a_last_newline_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(CLEAN + b"[    2.0] DMA-API: debugging out of memory - disabling")
    (splat,) = parse_path(path)
    assert (splat.splat_class, splat.log_line) == ("debug-disabled", 2)


def test_memory_does_not_grow_with_the_log() -> None:
    class Endless(io.RawIOBase):
        left = 60

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            if self.left < 0:
                return b""
            return b"[#1 [#2 DMA-API: " * 4096 if self.left % 2 else (REPORT + CLEAN * 50) * 8

    tracemalloc.start()
    try:
        stream: Any = Endless()
        count = sum(1 for _ in parse_stream(stream))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count > 100
    assert peak < 16 << 20


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(bytes(24 << 20)),
        gzip.compress(b"[    1.0] BUG: KASAN: x\n" * 2000 + CLEAN * (1 << 18)),
        gzip.compress(gzip.compress(bytes(24 << 20))),
        b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(gzip.compress(CLEAN * (1 << 17))),
        b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(bytes(1 << 20)),
    ],
    ids=["zeros", "reports", "packed twice", "mailed", "zeros in base64"],
)
def test_memory_does_not_grow_with_what_is_packed(data: bytes) -> None:
    tracemalloc.start()
    try:
        for _ in parse_stream(io.BytesIO(data)):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize(
    ("data", "readable"),
    [
        (b"", False),
        (bytes(range(256)) * 64, False),
        (bytes((n * 7919 >> 3) & 0xFF for n in range(65536)), False),
        (b"\x00" * 4096, False),
        (CLEAN, True),
        (b"\x00\xff" * 4096 + CLEAN * 8 + b"\x00\xff" * 4096, True),
        (b"\x1b[32m[    1.0] \x1b[0mcoloured\r\n", True),
        (("\ufeff" + CLEAN.decode()).encode("utf-16-le"), True),
        ("[    1.0] Gerät größer\n".encode(), True),
    ],
)
def test_rubbish_is_told_from_text(data: bytes, readable: bool) -> None:
    tally = Tally()
    assert list(parse_stream(io.BytesIO(data), tally)) == []
    assert tally.readable is readable


def test_a_finished_report_of_a_live_console_does_not_wait_for_the_next_line() -> None:
    assert IDLE_S < 1
    read, write = os.pipe()
    with os.fdopen(read, "rb", buffering=0) as stream, os.fdopen(write, "wb", buffering=0) as console:
        console.write(CLEAN + REPORT)
        splats = follow(stream, idle_s=0.01)
        assert next(splats).splat_class == "map-stack"
        console.write(b"[   12.0] BUG: sleeping function called from invalid context at kernel/x.c:1\n")
        assert next(splats).splat_class == "other"
        head, tail = REPORT[:900], REPORT[900:]
        console.write(head)
        console.write(tail)
        assert next(splats).truncated is False
        console.write(REPORT[:900])
        console.close()
        assert next(splats).truncated is True
        assert list(splats) == []


def test_a_report_that_comes_slowly_is_not_torn() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb", buffering=0) as stream, os.fdopen(write, "wb", buffering=0) as console:
        turns = iter(REPORT.splitlines(keepends=True))

        def stop() -> bool:
            # Asked after each silence: every line comes after one.
            line = next(turns, None)
            if line is not None:
                console.write(line)
            elif not console.closed:
                console.close()
            return False

        (splat,) = follow(stream, idle_s=0.001, stop=stop)
    assert (splat.splat_class, splat.truncated) == ("map-stack", False)


def test_a_growing_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_bytes(CLEAN)
    with path.open("rb", buffering=0) as stream, path.open("ab", buffering=0) as console:
        over: list[bool] = []
        splats = follow(stream, idle_s=0.01, stop=lambda: bool(over))
        console.write(REPORT)
        assert next(splats).log_line == 4
        console.write(REPORT)
        assert next(splats).splat_class == "map-stack"
        over.append(True)
        assert list(splats) == []


NASTY: dict[str, bytes] = {
    "headers without reports": b"[    1.0] ------------[ cut here ]------------\n",
    "messages without reports": b"DMA-API: a b: device driver maps memory from stack [addr=1]\n",
    "wrapped headers": b"WARNING: CPU: 0 PID: 1 at\n",
    "wrapped messages": b"------------[ cut here ]------------\nDMA-API: a b: device driver maps\nmemory\nfrom\nx\n",
    "a report that never ends": b"Call Trace:\n foo+0x1/0x2\n",
    "callers": b"[    1.0][ T@@] WARNING: CPU: 0 PID: 1 at foo+0x1/0x2\n",
    "open json": b'{"msg": "{\\"msg\\": \\"BUG: \n',
    "deep json": b'{"msg": ' + b"[" * 2000 + b"BUG: \n",
    "stamps in a line": b"[    1.000000] BUG: " * 40 + b"\n",
    "escapes": b"BUG: \x1b]" * 80 + b"\n",
    "anchors in a line": b"".join(anchor.encode() for anchor in ANCHORS) * 4 + b"\n",
    "one endless line": b"[#1 WARNING: ",
    "places": b"Call Trace:\n f (" + b"a/b.c" * 100 + b":1 x.c:1" * 40 + b"\n",
    "names": b"WARNING: CPU: 0 PID: 1 at " + b"a" * 900 + b"\n",
    "interleaved": REPORT[:400] + b"\n" + REPORT,
    "quotes": b"> " * 300 + b"BUG: \n",
    "carriage returns": b"BUG: x\r" * 60 + b"\n",
    "dashes": b"-" * 2000 + b"[ cut here ]\n",
    "spaces": b"BUG: " + b" " * 2000 + b"[    \n",
    "nothing": b"\n",
    "wrapped lines": b"[    1.000000] BUG: KASAN: use-after-free in " + b"a " * 20 + b"\n" + (b"b " * 40 + b"\n") * 5,
    "lines broken within words": b"[    1.000000] BUG: KASAN: " + b"a" * 45 + b"\n" + (b"b" * 72 + b"\n") * 5,
    "prefixes without end": b"p@@ [x@@] (@@) word@@ BUG: KASAN: x in y\n",
    "base64": b"Content-Transfer-Encoding: base64\n\n" + (b"QlVHOiBLQVNBTjogeAo=" * 3 + b"\n") * 5 + b"\n",
    "quoted-printable": b"BUG: KASAN: =3D" + b"=41" * 20 + b"=\n",
    "entities": b"BUG: &amp;lt;&amp;amp;#65;&nbsp;" * 9 + b"\n",
    "tags": b"<span class=a><b>BUG: </b><br/>" * 9 + b"\n",
    "escaped lines": b'{"Output": "BUG: KASAN: x\\n' + b"[    1.0] a\\r\\n" * 40 + b'"}\n',
    "a string that never ends": b'{"Output": "BUG: KASAN: x\\n[\n' + b"1.0] a b c d e f g h\\n[\n" * 5,
    "backslashes": b"BUG: KASAN: x in y \\\n",
    "fields of a journal": b"MESSAGE=BUG: KASAN: x\n_HOSTNAME=y\n",
    "inlined headers": b"BUG: KASAN: x in f a/b.c:1 [inline]\n",
    "memory's stacks": b"BUG: KASAN: x in f+0x1/0x2\nAllocated by task 1:\n f+0x1/0x2\nFreed by task 2:\n",
    "mails of two kinds": b"Content-Type: multipart/alternative\nContent-Type: text/html\nBUG: x\n--b\n",
    "tags of logcat": b"W BUG     : KASAN: x in f  : y\n",
}


# From here on the number of open reports is the same.
BASE_TIMES = {"callers": MAX_OPEN_REPORTS}


def data_of(kind: str, times: int) -> bytes:
    return b"".join(NASTY[kind].replace(b"@@", b"%02d" % (n % 1000)) for n in range(times))


def calls(data: bytes) -> int:
    """How many functions, of Python and C, a log takes to be read: counted work that no other process disturbs."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        for _ in parse_stream(io.BytesIO(data)):
            pass
    finally:
        sys.setprofile(None)
    return count


def cpu_s(data: bytes) -> float:
    """The least of three times, so that a busy machine does not count."""
    times = []
    for _ in range(3):
        started = time.process_time()
        for _ in parse_stream(io.BytesIO(data)):
            pass
        times.append(time.process_time() - started)
    return min(times)


@pytest.mark.parametrize("kind", NASTY)
def test_work_grows_no_faster_than_the_log(kind: str) -> None:
    times = BASE_TIMES.get(kind, 4)
    once = calls(data_of(kind, times))
    assert calls(data_of(kind, 10 * times)) <= 15 * once
    assert calls(data_of(kind, 100 * times)) <= 150 * once


@pytest.mark.parametrize("kind", NASTY)
def test_time_grows_no_faster_than_the_log(kind: str) -> None:
    # What a single call of a pattern or a search costs, calls() cannot see.
    times = 4 * BASE_TIMES.get(kind, 4)
    once = max(cpu_s(data_of(kind, times)), 0.001)
    assert cpu_s(data_of(kind, 10 * times)) <= 30 * once


@pytest.mark.parametrize("kind", NASTY)
def test_a_longer_line_costs_no_more_than_its_length(kind: str) -> None:
    line = NASTY[kind].replace(b"\n", b" ")
    short, long = (line * 400)[:4_000] + b"\n", (line * 4000)[:40_000] + b"\n"
    once = max(cpu_s(short * 10), 0.001)
    assert cpu_s(long * 10) <= 40 * once


def test_json_of_any_depth_does_not_raise() -> None:
    assert streamed(b'{"MESSAGE": ' + b"[" * 100_000 + b" BUG: \n") == []
    assert streamed(json.dumps({"MESSAGE": ["BUG: ", 300, -1, None]}).encode()) == []
