# SPDX-License-Identifier: GPL-2.0-or-later
"""dma-debug: kernel/dma/debug.c. Every mapping has an entry; every call is compared with them, and errors are printed.

Names and checks are the kernel's, read in 5.10, 6.1, 6.12, 7.2 and 7.3; where these differ, DIALECTS has the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from dmasafe.model.allocators import Task
from dmasafe.model.config import Config
from dmasafe.model.device import (
    DMA_ATTR_FORCE_CONTIGUOUS,
    DMA_ATTR_NO_KERNEL_MAPPING,
    DMA_ATTR_PRIVILEGED,
    DMA_ATTR_SKIP_CPU_SYNC,
    DMA_BIDIRECTIONAL,
    DMA_FROM_DEVICE,
    DMA_MAPPING_ERROR,
    DMA_TO_DEVICE,
    Device,
    Scatterlist,
)
from dmasafe.model.layout import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, dma_get_cache_alignment
from dmasafe.model.log import KERN_ERR, KERN_INFO, KernelLog, Place, Report
from dmasafe.model.memory import Memory

HASH_SIZE = 16384
HASH_FN_SHIFT = 13
HASH_FN_MASK = HASH_SIZE - 1
NAME_MAX_LEN = 64
# Entries to a page: struct dma_debug_entry takes 128 bytes in every version read.
DMA_DEBUG_DYNAMIC_ENTRIES = 32
ACTIVE_CACHELINE_MAX_OVERLAP = (1 << 3) - 1

dma_debug_single = "single"
dma_debug_sg = "sg"
dma_debug_coherent = "coherent"
dma_debug_noncoherent = "noncoherent"
dma_debug_phy = "phy"

MAP_ERR_CHECK_NOT_APPLICABLE, MAP_ERR_NOT_CHECKED, MAP_ERR_CHECKED = 0, 1, 2

DIR2NAME = ("DMA_BIDIRECTIONAL", "DMA_TO_DEVICE", "DMA_FROM_DEVICE", "DMA_NONE")

_FILE = "kernel/dma/debug.c"
_VERSIONS = ((5, 10), (6, 1), (6, 12), (7, 2))


class Dialect(NamedTuple):
    """What one version does differently.

    ``overlap`` is when overlapping cache lines are reported: never, always, or only where devices cannot see the
    caches' lines ("aligned"). ``phys`` is that map_page and map_single make entries of type phy. ``attrs`` is that
    attributes are compared at unmap. ``sg_checks`` None: by CONFIG_DMA_API_DEBUG_SG. ``contain_range`` is how far
    bucket_find_contain() looks back: the device's longest segment, or everywhere.
    """

    overlap: str
    phys: bool
    attrs: bool
    sg_name: str
    sg_checks: bool | None
    contain_range: bool
    cpu_address: str


DIALECTS: tuple[Dialect, ...] = (
    Dialect("never", False, False, "scather-gather", None, True, "0x%016x"),
    Dialect("always", False, False, "scather-gather", None, False, "0x%016x"),
    Dialect("always", False, False, "scatter-gather", None, False, "0x0x%016x"),
    Dialect("aligned", True, True, "scatter-gather", True, False, "0x0x%016x"),
)
# The versions between two that were read follow the older one, but for this: 5.15 began to report overlaps, and
# somewhere after 6.12 came the condition that 7.2 has (7.0 here).
_OVERLAP_SINCE = (5, 15)
_OVERLAP_ALIGNED_SINCE = (7, 0)

_ENTRY = "[device address=0x%016x] [size=%d bytes] "


class Message(NamedTuple):
    """One err_printk(): class, function, line in each of _VERSIONS (0: not there), and text after driver and device."""

    splat_class: str
    function: str
    lines: tuple[int, int, int, int]
    text: str


# As in kernel/dma/debug.c; the kernel has no space between "error" and the bracket of map-error-unchecked.
_ROWS = (
    ("leak-on-release", "dma_debug_device_change", (859, 859, 862, 889),
     "device driver has pending DMA allocations while released from device [count=%d]\n"
     "One of leaked entries details: " + _ENTRY + "[mapped with %s] [mapped as %s]"),
    ("free-invalid-address", "check_unmap", (970, 970, 973, 1000),
     "device driver tries to free an invalid DMA memory address"),
    ("free-unallocated", "check_unmap", (974, 974, 977, 1004),
     "device driver tries to free DMA memory it has not allocated [device address=0x%016x] [size=%d bytes]"),
    ("free-size", "check_unmap", (984, 984, 987, 1014),
     "device driver frees DMA memory with different size "
     "[device address=0x%016x] [map size=%d bytes] [unmap size=%d bytes]"),
    ("free-function", "check_unmap", (992, 992, 995, 1022),
     "device driver frees DMA memory with wrong function " + _ENTRY + "[mapped as %s] [unmapped as %s]"),
    ("free-cpu-address", "check_unmap", (1000, 1000, 1004, 1031),
     "device driver frees DMA memory with different CPU address " +
     _ENTRY + "[cpu alloc address=%s] [cpu free address=%s]"),
    ("free-sg-count", "check_unmap", (1012, 1012, 1016, 1043),
     "device driver frees DMA sg list with different entry count [map count=%d] [unmap count=%d]"),
    ("free-direction", "check_unmap", (1023, 1023, 1027, 1054),
     "device driver frees DMA memory with different direction " + _ENTRY + "[mapped with %s] [unmapped with %s]"),
    ("map-error-unchecked", "check_unmap", (1038, 1038, 1042, 1069),
     "device driver failed to check map error[device address=0x%016x] [size=%d bytes] [mapped as %s]"),
    ("free-attrs", "check_unmap", (0, 0, 0, 1091),
     "device driver frees DMA memory with different attributes " + _ENTRY + "[mapped with 0x%x] [unmapped with 0x%x]"),
    ("map-stack", "check_for_stack", (1064, 1068, 1072, 1121), "device driver maps memory from stack [addr=%s]"),
    ("map-text-or-rodata", "check_for_illegal_area", (1094, 1088, 1092, 1143),
     "device driver maps memory from kernel text or rodata [addr=%s] [len=%d]"),
    ("sync-unallocated", "check_sync", (1110, 1104, 1108, 1159),
     "device driver tries to sync DMA memory it has not allocated [device address=0x%016x] [size=%d bytes]"),
    ("sync-out-of-range", "check_sync", (1118, 1112, 1116, 1167),
     "device driver syncs DMA memory outside allocated range "
     "[device address=0x%016x] [allocation size=%d bytes] [sync offset+size=%d]"),
    ("sync-direction", "check_sync", (1131, 1125, 1129, 1180),
     "device driver syncs DMA memory with different direction " + _ENTRY + "[mapped with %s] [synced with %s]"),
    ("sync-cpu-readonly", "check_sync", (1142, 1136, 1140, 1191),
     "device driver syncs device read-only DMA memory for cpu " + _ENTRY + "[mapped with %s] [synced with %s]"),
    ("sync-device-writeonly", "check_sync", (1152, 1146, 1150, 1201),
     "device driver syncs device write-only DMA memory to device " + _ENTRY + "[mapped with %s] [synced with %s]"),
    ("sync-sg-count", "check_sync", (1162, 1156, 1160, 1211),
     "device driver syncs DMA sg list with different entry count [map count=%d] [sync count=%d]"),
    ("sg-too-long", "check_sg_segment", (1183, 1177, 1181, 1231),
     "mapping sg segment longer than device claims to support [len=%d] [max=%d]"),
    ("sg-boundary", "check_sg_segment", (1193, 1187, 1191, 1241),
     "mapping sg segment across boundary [start=0x%016x] [end=0x%016x] [boundary=0x%016x]"),
    ("map-invalid-area", "debug_dma_map_single", (1205, 1199, 1203, 1252),
     "device driver maps memory from invalid area [addr=%s] [len=%d]"),
    ("map-vmalloc", "debug_dma_map_single", (1209, 1203, 1207, 1256),
     "device driver maps memory from vmalloc area [addr=%s] [len=%d]"),
    ("cacheline-overlap", "add_dma_entry", (0, 571, 601, 628),
     "cacheline tracking EEXIST, overlapping mappings aren't supported"),
    ("map-resource-ram", "debug_dma_map_phys", (0, 0, 0, 1289), "dma_map_resource called for RAM address 0x%016x"),
)  # fmt: skip
MESSAGES = {row[0]: Message(*row) for row in _ROWS}
# check_for_stack() has a second message for a stack in vmalloc space.
MAP_STACK_VMAPPED = Message(
    "map-stack",
    "check_for_stack",
    (1074, 1078, 1082, 1133),
    "device driver maps memory from stack [probable addr=%s]",
)
# WARN_ONCE() of active_cacheline_inc_overlap().
_EXCEEDED_LINES = (498, 499, 463, 465)
# DMA_ATTR_UNMAP_VALID of check_unmap(), 7.2; the attributes that only 7.2 has are 10 (MMIO), 12 and 13.
_DMA_ATTR_MMIO = 1 << 10
_DMA_ATTR_IGNORE_CACHELINES = 1 << 11
_DMA_ATTR_REQUIRE_COHERENT = 1 << 12
_DMA_ATTR_CC_SHARED = 1 << 13
_CACHE_CLEAN = _DMA_ATTR_IGNORE_CACHELINES | _DMA_ATTR_REQUIRE_COHERENT
_UNMAP_VALID = (
    DMA_ATTR_NO_KERNEL_MAPPING
    | DMA_ATTR_FORCE_CONTIGUOUS
    | _DMA_ATTR_MMIO
    | _DMA_ATTR_REQUIRE_COHERENT
    | DMA_ATTR_PRIVILEGED
    | _DMA_ATTR_CC_SHARED
)


@dataclass(slots=True, eq=False)
class DmaDebugEntry:
    """struct dma_debug_entry."""

    dev: Device
    type: str
    dev_addr: int
    size: int
    direction: int
    paddr: int = 0
    sg_call_ents: int = 0
    sg_mapped_ents: int = 0
    map_err_type: int = MAP_ERR_CHECK_NOT_APPLICABLE
    attrs: int = 0


class SavedDebug(NamedTuple):
    """The entries and lines that are in use."""

    hash: dict[int, list[DmaDebugEntry]]
    active_cacheline: dict[int, list[int]]
    free: tuple[int, int, int, int]


def row_of(version: tuple[int, ...]) -> int:
    """Which of _VERSIONS a version follows: the newest one that is not newer, else the oldest."""
    return max(sum(1 for known in _VERSIONS if known <= version) - 1, 0)


class DmaDebug:
    """The state of dma-debug. ``global_disable`` is what debugfs shows as dma-api/disabled.

    ``out_of_memory`` makes GFP_ATOMIC allocations fail, so that the entries run out.
    """

    def __init__(self, config: Config, memory: Memory, log: KernelLog) -> None:
        self.config = config
        self.memory = memory
        self.log = log
        # Whose stack is looked at: ModelKernel says.
        self.task: Task
        self._row = row_of(config.version)
        self.dialect = DIALECTS[self._row]
        self.overlap = self.dialect.overlap
        if self.overlap == "never" and config.version >= _OVERLAP_SINCE:
            self.overlap = "always"
        if config.version >= _OVERLAP_ALIGNED_SINCE:
            self.overlap = "aligned"
        self._swiotlb_active = config.swiotlb != "off"
        self._line_shift = memory.layout.l1_cache_bytes.bit_length() - 1
        self._lines_per_page_shift = PAGE_SHIFT - self._line_shift
        self._overlaps_matter = dma_get_cache_alignment(config, memory.layout) >= memory.layout.l1_cache_bytes
        self._sg_checks = config.has("DMA_API_DEBUG_SG") if self.dialect.sg_checks is None else self.dialect.sg_checks
        self._page_type = dma_debug_phy if self.dialect.phys else dma_debug_single
        self._type2name = {
            dma_debug_single: "single",
            dma_debug_sg: self.dialect.sg_name,
            dma_debug_coherent: "coherent",
            dma_debug_noncoherent: "noncoherent",
            dma_debug_phy: "phy",
        }
        self.nr_prealloc_entries = config.dma_debug_entries
        pages = -(-config.dma_debug_entries // DMA_DEBUG_DYNAMIC_ENTRIES)
        self.nr_total_entries = pages * DMA_DEBUG_DYNAMIC_ENTRIES
        self.out_of_memory = False
        self.reset()

    def reset(self) -> None:
        """As after dma_debug_init(): no entry, nothing counted, the budget as the configuration says."""
        self.hash: dict[int, list[DmaDebugEntry]] = {}
        # Of each line: how many mappings overlap the first one, and that one's attributes.
        self.active_cacheline: dict[int, list[int]] = {}
        self.error_count = 0
        self.show_all_errors = self.config.all_errors
        self.show_num_errors = 1
        self.current_driver_name = ""
        self.num_free_entries = self.min_free_entries = self.nr_total_entries
        self.entries = 0
        if not self.out_of_memory:
            self.global_disable = not self.config.dma_debug

    def save(self) -> SavedDebug:
        return SavedDebug(
            {number: list(bucket) for number, bucket in self.hash.items()},
            {line: list(slot) for line, slot in self.active_cacheline.items()},
            (self.num_free_entries, self.min_free_entries, self.nr_total_entries, self.entries),
        )

    def restore(self, saved: SavedDebug) -> None:
        """The entries of save(); counters and switches as after boot."""
        self.reset()
        self.hash = {number: list(bucket) for number, bucket in saved.hash.items()}
        self.active_cacheline = {line: list(slot) for line, slot in saved.active_cacheline.items()}
        self.num_free_entries, self.min_free_entries, self.nr_total_entries, self.entries = saved.free

    # Reporting.

    def pointer(self, address: int) -> str:
        """%p: hashed, unless no_hash_pointers was given (lib/vsprintf.c ptr_to_id())."""
        digits = self.memory.layout.bits // 4
        if self.config.no_hash_pointers:
            return f"{address:0{digits}x}"
        return f"{crc32(b'%x' % address):0{digits}x}"

    def driver_filter(self, dev: Device) -> bool:
        """driver_filter(): without a filter everything is printed, with one only that driver's errors."""
        if not self.current_driver_name:
            return True
        return (dev.driver or "")[: NAME_MAX_LEN - 1] == self.current_driver_name

    def filter_write(self, text: str) -> None:
        """A write to debugfs dma-api/driver_filter: the first word, or nothing to switch it off."""
        text = text[: NAME_MAX_LEN - 1]
        if not text[:1].isalnum():
            if self.current_driver_name:
                self.log.printk(KERN_INFO, "DMA-API: switching off dma-debug driver filter")
            self.current_driver_name = ""
            return
        self.current_driver_name = text.split()[0]
        self.log.printk(KERN_INFO, f"DMA-API: enable driver filter for driver [{self.current_driver_name}]")

    def _err_printk(self, dev: Device, entry: DmaDebugEntry | None, message: Message, *values: object) -> None:
        self.error_count += 1
        if (self.show_all_errors or self.show_num_errors > 0) and self.driver_filter(dev):
            driver = dev.driver or ""
            place = Place(_FILE, message.lines[self._row], message.function)
            frames = None if entry is None else self._frames(entry)
            text = "DMA-API: %s %s: " + message.text
            self.log.warn(
                Report(
                    message.splat_class,
                    dev.name,
                    driver,
                    text,
                    (driver, dev.name, *values),
                    place,
                    frames=frames or (f"{message.function}+0x0/0x0",),
                    mapped_at=frames,
                )
            )
        if not self.show_all_errors and self.show_num_errors > 0:
            self.show_num_errors -= 1

    def _frames(self, entry: DmaDebugEntry) -> tuple[str, ...]:
        """The innermost frames of the call that made the mapping."""
        page = (
            ("debug_dma_map_phys", "dma_map_phys")
            if self.dialect.phys
            else ("debug_dma_map_page", "dma_map_page_attrs")
        )
        names = {
            dma_debug_sg: ("debug_dma_map_sg", "dma_map_sg_attrs"),
            dma_debug_coherent: ("debug_dma_alloc_coherent", "dma_alloc_attrs"),
            dma_debug_noncoherent: ("debug_dma_alloc_pages", "dma_alloc_pages"),
        }.get(entry.type, page)
        return tuple(f"{name}+0x0/0x0" for name in names)

    # Entries.

    def dma_entry_alloc(self) -> bool:
        """Whether there is a free entry; the pool grows by a page at a time, or dma-debug gives up."""
        if self.num_free_entries == 0:
            if self.out_of_memory:
                self.global_disable = True
                self.log.printk(KERN_ERR, "DMA-API: debugging out of memory - disabling", "debug-disabled")
                return False
            self.num_free_entries += DMA_DEBUG_DYNAMIC_ENTRIES
            self.nr_total_entries += DMA_DEBUG_DYNAMIC_ENTRIES
            if self.nr_total_entries % self.nr_prealloc_entries < DMA_DEBUG_DYNAMIC_ENTRIES:
                times = self.nr_total_entries // self.nr_prealloc_entries
                text = f"DMA-API: dma_debug_entry pool grown to {self.nr_total_entries} ({times}00%)"
                self.log.printk(KERN_INFO, text)
        self.num_free_entries -= 1
        self.min_free_entries = min(self.min_free_entries, self.num_free_entries)
        return True

    def _add_dma_entry(self, entry: DmaDebugEntry) -> None:
        number = (entry.dev_addr >> HASH_FN_SHIFT) & HASH_FN_MASK
        bucket = self.hash.get(number)
        if bucket is None:
            self.hash[number] = [entry]
        else:
            bucket.append(entry)
        self.entries += 1
        if entry.direction == DMA_TO_DEVICE:
            return
        if self._active_cacheline_insert(entry):
            return
        if entry.attrs & DMA_ATTR_SKIP_CPU_SYNC or self.overlap == "never":
            return
        if self.config.has("DMA_BOUNCE_UNALIGNED_KMALLOC") and self._swiotlb_active and self._row >= 2:
            return
        if self.overlap == "aligned":
            _overlap, first_attrs = self.active_cacheline[self._line(entry)]
            if not self._overlaps_matter or (entry.attrs & _CACHE_CLEAN and first_attrs & _CACHE_CLEAN):
                return
        self._err_printk(entry.dev, entry, MESSAGES["cacheline-overlap"])

    def _line(self, entry: DmaDebugEntry) -> int:
        """to_cacheline_number(): of the mapping's first byte; the rest of a mapping is not tracked."""
        paddr = entry.paddr
        return ((paddr >> PAGE_SHIFT) << self._lines_per_page_shift) + ((paddr & PAGE_MASK) >> self._line_shift)

    def _active_cacheline_insert(self, entry: DmaDebugEntry) -> bool:
        """False for -EEXIST. A line holds how many mappings overlap it, up to ACTIVE_CACHELINE_MAX_OVERLAP."""
        line = self._line(entry)
        slot = self.active_cacheline.get(line)
        if slot is None:
            self.active_cacheline[line] = [0, entry.attrs]
            return True
        if slot[0] < ACTIVE_CACHELINE_MAX_OVERLAP:
            slot[0] += 1
        elif not entry.attrs & _CACHE_CLEAN and self.log.first_time("active_cacheline_inc_overlap"):
            self.log.warn(
                Report(
                    "cacheline-overlap",
                    None,
                    None,
                    "DMA-API: exceeded %d overlapping mappings of cacheline 0x%016x",
                    (ACTIVE_CACHELINE_MAX_OVERLAP, line),
                    Place(_FILE, _EXCEEDED_LINES[self._row], "active_cacheline_inc_overlap"),
                    frames=("add_dma_entry+0x0/0x0",),
                )
            )
        return False

    def _dma_entry_free(self, entry: DmaDebugEntry) -> None:
        if entry.direction != DMA_TO_DEVICE:
            line = self._line(entry)
            slot = self.active_cacheline.get(line)
            if slot is not None:
                if slot[0] == 0:
                    del self.active_cacheline[line]
                else:
                    slot[0] -= 1
        self.num_free_entries += 1

    def _bucket(self, dev_addr: int) -> Sequence[DmaDebugEntry]:
        return self.hash.get((dev_addr >> HASH_FN_SHIFT) & HASH_FN_MASK, ())

    def _hash_bucket_find(
        self, bucket: Sequence[DmaDebugEntry], ref: DmaDebugEntry, contains: bool
    ) -> DmaDebugEntry | None:
        """__hash_bucket_find(): the perfect fit, or the only match; several imperfect ones count as none."""
        found = None
        matches = 0
        for entry in bucket:
            if entry.dev is not ref.dev:
                continue
            if contains:
                if not (entry.dev_addr <= ref.dev_addr and entry.dev_addr + entry.size >= ref.dev_addr + ref.size):
                    continue
            elif entry.dev_addr != ref.dev_addr:
                continue
            matches += 1
            if (
                entry.size == ref.size
                and entry.type == ref.type
                and entry.direction == ref.direction
                and entry.sg_call_ents == ref.sg_call_ents
            ):
                return entry
            found = entry
        return found if matches == 1 else None

    def _bucket_find_exact(self, ref: DmaDebugEntry) -> DmaDebugEntry | None:
        return self._hash_bucket_find(self._bucket(ref.dev_addr), ref, False)

    def _bucket_find_contain(self, ref: DmaDebugEntry) -> DmaDebugEntry | None:
        start = ref.dev_addr >> HASH_FN_SHIFT
        limit = (ref.dev.max_seg_size >> HASH_FN_SHIFT) + 1 if self.dialect.contain_range else HASH_SIZE
        for back in range(limit):
            bucket = self.hash.get((start - back) & HASH_FN_MASK)
            if bucket:
                entry = self._hash_bucket_find(bucket, ref, True)
                if entry is not None:
                    return entry
        return None

    # The checks.

    def _check_unmap(self, ref: DmaDebugEntry) -> None:
        entry = self._bucket_find_exact(ref)
        dev = ref.dev
        if entry is None:
            if self._mapping_error(dev, ref.dev_addr):
                self._err_printk(dev, None, MESSAGES["free-invalid-address"])
            else:
                self._err_printk(dev, None, MESSAGES["free-unallocated"], ref.dev_addr, ref.size)
            return
        if ref.size != entry.size:
            self._err_printk(dev, entry, MESSAGES["free-size"], ref.dev_addr, entry.size, ref.size)
        if ref.type != entry.type:
            names = self._type2name
            self._err_printk(
                dev, entry, MESSAGES["free-function"], ref.dev_addr, ref.size, names[entry.type], names[ref.type]
            )
        elif entry.type in (dma_debug_coherent, dma_debug_noncoherent) and ref.paddr != entry.paddr:
            form = self.dialect.cpu_address
            message = MESSAGES["free-cpu-address"]
            self._err_printk(dev, entry, message, ref.dev_addr, ref.size, form % entry.paddr, form % ref.paddr)
        if ref.type == dma_debug_sg and ref.sg_call_ents != entry.sg_call_ents:
            self._err_printk(dev, entry, MESSAGES["free-sg-count"], entry.sg_call_ents, ref.sg_call_ents)
        if ref.direction != entry.direction:
            names_of = (DIR2NAME[entry.direction], DIR2NAME[ref.direction])
            self._err_printk(dev, entry, MESSAGES["free-direction"], ref.dev_addr, ref.size, *names_of)
        if entry.map_err_type == MAP_ERR_NOT_CHECKED:
            message = MESSAGES["map-error-unchecked"]
            self._err_printk(dev, entry, message, ref.dev_addr, ref.size, self._type2name[entry.type])
        if self.dialect.attrs and (ref.attrs ^ entry.attrs) & _UNMAP_VALID:
            self._err_printk(dev, entry, MESSAGES["free-attrs"], ref.dev_addr, ref.size, entry.attrs, ref.attrs)
        number = (entry.dev_addr >> HASH_FN_SHIFT) & HASH_FN_MASK
        bucket = self.hash[number]
        bucket.remove(entry)
        if not bucket:
            del self.hash[number]
        self.entries -= 1
        self._dma_entry_free(entry)

    def _mapping_error(self, dev: Device, dma_addr: int) -> bool:
        """dma_mapping_error(), as check_unmap() calls it: it marks entries as checked, too."""
        self.debug_dma_mapping_error(dev, dma_addr)
        return dma_addr == DMA_MAPPING_ERROR & self.memory.layout.mask

    def _check_for_stack(self, dev: Device, phys: int) -> None:
        task = self.task
        frames = task.stack_frames
        if frames is None:
            if self.memory.page_is_highmem(phys >> PAGE_SHIFT):
                return
            address = self.memory.phys_to_virt(phys)
            if task.stack <= address < task.stack_end:
                self._err_printk(dev, None, MESSAGES["map-stack"], self.pointer(address))
            return
        page = phys >> PAGE_SHIFT
        if page in frames:
            address = task.stack + frames.index(page) * PAGE_SIZE + (phys & PAGE_MASK)
            self._err_printk(dev, None, MAP_STACK_VMAPPED, self.pointer(address))

    def _check_for_illegal_area(self, dev: Device, address: int, length: int) -> None:
        """memory_intersects() with text and the rodata behind it: image addresses; ``address`` is the linear map's."""
        memory = self.memory
        if address < memory.end_rodata and address + length > memory.stext:
            self._err_printk(dev, None, MESSAGES["map-text-or-rodata"], self.pointer(address), length)

    def _check_sync(self, dev: Device, ref: DmaDebugEntry, to_cpu: bool) -> None:
        entry = self._bucket_find_contain(ref)
        if entry is None:
            self._err_printk(dev, None, MESSAGES["sync-unallocated"], ref.dev_addr, ref.size)
            return
        if ref.size > entry.size:
            self._err_printk(dev, entry, MESSAGES["sync-out-of-range"], entry.dev_addr, entry.size, ref.size)
        if entry.direction == DMA_BIDIRECTIONAL:
            return
        values = (ref.dev_addr, entry.size, DIR2NAME[entry.direction], DIR2NAME[ref.direction])
        if ref.direction != entry.direction:
            self._err_printk(dev, entry, MESSAGES["sync-direction"], *values)
        if to_cpu and entry.direction != DMA_FROM_DEVICE and ref.direction != DMA_TO_DEVICE:
            self._err_printk(dev, entry, MESSAGES["sync-cpu-readonly"], *values)
        if not to_cpu and entry.direction != DMA_TO_DEVICE and ref.direction != DMA_FROM_DEVICE:
            self._err_printk(dev, entry, MESSAGES["sync-device-writeonly"], *values)
        if ref.type == dma_debug_sg and ref.sg_call_ents != entry.sg_call_ents:
            self._err_printk(dev, entry, MESSAGES["sync-sg-count"], entry.sg_call_ents, ref.sg_call_ents)

    def _check_sg_segment(self, dev: Device, sg: Scatterlist) -> None:
        if not self._sg_checks:
            return
        if sg.length > dev.max_seg_size:
            self._err_printk(dev, None, MESSAGES["sg-too-long"], sg.length, dev.max_seg_size)
        start = sg.dma_address
        end = start + sg.length - 1
        if (start ^ end) & ~dev.seg_boundary:
            self._err_printk(dev, None, MESSAGES["sg-boundary"], start, end, dev.seg_boundary)

    # What kernel/dma/mapping.c and include/linux/dma-mapping.h call.

    def debug_dma_map_single(self, dev: Device, address: int, length: int) -> None:
        if self.global_disable:
            return
        if not self.memory.virt_addr_valid(address):
            self._err_printk(dev, None, MESSAGES["map-invalid-area"], self.pointer(address), length)
        if self.memory.is_vmalloc_addr(address):
            self._err_printk(dev, None, MESSAGES["map-vmalloc"], self.pointer(address), length)

    def debug_dma_map_page(self, dev: Device, phys: int, size: int, direction: int, dma_addr: int, attrs: int) -> None:
        """debug_dma_map_page(); since 6.19 or so debug_dma_map_phys(). ``dma_addr`` is valid."""
        if self.global_disable or not self.dma_entry_alloc():
            return
        error = MAP_ERR_NOT_CHECKED
        entry = DmaDebugEntry(dev, self._page_type, dma_addr, size, direction, phys, map_err_type=error, attrs=attrs)
        if attrs & _DMA_ATTR_MMIO and self.dialect.phys:
            if self.memory.is_ram(phys):
                self._err_printk(dev, entry, MESSAGES["map-resource-ram"], phys)
        else:
            self._check_for_stack(dev, phys)
            if not self.memory.page_is_highmem(phys >> PAGE_SHIFT):
                self._check_for_illegal_area(dev, self.memory.phys_to_virt(phys), size)
        self._add_dma_entry(entry)

    def debug_dma_mapping_error(self, dev: Device, dma_addr: int) -> None:
        if self.global_disable:
            return
        for entry in self._bucket(dma_addr):
            if entry.dev_addr == dma_addr and entry.dev is dev and entry.map_err_type == MAP_ERR_NOT_CHECKED:
                entry.map_err_type = MAP_ERR_CHECKED
                return

    def debug_dma_unmap_page(self, dev: Device, dma_addr: int, size: int, direction: int, attrs: int) -> None:
        if self.global_disable:
            return
        self._check_unmap(DmaDebugEntry(dev, self._page_type, dma_addr, size, direction, attrs=attrs))

    def debug_dma_map_sg(
        self, dev: Device, sgl: Sequence[Scatterlist], mapped: int, direction: int, attrs: int
    ) -> None:
        if self.global_disable:
            return
        memory = self.memory
        for sg in sgl:
            self._check_for_stack(dev, sg.phys)
            if not memory.page_is_highmem(sg.phys >> PAGE_SHIFT):
                self._check_for_illegal_area(dev, memory.phys_to_virt(sg.phys), sg.length)
        for sg in sgl[:mapped]:
            if not self.dma_entry_alloc():
                return
            entry = DmaDebugEntry(
                dev, dma_debug_sg, sg.dma_address, sg.length, direction, sg.phys, len(sgl), mapped, attrs=attrs
            )
            self._check_sg_segment(dev, sg)
            self._add_dma_entry(entry)

    def _sg_refs(
        self, dev: Device, sgl: Sequence[Scatterlist], direction: int, attrs: int
    ) -> tuple[list[DmaDebugEntry], int]:
        """What each segment is compared with, and how many entries the list has by its first one's (or 0)."""
        nents = len(sgl)
        refs = [
            DmaDebugEntry(dev, dma_debug_sg, sg.dma_address, sg.length, direction, sg.phys, nents, attrs=attrs)
            for sg in sgl
        ]
        entry = self._bucket_find_exact(refs[0]) if refs else None
        return refs, 0 if entry is None else entry.sg_mapped_ents

    def debug_dma_unmap_sg(self, dev: Device, sgl: Sequence[Scatterlist], direction: int, attrs: int) -> None:
        if self.global_disable:
            return
        refs, mapped = self._sg_refs(dev, sgl, direction, attrs)
        for ref in refs[: mapped or len(refs)]:
            self._check_unmap(ref)

    def debug_dma_alloc_coherent(self, dev: Device, size: int, dma_addr: int, paddr: int, attrs: int) -> None:
        if self.global_disable or not self.dma_entry_alloc():
            return
        entry = DmaDebugEntry(dev, dma_debug_coherent, dma_addr, size, DMA_BIDIRECTIONAL, paddr, attrs=attrs)
        self._add_dma_entry(entry)

    def debug_dma_free_coherent(self, dev: Device, size: int, paddr: int, dma_addr: int, attrs: int) -> None:
        if self.global_disable:
            return
        self._check_unmap(DmaDebugEntry(dev, dma_debug_coherent, dma_addr, size, DMA_BIDIRECTIONAL, paddr, attrs=attrs))

    def debug_dma_alloc_pages(self, dev: Device, paddr: int, size: int, direction: int, dma_addr: int) -> None:
        """debug_dma_alloc_pages(); before 6.12 or so such pages counted as a mapping of type single."""
        if self.global_disable or not self.dma_entry_alloc():
            return
        kind = dma_debug_noncoherent if self._row >= 2 else dma_debug_single
        error = MAP_ERR_CHECK_NOT_APPLICABLE if self._row >= 2 else MAP_ERR_NOT_CHECKED
        self._add_dma_entry(DmaDebugEntry(dev, kind, dma_addr, size, direction, paddr, map_err_type=error))

    def debug_dma_free_pages(self, dev: Device, paddr: int, size: int, direction: int, dma_addr: int) -> None:
        if self.global_disable:
            return
        kind = dma_debug_noncoherent if self._row >= 2 else dma_debug_single
        self._check_unmap(DmaDebugEntry(dev, kind, dma_addr, size, direction, paddr))

    def debug_dma_sync_single(self, dev: Device, dma_addr: int, size: int, direction: int, to_cpu: bool) -> None:
        """debug_dma_sync_single_for_cpu() and debug_dma_sync_single_for_device()."""
        if not self.global_disable:
            self._check_sync(dev, DmaDebugEntry(dev, dma_debug_single, dma_addr, size, direction), to_cpu)

    def debug_dma_sync_sg(self, dev: Device, sgl: Sequence[Scatterlist], direction: int, to_cpu: bool) -> None:
        """debug_dma_sync_sg_for_cpu() and debug_dma_sync_sg_for_device()."""
        if self.global_disable:
            return
        refs, mapped = self._sg_refs(dev, sgl, direction, 0)
        for ref in refs[:mapped]:
            self._check_sync(dev, ref, to_cpu)

    def device_released(self, dev: Device) -> None:
        """dma_debug_device_change() for BUS_NOTIFY_UNBOUND_DRIVER: the driver is gone, its mappings must be."""
        if self.global_disable:
            return
        leaked = [e for number in sorted(self.hash) for e in self.hash[number] if e.dev is dev]
        if leaked:
            last = leaked[-1]
            self._err_printk(
                dev,
                last,
                MESSAGES["leak-on-release"],
                len(leaked),
                last.dev_addr,
                last.size,
                DIR2NAME[last.direction],
                self._type2name[last.type],
            )
