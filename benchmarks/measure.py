# SPDX-License-Identifier: GPL-2.0-or-later
"""What several benchmarks measure alike: processor seconds of commands, a guest up to its agent's first word."""

from __future__ import annotations

import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmasafe.targets.boot import Boot
from dmasafe.targets.prepare import Prepared


def children_cpu_s() -> float:
    """Processor seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def fastest(
    command: list[str], runs: int, timeout_s: float | None = None, cwd: Path | None = None
) -> tuple[float, str]:
    """Processor seconds of the fastest run, and what it printed."""
    seconds, printed = [], ""
    for _ in range(runs):
        before = children_cpu_s()
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, cwd=cwd
        )
        seconds.append(children_cpu_s() - before)
        printed = done.stdout
        if done.returncode > 1:  # grep says 1 for "none found"
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    return min(seconds), printed


@contextmanager
def booted(prepared: Prepared) -> Iterator[Boot]:
    """A guest up to the agent's first word, devices plugged."""
    with (
        tempfile.TemporaryDirectory(prefix="dmasafe-") as logs,
        (Path(logs) / "kmsg.log").open("wb") as kmsg_log,
        Boot(prepared.image, Path(logs), kmsg_log) as boot,
    ):
        yield boot
