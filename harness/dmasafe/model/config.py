# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernel is modelled: architecture, version, Kconfig symbols, and the machine under it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Protocol

from dmasafe.architecture import REFERENCE_ARCH, find_layout
from dmasafe.facts import DEFAULT_QUEUE_ENTRIES, MachineFacts

DEFAULT_SYMBOLS = frozenset({"DMA_API_DEBUG", "I2C_CHARDEV", "I2C_VIRTIO", "KALLSYMS_ALL", "MODULES", "VMAP_STACK"})
# dmasafe/qemu/process.py gives its guests as much.
DEFAULT_MEMORY_BYTES = 256 << 20
# kernel/dma/debug.c PREALLOC_DMA_DEBUG_ENTRIES
PREALLOC_DMA_DEBUG_ENTRIES = 1 << 16


class Facts(Hashable, Protocol):
    """What is known of a kernel: ``arch`` as uname says it, ``version`` (6, 12, 117), ``symbols`` set to y or m,
    ``coherent`` as in Config, ``swiotlb`` the boot parameter, ``running`` what the machine tells.
    """

    @property
    def arch(self) -> str: ...

    @property
    def version(self) -> tuple[int, ...]: ...

    @property
    def symbols(self) -> frozenset[str]: ...

    @property
    def coherent(self) -> bool | None: ...

    @property
    def swiotlb(self) -> str | None: ...

    @property
    def iommu(self) -> bool: ...

    @property
    def strict_line(self) -> int: ...

    @property
    def running(self) -> MachineFacts: ...


# kernel/dma/swiotlb.c setup_io_tlb_npages(): what the boot parameter makes of the pool.
_SWIOTLB = {"force": "force", "noforce": "off"}


@dataclass(frozen=True)
class Config:
    """One kernel on one machine.

    ``highmem_bytes`` of memory stay out of the linear map of a kernel with HIGHMEM, even if there were room.
    ``coherent`` None takes the architecture's habit. ``swiotlb`` is off, on (a pool exists) or force (swiotlb=force).
    ``memory`` are the physical addresses of memory, ``dma_alignment`` the answer of dma_get_cache_alignment(), where a
    machine has told them; otherwise ``memory_bytes`` from the layout's first address on, and the layout's alignment.
    ``strict_line`` are the bytes of a cache line of the strict machine, 0 where it is none.
    ``iommu``: coherent memory is put together of pages; DMA addresses are told as the physical ones they lead to.
    ``queue_entries`` is the length of i2c-virtio's queue; with indirect descriptors a message takes one entry.
    ``dma_debug_entries`` is the boot parameter of that name, ``dma_debug`` False is dma_debug=off, ``all_errors`` and
    ``no_hash_pointers`` are what the harness sets in its guests.
    """

    arch: str = REFERENCE_ARCH
    version: tuple[int, ...] = (6, 12)
    symbols: frozenset[str] = DEFAULT_SYMBOLS
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    memory: tuple[range, ...] = ()
    dma_alignment: int | None = None
    highmem_bytes: int = 0
    coherent: bool | None = None
    swiotlb: str = "off"
    iommu: bool = False
    strict_line: int = 0
    queue_entries: int = DEFAULT_QUEUE_ENTRIES
    dma_debug: bool = True
    dma_debug_entries: int = PREALLOC_DMA_DEBUG_ENTRIES
    all_errors: bool = True
    no_hash_pointers: bool = False

    @classmethod
    def of(cls, facts: Facts) -> Config:
        """The configuration that a target's facts describe, on the machine that the harness emulates."""
        # arch/arm64/mm/init.c mem_init(): small buffers bounce, so there is a pool whatever the memory's size.
        layout = find_layout(facts.arch)
        pool = layout is not None and layout.pool_for_small
        pool = pool and facts.symbols >= {"DMA_BOUNCE_UNALIGNED_KMALLOC", "SWIOTLB"}
        return cls(
            arch=facts.arch,
            version=facts.version,
            symbols=facts.symbols,
            highmem_bytes=layout.highmem_bytes if layout is not None and "HIGHMEM" in facts.symbols else 0,
            coherent=facts.coherent,
            iommu=facts.iommu,
            strict_line=facts.strict_line,
            memory=facts.running.memory,
            dma_alignment=facts.running.dma_alignment,
            queue_entries=facts.running.queue_entries,
            swiotlb=_SWIOTLB.get(facts.swiotlb or "", "on" if pool else "off"),
        )

    def has(self, symbol: str) -> bool:
        return symbol in self.symbols

    def enable(self, *symbols: str) -> Config:
        return replace(self, symbols=self.symbols.union(symbols))

    def disable(self, *symbols: str) -> Config:
        return replace(self, symbols=self.symbols.difference(symbols))
