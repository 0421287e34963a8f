# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix report``."""

from __future__ import annotations

from pathlib import Path

import click

from dmasafe.cli.matrix.history import database_option
from dmasafe.matrix import site
from dmasafe.matrix.database import open_history
from dmasafe.matrix.history import History
from dmasafe.report.text import plural


@click.command(name="report", epilog="Example: dmasafe matrix report site/ --nights 14")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--nights",
    type=click.IntRange(1, 366),
    default=site.NIGHTS,
    show_default=True,
    help="How many are shown in detail.",
)
@database_option
def command(out: Path, nights: int, place: str | None) -> int:
    """Write the history as a static site into the directory OUT, to be opened as OUT/index.html, without a server.

    An older report in OUT is replaced.
    """
    with open_history(place) as database, database.reading() as connection:
        size = site.write(History(connection), out, nights)
    click.echo(f"{out / site.INDEX}: {size / 1e6:.1f} MB, the last {plural(nights, 'night')} in detail")
    return 0
