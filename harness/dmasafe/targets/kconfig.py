# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's .config as the facts that expectations depend on."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dmasafe.facts import KernelFacts

_SET = re.compile(r"^CONFIG_(\w+)=[ym]$", re.MULTILINE)
_RELEASE = re.compile(r"^(\d+)\.(\d+)(?:\.(\d+))?")


def facts_from_config(
    config: str, arch: str, release: str, coherent: bool | None = None, cmdline: Sequence[str] = (), iommu: bool = False
) -> KernelFacts:
    """Facts from the text of a .config.

    ``release`` is uname -r's word, ``coherent`` and ``iommu`` what is known of the machine, ``cmdline`` the words that
    it boots with.
    """
    match = _RELEASE.match(release)
    version = tuple(int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    words = [word.removeprefix("swiotlb=") for word in cmdline if word.startswith("swiotlb=")]
    symbols = frozenset(_SET.findall(config))
    return KernelFacts(arch, version, symbols, coherent, words[-1] if words else None, iommu)
