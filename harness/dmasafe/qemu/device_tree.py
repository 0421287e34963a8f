# SPDX-License-Identifier: GPL-2.0-or-later
"""The device tree that QEMU makes for a machine, changed, for QEMU to hand over instead."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dmasafe.qemu import QemuError

DUMP_TIMEOUT_S = 30.0


# QEMU's own phandles count from 0x8000 on.
_FIRST_PHANDLE = 0x1000
_LABEL = re.compile(r"(?P<label>\w+)\s*:\s*(?P<node>[\w,.@-]+\s*\{)")
_REFERENCE = re.compile(r"&(\w+)")


def changed_tree(command: Sequence[str], path: Path, without: Sequence[str] = (), nodes: str = "") -> None:
    """Write to ``path`` the tree of the machine that ``command`` names, changed.

    ``command`` is a QEMU with the machine's options last, to which one is added. ``without`` are properties that go
    ("NODE PROPERTY"), ``nodes`` the source of nodes that come to the root, with labels of their own. Raises QemuError.
    """
    _dump([*command[:-1], f"{command[-1]},dumpdtb={str(path).replace(',', ',,')}"])
    # It takes a while to import, and few machines need it.
    import fdt

    try:
        tree = fdt.parse_dtb(path.read_bytes())
    except (OSError, ValueError) as cause:
        raise QemuError(f"{command[0]} wrote no device tree that can be read: {cause}") from cause
    for line in without:
        place, name = line.split()
        if not tree.exist_node(place) or not tree.get_node(place).exist_property(name):
            raise QemuError(f"{command[0]}'s device tree has no {name} at {place}: kernel-configs/arch/ must follow it")
        tree.get_node(place).remove_property(name)
        # Newer QEMUs have it at the root, too, and what is below is as its root.
        if tree.root.exist_property(name):
            tree.root.remove_property(name)
    if nodes:
        tree.merge(_parsed(nodes))
    path.write_bytes(tree.to_dtb(version=17))


def _parsed(nodes: str) -> Any:
    """A tree whose root has these nodes. Raises QemuError."""
    import fdt

    labels = [match["label"] for match in _LABEL.finditer(nodes)]
    numbers = {label: _FIRST_PHANDLE + number for number, label in enumerate(dict.fromkeys(labels))}
    # The library knows neither labels nor more than one statement a line.
    text = _LABEL.sub(lambda match: f"{match['node']}phandle = <{numbers[match['label']]:#x}>;", nodes)
    missing = sorted(set(_REFERENCE.findall(text)) - set(numbers))
    if missing or len(numbers) < len(labels):
        raise QemuError(f"nodes for the device tree refer to {', '.join(missing) or 'one label of two nodes'}")
    text = _REFERENCE.sub(lambda match: f"{numbers[match[1]]:#x}", text)
    text = re.sub(r"\s+", " ", text)
    lines = re.sub(r"([;{])", r"\1\n", f"/dts-v1/;/ {{{text}}};")
    try:
        return fdt.parse_dts("\n".join(line.strip() for line in lines.splitlines()))
    except Exception as cause:
        raise QemuError(f"nodes for the device tree cannot be read: {cause}") from cause


def _dump(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=DUMP_TIMEOUT_S)
    except subprocess.TimeoutExpired as cause:
        raise QemuError(f"{command[0]} did not write its device tree within {DUMP_TIMEOUT_S:.0f} s") from cause
    except OSError as cause:
        raise QemuError(f"cannot start {command[0]}: {cause}") from cause
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise QemuError(f"{command[0]} wrote no device tree: {words[-1] if words else f'status {done.returncode}'}")
