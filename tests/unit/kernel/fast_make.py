# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands for make where only Kconfig is asked; as a program, records what a tree answers to a configuration.

python tests/unit/kernel/fast_make.py TREE > tests/unit/kernel/fixtures/kconfig-SERIES.json
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

from dmasafe.kernel import build
from dmasafe.kernel.config import check, find_architecture, load_matrix, parse_config, resolve
from dmasafe.kernel.kconfig import MAX_DEPTH, Kconfig, read_kconfig, symbols_in
from dmasafe.kernel.tree import tree_version

BASES = ("tinyconfig", "allnoconfig")
ARCH = "x86_64"
CONFIGURATION = "default"
# In place of conf: it leaves make's environment behind, in which conf can be started without make.
_STAND_IN = '#!/bin/sh\nenv -0 > "$DMASAFE_ENVIRONMENT"\nexec "$0.real" "$@"\n'


class FastMake:
    """Stands for dmasafe.kernel.build.run: make's targets and merge_config.sh, by what they start in the end."""

    def __init__(self, tree: Path, directory: Path, base: str, arch: str) -> None:
        architecture = find_architecture(arch)
        make = ["make", "-s", "-C", str(tree), f"O={directory}", *build.make_variables(architecture)]
        environment = directory / "environment"
        inherited = {**os.environ, "DMASAFE_ENVIRONMENT": str(environment)}
        subprocess.run([*make, base], check=True, capture_output=True, env=inherited)
        self._base = (directory / ".config").read_text()
        conf = directory / "scripts" / "kconfig" / "conf"
        self._conf = shutil.move(conf, conf.with_name("conf.real"))
        conf.write_text(_STAND_IN)
        conf.chmod(0o755)
        subprocess.run([*make, "olddefconfig"], check=True, capture_output=True, env=inherited)
        pairs = (entry.partition("=") for entry in environment.read_text().split("\0") if entry)
        self._environment = {name: value for name, _, value in pairs}
        self._directory = directory
        self.runs = 0

    def __call__(self, command: list[object], **_: object) -> None:
        config = self._directory / ".config"
        if command[0] == "bash":
            fragment = Path(str(command[-1])).read_text()
            asked = parse_config(fragment)
            kept = [
                line
                for line in config.read_text().splitlines()
                if line.removeprefix("# ").partition("=")[0].partition(" ")[0].removeprefix("CONFIG_") not in asked
            ]
            config.write_text("\n".join([*kept, fragment]))
        elif command[-1] == "olddefconfig":
            arguments = [self._conf, "--olddefconfig", "Kconfig"]
            subprocess.run(arguments, check=True, capture_output=True, env=self._environment, cwd=self._directory)
            self.runs += 1
        else:
            config.write_text(self._base)


def closure(kconfig: Kconfig, symbols: set[str], asked: Collection[str]) -> set[str]:
    """The symbols, what they depend on, and which of those that were ``asked`` for select one that has no prompt."""
    found: set[str] = set()
    for _ in range(MAX_DEPTH):
        symbols = symbols - found
        found |= symbols
        rows = [row for name in symbols for row in kconfig.definitions.get(name, ())]
        needed = {name for row in rows for text in (*row.depends, *row.prompt_if) for name in symbols_in(text)}
        hidden = {name for name in symbols if not any(row.prompt for row in kconfig.definitions.get(name, ()))}
        selecting = {
            name
            for name in asked
            if any(selected in hidden for row in kconfig.definitions.get(name, ()) for selected, _ in row.selects)
        }
        symbols = needed | selecting
    return found


def record(tree: Path) -> dict[str, object]:
    """What the tree's Kconfig says of every line of the configuration that does not take at once."""
    matrix, version = load_matrix(), tree_version(tree)
    architecture = find_architecture(ARCH)
    request = resolve(matrix, CONFIGURATION, ARCH, version)
    asked = sorted({line.symbol for line in request.wanted})
    kconfig = read_kconfig(tree, architecture.make_arch)
    values, needed = {}, set()
    for base in BASES:
        with tempfile.TemporaryDirectory() as name:
            objects = Path(name)
            fast = FastMake(tree, objects, base, ARCH)
            fragment = objects / "dmasafe.config"
            fragment.write_text(request.text)
            for command in (["make", base], ["bash", str(fragment)], ["make", "olddefconfig"]):
                fast(command)
            values[base] = parse_config((objects / ".config").read_text())
        missed = check(request.wanted, values[base], version, matrix.absences, ARCH).missed
        needed |= closure(kconfig, {line.symbol for line in missed}, asked)
    kept = needed.union(asked)
    return {
        "version": version,
        "asked": asked,
        "values": {
            base: {name: value for name, value in sorted(found.items()) if name in kept and value != "n"}
            for base, found in values.items()
        },
        "definitions": {
            name: [asdict(row) for row in kconfig.definitions[name]]
            for name in sorted(needed)
            if name in kconfig.definitions
        },
    }


if __name__ == "__main__":
    json.dump(record(Path(sys.argv[1])), sys.stdout, indent=1)
    print()
