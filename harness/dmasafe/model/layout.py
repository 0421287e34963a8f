# SPDX-License-Identifier: GPL-2.0-or-later
"""Where an architecture keeps its memory: one row each, and its arithmetic between addresses, pages and frames.

A page is named by its frame number: on every row virt_to_page() followed by page_to_phys() is arithmetic without a
look at struct page (flat memory, or a sparse one with vmemmap), so that a nonsense page has a nonsense number.
"""

from __future__ import annotations

from dataclasses import dataclass

from dmasafe.model.config import Config
from dmasafe.model.errors import ModelError

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
PAGE_MASK = PAGE_SIZE - 1
_MIB = 1 << 20
_GIB = 1 << 30


@dataclass(frozen=True)
class Layout:
    """One architecture. Addresses are virtual unless they say otherwise; ends are exclusive.

    ``image_map`` is the address of the byte at ``image_phys`` in the mapping of the kernel image. ``vmalloc_start`` 0:
    behind the linear map, by ``vmalloc_gap`` bytes. ``modules_start`` 0: modules live in vmalloc space.
    ``linear_bytes`` is the span from ``page_offset`` on in which __pa() takes an address for the linear map's, and
    beyond which for the image's; 0 where it does not tell them so. ``lowmem_max`` is how much memory the linear map can
    hold, 0 for all.
    ``dma_minalign`` is ARCH_DMA_MINALIGN, 0 where the architecture has none.
    """

    arch: str
    names: tuple[str, ...]
    bits: int
    page_offset: int
    linear_bytes: int
    phys_offset: int
    vmalloc_start: int
    vmalloc_end: int
    vmalloc_gap: int
    modules_start: int
    modules_end: int
    image_map: int
    image_phys: int
    lowmem_max: int
    pkmap_base: int
    section_bytes: int
    thread_size: int
    l1_cache_bytes: int
    dma_minalign: int
    kmalloc_minalign: int
    coherent: bool
    vmap_stack_since: tuple[int, int] | None

    @property
    def mask(self) -> int:
        """All ones of an unsigned long."""
        return (1 << self.bits) - 1


LAYOUTS: tuple[Layout, ...] = (
    # arch/x86/include/asm/{page_64_types,pgtable_64_types}.h: four levels, no RANDOMIZE_MEMORY, no RANDOMIZE_BASE;
    # the image is linked at 16 MiB (PHYSICAL_START).
    Layout(
        arch="x86_64",
        names=("x86_64", "amd64"),
        bits=64,
        page_offset=0xFFFF_8880_0000_0000,
        linear_bytes=0,
        phys_offset=0,
        vmalloc_start=0xFFFF_C900_0000_0000,
        vmalloc_end=0xFFFF_E8FF_FFFF_FFFF,
        vmalloc_gap=0,
        modules_start=0xFFFF_FFFF_A000_0000,
        modules_end=0xFFFF_FFFF_FF00_0000,
        image_map=0xFFFF_FFFF_8000_0000,
        image_phys=0,
        lowmem_max=0,
        pkmap_base=0,
        section_bytes=128 * _MIB,
        thread_size=4 * PAGE_SIZE,
        l1_cache_bytes=64,
        dma_minalign=0,
        kmalloc_minalign=8,
        coherent=True,
        vmap_stack_since=(4, 9),
    ),
    # arch/x86/include/asm/{page_32_types,pgtable_32_areas}.h, VMSPLIT_3G without PAE; X86_L1_CACHE_SHIFT of M686.
    Layout(
        arch="i386",
        names=("i386", "i486", "i586", "i686"),
        bits=32,
        page_offset=0xC000_0000,
        linear_bytes=0,
        phys_offset=0,
        vmalloc_start=0,
        vmalloc_end=0xFF7F_E000,
        vmalloc_gap=8 * _MIB,
        modules_start=0,
        modules_end=0,
        image_map=0xC000_0000,
        image_phys=0,
        lowmem_max=896 * _MIB,
        pkmap_base=0xFF80_0000,
        section_bytes=PAGE_SIZE,
        thread_size=2 * PAGE_SIZE,
        l1_cache_bytes=32,
        dma_minalign=0,
        kmalloc_minalign=8,
        coherent=True,
        vmap_stack_since=None,
    ),
    # arch/arm64/include/asm/memory.h: 48 bits, 4 KiB pages; memory at 1 GiB as on QEMU's virt machine. The image is
    # mapped at the start of vmalloc space.
    Layout(
        arch="arm64",
        names=("aarch64", "arm64"),
        bits=64,
        page_offset=0xFFFF_0000_0000_0000,
        linear_bytes=1 << 47,
        phys_offset=_GIB,
        vmalloc_start=0xFFFF_8000_8000_0000,
        vmalloc_end=0xFFFF_FDFF_BF80_0000,
        vmalloc_gap=0,
        modules_start=0xFFFF_8000_0000_0000,
        modules_end=0xFFFF_8000_8000_0000,
        image_map=0xFFFF_8000_8000_0000,
        image_phys=_GIB,
        lowmem_max=0,
        pkmap_base=0,
        section_bytes=128 * _MIB,
        thread_size=4 * PAGE_SIZE,
        l1_cache_bytes=64,
        dma_minalign=128,
        kmalloc_minalign=128,
        coherent=False,
        vmap_stack_since=(4, 14),
    ),
    # arch/arm/include/asm/memory.h, VMSPLIT_3G; memory at 1 GiB as on QEMU's virt machine.
    Layout(
        arch="arm",
        names=("arm", "armv6l", "armv7l"),
        bits=32,
        page_offset=0xC000_0000,
        linear_bytes=0,
        phys_offset=_GIB,
        vmalloc_start=0,
        vmalloc_end=0xFF80_0000,
        vmalloc_gap=8 * _MIB,
        modules_start=0xBF00_0000,
        modules_end=0xBFE0_0000,
        image_map=0xC000_0000,
        image_phys=_GIB,
        lowmem_max=760 * _MIB,
        pkmap_base=0xBFE0_0000,
        section_bytes=PAGE_SIZE,
        thread_size=2 * PAGE_SIZE,
        l1_cache_bytes=64,
        dma_minalign=64,
        kmalloc_minalign=64,
        coherent=False,
        vmap_stack_since=(5, 18),
    ),
    # arch/riscv/include/asm/{page,pgtable}.h of 6.12: three levels of page tables; memory at 2 GiB as on QEMU's virt
    # machine, whose first 2 MiB are OpenSBI's; modules begin 2 GiB below the image's end. Without RISCV_ISA_ZICBOM.
    Layout(
        arch="riscv64",
        names=("riscv64",),
        bits=64,
        page_offset=0xFFFF_FFD6_0000_0000,
        linear_bytes=1 << 37,
        phys_offset=2 * _GIB,
        vmalloc_start=0xFFFF_FFC6_0000_0000,
        vmalloc_end=0xFFFF_FFD6_0000_0000,
        vmalloc_gap=0,
        modules_start=0xFFFF_FFFF_0200_0000,
        modules_end=0xFFFF_FFFF_8000_0000,
        image_map=0xFFFF_FFFF_8000_0000,
        image_phys=2 * _GIB + 2 * _MIB,
        lowmem_max=0,
        pkmap_base=0,
        section_bytes=128 * _MIB,
        thread_size=4 * PAGE_SIZE,
        l1_cache_bytes=64,
        dma_minalign=0,
        kmalloc_minalign=8,
        coherent=True,
        vmap_stack_since=(5, 14),
    ),
)
# QEMU's q35 puts what does not fit below 2 GiB above 4 GiB; so does pc_q35_init() for x86 in general.
_X86_HOLE_START = 2 * _GIB
_X86_HOLE_END = 4 * _GIB
# ARCH_KMALLOC_MINALIGN was split from ARCH_DMA_MINALIGN in 6.5; dma_get_cache_alignment() became the real line size.
KMALLOC_SPLIT_SINCE = (6, 5)
ARM64_LINE_BYTES = 64


def layout_of(config: Config) -> Layout:
    """The row of an architecture, by any name that uname has for it. Raises ModelError for one without a row."""
    for row in LAYOUTS:
        if config.arch in row.names:
            return row
    known = ", ".join(row.arch for row in LAYOUTS)
    raise ModelError(f"the model has no memory layout for architecture '{config.arch}': it knows {known}")


def has_highmem(config: Config, layout: Layout) -> bool:
    return layout.pkmap_base != 0 and config.has("HIGHMEM")


def ram_ranges(config: Config, layout: Layout) -> tuple[tuple[int, int], ...]:
    """Physical memory as (start, end) pairs."""
    start, size = layout.phys_offset, config.memory_bytes
    if layout.phys_offset == 0 and size > _X86_HOLE_START:
        return (0, _X86_HOLE_START), (_X86_HOLE_END, _X86_HOLE_END + size - _X86_HOLE_START)
    return ((start, start + size),)


def dma_get_cache_alignment(config: Config, layout: Layout) -> int:
    """include/linux/dma-mapping.h (5.10 to 6.4), include/linux/cache.h and arm64's cache_line_size() since 6.5."""
    if not layout.dma_minalign:
        return 1
    if layout.arch == "arm64" and config.version >= KMALLOC_SPLIT_SINCE:
        return ARM64_LINE_BYTES
    return layout.dma_minalign


def kmalloc_minalign(config: Config, layout: Layout) -> int:
    """mm/slab_common.c arch_kmalloc_minalign(); since 6.5 small kmalloc() memory exists where DMA bounces it."""
    if layout.arch == "arm64" and config.version >= KMALLOC_SPLIT_SINCE:
        if config.has("DMA_BOUNCE_UNALIGNED_KMALLOC") and config.swiotlb != "off":
            return 8
        return dma_get_cache_alignment(config, layout)
    return layout.kmalloc_minalign
