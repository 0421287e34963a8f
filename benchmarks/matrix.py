# SPDX-License-Identifier: GPL-2.0-or-later
"""What the matrix saves: the build of a second configuration, a run with nothing to build; how busy processors are.

With ``--build`` it builds two kernels from nothing, in a cache of its own: minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from dmasafe.kernel import DEFAULT_SOURCE, fetch, open_cache, parse_source

SELECTION = "quick"
SECOND = "no-vmap-stack"
WANTED_RATIO, WANTED_BUSY = 0.5, 0.85


def _dmasafe(*words: str | Path, **environment: str) -> float:
    """Seconds of a command from the shell; it must succeed."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "dmasafe.cli", *map(str, words)],
        check=True, stdin=subprocess.DEVNULL, capture_output=True, env={**os.environ, **environment},
    )  # fmt: skip
    return time.perf_counter() - started


def build_ratio() -> None:
    """Two configurations of one tree from nothing: the second finds what the first compiled."""
    tree = fetch(parse_source(DEFAULT_SOURCE), open_cache()).path
    with tempfile.TemporaryDirectory(prefix="dmasafe-bench-") as cache:
        first, second = (
            _dmasafe("kernel", "build", tree, "--config", name, DMASAFE_CACHE=cache) for name in ("default", SECOND)
        )
    print(f"default from nothing {first:.0f} s, then {SECOND} {second:.0f} s: ratio {second / first:.2f}", end="")
    print(f" (wanted: at most {WANTED_RATIO})")


@contextmanager
def _measured(name: str) -> Iterator[None]:
    """Print how long it took, and what part of all processors was busy: by us and by everybody."""
    before, started = psutil.cpu_times(), time.perf_counter()
    yield
    seconds, after = time.perf_counter() - started, psutil.cpu_times()
    idle = (after.idle - before.idle) + (after.iowait - before.iowait)
    busy = 1 - idle / (seconds * (os.cpu_count() or 1))
    print(f"{name:<44} {seconds:6.1f} s, {os.cpu_count()} processors {100 * busy:.0f} % busy", flush=True)


def rerun(cells: Sequence[str]) -> None:
    """The same run again and again: the first may build, the others boot only."""
    chosen = [word for cell in cells for word in ("--cell", cell)] or [SELECTION]
    with tempfile.TemporaryDirectory(prefix="dmasafe-bench-") as directory:
        for name in ("a run of " + (", ".join(cells) or SELECTION), "again, with nothing to build"):
            with _measured(name):
                _dmasafe(
                    "matrix", "run", *chosen, "--no-record", "--workers", "2", "--results", Path(directory, name[:2])
                )
    print(f"(wanted: {100 * WANTED_BUSY:.0f} % busy where there are more boots than processors)")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.matrix", description=__doc__)
    parser.add_argument("--build", action="store_true", help="measure two builds from nothing too")
    parser.add_argument("--cell", action="append", default=[], help="cells instead of the selection quick")
    # `make bench` hands its own words to benchmarks/__main__.py.
    arguments = parser.parse_args(sys.argv[1:] if __name__ == "__main__" else [])
    rerun(arguments.cell)
    if arguments.build:
        build_ratio()


if __name__ == "__main__":
    main()
