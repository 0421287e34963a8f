# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe detection``: suite faults on several kernels, and the table of who noticed what."""

from __future__ import annotations

import time
from pathlib import Path

import click

from dmasafe import kernel as kernels
from dmasafe import scratch
from dmasafe.architecture import architecture_names
from dmasafe.cli import options
from dmasafe.cli.output import Output, output_options
from dmasafe.report import detection, terminal
from dmasafe.report.progress import ProgressDisplay
from dmasafe.report.results import Results, exit_status
from dmasafe.scenario import faults_suite
from dmasafe.targets.judged import run_and_judge
from dmasafe.targets.prepare import DEFAULT_ARCH, DEFAULT_CONFIGURATION, prepare
from dmasafe.targets.qemu import QemuTarget

KERNELS = (kernels.DEFAULT_SOURCE, "apt:linux-source-7.2")
CONFIGURATIONS = (DEFAULT_CONFIGURATION, "no-dma-debug", "strict", "strict-nodebug")
OUTPUT = Path("docs/detection.md")


@click.command(name="detection", epilog="Example: dmasafe detection --kernel apt:linux-source-6.1 --output -")
@click.option("--kernel", "sources", multiple=True, default=KERNELS, show_default=True, help="As for run; repeatable.")
@click.option(
    "--config",
    "configurations",
    multiple=True,
    default=CONFIGURATIONS,
    show_default=True,
    shell_complete=options.CONFIGURATIONS,
    help="Repeatable.",
)
@click.option("--arch", type=click.Choice(architecture_names()), default=DEFAULT_ARCH, show_default=True)
@click.option("--accel", metavar="NAME", help="QEMU accelerator; default: the first that proves to work.")
@output_options("markdown", "json", file=OUTPUT)
def command(
    sources: tuple[str, ...], configurations: tuple[str, ...], arch: str, accel: str | None, output: Output
) -> int:
    """Seed every fault on every kernel and configuration, and write down who notices.

    Nothing is written if one run is not as expected. Exit status: as for run, the worst of all.
    """
    runs = [_run(source, configuration, arch, accel) for source in sources for configuration in configurations]
    bad = [run for run in runs if exit_status(run)]
    for run in bad:
        terminal.print_report(run)
    if bad:
        return max(exit_status(run) for run in bad)
    output.show(markdown=lambda: detection.markdown(runs), json=lambda: [detection.to_json(run) for run in runs])
    if output.file is not None:
        click.echo(f"{output.file}: {len(runs)} runs, all as expected")
    return 0


def _run(source: str, configuration: str, arch: str, accel: str | None) -> Results:
    started = time.monotonic()
    with scratch.directory() as logs, ProgressDisplay() as progress:
        prepared = prepare(source, configuration, arch, accel, progress)
        target = QemuTarget(prepared.image, prepared.kernel, prepared.facts, logs)
        return run_and_judge(target, faults_suite(), "faults", progress, started)
