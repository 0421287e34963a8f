# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a mutant is noticed by the recordings of real guests or by the tests of its group.

session.py does most of them. The others, and deliberate changes of rules, have a process each that imports the package
anew, forked from one that has imported everything else.
"""

import ast
import contextlib
import functools
import importlib.abc
import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants import session
from tests.mutants.groups import PACKAGE, Group
from tests.mutants.mutations import Mutation, apply
from tests.mutants.session import NOTICED, SURVIVED, UNFIT

# A mutant that takes more of the processor's time has an endless loop, which counts as noticed.
TIMEOUT_S = 180
# One test of such a process, by the clock.
TEST_TIMEOUT_S = 60


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a syntax tree."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self._name, self._path, self._tree = name, path, tree

    def find_spec(self, fullname, path, target=None):
        if fullname != self._name:
            return None
        package = self._path.name == "__init__.py"
        spec = importlib.util.spec_from_loader(fullname, self, origin=str(self._path), is_package=package)
        if package:
            spec.submodule_search_locations.append(str(self._path.parent))
        return spec

    def exec_module(self, module):
        module.__file__ = str(self._path)
        exec(compile(self._tree, str(self._path), "exec"), module.__dict__)


def _module(file: str) -> str:
    """The module's name of a file below harness/dmasafe."""
    return ".".join(("dmasafe", *Path(file).with_suffix("").parts)).removesuffix(".__init__")


def prepare(group: Group) -> None:
    """Imports what every mutant needs, so that forking is all that each costs."""
    for name in group.imports:
        importlib.import_module(name)
    import hypothesis

    hypothesis.settings.register_profile(
        "mutants", max_examples=25, derandomize=True, database=None, deadline=None, print_blob=False
    )
    hypothesis.settings.load_profile("mutants")
    early = {_module(file) for file in group.mutated()} & sys.modules.keys()
    assert not early, (
        f"tests/mutants/groups.py: {group.name} has {', '.join(sorted(early))} imported before the mutants"
    )


def _replay(path: Path) -> str | None:
    """By which scenario of a recording the model is caught."""
    from tests.conformance.recorded import replay

    try:
        for id_, _model, _guest in replay(json.loads(path.read_text())):
            return f"{path.stem}: {id_}"
    except BaseException as error:
        return f"{path.stem}: {type(error).__name__}"
    return None


def _test(files: Sequence[Path]) -> str | None:
    """By which test."""
    import pytest

    options = [
        "-x",
        "-q",
        "--no-header",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "-o",
        f"timeout={TEST_TIMEOUT_S}",
    ]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = pytest.main([*options, *map(str, files)])
    if status == 0:
        return None
    failed = [line for line in said.getvalue().splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0] if failed else "pytest"


@dataclass(frozen=True)
class Rule:
    """A deliberate change of a text in ``file``; see rules.py."""

    file: str
    right: str
    wrong: str

    def apply(self) -> ast.Module:
        source = (PACKAGE / self.file).read_text()
        assert source.count(self.right) >= 1, f"{self.file} has no more '{self.right}': mend tests/mutants/rules.py"
        return ast.parse(source.replace(self.right, self.wrong, 1))

    def __str__(self) -> str:
        return f"{self.file}: '{self.right.strip()}' as '{self.wrong.strip()}'"


def try_rules(group: Group, rules: Iterable[Rule], jobs: int) -> Iterator[tuple[Rule, bool]]:
    """(rule, whether the recordings alone notice that it is wrong)."""
    under_way: dict[int, Rule] = {}
    waiting = list(rules)
    while waiting or under_way:
        while waiting and len(under_way) < jobs:
            rule = waiting.pop(0)
            # Here, as in a child an error would pass for being noticed.
            rule.apply()
            under_way[_child(functools.partial(notices, group, rule, tests=()))] = rule
        pid, status = os.wait()
        yield under_way.pop(pid), os.waitstatus_to_exitcode(status) != SURVIVED


def notices(group: Group, mutation: Mutation | Rule, source: str = "", tests: Sequence[Path] = ()) -> str | None:
    """By what a mutant is noticed, None if by nothing. Imports the package: only for a process of its own.

    The tests that know the module best come first, then the recordings, then the other tests.
    """
    name = _module(mutation.file)
    try:
        tree = mutation.apply() if isinstance(mutation, Rule) else apply(source, mutation)
        sys.meta_path.insert(0, _Finder(name, PACKAGE / mutation.file, tree))
        # Before pytest does it: its own finder would come first.
        importlib.import_module(name)
    except BaseException:
        return "the import"
    best = [path for path in tests if group.best_for(mutation.file) in path.name]
    others = [path for path in tests if path not in best]
    return (
        (_test(best) if best else None)
        or next((name for path in group.recorded() if (name := _replay(path)) is not None), None)
        or (_test(others) if others else None)
    )


def _child(work: Callable[[], str | None], timeout_s: int = TIMEOUT_S) -> int:
    """Forks; the child ends with SURVIVED or NOTICED, or is killed for taking too long."""
    return session.child(lambda: SURVIVED if work() is None else NOTICED, timeout_s)


def try_all(group: Group, mutations: Sequence[Mutation], jobs: int) -> Iterator[tuple[Mutation, bool]]:
    """(mutation, whether it was noticed) of each, as they end: first those of the quick way."""
    sources = {name: (PACKAGE / name).read_text() for name in {mutation.file for mutation in mutations}}
    tests = group.tested_by()
    bench = session.Bench(PACKAGE, sources, tests, functools.partial(_recordings, group), group.best_for, jobs)
    unfit = []
    for mutation, status in session.try_all(bench, mutations):
        if status == UNFIT:
            unfit.append(mutation)
        else:
            yield mutation, status != SURVIVED
    under_way: dict[int, Mutation] = {}
    while under_way or unfit:
        while unfit and len(under_way) < jobs:
            mutation = unfit.pop()
            work = functools.partial(notices, group, mutation, sources[mutation.file], tests)
            under_way[_child(work)] = mutation
        pid, status = os.wait()
        yield under_way.pop(pid), os.waitstatus_to_exitcode(status) != SURVIVED


def _recordings(group: Group) -> list[session.Part]:
    if not group.recordings:
        return []
    import tests.conformance.recorded  # noqa: F401

    return [session.Part(path.name, lambda path=path: _replay(path) is not None) for path in group.recorded()]
