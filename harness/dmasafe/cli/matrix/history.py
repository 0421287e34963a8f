# SPDX-License-Identifier: GPL-2.0-or-later
"""What the subcommands that read the history share: its place, which cells, how a comparison is printed."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable
from typing import Any

import click

from dmasafe.cli.output import Output, output_options
from dmasafe.matrix import changes
from dmasafe.matrix.cells import Cell
from dmasafe.matrix.compare import SLOWER, Comparison
from dmasafe.matrix.database import VARIABLE

database_option = click.option(
    "--db", "place", metavar="PLACE",
    help=f"The history: a file, or postgresql://USER@HOST/DATABASE.  [default: ${VARIABLE}, or a file in your state "
    "directory]",
)  # fmt: skip


def comparison_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--db, --cell, --slower, --limit, --format, --output."""
    for option in (
        output_options("table", "json"),
        click.option(
            "--limit", type=click.IntRange(0), default=changes.SHOWN, show_default=True,
            help="Rows of a section of the table; 0 for all.",
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

    def chosen(cell: Cell) -> bool:
        names = (cell.name, cell.family.name)
        return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns for name in names)

    return chosen


def show(found: Comparison, output: Output, limit: int) -> int:
    """Print a comparison; returns the exit status."""
    output.show(table=lambda: changes.as_text(found, limit), json=lambda: changes.as_json(found))
    return found.exit_status


def default_revision() -> str | None:
    """What the CI system says is checked out: GitHub's and GitLab's variables."""
    return os.environ.get("GITHUB_SHA") or os.environ.get("CI_COMMIT_SHA")
