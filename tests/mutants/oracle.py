# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a mutant of harness/dmasafe/model is noticed by the recordings of real guests or by the model's tests.

session.py does most of them. The others, and deliberate changes of rules, have a process each that imports the model
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
from tests.mutants.mutations import Mutation, apply
from tests.mutants.session import NOTICED, SURVIVED, UNFIT

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "harness" / "dmasafe" / "model"
TESTS = ROOT / "tests" / "model"
# A mutant that takes more of the processor's time has an endless loop, which counts as noticed.
TIMEOUT_S = 180
# The tests that know a module best (their names begin so); the others come after them.
_BEST = {
    "device": "dma",
    "layout": "memory",
    "config": "memory",
    "controllers": "i2c",
    "bus": "i2c",
    "hardware": "i2c",
    "predict": "kernel",
    "oops": "log",
    "smbus_door": "smbus2",
}
# These say no more than the recordings do.
_SLOW = ("target", "docs")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a syntax tree."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self._name, self._path, self._tree = name, path, tree

    def find_spec(self, fullname, path, target=None):
        if fullname != self._name:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=str(self._path))

    def exec_module(self, module):
        module.__file__ = str(self._path)
        exec(compile(self._tree, str(self._path), "exec"), module.__dict__)


def prepare() -> None:
    """Imports what every mutant needs, so that forking is all that each costs."""
    import hypothesis
    import pytest  # noqa: F401
    import smbus2  # noqa: F401

    import dmasafe.devices.bus
    import dmasafe.dmesg
    import dmasafe.facts
    import dmasafe.outcome
    import dmasafe.scenario  # noqa: F401

    hypothesis.settings.register_profile(
        "mutants", max_examples=25, derandomize=True, database=None, deadline=None, print_blob=False
    )
    hypothesis.settings.load_profile("mutants")
    assert not any(name.startswith("dmasafe.model") for name in sys.modules)


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

    options = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = pytest.main([*options, *map(str, files)])
    if status == 0:
        return None
    failed = [line for line in said.getvalue().splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0] if failed else "pytest"


def parts() -> list[Path]:
    """What an oracle is made of: recordings, then files of tests."""
    recordings = sorted(ROOT.glob("tests/fixtures/conformance/*.json"), key=lambda path: "6.12" not in path.name)
    tests = [path for path in sorted(TESTS.glob("test_model_*.py")) if path.stem.split("_", 2)[2] not in _SLOW]
    return [*recordings, *tests]


@dataclass(frozen=True)
class Rule:
    """A deliberate change of a text in ``file``; see rules.py."""

    file: str
    right: str
    wrong: str

    def apply(self) -> ast.Module:
        source = (MODEL / self.file).read_text()
        assert source.count(self.right) >= 1, f"{self.file} has no more '{self.right}': mend tests/mutants/rules.py"
        return ast.parse(source.replace(self.right, self.wrong, 1))

    def __str__(self) -> str:
        return f"{self.file}: '{self.right.strip()}' as '{self.wrong.strip()}'"


def try_rules(rules: Iterable[Rule], jobs: int) -> Iterator[tuple[Rule, bool]]:
    """(rule, whether the recordings alone notice that it is wrong)."""
    recordings = [part for part in parts() if part.suffix == ".json"]
    under_way: dict[int, Rule] = {}
    waiting = list(rules)
    while waiting or under_way:
        while waiting and len(under_way) < jobs:
            rule = waiting.pop(0)
            # Here, as in a child an error would pass for being noticed.
            rule.apply()
            under_way[_child(functools.partial(notices, rule, recordings))] = rule
        pid, status = os.wait()
        yield under_way.pop(pid), os.waitstatus_to_exitcode(status) != SURVIVED


def notices(mutation: Mutation | Rule, chosen: Sequence[Path], source: str = "") -> str | None:
    """By what a mutant is noticed, None if by nothing. Imports the model: only for a process of its own.

    The tests that know the module best come first, then the recordings, then the other tests.
    """
    path = MODEL / mutation.file
    module = path.stem
    try:
        tree = mutation.apply() if isinstance(mutation, Rule) else apply(source, mutation)
        sys.meta_path.insert(0, _Finder(f"dmasafe.model.{module}", path, tree))
        # Before pytest does it: its own finder would come first.
        importlib.import_module(f"dmasafe.model.{module}")
    except BaseException:
        return "the import"
    recordings = [part for part in chosen if part.suffix == ".json"]
    tests = [part for part in chosen if part.suffix == ".py"]
    best = [part for part in tests if part.stem.startswith(_test_of(module))]
    others = [part for part in tests if part not in best]
    return (
        (_test(best) if best else None)
        or next((name for path in recordings if (name := _replay(path)) is not None), None)
        or (_test(others) if others else None)
    )


def _test_of(module: str) -> str:
    return f"test_model_{_BEST.get(module, module)}"


def _child(work: Callable[[], str | None], timeout_s: int = TIMEOUT_S) -> int:
    """Forks; the child ends with SURVIVED or NOTICED, or is killed for taking too long."""
    return session.child(lambda: SURVIVED if work() is None else NOTICED, timeout_s)


def try_all(mutations: Sequence[Mutation], jobs: int) -> Iterator[tuple[Mutation, bool]]:
    """(mutation, whether it was noticed) of each, as they end: first those of the quick way."""
    sources = {name: (MODEL / name).read_text() for name in {mutation.file for mutation in mutations}}
    tests = [part for part in parts() if part.suffix == ".py"]
    bench = session.Bench(MODEL, sources, tests, _recordings, lambda file: _test_of(Path(file).stem), jobs)
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
            work = functools.partial(notices, mutation, parts(), sources[mutation.file])
            under_way[_child(work)] = mutation
        pid, status = os.wait()
        yield under_way.pop(pid), os.waitstatus_to_exitcode(status) != SURVIVED


def _recordings() -> list[session.Part]:
    import tests.conformance.recorded  # noqa: F401

    recordings = [part for part in parts() if part.suffix == ".json"]
    return [session.Part(path.name, lambda path=path: _replay(path) is not None) for path in recordings]
