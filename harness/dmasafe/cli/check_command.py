# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe check``: buffers in the source that DMA must not touch, and that go where it may."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from dmasafe.audit import Level
from dmasafe.check import Checked, CheckError, CheckResult, brought, check_change, check_files, check_paths
from dmasafe.cli.output import Output, output_options
from dmasafe.places import cache_root
from dmasafe.report import check as render
from dmasafe.report.text import one_line

FOUND = 1
STDIN = "-"


@click.command(
    name="check",
    epilog="Examples: dmasafe check drivers/iio | dmasafe check --format lines drivers/hwmon/max31722.c | "
    "dmasafe check --diff HEAD~3 | dmasafe check --diff series.mbox",
)
@click.argument("paths", nargs=-1, metavar="[FILE|DIR|-]...", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--diff", "change", metavar="REV|PATCH", help="Only what a change brings: since REV, or of the patch.")
@click.option(
    "--baseline", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
    help="Leave out what is in FILE, an earlier run's JSON.",
)  # fmt: skip
@click.option(
    "--precise", "kdir", metavar="KDIR", type=click.Path(path_type=Path, file_okay=False),
    help="Let the kernel that was built in KDIR decide what macros and types mean (needs libclang).",
)  # fmt: skip
@click.option("--notes", is_flag=True, help="Show notes too: what harms nobody by itself.")
@click.option("--no-cache", is_flag=True, help="Read all files again.")
@output_options("table", "lines", "json", "sarif", "markdown")
def command(
    paths: tuple[Path, ...],
    change: str | None,
    baseline: Path | None,
    kdir: Path | None,
    notes: bool,
    no_cache: bool,
    output: Output,
) -> int:
    """Check C files of the kernel's, without a build: does a buffer on the stack, or another unsafe one, go to DMA?

    Every branch of #if is read. Of results of earlier checks (FILE.json) the counts stand side by side with
    --format markdown. A warning is what is not certain on every path. Notes do not count.

    Exit status: 0 nothing found, 1 found, 2 something cannot be read.
    """
    here = Path.cwd()
    if change is not None and paths:
        raise click.UsageError("--diff names the files by itself")
    if kdir is not None and (change is not None or paths == (Path(STDIN),)):
        raise click.UsageError("--precise is for files: name them")
    if change is not None:
        checked = [check_change(change, here)]
    elif paths == (Path(STDIN),):
        checked = [check_files([STDIN], here, {STDIN: sys.stdin.buffer.read()})]
    elif Path(STDIN) in paths:
        raise click.UsageError("- stands alone")
    elif paths and all(path.suffix == ".json" for path in paths):
        if len(paths) > 1 and output.form != "markdown":
            raise click.UsageError("the counts of several results stand side by side with --format markdown")
        checked = [render.from_json(path) for path in paths]
    elif paths:
        checked = [check_paths(paths, here, None if no_cache else cache_root() / "check", kdir)]
    else:
        raise click.UsageError("name files or directories, - for standard input, or a change with --diff")
    known = render.from_json(baseline).results if baseline is not None else ()
    shown = [replace(one, results=_shown(one, known, notes)) for one in checked]
    output.show(
        table=lambda: render.table(shown[0]),
        lines=lambda: render.lines(shown[0]),
        json=lambda: render.to_json(shown[0]),
        sarif=lambda: render.to_sarif(shown[0]),
        markdown=lambda: render.to_markdown(shown),
    )
    if skipped := [one_line(name) for one in shown for name in one.skipped]:
        raise CheckError(f"{', '.join(skipped)}: more than 32 MiB, and so not read: check the rest without it")
    return FOUND if any(result.level is not Level.NOTE for one in shown for result in one.results) else 0


def _shown(checked: Checked, known: Sequence[CheckResult], notes: bool) -> tuple[CheckResult, ...]:
    return tuple(one for one in brought(checked.results, known) if notes or one.level is not Level.NOTE)
