# SPDX-License-Identifier: GPL-2.0-or-later
"""The device tree that QEMU makes for a machine, with properties taken out, for QEMU to hand over instead."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from dmasafe.qemu import QemuError

DUMP_TIMEOUT_S = 30.0


def without_properties(command: Sequence[str], properties: Sequence[str], path: Path) -> None:
    """Write to ``path`` the tree of the machine that ``command`` names, without ``properties`` ("NODE PROPERTY").

    ``command`` is a QEMU with the machine's options last, to which one is added. Raises QemuError.
    """
    # It takes a while to import, and few machines need it.
    import fdt

    _dump([*command[:-1], f"{command[-1]},dumpdtb={str(path).replace(',', ',,')}"])
    try:
        tree = fdt.parse_dtb(path.read_bytes())
    except (OSError, ValueError) as cause:
        raise QemuError(f"{command[0]} wrote no device tree that can be read: {cause}") from cause
    for line in properties:
        place, name = line.split()
        if not tree.exist_node(place) or not tree.get_node(place).exist_property(name):
            raise QemuError(f"{command[0]}'s device tree has no {name} at {place}: kernel-configs/arch/ must follow it")
        tree.get_node(place).remove_property(name)
    path.write_bytes(tree.to_dtb(version=17))


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
