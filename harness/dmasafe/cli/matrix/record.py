# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix record``."""

from __future__ import annotations

from pathlib import Path

import click

from dmasafe.cli.matrix.history import database_option, default_revision
from dmasafe.matrix.database import open_history
from dmasafe.matrix.history import SHORT_DIGEST
from dmasafe.matrix.record import find, read, record
from dmasafe.report.text import plural

_TOGETHER = 50


@click.command(
    name="record",
    epilog="Examples: dmasafe matrix record out/latest | dmasafe matrix record nightly/ --night 2026-11-22",
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--night", type=click.DateTime(["%Y-%m-%d"]), help="The date the runs count to.  [default: their own]")
@click.option("--revision", metavar="NAME", help="Of the harness.  [default: the sidecar's, or the CI system's]")
@click.option("--build-seconds", type=click.FloatRange(0), help="What the build took, if one was made.")
@database_option
def command(
    paths: tuple[Path, ...], night: object, revision: str | None, build_seconds: float | None, place: str | None
) -> int:
    """Write results.json files into the history; PATH is one, or a directory with some in it.

    What they do not say of a run is read from matrix.json beside them (docs/matrix-history.md). A run that is
    there already is left as it is.
    """
    given = {"night": str(night)[:10] if night else None, "revision": revision, "build_s": build_seconds}
    given = {key: value for key, value in given.items() if value is not None}
    assumed = {"revision": default_revision()}
    found = list(dict.fromkeys(find(paths)))
    new = 0
    with open_history(place, create=True) as database:
        for start in range(0, len(found), _TOGETHER):
            runs = [read(path, given, assumed) for path in found[start : start + _TOGETHER]]
            new += record(database, runs)
            for run in runs:
                click.echo(f"run {run.digest[:SHORT_DIGEST]}: {run.cell.name}, night {run.night}")
        there = len(found) - new
        click.echo(
            f"{plural(new, 'run')} recorded" + (f", {there} there already" if there else "") + f": {database.name}"
        )
    return 0
