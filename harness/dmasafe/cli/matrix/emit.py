# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix emit``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from dmasafe.cli.matrix.cells import cell_options, chosen
from dmasafe.matrix import emit
from dmasafe.matrix.errors import PlanError
from dmasafe.report.files import failure, write_text
from dmasafe.report.text import plural


@click.command(
    name="emit",
    epilog="Examples: dmasafe matrix emit nightly --format gitlab > cells.yml | "
    "dmasafe matrix emit nightly --format lava --repository https://example.org/dmasafe.git --out jobs",
)
@cell_options
@click.option("--format", "form", type=click.Choice(["github", "gitlab", "lava"]), required=True)
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="lava: the new directory of the jobs.")
@click.option("--repository", metavar="URL", help="lava: the git repository with dmasafe.")
@click.option("--revision", metavar="NAME", help="lava: of that repository.  [default: its default branch]")
@click.option("--image", metavar="NAME", help=f"lava: the container's.  [default: {emit.Lab.image}]")
@click.option("--device-type", metavar="NAME", help=f"lava: what runs it.  [default: {emit.Lab.device_type}]")
def command(
    selection: str | None,
    patterns: tuple[str, ...],
    suites: tuple[str, ...],
    sources: tuple[str, ...],
    form: str,
    out: Path | None,
    **lab: str | None,
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
    given = {key: value for key, value in lab.items() if value is not None}
    if form == "lava":
        _lava(jobs, out, given)
        return
    if given or out is not None:
        raise PlanError(f"--out, --repository, --revision, --image and --device-type are LAVA's: {form} has none")
    click.echo(emit.github(jobs) if form == "github" else emit.gitlab(jobs), nl=form == "github")


def _lava(jobs: Sequence[emit.CiJob], out: Path | None, given: dict[str, str]) -> None:
    """Each job is a file, for that is how they are submitted."""
    if out is None or "repository" not in given:
        raise PlanError("LAVA's jobs need --repository URL, to fetch dmasafe from, and --out DIR, to be written to")
    laboratory = emit.Lab(**given)
    definitions = {out / f"{job.key}.yaml": emit.lava(job, laboratory) for job in jobs}
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise PlanError(f"{out} is not empty: name a new directory, so that no older job is submitted with these")
    except OSError as error:
        raise failure("write", out, error) from error
    for path, text in definitions.items():
        write_text(path, text)
    click.echo(f"{out}: {plural(len(definitions), 'job')}")
