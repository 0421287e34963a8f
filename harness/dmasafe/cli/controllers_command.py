# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe controllers``: what was read (docs/controllers.md), or runs of suite hosts measured (docs/hosts.md)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from dmasafe.cli.output import Output, output_options
from dmasafe.report import json_report
from dmasafe.report.controllers import by_measurement, by_reading, each_driver, policies


@click.command(name="controllers", epilog="Examples: dmasafe controllers | dmasafe controllers out/latest/results.json")
@click.argument("results", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--lines", is_flag=True, help="Each driver with the lines at which it was read.")
@output_options("markdown", "json")
def command(results: tuple[Path, ...], lines: bool, output: Output) -> None:
    """What upstream's I2C controller drivers do with a buffer, by its length, its mark and where it lies.

    With RESULTS (results.json of runs of suite hosts) as it was measured, without as it was read in the drivers.
    """
    runs = [json_report.load(file) for file in results]
    table = by_measurement(runs) if runs else each_driver() if lines else by_reading()
    output.show(
        markdown=lambda: table, json=lambda: {name: asdict(policy) for name, (policy, _why) in policies().items()}
    )
