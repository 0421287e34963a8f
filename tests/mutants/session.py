# SPDX-License-Identifier: GPL-2.0-or-later
"""The quick way: one pytest session, collected once; a mutant is a function's code exchanged in a fork of it.

Only tests and recordings that reach the changed statement are run, quickest first. What cannot be done this way
(constants of a module, what functions did while it was imported) is UNFIT: oracle.py does it.
"""

import contextlib
import functools
import gc
import inspect
import io
import os
import pickle
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

from tests.mutants.mutations import Mutation, apply

SURVIVED, NOTICED, UNFIT = 0, 1, 2
MEMORY_BYTES = 4 << 30
# What a child may take of the processor's time at most, and for one part: so much, and some times what the part takes
# under a tracer. More is an endless loop, which counts as noticed.
_CHILD_LIMIT_S = 300
_ASLEEP_TIMES = 5
_PART_LEAST_S = 4
_PART_TIMES = 4
# What a part may take by the clock: one that waits for what never comes is noticed too.
_CLOCK_LEAST_S = 30
_CLOCK_TIMES = 20

Line = tuple[str, int]


@dataclass(frozen=True)
class Part:
    """A test or a recording; ``notices`` runs it. ``lines`` are those of the mutated files that it executes."""

    name: str
    notices: Callable[[], bool]
    lines: frozenset[Line] = frozenset()
    took_s: float = 0.0


@dataclass(frozen=True)
class Bench:
    """What mutants are tried with. ``sources`` are the mutated files', by path below ``folder``.

    ``best`` names the tests that know a file.
    """

    folder: Path
    sources: dict[str, str]
    tests: Sequence[Path]
    recordings: Callable[[], list[Part]]
    best: Callable[[str], str]
    jobs: int

    @functools.cached_property
    def codes(self) -> dict[str, dict[tuple[str, int], CodeType]]:
        return {name: _codes(compile(text, str(self.folder / name), "exec")) for name, text in self.sources.items()}


def try_all(bench: Bench, mutations: Sequence[Mutation]) -> Iterator[tuple[Mutation, int]]:
    """(mutation, SURVIVED, NOTICED or UNFIT) of each, as they end. Exits if the model as it is does not pass."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        try:
            with os.fdopen(writing, "w", buffering=1) as answers:
                _serve(bench, mutations, answers)
        finally:
            os._exit(0)
    os.close(writing)
    answered = 0
    with os.fdopen(reading) as answers:
        for line in answers:
            number, status = map(int, line.split())
            answered += 1
            yield mutations[number], status
    os.waitpid(pid, 0)
    if answered != len(mutations):
        sys.exit("what is to be mutated does not pass as it is: run its tests and correct that first")


def _serve(bench: Bench, mutations: Sequence[Mutation], answers: io.TextIOBase) -> None:
    import pytest

    tracer = _Tracer(bench)

    class Plugin:
        def pytest_runtestloop(self, session):
            parts = [*_tests(session.items), *bench.recordings()]
            sys.settrace(None)
            functions = [one for one in gc.get_objects() if isinstance(one, FunctionType)]
            gc.freeze()
            for number, status in _verdicts(bench, mutations, _traced(bench, parts), tracer.lines, functions):
                print(number, status, file=answers)
            return True

    sys.settrace(tracer)
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["-q", "-s", "--tb=no", "-p", "no:cacheprovider", *map(str, bench.tests)], plugins=[Plugin()])


def _tests(items: Iterable) -> list[Part]:
    """One part a test; those of a module that share a fixture are one."""
    groups: dict[str, list] = {}
    for item in items:
        definitions = item._fixtureinfo.name2fixturedefs.values()
        shared = any(found[-1].scope in ("class", "module", "package") for found in definitions)
        groups.setdefault(item.nodeid.split("::")[0] if shared else item.nodeid, []).append(item)
    return [Part(name, functools.partial(_fails, group)) for name, group in groups.items()]


def _fails(items: Sequence) -> bool:
    from _pytest.runner import runtestprotocol

    return any(
        report.failed
        for item, nextitem in zip(items, [*items[1:], None], strict=True)
        for report in runtestprotocol(item, log=False, nextitem=nextitem)
    )


class _Tracer:
    """For sys.settrace(): which lines in functions of the mutated files are executed."""

    def __init__(self, bench: Bench) -> None:
        self._names = {str(bench.folder / name): name for name in bench.sources}
        self.lines: set[Line] = set()

    def __call__(self, frame, event, arg):
        code = frame.f_code
        name = self._names.get(code.co_filename)
        if name is None or code.co_flags & inspect.CO_NEWLOCALS == 0:
            return None

        def line(frame, event, arg):
            self.lines.add((name, frame.f_lineno))
            return line

        return line


def _traced(bench: Bench, parts: Iterable[Part]) -> list[Part]:
    """The parts with what each reaches, quickest first; each in a process of its own, so that no cache hides a line."""

    def trace(part: Part, writing: int) -> int:
        tracer = _Tracer(bench)
        started = time.process_time()
        threading.settrace(tracer)
        sys.settrace(tracer)
        failed = part.notices()
        sys.settrace(None)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump((frozenset(tracer.lines), time.process_time() - started), pipe)
        return NOTICED if failed else SURVIVED

    done = []
    for part in parts:
        reading, writing = os.pipe()
        pid = child(lambda part=part, writing=writing: trace(part, writing))
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != SURVIVED:
            print(f"without any mutant: {part.name}", file=sys.stderr)
            return []
        done.append(Part(part.name, part.notices, *pickle.loads(told)))
    return sorted(done, key=lambda part: part.took_s)


def _verdicts(
    bench: Bench,
    mutations: Iterable[Mutation],
    parts: Sequence[Part],
    imported: set[Line],
    functions: Iterable[FunctionType],
) -> Iterator[tuple[int, int]]:
    """(number of a mutation, what came of it), as they end; none if there are no parts."""
    functions = [one for one in functions if one.__code__.co_filename.startswith(f"{bench.folder}/")]
    under_way: dict[int, int] = {}
    catches = _Catches()
    # Here, once for all children.
    assert bench.codes
    # What the import executed may have left something behind that the mutant would not have.
    unsure: set[int] = set()
    waiting = list(enumerate(mutations))[::-1] if parts else []
    while waiting or under_way:
        while waiting and len(under_way) < bench.jobs:
            number, mutation = waiting.pop()
            lines = {(mutation.file, line) for line in range(mutation.first, mutation.last + 1)}
            chosen = catches.likely_first(
                mutation, [part for part in parts if part.lines & lines], bench.best(mutation.file)
            )
            if lines & imported:
                unsure.add(number)
            if not mutation.first:
                yield number, UNFIT
            elif not chosen:
                yield number, UNFIT if number in unsure else SURVIVED
            else:
                under_way[child(lambda m=mutation, c=chosen: _try(bench, m, c, functions, catches))] = number
        if under_way:
            pid, status = os.wait()
            code = os.waitstatus_to_exitcode(status)
            number = under_way.pop(pid)
            catches.collect()
            if code == SURVIVED and number in unsure:
                code = UNFIT
            yield number, code if code in (SURVIVED, UNFIT) else NOTICED


class _Catches:
    """Which part noticed a mutant of which line: it is the likeliest to notice those of the lines around."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._lines: dict[Line, set[str]] = {}

    def tell(self, mutation: Mutation, part: Part) -> None:
        """For a child. One line is written at once."""
        os.write(self._writing, f"{mutation.file} {mutation.line} {part.name[:200]}\n".encode())

    def collect(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for told in os.read(self._reading, 1 << 16).decode().splitlines():
                file, line, name = told.split(" ", 2)
                self._lines.setdefault((file, int(line)), set()).add(name)

    def likely_first(self, mutation: Mutation, parts: Sequence[Part], best: str) -> list[Part]:
        near: dict[str, int] = {}
        for (file, line), names in self._lines.items():
            if file == mutation.file:
                for name in names:
                    near[name] = min(near.get(name, 1 << 20), abs(line - mutation.line))
        return sorted(parts, key=lambda part: (near.get(part.name[:200], 1 << 20), best not in part.name))


def _try(
    bench: Bench, mutation: Mutation, parts: Iterable[Part], functions: Iterable[FunctionType], catches: _Catches
) -> int:
    if not _exchange(bench, mutation, functions):
        return UNFIT
    for part in parts:
        signal.setitimer(signal.ITIMER_PROF, _PART_LEAST_S + _PART_TIMES * part.took_s)
        signal.setitimer(signal.ITIMER_REAL, _CLOCK_LEAST_S + _CLOCK_TIMES * part.took_s)
        if part.notices():
            catches.tell(mutation, part)
            return NOTICED
    return SURVIVED


def _exchange(bench: Bench, mutation: Mutation, functions: Iterable[FunctionType]) -> bool:
    """Gives the module's functions the mutant's code. False if that is not possible."""
    path = str(bench.folder / mutation.file)
    old = bench.codes[mutation.file]
    new = _codes(compile(apply(bench.sources[mutation.file], mutation), path, "exec"))
    changed = {key for key, code in old.items() if code != new.get(key)}
    exchanged = False
    for function in functions:
        code = function.__code__
        key = (code.co_qualname, code.co_firstlineno)
        if code.co_filename == path and key in changed:
            if key not in new or new[key].co_freevars != code.co_freevars:
                return False
            function.__code__ = new[key]
            exchanged = True
    return exchanged


def _codes(code: CodeType) -> dict[tuple[str, int], CodeType]:
    """Every code object within a module's, by qualified name and first line."""
    found = {}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found |= {(inner.co_qualname, inner.co_firstlineno): inner, **_codes(inner)}
    return found


def child(work: Callable[[], int], cpu_s: int = _CHILD_LIMIT_S) -> int:
    """Forks; the child ends with what ``work`` returns, or is killed for taking too much of the processor's time."""
    pid = os.fork()
    if pid:
        return pid
    try:
        for number in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        # For one that sleeps.
        signal.alarm(_ASLEEP_TIMES * cpu_s)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(work())
    except BaseException:
        os._exit(NOTICED)
