# SPDX-License-Identifier: GPL-2.0-or-later
"""From candidates to verdicts: prepare the kernel and the boards, try what was not tried yet, judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from dmasafe.prove.perform import ROUNDS, SCRIPT, SOURCES, Prover, Store, stripped
from dmasafe.targets.prepare import KernelChoice, build_kernel, prepare


@dataclass(frozen=True)
class Proofs:
    """The verdicts on candidates of one kernel. ``notes``: what went wrong on the way."""

    release: str
    kernel_source: str
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()


def source_tree(kernel: kernels.Kernel) -> Path:
    """The sources that a kernel was built from."""
    return (kernel.build_dir / "source").resolve()


def prove(choice: KernelChoice, wanted: Sequence[str], progress: Progress, again: bool = False) -> Proofs:
    """Verdicts on the candidates that ``wanted`` names, or on all; ``again`` forgets what was seen before.

    Raises KernelError, QemuError, ProveError, CheckError.
    """
    kernel = build_kernel(choice.source, choice.configuration, choice.arch, progress)
    tree = source_tree(kernel)
    progress.stage("reading the sources")
    candidates = find_candidates(tree, wanted, kernels.find_cache().root / "check")
    modules = Modules([kernel.build_dir], tree)
    drivers = {each.file: modules.drivers(each.file) for each in candidates}
    store = Store.of(kernel)
    seen: dict[str, list[Attempt]] = {}
    todo: list[Driver] = []
    for driver in {driver.module: driver for found in drivers.values() for driver in found}.values():
        seen[driver.module], complete = ([], False) if again else store.load(driver.module)
        if not complete:
            todo.append(driver)
    symbols = Symbols(kernel.vmlinux, modules.paths)
    resolver = Resolver(symbols)

    def verdicts(of: Sequence[CheckResult]) -> list[Verdict]:
        found = []
        for file in dict.fromkeys(each.file for each in of):
            own = [each for each in candidates if each.file == file]
            evidence = [(d.module, a) for d in drivers[file] for a in seen.get(d.module, ())]
            found += [one for one in judge(own, evidence, resolver) if one.candidate in of]
        return found

    notes: list[str] = []
    if todo:
        _perform(choice, todo, drivers, candidates, seen, store, resolver, notes, progress)
    return Proofs(kernel.release, choice.source, tuple(verdicts(candidates)), tuple(notes))


def _perform(
    choice: KernelChoice,
    todo: Sequence[Driver],
    drivers: dict[str, list[Driver]],
    candidates: Sequence[CheckResult],
    seen: dict[str, list[Attempt]],
    store: Store,
    resolver: Resolver,
    notes: list[str],
    progress: Progress,
) -> None:
    """Try the drivers ``todo``, round by round; what was seen goes to ``seen`` and ``store``, driver by driver."""
    mine = {
        driver.module: [each for each in candidates if any(one.module == driver.module for one in drivers[each.file])]
        for driver in todo
    }
    with scratch.directory() as directory:
        files = stripped(list(dict.fromkeys(path for driver in todo for path in driver.load)), directory)
        prepared = prepare(
            *choice, progress, extra_modules=SOURCES, more_files=[*files, project_root() / "images" / SOURCES / SCRIPT]
        )
        with Prover(prepared, directory, progress) as prover:
            for limit in ROUNDS:
                todo = [
                    driver
                    for number, driver in enumerate(todo, 1)
                    if _try(prover, driver, limit, f"{number} of {len(todo)}", mine, seen, store, resolver, progress)
                ]
        notes += prover.notes


def _try(
    prover: Prover,
    driver: Driver,
    limit: int,
    which: str,
    mine: Mapping[str, Sequence[CheckResult]],
    seen: dict[str, list[Attempt]],
    store: Store,
    resolver: Resolver,
    progress: Progress,
) -> bool:
    """Attempts with one driver, up to ``limit``; whether there is more to try."""
    name, attempts = driver.module, seen[driver.module]

    def proved(attempts: Sequence[Attempt]) -> list[bool]:
        verdicts = judge(mine[name], [(name, attempt) for attempt in attempts], resolver)
        return [one.status is Status.PROVED for one in verdicts]

    progress.stage(f"{which}: {name}")
    more = prover.prove(driver, attempts, limit, lambda so_far: all(proved(so_far)))
    store.save(name, attempts, not more)
    found = proved(attempts)
    progress.stage(f"{which}: {name}: {sum(found)} of {len(found)} proved in {len(attempts)} attempts")
    return more
