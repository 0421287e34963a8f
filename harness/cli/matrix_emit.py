# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix emit``."""

from __future__ import annotations

import click

from harness.cli.matrix_cells import cell_options, chosen
from harness.matrix import emit
from harness.matrix.errors import PlanError


@click.command(name="emit", epilog="Example: dmasafe matrix emit nightly --format gitlab > cells.yml")
@cell_options
@click.option("--format", "form", type=click.Choice(["github", "gitlab"]), required=True)
def command(
    selection: str | None, patterns: tuple[str, ...], suites: tuple[str, ...], sources: tuple[str, ...], form: str
) -> None:
    """The jobs of a selection for a CI system: one for each kernel (docs/ci/ has what goes around them)."""
    if selection is None:
        raise PlanError("name the selection whose jobs are wanted (see 'dmasafe matrix list')")
    if suites:
        raise PlanError("a job runs the selection's own suites: leave --suite away")
    _, cells = chosen(selection, patterns, suites, sources)
    jobs = emit.ci_jobs(selection, cells, sources)
    if form == "github" and len(jobs) > emit.GITHUB_MAX_JOBS:
        raise PlanError(
            f"{len(jobs)} jobs are more than the {emit.GITHUB_MAX_JOBS} that GitHub allows: choose with --cell"
        )
    click.echo(emit.github(jobs) if form == "github" else emit.gitlab(jobs), nl=form == "github")
