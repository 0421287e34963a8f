# SPDX-License-Identifier: GPL-2.0-or-later
"""struct device, as far as DMA looks at it, and dma-direct's constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# include/linux/dma-direction.h enum dma_data_direction
DMA_BIDIRECTIONAL: Final = 0
DMA_TO_DEVICE: Final = 1
DMA_FROM_DEVICE: Final = 2
DMA_NONE: Final = 3
# include/linux/dma-mapping.h
DMA_MAPPING_ERROR: Final = (1 << 64) - 1
DMA_ATTR_WEAK_ORDERING: Final = 1 << 1
DMA_ATTR_NO_KERNEL_MAPPING: Final = 1 << 4
DMA_ATTR_SKIP_CPU_SYNC: Final = 1 << 5
DMA_ATTR_FORCE_CONTIGUOUS: Final = 1 << 6
DMA_ATTR_NO_WARN: Final = 1 << 8
DMA_ATTR_PRIVILEGED: Final = 1 << 9


def DMA_BIT_MASK(bits: int) -> int:
    return (1 << bits) - 1


@dataclass(eq=False)
class Device:
    """One device. ``dma_coherent`` says that it sees what is in the processor's caches, ``strict`` that its DMA
    operations are the strict machine's.
    """

    name: str
    driver: str | None
    dma_mask: int | None = DMA_BIT_MASK(64)
    dma_coherent: bool = True
    bus_dma_limit: int = 0
    max_seg_size: int = 65536
    seg_boundary: int = DMA_BIT_MASK(32)
    coherent_dma_mask: int = DMA_BIT_MASK(32)
    strict: bool = False

    @property
    def dma_limit(self) -> int:
        """min_not_zero(*dev->dma_mask, dev->bus_dma_limit)."""
        mask = self.dma_mask or 0
        if not mask or not self.bus_dma_limit:
            return mask or self.bus_dma_limit
        return min(mask, self.bus_dma_limit)


class Scatterlist:
    """struct scatterlist: one segment. ``phys`` is sg_phys()."""

    __slots__ = ("dma_address", "length", "phys")

    def __init__(self, phys: int, length: int) -> None:
        self.phys = phys
        self.length = length
        self.dma_address = 0
