# SPDX-License-Identifier: GPL-2.0-or-later
"""From candidates to verdicts: prepare the kernel and the boards, try what was not tried yet, judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dmasafe.kernel as kernels
from dmasafe import scratch
from dmasafe.architecture import project_root
from dmasafe.check import CheckResult
from dmasafe.dmesg.symbols import Symbols
from dmasafe.progress import Progress
from dmasafe.prove.candidates import find_candidates
from dmasafe.prove.drivers import Driver, Modules
from dmasafe.prove.evidence import Attempt
from dmasafe.prove.judge import Resolver, Status, Verdict, judge
from dmasafe.prove.perform import ROUNDS, SCRIPT, SOURCES, Prover, Store, left, stripped, wishes
from dmasafe.targets.prepare import KernelChoice, build_kernel, prepare


@dataclass(frozen=True)
class Proofs:
    """The verdicts on candidates of one kernel. ``notes``: why not all was seen that boards could show."""

    release: str
    kernel_source: str
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """0 nothing proved, 1 something proved, 2 not all was tried, or nothing was reached."""
        found = {one.status for one in self.verdicts}
        if Status.PROVED in found:
            return 1
        return 2 if self.notes or not found - {Status.NOT_REACHED} else 0


@dataclass
class Case:
    """A driver with what is suspected in the files that it serves, of which some is ``wanted``."""

    driver: Driver
    suspects: tuple[CheckResult, ...]
    wanted: frozenset[str]
    attempts: list[Attempt]

    def proved(self, attempts: Sequence[Attempt], resolver: Resolver) -> list[bool]:
        """Whether each of the wanted suspects is proved by these attempts."""
        verdicts = judge(self.suspects, [(self.driver.module, attempt) for attempt in attempts], resolver)
        return [one.status is Status.PROVED for one in verdicts if one.candidate.fingerprint in self.wanted]

    def is_open(self, resolver: Resolver) -> bool:
        """Whether something is wanted and not proved, and something is left to try."""
        return bool(left(self.driver, self.attempts)) and not all(self.proved(self.attempts, resolver))

    def notes(self, resolver: Resolver) -> list[str]:
        """Why not all was seen of the driver."""
        lost = [f"{self.driver.module}: {one.wish}: {one.lost}" for one in self.attempts if one.lost]
        if self.is_open(resolver):
            todo = left(self.driver, self.attempts)
            lost.append(f"{self.driver.module}: {len(todo)} of {len(wishes(self.driver))} boards were not tried yet")
        return lost


def source_tree(kernel: kernels.Kernel) -> Path:
    """The sources that a kernel was built from."""
    return (kernel.build_dir / "source").resolve()


def prove(
    choice: KernelChoice, words: Sequence[str], progress: Progress, again: bool = False, kept: bool = False
) -> Proofs:
    """Verdicts on the candidates that ``words`` name, or on all.

    ``again`` looks away from what was seen before, ``kept`` judges that and boots nothing.

    Raises KernelError, QemuError, ProveError, CheckError, TargetError, DevicesError.
    """
    kernel = build_kernel(choice.source, choice.configuration, choice.arch, progress)
    tree = source_tree(kernel)
    progress.stage("reading the sources")
    wanted, every = find_candidates(tree, words, kernels.find_cache().root / "check")
    modules = Modules([kernel.build_dir], tree)
    resolver = Resolver(Symbols(kernel.vmlinux, modules.paths))
    store = Store.of(kernel)
    serving = {file: modules.drivers(file) for file in dict.fromkeys(one.file for one in wanted)}
    cases = {}
    for driver in {driver.module: driver for found in serving.values() for driver in found}.values():
        files = {file for file, found in serving.items() if any(one.module == driver.module for one in found)}
        suspects = tuple(one for one in every if one.file in files)
        known = [] if again else store.load(driver.module)
        cases[driver.module] = Case(driver, suspects, frozenset(one.fingerprint for one in wanted), known)
    todo = [] if kept else [case for case in cases.values() if case.is_open(resolver)]
    if todo:
        _perform(choice, todo, store, resolver, progress)
    verdicts: list[Verdict] = []
    for file, found in serving.items():
        evidence = [(one.module, attempt) for one in found for attempt in cases[one.module].attempts]
        chosen = {one.fingerprint for one in wanted if one.file == file}
        mates = [one for one in every if one.file == file]
        judged = judge(mates, evidence, resolver, served=bool(found))
        verdicts += [one for one in judged if one.candidate.fingerprint in chosen]
    notes = tuple(note for case in cases.values() for note in case.notes(resolver))
    return Proofs(kernel.release, choice.source, tuple(verdicts), notes)


def _perform(choice: KernelChoice, todo: Sequence[Case], store: Store, resolver: Resolver, progress: Progress) -> None:
    """Try the drivers, round by round; what was seen is kept driver by driver."""
    with scratch.directory() as directory:
        files = stripped(list(dict.fromkeys(path for case in todo for path in case.driver.load)), directory)
        script = project_root() / "images" / SOURCES / SCRIPT
        prepared = prepare(*choice, progress, extra_modules=SOURCES, more_files=[*files, script])
        with Prover(prepared, directory, progress) as prover:
            for limit in ROUNDS:
                due = [case for case in todo if len(case.attempts) < limit and case.is_open(resolver)]
                for number, case in enumerate(due, 1):
                    _try(prover, case, limit, f"{number} of {len(due)}", store, resolver, progress)


def _try(
    prover: Prover, case: Case, limit: int, which: str, store: Store, resolver: Resolver, progress: Progress
) -> None:
    """Attempts with one driver, up to ``limit``."""
    name = case.driver.module
    progress.stage(f"{which}: {name}")
    try:
        prover.prove(case.driver, case.attempts, limit, lambda attempts: all(case.proved(attempts, resolver)))
    finally:
        store.save(name, case.attempts)
    found = case.proved(case.attempts, resolver)
    progress.stage(f"{which}: {name}: {sum(found)} of {len(found)} proved in {len(case.attempts)} attempts")
