# SPDX-License-Identifier: GPL-2.0-or-later
"""What the subcommands that read the history share: its place, which cells, how a comparison is printed."""

from __future__ import annotations

import fnmatch
import json
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from dmasafe.matrix import changes
from dmasafe.matrix.cells import Cell
from dmasafe.matrix.compare import SLOWER, Comparison
from dmasafe.matrix.database import VARIABLE

_Function = TypeVar("_Function", bound=Callable[..., Any])

database_option = click.option(
    "--db", "place", metavar="PLACE",
    help=f"The history: a file, or postgresql://USER@HOST/DATABASE.  [default: ${VARIABLE}, or a file in your state "
    "directory]",
)  # fmt: skip


def comparison_options(function: _Function) -> _Function:
    """--db, --cell, --slower, --limit, --format."""
    for option in (
        click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True),
        click.option(
            "--limit", type=click.IntRange(0), default=changes.SHOWN, show_default=True,
            help="Rows of a section in text; 0 for all.",
        ),
        click.option(
            "--slower", type=click.FloatRange(0), default=SLOWER, show_default=True, metavar="RATIO",
            help="A boot or build that takes so many times the median before is a regression; 0: times do not count.",
        ),
        click.option(
            "--cell", "patterns", multiple=True, metavar="PATTERN",
            help="Only cells whose name matches, as in 'linux-source-6.12 * default'; repeatable.",
        ),
        database_option,
    ):  # fmt: skip
        function = option(function)
    return function


def chooser(patterns: tuple[str, ...]) -> Callable[[Cell], bool]:
    """Whether a cell is one of those that --cell names; all of them if there is no --cell."""
    return lambda cell: not patterns or any(fnmatch.fnmatchcase(cell.name, pattern) for pattern in patterns)


def show(found: Comparison, form: str, limit: int) -> int:
    """Print a comparison; returns the exit status."""
    if form == "json":
        json.dump(changes.as_json(found), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        for line in changes.as_text(found, limit):
            click.echo(line)
    return found.exit_status


def default_revision() -> str | None:
    """What the CI system says is checked out: GitHub's and GitLab's variables."""
    return os.environ.get("GITHUB_SHA") or os.environ.get("CI_COMMIT_SHA")
