# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix run``."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from dmasafe.cli.matrix.cells import AD_HOC, cell_options, chosen
from dmasafe.cli.matrix.history import database_option
from dmasafe.cli.output import Output, RenamedOption, output_options
from dmasafe.kernel import open_cache
from dmasafe.matrix import engine, view
from dmasafe.matrix import run as runs
from dmasafe.matrix.database import open_history
from dmasafe.matrix.errors import RunError
from dmasafe.matrix.plan import plan

ROOT = Path("out/matrix")


@click.command(
    name="run",
    epilog="Examples: dmasafe matrix run quick | dmasafe matrix run nightly --resume | "
    "dmasafe matrix run --cell 'mine x86_64 default' --source mine=~/linux",
)
@cell_options
@click.option("--run", "id_", metavar="NAME", help="The run's name; one that was begun is resumed.")
@click.option("--resume", is_flag=True, help="Go on with the newest unfinished run of the selection.")
@click.option("--scheduler", metavar="ADDRESS", help="Dask's scheduler, such as tcp://HOST:8786.  [default: our own]")
@click.option(
    "--workers", type=click.IntRange(1), help="Guests at a time in our own cluster.  [default: one a processor]"
)
@click.option(
    "--store", metavar="DIR|URL", help="What the workers share: a directory, or a URL that fsspec knows.  [default: in "
    "the cache of this machine]",
)  # fmt: skip
@click.option(
    "--results", "root", cls=RenamedOption, old=("--out",), metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False), default=ROOT, show_default=True, help="Where runs are kept.",
)  # fmt: skip
@click.option("--record/--no-record", default=True, show_default=True, help="Write results into the history.")
@database_option
@output_options("table", "json")
def command(
    selection: str | None,
    patterns: tuple[str, ...],
    suites: tuple[str, ...],
    sources: tuple[str, ...],
    id_: str | None,
    resume: bool,
    scheduler: str | None,
    workers: int | None,
    store: str | None,
    root: Path,
    record: bool,
    place: str | None,
    output: Output,
) -> int:
    """Build and boot every cell of a selection, judge it, and write the results into the history.

    Ctrl-C ends everything and keeps what was judged; --resume goes on from there.

    Exit status: 0 all as expected, 1 a FAIL, 2 a cell without a result, or INCONCLUSIVE.
    """
    if scheduler is not None and workers is not None:
        raise RunError("--workers is about a cluster of our own: a scheduler has the workers that it has")
    if resume and id_ is not None:
        raise RunError("--run NAME resumes that run by itself: leave --resume away")
    known = root / id_ if id_ is not None else None
    if resume or (known is not None and (known / runs.RUN_JSON).exists()):
        if patterns or suites or sources or store:
            raise RunError("a run is resumed with the cells and the store that it began with: leave the other options")
        run = runs.load(known) if known is not None else runs.unfinished(root, selection or AD_HOC)
        if selection not in (None, run.selection):
            raise RunError(f"the run {run.id} is one of {run.selection}, not of {selection}")
    else:
        name, cells = chosen(selection, patterns, suites, sources)
        run = runs.begin(root, id_, name, cells, store or str(open_cache().path("store")))
    return _execute(run, scheduler, workers, record, place, output)


def _execute(
    run: runs.Run, scheduler: str | None, workers: int | None, record: bool, place: str | None, output: Output
) -> int:
    with contextlib.ExitStack() as stack:
        stack.enter_context(runs.held(run))
        database = stack.enter_context(open_history(place, create=True)) if record else None
        course = plan(run.cells)
        click.echo(f"run {run.id}: {len(course.jobs)} suites in {len(run.cells)} cells, in {run.directory}", err=True)
        try:
            with (
                engine.open_client(scheduler, workers) as client,
                view.Watch(course, engine.dashboard(client)) as watch,
            ):
                found = runs.execute(run, engine.Engine(client, run.id, run.store), watch, database)
        except KeyboardInterrupt:
            click.echo(f"the run is kept: go on with 'dmasafe matrix run --run {run.id}'", err=True)
            raise
    output.show(table=lambda: view.summary(found), json=lambda: [view.to_json(one) for one in found])
    return runs.worst(found)
