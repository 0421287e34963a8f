# SPDX-License-Identifier: GPL-2.0-or-later
"""What the source says: C files in, buffers out that DMA must not touch and that go where it may.

names, a base  -> Tree -> FileFacts -> Program (fixpoint) -> CheckResult
                 tree.py  extract.py    flow.py              judge.py
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dmasafe.audit import Level
from dmasafe.check.changes import Change, change_of
from dmasafe.check.judge import CHECK_RULES, CheckResult, Step, judge
from dmasafe.check.tree import CheckError, Tree, c_files, cache_name, kernel_root, release

__all__ = [
    "CHECK_RULES",
    "Change",
    "CheckError",
    "CheckResult",
    "Checked",
    "Step",
    "brought",
    "check_change",
    "check_contents",
    "check_files",
    "check_paths",
]


@dataclass(frozen=True)
class Checked:
    """A check's results, and what it took. ``skipped``: files that were too large to be read.

    ``release`` of the kernel whose tree it is, "" if that is not known.
    """

    results: tuple[CheckResult, ...]
    files: int
    pieces: int
    skipped: tuple[str, ...]
    release: str = ""


def check_paths(paths: Iterable[Path], base: Path, cache: Path | None = None, kdir: Path | None = None) -> Checked:
    """Check all C files at or below ``paths``. Results name them relative to ``base``. Raises CheckError.

    ``cache``: a directory in which facts are kept for the next time. ``kdir``: a build that decides what is precise.
    """
    names = list(dict.fromkeys(os.path.relpath(file, base) for path in paths for file in c_files(path)))
    return check_files(names, base, {}, cache, kdir)


def check_files(
    names: list[str], base: Path, given: Mapping[str, bytes], cache: Path | None = None, kdir: Path | None = None
) -> Checked:
    """Check the files ``names``, relative to ``base``; ``given`` has contents of files that differ from the disk's."""
    places = ((base / name).resolve().parent for name in names[:1])
    tree = Tree(names, base, next((found for place in places if (found := kernel_root(place))), None), given)
    kept = None
    if cache is not None and len(names) > 1:
        kept = cache / f"{cache_name(str(base.resolve()), names)}.msgpack"
        tree.load(kept)
    program = tree.solve()
    wanted = set(names)
    kernel = release(tree.root)
    results = [result for result in judge(program, kernel) if result.file in wanted]
    if kdir is not None:
        from dmasafe.check.precise import decide

        results = decide(tree, results, kdir, kernel)
    results = _with_code(tree, results)
    if kept is not None:
        tree.save(kept)
    return Checked(tuple(results), len(names), tree.pieces, tuple(tree.skipped), kernel)


def check_change(what: str, base: Path) -> Checked:
    """What the change since revision ``what``, or of the patch ``what``, brings. Raises CheckError."""
    return check_contents(change_of(what, base), base)


def check_contents(change: Change, base: Path) -> Checked:
    """What a change brings: old results are left out. All files in the directories of those that change are read."""
    directories = {(base / name).parent for name in (*change.before, *change.after)}
    beside = [
        str(one.relative_to(base))
        for directory in sorted(directories)
        if directory.is_dir()
        for one in sorted(directory.iterdir())
        if one.suffix in (".c", ".h") and one.is_file()
    ]

    def checked(contents: Mapping[str, bytes], gone: Mapping[str, bytes]) -> Checked:
        names = [name for name in dict.fromkeys([*beside, *contents]) if name in contents or name not in gone]
        return check_files(names, base, contents)

    old = checked(change.before, change.after)
    after = checked(change.after, change.before)
    return replace(after, results=brought(after.results, old.results))


def brought(results: Iterable[CheckResult], known: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
    """Those of ``results`` that are not among ``known``, wherever their lines went to, or are worse than there."""
    old = Counter((result.fingerprint, result.level) for result in known)
    levels = list(Level)
    fresh = []
    for result in results:
        # The least of those that were as bad: a worse one is left for a worse result.
        as_bad = reversed(levels[: levels.index(result.level) + 1])
        same = next((key for level in as_bad if old[key := (result.fingerprint, level)] > 0), None)
        if same is None:
            fresh.append(result)
        else:
            old[same] -= 1
    return tuple(fresh)


def _with_code(tree: Tree, results: list[CheckResult]) -> list[CheckResult]:
    """The results with the lines of code that their steps are at."""
    lines: dict[str, list[str]] = {}
    for file in {step.file for result in results for step in result.steps}:
        lines[file] = tree.data(file).decode(errors="replace").split("\n")

    def code(step: Step) -> str:
        found = lines[step.file]
        return found[step.line - 1].strip() if 0 < step.line <= len(found) else ""

    return [replace(result, steps=tuple(replace(step, code=code(step)) for step in result.steps)) for result in results]
