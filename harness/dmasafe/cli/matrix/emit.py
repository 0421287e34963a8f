# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix emit``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from dmasafe.cli.matrix.cells import cell_options, chosen
from dmasafe.cli.output import Output, output_options
from dmasafe.matrix import emit
from dmasafe.matrix.errors import MatrixError
from dmasafe.report.files import failure, write_text
from dmasafe.report.text import plural


@click.command(
    name="emit",
    epilog="Examples: dmasafe matrix emit nightly --format gitlab --output cells.yml | "
    "dmasafe matrix emit nightly --format lava --repository https://example.org/dmasafe.git --output jobs",
)
@cell_options
@output_options("github", "gitlab", "lava", required=True, old=("--out",))
@click.option("--repository", metavar="URL", help="lava: the git repository with dmasafe.")
@click.option("--revision", metavar="NAME", help="lava: of that repository.  [default: its default branch]")
@click.option("--image", metavar="NAME", help=f"lava: the container's.  [default: {emit.Lab.image}]")
@click.option("--device-type", metavar="NAME", help=f"lava: what runs it.  [default: {emit.Lab.device_type}]")
def command(
    selection: str | None,
    patterns: tuple[str, ...],
    suites: tuple[str, ...],
    sources: tuple[str, ...],
    output: Output,
    **lab: str | None,
) -> None:
    """The jobs of a selection for a CI system: one for each kernel (docs/ci/ has what goes around them)."""
    if selection is None:
        raise MatrixError("name the selection whose jobs are wanted (see 'dmasafe matrix list')")
    if suites:
        raise MatrixError("a job runs the selection's own suites: leave --suite away")
    _, cells = chosen(selection, patterns, suites, sources)
    jobs = emit.ci_jobs(selection, cells, sources)
    if output.form == "github" and len(jobs) > emit.GITHUB_MAX_JOBS:
        raise MatrixError(
            f"{len(jobs)} jobs are more than the {emit.GITHUB_MAX_JOBS} that GitHub allows: choose with --cell"
        )
    given = {key: value for key, value in lab.items() if value is not None}
    if output.form == "lava":
        _lava(jobs, output.file, given)
        return
    if given:
        raise MatrixError(f"--repository, --revision, --image and --device-type are LAVA's: {output.form} has none")
    output.show(github=lambda: emit.github(jobs), gitlab=lambda: emit.gitlab(jobs))


def _lava(jobs: Sequence[emit.CiJob], out: Path | None, given: dict[str, str]) -> None:
    """Each job is a file, for that is how they are submitted."""
    if out is None or "repository" not in given:
        raise MatrixError(
            "LAVA's jobs need --repository URL, to fetch dmasafe from, and --output DIR, to be written to"
        )
    laboratory = emit.Lab(**given)
    definitions = {out / f"{job.key}.yaml": emit.lava(job, laboratory) for job in jobs}
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise MatrixError(f"{out} is not empty: name a new directory, so that no older job is submitted with these")
    except OSError as error:
        raise failure("write", out, error) from error
    for path, text in definitions.items():
        write_text(path, text)
    click.echo(f"{out}: {plural(len(definitions), 'job')}")
