# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses and what they lead to: the linear map, mapped pages, the image; page arithmetic and the predicates.

Physical memory is sparse: a page exists once something was written to it. Who gets which address is allocators.py's.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn, Protocol

from dmasafe.model.caches import DataCache
from dmasafe.model.config import Config
from dmasafe.model.errors import ModelError
from dmasafe.model.layout import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, has_highmem, layout_of, ram_ranges

# Of a 32-bit kernel. mem_map is allocated from the top of the linear map down, after little else (seen: 2.9 MiB).
_STRUCT_PAGE_BYTES = 32
_ABOVE_MEM_MAP = 3 << 20


class FaultHandler(Protocol):
    """What happens when a kernel address leads nowhere, or cannot be written. It does not return."""

    def __call__(self, address: int, write: bool, protected: bool) -> NoReturn: ...


def _unhandled(address: int, write: bool, protected: bool) -> NoReturn:
    raise ModelError(f"a fault at {address:#x} before the kernel was up")


class Mapping:
    """One page of vmalloc, module or kmap space: its frame, and how it is mapped."""

    __slots__ = ("pfn", "read_only", "uncached")

    def __init__(self, pfn: int, read_only: bool = False, uncached: bool = False) -> None:
        self.pfn = pfn
        self.read_only = read_only
        self.uncached = uncached


class SavedMemory(NamedTuple):
    """The page tables, and every page that holds anything."""

    mapped: dict[int, Mapping]
    pages: dict[int, bytes]


class Memory:
    """Physical memory and the kernel's page tables. ``cache`` is None on a machine whose devices see every store."""

    def __init__(self, config: Config) -> None:
        layout = self.layout = layout_of(config)
        self.highmem = has_highmem(config, layout)
        self.ram = ram_ranges(config, layout)
        end = self.ram[-1][1]
        size = layout.section_bytes
        self._valid_pfns = [(start >> PAGE_SHIFT, -(-end // size) * size >> PAGE_SHIFT) for start, end in self.ram]
        # Where lowmem ends: max_low_pfn on 32 bits, all of memory on 64.
        self.lowmem_end = min(end, layout.phys_offset + layout.lowmem_max) if layout.lowmem_max else end
        if self.highmem:
            self.lowmem_end = min(self.lowmem_end, end - config.highmem_bytes)
        self.memory_end = end if self.highmem else self.lowmem_end
        self.linear_delta = layout.page_offset - layout.phys_offset
        self.high_memory = self.lowmem_end + self.linear_delta
        self.vmalloc_start = layout.vmalloc_start or self.high_memory + layout.vmalloc_gap
        if layout.vmalloc_rounded:
            self.vmalloc_start &= ~(layout.vmalloc_gap - 1)
        self.vmalloc_end = layout.vmalloc_end
        self.modules_start = layout.modules_start or self.vmalloc_start
        self.modules_end = layout.modules_end or self.vmalloc_end
        # The image's sections, as in a kernel of a few MiB linked at 16 MiB: (start, end) virtual.
        image = layout.image_map + (16 << 20)
        self.stext, self.etext = image, image + (8 << 20)
        self.start_rodata, self.end_rodata = self.etext, self.etext + (4 << 20)
        self.sdata, self.edata = self.end_rodata, self.end_rodata + (4 << 20)
        self.image_end = self.edata
        self.image_delta = layout.image_map - layout.image_phys
        self.first_free_phys = self.image_end - self.image_delta
        # Below this address of the linear map a store may hit the image, so the page tables must be asked.
        self._fast_start = self.first_free_phys + self.linear_delta
        self._fast_end = self.high_memory
        self.fault: FaultHandler = _unhandled
        self.cache: DataCache | None = None
        self.mapped: dict[int, Mapping] = {}
        self.pages: dict[int, bytearray] = {}

    # Physical memory, as a device reaches it.

    def is_ram(self, phys: int, length: int = 1) -> bool:
        """Whether all of the range is memory."""
        return any(start <= phys and phys + length <= end for start, end in self.ram)

    def ram_read(self, phys: int, length: int) -> bytes:
        offset = phys & PAGE_MASK
        if offset + length <= PAGE_SIZE:
            page = self.pages.get(phys >> PAGE_SHIFT)
            return bytes(length) if page is None else bytes(page[offset : offset + length])
        head = PAGE_SIZE - offset
        return self.ram_read(phys, head) + self.ram_read(phys + head, length - head)

    def ram_write(self, phys: int, data: bytes) -> None:
        offset = phys & PAGE_MASK
        length = len(data)
        if offset + length <= PAGE_SIZE:
            page = self.pages.get(phys >> PAGE_SHIFT)
            if page is None:
                page = self.pages[phys >> PAGE_SHIFT] = bytearray(PAGE_SIZE)
            page[offset : offset + length] = data
            return
        head = PAGE_SIZE - offset
        self.ram_write(phys, data[:head])
        self.ram_write(phys + head, data[head:])

    def save(self) -> SavedMemory:
        return SavedMemory(dict(self.mapped), {pfn: bytes(page) for pfn, page in self.pages.items() if any(page)})

    def restore(self, saved: SavedMemory) -> None:
        self.mapped.clear()
        self.mapped.update(saved.mapped)
        self.pages.clear()
        for pfn, page in saved.pages.items():
            self.pages[pfn] = bytearray(page)
        if self.cache is not None:
            self.cache.clear()

    # The processor's view: loads and stores by kernel address.

    def load(self, address: int, length: int) -> bytes:
        """memcpy() from a kernel address. A bad address is a page fault: the task dies."""
        if self._fast_start <= address and address + length <= self._fast_end and self.cache is None:
            return self.ram_read(address - self.linear_delta, length)
        out = b""
        while length:
            phys, _read_only, uncached = self._walk(address, False)
            count = min(length, PAGE_SIZE - (address & PAGE_MASK))
            cache = None if uncached else self.cache
            out += self.ram_read(phys, count) if cache is None else cache.load(phys, count)
            address += count
            length -= count
        return out

    def store(self, address: int, data: bytes) -> None:
        """memcpy() to a kernel address. A bad or read-only address is a page fault: the task dies."""
        length = len(data)
        if self._fast_start <= address and address + length <= self._fast_end and self.cache is None:
            self.ram_write(address - self.linear_delta, data)
            return
        done = 0
        while done < length:
            phys, read_only, uncached = self._walk(address + done, True)
            if read_only:
                self.fault(address + done, True, True)
            piece = data[done : done + PAGE_SIZE - ((address + done) & PAGE_MASK)]
            if self.cache is not None and not uncached:
                self.cache.store(phys, piece)
            else:
                self.ram_write(phys, piece)
            done += len(piece)

    def store_byte(self, address: int, value: int) -> None:
        self.store(address, bytes((value & 0xFF,)))

    def poke(self, address: int, data: bytes) -> None:
        """Write past the page tables' read-only bit, through an alias (client_memory.c memory_write_read_only())."""
        done = 0
        while done < len(data):
            phys, _read_only, _uncached = self._walk(address + done, True)
            piece = data[done : done + PAGE_SIZE - ((address + done) & PAGE_MASK)]
            self.ram_write(phys, piece)
            done += len(piece)

    def _walk(self, address: int, write: bool) -> tuple[int, bool, bool]:
        """(physical address, read-only, uncached), as the processor's page walk finds them."""
        found = self._look_up(address)
        if found is None:
            self.fault(address, write, False)
        return found

    def translate(self, address: int) -> int | None:
        """The physical address behind any kernel address, or None. It is what a page walk finds, no arithmetic."""
        found = self._look_up(address)
        return None if found is None else found[0]

    def _look_up(self, address: int) -> tuple[int, bool, bool] | None:
        mapping = self.mapped.get(address >> PAGE_SHIFT)
        if mapping is not None:
            return (mapping.pfn << PAGE_SHIFT) | (address & PAGE_MASK), mapping.read_only, mapping.uncached
        if self.stext <= address < self.image_end:
            # mark_rodata_ro(): text and rodata are read-only once the kernel is up.
            return address - self.image_delta, address < self.end_rodata, False
        if self.layout.page_offset <= address < self.high_memory:
            phys = address - self.linear_delta
            # Its alias too: x86 cpa_process_alias(), arm64 mark_linear_text_alias_ro().
            return phys, self.stext <= phys + self.image_delta < self.end_rodata, False
        return None

    # Arithmetic on addresses: right for the linear map, and nonsense elsewhere just as the kernel's.

    def pa(self, address: int) -> int:
        """__pa(): x86 __phys_addr_nodebug(), arm64 __virt_to_phys_nodebug(), riscv __va_to_pa_nodebug().

        x86_64 tells the image's mapping from the linear map by a carry flag (arch/x86/include/asm/page_64.h), arm64
        (__is_lm_address()) and riscv (is_linear_mapping()) by a range; 32-bit x86 and arm have but the linear map.
        """
        layout = self.layout
        linear = layout.linear_start <= address < layout.linear_end
        return (address - (self.linear_delta if linear else self.image_delta)) & layout.mask

    def virt_to_page(self, address: int) -> int:
        """The frame number that virt_to_page() stands for; for an address without struct page a nonsense one."""
        if self.layout.page_from_offset:
            # arm64: an index into vmemmap, computed from PAGE_OFFSET whatever the address is.
            return self._wrap(address - self.layout.page_offset >> PAGE_SHIFT) + (self.layout.phys_offset >> PAGE_SHIFT)
        return self.pa(address) >> PAGE_SHIFT

    def _wrap(self, value: int) -> int:
        return value & (self.layout.mask >> PAGE_SHIFT)

    def page_to_phys(self, page: int) -> int:
        return page << PAGE_SHIFT

    def page_to_virt(self, page: int) -> int:
        """page_address() of a lowmem page: its address in the linear map."""
        return ((page << PAGE_SHIFT) + self.linear_delta) & self.layout.mask

    def phys_to_virt(self, phys: int) -> int:
        return (phys + self.linear_delta) & self.layout.mask

    def vmalloc_to_page(self, address: int) -> int | None:
        """mm/vmalloc.c vmalloc_to_page(): the frame that the page tables hold, or None."""
        mapping = self.mapped.get(address >> PAGE_SHIFT)
        return None if mapping is None else mapping.pfn

    def page_is_highmem(self, page: int) -> bool:
        """PageHighMem(), PhysHighMem(): constant false without CONFIG_HIGHMEM; else a look at struct page.

        The struct page of a nonsense frame lies behind mem_map: in somebody's memory, or behind the linear map's end.
        """
        if not self.highmem:
            return False
        frames = self.memory_end - self.layout.phys_offset >> PAGE_SHIFT
        index = page - (self.layout.phys_offset >> PAGE_SHIFT)
        if not 0 <= index < frames:
            address = self.high_memory - _ABOVE_MEM_MAP - (frames - index) * _STRUCT_PAGE_BYTES
            if not self.layout.page_offset <= address < self.high_memory:
                self.fault(address & self.layout.mask, False, False)
        return page << PAGE_SHIFT >= self.lowmem_end

    def pfn_valid(self, pfn: int) -> bool:
        """include/linux/mmzone.h: whether the frame has a struct page; a sparse section has them all or none."""
        return any(start <= pfn < end for start, end in self._valid_pfns)

    # The predicates.

    def is_vmalloc_addr(self, address: int) -> bool:
        """mm/vmalloc.c is_vmalloc_addr(): VMALLOC_START to VMALLOC_END."""
        return self.vmalloc_start <= address < self.vmalloc_end

    def is_vmalloc_or_module_addr(self, address: int) -> bool:
        """mm/vmalloc.c is_vmalloc_or_module_addr()."""
        return self.modules_start <= address < self.modules_end or self.is_vmalloc_addr(address)

    def virt_addr_valid(self, address: int) -> bool:
        """arch/x86/mm/physaddr.c __virt_addr_valid(); asm/memory.h of arm and arm64, asm/page.h of riscv.

        i386 asks for no upper end: of much memory, a frame behind the linear map's end may answer for a kmap address.
        """
        layout = self.layout
        if not layout.page_offset <= address < (layout.valid_end or self.high_memory):
            return False
        if layout.valid_asks_memory:
            return self.is_ram(self.pa(address))
        return not self.is_vmalloc_addr(address) and self.pfn_valid(self.pa(address) >> PAGE_SHIFT)
