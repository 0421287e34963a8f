# SPDX-License-Identifier: GPL-2.0-or-later
"""What the subcommands that plan cells share: which ones the command line means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from dmasafe.cli.options import SUITE_NAMES, completing
from dmasafe.matrix import selections
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.selections import DEFAULT_SUITES, PlannedCell

AD_HOC = "cells"
_Function = TypeVar("_Function", bound=Callable[..., Any])


def cell_options(function: _Function) -> _Function:
    """SELECTION, --cell, --suite, --source."""
    for option in (
        click.option(
            "--source", "sources", metavar="NAME=SPEC", multiple=True,
            help="A kernel source beside those of selections.toml, or instead of one: a tree, git:URL@REVISION, "
            "URL#sha256=HEX, apt:PACKAGE; repeatable.",
        ),
        click.option(
            "--suite", "suites", metavar="NAME", multiple=True, shell_complete=SUITE_NAMES,
            help="Run this suite in each cell instead of the selection's; repeatable.",
        ),
        click.option(
            "--cell", "patterns", metavar="PATTERN", multiple=True,
            help="Only these cells of the selection, or without one, of all: '6.12 x86_64 *'; repeatable.",
        ),
        click.argument("selection", required=False, shell_complete=completing(lambda: selections.load().selections)),
    ):  # fmt: skip
        function = option(function)
    return function


def chosen(
    selection: str | None, patterns: Sequence[str], suites: Sequence[str], sources: Sequence[str]
) -> tuple[str, tuple[PlannedCell, ...]]:
    """The name of what was chosen, and its cells. Raises MatrixError, ConfigError."""
    known = selections.load().with_sources(sources)
    selections.check_suites(suites, "--suite")
    if selection is None and not patterns:
        raise MatrixError(f"name a selection ({', '.join(known.selections)}), or cells with --cell")
    wanted = known.chosen(patterns, suites or DEFAULT_SUITES) if patterns else ()
    if selection is None:
        return AD_HOC, wanted
    return selection, _narrowed(selection, known.cells(selection), wanted, suites)


def _narrowed(
    selection: str, cells: Sequence[PlannedCell], wanted: Sequence[PlannedCell], suites: Sequence[str]
) -> tuple[PlannedCell, ...]:
    names = {cell.name for cell in wanted}
    left = [cell for cell in cells if not names or cell.name in names]
    if not left:
        raise MatrixError(f"the selection {selection} has none of the cells that --cell names")
    if not suites:
        return tuple(left)
    return tuple(cell.running(tuple(suites)) for cell in left)
