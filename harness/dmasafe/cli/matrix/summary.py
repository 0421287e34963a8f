# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix summary``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from dmasafe.cli.matrix.history import database_option
from dmasafe.cli.output import Output, output_options
from dmasafe.matrix.database import open_history
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.history import History
from dmasafe.matrix.summary import HEADINGS, Line, markdown, summarise
from dmasafe.report.files import write_text

NIGHTS = 7
BEGIN, END = "<!-- summary: begin -->", "<!-- summary: end -->"


@click.command(name="summary", epilog="Example: dmasafe matrix summary --into docs/matrix.md")
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=f"Replace what this file has between the lines '{BEGIN}' and '{END}'.",
)
@click.option(
    "--nights", type=click.IntRange(1, 366), default=NIGHTS, show_default=True, help="A cell's newest run in these."
)
@database_option
@output_options("table", "markdown", "json", flags={"--markdown": "markdown"})
def command(into: Path | None, nights: int, place: str | None, output: Output) -> None:
    """By kernel version and architecture: FAILs of the core suite, the model's agreement, detected faults."""
    with open_history(place) as database, database.reading() as connection:
        lines = summarise(History(connection), nights)
    if into is not None:
        _replace(into, "\n".join(markdown(lines)))
        click.echo(f"{into}: {len(lines)} lines")
        return
    output.show(
        table=lambda: _table(lines),
        markdown=lambda: markdown(lines),
        json=lambda: [asdict(line) | {"releases": sorted(line.releases)} for line in lines],
    )


def _table(lines: Sequence[Line]) -> Table:
    table = Table(*HEADINGS, box=None, pad_edge=False)
    for line in lines:
        table.add_row(*line.cells())
    return table


def _replace(path: Path, table: str) -> None:
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not begin or not end:
        raise MatrixError(f"{path} has no lines '{BEGIN}' and '{END}', between which the table would go")
    write_text(path, f"{before}{begin}{table}\n{end}{after}")
