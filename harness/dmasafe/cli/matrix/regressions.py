# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix regressions``."""

from __future__ import annotations

import click

from dmasafe.cli.matrix.history import chooser, comparison_options, show
from dmasafe.cli.output import Output
from dmasafe.matrix.compare import regressions
from dmasafe.matrix.database import open_history
from dmasafe.matrix.history import History


@click.command(
    name="regressions",
    epilog="Examples: dmasafe matrix regressions --since latest | dmasafe matrix regressions --since 7d --format json",
)
@click.option(
    "--since", "words", default="latest", show_default=True, metavar="WHEN|RUN",
    help="A date or time, 7d, latest, latest~N (nights), a run, a revision.",
)  # fmt: skip
@comparison_options
def command(words: str, place: str | None, patterns: tuple[str, ...], slower: float, limit: int, output: Output) -> int:
    """Hold the newest run of each cell against what was before WHEN.

    Exit status: 0 nothing new, 1 regressions, 2 it cannot be said.
    """
    with open_history(place) as database, database.reading() as connection:
        history = History(connection)
        since, title = history.moment(words)
        found = regressions(history, since, title, slower, chooser(patterns))
    return show(found, output, limit)
