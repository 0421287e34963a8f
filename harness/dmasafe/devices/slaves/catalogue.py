# SPDX-License-Identifier: GPL-2.0-or-later
"""Slaves that can be plugged in by a name: the chip's, as Linux' drivers know it.

Each module of this package that has such slaves names them in CHIPS.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from dmasafe.devices import slaves


@cache
def chips() -> Mapping[str, Callable[..., Any]]:
    """What makes the slave of each name."""
    found: dict[str, Callable[..., Any]] = {}
    for module in pkgutil.iter_modules(slaves.__path__):
        if module.name != "catalogue":
            found |= getattr(import_module(f"{slaves.__name__}.{module.name}"), "CHIPS", {})
    return dict(sorted(found.items()))
