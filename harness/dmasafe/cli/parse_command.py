# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe parse``: any log of the kernel's in, splats out."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import click
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from rich.table import Table
from rich.text import Text

from dmasafe.cli.options import FILES, CliError
from dmasafe.cli.output import Output, output_options
from dmasafe.dmesg import Symbols, Tally, follow
from dmasafe.dmesg.files import STDIN, open_log, read_all
from dmasafe.outcome import Splat
from dmasafe.report import splats as render
from dmasafe.report.terminal import console_for
from dmasafe.report.text import blamed, one_line

FOUND = 1


@click.command(name="parse", epilog="Examples: dmasafe parse dmesg.txt | dmesg | dmasafe parse --format sarif -")
@click.argument("log", metavar="FILE|-", shell_complete=FILES)
@output_options("table", "json", "sarif", "ktap")
@click.option("--follow", "live", is_flag=True, help="Print each splat as soon as its report is complete.")
@click.option("--vmlinux", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Name files and lines.")
@click.option(
    "--modules", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Directory with the .ko files."
)
def command(log: str, output: Output, live: bool, vmlinux: Path | None, modules: Path | None) -> int:
    """Find the kernel's reports in a log: DMA API debugging first, and every other WARNING, BUG or Oops.

    Exit status: 0 none found, 1 found, 2 the log cannot be read.
    """
    _check(vmlinux, modules)
    symbols = Symbols.of(vmlinux, modules)
    with open_log(log) as stream:
        if live:
            return _follow(stream, symbols, output)
        tally = Tally()
        found = read_all(stream, log, tally)
    if symbols is not None:
        found = symbols.resolve(found)
    output.show(
        table=lambda: _table(found, tally),
        json=lambda: render.to_json(found),
        sarif=lambda: render.to_sarif(found, "stdin" if log == STDIN else log),
        ktap=lambda: render.to_ktap(found),
    )
    return FOUND if found else 0


def _check(vmlinux: Path | None, modules: Path | None) -> None:
    """What names no line is said before the log is read, which may be a pipe. Raises CliError."""
    try:
        if vmlinux is not None:
            with vmlinux.open("rb") as stream:
                if ELFFile(stream).get_section_by_name(".symtab") is None:
                    raise CliError(f"{vmlinux} has no symbols: name the vmlinux of the build, not a stripped one")
    except (OSError, ELFError) as cause:
        raise CliError(f"{vmlinux} is no ELF file: name the build's vmlinux, not bzImage or Image") from cause
    if modules is not None and next(modules.rglob("*.ko*"), None) is None:
        raise CliError(f"{modules} has no .ko file in it or below: name the directory with the built modules")


def _table(found: Sequence[Splat], tally: Tally) -> Iterator[str | Table]:
    if found:
        yield render.table(found)
        yield from render.reasons(found)
        yield f"{len(found):,} found in {tally.lines:,} lines; 'dmasafe explain CLASS' tells what a class means"
    else:
        yield f"no splat in {tally.lines:,} lines"


def _follow(stream: BinaryIO, symbols: Symbols | None, output: Output) -> int:
    """Print splats as they come, one line (or one JSON object a line) each, until the end or Ctrl-C."""
    if output.form not in ("table", "json") or output.file is not None:
        raise click.UsageError("--follow prints a table or JSON lines on standard output, and nothing else")
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGINT, stop)
    count = 0
    console = console_for()
    for splat in follow(stream, stop=lambda: stopped):
        count += 1
        shown = symbols.resolve([splat])[0] if symbols is not None else splat
        if output.form == "json":
            click.echo(render.to_json_line(shown))
        else:
            whom = one_line(blamed(shown))
            text = f"line {shown.log_line}: {shown.splat_class}: {one_line(shown.message)}"
            console.print(Text(text + (f" (look at {whom})" if whom else "")), soft_wrap=True)
    return FOUND if count else 0
