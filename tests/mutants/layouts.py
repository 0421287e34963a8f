# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutation testing of where architectures keep their memory: ``python -m tests.mutants.layouts [NAME ...]``.

Each value of ``[memory]`` in kernel-configs/arch/NAME.toml is made a little wrong, and must be noticed by the
recordings of that architecture's guests or by tests of the model, if there is no reason in EQUIVALENT why nobody can.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from dmasafe import architecture
from tests.conformance.recorded import recordings, replay
from tests.mutants.session import NOTICED, SURVIVED, child

ROOT = Path(__file__).parents[2]
TESTS = [
    ROOT / "tests" / "model" / f"test_model_{name}.py"
    for name in ("memory", "allocators", "dma_direct", "dma_debug", "dma_debug_entries")
]
TESTS += [ROOT / "tests" / "unit" / name for name in ("expect/test_expect_faults.py", "qemu/test_machines.py")]
JOBS = 2
CPU_S = 120
_PAGE = 0x1000
# (architecture, key): why nobody can notice.
EQUIVALENT = {
    **{(arch, "linear_start"): "the linear map begins above it" for arch in ("arm", "i386", "x86_64")},
    **{(arch, "linear_end"): "there are no addresses of more than 32 bits" for arch in ("arm", "i386")},
    ("i386", "valid_end"): "there are no addresses of more than 32 bits",
    ("riscv64", "valid_end"): "there are no addresses of more than 64 bits",
    **{(arch, "section_bytes"): "memory is flat, and of whole MiB" for arch in ("arm", "i386")},
    ("arm64", "valid_end"): "__pa() of what lies behind is nobody's memory",
    ("arm64", "modules_end"): "vmalloc space begins there",
}


class Mutant(NamedTuple):
    """``key`` of an architecture has the value ``wrong``."""

    arch: str
    key: str
    wrong: object

    def apply(self) -> None:
        right = architecture.read_architecture

        def read(name: str, directory: Path | None = None) -> architecture.ArchitectureFile:
            file = right(name, directory)
            return replace(file, memory={**file.memory, self.key: self.wrong}) if name == self.arch else file

        architecture.read_architecture = read


def mutants(names: list[str]) -> Iterator[Mutant]:
    for name in names:
        for key, value in architecture.read_architecture(name).memory.items():
            yield Mutant(name, key, _wrong(value))


def _wrong(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        # Sizes are powers of two; an address is wrong by a page.
        return 2 * value if value & (value - 1) == 0 and value else value + (_PAGE if value >= _PAGE else 1)
    assert isinstance(value, list)
    return [*value[:-1], _wrong(value[-1])]


def notices(mutant: Mutant) -> int:
    """In a process of its own."""
    mutant.apply()
    recorded = [json.loads(path.read_text()) for path in recordings()]
    if any(next(replay(one), None) for one in recorded if one["kernel"]["arch"] == mutant.arch):
        return NOTICED
    status = pytest.main(["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", *map(str, TESTS)])
    return SURVIVED if status == 0 else NOTICED


def main(names: list[str]) -> int:
    """Try them all, JOBS at a time."""
    waiting = list(mutants(names or list(architecture.architecture_names())))
    total, survivors = len(waiting), []
    under_way: dict[int, Mutant] = {}
    while waiting or under_way:
        while waiting and len(under_way) < JOBS:
            mutant = waiting.pop(0)
            under_way[child(lambda mutant=mutant: notices(mutant), CPU_S)] = mutant
        pid, status = os.wait()
        mutant = under_way.pop(pid)
        if os.waitstatus_to_exitcode(status) == SURVIVED and mutant[:2] not in EQUIVALENT:
            survivors.append(mutant)
            print(f"survived: {mutant.arch}.toml: memory.{mutant.key} = {mutant.wrong}", flush=True)
    print(f"{total - len(survivors)} of {total} wrong values in [memory] noticed")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
