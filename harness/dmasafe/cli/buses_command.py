# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe buses``: the table of docs/buses.md, as it must be or as a run of suite buses measured it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from dmasafe.architecture import REFERENCE_ARCH
from dmasafe.cli.output import Output, output_options
from dmasafe.report import json_report
from dmasafe.report.buses import expected, measured, table
from dmasafe.targets.prepare import model_kernel

KERNEL, CONFIGURATION = "apt:linux-source-7.2", "upstream"


@click.command(name="buses", epilog="Examples: dmasafe buses | dmasafe buses out/latest/results.json")
@click.argument("results", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--kernel", "source", metavar="SOURCE", default=KERNEL, show_default=True, help="Without RESULTS.")
@output_options("markdown", "json")
def command(results: Path | None, source: str, output: Output) -> None:
    """Who maps a caller's buffer, who bounces it: a table of every call on every other bus.

    With RESULTS (the results.json of a run of suite buses) as it was measured, without as the kernel's source has it.
    """
    if results is None:
        facts, _ = model_kernel(source, CONFIGURATION, REFERENCE_ARCH)
        fates = expected(facts)
    else:
        fates = measured(json_report.load(results))
    output.show(markdown=lambda: table(fates), json=lambda: {id_: asdict(fate) for id_, fate in fates.items()})
