# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run's results are written as beside results.json: one module here for each, with FILE and render().

Its name is what --format takes.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Protocol, cast

from dmasafe.report.results import Results


class Format(Protocol):
    """A module of this package: the name of its file in a directory of results, and that file's text."""

    FILE: str

    def render(self, results: Results) -> str: ...


@cache
def formats() -> Mapping[str, Format]:
    """Every module of this package, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: cast(Format, import_module(f"{__name__}.{name}")) for name in names}
