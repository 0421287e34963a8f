# SPDX-License-Identifier: GPL-2.0-or-later
"""What a splat means to the author of an I2C driver: explain.toml, one table a class of splat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from dmasafe.decode import convert, read_toml
from dmasafe.errors import DmasafeError
from dmasafe.faults import FAULTS

_FILE = Path(__file__).with_name("explain.toml")


@dataclass(frozen=True)
class Explanation:
    """One class explained.

    ``means`` says what the kernel saw, ``rule`` what was broken, ``causes`` what usually does that in I2C code,
    ``fixes`` what to write instead; ``read`` are files of the kernel's documentation. ``provoked_by`` are scenarios
    (dmasafe/scenario.py) that make a kernel of ``configuration`` (kernel-configs/matrix.toml) print this class by the
    same path, the best first; empty where a controller needs a seeded fault for it.
    """

    slug: str
    means: str
    rule: str
    causes: tuple[str, ...]
    fixes: tuple[str, ...]
    read: tuple[str, ...]
    provoked_by: tuple[str, ...] = ()
    configuration: str = "default"


@dataclass(frozen=True)
class _File:
    """``advice`` and ``documents`` are texts that ``fixes`` and ``read`` of a splat have by their names."""

    documents: Mapping[str, str]
    advice: Mapping[str, str]
    splat: Mapping[str, dict[str, Any]]


@cache
def explanation(slug: str) -> Explanation:
    """The explanation of a class; raises KeyError for a slug that is none."""
    file = _read()
    row = convert({**file.splat[slug], "slug": slug}, Explanation, f"{_FILE}: splat.{slug}", DmasafeError)
    fixes = tuple(file.advice.get(fix, fix) for fix in row.fixes)
    return replace(row, fixes=fixes, read=tuple(file.documents[name] for name in row.read))


def provoking(told: Explanation) -> tuple[str, ...]:
    """Scenarios that make a kernel report this class: by themselves, else with the seeded fault of the same name."""
    if told.provoked_by or told.slug not in FAULTS:
        return told.provoked_by
    return tuple(f"{shown}+fault={told.slug}" for shown in FAULTS[told.slug].shown_with)


@cache
def _read() -> _File:
    return read_toml(_FILE, _File, DmasafeError)
