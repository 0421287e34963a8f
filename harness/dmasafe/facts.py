# SPDX-License-Identifier: GPL-2.0-or-later
"""One kernel on one machine: what an expectation depends on, and what results say of it."""

from __future__ import annotations

from dataclasses import dataclass

# QEMU 7.2's hw/virtio/vhost-user-i2c.c; QEMU 10 has more.
DEFAULT_QUEUE_ENTRIES = 4


@dataclass(frozen=True)
class MachineFacts:
    """What only the running machine tells, as it differs by QEMU's version, accelerator and board.

    ``queue_entries`` is the length of i2c-virtio's queue, which the device process is told. ``memory`` are the physical
    addresses that /proc/iomem calls System RAM (empty: not told), ``dma_alignment`` is what dma_get_cache_alignment()
    answers, in bytes (None: not told): on some architectures it asks the processor.
    """

    queue_entries: int = DEFAULT_QUEUE_ENTRIES
    memory: tuple[range, ...] = ()
    dma_alignment: int | None = None


NOT_ASKED = MachineFacts()


@dataclass(frozen=True)
class KernelFacts:
    """One kernel: ``arch`` as uname says it, ``version`` (6, 12, 117), ``symbols`` set to y or m.

    ``coherent`` says whether the controller sees what is in the processor's caches; None takes the architecture's
    habit. ``swiotlb`` is the boot parameter of that name (``force``, ``noforce``), None without it. ``iommu``
    says whether DMA addresses are translated, ``machine`` which variation of the machine it is (empty: the plain one).
    ``strict_line`` are the bytes of the strict machine's cache lines, 0 where it is none.
    ``untouched``: a distribution's own kernel, with no module of dmasafe's. ``running`` is what the machine itself has
    told since.
    """

    arch: str
    version: tuple[int, ...]
    symbols: frozenset[str]
    coherent: bool | None = None
    swiotlb: str | None = None
    iommu: bool = False
    machine: str = ""
    strict_line: int = 0
    untouched: bool = False
    running: MachineFacts = NOT_ASKED

    def has(self, symbol: str) -> bool:
        return symbol in self.symbols


@dataclass(frozen=True)
class KernelInfo:
    """The kernel that answered: ``uname -r``, ``uname -m``, the configuration's name, where the source came from.

    ``config_sha256`` (hex) is of its whole .config; empty if not known. ``notes`` say what is unusual about it.
    """

    release: str
    arch: str
    config: str
    source: str
    config_sha256: str = ""
    notes: tuple[str, ...] = ()
