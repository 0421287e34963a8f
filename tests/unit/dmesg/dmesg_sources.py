# SPDX-License-Identifier: GPL-2.0-or-later
"""The err_printk() formats of real kernel sources, and lines printed from a format as the kernel would."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hypothesis import strategies as st
from platformdirs import user_cache_dir

from dmasafe.dmesg.formats import Format, Prefix

SOURCES_VARIABLE = "DMASAFE_KERNEL_SOURCES"

DIRECTIONS = ("DMA_BIDIRECTIONAL", "DMA_TO_DEVICE", "DMA_FROM_DEVICE", "DMA_NONE")
MAPPINGS = ("single", "scatter-gather", "scather-gather", "coherent", "noncoherent", "resource", "phy")

_CALL = re.compile(r'\berr_printk\([^;"]*((?:\s*"(?:[^"\\]|\\.)*")+)')
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


def kernel_trees() -> list[Path]:
    """The kernel source trees to read: below $DMASAFE_KERNEL_SOURCES, or the project's own source cache."""
    root = os.environ.get(SOURCES_VARIABLE)
    folder = Path(root) if root else Path(user_cache_dir("dmasafe")) / "sources"
    trees = {path.parents[2] for path in folder.glob("**/kernel/dma/debug.c")} if folder.is_dir() else set()
    # A patched file may lie among a kernel's objects.
    return sorted(tree for tree in trees if (tree / "Kconfig").is_file())


def err_printk_formats(tree: Path) -> list[str]:
    """Every format that kernel/dma/debug.c passes to err_printk(), the string literals joined."""
    text = (tree / "kernel/dma/debug.c").read_text(encoding="utf-8", errors="replace")
    text = re.sub(r"#define err_printk.*?while \(0\)", "", text, flags=re.DOTALL)
    return ["".join(_STRING.findall(call[1])).replace("\\n", "\n") for call in _CALL.finditer(text)]


def values_for(known: Format) -> st.SearchStrategy[tuple[int | str, ...]]:
    """Random values for a format's conversions, in the ranges of their C types."""
    strategies: list[st.SearchStrategy[int | str]] = []
    for name, conversion in zip(known.names, known.conversions, strict=True):
        if conversion == "s":
            strategies.append(st.sampled_from(MAPPINGS if name.endswith("_as") else DIRECTIONS))
        elif conversion in ("d", "i"):
            strategies.append(st.integers(0, 2**31 - 1))
        else:
            strategies.append(st.integers(0, 2**64 - 1))
    return st.tuples(*strategies)


def printed(text: str, values: tuple[int | str, ...]) -> str:
    """What printk() makes of a format: lib/vsprintf.c, on a 64-bit kernel with no_hash_pointers."""
    rest = iter(values)

    def conversion(match: re.Match[str]) -> str:
        value = next(rest)
        letters = match[2]
        if letters.startswith("pa"):
            return f"0x{value:016x}"
        if letters == "p":
            return f"{value:016x}"
        if letters == "x":
            return f"{value:0{match[1].lstrip('0') or 0}x}"
        return str(value)

    return re.sub(r"%(0?\d*)(?:ll|l|z)?([diuxs]|p[ad]*)", conversion, text)


def message(known: Format, body: str, driver: str = "dmasafe", device: str = "0000:00:05.0") -> str:
    """The whole line of a message."""
    return known.prefix.value.replace("<driver>", driver).replace("<device>", device) + body


__all__ = ["Prefix", "err_printk_formats", "kernel_trees", "message", "printed", "values_for"]
