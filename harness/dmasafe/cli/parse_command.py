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
from dmasafe.dmesg.minimal import Recorder, minimal
from dmasafe.outcome import Splat
from dmasafe.report import splats as render
from dmasafe.report.console import console_for
from dmasafe.report.splat_text import blamed
from dmasafe.report.text import one_line, visible

FOUND = 1


@click.command(name="parse", epilog="Examples: dmasafe parse dmesg.txt | dmesg | dmasafe parse --format sarif -")
@click.argument("log", metavar="FILE|-", shell_complete=FILES)
@output_options("table", "json", "sarif", "ktap")
@click.option("--follow", "live", is_flag=True, help="Print each splat as soon as its report is complete.")
@click.option("--vmlinux", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Name files and lines.")
@click.option(
    "--modules", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Directory with the .ko files."
)
@click.option("--minimal", "excerpts", is_flag=True, help="Print the fewest lines that parse to the same splats.")
@click.option("--verbose", is_flag=True, help="Say how the log was read, where that was inferred.")
def command(
    log: str, output: Output, live: bool, vmlinux: Path | None, modules: Path | None, excerpts: bool, verbose: bool
) -> int:
    """Find the kernel's reports in a log: DMA API debugging first, and every other WARNING, BUG or Oops.

    Exit status: 0 none found, 1 found, 2 the log cannot be read.
    """
    _check(vmlinux, modules)
    if excerpts and (live or output.form not in ("table", "json")):
        raise click.UsageError("--minimal prints the lines of a whole log, as text or JSON")
    symbols = Symbols.of(vmlinux, modules)
    tally = Tally()
    recorder = Recorder() if excerpts else None
    with open_log(log) as stream:
        found = [] if live else read_all(stream, log, tally, recorder)
        status = _follow(stream, symbols, output, tally) if live else FOUND if found else 0
    if verbose and (live or excerpts or output.form != "table"):
        for note in _notes(tally):
            click.echo(note, err=True)
    if live:
        return status
    if recorder is not None:
        told = [(splat, minimal(lines, splat)) for splat, lines in recorder.found]
        output.show(
            table=lambda: _excerpts(told),
            json=lambda: [splat.to_json() | {"excerpt": lines} for splat, lines in told],
        )
        return status
    if symbols is not None:
        found = symbols.resolve(found)
    output.show(
        table=lambda: _table(found, tally, verbose),
        json=lambda: render.to_json(found),
        sarif=lambda: render.to_sarif(found, "stdin" if log == STDIN else log),
        ktap=lambda: render.to_ktap(found),
    )
    return status


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


def _notes(tally: Tally) -> Iterator[str]:
    yield from (f"how the log was read: {visible(note)}" for note in tally.notes)
    if not tally.notes:
        yield "how the log was read: nothing had to be inferred"


def _table(found: Sequence[Splat], tally: Tally, verbose: bool) -> Iterator[str | Table]:
    if verbose:
        yield from _notes(tally)
    if found:
        yield render.table(found)
        yield from render.reasons(found)
        yield f"{len(found):,} found in {tally.lines:,} lines; 'dmasafe explain CLASS' tells what a class means"
    else:
        yield f"no splat in {tally.lines:,} lines"


def _excerpts(told: Sequence[tuple[Splat, Sequence[str]]]) -> Iterator[str]:
    """The lines of each, an empty one between two: what is printed parses to the same splats."""
    for number, (splat, lines) in enumerate(told):
        yield ("\n" if number else "") + "".join(f"{visible(line)}\n" for line in lines)
        if not lines:
            click.echo(f"line {splat.log_line}: no part of this log parses to this report: quote all of it", err=True)


def _follow(stream: BinaryIO, symbols: Symbols | None, output: Output, tally: Tally) -> int:
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
    for splat in follow(stream, tally, stop=lambda: stopped):
        count += 1
        shown = symbols.resolve([splat])[0] if symbols is not None else splat
        if output.form == "json":
            click.echo(render.to_json_line(shown))
        else:
            whom = one_line(blamed(shown))
            text = f"line {shown.log_line}: {shown.splat_class}: {one_line(shown.message)}"
            console.print(Text(text + (f" (look at {whom})" if whom else "")), soft_wrap=True)
    return FOUND if count else 0
