# SPDX-License-Identifier: GPL-2.0-or-later
"""An architecture is one data file: kernel-configs/arch/NAME.toml says all that differs between it and the others.

The packages ``kernel``, ``qemu`` and ``model`` make rows of their own tables; here the files are found, read and
checked, and the table ``[memory]`` becomes a Layout.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from dmasafe.errors import DmasafeError

_Row = TypeVar("_Row")
_WORDS = {str: "text in quotes", int: "a number", bool: "true or false", tuple: "a list of texts"}
_NEEDED = {"uname", "debian", "elf", "kernel", "machine", "memory", "log"}
_TABLES = _NEEDED | {"names", "debian_suite", "variation", "absence"}
#: The architecture of the guests, unless another one is named.
DEFAULT_ARCH = "x86_64"


class ArchitectureError(DmasafeError):
    """There is no such architecture, or its file says something that it cannot say."""


@dataclass(frozen=True)
class Layout:
    """Where an architecture keeps its memory: the table ``[memory]`` of its file.

    Addresses are virtual unless they say otherwise; ends are exclusive. ``image_map`` is the address of the byte at
    ``image_phys`` in the mapping of the kernel image. __pa() takes what lies from ``linear_start`` to ``linear_end``
    for the linear map's and everything else for the image's; virt_to_page() does the same, or reckons from PAGE_OFFSET
    (``page_from_offset``). ``vmalloc_start`` 0: behind the linear map, by ``vmalloc_gap`` bytes, rounded down to a
    multiple of the gap if ``vmalloc_rounded``. ``modules_start`` 0: modules live in vmalloc space.
    virt_addr_valid() is true below ``valid_end`` (0: the end of the linear map) where there is a struct page, or
    memory (``valid_asks_memory``). ``lowmem_max`` is how much memory the linear map can hold, 0 for all, and
    ``highmem_bytes`` how much of a guest's memory the machine's command line keeps out of it.
    ``dma_minalign`` is ARCH_DMA_MINALIGN, 0 where the architecture has none; ``real_line_bytes`` what
    dma_get_cache_alignment() answers since 6.5 where it asks the processor. ``pool_for_small``: there is a swiotlb
    pool for small kmalloc() memory, however little memory the machine has. ``map_invalidates``: mapping for the device
    to write invalidates cache lines instead of cleaning them, in every version. ``zone_dma_bits`` is the least that a
    DMA mask must reach, ``vmap_stack_since`` empty where HAVE_ARCH_VMAP_STACK never came. ``hole`` are the physical
    addresses, first and end, that memory leaves out if it reaches so far.
    """

    arch: str
    bits: int
    page_offset: int
    phys_offset: int
    linear_start: int
    linear_end: int
    vmalloc_end: int
    image_map: int
    image_phys: int
    section_bytes: int
    thread_size: int
    l1_cache_bytes: int
    coherent: bool
    vmalloc_start: int = 0
    vmalloc_gap: int = 0
    vmalloc_rounded: bool = False
    modules_start: int = 0
    modules_end: int = 0
    valid_end: int = 0
    valid_asks_memory: bool = False
    page_from_offset: bool = False
    lowmem_max: int = 0
    highmem_bytes: int = 0
    pkmap_base: int = 0
    dma_minalign: int = 0
    real_line_bytes: int = 0
    kmalloc_minalign: int = 8
    pool_for_small: bool = False
    map_invalidates: bool = False
    zone_dma_bits: int = 32
    vmap_stack_since: tuple[int, ...] = ()
    hole: tuple[int, ...] = ()

    @property
    def mask(self) -> int:
        """All ones of an unsigned long."""
        return (1 << self.bits) - 1

    @property
    def modules_in_vmalloc(self) -> bool:
        """Whether modules live in vmalloc space."""
        return self.modules_start == 0

    @property
    def modules_below_linear_map(self) -> bool:
        """Whether the address of a module becomes one below the first of memory, or wraps."""
        return 0 < self.modules_start < self.page_offset

    @property
    def modules_below_image(self) -> bool:
        return 0 < self.modules_start < self.image_map

    @property
    def minalign_covers_line(self) -> bool:
        """Whether ARCH_DMA_MINALIGN is no less than L1_CACHE_BYTES."""
        return self.dma_minalign >= self.l1_cache_bytes


def project_root() -> Path:
    """The directory that holds kernel-configs/ and images/: the checkout, or dmasafe/project where one is installed."""
    package = Path(__file__).resolve().parent
    # An installed package has its own copy; in a checkout the package lies in harness/.
    for root in (package / "project", package.parents[1]):
        if (root / "kernel-configs" / "matrix.toml").is_file():
            return root
    raise ArchitectureError(f"there is no kernel-configs/matrix.toml in or beside {package}: install dmasafe again")


def architecture_names(directory: Path | None = None) -> tuple[str, ...]:
    """The architectures that have a file in ``directory``/arch (None: the project's own kernel-configs/)."""
    directory = directory or project_root() / "kernel-configs"
    return tuple(sorted(path.stem for path in (directory / "arch").glob("*.toml")))


def read_architecture(name: str, directory: Path | None = None) -> Mapping[str, Any]:
    """The file of one architecture, with all its tables. Raises ArchitectureError."""
    directory = directory or project_root() / "kernel-configs"
    path = directory / "arch" / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as cause:
        known = ", ".join(architecture_names(directory))
        raise ArchitectureError(f"there is no architecture '{name}': kernel-configs/arch/ has {known}") from cause
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as cause:
        raise ArchitectureError(f"{path} cannot be read: {cause}") from cause
    unknown = sorted(data.keys() - _TABLES)
    missing = sorted(_NEEDED - data.keys())
    if unknown:
        raise ArchitectureError(f"{path} has {', '.join(unknown)}, which no architecture has")
    if missing:
        raise ArchitectureError(f"{path} lacks {', '.join(missing)}")
    for key in ("kernel", "machine", "memory", "log", "variation"):
        require_table(data.get(key, {}), f"{path}: {key}")
    return data


@cache
def architecture_of(machine: str) -> str | None:
    """The architecture that ``uname -m`` or Debian calls ``machine``, or that has this name; None if there is none."""
    names = architecture_names()
    if machine in names:
        return machine
    for name in names:
        data = read_architecture(name)
        if any(fnmatchcase(machine, pattern) for pattern in (data["uname"], data["debian"], *data.get("names", ()))):
            return name
    return None


@cache
def find_layout(machine: str) -> Layout | None:
    """The memory layout of an architecture, by any of its names; None if there is none. Raises ArchitectureError."""
    name = architecture_of(machine)
    if name is None:
        return None
    values = {**read_architecture(name)["memory"], "arch": name}
    return make_row(Layout, values, f"kernel-configs/arch/{name}.toml: [memory]")


def require_table(value: object, place: str) -> Mapping[str, Any]:
    """``value`` if it is a table. Raises ArchitectureError."""
    if not isinstance(value, dict):
        raise ArchitectureError(f"{place} is no table")
    return value


def make_row(kind: type[_Row], values: Mapping[str, Any], place: str) -> _Row:
    """A frozen dataclass from a TOML table: names known, none missing, types right. Raises ArchitectureError."""
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise ArchitectureError(f"{place} has '{name}', but there are only {', '.join(known)}")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ArchitectureError(f"{place} lacks '{name}'")
    return kind(**{name: _converted(value, hints[name], f"{place}: '{name}'") for name, value in values.items()})


def _converted(value: object, hint: Any, place: str) -> object:
    kind = get_origin(hint) or hint
    if kind is UnionType:
        # X | None: TOML has no null, so what is there is an X.
        hint = get_args(hint)[0]
        kind = get_origin(hint) or hint
    item = get_args(hint)[0] if kind is tuple else str
    if kind is tuple and isinstance(value, (list, tuple)) and all(type(one) is item for one in value):
        return tuple(value)
    if kind is not tuple and type(value) is kind:
        return value
    raise ArchitectureError(f"{place} must be {_WORDS[kind]}, not {value!r}")
