# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe run``: scenarios to verdicts. Prepares the target, runs, judges, reports."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dmasafe import scratch
from dmasafe.carriers.own import OWN
from dmasafe.cli.board import board_arguments, board_options
from dmasafe.cli.options import SCENARIO_IDS, CliError, kernel_options, qemu_option, suite_option
from dmasafe.cli.output import Output, output_options, results_option
from dmasafe.cli.results import RESULT_FORMATS, conclude, show_results
from dmasafe.report import directory, resume
from dmasafe.report.progress import ProgressDisplay
from dmasafe.report.results import exit_status
from dmasafe.scenario import Scenario, ScenarioError, select, suite
from dmasafe.targets import journal
from dmasafe.targets.boot import CONSOLE_LOG
from dmasafe.targets.interrupt import interrupt_once
from dmasafe.targets.judged import run_and_judge
from dmasafe.targets.open import BoardArguments, open_target, split_target
from dmasafe.targets.own import VIRTIO_I2C, own_suite
from dmasafe.targets.prepare import KernelChoice
from dmasafe.targets.session import KMSG_LOG

DEFAULT_SUITE = "core"
DEFAULT_TARGET = "qemu"


@click.command(
    name="run",
    epilog="Examples: dmasafe run --suite smoke | dmasafe run --target model 'stack/*/dmasafe:bounce/8' | "
    "dmasafe run --target ssh:root@board --kdir ~/src/linux --strict | dmasafe run --resume out/latest",
)
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...", shell_complete=SCENARIO_IDS)
@click.option(
    "--target",
    metavar="TARGET",
    help="Where to run: qemu (default), model, local, ssh:[USER@]HOST[:PORT], serial:DEVICE[@BAUD], labgrid:PLACE.",
)
@click.option(
    "--resume",
    "resumed",
    metavar="DIR|FILE",
    type=click.Path(path_type=Path),
    help="Run again what a results.json (or the one in DIR) left INCONCLUSIVE, and merge.",
)
@suite_option("Run a named suite (see 'dmasafe list').")
@results_option
@click.option(
    "--controller",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Build and load the controller driver in DIR, and run the scenarios on its adapter (docs/pci.md).",
)
@click.option(
    "--device",
    metavar="IDS|FILE.py:CLASS",
    default=VIRTIO_I2C,
    show_default=True,
    help="Its PCI function: one of the guest's, or a PciFunction of yours.",
)
@click.option(
    "--policy",
    type=click.Choice(OWN.policies),
    help="What it promises to do with buffers (see 'dmasafe list'); default: bounce.",
)
@click.option("--sabotage", metavar="NAME", hidden=True, help="Wreck the run from inside (dmasafe selftest).")
@click.option("--strict", is_flag=True, help="Board: with DMA operations that punish what DMA must not rely on.")
@board_options
@qemu_option
@kernel_options
@output_options(*RESULT_FORMATS, also={"--json": "json", "--detection": "markdown"})
def command(
    scenarios: tuple[str, ...],
    target: str | None,
    resumed: Path | None,
    suite_name: str | None,
    out: Path,
    controller: Path | None,
    device: str,
    policy: str | None,
    sabotage: str | None,
    qemu_arguments: tuple[str, ...],
    kernel: KernelChoice,
    output: Output,
    **board: Any,
) -> int:
    """Run scenarios (ids or shell patterns) or a suite, print the verdicts, leave results below DIR/latest.

    The format markdown is the table of who noticed which seeded fault.

    Exit status: 0 all as expected, 1 a FAIL, 2 INCONCLUSIVE or ERROR.
    """
    started = time.monotonic()
    arguments = board_arguments(**board)
    # First: it may be the run to resume.
    for said in journal.save_killed():
        click.echo(f"dmasafe: {said}", err=True)
    earlier = None if resumed is None else resume.load(resumed)
    if earlier is not None and (scenarios or suite_name):
        raise CliError("--resume runs what the earlier run left open: name no scenarios and no suite beside it")
    kind, rest = split_target(target or (earlier.target if earlier is not None else DEFAULT_TARGET))
    if controller is None and (policy is not None or device != VIRTIO_I2C):
        raise CliError("--device and --policy are about the driver of --controller DIR: name that, too")
    if earlier is not None:
        wanted = resume.left_open(earlier)
    elif controller is not None:
        wanted = own_suite(suite_name or DEFAULT_SUITE, policy or OWN.policies[0], scenarios)
    else:
        wanted = _wanted(scenarios, suite_name, arguments)
    if earlier is not None and not wanted:
        click.echo(
            f"nothing to resume: {resumed} has a verdict for each of its {len(earlier.rows)} scenarios", err=True
        )
        show_results(output, earlier, None)
        return exit_status(earlier)
    directory.prepare(out)
    own = None if controller is None else (controller, device)
    name = earlier.suite if earlier is not None else suite_name or ("selection" if scenarios else DEFAULT_SUITE)
    with interrupt_once(), scratch.directory() as logs:
        with (
            ProgressDisplay() as progress,
            open_target(kind, rest, kernel, arguments, logs, progress, sabotage, qemu_arguments, own) as place,
        ):
            if earlier is not None:
                # Before anything is run.
                resume.require_same_kernel(earlier.kernel, place.kernel)
            journal.begin(logs, out, place, wanted, name)
            results = run_and_judge(place, wanted, name, progress, started)
        if earlier is not None and resumed is not None:
            results = resume.merge(earlier, results, resumed)
        return conclude(results, out, logs / CONSOLE_LOG, logs / KMSG_LOG, output)


def _wanted(scenarios: Sequence[str], suite_name: str | None, arguments: BoardArguments) -> list[Scenario]:
    if scenarios and suite_name:
        raise ScenarioError("name scenarios or a suite, not both")
    return select(scenarios) if scenarios else suite(suite_name or DEFAULT_SUITE, arguments.addresses)
