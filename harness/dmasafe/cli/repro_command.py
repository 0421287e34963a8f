# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe repro``: from somebody's splat to a scenario that provokes the same class on the kernel at hand."""

from __future__ import annotations

from dataclasses import asdict

import click

from dmasafe.cli.options import FILES, kernel_options
from dmasafe.cli.output import Output, output_options
from dmasafe.dmesg import Tally
from dmasafe.dmesg.files import open_log, read_all
from dmasafe.report.progress import ProgressDisplay
from dmasafe.targets.prepare import KernelChoice
from dmasafe.targets.reproduce import Reproduction, reproduce

SHOWN, NOT_SHOWN, UNKNOWN = 0, 1, 2


@click.command(name="repro", epilog="Example: dmasafe repro dmesg.txt --kernel ~/linux")
@click.argument("log", metavar="FILE|-", shell_complete=FILES)
@kernel_options
@output_options("table", "json")
def command(log: str, kernel: KernelChoice, output: Output) -> int:
    """Find the scenarios that provoke the splats of a log, run them, say whether the kernel at hand shows them.

    Exit status: 0 every class was shown, 1 one was not, 2 nothing is known to provoke one, or the log has no splat or
    is unreadable.
    """
    with open_log(log) as stream:
        found = read_all(stream, log, Tally())
    chosen = click.get_current_context().get_parameter_source("configuration")
    wanted = None if chosen is click.core.ParameterSource.DEFAULT else kernel.configuration
    with ProgressDisplay() as progress:
        rows = reproduce(found, kernel.source, wanted, kernel.arch, kernel.accel, progress)
    output.show(
        table=lambda: map(_sentence, rows) if rows else "no splat in this log: there is nothing to reproduce",
        json=lambda: [asdict(row) for row in rows],
    )
    if not rows or any(row.shown is None for row in rows):
        return UNKNOWN
    return SHOWN if all(row.shown for row in rows) else NOT_SHOWN


def _sentence(row: Reproduction) -> str:
    if row.scenario is None:
        return f"{row.splat_class}: {row.why}; 'dmasafe explain {row.splat_class}' tells more"
    config = "" if row.config == "default" else f" --config {row.config}"
    text = f"{row.splat_class}: {row.why}: dmasafe run {row.scenario}{config}"
    return text + (f"\n  {row.message}" if row.message else "")
