# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a guest takes to its first word, and the whole core suite from the shell, beside a bare boot.

The bare boot is the same kernel in the same machine without devices and initramfs: it ends by its own panic.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import booted, children_cpu_s
from dmasafe.kernel import DEFAULT_SOURCE
from dmasafe.progress import SILENT
from dmasafe.targets.prepare import DEFAULT_ARCH, DEFAULT_CONFIGURATION, Prepared, prepare

STRICT_CONFIGURATION = "strict"
WANTED_STRICT_RATIO = 1.5
RUNS = 5
CORE_RUNS = 3


def bare_boot_s(prepared: Prepared) -> float:
    """Seconds from the start of QEMU to its end, kernel alone."""
    machine = prepared.image.machine
    command = [machine.binary, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    command += ["-accel", prepared.image.accelerator, "-machine", machine.machine, "-cpu", machine.cpu, "-m", "256M"]
    command += ["-kernel", str(prepared.image.kernel), "-append", " ".join(("quiet", "panic=-1", *machine.cmdline))]
    command += ["-serial", "null"]
    if machine.firmware:
        command += ["-bios", machine.firmware]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    return time.perf_counter() - started


def agent_boot_s(prepared: Prepared) -> float:
    """Seconds from the start of QEMU to the agent's first word, devices plugged."""
    with booted(prepared) as boot:
        return boot.boot_s


def core_suite_s(directory: Path, configuration: str = DEFAULT_CONFIGURATION) -> tuple[float, float]:
    """Seconds of the whole command, from the shell and back, results written; and of the processors, all processes."""
    command = [sys.executable, "-m", "dmasafe.cli", "run", "--suite", "core", "--results", str(directory)]
    command += ["--config", configuration]
    started, before = time.perf_counter(), children_cpu_s()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=600)
    return time.perf_counter() - started, children_cpu_s() - before


def main() -> None:
    prepared = prepare(DEFAULT_SOURCE, DEFAULT_CONFIGURATION, DEFAULT_ARCH, None, SILENT)
    # On x86_64 only.
    prepare(DEFAULT_SOURCE, STRICT_CONFIGURATION, DEFAULT_ARCH, None, SILENT)
    bare, agent = [], []
    core: list[tuple[float, float]] = []
    strict: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="dmasafe-") as directory:
        for number in range(RUNS):
            bare.append(bare_boot_s(prepared))
            agent.append(agent_boot_s(prepared))
            if number < CORE_RUNS:
                core.append(core_suite_s(Path(directory)))
                strict.append(core_suite_s(Path(directory), STRICT_CONFIGURATION))
    baseline = statistics.median(bare)
    print(
        f"{prepared.kernel.release} {prepared.kernel.arch}, {prepared.image.accelerator}; medians, ratio to a bare boot"
    )
    for name, seconds in (
        ("bare boot, to its panic", bare),
        ("boot to the agent's first word", agent),
        ("dmasafe run --suite core, warm", [wall for wall, _ in core]),
        ("the same, --config strict", [wall for wall, _ in strict]),
        ("core, all processes' CPU", [cpu for _, cpu in core]),
    ):
        median = statistics.median(seconds)
        print(f"{name:<34} {median:6.2f} s   {median / baseline:5.2f} x   ({min(seconds):.2f} to {max(seconds):.2f})")
    ratio = statistics.median(wall for wall, _ in strict) / statistics.median(wall for wall, _ in core)
    print(f"suite core, strict to default: {ratio:.2f} (wanted: {WANTED_STRICT_RATIO} at most)")
