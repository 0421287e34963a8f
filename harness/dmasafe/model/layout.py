# SPDX-License-Identifier: GPL-2.0-or-later
"""Where an architecture keeps its memory (kernel-configs/arch/), and the arithmetic between addresses and pages.

A page is named by its frame number: on every row virt_to_page() followed by page_to_phys() is arithmetic without a
look at struct page (flat memory, or a sparse one with vmemmap), so that a nonsense page has a nonsense number.
"""

from __future__ import annotations

from dmasafe.architecture import Layout, architecture_names, find_layout
from dmasafe.model.config import Config, Facts
from dmasafe.model.errors import ModelError

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
PAGE_MASK = PAGE_SIZE - 1
_FIRST_MIB = 1 << 20
# ARCH_KMALLOC_MINALIGN was split from ARCH_DMA_MINALIGN in 6.5; dma_get_cache_alignment() became the real line size.
KMALLOC_SPLIT_SINCE = (6, 5)


def layout_of(config: Config) -> Layout:
    """The row of an architecture, by any name that uname has for it. Raises ModelError for one without a row."""
    layout = find_layout(config.arch)
    if layout is None:
        known = ", ".join(architecture_names())
        raise ModelError(f"the model has no memory layout for architecture '{config.arch}': it knows {known}")
    return layout


def has_highmem(config: Config, layout: Layout) -> bool:
    return layout.pkmap_base != 0 and config.has("HIGHMEM")


def ram_ranges(config: Config, layout: Layout) -> tuple[tuple[int, int], ...]:
    """Physical memory as (start, end) pairs."""
    if config.memory:
        # Of x86's first MiB the firmware keeps parts; no driver is given any of it.
        parts = [(part.start, part.stop) for part in config.memory if part.stop > _FIRST_MIB]
        if parts[0][0] <= _FIRST_MIB:
            parts[0] = (layout.phys_offset, parts[0][1])
        return tuple(parts)
    start, size = layout.phys_offset, config.memory_bytes
    if layout.hole:
        first, *ends = layout.hole
        if start + size > first:
            return (start, first), *((end, end + start + size - first) for end in ends)
    return ((start, start + size),)


def dma_get_cache_alignment(config: Config, layout: Layout) -> int:
    """include/linux/dma-mapping.h (5.10 to 6.4), include/linux/cache.h and arm64's cache_line_size() since 6.5."""
    if config.dma_alignment is not None:
        return config.dma_alignment
    if layout.real_line_bytes and config.version >= KMALLOC_SPLIT_SINCE:
        return layout.real_line_bytes
    return layout.dma_minalign or 1


def same_machine(first: Facts, second: Facts) -> bool:
    """Whether nothing that a machine told makes a prediction for the one different from one for the other."""
    told = []
    for facts in (first, second):
        config = Config.of(facts)
        layout = layout_of(config)
        told.append((ram_ranges(config, layout), dma_get_cache_alignment(config, layout), config.queue_entries))
    return told[0] == told[1]


def kmalloc_minalign(config: Config, layout: Layout) -> int:
    """mm/slab_common.c arch_kmalloc_minalign(); since 6.5 small kmalloc() memory exists where DMA bounces it."""
    if layout.real_line_bytes and config.version >= KMALLOC_SPLIT_SINCE:
        if config.has("DMA_BOUNCE_UNALIGNED_KMALLOC") and config.swiotlb != "off":
            return 8
        return dma_get_cache_alignment(config, layout)
    return layout.kmalloc_minalign
