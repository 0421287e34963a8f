# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's own controllers in a machine: which slot each has, and the device-tree nodes by which it is found."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dmasafe.devices.hosts import Acpi, DeviceTree, hosts
from dmasafe.devices.hosts.declaration import BAR_BYTES
from dmasafe.qemu.machines import HOST_SLOTS, Machine

# Documentation/devicetree/bindings/interrupt-controller/arm,gic.yaml
_SPI, _LEVEL_HIGH = 0, 4


def slots(names: Iterable[str]) -> dict[str, int]:
    """The PCI slot of each of these hosts, which are at most as many as HOST_SLOTS."""
    return dict(zip(names, HOST_SLOTS, strict=False))


def addresses(machine: Machine, names: Iterable[str]) -> dict[str, int]:
    """Where the kernel will put the first BAR of those that a device tree shows.

    It begins with the largest, and among equals with the lowest slot (drivers/pci/setup-bus.c pdev_sort_resources()):
    a host's is larger than any other in the machine.
    """
    shown = [name for name in slots(names) if isinstance(hosts()[name].place, DeviceTree)]
    return {name: machine.host_window + number * BAR_BYTES for number, name in enumerate(shown)}


def nodes(machine: Machine, names: Iterable[str]) -> str:
    """The source of the nodes of all those that a device tree shows; empty if none is among them."""
    names = tuple(names)
    found = []
    for name, address in addresses(machine, names).items():
        place = hosts()[name].place
        assert isinstance(place, DeviceTree)
        cells = [f"{_cells(address + window.offset)} {_cells(window.size)}" for window in place.windows]
        line = machine.host_line + slots(names)[name] % 4
        found.append(
            place.node.format(
                base=f"{address:x}",
                reg=" ".join(cells),
                interrupt=f"{_SPI} {line} {_LEVEL_HIGH}",
                name=name,
                label=name.replace("-", "_"),
                **{f"reg{number}": text for number, text in enumerate(cells)},
            )
        )
    # Newer QEMUs say so of everything in the machine.
    return "".join(["dma-coherent;" * machine.coherent, *found]) if found else ""


def tables(names: Iterable[str], directory: Path) -> list[Path]:
    """The ACPI tables that describe the others, as files in ``directory``."""
    found = []
    for name in names:
        place = hosts()[name].place
        if isinstance(place, Acpi):
            found.append(directory / f"{name}.aml")
            found[-1].write_bytes(place.ssdt)
    return found


def _cells(number: int) -> str:
    return f"{number >> 32:#x} {number & 0xFFFFFFFF:#x}"
