# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's source says must come of a seeded fault: one entry a fault, its rows tried in order.

Read in kernel/dma/{debug,direct,mapping}.c of 5.10, 6.1, 6.12 and 7.2. A row without conditions says what comes of it
where nobody looks: the first oracle that is left is the device, and often there is none. Everything without a fault
is predicted by the model; dmasafe/expect/__init__.py asks the right one of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypedDict, Unpack

from dmasafe.architecture import Layout, find_layout
from dmasafe.facts import KernelFacts
from dmasafe.outcome import Expectation, Outcome, Skip
from dmasafe.scenario import Scenario

# kernel/dma/debug.c, add_dma_entry(): in 5.10 only a TODO, since 5.15 a report.
OVERLAP_REPORTED = (5, 15)
# Somewhere after 6.12 add_dma_entry() came to say nothing where dma_get_cache_alignment() is below a cache line, as on
# x86, which has no ARCH_DMA_MINALIGN; so it is in 7.2.
OVERLAP_NEEDS_ALIGNMENT = (7, 0)
# kernel/dma/mapping.c dma_map_resource() warns of RAM in 5.10, not in 6.1; debug_dma_map_phys() does in 7.2.
RESOURCE_WARNED_UNTIL = (5, 15)
# kernel/dma/direct.h dma_direct_map_page() in 5.10 tries swiotlb first, whether there is any or not: no WARN.
OVERFLOW_WARNED = (5, 15)
# check_unmap() compares attributes, and debug_dma_map_phys() looks at MMIO, in 7.2 and not in 6.12.
ATTRS_COMPARED = (7, 0)
# Until it was removed between 6.12 and 7.2, CONFIG_DMA_API_DEBUG_SG decided over check_sg_segment().
SG_ALWAYS_CHECKED = (7, 0)

DEBUG = "DMA_API_DEBUG"
DEBUG_SG = "DMA_API_DEBUG_SG"
# Small kmalloc() memory bounces where it must: add_dma_entry() says nothing of overlaps then, if there is a pool.
BOUNCED_KMALLOC = "DMA_BOUNCE_UNALIGNED_KMALLOC"
NO_SWIOTLB, FORCED_SWIOTLB = "noforce", "force"


@dataclass(frozen=True)
class FaultRow:
    """What comes of a fault if the conditions hold: a Kconfig symbol, a range of versions, the message's direction,
    the memory layout, that there is a pool for small kmalloc() memory to bounce through, and that it does.
    """

    outcome: Outcome
    why: str
    classes: tuple[str, ...] = ()
    needs: str | None = None
    since: tuple[int, ...] = ()
    before: tuple[int, ...] = (1000,)
    reads: bool | None = None
    where: Callable[[Layout], bool] | None = None
    may_bounce: bool = False
    bounces: bool = False
    direct: bool | None = None

    def holds(self, kernel: KernelFacts, reads: bool) -> bool:
        return (
            (self.needs is None or kernel.has(self.needs))
            and self.since <= kernel.version < self.before
            and self.reads in (None, reads)
            and (self.where is None or _is_so(self.where, kernel.arch))
            and (not self.may_bounce or (kernel.has(BOUNCED_KMALLOC) and kernel.swiotlb != NO_SWIOTLB))
            and self.bounces == (not _is_plain(kernel))
        )


def _is_so(where: Callable[[Layout], bool], arch: str) -> bool:
    layout = find_layout(arch)
    return layout is not None and where(layout)


def _is_plain(kernel: KernelFacts) -> bool:
    """Whether a mapping changes nothing but dma-debug's tables: what most of the rows are for."""
    return kernel.coherent is not False and kernel.swiotlb != FORCED_SWIOTLB and not kernel.iommu


class _Conditions(TypedDict, total=False):
    needs: str
    since: tuple[int, ...]
    before: tuple[int, ...]
    reads: bool
    where: Callable[[Layout], bool]
    may_bounce: bool
    bounces: bool
    direct: bool


def _caught(why: str, *classes: str, **conditions: Unpack[_Conditions]) -> FaultRow:
    return FaultRow(Outcome.CAUGHT, why, classes, **conditions)


def _safe(why: str, **conditions: Unpack[_Conditions]) -> FaultRow:
    return FaultRow(Outcome.SAFE, f"nobody notices: {why}", **conditions)


def _silent(why: str, **conditions: Unpack[_Conditions]) -> FaultRow:
    return FaultRow(Outcome.SILENT, why, **conditions)


def _below(memory: Layout) -> bool:
    return memory.modules_below_linear_map


_COHERENT = "without an IOMMU, and where DMA is coherent, map, unmap and sync do nothing, so the data is right"


def _debug_only(why: str, *classes: str, otherwise: FaultRow | None = None) -> tuple[FaultRow, ...]:
    """dma-debug reports it; without dma-debug nobody does."""
    return (_caught(why, *classes, needs=DEBUG), otherwise or _safe(_COHERENT))


_OVERLAP = (
    _safe("add_dma_entry() forgives overlaps where small kmalloc() memory may bounce", needs=DEBUG, may_bounce=True),
    _caught(
        "add_dma_entry() finds the cache line in its tree already",
        "cacheline-overlap",
        needs=DEBUG,
        since=OVERLAP_REPORTED,
        before=OVERLAP_NEEDS_ALIGNMENT,
        reads=True,
    ),
    _caught(
        "add_dma_entry() finds the cache line in its tree already, and ARCH_DMA_MINALIGN is no less than a line",
        "cacheline-overlap",
        needs=DEBUG,
        since=OVERLAP_NEEDS_ALIGNMENT,
        reads=True,
        where=lambda memory: memory.minalign_covers_line,
    ),
    _safe("active_cacheline_insert() leaves out DMA_TO_DEVICE", needs=DEBUG, reads=False),
    _safe("add_dma_entry() of this version says nothing of overlaps on this architecture", needs=DEBUG),
    _safe(_COHERENT),
)


def _sg_segment(why: str, slug: str) -> tuple[FaultRow, ...]:
    return (
        _caught(why, slug, needs=DEBUG_SG),
        _caught(why, slug, needs=DEBUG, since=SG_ALWAYS_CHECKED),
        _safe("check_sg_segment() is empty, and the emulated device has no such limit"),
    )


_BOUNCED = _Conditions(reads=True, may_bounce=True, bounces=True)
_SYNC_BEYOND = "bucket_find_contain() finds no mapping that holds the range"

FAULT_ROWS: dict[str, tuple[FaultRow, ...]] = {
    "map-stack": (
        _caught("check_for_stack() knows the pages of the current stack", "map-stack", needs=DEBUG, direct=True),
        _safe("dma_map_page() maps any page, and it is the right one", direct=True),
    ),
    "map-vmalloc": _debug_only(
        "debug_dma_map_single(), called by the driver itself, checks both virt_addr_valid() and is_vmalloc_addr()",
        "map-invalid-area",
        "map-vmalloc",
        otherwise=_safe("debug_dma_map_single() is empty, and the page behind the address is the right one"),
    ),
    "map-vmalloc-rejected": (
        _caught("dma_map_single_attrs() warns of vmalloc addresses and refuses", "map-vmalloc-rejected"),
    ),
    "map-invalid-area": (
        _caught(
            "modules are in vmalloc space, which dma_map_single_attrs() refuses",
            "map-vmalloc-rejected",
            where=lambda memory: memory.modules_in_vmalloc,
        ),
        _caught(
            "debug_dma_map_single() finds virt_addr_valid() false for module space; the address wraps to below memory",
            "map-invalid-area",
            "addr-overflow",
            needs=DEBUG,
            where=_below,
        ),
        _caught("the address of a module wraps to below memory", "addr-overflow", where=_below),
        *_debug_only(
            "debug_dma_map_single() finds virt_addr_valid() false for module space; the address is stray",
            "map-invalid-area",
            otherwise=_silent("virt_to_page() of a module address is nonsense and nobody looks: stray DMA"),
        ),
    ),
    "map-text-or-rodata": (
        _caught("modules are below the linear map: the length wraps and overflows", "addr-overflow", where=_below),
        _safe(
            "modules are below the kernel image: it is not between the two objects",
            where=lambda memory: memory.modules_below_image,
        ),
        *_debug_only(
            "memory_intersects() in check_for_illegal_area() finds the kernel image between the two objects",
            "map-text-or-rodata",
            otherwise=_safe("dma_capable() has nothing against 119 TiB under a mask of 64 bits"),
        ),
    ),
    "map-resource-ram": (
        _caught(
            "debug_dma_map_phys() finds a page that is not reserved",
            "map-resource-ram",
            needs=DEBUG,
            since=ATTRS_COMPARED,
        ),
        _caught("dma_map_resource() has WARN_ON_ONCE(pfn_valid()) and refuses", "other", before=RESOURCE_WARNED_UNTIL),
        _safe("dma_direct_map_resource() maps RAM as it would MMIO: at the same address"),
    ),
    "map-error-unchecked": _debug_only("check_unmap() finds MAP_ERR_NOT_CHECKED", "map-error-unchecked"),
    "map-error-ignored": (
        _caught(
            "the mapping overflows the mask, and check_unmap() is given DMA_MAPPING_ERROR",
            "addr-overflow",
            "free-invalid-address",
            needs=DEBUG,
            since=OVERFLOW_WARNED,
        ),
        _caught("check_unmap() is given DMA_MAPPING_ERROR", "free-invalid-address", needs=DEBUG),
        _caught(
            "dma_direct_map_page() warns of the overflow; the device is sent to DMA_MAPPING_ERROR all the same",
            "addr-overflow",
            since=OVERFLOW_WARNED,
        ),
        _silent("swiotlb has no room, and the device is sent to DMA_MAPPING_ERROR"),
    ),
    "addr-overflow": (
        _caught(
            "dma_capable() compares with the mask; dma_direct_map_page() warns", "addr-overflow", since=OVERFLOW_WARNED
        ),
        FaultRow(Outcome.REFUSED, "dma_direct_map_page() tries swiotlb, which has no room and says so without a WARN"),
    ),
    "wrong-device-map": (_caught("dma_map_page_attrs() has WARN_ON_ONCE(!dev->dma_mask) and refuses", "other"),),
    "wrong-direction": (_safe(f"check_unmap() compares one wrong direction with the other; {_COHERENT}"),),
    "device-overrun": (_silent("what the device is told passes no function of the kernel's"),),
    "cacheline-overlap": _OVERLAP,
    "messages-on-one-line": _OVERLAP,
    "free-invalid-address": _debug_only("check_unmap() knows DMA_MAPPING_ERROR", "free-invalid-address"),
    "free-unallocated": _debug_only("check_unmap() finds no mapping at that address", "free-unallocated"),
    "double-unmap": _debug_only("check_unmap() finds the mapping gone", "free-unallocated"),
    "double-unmap-after-error": _debug_only(
        "check_unmap() finds the mapping gone",
        "free-unallocated",
        otherwise=FaultRow(Outcome.REFUSED, f"the slave does not acknowledge; nobody notices the rest: {_COHERENT}"),
    ),
    "free-size": _debug_only("check_unmap() compares sizes", "free-size"),
    "free-direction": _debug_only("check_unmap() compares directions", "free-direction"),
    "free-attrs": (
        _caught("check_unmap() compares attributes", "free-attrs", needs=DEBUG, since=ATTRS_COMPARED),
        _safe("check_unmap() does not compare attributes in this version", needs=DEBUG),
        _safe("dma_direct_unmap_page() makes no difference between privileged and not"),
    ),
    "wrong-device-unmap": _debug_only("check_unmap() finds no mapping of that device", "free-unallocated"),
    "sync-unallocated": _debug_only(_SYNC_BEYOND, "sync-unallocated"),
    "sync-beyond": _debug_only(_SYNC_BEYOND, "sync-unallocated"),
    "sync-after-unmap": _debug_only(_SYNC_BEYOND, "sync-unallocated"),
    "sync-out-of-range": (
        _caught(
            "32 bits of length do not wrap 64 of address",
            "sync-unallocated",
            needs=DEBUG,
            where=lambda memory: memory.bits == 32,
        ),
        *_debug_only(
            "the end of the range wraps around, past containing_match(), and check_sync() compares sizes",
            "sync-out-of-range",
        ),
    ),
    "sync-direction": _debug_only("check_sync() compares directions", "sync-direction"),
    "sync-cpu-readonly": _debug_only(
        "check_sync() compares directions, then finds a sync for the CPU of what is mapped to the device",
        "sync-direction",
        "sync-cpu-readonly",
    ),
    "sync-device-writeonly": _debug_only(
        "check_sync() compares directions, then finds a sync for the device of what is mapped from it",
        "sync-direction",
        "sync-device-writeonly",
    ),
    "free-sg-count": _debug_only("check_unmap() compares the numbers of entries", "free-sg-count"),
    "sync-sg-count": _debug_only("check_sync() compares the numbers of entries", "sync-sg-count"),
    "sync-direction-sg": _debug_only("check_sync() compares directions", "sync-direction"),
    "free-direction-sg": _debug_only("check_unmap() compares directions", "free-direction"),
    "double-unmap-sg": _debug_only("check_unmap() finds the mapping gone", "free-unallocated"),
    "free-function": _debug_only("check_unmap() compares the kinds of mapping", "free-function"),
    "sg-too-long": _sg_segment("check_sg_segment() compares with dma_get_max_seg_size()", "sg-too-long"),
    "sg-boundary": _sg_segment("check_sg_segment() compares with dma_get_seg_boundary()", "sg-boundary"),
    "free-size-coherent": _debug_only(
        "check_unmap() compares sizes", "free-size", otherwise=_safe("dma_direct_free() frees whole pages")
    ),
    "free-cpu-address": _debug_only(
        "check_unmap() compares the physical addresses behind the CPU's",
        "free-cpu-address",
        otherwise=_safe("dma_direct_free() goes by the DMA address"),
    ),
    "free-function-coherent": _debug_only(
        "check_unmap() compares the kinds of mapping",
        "free-function",
        otherwise=_safe("dma_direct_unmap_page() frees nothing: a page is lost"),
    ),
    "leak-coherent": _debug_only(
        "dma_debug_device_change() counts what the unbound device still has",
        "leak-on-release",
        otherwise=_safe("nobody counts allocations"),
    ),
    "fill-late": (_safe(f"the device sees what the CPU writes; {_COHERENT}"),),
    "read-early": (_safe(f"the CPU sees what the device writes; {_COHERENT}"),),
    "write-beside": (_safe(f"no line is lost; {_COHERENT}"),),
    "unmap-early": (
        _silent("copied back from the bounce buffer before the device wrote into it", **_BOUNCED),
        _safe(f"dma-debug does not know when the device works; {_COHERENT}"),
    ),
    "use-after-unmap": (_silent("nobody watches the device: it reads what the buffer's next owner wrote"),),
    "free-while-mapped": (_silent("dma-debug does not hear of frees: the device reads what the next owner wrote"),),
    "put-before-unmap": (
        _silent("the caller's copy was made before what the device wrote was copied back", **_BOUNCED),
        _safe(f"dma-debug does not hear of frees, nor of reads by the CPU; {_COHERENT}"),
    ),
    "bounce-not-released": (
        _silent("what was read stays in the bounce buffer", reads=True),
        _safe("memory is lost, and only a leak detector would tell"),
    ),
    "bounce-not-copied": (_silent("i2c_put_dma_safe_msg_buf() copies only what is said to be transferred"),),
    "threshold-never-met": (
        FaultRow(Outcome.SAFE, "the data is right; only the device sees that no message goes by DMA", direct=False),
    ),
    "leak-on-release": _debug_only(
        "dma_debug_device_change() counts what the unbound device still has",
        "leak-on-release",
        otherwise=_safe("nobody counts mappings"),
    ),
    "debug-disabled": _debug_only(
        "dma_entry_alloc() gets no memory and sets global_disable",
        "debug-disabled",
        otherwise=_safe("nobody counts mappings"),
    ),
}


class StrictRow(NamedTuple):
    """What the strict machine reports of a fault (images/strict/), beside what dma-debug does.

    ``classes`` are none where it reports nothing, and the data tells. ``debug`` are dma-debug's where it comes to see
    something else there than elsewhere, None if it does not.
    ``reads`` as in FaultRow; ``above_line``: only where a cache line is longer than so many bytes.
    """

    why: str
    classes: tuple[str, ...]
    debug: tuple[str, ...] | None = None
    reads: bool | None = None
    above_line: int = 0


def _strict(why: str, *classes: str, debug: tuple[str, ...] | None = None) -> StrictRow:
    return StrictRow(why, classes, debug)


_STRICT_MEMORY = "strict_memory_forbidden() knows what no allocator gave out, and the mapping is refused"
_STRICT_UNMAP = _strict("find_to_unmap() and check_unmap() compare with the mapping at that address", "strict-unmap")
_STRICT_SYNC = _strict("find_to_sync() compares with the mapping at that address", "strict-sync")
_STRICT_FAILED = _strict(
    "the device is refused at DMA_MAPPING_ERROR, and that is unmapped",
    "strict-unmapped",
    "strict-unmap",
    debug=("free-invalid-address",),
)
_STRICT_SEGMENT = _strict("check_segment() compares with what the driver said of its device", "strict-segment")
_STRICT_EARLY = _strict("the device is refused what is not mapped at that moment", "strict-unmapped")
_STRICT_FREED = _strict("the allocators' tracepoints tell of memory that is mapped", "strict-freed")

#: Faults that are not here the strict machine has nothing to say of.
STRICT_ROWS: dict[str, StrictRow] = {
    "map-stack": _strict(_STRICT_MEMORY, "strict-memory", debug=()),
    "map-invalid-area": _strict(_STRICT_MEMORY, "strict-memory"),
    "map-text-or-rodata": _strict(_STRICT_MEMORY, "strict-memory", debug=()),
    "map-resource-ram": _strict(
        "RAM is no register, and the device is refused there", "strict-memory", "strict-unmapped"
    ),
    "map-error-unchecked": _STRICT_FAILED,
    "map-error-ignored": _STRICT_FAILED,
    "wrong-direction": _strict("the device is refused the other direction", "strict-direction"),
    "device-overrun": _strict("the device is refused what lies beyond the mapping", "strict-overrun"),
    "cacheline-overlap": _strict("check_overlap() finds the other mapping", "strict-overlap")._replace(reads=True),
    "messages-on-one-line": StrictRow(
        "check_overlap() finds the other mapping on the line", ("strict-overlap",), reads=True, above_line=32
    ),
    "free-invalid-address": _STRICT_UNMAP,
    "free-unallocated": _STRICT_UNMAP,
    "double-unmap": _STRICT_UNMAP,
    "double-unmap-after-error": _STRICT_UNMAP,
    "free-size": _STRICT_UNMAP,
    "free-direction": _STRICT_UNMAP,
    "free-attrs": _STRICT_UNMAP,
    "wrong-device-unmap": _STRICT_UNMAP,
    "sync-unallocated": _STRICT_SYNC,
    "sync-beyond": _STRICT_SYNC,
    "sync-after-unmap": _STRICT_SYNC,
    "sync-out-of-range": _STRICT_SYNC,
    "sync-direction": _STRICT_SYNC,
    "sync-cpu-readonly": _STRICT_SYNC,
    "sync-device-writeonly": _STRICT_SYNC,
    "free-sg-count": _STRICT_UNMAP,
    "sync-sg-count": _STRICT_SYNC,
    "sync-direction-sg": _STRICT_SYNC,
    "free-direction-sg": _STRICT_UNMAP,
    "double-unmap-sg": _STRICT_UNMAP,
    "free-function": _STRICT_UNMAP,
    "sg-too-long": _STRICT_SEGMENT,
    "sg-boundary": _STRICT_SEGMENT,
    "free-size-coherent": _STRICT_UNMAP,
    "free-cpu-address": _STRICT_UNMAP,
    "free-function-coherent": _STRICT_UNMAP,
    "leak-coherent": _strict("strict_leave() counts what the unbound device still has", "strict-leak"),
    "fill-late": _strict("check_untouched() compares with what memory held when it was mapped", "strict-cpu-write"),
    "read-early": _strict("the CPU sees what memory held when it was mapped: wrong data"),
    "write-beside": StrictRow(
        "edge_lose() compares the rest of the line with what memory held", ("strict-line-lost",), above_line=32
    ),
    "unmap-early": _STRICT_EARLY,
    "use-after-unmap": _STRICT_EARLY,
    "free-while-mapped": _STRICT_FREED,
    "put-before-unmap": _STRICT_FREED,
    "leak-on-release": _strict(
        "strict_leave() counts what the unbound device still has; the buffer was freed by then",
        "strict-leak",
        "strict-freed",
    ),
    "debug-disabled": _strict(
        "strict_table_take() has no address left; the buffer is freed while it is mapped",
        "strict-full",
        "strict-freed",
        debug=(),
    ),
}
# A mask that no bus address can meet is an error like any other there.
_STRICT_REFUSES = {"addr-overflow": "no bus address lies below the mask: dma_map_single() fails, which it may"}
_OF_DEBUG = (DEBUG, DEBUG_SG)


def _expect_strict(row: FaultRow, scenario: Scenario, kernel: KernelFacts) -> Expectation:
    """``row`` is what comes of it on a machine that is not strict."""
    fault = scenario.fault
    assert fault is not None
    if fault.name in _STRICT_REFUSES:
        return Expectation(Outcome.REFUSED, _STRICT_REFUSES[fault.name])
    strict = STRICT_ROWS.get(fault.name)
    if strict is None or strict.reads not in (None, scenario.reads) or kernel.strict_line <= strict.above_line:
        return Expectation(row.outcome, row.why, row.classes, row.direct)
    debug = (row.classes if row.needs in _OF_DEBUG else ()) if strict.debug is None else strict.debug
    classes = (*strict.classes, *(debug if kernel.has(DEBUG) else ()))
    return Expectation(Outcome.CAUGHT if classes else Outcome.SILENT, strict.why, classes, row.direct)


# Where a mistake cannot be made, and why.
UNSEEDED: dict[str, tuple[Callable[[Layout], bool], str]] = {
    "messages-on-one-line": (
        lambda memory: memory.l1_cache_bytes <= 32,
        "a cache line has 32 bytes (X86_L1_CACHE_SHIFT), a message too",
    ),
}


def expect_seeded(scenario: Scenario, kernel: KernelFacts) -> Expectation | Skip:
    """What must happen to a scenario with a seeded fault; its ``fault`` must not be None."""
    fault = scenario.fault
    assert fault is not None
    if scenario.without_fault.id not in fault.shown_with:
        return Skip(f"what must come of fault {fault.name} is known for {' and '.join(fault.shown_with)} only")
    if fault.name in UNSEEDED and _is_so(UNSEEDED[fault.name][0], kernel.arch):
        return Skip(UNSEEDED[fault.name][1])
    row = next((row for row in FAULT_ROWS[fault.name] if row.holds(kernel, scenario.reads)), None)
    if row is None:
        return Skip("what comes of it is known where DMA is coherent, and neither translated nor bounced")
    if kernel.strict_line:
        return _expect_strict(row, scenario, kernel)
    return Expectation(row.outcome, row.why, row.classes, row.direct)


@dataclass(frozen=True)
class Unreachable:
    """A class that dma-debug's source has a message for, and that no driver can make it say there."""

    splat_class: str
    why: str
    since: tuple[int, ...] = ()
    before: tuple[int, ...] = (1000,)
    where: Callable[[Layout], bool] | None = None


UNREACHABLE = (
    Unreachable("cacheline-overlap", "add_dma_entry() does not report overlaps yet", before=OVERLAP_REPORTED),
    Unreachable("cacheline-touched", "debug_dma_assert_idle() was removed in 5.10", since=(5, 10)),
    Unreachable("free-attrs", "check_unmap() does not compare attributes yet", before=ATTRS_COMPARED),
    Unreachable("map-resource-ram", "dma-debug does not look at resources yet", before=ATTRS_COMPARED),
    Unreachable(
        "cacheline-overlap",
        "add_dma_entry() asks dma_get_cache_alignment() >= L1_CACHE_BYTES; this architecture does not define "
        "ARCH_HAS_DMA_MINALIGN (include/linux/dma-mapping.h), so the former is 1",
        since=OVERLAP_NEEDS_ALIGNMENT,
        where=lambda memory: not memory.minalign_covers_line,
    ),
)


def unreachable(architecture: str, version: tuple[int, ...]) -> dict[str, str]:
    """Classes that cannot be provoked there, with the reason from the source."""
    return {
        row.splat_class: row.why
        for row in UNREACHABLE
        if row.since <= version < row.before and (row.where is None or _is_so(row.where, architecture))
    }
