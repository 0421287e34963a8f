# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of splat classes: what the kernel can say about DMA, in Linux 2.6.28 to 7.2.

One row a class. A new message is a new Format in its row, copied from the kernel's source; the reader of reports
(reports.py) and the tests need no other edit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ahocorasick_rs import AhoCorasick

from dmasafe.dmesg.formats import Format, Prefix, Reading

# What the values mean. Integers, unless it says otherwise.
FIELDS = {
    "device_address": "the mapping's DMA address, as the device sees it",
    "size": "bytes of the mapping, or of the request",
    "map_size": "bytes that were mapped",
    "unmap_size": "bytes that the driver unmapped",
    "address": "the CPU's address of the buffer; hashed by the kernel unless no_hash_pointers, absent if withheld",
    "length": "bytes that the driver asked to map",
    "mapped_as": "text: the API family that mapped (single, scatter-gather, coherent, noncoherent, resource, phy)",
    "unmapped_as": "text: the API family that unmapped",
    "mapped_with": "text: the direction of the mapping (DMA_TO_DEVICE, ...); the attributes, an integer, in free-attrs",
    "unmapped_with": "text: the direction of the unmapping; the attributes, an integer, in free-attrs",
    "synced_with": "text: the direction of the sync",
    "cpu_alloc_address": "the physical address of the coherent memory when it was allocated",
    "cpu_free_address": "the physical address that the driver freed",
    "map_count": "scatterlist entries mapped",
    "unmap_count": "scatterlist entries unmapped",
    "sync_count": "scatterlist entries synced",
    "allocation_size": "bytes of the mapping that was synced, or of its bounce buffer",
    "device": "text: the device, where the message itself names it: in Splat.device",
    "sync_end": "first byte after the synced range, counted from the mapping's start",
    "max_length": "the longest segment that the device claims to take, in bytes",
    "start": "DMA address of the segment's first byte",
    "end": "DMA address of the segment's last byte",
    "boundary": "the device's segment boundary mask",
    "count": "DMA mappings that were still there",
    "overlaps": "mappings of one cache line that dma-debug can count",
    "cacheline": "number of the cache line",
    "physical_address": "a physical address",
    "mask": "the device's DMA mask",
    "bus_limit": "the highest address that the device's bus can reach",
    "slots": "slots of swiotlb's pool",
    "used_slots": "slots that were taken",
    "allocated_at": "text: the frames that a sanitizer recorded when the memory was allocated, as in mapped_at",
    "freed_at": "text: those of when it was freed",
    "mapped_at": "text: the frames that dma-debug recorded when it was mapped, innermost first, joined by ' < '",
    "unmapped_at": "text: the frames of the unmapping, as mapped_at; only the strict machine has them",
    "other_device_address": "the DMA address of the other mapping",
    "other_size": "bytes of the other mapping",
    "memory": "text: what memory it is",
    "lost": "bytes that were lost",
    "cacheline_size": "bytes of a cache line",
    "offset": "where in the mapping, in bytes",
}

_ADDRESS = "device_address"
_ENTRY = "[device address=0x%016llx] [size=%llu bytes] "
_OVERFLOW = ("device_address", "size", "mask", "bus_limit")
# images/strict/.
_STRICT = "[device address=0x%016llx] [size=%zu bytes]"


@dataclass(frozen=True)
class SplatClass:
    """One row: a slug of DESIGN.md, the kernel function that reports it, and the formats of its first line.

    ``details`` are the formats of lines after the first. ``bug_file`` names a header whose ``kernel BUG at`` is this
    class, but for ``other_lines`` of it, where another condition is checked.
    """

    slug: str
    source: str
    formats: tuple[Format, ...] = ()
    details: tuple[Format, ...] = ()
    bug_file: str = ""
    other_lines: frozenset[int] = frozenset()


def _row(slug: str, source: str, *formats: Format, details: tuple[Format, ...] = ()) -> SplatClass:
    return SplatClass(slug, source, formats, details)


def _strict(text: str, *names: str) -> Format:
    """A message of the strict machine's that names a mapping; ``names`` are those of the values after it."""
    return Format(text, (_ADDRESS, "size", *names), Prefix.STRICT)


_ROWS = (
    _row("map-stack", "kernel/dma/debug.c check_for_stack()",
        Format("device driver maps memory from stack [addr=%p]", ("address",)),
        Format("device driver maps memory from stack [probable addr=%p]", ("address",)),
        Format("device driver maps memory fromstack [addr=%p]", ("address",), versions="old kernels; a typo")),
    _row("map-vmalloc", "kernel/dma/debug.c debug_dma_map_single()",
        Format("device driver maps memory from vmalloc area [addr=%p] [len=%lu]", ("address", "length"))),
    _row("map-invalid-area", "kernel/dma/debug.c debug_dma_map_single()",
        Format("device driver maps memory from invalid area [addr=%p] [len=%lu]", ("address", "length"))),
    _row("map-text-or-rodata", "kernel/dma/debug.c check_for_illegal_area()",
        Format("device driver maps memory from kernel text or rodata [addr=%p] [len=%lu]", ("address", "length"))),
    _row("map-error-unchecked", "kernel/dma/debug.c check_unmap()",
        # The kernel has no space between "error" and the bracket.
        Format("device driver failed to check map error" + _ENTRY + "[mapped as %s]",
               (_ADDRESS, "size", "mapped_as"))),
    _row("free-invalid-address", "kernel/dma/debug.c check_unmap()",
        Format("device driver tries to free an invalid DMA memory address")),
    _row("free-unallocated", "kernel/dma/debug.c check_unmap()",
        Format("device driver tries to free DMA memory it has not allocated "
               "[device address=0x%016llx] [size=%llu bytes]", (_ADDRESS, "size"))),
    _row("free-size", "kernel/dma/debug.c check_unmap()",
        Format("device driver frees DMA memory with different size "
               "[device address=0x%016llx] [map size=%llu bytes] [unmap size=%llu bytes]",
               (_ADDRESS, "map_size", "unmap_size"))),
    _row("free-function", "kernel/dma/debug.c check_unmap()",
        Format("device driver frees DMA memory with wrong function " + _ENTRY + "[mapped as %s] [unmapped as %s]",
               (_ADDRESS, "size", "mapped_as", "unmapped_as"))),
    _row("free-cpu-address", "kernel/dma/debug.c check_unmap()",
        Format("device driver frees DMA memory with different CPU address "
               + _ENTRY + "[cpu alloc address=0x%016llx] [cpu free address=0x%016llx]",
               (_ADDRESS, "size", "cpu_alloc_address", "cpu_free_address"), versions="to 6.1"),
        # %pa prints a 0x of its own: the line has "0x0x".
        Format("device driver frees DMA memory with different CPU address "
               + _ENTRY + "[cpu alloc address=0x%pa] [cpu free address=0x%pa]",
               (_ADDRESS, "size", "cpu_alloc_address", "cpu_free_address"), versions="from 6.12")),
    _row("free-sg-count", "kernel/dma/debug.c check_unmap()",
        Format("device driver frees DMA sg list with different entry count [map count=%d] [unmap count=%d]",
               ("map_count", "unmap_count"))),
    _row("free-direction", "kernel/dma/debug.c check_unmap()",
        Format("device driver frees DMA memory with different direction "
               + _ENTRY + "[mapped with %s] [unmapped with %s]", (_ADDRESS, "size", "mapped_with", "unmapped_with"))),
    _row("free-attrs", "kernel/dma/debug.c check_unmap()",
        Format("device driver frees DMA memory with different attributes "
               + _ENTRY + "[mapped with 0x%lx] [unmapped with 0x%lx]",
               (_ADDRESS, "size", "mapped_with", "unmapped_with"), versions="7.2, not 6.12")),
    _row("sync-unallocated", "kernel/dma/debug.c check_sync()",
        Format("device driver tries to sync DMA memory it has not allocated "
               "[device address=0x%016llx] [size=%llu bytes]", (_ADDRESS, "size"))),
    _row("sync-out-of-range", "kernel/dma/debug.c check_sync()",
        Format("device driver syncs DMA memory outside allocated range "
               "[device address=0x%016llx] [allocation size=%llu bytes] [sync offset+size=%llu]",
               (_ADDRESS, "allocation_size", "sync_end"))),
    _row("sync-direction", "kernel/dma/debug.c check_sync()",
        Format("device driver syncs DMA memory with different direction "
               + _ENTRY + "[mapped with %s] [synced with %s]", (_ADDRESS, "size", "mapped_with", "synced_with"))),
    _row("sync-cpu-readonly", "kernel/dma/debug.c check_sync()",
        Format("device driver syncs device read-only DMA memory for cpu "
               + _ENTRY + "[mapped with %s] [synced with %s]", (_ADDRESS, "size", "mapped_with", "synced_with"))),
    _row("sync-device-writeonly", "kernel/dma/debug.c check_sync()",
        Format("device driver syncs device write-only DMA memory to device "
               + _ENTRY + "[mapped with %s] [synced with %s]", (_ADDRESS, "size", "mapped_with", "synced_with"))),
    _row("sync-sg-count", "kernel/dma/debug.c check_sync()",
        Format("device driver syncs DMA sg list with different entry count [map count=%d] [sync count=%d]",
               ("map_count", "sync_count"))),
    _row("sg-too-long", "kernel/dma/debug.c check_sg_segment()",
        Format("mapping sg segment longer than device claims to support [len=%u] [max=%u]", ("length", "max_length"))),
    _row("sg-boundary", "kernel/dma/debug.c check_sg_segment()",
        Format("mapping sg segment across boundary [start=0x%016llx] [end=0x%016llx] [boundary=0x%016llx]",
               ("start", "end", "boundary"))),
    _row("cacheline-overlap", "kernel/dma/debug.c add_dma_entry(), active_cacheline_inc_overlap()",
        Format("cacheline tracking EEXIST, overlapping mappings aren't supported"),
        Format("cacheline tracking EEXIST, overlapping mappings aren't supported",
               prefix=Prefix.DMA_API_BARE, warns=False, versions="5.15"),
        Format("exceeded %d overlapping mappings of cacheline %pa",
               ("overlaps", "cacheline"), prefix=Prefix.DMA_API_BARE)),
    _row("leak-on-release", "kernel/dma/debug.c dma_debug_device_change()",
        Format("device driver has pending DMA allocations while released from device [count=%d]", ("count",)),
        details=(
            Format("One of leaked entries details: " + _ENTRY + "[mapped with %s] [mapped as %s]",
                   (_ADDRESS, "size", "mapped_with", "mapped_as"), prefix=Prefix.NONE),
        )),
    _row("map-resource-ram", "kernel/dma/debug.c debug_dma_map_phys()",
        Format("dma_map_resource called for RAM address %pa", ("physical_address",), versions="7.2, not 6.12")),
    _row("cacheline-touched", "kernel/dma/debug.c debug_dma_assert_idle()",
        Format("cpu touching an active dma mapped cacheline [cln=%pa]", ("cacheline",), versions="before 5.10")),
    _row("map-vmalloc-rejected", "include/linux/dma-mapping.h dma_map_single_attrs()",
        Format("rejecting DMA map of vmalloc memory", prefix=Prefix.DEVICE)),
    _row("addr-overflow", "kernel/dma/direct.h dma_direct_map_phys()",
        Format("DMA addr %pad+%zu overflow (mask %llx, bus limit %llx).", _OVERFLOW, Prefix.DEVICE),
        Format("swiotlb addr %pad+%zu overflow (mask %llx, bus limit %llx).", _OVERFLOW, Prefix.DEVICE),
        # 4.16 to 5.0 put the function's name before it: dma_direct_map_page: overflow ...; x86's nommu had no device.
        Format("overflow %pad+%zu of device mask %llx bus mask %llx", _OVERFLOW, Prefix.DEVICE, versions="4.18 to 5.2"),
        Format("overflow %pad+%zu of DMA mask %llx bus limit %llx", _OVERFLOW, Prefix.DEVICE, versions="before 5.10"),
        Format("overflow %pad+%zu of DMA mask %llx bus mask %llx", _OVERFLOW, Prefix.DEVICE, versions="before 5.10"),
        Format("overflow %pad+%zu of device mask %llx", _OVERFLOW[:3], Prefix.DEVICE, versions="before 5.10")),
    _row("swiotlb-full", "kernel/dma/swiotlb.c swiotlb_tbl_map_single()",
        Format("swiotlb buffer is full (sz: %zd bytes), total %lu (slots), used %lu (slots)",
               ("size", "slots", "used_slots"), Prefix.DEVICE, warns=False),
        Format("swiotlb buffer is full (sz: %zd bytes)", ("size",), Prefix.DEVICE, warns=False, versions="before 4.20"),
        Format("swiotlb: coherent allocation failed, size=%zu", ("size",), Prefix.DEVICE, warns=False,
               versions="4.16 to 4.20"),
        Format("swiotlb: coherent allocation failed for device %s size=%zu", ("device", "size"), Prefix.NONE,
               warns=False, versions="before 4.16"),
        Format("DMA: Out of SW-IOMMU space for %zu bytes at device %s", ("size", "device"), Prefix.NONE, warns=False,
               versions="before 4.16"),
        Format("Invalid sizes (mapping: %zd bytes, alloc: %zd bytes)", ("size", "allocation_size"), Prefix.DEVICE,
               warns=False, versions="5.7 to 6.7"),
        Format("Can not allocate SWIOTLB buffer earlier and can't now provide you with the DMA bounce buffer",
               prefix=Prefix.DEVICE, warns=False)),
    _row("swiotlb-out-of-range", "kernel/dma/swiotlb.c swiotlb_bounce()",
        Format("Buffer overflow detected. Allocation size: %zu. Mapping size: %zu+%u.",
               ("allocation_size", "size", "offset"), Prefix.DEVICE, versions="5.14 to 6.8"),
        Format("Buffer overflow detected. Allocation size: %zu. Mapping size: %zu.", ("allocation_size", "size"),
               Prefix.DEVICE),
        Format("Access before mapping start detected. orig offset %u, requested offset %u.", ("start", "offset"),
               Prefix.DEVICE, versions="5.14 to 6.8")),
    _row("usb-buffer-on-stack", "drivers/usb/core/hcd.c usb_hcd_map_urb_for_dma()",
        Format("transfer buffer is on stack", prefix=Prefix.NONE),
        Format("setup packet is on stack", prefix=Prefix.NONE)),
    _row("usb-buffer-not-dma-capable", "drivers/usb/core/hcd.c usb_hcd_map_urb_for_dma()",
        Format("transfer buffer not dma capable", prefix=Prefix.NONE, versions="before 5.10"),
        Format("setup packet is not dma capable", prefix=Prefix.NONE, versions="before 5.10")),
    SplatClass(
        "sg-virt-invalid",
        "include/linux/scatterlist.h sg_set_buf()",
        bug_file="include/linux/scatterlist.h",
        # sg_assign_page() and sg_page(): a misaligned page, a chain entry. 5.10; 6.1; 6.12; 7.2.
        other_lines=frozenset({95, 97, 127, 115, 117, 147, 171, 137, 139, 194})),
    _row("debug-disabled", "kernel/dma/debug.c dma_entry_alloc(), add_dma_entry(), dma_debug_init()",
        *(
            Format(text, prefix=Prefix.DMA_API_BARE, warns=False)
            for text in (
                "debugging out of memory - disabling",
                "debugging out of memory error - disabled",
                "cacheline tracking ENOMEM, dma-debug disabled",
                "error creating debugfs entries - disabling",
                # Not all of it: the leak check of that bus.
                "dma_debug_add_bus: out of memory",
            )
        )),
    _row("strict-unmapped", "images/strict/strict_table.c find_refusal()",
        _strict("device read memory that is not mapped to it " + _STRICT),
        _strict("device wrote to memory that is not mapped to it " + _STRICT)),
    _row("strict-overrun", "images/strict/strict_table.c find_refusal()",
        _strict("device read beyond its mapping " + _STRICT + " [map size=%zu bytes]", "map_size"),
        _strict("device wrote beyond its mapping " + _STRICT + " [map size=%zu bytes]", "map_size")),
    _row("strict-direction", "images/strict/strict_table.c find_refusal()",
        _strict("device read against the direction of its mapping " + _STRICT + " [mapped with %s]", "mapped_with"),
        _strict("device wrote against the direction of its mapping " + _STRICT + " [mapped with %s]", "mapped_with")),
    _row("strict-cpu-write", "images/strict/strict_view.c check_untouched()",
        _strict("the CPU wrote to memory that the device owns " + _STRICT + " [offset=%zu]", "offset")),
    _row("strict-line-lost", "images/strict/strict_view.c edge_lose()",
        _strict("bytes beside a mapping were written meanwhile and are lost " + _STRICT
                + " [lost=%u bytes] [line=%u bytes]", "lost", "cacheline_size")),
    _row("strict-overlap", "images/strict/strict_ops.c check_overlap()",
        _strict("two mappings share a cache line " + _STRICT
                + " [other device address=0x%016llx] [other size=%zu bytes] [line=%u bytes]",
                "other_device_address", "other_size", "cacheline_size")),
    _row("strict-memory", "images/strict/strict_ops.c may_be_mapped(), map_resource()",
        Format("driver maps memory that no allocator gave it [physical address=%pa] [size=%zu bytes] [memory=%s]",
               ("physical_address", "size", "memory"), Prefix.STRICT),
        Format("driver maps RAM as a resource [physical address=%pa] [size=%zu bytes]",
               ("physical_address", "size"), Prefix.STRICT)),
    _row("strict-segment", "images/strict/strict_ops.c check_segment()",
        Format("driver maps an entry longer than its device takes [size=%u bytes] [max=%u bytes]",
               ("size", "max_length"), Prefix.STRICT),
        _strict("driver maps an entry across a boundary of its device's " + _STRICT + " [boundary=0x%016llx]",
                "boundary")),
    _row("strict-unmap", "images/strict/strict_ops.c find_to_unmap(), check_unmap()",
        Format("driver unmaps a mapping that failed", (), Prefix.STRICT),
        _strict("driver unmaps what is not mapped for it " + _STRICT),
        _strict("driver unmaps by another function " + _STRICT + " [mapped as %s] [unmapped as %s]",
                "mapped_as", "unmapped_as"),
        Format("driver unmaps another size [device address=0x%016llx] [map size=%zu bytes] [unmap size=%zu bytes]",
               (_ADDRESS, "map_size", "unmap_size"), Prefix.STRICT),
        _strict("driver unmaps in another direction " + _STRICT + " [mapped with %s] [unmapped with %s]",
                "mapped_with", "unmapped_with"),
        _strict("driver unmaps with other attributes " + _STRICT + " [mapped with 0x%lx] [unmapped with 0x%lx]",
                "mapped_with", "unmapped_with"),
        _strict("driver frees coherent memory at another CPU address " + _STRICT)),
    _row("strict-sync", "images/strict/strict_ops.c find_to_sync()",
        _strict("driver syncs what is not mapped for it " + _STRICT),
        _strict("driver syncs in another direction " + _STRICT + " [mapped with %s] [synced with %s]",
                "mapped_with", "synced_with")),
    _row("strict-freed", "images/strict/strict_watch.c find_mapped()",
        _strict("memory is freed while it is mapped " + _STRICT + " [mapped with %s]", "mapped_with")),
    _row("strict-leak", "images/strict/strict_ops.c strict_leave()",
        _strict("driver left mappings behind " + _STRICT + " [count=%u]", "count")),
    _row("strict-full", "images/strict/strict_ops.c find_full()",
        _strict("no bus address is left: the oldest mapping was never unmapped " + _STRICT)),
    SplatClass("dma-debug-cut", "err_printk() in kernel/dma/debug.c, its message lost: where it was mapped is left"),
    SplatClass("other", "every other report of the kernel's; headers.py has their first lines"),
)  # fmt: skip

SPLAT_CLASSES: dict[str, SplatClass] = {row.slug: row for row in _ROWS}


# A message is wrapped over so many lines at the most: 200 characters on a terminal of 80 columns.
MAX_PIECES = 4
# Where a message may begin in its line: after the driver and device, a function's name, "DMA-API: ".
MAX_COLONS = 12
# So much of a cut message is looked up; a shorter rest could be anything's.
TELLING_CUT_CHARS = 20
# So much of a message's beginning tells it from other text, where the rest is on the next line.
TELLING_PIECE_CHARS = 6


@dataclass(frozen=True)
class Message:
    """A line that one of the formats explains. ``warns`` as in Format; ``text`` without driver and device.

    ``complete`` is False if the line ends before the message does, ``named`` if only the whole of it, in a report
    or stamped by the kernel, tells it from a sentence of somebody's. ``line`` is the whole line.
    """

    splat_class: str
    driver: str | None
    device: str | None
    text: str
    fields: dict[str, int | str]
    warns: bool
    complete: bool = True
    named: bool = True
    line: str = ""


def read_message(line: str) -> Message | None:
    """The class, device and values of one line of text (no timestamp); None if no row explains it."""
    found = _whole_message(line)
    if found is None and "  " in line:  # a terminal that wrapped has filled its lines with spaces
        found = _whole_message(_SPACES.sub(" ", line)) or _whole_message(_SPACES.sub("", line))
    return found or _cut_message(line)


def readings(line: str) -> Iterator[Reading]:
    """The formats whose beginnings a line holds, whatever stands before them."""
    return (reading for _, known in _formats_in(line) if (reading := known.read(line)) is not None)


def _whole_message(line: str) -> Message | None:
    best: Message | None = None
    for row, known in _formats_in(line):
        found = known.read(line)
        if found is None:
            continue
        after = line[found.end :]
        who = _who(known.prefix, line[: found.start], found.complete)
        if who is None or (known.prefix is Prefix.NONE and after.strip()) or (found.complete and _PROSE.match(after)):
            continue
        driver, device = who
        device = str(found.values.pop("device", "")) or device
        named = known.prefix is not Prefix.NONE
        text = found.text
        told = Message(row.slug, driver, device, text, found.values, known.warns, found.complete, named, line)
        if told.complete:
            return told
        if best is None or len(told.fields) > len(best.fields):
            best = told
    return best


def _cut_message(line: str) -> Message | None:
    """A message whose values are missing, or its end: only if what is left can be of one class alone."""
    at = line.find(": ")
    for _ in range(MAX_COLONS):
        if at < 0:
            return None
        before, rest = line[: at + 2], line[at + 2 :].strip()
        at = line.find(": ", at + 2)
        cut = _CORES.get(rest[:TELLING_CUT_CHARS])
        if cut is None:
            continue
        fits = [(row, known) for row, known in cut if rest.startswith(known.core) or known.core.startswith(rest)]
        if len({row.slug for row, _ in fits}) != 1:
            continue
        row, known = fits[0]
        after = rest[len(known.core) :]
        who = _who(known.prefix, before, True)
        # Values, or what a wrapper closes a line with; a word is the next line of a mail.
        if who is None or after.strip()[:1] not in ("", "[", '"', "'", "<", ".", "\\", "]"):
            continue
        return Message(row.slug, *who, rest, {}, known.warns, False, True, line)
    return None


def may_begin_message(line: str) -> bool:
    """Whether a line that no row explains may be the beginning of a message that goes on in the next line."""
    if _DMA_API in line or _DEVICE_ALONE.match(line):
        return True
    tail = line.rpartition(": ")[2]
    return len(tail) >= TELLING_PIECE_CHARS and any(known.head.startswith(tail) for _, known in _FORMATS)


def join_message(pieces: Sequence[str]) -> Message | None:
    """The message that mail (at spaces) or a terminal (anywhere) has wrapped over some of these lines, or None."""
    best: Message | None = None
    for start, piece in enumerate(pieces):
        best = read_message(piece)
        if best is None and not may_begin_message(piece):
            continue
        joined = [piece]
        for more in pieces[start + 1 : start + MAX_PIECES]:
            if best is not None and best.complete:
                return best
            joined = [text + glue + more for text in joined for glue in (" ", "")]
            for text in joined:
                found = read_message(text)
                if found is None or (best is not None and best.complete):
                    continue
                if best is None or found.complete or len(found.fields) > len(best.fields):
                    best = found
        if best is not None:
            return best
    return best


def may_begin_detail(slug: str, line: str) -> bool:
    """Whether a line is, or begins, a line after the first one of this class."""
    return any(line.startswith(known.head[: len(line)]) for known in SPLAT_CLASSES[slug].details if len(line) > 8)


def join_detail(slug: str, pieces: Sequence[str]) -> Reading | None:
    """The detail that these lines hold, one or a wrapped one, or None."""
    best: Reading | None = None
    joined = [pieces[0]]
    for more in pieces[1:]:
        joined = [text + glue + more for text in joined for glue in (" ", "")]
    for known in SPLAT_CLASSES[slug].details:
        for text in joined:
            found = known.read(text)
            if found is not None and (best is None or len(found.values) > len(best.values)):
                best = found
    return best


def class_of_bug(file: str, line: int) -> str:
    """The class of a ``kernel BUG at file:line``."""
    for row in _ROWS:
        if row.bug_file and file.endswith(row.bug_file) and line not in row.other_lines:
            return row.slug
    return "other"


def _all_formats() -> Iterator[tuple[SplatClass, Format]]:
    for row in _ROWS:
        for known in row.formats:
            yield row, known


_FORMATS = tuple(_all_formats())

# All heads are looked for at once; only the formats that have one of those in the line read it.
_HEADS = tuple(dict.fromkeys(known.head for _, known in _FORMATS))
_FINDER = AhoCorasick(_HEADS)
_WITH_HEAD = tuple([n for n, (_, known) in enumerate(_FORMATS) if known.head == head] for head in _HEADS)


def _formats_in(line: str) -> list[tuple[SplatClass, Format]]:
    """The formats whose heads a line holds, in the table's order."""
    found = {head for head, _, _ in _FINDER.find_matches_as_indexes(line, overlapping=True)}
    return [_FORMATS[number] for number in sorted(number for head in found for number in _WITH_HEAD[head])]


# The formats by how their cores begin.
_CORES: dict[str, list[tuple[SplatClass, Format]]] = {}
for _row_of, _known in _FORMATS:
    if len(_known.core) >= TELLING_CUT_CHARS and _known.prefix is not Prefix.NONE:
        _CORES.setdefault(_known.core[:TELLING_CUT_CHARS], []).append((_row_of, _known))

_DMA_API = "DMA-API: "
_STRICT_BUG = "dmasafe-strict: BUG: "
_SPACES = re.compile(r" {2,}")
# After the end of a message: words, as a sentence that quotes it has them. Wrappers put quotes and tags there.
_PROSE = re.compile(r"[,;]?\s+[^\W\d_]{2,}\s+[^\W\d_]{2,}|,\s+[^\W\d_]{2,}")
# A device's name as buses make them: 0000:00:14.0, fea2f000.fcp, usb1, 1-1.2:1.0.
_DEVICE = re.compile(r"[\w:.,@+-]*\d[\w:.,@+-]*$")
_DEVICE_ALONE = re.compile(r"[\w.-]{2,60} [\w:.,@+-]{0,60}\d[\w:.,@+-]{0,60}:$")
# What no driver is called: the clock, the level, the task of some unknown prefix before it.
_STAMPED = re.compile(r"\d[:.]\d\d|[\[\](){}<>|\"']|[:;,](?: |$)")
# dma_direct_map_page: overflow ... (4.16 to 5.0), nommu_map_single: overflow ...
_FUNCTION = re.compile(r"[a-z_]+_[a-z_]+")


def _who(prefix: Prefix, before: str, whole: bool) -> tuple[str | None, str | None] | None:
    """Driver and device from the text before a message, or None if that text does not belong to such a message."""
    if prefix is Prefix.NONE:
        return None if before else (None, None)
    if prefix is Prefix.DMA_API_BARE:
        return (None, None) if before == _DMA_API else None
    marked = prefix is Prefix.DEVICE
    if prefix is Prefix.STRICT:
        if not before.startswith(_STRICT_BUG):
            return None
        before, marked = before[len(_STRICT_BUG) :], True
    if prefix is Prefix.DMA_API:
        if before.startswith(_DMA_API):
            before, marked = before[len(_DMA_API) :], True
        elif before.endswith(_DMA_API):  # before 4.20
            before, marked = before[: -len(_DMA_API)], True
        elif not whole:
            return None
    if not before.endswith(": "):
        return None
    # A driver's name may hold spaces, a device's hardly ever; a device without driver, bus and class has only one.
    driver, _, device = before[:-2].strip().rpartition(" ")
    if driver.endswith(":") and _FUNCTION.fullmatch(device):
        driver, _, device = driver[:-1].rpartition(" ")
    elif not driver and device.startswith("nommu_"):
        return None, None
    if not marked and not (_DEVICE.match(device) and driver and " " not in driver):
        return None
    if " " in driver and _STAMPED.search(driver):
        driver = driver.rpartition(" ")[2]
        # Of a sentence, the word before a colon is not even that.
        if not driver.strip(":") or not _DEVICE.match(device):
            return None
    return _name(driver), _name(device)


def _name(printed: str) -> str | None:
    return None if printed in ("", "NULL") else printed


def is_checker(function: str) -> bool:
    """Whether dma-debug reports from this function, and nothing else does."""
    return _CHECKER.match(function.lstrip(".")) is not None


def class_of_function(function: str) -> str | None:
    """The class that only this function of kernel/dma/debug.c reports; None if it has several, or is another."""
    return _CLASS_OF_FUNCTION.get(function.lstrip(".").partition(".")[0])


_CHECKER = re.compile(
    r"(?:check_unmap|check_sync|check_for_stack|check_for_illegal_area|check_sg_segment|add_dma_entry|"
    r"active_cacheline_inc_overlap|dma_debug_device_change|debug_dma_assert_idle)(?:\.|$)"
)
# Others call debug_dma_map_*() and add_dma_entry() to have a mapping checked: only as the place do they tell.
_CLASS_OF_FUNCTION = {
    "check_for_stack": "map-stack",
    "check_for_illegal_area": "map-text-or-rodata",
    "add_dma_entry": "cacheline-overlap",
    "active_cacheline_inc_overlap": "cacheline-overlap",
    "dma_debug_device_change": "leak-on-release",
    "debug_dma_assert_idle": "cacheline-touched",
}
