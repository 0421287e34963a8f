# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's own modules: where their files are, and which others each needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from dmasafe.kernel.cache import Kernel

# The latter's name before 6.13.
_ONCE_SECTIONS = (".data..once", ".data.once")
_DEPENDS = re.compile(rb"\0depends=([\w,-]*)\0")


def own_modules(kernel: Kernel) -> dict[str, Path]:
    """The modules that a kernel was built with, by name (module_name())."""
    return modules_in(kernel.build_dir)


def modules_in(directory: Path) -> dict[str, Path]:
    """The modules that were built in a directory, a kernel's or one of external modules, by name."""
    order = directory / "modules.order"
    if not order.is_file():
        return {}
    paths = (directory / Path(line).with_suffix(".ko") for line in order.read_text().split())
    return {module_name(path.stem): path for path in paths if path.is_file()}


def module_name(text: str) -> str:
    """A module's name as the kernel spells it."""
    return text.replace("-", "_")


def load_order(name: str, modules: Mapping[str, Path]) -> tuple[Path, ...]:
    """The files of a module and of all that it needs, in the order of loading them; empty if one is missing."""
    return tuple(dict.fromkeys(_chain(module_name(name), modules, frozenset()) or ()))


def _chain(name: str, modules: Mapping[str, Path], above: frozenset[str]) -> list[Path] | None:
    if name not in modules or name in above:
        return None
    found: list[Path] = []
    for other in needed(modules[name].read_bytes()):
        files = _chain(other, modules, above | {name})
        if files is None:
            return None
        found += files
    return [*found, modules[name]]


def needed(module: bytes) -> Iterable[str]:
    """The names of the modules that a module's file says it needs (the section .modinfo)."""
    match = _DEPENDS.search(module)
    return [module_name(word) for word in match[1].decode().split(",") if word] if match else []


def once_section(module: Path) -> tuple[str, int]:
    """The name and length in bytes of the section that keeps which once-only warnings a module has given; ("", 0)."""
    from elftools.elf.elffile import ELFFile

    with module.open("rb") as file:
        sections = (ELFFile(file).get_section_by_name(name) for name in _ONCE_SECTIONS)
        return next(((found.name, found["sh_size"]) for found in sections if found is not None), ("", 0))
