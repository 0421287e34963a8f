# SPDX-License-Identifier: GPL-2.0-or-later
"""Who gets which address: pages, slab, vmalloc, per-CPU, module space, kmap, task stacks, devm.

Freed memory is handed out again last in, first out, so that the same calls give the same addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import NamedTuple

from dmasafe.model.config import Config
from dmasafe.model.errors import ModelError
from dmasafe.model.layout import PAGE_SHIFT, PAGE_SIZE, kmalloc_minalign
from dmasafe.model.memory import Mapping, Memory

# include/linux/slab.h: what kmalloc(0) returns.
ZERO_SIZE_PTR = 16
# mm/slab_common.c kmalloc_info[]; larger requests take whole pages (KMALLOC_MAX_CACHE_SIZE under SLUB).
KMALLOC_SIZES = (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192)
KMALLOC_MAX_CACHE_SIZE = 8192
# drivers/base/devres.c struct devres_node in pointers: list and release; name and size too since 6.0 or so (read in
# 6.1), before that under DEBUG_DEVRES only (read in 5.10).
_DEVRES_NODE_POINTERS = 5
_DEVRES_NODE_POINTERS_SHORT = 3
_DEVRES_NODE_LONG_SINCE = (6, 0)
# include/linux/percpu.h PCPU_MIN_UNIT_SIZE
PCPU_MIN_UNIT_SIZE = 32 << 10


def get_order(size: int) -> int:
    """include/asm-generic/getorder.h"""
    return (size - 1 >> PAGE_SHIFT).bit_length()


def align(value: int, to: int) -> int:
    return -(-value // to) * to


def _copied(lists: dict[int, list[int]]) -> dict[int, list[int]]:
    return {key: list(values) for key, values in lists.items()}


class KmemCache:
    """struct kmem_cache: objects of one size, cut from pages."""

    __slots__ = ("end", "free", "name", "next", "size")

    def __init__(self, name: str, size: int, alignment: int) -> None:
        self.name = name
        self.size = align(size, alignment)
        self.free: list[int] = []
        # What is left of the newest slab.
        self.next = self.end = 0


class SavedAllocators(NamedTuple):
    """What is free and what is handed out."""

    bumps: tuple[int, int, int, int, int, int]
    lists: tuple[dict[int, list[int]], dict[int, list[int]], dict[int, list[int]]]
    maps: tuple[dict[int, int], dict[int, int], dict[int, int]]
    kmapped: dict[int, tuple[int, int]]
    allocated: dict[int, KmemCache | int]
    caches: list[tuple[KmemCache, list[int], int, int]]
    percpu_frames: frozenset[int]


class Allocators:
    """Every allocator of one kernel. Addresses are virtual."""

    def __init__(self, config: Config, memory: Memory) -> None:
        self.config = config
        self.memory = memory
        self._page_bump = memory.first_free_phys
        self._highmem_bump = memory.lowmem_end
        self._free_pages: dict[int, list[int]] = {}
        self._vmalloc_bump = memory.vmalloc_start
        # arm64 maps the image at the start of vmalloc space.
        if memory.is_vmalloc_addr(memory.image_end):
            self._vmalloc_bump = align(memory.image_end, PAGE_SIZE)
        self._module_bump = memory.modules_start
        self._vmalloc_sizes: dict[int, int] = {}
        self._free_vmalloc: dict[int, list[int]] = {}
        self._percpu_bump = self._percpu_end = 0
        self._percpu_frames: set[int] = set()
        self._percpu_free: dict[int, list[int]] = {}
        self._percpu_sizes: dict[int, int] = {}
        # Of each page: its address, and how often it was mapped.
        self._kmapped: dict[int, tuple[int, int]] = {}
        self._devres: dict[int, int] = {}
        self.allocated: dict[int, KmemCache | int] = {}
        # Told of memory (address, bytes) that goes back, before it does.
        self.freeing: Callable[[int, int], None] = lambda address, size: None
        self.minalign = kmalloc_minalign(config, memory.layout)
        # create_kmalloc_caches() leaves out what the alignment rules out; 96 and 192 only exist below it.
        self.kmalloc_caches = [
            KmemCache(f"kmalloc-{size}", size, self.minalign) for size in KMALLOC_SIZES if size % self.minalign == 0
        ]
        self._by_size = [self._cache_for(8 * n) for n in range(KMALLOC_MAX_CACHE_SIZE // 8 + 1)]
        self.caches: list[KmemCache] = list(self.kmalloc_caches)

    def save(self) -> SavedAllocators:
        return SavedAllocators(
            (
                self._page_bump,
                self._highmem_bump,
                self._vmalloc_bump,
                self._module_bump,
                self._percpu_bump,
                self._percpu_end,
            ),
            (_copied(self._free_pages), _copied(self._free_vmalloc), _copied(self._percpu_free)),
            (dict(self._vmalloc_sizes), dict(self._percpu_sizes), dict(self._devres)),
            dict(self._kmapped),
            dict(self.allocated),
            [(cache, list(cache.free), cache.next, cache.end) for cache in self.caches],
            frozenset(self._percpu_frames),
        )

    def restore(self, saved: SavedAllocators) -> None:
        (
            self._page_bump,
            self._highmem_bump,
            self._vmalloc_bump,
            self._module_bump,
            self._percpu_bump,
            self._percpu_end,
        ) = saved.bumps
        self._free_pages, self._free_vmalloc, self._percpu_free = (_copied(lists) for lists in saved.lists)
        self._vmalloc_sizes, self._percpu_sizes, self._devres = (dict(each) for each in saved.maps)
        self._kmapped = dict(saved.kmapped)
        self.allocated = dict(saved.allocated)
        self._percpu_frames = set(saved.percpu_frames)
        self.caches = []
        for cache, free, start, end in saved.caches:
            cache.free, cache.next, cache.end = list(free), start, end
            self.caches.append(cache)

    def _cache_for(self, size: int) -> KmemCache:
        return next(cache for cache in self.kmalloc_caches if cache.size >= size)

    # Pages.

    def alloc_pages(self, order: int) -> int:
        """alloc_pages(GFP_KERNEL): the first frame's number, aligned to the block."""
        free = self._free_pages.get(order)
        if free:
            return free.pop()
        size = PAGE_SIZE << order
        start = align(self._page_bump, size)
        if start + size > self.memory.lowmem_end:
            raise ModelError(f"the modelled machine is out of memory: no block of {size} bytes is left")
        self._page_bump = start + size
        return start >> PAGE_SHIFT

    def free_pages(self, page: int, order: int) -> None:
        self.freeing(self.memory.page_to_virt(page), PAGE_SIZE << order)
        self._free_pages.setdefault(order, []).append(page)

    def alloc_highpage(self) -> int:
        """alloc_page(GFP_HIGHUSER): a page outside the linear map, where the machine has one."""
        memory = self.memory
        if self._highmem_bump + PAGE_SIZE > memory.memory_end:
            return self.alloc_pages(0)
        self._highmem_bump += PAGE_SIZE
        return self._highmem_bump - PAGE_SIZE >> PAGE_SHIFT

    def free_highpage(self, page: int) -> None:
        """__free_page() of what alloc_highpage() gave. Highmem is handed out once only: there is plenty."""
        if not self.memory.page_is_highmem(page):
            self.free_pages(page, 0)

    def page_address(self, page: int) -> int:
        return self.memory.page_to_virt(page)

    # Slab.

    def kmalloc(self, size: int) -> int:
        """kmalloc(GFP_KERNEL): aligned to the size if that is a power of two (Linux 5.4), else to the minimum."""
        if size > KMALLOC_MAX_CACHE_SIZE:
            order = get_order(size)
            address = self.page_address(self.alloc_pages(order))
            self.allocated[address] = order
            return address
        if size == 0:
            return ZERO_SIZE_PTR
        return self.kmem_cache_alloc(self._by_size[size + 7 >> 3])

    def kzalloc(self, size: int) -> int:
        address = self.kmalloc(size)
        if size:
            self.memory.store(address, bytes(size))
        return address

    def kmemdup(self, source: int, size: int) -> int:
        address = self.kmalloc(size)
        if size:
            self.memory.store(address, self.memory.load(source, size))
        return address

    def kfree(self, address: int) -> None:
        """kfree() of NULL and of ZERO_SIZE_PTR is fine; of anything that kmalloc() did not return it is an error."""
        if address <= ZERO_SIZE_PTR:
            return
        owner = self.allocated.pop(address, None)
        if owner is None:
            raise ModelError(f"kfree() of {address:#x}, which kmalloc() did not return or which is free already")
        self.freeing(address, PAGE_SIZE << owner if isinstance(owner, int) else owner.size)
        if isinstance(owner, int):
            self.free_pages(self.memory.virt_to_page(address), owner)
        else:
            owner.free.append(address)

    def kmalloc_size_roundup(self, size: int) -> int:
        """mm/slab_common.c: how much kmalloc() really gives."""
        if size > KMALLOC_MAX_CACHE_SIZE:
            return PAGE_SIZE << get_order(size)
        return self._by_size[size + 7 >> 3].size if size else 0

    def kmem_cache_create(self, name: str, size: int, alignment: int = 0) -> KmemCache:
        cache = KmemCache(name, size, max(alignment, self.minalign))
        self.caches.append(cache)
        return cache

    def kmem_cache_alloc(self, cache: KmemCache) -> int:
        """What was freed last goes out first, then the rest of the newest slab."""
        if cache.free:
            address = cache.free.pop()
        else:
            if cache.next == cache.end:
                self._grow(cache)
            address = cache.next
            cache.next += cache.size
        self.allocated[address] = cache
        return address

    def _grow(self, cache: KmemCache) -> None:
        order = get_order(cache.size)
        cache.next = self.page_address(self.alloc_pages(order))
        cache.end = cache.next + (PAGE_SIZE << order) // cache.size * cache.size

    # Managed memory: the data follows a header, at the alignment that drivers/base/devres.c gives struct devres.

    def devm_header(self) -> int:
        """offsetof(struct devres, data)."""
        layout = self.memory.layout
        short = self.config.version < _DEVRES_NODE_LONG_SINCE and not self.config.has("DEBUG_DEVRES")
        node = (_DEVRES_NODE_POINTERS_SHORT if short else _DEVRES_NODE_POINTERS) * layout.bits // 8
        # ARCH_DMA_MINALIGN falls back to the alignment of unsigned long long, whose minimum for kmalloc() it is.
        return align(node, layout.dma_minalign or 8)

    def devm_kmalloc(self, size: int) -> int:
        header = self.devm_header()
        start = self.kmalloc(header + size)
        self._devres[start + header] = start
        return start + header

    def devm_kfree(self, address: int) -> None:
        self.kfree(self._devres.pop(address))

    # Mapped memory.

    def vmalloc(self, size: int) -> int:
        """vmalloc(): pages that are contiguous in the mapping only, followed by a guard page."""
        pages = align(size, PAGE_SIZE) >> PAGE_SHIFT
        free = self._free_vmalloc.get(pages)
        if free:
            address = free.pop()
            self._vmalloc_sizes[address] = pages
            return address
        # Last page first: no caller may count on neighbours in the mapping being neighbours in memory.
        return self.vmap([self.alloc_pages(0) for _ in range(pages)][::-1])

    def vmap(self, frames: Iterable[int], uncached: bool = False) -> int:
        """vmap(): these frames, one after the other."""
        address = self._vmalloc_bump
        mapped = self.memory.mapped
        pages = 0
        for pfn in frames:
            mapped[(address >> PAGE_SHIFT) + pages] = Mapping(pfn, uncached=uncached)
            pages += 1
        self._vmalloc_bump += (pages + 1) * PAGE_SIZE
        self._vmalloc_sizes[address] = pages
        return address

    def vfree(self, address: int) -> None:
        pages = self._vmalloc_sizes.pop(address, None)
        if pages is None:
            raise ModelError(f"vfree() of {address:#x}, which vmalloc() did not return")
        self._free_vmalloc.setdefault(pages, []).append(address)

    def vunmap(self, address: int) -> None:
        """vunmap(): the mapping goes, the frames are the caller's."""
        pages = self._vmalloc_sizes.pop(address)
        for number in range(pages):
            del self.memory.mapped[(address >> PAGE_SHIFT) + number]

    def module_alloc(self, size: int, read_only: bool = False) -> int:
        """Memory of a module, in module space where the architecture has one (kernel/module/main.c)."""
        pages = align(size, PAGE_SIZE) >> PAGE_SHIFT
        in_vmalloc = self.memory.layout.modules_start == 0
        address = self._vmalloc_bump if in_vmalloc else self._module_bump
        for number in range(pages):
            mapping = Mapping(self.alloc_pages(0), read_only)
            self.memory.mapped[(address >> PAGE_SHIFT) + number] = mapping
        if in_vmalloc:
            self._vmalloc_bump += (pages + 1) * PAGE_SIZE
        else:
            self._module_bump += (pages + 1) * PAGE_SIZE
        return address

    def kmap(self, page: int) -> int:
        """mm/highmem.c kmap(): a lowmem page has its address already, a highmem page gets one of PKMAP's."""
        if not self.memory.page_is_highmem(page):
            return self.page_address(page)
        address, users = self._kmapped.get(page, (0, 0))
        if not users:
            taken = {address for address, _users in self._kmapped.values()}
            address = next(a for a in count(self.memory.layout.pkmap_base, PAGE_SIZE) if a not in taken)
            self.memory.mapped[address >> PAGE_SHIFT] = Mapping(page)
        self._kmapped[page] = (address, users + 1)
        return address

    def kunmap(self, page: int) -> None:
        if page not in self._kmapped:
            return
        address, users = self._kmapped.pop(page)
        if users > 1:
            self._kmapped[page] = (address, users - 1)
        else:
            del self.memory.mapped[address >> PAGE_SHIFT]

    # Per-CPU memory.

    def is_percpu(self, page: int) -> bool:
        """Whether a frame is of the first chunk."""
        return page in self._percpu_frames

    def alloc_percpu(self, size: int, alignment: int = 8) -> int:
        """The first CPU's copy. The first chunk is embedded in the linear map and has room (mm/percpu.c)."""
        if size > PCPU_MIN_UNIT_SIZE:
            raise ModelError(f"alloc_percpu() of {size} bytes: at most {PCPU_MIN_UNIT_SIZE}")
        size = align(size, alignment)
        free = self._percpu_free.get(size, [])
        fitting = [address for address in free if address % alignment == 0]
        if fitting:
            address = fitting[-1]
            free.remove(address)
        else:
            address = align(self._percpu_bump, alignment)
            if address + size > self._percpu_end:
                address = self.page_address(self.alloc_pages(get_order(PCPU_MIN_UNIT_SIZE)))
                self._percpu_end = address + PCPU_MIN_UNIT_SIZE
                first = self.memory.virt_to_page(address)
                self._percpu_frames.update(range(first, first + (PCPU_MIN_UNIT_SIZE >> PAGE_SHIFT)))
            self._percpu_bump = address + size
        self._percpu_sizes[address] = size
        return address

    def free_percpu(self, address: int) -> None:
        self._percpu_free.setdefault(self._percpu_sizes.pop(address), []).append(address)


class Task:
    """current: its stack, and whether that lies in vmalloc space (CONFIG_VMAP_STACK)."""

    def __init__(
        self, config: Config, memory: Memory, allocators: Allocators, pid: int = 35, comm: str = "agent"
    ) -> None:
        self.pid = pid
        self.comm = comm
        layout = memory.layout
        size = layout.thread_size
        since = layout.vmap_stack_since
        self.stack_frames: list[int] | None = None
        if config.has("VMAP_STACK") and since and config.version >= since:
            self.stack = allocators.vmalloc(size)
            first = self.stack >> PAGE_SHIFT
            self.stack_frames = [memory.mapped[first + n].pfn for n in range(size >> PAGE_SHIFT)]
        else:
            self.stack = allocators.page_address(allocators.alloc_pages(get_order(size)))
        self.stack_end = self.stack + size
        # How deep the frames of a driver's call chain usually are when it makes its call.
        self.stack_pointer = self.stack_end - 1024

    def object_is_on_stack(self, address: int) -> bool:
        """include/linux/sched/task_stack.h object_is_on_stack()."""
        return self.stack <= address < self.stack_end

    def alloca(self, size: int) -> int:
        """A local array of a function that the task is in: the address below which the next call's frame begins."""
        self.stack_pointer = self.stack_pointer - size & ~15
        if self.stack_pointer < self.stack:
            raise ModelError(f"the modelled task's stack has no room for an array of {size} bytes")
        return self.stack_pointer
