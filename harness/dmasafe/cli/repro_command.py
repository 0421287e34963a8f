# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe repro``: from somebody's splat to a scenario that provokes the same class on the kernel at hand."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from dmasafe.cli.explain_command import provoking
from dmasafe.cli.options import FILES, kernel_options
from dmasafe.cli.output import Output, output_options
from dmasafe.cli.parse_command import open_log, read_all
from dmasafe.dmesg import Tally, blame, explanation
from dmasafe.outcome import Splat
from dmasafe.report.progress import ProgressDisplay
from dmasafe.scenario import parse_scenario
from dmasafe.targets.prepare import prepare
from dmasafe.targets.qemu import QemuTarget

SHOWN, NOT_SHOWN, UNKNOWN = 0, 1, 2


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


@click.command(name="repro", epilog="Example: dmasafe repro dmesg.txt --kernel ~/linux")
@click.argument("log", metavar="FILE|-", shell_complete=FILES)
@kernel_options
@output_options("table", "json")
def command(log: str, kernel_source: str, configuration: str, arch: str, accel: str | None, output: Output) -> int:
    """Find the scenarios that provoke the splats of a log, run them, say whether the kernel at hand shows them.

    Exit status: 0 every class was shown, 1 one was not, 2 nothing is known to provoke one, or the log is unreadable.
    """
    with open_log(log) as stream:
        found = read_all(stream, log, Tally())
    chosen = click.get_current_context().get_parameter_source("configuration")
    wanted = None if chosen is click.core.ParameterSource.DEFAULT else configuration
    rows = reproduce(_first_of_each_class(found), kernel_source, wanted, arch, accel)
    output.show(
        table=lambda: map(_sentence, rows) if rows else "no splat in this log",
        json=lambda: [asdict(row) for row in rows],
    )
    if any(row.shown is None for row in rows):
        return UNKNOWN
    return SHOWN if all(row.shown for row in rows) else NOT_SHOWN


def _first_of_each_class(found: Sequence[Splat]) -> list[Splat]:
    first: dict[str, Splat] = {}
    for splat in found:
        first.setdefault(splat.splat_class, splat)
    return list(first.values())


def reproduce(
    splats: Sequence[Splat], kernel_source: str, configuration: str | None, arch: str, accel: str | None
) -> list[Reproduction]:
    """Try each splat's class: the first scenario that shows it counts. Raises KernelError, TargetError."""
    rows = []
    with ProgressDisplay() as progress:
        for splat in splats:
            told = explanation(splat.splat_class)
            config = configuration or told.configuration
            candidates = provoking(told)
            if not candidates:
                why = "no scenario is known to provoke this class by itself"
                rows.append(Reproduction(splat.splat_class, None, config, None, why))
                continue
            prepared = prepare(kernel_source, config, arch, accel, progress)
            scenarios = [parse_scenario(text) for text in candidates]
            with tempfile.TemporaryDirectory(prefix="dmasafe-") as logs:
                target = QemuTarget(prepared.image, prepared.kernel, prepared.facts, Path(logs))
                run = target.run(scenarios, frozenset(), progress)
            row = None
            for scenario in scenarios:
                seen = run.observations.get(scenario.id)
                for shown in seen.splats if seen is not None else ():
                    if shown.splat_class == splat.splat_class and row is None:
                        whom = blame(shown)
                        row = Reproduction(
                            splat.splat_class, scenario.id, config, True,
                            f"Linux {prepared.kernel.release} shows it", shown.message, whom.function if whom else "",
                        )  # fmt: skip
            reasons = list(dict.fromkeys(run.untrusted.values()))
            why = reasons[0] if reasons else f"Linux {prepared.kernel.release} does not show it"
            rows.append(
                row or Reproduction(splat.splat_class, scenarios[0].id, config, None if reasons else False, why)
            )
    return rows


def _sentence(row: Reproduction) -> str:
    if row.scenario is None:
        return f"{row.splat_class}: {row.why}; 'dmasafe explain {row.splat_class}' tells more"
    config = "" if row.config == "default" else f" --config {row.config}"
    text = f"{row.splat_class}: {row.why}: dmasafe run {row.scenario}{config}"
    return text + (f"\n  {row.message}" if row.message else "")
