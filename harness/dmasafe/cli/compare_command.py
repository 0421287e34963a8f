# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe compare``: what changed between two runs."""

from __future__ import annotations

from pathlib import Path

import click

from dmasafe.cli.output import Output, output_options
from dmasafe.report import compare


@click.command(
    name="compare",
    epilog="Examples: dmasafe compare out/before out/after | dmasafe compare base.json tip.json --format json",
)
@click.argument("before", metavar="A", type=click.Path(path_type=Path))
@click.argument("after", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "--limit", type=click.IntRange(0), default=compare.SHOWN, show_default=True,
    help="Groups of a section of the table; 0 for all.",
)  # fmt: skip
@output_options("table", "json")
def command(before: Path, after: Path, limit: int, output: Output) -> int:
    """Compare B with A: each is a results.json, or a directory with some in it, as runs leave them.

    What changed is grouped by cell, buffer and reason. Several runs of a cell are repeats: the worst verdict of a
    scenario counts, and one that both fails and passes in B is flaky. For recorded nights: dmasafe matrix compare.

    Exit status: 0 nothing is worse, 1 something is, or is flaky, 2 it cannot be said.
    """
    titles = (str(before), str(after))
    found = compare.compare(compare.load_side(before), compare.load_side(after), titles)
    output.show(table=lambda: compare.as_text(found, limit), json=lambda: compare.as_json(found))
    return found.exit_status
