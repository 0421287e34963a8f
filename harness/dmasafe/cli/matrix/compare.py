# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix compare``."""

from __future__ import annotations

import click

from dmasafe.cli.matrix.history import chooser, comparison_options, show
from dmasafe.cli.output import Output
from dmasafe.matrix.compare import compare
from dmasafe.matrix.database import open_history
from dmasafe.matrix.history import History


@click.command(
    name="compare",
    epilog="Examples: dmasafe matrix compare latest~1 latest | dmasafe matrix compare 2026-11-01 2026-11-22 | "
    "dmasafe matrix compare revision:1bc8f64 revision:d668415 --cell '* arm64 *'",
)
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@comparison_options
def command(
    before: str, after: str, place: str | None, patterns: tuple[str, ...], slower: float, limit: int, output: Output
) -> int:
    """Compare B with A: new failures, fixed, flaky, new splat signatures, slower boots and builds.

    A and B are nights (a date, latest, latest~N), runs, or revisions of the harness; of each cell the newest
    night counts, with the worst verdict of its runs. Exit status: 0 nothing new, 1 regressions, 2 it cannot be said.
    """
    with open_history(place) as database, database.reading() as connection:
        history = History(connection)
        found = compare(history, history.side(before), history.side(after), slower, chooser(patterns))
    return show(found, output, limit)
