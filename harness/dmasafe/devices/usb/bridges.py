# SPDX-License-Identifier: GPL-2.0-or-later
"""The bridges by name: each module of this package that plays some names them in BRIDGES."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module

from dmasafe.devices import usb
from dmasafe.devices.usb.device import Function
from dmasafe.devices.usb.master import Master


@cache
def bridges() -> Mapping[str, Callable[[Master], Function]]:
    """What makes each bridge, with the master of its bus."""
    found: dict[str, Callable[[Master], Function]] = {}
    for module in pkgutil.iter_modules(usb.__path__):
        if f"{usb.__name__}.{module.name}" != __name__:
            found |= getattr(import_module(f"{usb.__name__}.{module.name}"), "BRIDGES", {})
    return dict(sorted(found.items()))
