# SPDX-License-Identifier: GPL-2.0-or-later
"""The same report is the same splat, whatever program has recorded, stamped, quoted or wrapped it."""

from __future__ import annotations

import io
import json
import random
import textwrap
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from dmesg_wrappers import DIALECTS, Text, stamp

from dmasafe.dmesg import parse, parse_stream
from dmasafe.dmesg.lines import read_line
from dmasafe.outcome import Splat

FIXTURES = Path(__file__).parents[2] / "fixtures" / "dmesg"


def texts(name: str) -> Text:
    """The kernel's own lines in a fixture."""
    lines = (FIXTURES / f"{name}.log").read_text().splitlines()
    return [part.text for line in lines if not line.startswith("# ") for part in read_line(line)]


STACK = texts("synthetic-6.12-map-stack")
LEAK = texts("synthetic-7.2-leak-on-release")
ARM = texts("synthetic-5.10-arm-free-size")


def same(found: Iterable[Splat], expected: Splat) -> bool:
    (splat,) = found
    return replace(splat, log_line=0) == replace(expected, log_line=0)


@pytest.mark.parametrize("lines", [STACK, LEAK, ARM], ids=["map-stack", "leak-on-release", "arm"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_changes_nothing(dialect: str, lines: Text) -> None:
    (expected,) = parse(lines)
    log = DIALECTS[dialect](lines).encode()
    assert same(parse(io.BytesIO(log)), expected)
    assert same(parse_stream(io.BytesIO(log)), expected)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_a_log_that_powershell_redirected_is_read(codec: str) -> None:
    (expected,) = parse(STACK)
    assert same(parse_stream(io.BytesIO(("\ufeff" + "\r\n".join(STACK)).encode(codec))), expected)


def test_journald_writes_bytes_that_are_not_text_as_numbers() -> None:
    line = json.dumps({"_TRANSPORT": "kernel", "MESSAGE": list(b"BUG: bad \xff\x1b[0m page")})
    assert [part.text for part in read_line(line)] == ["BUG: bad \ufffd page"]


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({"_TRANSPORT": "stdout", "MESSAGE": "BUG: KASAN: what a test printed"}),
        json.dumps({"dt": "2026-11-22T09:58:00", "lvl": "debug", "msg": "BUG: KASAN: what LAVA waits for"}),
        "Nov 22 09:58:00 box agent[12]: BUG: KASAN: what a test printed",
        '{"level": "BUG: ", "text": 12}',
    ],
)
def test_what_others_say_is_no_splat(line: str) -> None:
    assert list(parse([line])) == []


def test_login_noise_before_a_line_is_not_the_kernels() -> None:
    lines = [f"{stamp(n)} {line}" for n, line in enumerate(STACK)]
    lines = [f"debian login: {line}" if n % 3 == 2 else line for n, line in enumerate(lines)]
    lines[8] = "Password: \rLogin incorrect\r" + lines[8]
    assert same(parse(lines), next(parse(STACK)))
    unstamped = ["buildroot login: " + line if "cut here" in line or "end trace" in line else line for line in STACK]
    assert same(parse(unstamped), next(parse(STACK)))


def test_two_kernel_lines_may_share_a_line() -> None:
    lines = [f"{stamp(n)} {line}" for n, line in enumerate(STACK)]
    joined = [first + second for first, second in zip(lines[0::2], [*lines[1::2], ""], strict=False)]
    assert same(parse(joined), next(parse(STACK)))


@pytest.mark.parametrize("lines", [STACK, LEAK, ARM], ids=["map-stack", "leak-on-release", "arm"])
@pytest.mark.parametrize("quote", ["", "> "])
@pytest.mark.parametrize("width", [66, 72, 78])
def test_mail_wraps_lines_at_spaces(lines: Text, quote: str, width: int) -> None:
    wrapped = [
        quote + part
        for n, line in enumerate(lines)
        for part in textwrap.wrap(f"{stamp(n)} {line}", width, break_long_words=False, break_on_hyphens=False)
    ]
    assert same(parse(wrapped), next(parse(lines)))
    assert same(parse_stream(io.BytesIO("\n".join(wrapped).encode())), next(parse(lines)))


@pytest.mark.parametrize("lines", [STACK, LEAK], ids=["map-stack", "leak-on-release"])
@pytest.mark.parametrize("width", [80, 100])
def test_a_terminal_wraps_lines_anywhere(lines: Text, width: int) -> None:
    stamped = [f"{stamp(n)} {line}" for n, line in enumerate(lines)]
    wrapped = [line[start : start + width] for line in stamped for start in range(0, len(line), width)]
    (expected,) = parse(lines)
    (found,) = parse(wrapped)
    assert (found.splat_class, found.fields, found.function) == (
        expected.splat_class,
        expected.fields,
        expected.function,
    )
    assert [frame.function for frame in found.frames] == [frame.function for frame in expected.frames]


def test_a_wrapped_message_without_times_and_mark_is_put_together() -> None:
    lines = [
        "> DMA-API: foo 0000:00:05.0: device driver frees DMA memory with",
        "> different size [device address=0x0000000012345678] [map size=16",
        "> bytes] [unmap size=8 bytes]",
        "> WARNING: CPU: 0 PID: 35 at kernel/dma/debug.c:984",
        "> check_unmap+0x6d4/0x8c0",
    ]
    (splat,) = parse(lines)
    assert (splat.splat_class, splat.device, splat.function) == ("free-size", "0000:00:05.0", "check_unmap")
    assert splat.fields == {"device_address": 0x12345678, "map_size": 16, "unmap_size": 8}
    assert (splat.file, splat.line, splat.log_line) == ("kernel/dma/debug.c", 984, 1)


def test_a_module_on_the_next_line_belongs_to_the_symbol_before() -> None:
    lines = [
        "> WARNING: CPU: 0 PID: 35 at include/linux/dma-mapping.h:381 foo_xfer+0x1/0x2",
        "> [i2c_foo]",
        "> Call Trace:",
        ">  __i2c_transfer+0x1b2/0x6a0",
        "> [i2c_core]",
        ">  foo_probe+0x1b2/0x6a0 [foo_cl",
        "> ient]",
    ]
    (splat,) = parse(lines)
    assert [frame.module for frame in splat.frames] == ["i2c_foo", "i2c_core", "foo_client"]


ONE = (
    "------------[ cut here ]------------",
    "DMA-API: a one: device driver tries to free an invalid DMA memory address",
    "WARNING: CPU: 0 PID: 35 at kernel/dma/debug.c:1000 check_unmap+0x1b2/0xa00",
    "Modules linked in: foo",
    "CPU: 0 UID: 0 PID: 35 Comm: agent Tainted: G           O       6.12.117 #1",
    "RIP: 0010:check_unmap+0x1b2/0xa00",
    "Call Trace:",
    " debug_dma_unmap_page+0x90/0xa0",
    " one_xfer+0x1f3/0x4d0 [one]",
    " one_caller+0x1f3/0x4d0 [one]",
    "---[ end trace 0000000000000000 ]---",
)
TWO = (
    "------------[ cut here ]------------",
    "DMA-API: a two: device driver maps memory from stack [addr=0000000012345678]",
    "WARNING: CPU: 1 PID: 77 at kernel/dma/debug.c:1082 check_for_stack+0xb6/0xe0",
    "Modules linked in: foo",
    "CPU: 1 UID: 0 PID: 77 Comm: other Tainted: G           O       6.12.117 #1",
    "RIP: 0010:check_for_stack+0xb6/0xe0",
    "Call Trace:",
    " debug_dma_map_page+0x90/0xa0",
    " two_xfer+0x1f3/0x4d0 [two]",
    " two_caller+0x1f3/0x4d0 [two]",
    "---[ end trace 0000000000000000 ]---",
)


@pytest.mark.parametrize("seed", range(40))
def test_reports_of_two_processors_are_told_apart(seed: int) -> None:
    source = random.Random(seed)
    one, two = list(ONE), list(TWO)
    lines: list[str] = []
    while one or two:
        queue = one if one and (not two or source.random() < 0.5) else two
        lines.append(queue.pop(0))
    found = list(parse(lines))
    assert sorted((splat.splat_class, splat.device, splat.truncated) for splat in found) == [
        ("free-invalid-address", "one", False),
        ("map-stack", "two", False),
    ]
    for splat in found:
        others = {"one": "two_", "two": "one_"}[str(splat.device)]
        assert not any(frame.function.startswith(others) for frame in splat.frames), lines


@pytest.mark.parametrize("cut", range(2, 10))
def test_a_report_that_another_one_cuts_off_costs_the_other_nothing(cut: int) -> None:
    found = list(parse([*ONE[:cut], *TWO]))
    assert [(splat.device, splat.truncated) for splat in found] == [("one", True), ("two", False)]
    assert [frame.function for frame in found[1].frames][1:] == ["debug_dma_map_page", "two_xfer", "two_caller"]


TRACES = {
    "x86, 6.x": (
        "Call Trace:",
        " <TASK>",
        " ? __warn+0x7d/0x120",
        " dma_map_page_attrs+0x6a/0x2b0",
        " foo_xfer+0x1f3/0x4d0 [i2c_foo]",
        " </TASK>",
    ),
    "x86, build ids": (
        "Call Trace:",
        " ? __warn+0x7d/0x120",
        " dma_map_page_attrs+0x6a/0x2b0",
        " foo_xfer+0x1f3/0x4d0 [i2c_foo 0123456789abcdef0123456789abcdef01234567]",
    ),
    "x86, 4.9": (
        "Call Trace:",
        " [<ffffffff8107bcbc>] ? __warn+0x7d/0x120",
        " [<ffffffff8107bd9a>] dma_map_page_attrs+0x6a/0x2b0",
        " [<ffffffffa00b5c3d>] foo_xfer+0x1f3/0x4d0 [i2c_foo]",
    ),
    "arm64": (
        "Call trace:",
        " dma_map_page_attrs+0x6a/0x2b0 (P)",
        " foo_xfer+0x1f3/0x4d0 [i2c_foo]",
    ),
    "arm64, 4.9": (
        "Call trace:",
        "[<ffff000008158d7c>] dma_map_page_attrs+0x6a/0x2b0",
        "[<ffff000000b5c3d0>] foo_xfer+0x1f3/0x4d0 [i2c_foo]",
    ),
    "arm": (
        "[<c0110f58>] (unwind_backtrace) from [<c010b4a8>] (show_stack+0x10/0x14)",
        "[<c01b4d98>] (check_unmap) from [<c01b5000>] (dma_map_page_attrs+0x6a/0x2b0)",
        "[<c01b5000>] (dma_map_page_attrs) from [<bf000120>] (foo_xfer+0x1f3/0x4d0 [i2c_foo])",
    ),
    "arm, 5.19": (
        " unwind_backtrace from show_stack+0x10/0x14",
        " check_unmap from dma_map_page_attrs+0x6a/0x2b0",
        " dma_map_page_attrs from foo_xfer+0x1f3/0x4d0 [i2c_foo]",
    ),
    "riscv": (
        "Call Trace:",
        "[<ffffffff80081a3c>] dma_map_page_attrs+0x6a/0x2b0",
        "[<ffffffff0112a3c4>] foo_xfer+0x1f3/0x4d0 [i2c_foo]",
    ),
    "mips": (
        "epc   : 8018f3c4 check_unmap+0x1b2/0xa00",
        "ra    : 8018f3c4 check_unmap+0x1b2/0xa00",
        "Call Trace:",
        "[<8018f3c4>] dma_map_page_attrs+0x6a/0x2b0",
        "[<c0012a3c>] foo_xfer+0x1f3/0x4d0 [i2c_foo]",
    ),
    "powerpc": (
        "NIP [c0000000001b4d98] check_unmap+0x1b2/0xa00",
        "LR [c0000000001b4d94] check_unmap+0x1ae/0xa00",
        "Call Trace:",
        "[c000000003a1b7c0] [c0000000001b4d94] check_unmap+0x1ae/0xa00 (unreliable)",
        "[c000000003a1b820] [c0000000001b5000] dma_map_page_attrs+0x6a/0x2b0",
        "[c000000003a1b8a0] [c008000000120040] foo_xfer+0x1f3/0x4d0 [i2c_foo]",
    ),
    "decode_stacktrace.sh": (
        "Call Trace:",
        " <TASK>",
        " ? __warn (kernel/panic.c:673)",
        " dma_map_page_attrs (kernel/dma/mapping.c:150 (discriminator 1))",
        " foo_xfer (include/linux/dma-mapping.h:330 drivers/i2c/busses/i2c-foo.c:123) i2c_foo",
    ),
    "syzkaller": (
        "Call Trace:",
        " <TASK>",
        " dma_map_single_attrs include/linux/dma-mapping.h:330 [inline]",
        " dma_map_page_attrs+0x6a/0x2b0 kernel/dma/mapping.c:150",
        " foo_xfer+0x1f3/0x4d0 drivers/i2c/busses/i2c-foo.c:123 [i2c_foo]",
    ),
}


@pytest.mark.parametrize("form", TRACES)
def test_every_form_of_a_trace_is_read(form: str) -> None:
    (splat,) = parse([*ONE[:5], *TRACES[form], ONE[-1]])
    names = [frame.function for frame in splat.frames if frame.reliable]
    assert names[0] == "check_unmap"
    assert names[-2:] == ["dma_map_page_attrs", "foo_xfer"]
    placed = form in ("decode_stacktrace.sh", "syzkaller")
    assert splat.frames[-1].module == ("i2c_foo" if form != "syzkaller" else splat.frames[-1].module)
    assert (splat.frames[-1].file, splat.frames[-1].line) == (
        ("drivers/i2c/busses/i2c-foo.c", 123) if placed else (None, None)
    )


def test_the_device_name_may_stand_before_the_prefix() -> None:
    lines = [
        "omap_i2c 48070000.i2c: " + ONE[1].replace("a one: ", "") if n == 1 else line for n, line in enumerate(ONE)
    ]
    (splat,) = parse(lines)
    assert (splat.splat_class, splat.driver, splat.device) == ("free-invalid-address", "omap_i2c", "48070000.i2c")


def test_a_coloured_bug_is_a_word_of_its_own() -> None:
    line = b"\x1b[32m[    1.300000] \x1b[0m\x1b[33mBUG\x1b[0m: KASAN: use-after-free in foo+0x1/0x2\n"
    assert [splat.message for splat in parse_stream(io.BytesIO(line))] == ["BUG: KASAN: use-after-free in foo+0x1/0x2"]
    assert list(parse([b"[    1.300000] DEBUG: x\n"])) == []
