# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of kernels that cost minutes to build, which only whoever works on them spends: DMASAFE_SLOW=1."""

import pytest

from dmasafe.kernel import DEFAULT_SOURCE, fetch, find_kernel, list_kernels, open_cache, parse_source
from tests.slow import SLOW, slow


def is_built(configuration, arch="x86_64", source=DEFAULT_SOURCE):
    """Whether this kernel is in the cache, as the sources and fragments are now."""
    cache = open_cache()
    if not any(kernel.arch == arch for kernel in list_kernels(cache)):
        return False
    return find_kernel(fetch(parse_source(source), cache), configuration, arch, cache) is not None


def versions(configuration):
    """Parameters: the sources of 6.12 and 7.2, each where its kernel is built."""
    sources = ("apt:linux-source-6.12", "apt:linux-source-7.2")
    return [
        pytest.param(source, marks=needs(configuration, source=source), id=source.rpartition("-")[2])
        for source in sources
    ]


def needs(configuration, arch="x86_64", source=DEFAULT_SOURCE):
    """A mark: skip unless slow tests are wanted and this kernel is built."""
    if not SLOW:
        return slow
    return pytest.mark.skipif(
        not is_built(configuration, arch, source),
        reason=f"first: dmasafe kernel build {source} --arch {arch} --config {configuration}",
    )
