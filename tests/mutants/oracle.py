# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a mutant of harness/model is noticed: by the recordings of real guests first, then by the model's tests.

Each mutant has a process of its own, forked from one that has imported everything but the model.
"""

import ast
import contextlib
import functools
import importlib.abc
import importlib.util
import io
import json
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutations import Mutation, apply

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "harness" / "model"
TESTS = ROOT / "tests" / "model"
# A mutant that takes longer has an endless loop, which counts as noticed.
TIMEOUT_S = 60
MEMORY_BYTES = 4 << 30
SURVIVED, NOTICED = 0, 1
# The tests that know a module best; the others come after them. The slow ones say no more than the recordings do.
_BEST = {
    "caches": "dma",
    "device": "dma",
    "allocators": "memory",
    "layout": "memory",
    "config": "memory",
    "smbus": "i2c",
    "controllers": "i2c",
    "bus": "i2c",
    "hardware": "i2c",
    "log": "dma_debug",
    "oops": "dma_debug",
    "smbus_door": "smbus2",
}
_FILES = ("i2c", "memory", "dma", "dma_debug", "i2cdev", "smbus2", "regmap", "rules")


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

    import harness.devices.bus
    import harness.dmesg
    import harness.expectation
    import harness.outcome  # noqa: F401

    hypothesis.settings.register_profile(
        "mutants", max_examples=25, derandomize=True, database=None, deadline=None, print_blob=False
    )
    hypothesis.settings.load_profile("mutants")
    assert not any(name.startswith("harness.model") for name in sys.modules)


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
    return [*recordings, *(path for name in _FILES if (path := TESTS / f"test_model_{name}.py").exists())]


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


def notices(mutation: Mutation | Rule | None, chosen: Sequence[Path]) -> str | None:
    """By what a mutant is noticed, None if by nothing. Imports the model: only for a process of its own."""
    if mutation is not None:
        path = MODEL / mutation.file
        module = path.stem
        try:
            tree = mutation.apply() if isinstance(mutation, Rule) else apply(path.read_text(), mutation)
            sys.meta_path.insert(0, _Finder(f"harness.model.{module}", path, tree))
            importlib.import_module("harness.model")
        except BaseException:
            return "the import"
        chosen = sorted(chosen, key=lambda part: part.suffix == ".py" and part.stem != _test_of(module))
    recordings = [part for part in chosen if part.suffix == ".json"]
    tests = [part for part in chosen if part.suffix == ".py"]
    for recording in recordings:
        noticed = _replay(recording)
        if noticed is not None:
            return noticed
    return _test(tests) if tests else None


def _test_of(module: str) -> str:
    return f"test_model_{_BEST.get(module, module)}"


Reached = dict[Path, set[tuple[str, int]]]


def reach(all_parts: Sequence[Path], jobs: int) -> Reached:
    """The model's lines (file name, number) that each part of the oracle executes."""
    reached: Reached = {}
    with tempfile.TemporaryDirectory() as directory:
        waiting = list(enumerate(all_parts))
        under_way: set[int] = set()
        while waiting or under_way:
            while waiting and len(under_way) < jobs:
                number, part = waiting.pop(0)
                under_way.add(_child(functools.partial(_trace, part, Path(directory) / str(number)), timeout_s=600))
            under_way.discard(os.wait()[0])
        for number, part in enumerate(all_parts):
            file = Path(directory) / str(number)
            # Nothing known: it may reach anything.
            reached[part] = pickle.loads(file.read_bytes()) if file.exists() else set()
    return reached


def _trace(part: Path, to: Path) -> None:
    lines: set[tuple[str, int]] = set()
    base = str(MODEL)

    def called(frame, event, arg):
        if not frame.f_code.co_filename.startswith(base):
            return None
        name = frame.f_code.co_filename[len(base) + 1 :]

        def line(frame, event, arg):
            lines.add((name, frame.f_lineno))
            return line

        lines.add((name, frame.f_lineno))
        return line

    sys.settrace(called)
    if part.suffix == ".json":
        _replay(part)
    else:
        _test([part])
    sys.settrace(None)
    to.write_bytes(pickle.dumps(lines))


def chosen_parts(mutation: Mutation, reached: Reached) -> list[Path]:
    """The parts that can notice a mutation: all of them where it is outside functions."""
    if not mutation.first:
        return list(reached)
    lines = {(mutation.file, line) for line in range(mutation.first, mutation.last + 1)}
    return [part for part, seen in reached.items() if not lines.isdisjoint(seen)]


def _child(work: Callable[[], str | None], timeout_s: int = TIMEOUT_S) -> int:
    """Forks; the child ends with SURVIVED or NOTICED, or is killed for taking too long."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(timeout_s)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(SURVIVED if work() is None else NOTICED)
    except BaseException:
        os._exit(NOTICED)


def try_all(mutations: Iterable[Mutation], reached: Reached, jobs: int) -> Iterator[tuple[Mutation, bool]]:
    """(mutation, whether it was noticed) of each, as they end."""
    under_way: dict[int, Mutation] = {}
    waiting = iter(mutations)
    exhausted = False
    while under_way or not exhausted:
        while len(under_way) < jobs and not exhausted:
            mutation = next(waiting, None)
            if mutation is None:
                exhausted = True
                break
            chosen = chosen_parts(mutation, reached)
            if not chosen:
                yield mutation, False
                continue
            under_way[_child(functools.partial(notices, mutation, chosen))] = mutation
        if under_way:
            pid, status = os.wait()
            yield under_way.pop(pid), os.waitstatus_to_exitcode(status) != SURVIVED


def baseline(all_parts: Sequence[Path]) -> float:
    """Seconds that the oracle takes for the model as it is. Exits if even that is noticed."""
    started = time.monotonic()
    pid = _child(lambda: notices(None, all_parts))
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != SURVIVED:
        sys.exit("the model as it is does not pass: run 'pytest tests/model tests/conformance' and mend that first")
    return time.monotonic() - started
