# SPDX-License-Identifier: GPL-2.0-or-later
"""The checker compared with a guest: C functions at random are checked, compiled into a module, and run.

A function is unsafe where the kernel reports something, an error comes back, or its device misses the buffer.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmasafe import kernel as kernels
from dmasafe import scratch
from dmasafe.audit import Level
from dmasafe.carriers import controller_of
from dmasafe.carriers.policy import DMASAFE
from dmasafe.check import CheckResult, check_files
from dmasafe.check.programs import GIVEN, SIGNATURE, Written, file_of, programs, said
from dmasafe.devices.errors import DevicesError
from dmasafe.dmesg import parse_records
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.progress import Progress
from dmasafe.targets.errors import BootLost
from dmasafe.targets.prepare import Prepared, plugged
from dmasafe.targets.shared_boot import SharedBoot

MODULE = "dmasafe_check"
#: The controllers on which a function for SPI is run: the core maps for one, the other maps by itself.
SPI_PLACES = ("bus-spi", "bus-spi-own")
BOOTS = 5
_RUN = f"/sys/kernel/debug/{MODULE}/run"
# Functions between two of the boot's own checks; and in a file, which a compiler takes as a whole.
_GROUP = 25
_FILE = 100
_BEGIN = re.compile(r"dmasafe-check: begin (\d+) (\S+) (\d+)")
_END = re.compile(r"dmasafe-check: end (-?\d+) (.+)")


@dataclass(frozen=True)
class Run:
    """One call of a function: at ``place`` ("-" where there is but one), with the number that it was ``given``."""

    place: str
    given: int
    ret: int | None
    splats: tuple[str, ...]
    trouble: str = ""

    @property
    def unsafe(self) -> bool:
        """Whether anything went wrong."""
        return bool(self.splats) or self.ret is None or self.ret < 0

    @property
    def words(self) -> str:
        """For people."""
        how = ", ".join(dict.fromkeys(self.splats)) or ("no report" if self.unsafe else "safe")
        ended = self.trouble or ("" if self.ret is None else f"returned {self.ret}")
        return f"{self.place} given {self.given}: {how}; {ended or 'did not return'}"


@dataclass(frozen=True)
class Difference:
    """A function of which checker and guest say different things, and ``why`` in words."""

    written: Written
    why: str
    results: tuple[CheckResult, ...]
    runs: tuple[Run, ...]

    @property
    def limit(self) -> str | None:
        """The name of the checker's limit that explains it, None if it is a fault of one side.

        A limit explains a warning about what is safe, and nothing else.
        """
        warned = all(result.level is Level.WARNING for result in self.results)
        return self.written.limit if warned and not any(run.unsafe for run in self.runs) else None


@dataclass(frozen=True)
class Comparison:
    """``inconclusive`` maps a function's name to why its run cannot be trusted; ``unsafe`` are those that were."""

    kernel: KernelInfo
    accel: str
    compared: int
    unsafe: int
    differences: tuple[Difference, ...]
    inconclusive: Mapping[str, str]
    boots: int
    boot_s: float

    @property
    def faults(self) -> tuple[Difference, ...]:
        """The differences that no limit explains."""
        return tuple(one for one in self.differences if one.limit is None)


def buses_of(facts: KernelFacts) -> frozenset[str]:
    """The buses that a guest with this kernel has for the functions."""
    spi = all(controller_of(place).missing(facts.has) is None for place in SPI_PLACES)
    return frozenset({"i2c", "dma", "spi"} if spi else {"i2c", "dma"})


def compare(prepared: Prepared, count: int, seed: int, logs: Path, progress: Progress) -> Comparison:
    """``count`` functions on both sides. Raises KernelError if they cannot be built, TargetError."""
    written = programs(seed, count, buses_of(prepared.facts))
    files = {
        f"programs_{number}.c": file_of(written[start : start + _FILE])
        for number, start in enumerate(range(0, len(written), _FILE))
    }
    progress.stage("checking")
    checked = check_files(list(files), Path("/nonexistent"), {name: text.encode() for name, text in files.items()})
    module = _build(prepared.build, files, written, progress)
    guest = _Guest(prepared, module, logs, progress)
    guest.run(len(written))
    by_name = said(checked.results)
    differences, compared, unsafe = [], 0, 0
    inconclusive: dict[str, str] = {}
    for number, one in enumerate(written):
        runs = guest.runs.get(number, [])
        doubt = guest.inconclusive.get(number, _incomplete(one, runs))
        if doubt is not None:
            inconclusive[one.name] = doubt
            continue
        compared += 1
        unsafe += any(run.unsafe for run in runs)
        results = by_name.get(one.name, [])
        why = difference(results, runs) or _not_as_made(one, runs)
        if why is not None:
            differences.append(Difference(one, why, tuple(results), tuple(runs)))
    return Comparison(
        prepared.kernel, prepared.image.accelerator, compared, unsafe, tuple(differences), inconclusive, guest.boots,
        guest.boot_s,
    )  # fmt: skip


def difference(results: Sequence[CheckResult], runs: Sequence[Run]) -> str | None:
    """What checker and guest disagree about, in words.

    An error says that each run is unsafe, a warning that one is, and nothing that none is.
    """
    unsafe = [run.unsafe for run in runs]
    if not results:
        return "the checker says nothing, and it is unsafe" if any(unsafe) else None
    if any(result.level is Level.ERROR for result in results):
        return None if all(unsafe) else "the checker says that it is unsafe, and it is not always"
    return None if any(unsafe) else "the checker says that it may be unsafe, and it is safe"


def _incomplete(written: Written, runs: Sequence[Run]) -> str | None:
    """Why nothing is known of a function: it must have run at each of its places, with each number."""
    wanted = len(GIVEN) * (len(SPI_PLACES) if written.bus == "spi" else 1)
    seen = len({(run.place, run.given) for run in runs})
    return None if seen == wanted else f"{seen} of its {wanted} runs were seen"


def _not_as_made(written: Written, runs: Sequence[Run]) -> str | None:
    """Where the generator itself is wrong about a function."""
    bad = {run.given for run in runs if run.unsafe}
    return None if bad == written.bad else f"it was made to be unsafe when given {sorted(written.bad) or 'nothing'}"


def _build(kernel: kernels.Kernel, files: Mapping[str, str], written: Sequence[Written], progress: Progress) -> Path:
    rows = "".join(f'\t{{ "{one.bus}", {one.name} }},\n' for one in written)
    declared = "".join(f"int {one.name}({SIGNATURE});\n" for one in written)
    table = (
        f'#include "check.h"\n\n{declared}\nconst struct check_function check_functions[] = {{\n{rows}}};\n'
        "const unsigned int check_count = ARRAY_SIZE(check_functions);\n"
    )
    with scratch.directory() as directory:
        source = directory / MODULE
        shutil.copytree(kernels.project_root() / "images" / "check", source)
        for name, text in {**files, "check_table.c": table}.items():
            (source / name).write_text(text)
        (module,) = kernels.build_modules(kernel, source, kernels.open_cache(), progress)
    return module


class _Guest:
    """Boots guests, and has them run functions; ``runs`` and ``inconclusive`` are by a function's number."""

    def __init__(self, prepared: Prepared, module: Path, logs: Path, progress: Progress) -> None:
        self._prepared = prepared
        self._image = plugged(prepared.image, SPI_PLACES, prepared.facts, progress)
        self._module = module
        self._logs = logs
        self._progress = progress
        self._next = 0
        self.boots = 0
        self.boot_s = 0.0
        self.runs: dict[int, list[Run]] = {}
        self.inconclusive: dict[int, str] = {}

    def run(self, count: int) -> None:
        """All functions, in as many boots as it takes."""
        why = ""
        while self._next < count and self.boots < BOOTS:
            try:
                self._boot(count)
            except (BootLost, DevicesError) as error:
                why = str(error)
        self.inconclusive |= dict.fromkeys(range(self._next, count), f"not reached: {why}")

    def _boot(self, count: int) -> None:
        """All that are left. Raises BootLost, DevicesError."""
        self.boots += 1
        self._progress.stage("boot" if self.boots == 1 else f"boot {self.boots}")
        directory = self._logs / f"boot-{self.boots}"
        directory.mkdir()
        shared = SharedBoot(self._image, self._prepared.kernel, self._prepared.facts, directory)
        try:
            shared.start()
            self.boot_s = self.boot_s or shared.boot.boot_s
            reason = shared.distrust()
            if reason is not None:
                raise BootLost(reason)
            path = f"/tmp/{self._module.name}"
            shared.boot.hands.append(path, self._module.read_bytes())
            shared.boot.hands.load(path, f"adapter={shared.boot.adapters[DMASAFE.name]}")
            while self._next < count:
                self._progress.stage(f"function {self._next} of {count}")
                self._group(shared, range(self._next, min(self._next + _GROUP, count)))
        finally:
            shared.end()

    def _group(self, shared: SharedBoot, numbers: range) -> None:
        """Functions with the boot's own checks behind them. Raises BootLost: the next boot goes on behind the last."""
        shared.begin(f"functions {numbers[0]} to {numbers[-1]}")
        try:
            shared.boot.hands.write(_RUN, f"{numbers[0]} {numbers[-1]}")
            shared.flush()
        except BootLost as error:
            with contextlib.suppress(BootLost):
                # Where it was only refused, for a function hangs, the log of the others is still to come.
                shared.flush()
            self._take(shared)
            reached = [number for number in numbers if number in self.runs] or [numbers[0]]
            self._next = reached[-1] + 1
            self.inconclusive |= dict.fromkeys(reached, str(error))
            raise
        self._take(shared)
        self._next = numbers[-1] + 1
        reason = shared.distrust()
        if reason is not None:
            self.inconclusive |= dict.fromkeys(numbers, reason)

    def _take(self, shared: SharedBoot) -> None:
        for number, run in runs_of(shared.records()):
            self.runs.setdefault(number, []).append(run)


def runs_of(records: Sequence[str]) -> Iterator[tuple[int, Run]]:
    """The runs that a kernel's log tells of, with their functions' numbers; the last one may lack its end."""
    number, place, given = -1, "", 0
    inside: list[str] = []
    for record in records:
        begin, end = _BEGIN.search(record), _END.search(record)
        if begin is not None:
            number, place, given, inside = int(begin[1]), begin[2], int(begin[3]), []
        elif end is not None and number >= 0:
            splats = tuple(splat.splat_class for splat in parse_records(inside))
            trouble = "" if end[2] == "-" else end[2]
            yield number, Run(place, given, None if trouble else int(end[1]), splats, trouble)
            number = -1
        else:
            inside.append(record)
    if number >= 0:
        splats = tuple(splat.splat_class for splat in parse_records(inside))
        yield number, Run(place, given, None, splats, "the guest was lost")
