# SPDX-License-Identifier: GPL-2.0-or-later
"""The DMA API on a machine without IOMMU: kernel/dma/{mapping,direct,swiotlb}.c, linux/dma-mapping.h, mm/dmapool.c.

A DMA address is a physical address here. What the device does with one is hardware.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from dmasafe.model.allocators import Allocators, align, get_order
from dmasafe.model.config import Config
from dmasafe.model.device import (
    DMA_ATTR_SKIP_CPU_SYNC,
    DMA_FROM_DEVICE,
    DMA_MAPPING_ERROR,
    DMA_TO_DEVICE,
    Device,
    Scatterlist,
)
from dmasafe.model.dma_debug import DmaDebug
from dmasafe.model.errors import ModelError
from dmasafe.model.layout import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, dma_get_cache_alignment
from dmasafe.model.log import KernelLog, Place, Report
from dmasafe.model.memory import Memory
from dmasafe.model.strict import Strict

EIO = 5
# include/linux/dma-mapping.h dev_WARN_ONCE() of dma_map_single_attrs(): line by version read.
_REJECT_LINES = {(5, 10): 275, (6, 1): 332, (6, 12): 381, (7, 2): 523}
# kernel/dma/direct.h dma_direct_map_page(), dma_direct_map_phys(), inlined into their callers; since 7.3 a function of
# kernel/dma/direct.c.
_OVERFLOW_LINES = {(5, 10): 97, (6, 1): 103, (6, 12): 103, (7, 2): 131, (7, 3): 718}
_OVERFLOW_FUNCTIONS = {(7, 3): "dma_direct_map_phys", (6, 19): "dma_map_phys", (0, 0): "dma_map_page_attrs"}
# include/linux/scatterlist.h sg_set_buf(): BUG_ON(!virt_addr_valid(buf)).
SG_BUG_LINES = {(5, 10): 143, (6, 1): 163, (6, 12): 187, (7, 2): 210}
# mm/dmapool.c struct dma_block holds the next block's address and, since 6.3, its own DMA address; before, 4 bytes did.
_DMA_BLOCK_SINCE = (6, 3)
_CLEAN_SINCE = (5, 19)
# kernel/dma/swiotlb.c: slots of 2 KiB, at most 128 of them in a row. The kernel's pool is 64 MiB; 1 MiB is enough here.
IO_TLB_SHIFT = 11
IO_TLB_SIZE = 1 << IO_TLB_SHIFT
IO_TLB_SEGSIZE = 128
_IO_TLB_POOL_BYTES = 1 << 20


def line_of(lines: dict[tuple[int, int], int], version: tuple[int, ...]) -> int:
    """The line in the newest version read that is not newer than ``version``."""
    known = [v for v in lines if v <= version]
    return lines[max(known) if known else min(lines)]


class Swiotlb:
    """kernel/dma/swiotlb.c: a pool below 4 GiB where memory is copied that a device cannot reach or must not share."""

    def __init__(self, memory: Memory, allocators: Allocators) -> None:
        self.memory = memory
        self.start = allocators.alloc_pages(get_order(_IO_TLB_POOL_BYTES)) << PAGE_SHIFT
        self.end = self.start + _IO_TLB_POOL_BYTES
        self._slots: dict[int, tuple[int, int]] = {}
        # Where the search goes on: area->index.
        self._next = self.start

    def map(self, paddr: int, size: int) -> int | None:
        """swiotlb_tbl_map_single(): the slot's physical address, with the page offset kept below a slot's size."""
        if size > IO_TLB_SIZE * IO_TLB_SEGSIZE:
            return None
        used = [(slot, slot + align(length, IO_TLB_SIZE)) for slot, (_orig, length) in self._slots.items()]
        places = chain(range(self._next, self.end, IO_TLB_SIZE), range(self.start, self._next, IO_TLB_SIZE))
        fits = (at for at in places if at + size <= self.end)
        slot = next((at for at in fits if not any(at < end and start < at + size for start, end in used)), None)
        if slot is None:
            return None
        self._next = slot + align(size, IO_TLB_SIZE)
        if self._next >= self.end:
            self._next = self.start
        self._slots[slot] = (paddr, size)
        self.bounce(slot, size, to_device=True)
        return slot

    def bounce(self, slot: int, size: int, to_device: bool) -> None:
        """swiotlb_bounce(): copy between the original memory and the slot, whichever part of it ``slot`` is in."""
        for start, (original, length) in self._slots.items():
            if start <= slot < start + length:
                offset = slot - start
                size = min(size, length - offset)
                if to_device:
                    self._store(slot, self._load(original + offset, size))
                else:
                    self._store(original + offset, self._load(slot, size))
                return

    # By way of phys_to_virt(), which takes back what made a nonsense page of an address, or leads to a page fault.

    def _load(self, phys: int, size: int) -> bytes:
        if self.memory.page_is_highmem(phys >> PAGE_SHIFT):
            return self.memory.cache.load(phys, size) if self.memory.cache else self.memory.ram_read(phys, size)
        return self.memory.load(self.memory.phys_to_virt(phys), size)

    def _store(self, phys: int, data: bytes) -> None:
        if not self.memory.page_is_highmem(phys >> PAGE_SHIFT):
            self.memory.store(self.memory.phys_to_virt(phys), data)
        elif self.memory.cache:
            self.memory.cache.store(phys, data)
        else:
            self.memory.ram_write(phys, data)

    def release(self, slot: int) -> None:
        self._slots.pop(slot, None)


class DmaPool:
    """mm/dmapool.c struct dma_pool: blocks cut from coherent pages, the first block first."""

    def __init__(self, dma: Dma, name: str, dev: Device, size: int, alignment: int, boundary: int) -> None:
        self.dma = dma
        self.name = name
        self.dev = dev
        least = 2 * dma.memory.layout.bits // 8 if dma.config.version >= _DMA_BLOCK_SINCE else 4
        self.size = align(max(size, least), alignment or 1)
        self.allocation = max(self.size, PAGE_SIZE)
        self.boundary = min(boundary, self.allocation) if boundary else self.allocation
        self._pages: list[tuple[int, int]] = []
        self._free: list[tuple[int, int]] = []
        self.nr_active = 0

    def alloc(self) -> tuple[int, int]:
        """dma_pool_alloc(): (address, DMA address)."""
        if not self._free:
            address, handle = self.dma.dma_alloc_coherent(self.dev, self.allocation)
            self._pages.append((address, handle))
            offset, next_boundary = 0, self.boundary
            blocks = []
            while offset + self.size <= self.allocation:
                if offset + self.size > next_boundary:
                    offset = next_boundary
                    next_boundary += self.boundary
                    continue
                blocks.append((address + offset, handle + offset))
                offset += self.size
            self._free = blocks[::-1]
        self.nr_active += 1
        return self._free.pop()

    def free(self, address: int, handle: int) -> None:
        self.nr_active -= 1
        self._free.append((address, handle))

    def destroy(self) -> None:
        """dma_pool_destroy(): the pages of a busy pool are leaked."""
        if self.nr_active == 0:
            for address, handle in self._pages:
                self.dma.dma_free_coherent(self.dev, self.allocation, address, handle)
        self._pages.clear()


class Dma:
    """The DMA API. ``debug`` is None without CONFIG_DMA_API_DEBUG, ``swiotlb`` without a pool."""

    def __init__(
        self, config: Config, memory: Memory, allocators: Allocators, log: KernelLog, debug: DmaDebug | None
    ) -> None:
        self.config = config
        self.memory = memory
        self.allocators = allocators
        self.log = log
        self.debug = debug
        self.swiotlb = None if config.swiotlb == "off" else Swiotlb(memory, allocators)
        self.strict = Strict(config.strict_line, memory, allocators, log) if config.strict_line else None
        self.force_bounce = config.swiotlb == "force"
        self._kmalloc_bounce = config.has("DMA_BOUNCE_UNALIGNED_KMALLOC")
        # dma_capable(): where dma_addr_t has 32 bits, an address below the first of memory has wrapped around.
        narrow = memory.layout.bits == 32 and not config.has("ARCH_DMA_ADDR_T_64BIT")
        self._lowest = memory.ram[0][0] if narrow else 0
        self._cache_alignment = dma_get_cache_alignment(config, memory.layout)
        self._map_invalidates = memory.layout.map_invalidates or config.version < _CLEAN_SINCE
        self.error = DMA_MAPPING_ERROR & memory.layout.mask
        # Kept for whoever wants to know why: what was decided, in order.
        self.notes: list[str] = []
        # The function and module that calls, where it is not the device's own driver.
        self.call_site: tuple[str, str] | None = None

    # Streaming mappings.

    def dma_map_single_attrs(self, dev: Device, address: int, size: int, direction: int, attrs: int = 0) -> int:
        """include/linux/dma-mapping.h dma_map_single_attrs(): a DMA address or DMA_MAPPING_ERROR."""
        memory = self.memory
        if memory.vmalloc_start <= address < memory.vmalloc_end:
            self._reject(dev)
            self.notes.append("dma_map_single() rejects vmalloc addresses with a warning")
            return self.error
        if self.debug is not None:
            self.debug.debug_dma_map_single(dev, address, size)
        page = memory.virt_to_page(address)
        return self.dma_map_page_attrs(dev, page, address & PAGE_MASK, size, direction, attrs)

    dma_map_single = dma_map_single_attrs

    def _reject(self, dev: Device) -> None:
        # Inlined into its caller, so once-only per call site: a driver has one in the model (controller_payload.c's).
        site = self.call_site or ("right_map", dev.driver)
        if not self.log.first_time(("dma_map_single_attrs", site)):
            return
        line = line_of(_REJECT_LINES, self.config.version)
        place = Place("include/linux/dma-mapping.h", line, *site)
        text = "%s %s: rejecting DMA map of vmalloc memory"
        driver = dev.driver or ""
        frames = ("__i2c_transfer+0x0/0x0", "i2c_transfer+0x0/0x0")
        self.log.warn(Report("map-vmalloc-rejected", dev.name, driver, text, (driver, dev.name), place, frames))

    def dma_map_page_attrs(self, dev: Device, page: int, offset: int, size: int, direction: int, attrs: int = 0) -> int:
        """kernel/dma/mapping.c dma_map_page_attrs(), since 6.19 or so dma_map_phys()."""
        if dev.dma_mask is None:
            return self.error
        phys = (page << PAGE_SHIFT) + offset
        dma_addr = self._map(dev, phys, size, direction, attrs)
        if self.debug is not None:
            if dma_addr == self.error:
                self.debug.debug_dma_mapping_error(dev, dma_addr)
            else:
                self.debug.debug_dma_map_page(dev, phys, size, direction, dma_addr, attrs)
        return dma_addr

    dma_map_page = dma_map_page_attrs

    def _map(self, dev: Device, phys: int, size: int, direction: int, attrs: int, kind: str = "single") -> int:
        """By the device's own operations, or directly."""
        if not dev.strict or self.strict is None:
            return self._dma_direct_map(dev, phys, size, direction, attrs)
        dma_addr = self.strict.map(dev, phys, size, direction, kind)
        self.notes.append("the strict machine has no such mapping" if dma_addr is None else "the machine is strict")
        return self.error if dma_addr is None else dma_addr

    def _dma_direct_map(self, dev: Device, phys: int, size: int, direction: int, attrs: int) -> int:
        """kernel/dma/direct.h dma_direct_map_page(), dma_direct_map_phys()."""
        if self.force_bounce:
            return self._swiotlb_map(dev, phys, size, direction, attrs, "swiotlb=force")
        beyond = phys + size - 1 > dev.dma_limit or phys < self._lowest
        if beyond or (self._kmalloc_bounce and self._kmalloc_needs_bounce(dev, size, direction)):
            if self.swiotlb is not None:
                reason = "the device cannot reach it" if beyond else "kmalloc() memory shares its cache line"
                return self._swiotlb_map(dev, phys, size, direction, attrs, reason)
            self._overflow(dev, phys, size)
            return self.error
        if not dev.dma_coherent and not attrs & DMA_ATTR_SKIP_CPU_SYNC:
            self._arch_sync_dma_for_device(phys, size, direction)
        return phys

    def _kmalloc_needs_bounce(self, dev: Device, size: int, direction: int) -> bool:
        """include/linux/dma-map-ops.h dma_kmalloc_needs_bounce(); twice ARCH_DMA_MINALIGN is always aligned."""
        if dev.dma_coherent or direction == DMA_TO_DEVICE:
            return False
        return self.allocators.kmalloc_size_roundup(size) % self._cache_alignment != 0

    def _overflow(self, dev: Device, phys: int, size: int) -> None:
        if not self.log.first_time("dma_direct_map_page"):
            return
        version = self.config.version
        function = next(name for since, name in _OVERFLOW_FUNCTIONS.items() if version >= since)
        file = "kernel/dma/direct.c" if version >= (7, 3) else "kernel/dma/direct.h"
        place = Place(file, line_of(_OVERFLOW_LINES, self.config.version), function)
        driver = dev.driver or ""
        text = "%s %s: DMA addr 0x%016x+%d overflow (mask %x, bus limit %x)."
        values = (driver, dev.name, phys, size, dev.dma_mask or 0, dev.bus_dma_limit)
        self.log.warn(Report("addr-overflow", dev.name, driver, text, values, place, (f"{function}+0x0/0x0",)))

    def _swiotlb_map(self, dev: Device, phys: int, size: int, direction: int, attrs: int, why: str) -> int:
        """kernel/dma/swiotlb.c swiotlb_map(): the slot is filled in any direction, as the device may write less."""
        assert self.swiotlb is not None
        slot = self.swiotlb.map(phys, size)
        if slot is None:
            return self.error
        self.notes.append(f"swiotlb bounces the mapping: {why}")
        if not dev.dma_coherent and not attrs & DMA_ATTR_SKIP_CPU_SYNC:
            self._arch_sync_dma_for_device(slot, size, direction)
        return slot

    def dma_unmap_page_attrs(self, dev: Device, dma_addr: int, size: int, direction: int, attrs: int = 0) -> None:
        """kernel/dma/mapping.c dma_unmap_page_attrs(), since 6.19 or so dma_unmap_phys()."""
        self._unmap(dev, dma_addr, size, direction, attrs)
        if self.debug is not None:
            self.debug.debug_dma_unmap_page(dev, dma_addr, size, direction, attrs)

    def _unmap(self, dev: Device, dma_addr: int, size: int, direction: int, attrs: int) -> None:
        if dev.strict and self.strict is not None:
            self.strict.unmap(dev, dma_addr, size, direction, not attrs & DMA_ATTR_SKIP_CPU_SYNC)
            return
        if not attrs & DMA_ATTR_SKIP_CPU_SYNC:
            self._sync_for_cpu(dev, dma_addr, size, direction)
        if self.swiotlb is not None:
            self.swiotlb.release(dma_addr)

    dma_unmap_page = dma_unmap_page_attrs
    dma_unmap_single_attrs = dma_unmap_page_attrs
    dma_unmap_single = dma_unmap_page_attrs

    def dma_mapping_error(self, dev: Device, dma_addr: int) -> int:
        """include/linux/dma-mapping.h dma_mapping_error(): 0 or -ENOMEM."""
        if self.debug is not None:
            self.debug.debug_dma_mapping_error(dev, dma_addr)
        return -12 if dma_addr == self.error else 0

    # Scatterlists.

    def dma_map_sg_attrs(self, dev: Device, sgl: Sequence[Scatterlist], direction: int, attrs: int = 0) -> int:
        """kernel/dma/mapping.c dma_map_sg_attrs(): the number of mapped entries, 0 for any error."""
        if dev.dma_mask is None:
            return 0
        for number, sg in enumerate(sgl):
            sg.dma_address = self._map(dev, sg.phys, sg.length, direction, attrs, "scatter-gather")
            if sg.dma_address == self.error:
                for mapped in sgl[:number]:
                    self._unmap(dev, mapped.dma_address, mapped.length, direction, attrs | DMA_ATTR_SKIP_CPU_SYNC)
                return 0
        if self.debug is not None:
            self.debug.debug_dma_map_sg(dev, sgl, len(sgl), direction, attrs)
        return len(sgl)

    dma_map_sg = dma_map_sg_attrs

    def dma_unmap_sg_attrs(self, dev: Device, sgl: Sequence[Scatterlist], direction: int, attrs: int = 0) -> None:
        """kernel/dma/mapping.c dma_unmap_sg_attrs(): dma-debug looks first, then the entries are unmapped."""
        if self.debug is not None:
            self.debug.debug_dma_unmap_sg(dev, sgl, direction, attrs)
        for sg in sgl:
            self._unmap(dev, sg.dma_address, sg.length, direction, attrs)

    dma_unmap_sg = dma_unmap_sg_attrs

    # Ownership.

    def dma_sync_single_for_cpu(self, dev: Device, dma_addr: int, size: int, direction: int) -> None:
        self._sync_for_cpu(dev, dma_addr, size, direction)
        if self.debug is not None:
            self.debug.debug_dma_sync_single(dev, dma_addr, size, direction, True)

    def dma_sync_single_for_device(self, dev: Device, dma_addr: int, size: int, direction: int) -> None:
        self._sync_for_device(dev, dma_addr, size, direction)
        if self.debug is not None:
            self.debug.debug_dma_sync_single(dev, dma_addr, size, direction, False)

    def dma_sync_sg_for_cpu(self, dev: Device, sgl: Sequence[Scatterlist], direction: int) -> None:
        for sg in sgl:
            self._sync_for_cpu(dev, sg.dma_address, sg.length, direction)
        if self.debug is not None:
            self.debug.debug_dma_sync_sg(dev, sgl, direction, True)

    def dma_sync_sg_for_device(self, dev: Device, sgl: Sequence[Scatterlist], direction: int) -> None:
        for sg in sgl:
            self._sync_for_device(dev, sg.dma_address, sg.length, direction)
        if self.debug is not None:
            self.debug.debug_dma_sync_sg(dev, sgl, direction, False)

    def _sync_for_cpu(self, dev: Device, dma_addr: int, size: int, direction: int) -> None:
        """kernel/dma/direct.h dma_direct_sync_single_for_cpu()."""
        if dev.strict and self.strict is not None:
            self.strict.sync(dev, dma_addr, size, direction, for_cpu=True)
            return
        if not dev.dma_coherent:
            self._arch_sync_dma_for_cpu(dma_addr, size, direction)
        if self.swiotlb is not None and direction != DMA_TO_DEVICE:
            self.swiotlb.bounce(dma_addr, size, to_device=False)

    def _sync_for_device(self, dev: Device, dma_addr: int, size: int, direction: int) -> None:
        """kernel/dma/direct.h dma_direct_sync_single_for_device()."""
        if dev.strict and self.strict is not None:
            self.strict.sync(dev, dma_addr, size, direction, for_cpu=False)
            return
        if self.swiotlb is not None and direction != DMA_FROM_DEVICE:
            self.swiotlb.bounce(dma_addr, size, to_device=True)
        if not dev.dma_coherent:
            self._arch_sync_dma_for_device(dma_addr, size, direction)

    def _arch_sync_dma_for_device(self, phys: int, size: int, direction: int) -> None:
        """Clean; memory that the device is to fill is invalidated instead by arm, and by arm64 before 5.19 or so.

        arch/arm64/mm/dma-mapping.c and cache.S __dma_map_area() (5.10), arch/arm/mm/dma-mapping.c
        __dma_page_cpu_to_dev(). A stray range has no lines.
        """
        cache = self.memory.cache
        if cache is None or not self.memory.is_ram(phys, size):
            return
        if direction == DMA_FROM_DEVICE and self._map_invalidates:
            cache.invalidate(phys, size)
        else:
            cache.clean(phys, size)

    def _arch_sync_dma_for_cpu(self, phys: int, size: int, direction: int) -> None:
        """arch/arm64/mm/dma-mapping.c: invalidate, unless the device only read."""
        cache = self.memory.cache
        if cache is not None and direction != DMA_TO_DEVICE and self.memory.is_ram(phys, size):
            cache.invalidate(phys, size)

    # Coherent memory.

    def dma_alloc_coherent(self, dev: Device, size: int, attrs: int = 0) -> tuple[int, int]:
        """kernel/dma/direct.c dma_direct_alloc(): (address, DMA address), zeroed, whole pages.

        A device that cannot see the caches gets an uncached mapping in vmalloc space; behind an IOMMU there is always
        one in vmalloc space (drivers/iommu/dma-iommu.c iommu_dma_alloc_remap()).
        """
        if dev.strict and self.strict is not None:
            return self._alloc_strict(self.strict, dev, size, attrs)
        page = self.allocators.alloc_pages(get_order(size))
        phys = page << PAGE_SHIFT
        if phys + size - 1 > min(dev.coherent_dma_mask, dev.bus_dma_limit or dev.coherent_dma_mask):
            raise ModelError(f"no coherent memory below {dev.coherent_dma_mask:#x} for {dev.name}")
        self.memory.ram_write(phys, bytes(align(size, PAGE_SIZE)))
        if dev.dma_coherent and not self.config.iommu:
            address = self.memory.page_to_virt(page)
        else:
            if self.memory.cache is not None:
                self.memory.cache.invalidate(phys, align(size, PAGE_SIZE))
            frames = range(page, page + (align(size, PAGE_SIZE) >> PAGE_SHIFT))
            address = self.allocators.vmap(frames, uncached=not dev.dma_coherent)
        if self.debug is not None:
            self.debug.debug_dma_alloc_coherent(dev, size, phys, phys, attrs)
        return address, phys

    def _alloc_strict(self, strict: Strict, dev: Device, size: int, attrs: int) -> tuple[int, int]:
        dma_addr = strict.alloc(dev, size)
        if dma_addr is None:
            raise ModelError(f"no bus address is left for coherent memory of {dev.name}")
        if self.debug is not None:
            self.debug.debug_dma_alloc_coherent(dev, size, dma_addr, dma_addr, attrs)
        return self.memory.phys_to_virt(dma_addr), dma_addr

    def dma_free_coherent(self, dev: Device, size: int, address: int, dma_addr: int, attrs: int = 0) -> None:
        """kernel/dma/mapping.c dma_free_attrs()."""
        phys = self.memory.translate(address)
        if self.debug is not None and phys is not None:
            self.debug.debug_dma_free_coherent(dev, size, phys, dma_addr, attrs)
        if dev.strict and self.strict is not None:
            self.strict.free(dma_addr)
            return
        if not dev.dma_coherent or self.config.iommu:
            self.allocators.vunmap(address)
        if phys is not None:
            self.allocators.free_pages(phys >> PAGE_SHIFT, get_order(size))

    def dma_alloc_pages(self, dev: Device, size: int, direction: int) -> tuple[int, int]:
        """kernel/dma/mapping.c dma_alloc_pages(): (page, DMA address); memory to be synced by hand."""
        page = self.allocators.alloc_pages(get_order(size))
        phys = page << PAGE_SHIFT
        self.memory.ram_write(phys, bytes(align(size, PAGE_SIZE)))
        if self.debug is not None:
            self.debug.debug_dma_alloc_pages(dev, phys, align(size, PAGE_SIZE), direction, phys)
        return page, phys

    def dma_free_pages(self, dev: Device, size: int, page: int, dma_addr: int, direction: int) -> None:
        if self.debug is not None:
            self.debug.debug_dma_free_pages(dev, page << PAGE_SHIFT, align(size, PAGE_SIZE), direction, dma_addr)
        self.allocators.free_pages(page, get_order(size))

    def dma_pool_create(self, name: str, dev: Device, size: int, alignment: int = 1, boundary: int = 0) -> DmaPool:
        """mm/dmapool.c dma_pool_create()."""
        return DmaPool(self, name, dev, size, alignment, boundary)

    # Masks.

    def dma_set_mask(self, dev: Device, mask: int) -> int:
        """kernel/dma/mapping.c dma_set_mask(): 0, or -EIO if the mask does not even reach all of low memory."""
        if not self._dma_supported(mask):
            return -EIO
        dev.dma_mask = mask
        return 0

    def dma_set_coherent_mask(self, dev: Device, mask: int) -> int:
        if not self._dma_supported(mask):
            return -EIO
        dev.coherent_dma_mask = mask
        return 0

    def dma_set_mask_and_coherent(self, dev: Device, mask: int) -> int:
        return self.dma_set_mask(dev, mask) or self.dma_set_coherent_mask(dev, mask)

    def _dma_supported(self, mask: int) -> bool:
        """kernel/dma/direct.c dma_direct_supported(): 32 bits always are; less must reach ZONE_DMA (16 MiB on x86)."""
        return mask >= (1 << self.memory.layout.zone_dma_bits) - 1
