# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe prove``: what the check suspects of upstream's drivers, shown by a boot or not."""

from __future__ import annotations

import click

from dmasafe.cli.options import kernel_options
from dmasafe.cli.output import Output, output_options
from dmasafe.prove import page
from dmasafe.prove.run import prove
from dmasafe.report.progress import ProgressDisplay
from dmasafe.targets.interrupt import interrupt_once
from dmasafe.targets.prepare import KernelChoice

DEFAULTS = {"configuration": "probes", "kernel_source": "apt:linux-source-7.3"}


@click.command(
    name="prove",
    context_settings={"default_map": DEFAULTS},
    epilog="Examples: dmasafe prove drivers/hwmon/max31722.c | dmasafe prove drivers/iio/dac/mcp4821.c:112 | "
    "dmasafe prove check.sarif --format json | dmasafe prove --all --format markdown",
)
@click.argument("wanted", nargs=-1, metavar="[FILE[:LINE]|RESULT]...")
@click.option("--all", "everything", is_flag=True, help="Every candidate in the kernel's drivers.")
@click.option("--again", is_flag=True, help="Boot again, and judge only what is seen then.")
@click.option("--kept", is_flag=True, help="Boot nothing: judge what was seen before.")
@kernel_options
@output_options("table", "json", "sarif", "markdown", also={"--json": "json"})
def command(
    wanted: tuple[str, ...], everything: bool, again: bool, kept: bool, kernel: KernelChoice, output: Output
) -> int:
    """Put SPI client drivers on emulated boards, and see whether the kernel reports what the check suspects.

    FILE is a source file of the kernel's, RESULT what 'dmasafe check' wrote as JSON or SARIF. A run that was
    interrupted goes on where it was.

    Exit status: 0 nothing proved, 1 something proved, 2 not all was tried, or nothing was reached.
    """
    if everything == bool(wanted):
        raise click.UsageError("name files, places or results of the check, or say --all")
    if again and kept:
        raise click.UsageError("--again leaves out what --kept judges")
    with interrupt_once(), ProgressDisplay() as progress:
        proofs = prove(kernel, wanted, progress, again, kept)
    output.show(
        table=lambda: page.table(proofs),
        json=lambda: page.to_json(proofs),
        sarif=lambda: page.to_sarif(proofs),
        markdown=lambda: page.to_markdown(proofs),
    )
    return proofs.exit_status
