# SPDX-License-Identifier: GPL-2.0-or-later
"""What is mutated, and which tests must notice it: one row a group. A pattern that finds nothing is an error.

No test of these boots a guest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "harness" / "dmasafe"


@dataclass(frozen=True)
class Group:
    """``files`` are patterns below harness/dmasafe, ``tests`` and ``recordings`` below tests, but those in ``without``.

    At least ``wanted_percent`` of the mutants must be noticed. ``imports`` are modules that every mutant needs and that
    import none of the files. ``best`` names the tests that know a file best: a piece of their path for a file, where
    that is not the file's own name.
    """

    name: str
    what: str
    files: tuple[str, ...]
    tests: tuple[str, ...]
    wanted_percent: float
    recordings: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    best: Mapping[str, str] = field(default_factory=dict)

    def mutated(self) -> list[str]:
        """The files, as their paths below harness/dmasafe."""
        return [str(path.relative_to(PACKAGE)) for path in _found(PACKAGE, self.files)]

    def tested_by(self) -> list[Path]:
        """The files of tests."""
        without = set(_found(ROOT / "tests", self.without))
        return [path for path in _found(ROOT / "tests", self.tests) if path not in without]

    def recorded(self) -> list[Path]:
        """Recordings of real guests, those of Linux 6.12 first."""
        return sorted(_found(ROOT / "tests", self.recordings), key=lambda path: "6.12" not in path.name)

    def best_for(self, file: str) -> str:
        """A piece of the path of the tests that know a file best."""
        return self.best.get(file, Path(file).stem)


_THIRD_PARTY = ("hypothesis", "pytest")
GROUPS = {
    group.name: group
    for group in (
        Group(
            "model",
            "the model of the kernel",
            files=("model/*.py",),
            tests=("model/test_model_*.py",),
            # These say no more than the recordings do.
            without=("model/test_model_target.py", "model/test_model_docs.py"),
            recordings=("fixtures/conformance/*.json",),
            wanted_percent=90.0,
            imports=(
                *_THIRD_PARTY,
                "smbus2",
                "dmasafe.devices.bus",
                "dmasafe.dmesg",
                "dmasafe.outcome",
                "dmasafe.scenario",
            ),
            best={
                "model/device.py": "model_dma",
                "model/layout.py": "model_memory",
                "model/config.py": "model_memory",
                "model/controllers.py": "model_i2c",
                "model/bus.py": "model_i2c",
                "model/hardware.py": "model_i2c",
                "model/predict.py": "model_kernel",
                "model/oops.py": "model_log",
                "model/smbus_door.py": "model_smbus2",
            },
        ),
        Group(
            "verdict",
            "what decides a verdict: from the agent's lines and the device's trace to the exit status",
            files=(
                "outcome.py",
                "expect/*.py",
                "carriers/board.py",
                "carriers/controller.py",
                "carriers/on_board.py",
                "carriers/other_bus.py",
                "targets/canaries.py",
                "targets/runner.py",
                "targets/session.py",
                "targets/gathered.py",
                "targets/wire.py",
                "targets/boot.py",
                "targets/board_session.py",
                "targets/judged.py",
                "targets/untouched.py",
                "report/results.py",
            ),
            tests=(
                "unit/test_outcome.py",
                "unit/expect/test_*.py",
                "unit/carriers/test_*.py",
                "unit/targets/test_*.py",
                "unit/report/test_report_results.py",
            ),
            wanted_percent=95.0,
            imports=(*_THIRD_PARTY, "pexpect", "paramiko"),
            best={"expect/__init__.py": "test_expect.py"},
        ),
    )
}


def _found(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    found: dict[Path, None] = {}
    for pattern in patterns:
        paths = sorted(folder.glob(pattern))
        if not paths:
            raise FileNotFoundError(f"tests/mutants/groups.py: nothing is at {folder.relative_to(ROOT)}/{pattern}")
        found |= dict.fromkeys(paths)
    return list(found)
