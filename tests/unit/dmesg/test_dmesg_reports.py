# SPDX-License-Identifier: GPL-2.0-or-later
"""One report is one splat, whoever prints it and however it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dmesg_sources import message, printed
from hypothesis import given
from hypothesis import strategies as st

from dmasafe.dmesg import SPLAT_CLASSES, blame, parse, parse_records
from dmasafe.dmesg.anchors import ANCHORS, may_matter
from dmasafe.dmesg.formats import Prefix
from dmasafe.dmesg.lines import read_line
from dmasafe.dmesg.reports import Reader
from dmasafe.dmesg.source import Source
from dmasafe.outcome import Splat

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures" / "dmesg").glob("*.log"))
SPLAT_FORMATS = [
    (row.slug, known) for row in SPLAT_CLASSES.values() for known in row.formats if known.warns and not known.versions
]


def fixture(path: Path) -> tuple[list[dict[str, Any]], list[bytes]]:
    """The expected splats of a fixture's header, and the log below it."""
    lines = path.read_bytes().splitlines(keepends=True)
    head = [line for line in lines if line.startswith(b"# ")]
    expected = [json.loads(line[len(b"# expect: ") :]) for line in head if line.startswith(b"# expect: ")]
    return expected, lines[len(head) :]


def as_record(line: str, sequence: int, caller: str = "") -> str:
    """A console line as a /dev/kmsg record."""
    text = line.split("] ", 1)[1] if line.startswith("[") and "] " in line else line
    escaped = "".join(c if " " <= c < "\x7f" and c != "\\" else f"\\x{ord(c):02x}" for c in text)
    return f"4,{sequence},{sequence * 100},-{caller};{escaped}\n"


def warning(body: str, *, line: int = 1203, caller: str = "") -> list[str]:
    """A report as 6.12 prints it on x86_64."""
    text = [
        "------------[ cut here ]------------",
        *body.split("\n"),
        f"WARNING: CPU: 0 PID: 35 at kernel/dma/debug.c:{line} check_unmap+0x1b2/0xa00",
        "Modules linked in: dmasafe_client(O)",
        "CPU: 0 UID: 0 PID: 35 Comm: agent Tainted: G           O       6.12.117 #1",
        "RIP: 0010:check_unmap+0x1b2/0xa00",
        "RAX: 0000000000000000 RBX: ffff888003c49a80 RCX: 0000000000000027",
        "Call Trace:",
        " <TASK>",
        " debug_dma_unmap_page+0x90/0xa0",
        " dmasafe_xfer+0x1f3/0x4d0 [dmasafe_controller]",
        " </TASK>",
        "---[ end trace 0000000000000000 ]---",
    ]
    return [f"[    1.000000]{caller} {part}\n" for part in text]


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_log_gives_the_splats_its_header_expects(path: Path) -> None:
    expected, lines = fixture(path)
    found = list(parse(lines))
    assert len(found) == len(expected)
    for splat, want in zip(found, expected, strict=True):
        got = splat.to_json()
        got["functions"] = [frame.function for frame in splat.frames]
        blamed = blame(splat)
        got["blame"] = [blamed.function, blamed.module] if blamed else None
        assert {key: got[key] for key in want} == want


@pytest.mark.parametrize(("slug", "known"), SPLAT_FORMATS, ids=lambda value: getattr(value, "text", value)[:40])
def test_every_class_is_found_in_a_whole_report(slug: str, known: Any) -> None:
    body = message(known, printed(known.text, tuple(7 if c != "s" else "x" for c in known.conversions)))
    lines = warning(body)
    found = [*parse(lines), *parse(line.encode() for line in lines)]
    found += parse_records([as_record(line, number) for number, line in enumerate(lines)])
    assert [splat.splat_class for splat in found] == [slug] * 3
    for splat in found:
        assert (splat.file, splat.line, splat.function) == ("kernel/dma/debug.c", 1203, "check_unmap")
        assert [frame.function for frame in splat.frames] == ["check_unmap", "debug_dma_unmap_page", "dmasafe_xfer"]
        assert splat.frames[2].module == "dmasafe_controller"
        assert (splat.log_line, splat.truncated) == (1, False)


def test_a_record_of_two_lines_is_one_report() -> None:
    lines = warning(
        "DMA-API: a b: device driver has pending DMA allocations while released from device [count=2]\n"
        "One of leaked entries details: [device address=0x0000000000001000] [size=8 bytes] "
        "[mapped with DMA_TO_DEVICE] [mapped as single]"
    )
    text = [line.split("] ", 1)[1].rstrip("\n") for line in lines]
    records = [text[0], "\n".join(text[1:3]), *text[3:]]
    (splat,) = parse_records([as_record(record, number) for number, record in enumerate(records)])
    assert splat.splat_class == "leak-on-release"
    assert splat.fields["count"] == 2
    assert splat.fields["device_address"] == 0x1000
    assert splat.fields["mapped_as"] == "single"


def test_reports_one_after_the_other_are_counted() -> None:
    lines = warning("DMA-API: a b: device driver tries to free an invalid DMA memory address") * 5
    assert [splat.log_line for splat in parse(lines)] == [1 + 13 * number for number in range(5)]


def test_reports_of_two_callers_may_be_interleaved() -> None:
    one = warning("DMA-API: a one: device driver tries to free an invalid DMA memory address", caller="[   T35]")
    two = warning("rejects a two: rejecting DMA map of vmalloc memory", caller="[    C1]")
    lines = [line for pair in zip(one, two, strict=True) for line in pair]
    found = list(parse(lines))
    assert [(splat.device, splat.splat_class, splat.log_line, splat.truncated) for splat in found] == [
        ("one", "free-invalid-address", 1, False),
        ("two", "map-vmalloc-rejected", 2, False),
    ]
    assert [len(splat.frames) for splat in found] == [3, 3]


def test_dma_debug_giving_up_is_a_splat_of_its_own() -> None:
    (splat,) = parse(["[    9.1] DMA-API: debugging out of memory - disabling\n"])
    assert (splat.splat_class, splat.truncated) == ("debug-disabled", False)


def test_a_log_that_stops_leaves_a_truncated_report() -> None:
    lines = warning("DMA-API: a b: device driver tries to free an invalid DMA memory address")
    for length in range(2, len(lines)):
        (splat,) = parse(lines[:length])
        assert (splat.splat_class, splat.truncated) == ("free-invalid-address", True), length


def test_a_log_that_begins_late_leaves_a_truncated_report() -> None:
    lines = warning("DMA-API: a b: device driver tries to free an invalid DMA memory address")
    (whole,) = parse(lines[1:])
    assert (whole.splat_class, whole.truncated) == ("free-invalid-address", False)
    for start in range(3, len(lines)):
        (splat,) = parse(lines[start:])
        # The program counter is in check_unmap(), which reports nine classes.
        slug = "dma-debug-cut" if start < 6 else "other"
        assert (splat.splat_class, splat.truncated) == (slug, True), start


def test_a_checker_of_one_class_tells_it_where_the_head_is_lost() -> None:
    text = "DMA-API: a b: device driver maps memory from stack [addr=0000000012345678]"
    lines = [line.replace("check_unmap", "check_for_stack") for line in warning(text)]
    for start in range(3, 6):
        (splat,) = parse(lines[start:])
        assert (splat.splat_class, splat.truncated) == ("map-stack", True), start


def test_a_stack_dump_alone_is_no_report() -> None:
    lines = [line.replace("check_unmap", "i2c_foo_xfer") for line in warning("x")[5:12]]
    assert list(parse(lines)) == []


@pytest.mark.parametrize(
    "title",
    [
        "BUG: KASAN: slab-out-of-bounds in foo+0x1/0x2",
        "BUG: KCSAN: data-race in foo / bar",
        "BUG: KFENCE: use-after-free read in foo+0x1/0x2",
        "BUG: scheduling while atomic: insmod/35/0x00000002",
        "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:273",
        "BUG: Bad page state in process agent  pfn:03d2c",
        "BUG: kernel NULL pointer dereference, address: 0000000000000000",
        "BUG: unable to handle page fault for address: ffffffffa000e0c0",
        "BUG kmalloc-64 (Tainted: G           O      ): Right Redzone overwritten",
        "UBSAN: array-index-out-of-bounds in drivers/i2c/foo.c:12:3",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [agent:35]",
        "INFO: task agent:35 blocked for more than 120 seconds.",
        "rcu: INFO: rcu_preempt self-detected stall on CPU",
        "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
        "WARNING: possible circular locking dependency detected",
        "WARNING: possible recursive locking detected",
        "WARNING: inconsistent lock state",
        "WARNING: suspicious RCU usage",
        "INFO: trying to register non-static key.",
        "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009",
        "Unable to handle kernel paging request at virtual address ffff800080a3bd20",
        "Internal error: Oops: 0000000096000004 [#1] SMP",
        "Oops: general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP",
        "general protection fault: 0000 [#1] SMP",
        "kernel BUG at mm/slub.c:4021!",
    ],
)
def test_any_other_report_is_kept_with_its_title(title: str) -> None:
    (splat,) = parse(["[    1.0] all is well\n", f"[    2.0] {title}\n"])
    assert (splat.splat_class, splat.message, splat.log_line) == ("other", title, 2)


def test_another_warning_is_kept_with_its_place_and_message() -> None:
    (bare,) = parse([line for line in warning("x") if "] x" not in line])
    assert (bare.splat_class, bare.message) == ("dma-debug-cut", "WARNING at kernel/dma/debug.c:1203 check_unmap")
    (told,) = parse(warning("refcount_t: underflow; use-after-free."))
    assert told.message == "WARNING at kernel/dma/debug.c:1203 check_unmap: refcount_t: underflow; use-after-free."


@pytest.mark.parametrize(
    "header",
    [
        "WARNING: CPU: 0 PID: 35 at include/linux/dma-mapping.h:381 foo_xfer+0x12/0x34 [foo]",
        "WARNING: include/linux/dma-mapping.h:381 at foo_xfer+0x12/0x34 [foo], CPU#0: a b/35",
        "WARNING: CPU: 1 PID: 1 at include/linux/dma-mapping.h:381 foo_xfer+0x12/0x34() [foo]",
    ],
)
def test_all_warning_headers_name_the_place(header: str) -> None:
    (splat,) = parse(["foo 1-2:1.0: rejecting DMA map of vmalloc memory", header])
    assert (splat.splat_class, splat.driver, splat.device) == ("map-vmalloc-rejected", "foo", "1-2:1.0")
    assert (splat.file, splat.line, splat.function) == ("include/linux/dma-mapping.h", 381, "foo_xfer")
    assert splat.frames[0].module == "foo" or header.endswith("() [foo]")


@pytest.mark.parametrize(
    ("printed", "file"),
    [
        ("kernel/dma/debug.c", "kernel/dma/debug.c"),
        ("../../tree/kernel/dma/debug.c", "kernel/dma/debug.c"),
        ("../drivers/net/lib/foo.c", "drivers/net/lib/foo.c"),
        ("./include/linux/dma-mapping.h", "include/linux/dma-mapping.h"),
        ("/home/me/kernel/linux/include/linux/dma-mapping.h", "include/linux/dma-mapping.h"),
        ("/home/me/kernel/linux/kernel/dma/debug.c", "kernel/dma/debug.c"),
        ("/home/me/my_driver.c", "/home/me/my_driver.c"),
    ],
)
def test_a_file_is_named_by_its_path_in_the_tree(printed: str, file: str) -> None:
    (splat,) = parse([f"WARNING: CPU: 0 PID: 35 at {printed}:381 foo_xfer+0x12/0x34 [foo]"])
    assert (splat.file, splat.line) == (file, 381)


def test_a_second_oops_is_a_second_splat() -> None:
    lines = [
        "BUG: kernel NULL pointer dereference, address: 0000000000000000",
        "#PF: supervisor read access in kernel mode",
        "Oops: Oops: 0000 [#1] PREEMPT SMP",
        "RIP: 0010:one+0x1/0x2",
        "---[ end trace 0000000000000000 ]---",
        "Oops: general protection fault: 0000 [#2] PREEMPT SMP",
        "RIP: 0010:two+0x1/0x2",
        "---[ end trace 0000000000000000 ]---",
        "Kernel panic - not syncing: Fatal exception",
    ]
    assert [splat.function for splat in parse(lines)] == ["one", "two"]


def test_a_panic_after_a_finished_warning_is_its_own_splat() -> None:
    lines = [*warning("x"), "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009"]
    assert [splat.message[:12] for splat in parse(lines)] == ["WARNING at k", "Kernel panic"]


RUBBISH = st.lists(
    st.one_of(
        st.sampled_from(ANCHORS),
        st.sampled_from([part for path in FIXTURES for part in path.read_text().splitlines()]),
        st.text(max_size=40),
    ),
    max_size=60,
)


@pytest.mark.parametrize("slug", SPLAT_CLASSES)
def test_a_message_without_its_dma_api_is_looked_at(slug: str) -> None:
    for known in SPLAT_CLASSES[slug].formats:
        if known.prefix is Prefix.DMA_API:
            assert may_matter(f"foo 1000.i2c: {known.core}"), known.core


@given(RUBBISH)
def test_no_input_raises_and_anchors_lose_nothing(lines: list[str]) -> None:
    reader = Reader()
    source = Source(lambda: reader.idle)
    slow: list[Splat] = []
    for number, line in enumerate(lines, 1):
        matters = not reader.idle or may_matter(line)
        skipped = not matters and source.idle  # by parse()
        parts = [(number, part) for part in read_line(line)] if skipped else source.read(number, line, matters)
        for begun, part in parts:
            slow += reader.feed(begun, *part)
    for begun, part in source.close():
        slow += reader.feed(begun, *part)
    slow += reader.close()
    fast = list(parse(lines))
    assert fast == slow
    assert [splat.log_line for splat in fast] == sorted(splat.log_line for splat in fast)


@given(st.lists(st.binary(max_size=60), max_size=40))
def test_no_bytes_raise(lines: list[bytes]) -> None:
    list(parse(lines))
    parse_records([line.decode("latin-1") for line in lines])
