# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix list``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from dmasafe.cli.matrix.cells import cell_options, chosen
from dmasafe.cli.output import Output, output_options
from dmasafe.matrix import selections
from dmasafe.matrix.selections import PlannedCell
from dmasafe.report.text import plural


@click.command(name="list", epilog="Examples: dmasafe matrix list | dmasafe matrix list nightly --format json")
@cell_options
@output_options("table", "json", flags={"--json": "json"})
def command(
    selection: str | None,
    patterns: tuple[str, ...],
    suites: tuple[str, ...],
    sources: tuple[str, ...],
    output: Output,
) -> None:
    """The cells of a selection, or the selections that there are."""
    if selection is None and not patterns:
        known = selections.load()
        counted = {name: len(known.cells(name)) for name in known.selections}
        what = {name: known.selections[name].what for name in counted}
        output.show(
            table=lambda: (f"{name:<12} {plural(n, 'cell'):>10}  {what[name]}" for name, n in counted.items()),
            json=lambda: [{"name": name, "what": what[name], "cells": n} for name, n in counted.items()],
        )
        return
    _, cells = chosen(selection, patterns, suites, sources)
    output.show(
        table=lambda: _table(cells),
        json=lambda: [
            {
                "source": cell.source.name,
                "spec": cell.source.spec,
                "arch": cell.arch,
                "config": cell.config,
                "kernel": cell.kernel,
                "suites": list(cell.suites),
            }
            for cell in cells
        ],
    )


def _table(cells: Sequence[PlannedCell]) -> Iterator[str]:
    for cell in cells:
        yield f"{cell.source.name:<8} {cell.arch:<8} {cell.config:<28} {' '.join(cell.suites)}"
    kernels = len({(cell.source, cell.arch, cell.kernel) for cell in cells})
    yield f"{plural(len(cells), 'cell')}, {plural(kernels, 'kernel')}"
