# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels to boot: where their sources come from, how they are configured and built, and where they are kept.

``fetch(parse_source(text), cache)`` gives a SourceTree, ``build_kernel`` a Kernel; ``build_modules``, ``build_agent``
and ``build_initramfs`` add what runs in the guest. All of it lies in the cache and is made once.
"""

from dmasafe.architecture import project_root
from dmasafe.kernel.build import build_kernel, build_modules, configure, find_kernel, kernel_key
from dmasafe.kernel.cache import PRUNE_UNUSED_DAYS, Cache, Kernel, Pruned, list_kernels, open_cache, prune
from dmasafe.kernel.config import (
    Absence,
    Architecture,
    Configuration,
    Matrix,
    find_architecture,
    find_configuration,
    load_matrix,
)
from dmasafe.kernel.errors import (
    BuildError,
    CacheError,
    CacheFullError,
    CacheUnwritableError,
    ConfigError,
    HashMismatchError,
    KernelError,
    MissingToolError,
    SourceError,
)
from dmasafe.kernel.guest import build_agent, build_image, build_initramfs, find_busybox
from dmasafe.kernel.rootfs import MINIMAL, image_names
from dmasafe.kernel.source import (
    DEFAULT_SOURCE,
    AptSource,
    GitSource,
    LocalSource,
    Source,
    SourceTree,
    TarballSource,
    fetch,
    parse_source,
)
from dmasafe.kernel.tools import Step, Tool, ToolKind, missing_packages, required_tools

__all__ = [
    "DEFAULT_SOURCE",
    "MINIMAL",
    "PRUNE_UNUSED_DAYS",
    "Absence",
    "AptSource",
    "Architecture",
    "BuildError",
    "Cache",
    "CacheError",
    "CacheFullError",
    "CacheUnwritableError",
    "ConfigError",
    "Configuration",
    "GitSource",
    "HashMismatchError",
    "Kernel",
    "KernelError",
    "LocalSource",
    "Matrix",
    "MissingToolError",
    "Pruned",
    "Source",
    "SourceError",
    "SourceTree",
    "Step",
    "TarballSource",
    "Tool",
    "ToolKind",
    "build_agent",
    "build_image",
    "build_initramfs",
    "build_kernel",
    "build_modules",
    "configure",
    "fetch",
    "find_architecture",
    "find_busybox",
    "find_configuration",
    "find_kernel",
    "image_names",
    "kernel_key",
    "list_kernels",
    "load_matrix",
    "missing_packages",
    "open_cache",
    "parse_source",
    "project_root",
    "prune",
    "required_tools",
]
