# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a verdict on a one-line change of the I2C core takes, beside an incremental make and a warm core run.

The base is built, and its results are known, as for whoever has looked at a series on it before. All is timed in this
one run. DMASAFE_SERIES_TREE names a kernel's git repository; without it one is made of the default source.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dmasafe import kernel as kernels
from dmasafe.progress import SILENT
from dmasafe.series.bench import QemuBench
from dmasafe.series.choose import choose
from dmasafe.series.tree import Repository
from dmasafe.targets.prepare import DEFAULT_ARCH

WANTED_RATIO = 3.0
WANTED_DOCUMENT_S = 5.0
TREE_VARIABLE = "DMASAFE_SERIES_TREE"
CORE, DOCUMENT = "drivers/i2c/i2c-core-base.c", "Documentation/i2c/summary.rst"
_WHO = ("-c", "user.name=dmasafe", "-c", "user.email=dmasafe@example.org")


def git(tree: Path, *words: str, **environment: str) -> str:
    command = ["git", "-C", str(tree), *_WHO, *words]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **environment}
    ).stdout.strip()


def make_tree(directory: Path) -> Path:
    """The repository that TREE_VARIABLE names, else one in ``directory`` with the default source as its one commit."""
    if named := os.environ.get(TREE_VARIABLE):
        return Path(named)
    source = kernels.fetch(kernels.parse_source(kernels.DEFAULT_SOURCE), kernels.open_cache())
    tree = directory / "linux"
    subprocess.run(["git", "init", "--quiet", tree], check=True)
    words = (f"--git-dir={tree / '.git'}", f"--work-tree={source.path}")
    # One pack, and not a file for each of 85,000.
    git(
        source.path, *words, "-c", "core.bigFileThreshold=1", "-c", "core.compression=0", "add", "--force", "--all", "."
    )
    git(source.path, *words, "commit", "--quiet", "-m", "The kernel as it is")
    return tree


def one_line(tree: Path, base: str, file: str, line: str) -> str:
    """A commit on ``base`` that adds a line at the end of a file; nothing is checked out."""
    with tempfile.TemporaryDirectory(prefix="dmasafe-") as directory:
        index = {"GIT_INDEX_FILE": str(Path(directory) / "index")}
        git(tree, "read-tree", base, **index)
        made = Path(directory) / "file"
        made.write_text(git(tree, "show", f"{base}:{file}") + f"\n{line}\n")
        blob = git(tree, "hash-object", "-w", str(made))
        git(tree, "update-index", "--cacheinfo", f"100644,{blob},{file}", **index)
        content = git(tree, "write-tree", **index)
    return git(tree, "commit-tree", content, "-p", base, "-m", f"{file}: Add a line")


def series_s(tree: Path, results: str, *words: str) -> float:
    """Seconds of the command, from the shell and back."""
    command = [sys.executable, "-m", "dmasafe.cli", "series", "--kdir", str(tree), "--results", results, *words]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return time.perf_counter() - started


def parts_s(tree: Path, base: str, tip: str) -> tuple[float, float]:
    """Seconds of the build of ``tip`` after that of ``base``, and of a core run on it; the base is known afterwards."""
    repository = Repository(tree, kernels.open_cache())
    with repository.held(SILENT):
        series = repository.find([f"{base}..{tip}"], None, SILENT)
        choice = choose(series.paths, DEFAULT_ARCH)
        bench = QemuBench(repository, series, choice.jobs, None, SILENT)
        for job in choice.jobs:
            bench.known(series.base, job) or bench.perform(series.base, job)
        (core,) = (job for job in choice.jobs if job.suite == "core")
        # It may be another commit's objects that lie there.
        bench.compile(series.base, core.cell)
        started = time.perf_counter()
        bench.compile(series.tip, core.cell)
        built = time.perf_counter()
        bench.perform(series.tip, core)
        return built - started, time.perf_counter() - built


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="dmasafe-") as directory:
        tree = make_tree(Path(directory))
        base = git(tree, "rev-parse", "HEAD")
        # Lines that no earlier run compiled.
        known, tip = (one_line(tree, base, CORE, f"int dmasafe_{name}_{time.time_ns()};") for name in ("one", "two"))
        document = one_line(tree, base, DOCUMENT, str(time.time_ns()))
        make, core = parts_s(tree, base, known)
        verdict = series_s(tree, directory, f"{base}..{tip}")
        read = series_s(tree, directory, f"{base}..{document}")
    print(f"incremental make, kernel and modules   {make:6.1f} s")
    print(f"warm core run                          {core:6.1f} s")
    ratio = verdict / (make + core)
    print(f"verdict on a line of {CORE} {verdict:6.1f} s   {ratio:.2f} x both (wanted: {WANTED_RATIO} at most)")
    print(f"verdict on a line of a document        {read:6.1f} s   (wanted: {WANTED_DOCUMENT_S} at most)")


if __name__ == "__main__":
    main()
