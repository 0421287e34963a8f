# SPDX-License-Identifier: GPL-2.0-or-later
"""How a host is declared: the driver and what it needs, where a machine shows it, its function, its policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from dmasafe.host_policy import HostPolicy

#: What BAR 0 of a host in a device tree takes at least, in bytes: it is the first that the kernel finds a place for.
BAR_BYTES = 0x10000


class Window(NamedTuple):
    """A part of BAR 0 that the driver knows as one of its ``reg`` entries: offset and size in bytes."""

    offset: int
    size: int


#: Where the channels of a DMA controller beside a host are in BAR 0 (dmaengine.py): tx, then rx.
DMA_WINDOW = Window(0xF000, 0x100)


@dataclass(frozen=True)
class DeviceTree:
    """Nodes of a flattened device tree's root, as source text; nodes.py, dmaengine.py and irqsteer.py help to write it.

    In ``node``, ``{base}`` becomes the address of BAR 0 in hexadecimal (for names of nodes), ``{reg}`` the cells of all
    ``windows`` in their order (two cells for an address, two for a size), ``{interrupt}`` the cells of the slot's
    interrupt. ``{reg0}``, ``{reg1}``, ... are the cells of one window. ``{name}`` is the host's, ``{label}`` the same
    for labels to begin with, so that several hosts can be in one tree. Braces of the source are doubled.
    """

    node: str
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Pci:
    """The driver binds the PCI function itself, by its ids."""


@dataclass(frozen=True)
class Acpi:
    """The driver binds a device that ``ssdt``, a compiled table, describes; the PCI function is there beside it."""

    ssdt: bytes


@dataclass(frozen=True)
class HostModel:
    """A host: the upstream driver i2c-``name``, built as ``module`` by CONFIG_``symbol``.

    ``needs`` are further Kconfig symbols, ``architectures`` those whose machines can show it, as uname says them.
    ``function`` is the PciFunction that plays the hardware.
    """

    name: str
    module: str
    symbol: str
    architectures: tuple[str, ...]
    place: DeviceTree | Pci | Acpi
    policy: HostPolicy
    function: Any = None
    needs: tuple[str, ...] = ()

    @property
    def dmaengine(self) -> bool:
        """Whether it has a DMA controller beside its own registers, whose channels its driver asks for."""
        return isinstance(self.place, DeviceTree) and DMA_WINDOW in self.place.windows
