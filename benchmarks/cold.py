# SPDX-License-Identifier: GPL-2.0-or-later
"""What the first kernel costs: processor time of a build in an empty cache, beside plain make and KUnit's kernel.

All three build the same source with one compiler; neither the download nor the unpacking is counted.
``python -m benchmarks cold`` takes a quarter of an hour of two processors; the other benchmarks do not run it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import children_cpu_s
from dmasafe import kernel as kernels
from dmasafe.kernel.build import RECIPE
from dmasafe.kernel.process import clean_environment
from dmasafe.progress import SILENT
from dmasafe.targets.prepare import DEFAULT_ARCH, DEFAULT_CONFIGURATION

# What `kunit.py build --arch=x86_64` merges over the defaults: its default.config and the machine's lines.
KUNIT = ("KUNIT", "KUNIT_EXAMPLE_TEST", "KUNIT_ALL_TESTS", "SERIAL_8250", "SERIAL_8250_CONSOLE")


def _make(tree: Path, objects: Path, *words: str) -> None:
    variables = [f"{name}={value}" for name, value in RECIPE.items()]
    command: Sequence[str] = ["make", "-C", str(tree), f"O={objects}", f"-j{len(os.sched_getaffinity(0))}", *variables]
    subprocess.run(
        [*command, *words], check=True, stdin=subprocess.DEVNULL, capture_output=True, env=clean_environment()
    )


def main() -> None:
    shared = kernels.open_cache()
    tree = kernels.fetch(kernels.parse_source(kernels.DEFAULT_SOURCE), shared, SILENT)
    with tempfile.TemporaryDirectory(prefix="dmasafe-cold-", dir="/var/tmp") as directory:
        home = Path(directory)
        empty = kernels.open_cache(home / "cache")
        spent: list[tuple[str, float, float]] = []

        def measure(what: str, began: tuple[float, float]) -> tuple[float, float]:
            now = children_cpu_s(), time.perf_counter()
            spent.append((what, now[0] - began[0], now[1] - began[1]))
            return children_cpu_s(), time.perf_counter()

        clock = children_cpu_s(), time.perf_counter()
        own = replace(tree, home=home / "own")
        kernel = kernels.build_kernel(own, DEFAULT_CONFIGURATION, DEFAULT_ARCH, empty, SILENT)
        clock = measure("dmasafe: configuration and kernel", clock)
        images = kernels.project_root() / "images"
        kernels.build_modules(kernel, images / "modules", empty, SILENT)
        kernels.build_agent(DEFAULT_ARCH, images / "agent", empty, SILENT)
        clock = measure("dmasafe: its modules and agent", clock)
        plain = home / "plain"
        plain.mkdir()
        (plain / ".config").write_bytes(kernel.config.read_bytes())
        _make(tree.path, plain, "vmlinux", "modules")
        clock = measure("make of the same configuration", clock)
        kunit = home / "kunit"
        kunit.mkdir()
        (kunit / ".config").write_text("".join(f"CONFIG_{name}=y\n" for name in KUNIT))
        _make(tree.path, kunit, "olddefconfig")
        _make(tree.path, kunit, "all")
        measure("make of KUnit's default for x86_64", clock)
    baseline = spent[2][1]
    print(f"{tree.version} {DEFAULT_CONFIGURATION} {DEFAULT_ARCH}; processor time of all processes")
    for what, cpu_s, wall_s in spent:
        print(f"{what:<36} {cpu_s:7.1f} s   {cpu_s / baseline:5.2f} x   (wall {wall_s:.0f} s)", flush=True)
