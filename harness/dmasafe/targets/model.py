# SPDX-License-Identifier: GPL-2.0-or-later
"""Target ``model``: scenarios on the kernel's model, with the slaves of dmasafe/devices on its bus.

Like a guest it is believed only through its log: splats are what dmasafe/dmesg reads in the model's own words.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from dmasafe.carriers import Where, controller_of
from dmasafe.devices.bus import default_bus
from dmasafe.dmesg import parse_records
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.model.config import Config
from dmasafe.model.errors import Unsupported
from dmasafe.model.predict import Lab, cannot_exist
from dmasafe.outcome import Observation, Splat
from dmasafe.progress import Progress
from dmasafe.scenario import Scenario
from dmasafe.targets.base import TargetRun
from dmasafe.targets.canaries import canaries
from dmasafe.targets.interrupt import by_whom


class ModelTarget:
    """Runs scenarios on a model configured as ``facts`` say; the kernel's log goes to ``log_directory``, if given."""

    name = "model"

    def __init__(self, facts: KernelFacts, kernel: KernelInfo | None = None, log_directory: Path | None = None) -> None:
        self._facts = facts
        self._config = Config.of(facts)
        release = ".".join(str(part) for part in facts.version)
        self.kernel = kernel or KernelInfo(release, facts.arch, "model", "model")
        self._log_directory = log_directory

    def facts(self) -> KernelFacts:
        return self._facts

    def cannot(self, scenario: Scenario) -> str | None:
        if scenario.fault is not None:
            return "the model's controllers make no mistakes"
        if scenario.hardware is not None or scenario.meanwhile is not None:
            return "the model's hardware does not fail, and its drivers stay"
        return controller_of(scenario.controller).not_at(Where.MODEL)

    def run(self, scenarios: Sequence[Scenario], destructive: frozenset[str], progress: Progress) -> TargetRun:
        """See :class:`dmasafe.targets.base.Target`. Nothing is destructive here: the kernel is put back after each."""
        started = time.perf_counter()
        progress.stage("boot")
        lab = Lab(self._config, default_bus())
        boot_s = time.perf_counter() - started
        observations: dict[str, Observation] = {}
        untrusted: dict[str, str] = {}
        interrupted = None
        with self._log() as log:
            silent = self._silent_canary(lab, log)
            progress.stage("scenarios")
            try:
                for number, scenario in enumerate(scenarios, 1):
                    observations[scenario.id] = self._perform(lab, scenario, log)
                    progress.advance(number, len(scenarios), scenario.id)
            except KeyboardInterrupt as error:
                interrupted = f"interrupted by {by_whom(error)}"
        if interrupted:
            untrusted |= {s.id: f"not reached: {interrupted}" for s in scenarios if s.id not in observations}
        if silent is not None:
            untrusted |= dict.fromkeys(observations, silent)
        return TargetRun(
            kernel=self.kernel,
            accel=None,
            canary_splatted=silent is None,
            observations=observations,
            untrusted=untrusted,
            boot_s=boot_s,
            scenarios_s=time.perf_counter() - started - boot_s,
            notes=(interrupted,) if interrupted else (),
        )

    def _log(self) -> nullcontext[None] | TextIO:
        if self._log_directory is None:
            return nullcontext()
        return (self._log_directory / "kmsg.log").open("w", encoding="utf-8")

    def _silent_canary(self, lab: Lab, log: TextIO | None) -> str | None:
        """Why nothing of this kernel can be trusted, or None if each canary splatted as it must."""
        # Its drivers make no mistakes that are seeded.
        for canary in (one for one in canaries(self._facts) if one.scenario.fault is None):
            seen = {splat.splat_class for splat in self._perform(lab, canary.scenario, log).splats}
            if canary.splat_class not in seen:
                return f"the canary {canary.scenario.id} did not splat {canary.splat_class}"
        return None

    def _perform(self, lab: Lab, scenario: Scenario, log: TextIO | None) -> Observation:
        skip = cannot_exist(scenario, self._config)
        if skip is not None:
            return Observation(None, lost=skip.why)
        started = time.perf_counter()
        try:
            seen, records, _notes = lab.run(scenario)
        except Unsupported as error:
            return Observation(None, lost=f"the guest cannot do this: {error}")
        us = (time.perf_counter() - started) * 1e6
        if log is not None:
            log.writelines(f"{record}\n" for record in records)
        splats: tuple[Splat, ...] = tuple(parse_records(records)) if records else ()
        return replace(seen, splats=splats, us=us)
