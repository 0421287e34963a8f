# SPDX-License-Identifier: GPL-2.0-or-later
"""Target ``qemu``: scenarios on a real kernel in QEMU, with the emulated controller and slaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from dmasafe.buses import BUSES
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.progress import Progress
from dmasafe.scenario import Scenario
from dmasafe.targets.base import TargetRun, needs_board
from dmasafe.targets.boot import Boot, GuestImage
from dmasafe.targets.buses import file_systems_of
from dmasafe.targets.errors import TargetError
from dmasafe.targets.runner import Runner
from dmasafe.targets.session import LIMITS, Limits
from dmasafe.targets.usb import bridges_of

BootFactory = Callable[[GuestImage, Path, BinaryIO, Limits], AbstractContextManager[Boot]]
Watch = Callable[[Progress], Progress]


@dataclass(frozen=True)
class QemuTarget:
    """Runs scenarios in guests booted from one image; logs go to ``log_directory``.

    ``boots`` makes each Boot and ``watch`` may stand before its progress: the seams of dmasafe.targets.sabotage.
    Raises TargetError if the image's files are not there.
    """

    image: GuestImage
    kernel: KernelInfo
    kernel_facts: KernelFacts
    log_directory: Path
    limits: Limits = LIMITS
    boots: BootFactory = Boot
    watch: Watch = lambda progress: progress
    name = "qemu"

    def __post_init__(self) -> None:
        for file in (self.image.kernel, self.image.initrd):
            if not file.is_file():
                raise TargetError(f"{file} is missing: build it again with 'dmasafe kernel build'")

    def facts(self) -> KernelFacts:
        return self.kernel_facts

    def cannot(self, scenario: Scenario) -> str | None:
        return needs_board(scenario)

    def run(self, scenarios: Sequence[Scenario], destructive: frozenset[str], progress: Progress) -> TargetRun:
        """See :class:`dmasafe.targets.base.Target`. Ctrl-C ends the run and keeps what was measured."""
        buses = any(scenario.controller in BUSES for scenario in scenarios)
        image = replace(
            self.image,
            bridges=bridges_of(scenarios, self.kernel_facts),
            buses=buses,
            file_systems=file_systems_of(scenarios),
        )
        runner = Runner(
            lambda kmsg_log: self.boots(image, self.log_directory, kmsg_log, self.limits),
            self.kernel,
            self.kernel_facts,
            self.log_directory,
            self.limits,
            accel=self.image.accelerator,
        )
        return runner.run(scenarios, destructive, self.watch(progress))
