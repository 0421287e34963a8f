# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's own modules: where their files are, and which others each needs."""

from __future__ import annotations

import gzip
import lzma
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from dmasafe.atomic import publish
from dmasafe.kernel.cache import Kernel

# The latter's name before 6.13.
_ONCE_SECTIONS = (".data..once", ".data.once")
_DEPENDS = re.compile(rb"\0depends=([\w,-]*)\0")
#: How distributions pack modules (Linux' CONFIG_MODULE_COMPRESS_*), by what their files' names end in.
_PACKED: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".xz": lzma.decompress, ".gz": gzip.decompress}


class _Modules(Mapping[str, Path]):
    """Modules by name. One that is packed is unpacked beside it when it is asked for."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files

    def __getitem__(self, name: str) -> Path:
        path = self._files[name]
        if path.suffix == ".ko":
            return path
        plain = path.with_suffix("")
        if not plain.is_file():
            with publish(plain) as made:
                made.write_bytes(_PACKED[path.suffix](path.read_bytes()))
        return plain

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def own_modules(kernel: Kernel) -> Mapping[str, Path]:
    """The modules that a kernel was built with, by name (module_name())."""
    return modules_in(kernel.build_dir)


def modules_in(directory: Path) -> Mapping[str, Path]:
    """The modules that were built in a directory, a kernel's or one of external modules, by name."""
    order = directory / "modules.order"
    if not order.is_file():
        return {}
    found = {}
    for line in order.read_text().split():
        path = directory / Path(line).with_suffix(".ko")
        file = next((packed for end in _PACKED if (packed := path.with_name(path.name + end)).is_file()), None)
        if file is not None:
            found[module_name(path.stem)] = file
    return _Modules(found)


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
