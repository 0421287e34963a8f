# SPDX-License-Identifier: GPL-2.0-or-later
"""The strict machine's DMA operations: images/strict/, function by function.

Every mapping has bus addresses of its own, the device and the CPU each see their own memory until a sync, in whole
cache lines, and what breaks a rule is reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from dmasafe.model.allocators import Allocators, KmemCache, Task, align
from dmasafe.model.device import DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_NONE, DMA_TO_DEVICE, Device
from dmasafe.model.layout import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE
from dmasafe.model.log import KernelLog, Place, Report
from dmasafe.model.memory import Memory

# strict_table.c: enough pages here to wrap around as rarely.
_TABLE_PAGES = 256
_REDZONE = 64
_DIRECTIONS = {
    DMA_BIDIRECTIONAL: "DMA_BIDIRECTIONAL",
    DMA_TO_DEVICE: "DMA_TO_DEVICE",
    DMA_FROM_DEVICE: "DMA_FROM_DEVICE",
    DMA_NONE: "DMA_NONE",
}
_STRICT = "[device address=0x%016x] [size=%d bytes]"
_PLACE = Place("strict_report.c", 1, "strict_report", "dmasafe_strict")


class Edge(NamedTuple):
    """Bytes beside a mapping on its first or last line: where, and what memory holds of them."""

    phys: int
    memory: bytes


@dataclass
class Mapping:
    """struct strict_mapping; ``phys`` of coherent memory is the device's own.

    ``copy`` is what the CPU's view was when it and the device's were the same.
    """

    dev: Device
    kind: str
    direction: int
    phys: int
    size: int
    dma: int
    pages: int
    copy: bytes = b""
    edges: list[Edge] = field(default_factory=list)
    freed: bool = False

    @property
    def end(self) -> int:
        return self.phys + self.size


class Strict:
    """One strict machine. ``line`` are the bytes of a cache line."""

    def __init__(self, line: int, memory: Memory, allocators: Allocators, log: KernelLog) -> None:
        self.line = line
        self.memory = memory
        self.allocators = allocators
        self.log = log
        # Whose stack may be mapped by mistake: set when there is one.
        self.task: Task | None = None
        order = (_TABLE_PAGES - 1).bit_length()
        self._start = allocators.alloc_pages(order) << PAGE_SHIFT
        self._cursor = 0
        self.live: dict[int, Mapping] = {}
        self._refused: list[tuple[str, Mapping | None, int, int]] = []
        allocators.freeing = self._freeing

    def save(self) -> dict[int, Mapping]:
        return {dma: replace(mapping) for dma, mapping in self.live.items()}

    def restore(self, saved: dict[int, Mapping]) -> None:
        self.live = {dma: replace(mapping) for dma, mapping in saved.items()}
        self._refused.clear()

    # What is wrong.

    def _find(self, slug: str, dev: Device | None, text: str, *values: object) -> None:
        driver, device = (dev.driver or dev.name, dev.name) if dev else ("NULL", "NULL")
        text = f"dmasafe-strict: BUG: %s %s: {text}"
        frames = ("dma_map_page_attrs+0x0/0x0",)
        self.log.warn(Report(slug, device, driver, text, (driver, device, *values), _PLACE, frames, ()))

    def _forbidden(self, phys: int, size: int) -> str | None:
        """strict_memory_forbidden()"""
        memory = self.memory
        if not memory.pfn_valid(phys >> PAGE_SHIFT) or not memory.pfn_valid(phys + size - 1 >> PAGE_SHIFT):
            return "no memory"
        if self._owns(phys):
            return None
        if memory.stext <= phys + memory.image_delta < memory.image_end:
            return "Kernel image"
        if not memory.is_ram(phys) or self.allocators.is_percpu(phys >> PAGE_SHIFT):
            return "boot or per-CPU memory"
        frames = self.task.stack_frames if self.task is not None else None
        return "a stack" if frames and phys >> PAGE_SHIFT in frames else None

    def _owns(self, phys: int) -> bool:
        return self._start <= phys < self._start + (_TABLE_PAGES << PAGE_SHIFT)

    # Addresses.

    def _take(self, offset: int, size: int) -> tuple[int, int] | None:
        """strict_table_take(): a bus address and the pages from there on; None if none are left."""
        count = (align(offset + size + _REDZONE, PAGE_SIZE) + align(offset + size, PAGE_SIZE)) >> PAGE_SHIFT
        used = {self._page(m.dma) + n for m in self.live.values() for n in range(m.pages)}
        for tried in range(_TABLE_PAGES):
            page = (self._cursor + tried) % _TABLE_PAGES
            if page + count <= _TABLE_PAGES and used.isdisjoint(range(page, page + count)):
                self._cursor = (page + count) % _TABLE_PAGES
                return self._start + (page << PAGE_SHIFT) + offset, count
        return None

    def _page(self, dma: int) -> int:
        return dma - self._start >> PAGE_SHIFT

    def _at(self, dma: int) -> Mapping | None:
        """strict_table_find(), of the live ones."""
        page = self._page(dma)
        return next((m for m in self.live.values() if 0 <= page - self._page(m.dma) < m.pages), None)

    # The hardware's side: dmasafe/devices/strict.py.

    def reach(self, dma: int, length: int, write: bool) -> int | None:
        """The physical address of the driver's memory behind a bus address; None is a refusal, which is noted."""
        mapping = self._at(dma)
        if mapping is None or not mapping.dma <= dma < mapping.dma + mapping.size + _REDZONE:
            self._refused.append(
                (f"device {'wrote to' if write else 'read'} memory that is not mapped to it", None, dma, length)
            )
            return None
        does = "wrote" if write else "read"
        if dma + length > mapping.dma + mapping.size:
            self._refused.append((f"device {does} beyond its mapping", mapping, dma, length))
            return None
        if mapping.direction == (DMA_TO_DEVICE if write else DMA_FROM_DEVICE):
            self._refused.append((f"device {does} against the direction of its mapping", mapping, dma, length))
            return None
        return mapping.phys + dma - mapping.dma

    def settle(self) -> None:
        """dmasafe_strict_settle()"""
        for what, mapping, dma, length in self._refused:
            dev = mapping.dev if mapping else None
            if mapping is None:
                self._find("strict-unmapped", dev, f"{what} {_STRICT}", dma, length)
            elif "beyond" in what:
                self._find("strict-overrun", dev, f"{what} {_STRICT} [map size=%d bytes]", dma, length, mapping.size)
            else:
                direction = _DIRECTIONS[mapping.direction]
                self._find("strict-direction", dev, f"{what} {_STRICT} [mapped with %s]", dma, length, direction)
        self._refused.clear()

    # The two views: strict_view.c.

    def _object(self, phys: int) -> tuple[int, int]:
        """strict_memory_object()"""
        address = self.memory.phys_to_virt(phys)
        for start, owner in self.allocators.allocated.items():
            if isinstance(owner, KmemCache) and start <= address < start + owner.size:
                return phys - (address - start), phys - (address - start) + owner.size
        return phys & ~PAGE_MASK, (phys & ~PAGE_MASK) + PAGE_SIZE

    def _edges(self, mapping: Mapping) -> list[Edge]:
        if mapping.direction == DMA_TO_DEVICE or self._owns(mapping.phys):
            return []
        first, end = mapping.phys, mapping.end
        head = max(self._object(first)[0], first & -self.line)
        tail = min(self._object(end - 1)[1], align(end, self.line))
        read = self.memory.ram_read
        return [Edge(at, read(at, to - at)) for at, to in ((head, first), (end, tail)) if at < to]

    def _written_back(self, by: Mapping | None, start: int, end: int) -> None:
        """lines_written_back()"""
        start, end = start & -self.line, align(end, self.line)
        for other in self.live.values():
            if other is by:
                continue
            for number, (phys, memory) in enumerate(other.edges):
                at, to = max(start, phys), min(end, phys + len(memory))
                if at < to:
                    seen = self.memory.ram_read(at, to - at)
                    other.edges[number] = Edge(phys, memory[: at - phys] + seen + memory[to - phys :])

    def _show_to_others(self, by: Mapping, start: int, end: int) -> None:
        """show_to_others()"""
        for other in self._streaming():
            at, to = max(start, other.phys), min(end, other.end)
            if other is not by and at < to:
                seen, offset = self.memory.ram_read(at, to - at), at - other.phys
                self.memory.ram_write(other.dma + offset, seen)
                other.copy = other.copy[:offset] + seen + other.copy[offset + len(seen) :]

    def _lose(self, mapping: Mapping, offset: int, size: int) -> None:
        """edge_lose(), of the edges that are on the lines of this part."""
        others = [other for other in self.live.values() if other is not mapping]
        for phys, memory in mapping.edges:
            if offset > 0 if phys < mapping.phys else offset + size < mapping.size:
                continue
            seen = self.memory.ram_read(phys, len(memory))
            lost = [
                phys + number
                for number in range(len(memory))
                if seen[number] != memory[number]
                and not any(other.phys <= phys + number < other.end for other in others)
            ]
            for at in lost:
                self.memory.ram_write(at, memory[at - phys : at - phys + 1])
            if lost:
                text = (
                    f"bytes beside a mapping were written meanwhile and are lost {_STRICT} [lost=%d bytes] "
                    "[line=%d bytes]"
                )
                self._find("strict-line-lost", mapping.dev, text, mapping.dma, mapping.size, len(lost), self.line)

    def _check_untouched(self, mapping: Mapping, offset: int, size: int) -> None:
        seen = self.memory.ram_read(mapping.phys + offset, size)
        before = mapping.copy[offset : offset + size]
        if seen != before:
            first = offset + next(number for number in range(size) if seen[number] != before[number])
            text = f"the CPU wrote to memory that the device owns {_STRICT} [offset=%d]"
            self._find("strict-cpu-write", mapping.dev, text, mapping.dma, mapping.size, first)

    def _whole_lines(self, mapping: Mapping, offset: int, size: int) -> tuple[int, int]:
        start = max((mapping.phys + offset) & -self.line, mapping.phys) - mapping.phys
        return start, min(align(mapping.phys + offset + size, self.line), mapping.end) - mapping.phys - start

    def _for_cpu(self, mapping: Mapping, offset: int, size: int) -> None:
        """strict_view_for_cpu()"""
        if mapping.direction == DMA_TO_DEVICE or mapping.freed or not size:
            return
        offset, size = self._whole_lines(mapping, offset, size)
        self._check_untouched(mapping, offset, size)
        written = self.memory.ram_read(mapping.dma + offset, size)
        self.memory.ram_write(mapping.phys + offset, written)
        mapping.copy = mapping.copy[:offset] + written + mapping.copy[offset + size :]
        self._lose(mapping, offset, size)
        self._show_to_others(mapping, mapping.phys + offset, mapping.phys + offset + size)
        self._written_back(mapping, mapping.phys + offset, mapping.phys + offset + size)

    def _for_device(self, mapping: Mapping, offset: int, size: int) -> None:
        """strict_view_for_device()"""
        if mapping.freed or not size:
            return
        offset, size = self._whole_lines(mapping, offset, size)
        at, end = offset, offset + size
        while at < end:
            to = min(align(mapping.phys + at + 1, self.line) - mapping.phys, end)
            seen = self.memory.ram_read(mapping.phys + at, to - at)
            if seen != mapping.copy[at:to]:
                self.memory.ram_write(mapping.dma + at, seen)
                mapping.copy = mapping.copy[:at] + seen + mapping.copy[to:]
            at = to
        self._written_back(None, mapping.phys + offset, mapping.phys + end)

    # The operations: strict_ops.c.

    def map(self, dev: Device, phys: int, size: int, direction: int, kind: str = "single") -> int | None:
        """map_locked(): the bus address, or None."""
        forbidden = self._forbidden(phys, size)
        if forbidden is not None:
            text = "driver maps memory that no allocator gave it [physical address=0x%016x] [size=%d bytes] [memory=%s]"
            self._find("strict-memory", dev, text, phys, size, forbidden)
            return None
        taken = self._take(phys & PAGE_MASK, size)
        if taken is None or taken[0] + size - 1 > dev.dma_limit:
            return None
        mapping = Mapping(dev, kind, direction, phys, size, *taken)
        mapping.copy = self.memory.ram_read(phys, size)
        self.memory.ram_write(mapping.dma, mapping.copy)
        self._written_back(None, phys, phys + size)
        mapping.edges = self._edges(mapping)
        self.live[mapping.dma] = mapping
        self._check_overlap(mapping)
        return mapping.dma

    def _check_overlap(self, mapping: Mapping) -> None:
        if mapping.direction == DMA_TO_DEVICE:
            return
        for other in self.live.values():
            if other is mapping or other.kind == "coherent" or other.direction == DMA_TO_DEVICE or other.freed:
                continue
            start, end = max(mapping.phys, other.phys), min(mapping.end, other.end)
            first, last = self._object(mapping.phys)[0], self._object(mapping.end - 1)[1]
            if start < align(end, self.line) and other.phys < last and other.end > first:
                text = (
                    f"two mappings share a cache line {_STRICT} [other device address=0x%016x] [other size=%d bytes] "
                    "[line=%d bytes]"
                )
                values = (mapping.dma, mapping.size, other.dma, other.size, self.line)
                self._find("strict-overlap", mapping.dev, text, *values)
                return

    def unmap(self, dev: Device, dma: int, size: int, direction: int, synced: bool) -> None:
        """unmap_locked(), of a driver that unmaps what it mapped."""
        mapping = self.live.get(dma)
        if mapping is None or mapping.dev is not dev:
            self._find("strict-unmap", dev, f"driver unmaps what is not mapped for it {_STRICT}", dma, size)
            return
        if synced:
            self._for_cpu(mapping, 0, mapping.size)
            if mapping.direction == DMA_TO_DEVICE and not mapping.freed:
                self._check_untouched(mapping, 0, mapping.size)
        del self.live[dma]

    def sync(self, dev: Device, dma: int, size: int, direction: int, for_cpu: bool) -> None:
        """sync_locked()"""
        mapping = self._at(dma)
        if mapping is None or mapping.dev is not dev or dma < mapping.dma or dma + size > mapping.dma + mapping.size:
            self._find("strict-sync", dev, f"driver syncs what is not mapped for it {_STRICT}", dma, size)
            return
        if mapping.direction not in (direction, DMA_BIDIRECTIONAL):
            text = f"driver syncs in another direction {_STRICT} [mapped with %s] [synced with %s]"
            self._find("strict-sync", dev, text, dma, size, _DIRECTIONS[mapping.direction], _DIRECTIONS[direction])
        (self._for_cpu if for_cpu else self._for_device)(mapping, dma - mapping.dma, size)

    def alloc(self, dev: Device, size: int) -> int | None:
        """strict_alloc(): coherent memory is the device's own."""
        taken = self._take(0, size)
        if taken is None:
            return None
        dma, pages = taken
        self.memory.ram_write(dma, bytes(size))
        self.live[dma] = Mapping(dev, "coherent", DMA_BIDIRECTIONAL, dma, size, dma, pages)
        return dma

    def free(self, dma: int) -> None:
        self.live.pop(dma, None)

    def _freeing(self, address: int, size: int) -> None:
        """strict_watch.c find_mapped()"""
        phys = self.memory.translate(address)
        if phys is None:
            return
        for mapping in self._streaming():
            if not mapping.freed and mapping.phys < phys + size and phys < mapping.end:
                mapping.freed = True
                text = f"memory is freed while it is mapped {_STRICT} [mapped with %s]"
                values = (mapping.dma, mapping.size, _DIRECTIONS[mapping.direction])
                self._find("strict-freed", mapping.dev, text, *values)

    def _streaming(self) -> Iterable[Mapping]:
        return [mapping for mapping in self.live.values() if mapping.kind != "coherent"]

    def leave(self, dev: Device) -> None:
        """strict_leave(). The model's drivers have coherent memory that is managed: it is gone by then."""
        left = [mapping for mapping in self._streaming() if mapping.dev is dev]
        if left:
            text = f"driver left mappings behind {_STRICT} [count=%d]"
            self._find("strict-leak", dev, text, left[0].dma, left[0].size, len(left))
