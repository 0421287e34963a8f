# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's I2C host controllers as PCI functions, one file each: register model, place in the machine, policy.

A file of this package that has a HOST is a host; no table names it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module

from dmasafe.devices.hosts.declaration import Acpi, DeviceTree, HostModel, Pci, Window
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule


@cache
def hosts() -> Mapping[str, HostModel]:
    """Every host by its name."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        host = getattr(import_module(f"{__name__}.{module.name}"), "HOST", None)
        if host is not None:
            found[host.name] = host
    return dict(sorted(found.items()))


__all__ = [
    "Acpi",
    "DeviceTree",
    "Ending",
    "HostModel",
    "HostPolicy",
    "Path",
    "Pci",
    "Rule",
    "Window",
    "hosts",
]
