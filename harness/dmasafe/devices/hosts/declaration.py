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


@dataclass(frozen=True)
class DeviceTree:
    """Nodes of a flattened device tree's root, as source text.

    In ``node``, ``{base}`` becomes the address of BAR 0 in hexadecimal (for names of nodes), ``{reg}`` the cells of all
    ``windows`` in their order (two cells for an address, two for a size), ``{interrupt}`` the cells of the slot's
    interrupt. ``{reg0}``, ``{reg1}``, ... are the cells of one window. Braces of the source are doubled. Labels begin
    with the host's name, so that several hosts can be in one tree. ``{dma}`` is the label of the DMA controller that a
    host with ``dmaengine`` has beside it: ``dmas = <&{dma} 0>, <&{dma} 1>`` are its channels tx and rx.
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
    ``function`` is the PciFunction that plays the hardware. ``dmaengine``: its driver asks for channels ``tx`` and
    ``rx`` of a DMA controller, which the function has beside its own registers.
    """

    name: str
    module: str
    symbol: str
    architectures: tuple[str, ...]
    place: DeviceTree | Pci | Acpi
    policy: HostPolicy
    function: Any = None
    needs: tuple[str, ...] = ()
    dmaengine: bool = False
