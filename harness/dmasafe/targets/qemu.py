# SPDX-License-Identifier: GPL-2.0-or-later
"""Target ``qemu``: scenarios on a real kernel in QEMU, with the emulated controller and slaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from dmasafe.carriers import Where, controller_of
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.progress import Progress
from dmasafe.qemu.versions import version_text
from dmasafe.scenario import Scenario
from dmasafe.targets import untouched
from dmasafe.targets.base import TargetRun
from dmasafe.targets.boot import Boot, GuestImage
from dmasafe.targets.buses import file_systems_of
from dmasafe.targets.errors import TargetError
from dmasafe.targets.prepare import plugged
from dmasafe.targets.runner import Runner
from dmasafe.targets.session import LIMITS, Limits

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
        why = controller_of(scenario.controller).not_at(Where.GUEST)
        return untouched.cannot(scenario) if why is None and self.facts().untouched else why

    def run(self, scenarios: Sequence[Scenario], destructive: frozenset[str], progress: Progress) -> TargetRun:
        """See :class:`dmasafe.targets.base.Target`. Ctrl-C ends the run and keeps what was measured."""
        plain = replace(self.image, file_systems=file_systems_of(scenarios))
        image = self._image_for(plain, scenarios, progress)

        def boot(kmsg_log: BinaryIO, todo: Sequence[Scenario]) -> AbstractContextManager[Boot]:
            return self.boots(self._image_for(plain, todo, progress), self.log_directory, kmsg_log, self.limits)

        runner = Runner(
            boot,
            self.kernel,
            self.kernel_facts,
            self.log_directory,
            self.limits,
            accel=self.image.accelerator,
            qemu=version_text(image.machine.binary, image.machine.debian_package),
        )
        return runner.run(scenarios, destructive, self.watch(progress))

    def _image_for(self, image: GuestImage, scenarios: Sequence[Scenario], progress: Progress) -> GuestImage:
        return plugged(image, [scenario.controller for scenario in scenarios], self.kernel_facts, progress)
