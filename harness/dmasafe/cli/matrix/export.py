# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix export``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dmasafe.cli.output import Output, output_options
from dmasafe.matrix import export
from dmasafe.matrix.errors import MatrixError


@click.command(
    name="export",
    epilog="Examples: dmasafe matrix export out/matrix/RUN --format kcidb --origin mylab --output report.json | "
    "dmasafe matrix export out/latest --format lava | sh",
)
@click.argument("path", type=click.Path(path_type=Path))
@output_options("kcidb", "lava", required=True)
@click.option("--origin", default="", metavar="NAME", help="kcidb: who submits, as agreed with KernelCI.")
@click.option("--tree", default="", metavar="NAME", help="kcidb: the kernel's tree, such as mainline.")
@click.option("--repository", default="", metavar="URL", help="kcidb: where the kernel's commit can be fetched.")
@click.option("--branch", default="", metavar="NAME", help="kcidb: the branch that it was taken from.")
@click.option("--commit", default="", metavar="HASH", help="kcidb: the kernel's commit; nothing was applied on top.")
@click.option("--url", default="", metavar="URL", help="kcidb: where PATH can be downloaded.")
def command(path: Path, output: Output, **words: str) -> None:
    """Print runs for KernelCI: a submission to its database, or commands for the shell of a LAVA job.

    PATH is a results.json, or a directory with some in it.
    """
    if output.form == "lava":
        if any(words.values()):
            raise MatrixError("a LAVA job knows where it runs: leave all but --format away")
    elif not words["origin"]:
        raise MatrixError("name who submits by --origin: the word that was agreed upon with KernelCI")
    origin = export.Origin(words.pop("origin"), **words)
    output.show(
        lava=lambda: export.lava(export.read(path)),
        kcidb=lambda: json.dumps(export.kcidb(export.read(path), origin), indent=1, allow_nan=False),
    )
