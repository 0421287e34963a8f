# SPDX-License-Identifier: GPL-2.0-or-later
"""From somebody's splat to a scenario that provokes the same class on the kernel at hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dmasafe import scratch
from dmasafe.dmesg import blame, explanation
from dmasafe.dmesg.explain import provoking
from dmasafe.kernel import NotBuilt
from dmasafe.outcome import Splat
from dmasafe.progress import Progress
from dmasafe.scenario import Scenario, parse_scenario
from dmasafe.targets.base import TargetRun
from dmasafe.targets.prepare import prepare
from dmasafe.targets.qemu import QemuTarget


@dataclass(frozen=True)
class Reproduction:
    """One class of the log: the scenario tried, and what the kernel at hand did. ``shown`` None: nothing to try."""

    splat_class: str
    scenario: str | None
    config: str
    shown: bool | None
    why: str
    message: str = ""
    blame: str = ""


def reproduce(
    splats: Iterable[Splat],
    kernel_source: str,
    configuration: str | None,
    arch: str,
    accel: str | None,
    progress: Progress,
) -> list[Reproduction]:
    """Try each class among the splats once: the first scenario that shows it counts.

    ``configuration`` None takes that of the class's explanation. Raises KernelError, TargetError.
    """
    rows = []
    for splat_class in dict.fromkeys(splat.splat_class for splat in splats):
        told = explanation(splat_class)
        config = configuration or told.configuration
        scenarios = [parse_scenario(text) for text in provoking(told)]
        if not scenarios:
            why = "no scenario is known to provoke this class by itself"
            rows.append(Reproduction(splat_class, None, config, None, why))
            continue
        try:
            prepared = prepare(kernel_source, config, arch, accel, progress)
        except NotBuilt as error:
            rows.append(Reproduction(splat_class, scenarios[0].id, config, None, str(error)))
            continue
        with scratch.directory() as logs:
            target = QemuTarget(prepared.image, prepared.kernel, prepared.facts, logs)
            run = target.run(scenarios, frozenset(), progress)
        rows.append(_compared(splat_class, config, scenarios, run))
    return rows


def _compared(splat_class: str, config: str, scenarios: Sequence[Scenario], run: TargetRun) -> Reproduction:
    linux = f"Linux {run.kernel.release}"
    for scenario in scenarios:
        seen = run.observations.get(scenario.id)
        for shown in seen.splats if seen is not None else ():
            if shown.splat_class == splat_class:
                whom = blame(shown)
                why = f"{linux} shows it"
                return Reproduction(
                    splat_class, scenario.id, config, True, why, shown.message, whom.function if whom else ""
                )
    reason = next(iter(run.untrusted.values()), None)
    why = reason or f"{linux} does not show it"
    return Reproduction(splat_class, scenarios[0].id, config, None if reason else False, why)
