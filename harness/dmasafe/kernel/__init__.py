# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels to boot: where their sources come from, how they are configured and built, and where they are kept.

``fetch(parse_source(text), cache)`` gives a SourceTree, ``build_kernel`` a Kernel; ``build_modules``, ``build_agent``
and ``build_image`` add what runs in the guest. All of it lies in the cache and is made once.
"""

from dmasafe.architecture import project_root
from dmasafe.kernel.build import build_kernel, build_modules, find_kernel, kernel_key, require_modules
from dmasafe.kernel.cache import (
    PRUNE_UNUSED_DAYS,
    Cache,
    Kernel,
    cache_limit,
    find_cache,
    list_kernels,
    open_cache,
    prune,
    written_below,
)
from dmasafe.kernel.config import Matrix, find_configuration, load_matrix
from dmasafe.kernel.distribution import fetch_kernel, parse_deb
from dmasafe.kernel.errors import KernelError
from dmasafe.kernel.guest import build_agent, build_image
from dmasafe.kernel.permission import NotBuilt, building
from dmasafe.kernel.rootfs import MINIMAL, image_names
from dmasafe.kernel.source import DEFAULT_SOURCE, SourceTree, fetch, parse_source, remembered
from dmasafe.kernel.tools import missing_packages

__all__ = [
    "DEFAULT_SOURCE",
    "MINIMAL",
    "PRUNE_UNUSED_DAYS",
    "Cache",
    "Kernel",
    "KernelError",
    "Matrix",
    "NotBuilt",
    "SourceTree",
    "build_agent",
    "build_image",
    "build_kernel",
    "build_modules",
    "building",
    "cache_limit",
    "fetch",
    "fetch_kernel",
    "find_cache",
    "find_configuration",
    "find_kernel",
    "image_names",
    "kernel_key",
    "list_kernels",
    "load_matrix",
    "missing_packages",
    "open_cache",
    "parse_deb",
    "parse_source",
    "project_root",
    "prune",
    "remembered",
    "require_modules",
    "written_below",
]
