# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a commit of a series becomes results: checked out, built, booted, judged.

There is one object directory for each cell, moved from commit to commit by make. Results of the base are kept, so
that the next series on it neither builds nor boots it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Protocol

from dmasafe import kernel as kernels
from dmasafe import scratch
from dmasafe.architecture import project_root
from dmasafe.check import Change, Checked, check_contents
from dmasafe.kernel.build import adopt_configuration, is_module_source, toolchain_version
from dmasafe.kernel.cache import digest
from dmasafe.kernel.config import find_architecture
from dmasafe.kernel.source import SourceTree
from dmasafe.progress import Progress
from dmasafe.qemu.machines import find_machine
from dmasafe.qemu.versions import version_text
from dmasafe.report import json_report
from dmasafe.report.results import Results, exit_status
from dmasafe.scenario import Scenario
from dmasafe.series.choose import CLIENTS, Job
from dmasafe.series.tree import Commit, Repository, Series
from dmasafe.targets.clients import MODULES, run_clients
from dmasafe.targets.judged import run_and_judge
from dmasafe.targets.prepare import Prepared, ready
from dmasafe.targets.qemu import QemuTarget

Cell = tuple[str, str]
# What changes no configuration. Scripts may be asked by Kconfig, Makefiles hold the version.
_PLAIN = re.compile(r"(?!scripts/).*(\.[chS]|\.rst|\.txt|\.dts|\.dtsi|\.yaml)")
_HARNESS = ("harness", "images", "kernel-configs")
_HARNESS_FILES = (".py", ".toml", ".config")


class Bench(Protocol):
    """What the engine (run.py) asks for; ``cell`` is a configuration and an architecture."""

    def check(self) -> Checked:
        """What the series brings in the source."""

    def compile(self, commit: Commit, cell: Cell) -> None:
        """Build its kernel. Raises BuildError."""

    def known(self, commit: Commit, job: Job) -> Results | None:
        """What perform() gave for it in an earlier run."""

    def perform(self, commit: Commit, job: Job, ids: Collection[str] = ()) -> Results:
        """Build, boot, and run a job, or only these rows of it. Raises BuildError."""


class QemuBench:
    """The real one. ``jobs`` are all that will be asked for."""

    def __init__(
        self, repository: Repository, series: Series, jobs: Iterable[Job], accel: str | None, progress: Progress
    ) -> None:
        self._repository = repository
        self._series = series
        self._clients = {job.cell for job in jobs if job.suite == CLIENTS}
        self._accel = accel
        self._progress = progress
        self._cache = repository.cache
        self._guests: dict[tuple[str, Cell], Prepared] = {}
        self._harness = ""

    def check(self) -> Checked:
        """See Bench. The files beside those that change are the tip's."""
        names = [path for path in self._series.paths if path.endswith((".c", ".h"))]
        before, after = (self._repository.contents(one, names) for one in (self._series.base, self._series.tip))
        if not names:
            return Checked((), 0, 0, ())
        self._progress.stage(f"checking {len(names)} files")
        self._repository.check_out(self._series.tip, self._series)
        return check_contents(Change(before, after), self._repository.tree)

    def compile(self, commit: Commit, cell: Cell) -> None:
        # What is booted is packed while its objects are there.
        (self._guest if commit in (self._series.base, self._series.tip) else self._kernel)(commit, cell)

    def known(self, commit: Commit, job: Job) -> Results | None:
        path = self._kept(commit, job)
        if not path.is_file():
            return None
        path.touch()
        return json_report.load(path)

    def perform(self, commit: Commit, job: Job, ids: Collection[str] = ()) -> Results:
        started = time.monotonic()
        guest = self._guest(commit, job.cell)
        wanted = [one for one in job.scenarios() if not ids or one.id in ids]
        with scratch.directory() as logs:
            if job.suite == CLIENTS:
                clients = [one for one in wanted if not isinstance(one, Scenario)]
                results, _ = run_clients(guest, clients, logs, self._progress, started)
            else:
                target = QemuTarget(guest.image, guest.kernel, guest.facts, logs)
                scenarios = [one for one in wanted if isinstance(one, Scenario)]
                results = run_and_judge(target, scenarios, job.suite, self._progress, started)
        # Ctrl-C keeps what a guest did so far; here half a run judges nothing.
        if any(note.startswith("interrupted by ") for note in results.notes):
            raise KeyboardInterrupt
        if commit == self._series.base and not ids and results.reason is None and exit_status(results) in (0, 1):
            json_report.write(results, self._kept(commit, job))
        return results

    def _guest(self, commit: Commit, cell: Cell) -> Prepared:
        """What boots: it stays, whatever becomes of the objects."""
        key = self._series.compiled_as(commit), cell
        if key not in self._guests:
            kernel = self._kernel(commit, cell)
            modules = MODULES if cell in self._clients else None
            self._guests[key] = ready(kernel, *cell, self._accel, self._progress, extra_modules=modules)
        return self._guests[key]

    def _kernel(self, commit: Commit, cell: Cell) -> kernels.Kernel:
        tree = self._repository.check_out(commit, self._series)
        base = SourceTree(
            tree.path, f"git-tree:{self._series.base.tree}", tree.version, "", tree.home, changing=True
        )  # fmt: skip
        if all(_PLAIN.fullmatch(path) for path in self._series.paths):
            adopt_configuration(tree, base, *cell, self._cache)
        return kernels.build_kernel(tree, *cell, self._cache, self._progress)

    def _kept(self, commit: Commit, job: Job) -> Path:
        """Where the results lie: named by all that they depend on."""
        configuration, arch = job.cell
        self._harness = self._harness or _harness()
        machine = find_machine(arch, kernels.find_configuration(kernels.load_matrix(), configuration, arch).machine)
        qemu = version_text(machine.binary, machine.debian_package) or ""
        toolchain = toolchain_version(find_architecture(arch))
        parts = (commit.tree, job.name, self._accel or "", self._harness, qemu, toolchain)
        return self._cache.path("series", f"{digest(*parts)[:16]}.json")


def _harness() -> str:
    """The harness as it is: another one may run, judge or configure otherwise."""
    parts: list[str | bytes] = []
    for name in _HARNESS:
        for path in sorted((project_root() / name).rglob("*")):
            if path.suffix in _HARNESS_FILES or (name == "images" and is_module_source(path.name)):
                parts += [str(path), path.read_bytes()]
    return digest(*parts)
