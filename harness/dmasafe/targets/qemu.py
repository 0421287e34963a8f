# SPDX-License-Identifier: GPL-2.0-or-later
"""Target ``qemu``: scenarios on a real kernel in QEMU, with the emulated controller and slaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
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


class QemuTarget:
    """Runs scenarios in guests booted from one image; logs go to ``log_directory``.

    ``boots`` makes each Boot and ``watch`` may stand before its progress: the seams of dmasafe.targets.sabotage.
    """

    name = "qemu"

    def __init__(
        self,
        image: GuestImage,
        kernel: KernelInfo,
        facts: KernelFacts,
        log_directory: Path,
        limits: Limits = LIMITS,
        boots: BootFactory = Boot,
        watch: Watch = lambda progress: progress,
    ) -> None:
        self._image = image
        self._kernel = kernel
        self._facts = facts
        self._log_directory = log_directory
        self._limits = limits
        self._boots = boots
        self._watch = watch

    @property
    def kernel(self) -> KernelInfo:
        return self._kernel

    def facts(self) -> KernelFacts:
        return self._facts

    def cannot(self, scenario: Scenario) -> str | None:
        return needs_board(scenario)

    def run(self, scenarios: Sequence[Scenario], destructive: frozenset[str], progress: Progress) -> TargetRun:
        """See :class:`dmasafe.targets.base.Target`. Ctrl-C ends the run and keeps what was measured."""
        buses = any(scenario.controller in BUSES for scenario in scenarios)
        image = replace(
            self._image,
            bridges=bridges_of(scenarios, self._facts),
            buses=buses,
            file_systems=file_systems_of(scenarios),
        )
        runner = Runner(
            lambda kmsg_log: self._boots(image, self._log_directory, kmsg_log, self._limits),
            self._kernel,
            self._facts,
            self._log_directory,
            self._limits,
            accel=self._image.accelerator,
        )
        return runner.run(scenarios, destructive, self._watch(progress))


def make_target(
    image: GuestImage,
    kernel: KernelInfo,
    facts: KernelFacts,
    log_directory: Path,
    limits: Limits = LIMITS,
    boots: BootFactory = Boot,
    watch: Watch = lambda progress: progress,
) -> QemuTarget:
    """A target for this image. Raises TargetError if the image's files are not there."""
    for file in (image.kernel, image.initrd):
        if not file.is_file():
            raise TargetError(f"{file} is missing: build it again with 'dmasafe kernel build'")
    return QemuTarget(image, kernel, facts, log_directory, limits, boots, watch)
