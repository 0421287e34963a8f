# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe audit``: every I2C message of a running kernel, what memory its buffer is, and who sent it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from dmasafe import scratch
from dmasafe.audit import DEFAULT_BOUNCE_BYTES, Judgement, judge
from dmasafe.cli.board import board_arguments, board_options
from dmasafe.cli.options import SCENARIO_IDS, CliError, kernel_options, suite_option
from dmasafe.cli.output import Output, output_options
from dmasafe.kernel import require_modules
from dmasafe.report import audit as render
from dmasafe.report.progress import ProgressDisplay
from dmasafe.report.text import visible
from dmasafe.scenario import POLICIES, Scenario, select, suite
from dmasafe.targets.audit import DEFAULT_ROWS, SOURCES, Outcome
from dmasafe.targets.audited import DEFAULT_TIMEOUT_S, AuditTask, audit_board, audit_guest
from dmasafe.targets.open import open_board, split_target
from dmasafe.targets.prepare import KernelChoice, prepare


@click.command(
    name="audit",
    epilog="Examples: dmasafe audit --suite smoke | "
    "dmasafe audit --target local --bus 1 --seconds 60 | dmasafe audit --policy pio --module drivers/mine -- "
    "'echo mine 0x48 > /sys/bus/i2c/devices/i2c-$DMASAFE_BUS/new_device'",
)
@click.argument("words", nargs=-1, metavar="[-- COMMAND]...")
@click.option(
    "--target",
    metavar="TARGET",
    default="qemu",
    show_default=True,
    help="Where to look: qemu, local, ssh:[USER@]HOST[:PORT], serial:DEVICE[@BAUD], labgrid:PLACE.",
)
@suite_option("The workload is a named suite (QEMU only).")
@click.option(
    "--scenario",
    "patterns",
    metavar="PATTERN",
    multiple=True,
    shell_complete=SCENARIO_IDS,
    help="QEMU: the workload is what 'dmasafe run PATTERN' runs (again for more).",
)
@click.option("--seconds", metavar="N", type=click.FloatRange(min=0, min_open=True), help="Watch for so long.")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    help="Seconds that COMMAND may take.",
)
@click.option(
    "--module",
    "modules",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="QEMU: build the external module in DIR and load it first (again for more).",
)
@click.option("--policy", type=click.Choice(sorted(POLICIES)), help="What the emulated controller's driver does.")
@click.option(
    "--bounce-from",
    "bounce_bytes",
    metavar="N",
    type=click.IntRange(min=1),
    default=DEFAULT_BOUNCE_BYTES,
    show_default=True,
    help="From how many bytes on a missing mark is noted.",
)
@click.option(
    "--rows",
    metavar="N",
    type=click.IntRange(8, 65536),
    default=DEFAULT_ROWS,
    show_default=True,
    help="How many kinds of messages can be told apart.",
)
@click.option("--strict", is_flag=True, help="A note counts as a finding.")
@click.option(
    "--vmlinux",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Board: name files and lines with this kernel.",
)
@click.option(
    "--modules",
    "module_directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Board: likewise, the directory with its .ko files.",
)
@board_options
@kernel_options
@output_options("table", "json", "sarif", also={"--sarif": "sarif"})
def command(
    words: tuple[str, ...],
    target: str,
    suite_name: str | None,
    patterns: tuple[str, ...],
    seconds: float | None,
    timeout_s: float,
    modules: tuple[Path, ...],
    policy: str | None,
    bounce_bytes: int,
    rows: int,
    strict: bool,
    vmlinux: Path | None,
    module_directory: Path | None,
    kernel: KernelChoice,
    output: Output,
    **board: Any,
) -> int:
    """Watch every I2C message while COMMAND, a suite or nothing special runs: whose buffers may DMA not touch?

    The controller need not do DMA. One word of COMMAND is a line for the shell, several are a program and its
    arguments. Without COMMAND, scenarios and --seconds it watches until Ctrl-C.

    Exit status: 0 nothing found, 1 findings, 2 the audit cannot be trusted.
    """
    kind, rest = split_target(target)
    scenarios = (*(suite(suite_name) if suite_name is not None else ()), *select(patterns))
    wanted = _wanted(words, scenarios, seconds, timeout_s, modules, policy, rows, kind)
    with scratch.directory() as logs, ProgressDisplay() as progress:
        if kind == "qemu":
            prepared = prepare(*kernel, progress, extra_modules=SOURCES)
            info, outcome = prepared.kernel, audit_guest(prepared, wanted, logs, progress)
        else:
            with open_board(kind, rest, board_arguments(**board), logs, progress, SOURCES) as place:
                info, outcome = place.kernel, audit_board(place, wanted, vmlinux, module_directory, logs, progress)
    judgement = judge(outcome.record, info.release, bounce_bytes)
    facts = dataclasses.asdict(info)
    output.show(
        table=lambda: _table(outcome, judgement, strict),
        json=lambda: render.to_json(outcome.record, judgement, outcome.splats, facts, strict, outcome.status),
        sarif=lambda: render.to_sarif(judgement),
    )
    return render.status(judgement, outcome.splats, strict)


def _wanted(
    words: Sequence[str],
    scenarios: tuple[Scenario, ...],
    seconds: float | None,
    timeout_s: float,
    modules: tuple[Path, ...],
    policy: str | None,
    rows: int,
    kind: str,
) -> AuditTask:
    if (bool(words) + bool(scenarios) + (seconds is not None)) > 1:
        raise CliError("give a COMMAND, scenarios (--suite, --scenario) or --seconds: one of them")
    if kind == "model":
        raise CliError("the model has no kernel that could be audited: --target qemu, or a board")
    if kind != "qemu" and (scenarios or modules or policy):
        raise CliError("scenarios, --module and --policy are for the guest in QEMU: on a board, run what you run there")
    if scenarios and (modules or policy):
        raise CliError("scenarios say themselves what runs: --module and --policy go with a COMMAND or --seconds")
    for directory in modules:
        require_modules(directory)
    line = None
    if words:
        line = words[0] if len(words) == 1 else shlex.join(words)
    return AuditTask(line, scenarios, seconds, timeout_s, modules, policy, rows)


def _table(outcome: Outcome, judgement: Judgement, strict: bool) -> Iterator[Text | Table]:
    if outcome.output:
        yield Text(visible(outcome.output.rstrip("\n")))
    yield render.table(outcome.record, judgement)
    yield from render.lines(outcome.record, judgement, outcome.splats, strict)
