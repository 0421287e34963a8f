# SPDX-License-Identifier: GPL-2.0-or-later
"""An architecture is one data file: kernel-configs/arch/NAME.toml says all that differs between it and the others.

The packages ``kernel``, ``qemu`` and ``model`` make rows of their own tables; here the files are found, read and
checked, and the table ``[memory]`` becomes a Layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any

from dmasafe.decode import convert, read_toml
from dmasafe.errors import DmasafeError

if TYPE_CHECKING:
    from pathlib import Path

#: The architecture of the model, of findings' proofs, and of guests on a machine whose own has no file.
REFERENCE_ARCH = "x86_64"


class ArchitectureError(DmasafeError):
    """There is no such architecture, or its file says something that it cannot say."""


@dataclass(frozen=True)
class ArchitectureFile:
    """The file of an architecture; what makes rows of its tables says what they may hold."""

    uname: str
    debian: str
    elf: str
    kernel: Mapping[str, Any]
    machine: Mapping[str, Any]
    memory: Mapping[str, Any]
    log: Mapping[str, Any]
    names: tuple[str, ...] = ()
    debian_suite: str = ""
    variation: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    absence: tuple[Mapping[str, Any], ...] = ()


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
    addresses, first and end, that memory leaves out if it reaches so far; without an end, it stops there.
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
    # Not above: it would be a tenth of what importing dmasafe.model takes.
    from pathlib import Path

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


def read_architecture(name: str, directory: Path | None = None) -> ArchitectureFile:
    """The file of one architecture, with all its tables. Raises ArchitectureError."""
    if name not in architecture_names(directory):
        known = ", ".join(architecture_names(directory))
        raise ArchitectureError(f"there is no architecture '{name}': kernel-configs/arch/ has {known}")
    return read_toml(architecture_path(name, directory), ArchitectureFile, ArchitectureError)


def architecture_path(name: str, directory: Path | None = None) -> Path:
    """The file that read_architecture() reads, whole: an error that begins with it names the line."""
    return (directory or project_root() / "kernel-configs").absolute() / "arch" / f"{name}.toml"


@cache
def architecture_of(machine: str) -> str | None:
    """The architecture that ``uname -m`` or Debian calls ``machine``, or that has this name; None if there is none."""
    names = architecture_names()
    if machine in names:
        return machine
    for name in names:
        data = read_architecture(name)
        if any(fnmatchcase(machine, pattern) for pattern in (data.uname, data.debian, *data.names)):
            return name
    return None


def host_arch() -> str:
    """The architecture that this machine can accelerate and needs no cross compiler for: its own, if it has a file."""
    import platform

    return architecture_of(platform.machine()) or REFERENCE_ARCH


@cache
def find_layout(machine: str) -> Layout | None:
    """The memory layout of an architecture, by any of its names; None if there is none. Raises ArchitectureError."""
    name = architecture_of(machine)
    if name is None:
        return None
    values = {**read_architecture(name).memory, "arch": name}
    return convert(values, Layout, f"{architecture_path(name)}: memory", ArchitectureError)
