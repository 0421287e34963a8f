# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix list``."""

from __future__ import annotations

import json

import click

from dmasafe.cli.matrix.cells import cell_options, chosen
from dmasafe.matrix import selections
from dmasafe.report.text import plural


@click.command(name="list", epilog="Examples: dmasafe matrix list | dmasafe matrix list nightly --json")
@cell_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(
    selection: str | None,
    patterns: tuple[str, ...],
    suites: tuple[str, ...],
    sources: tuple[str, ...],
    as_json: bool,
) -> None:
    """The cells of a selection, or the selections that there are."""
    if selection is None and not patterns:
        _selections(as_json)
        return
    _, cells = chosen(selection, patterns, suites, sources)
    if as_json:
        rows = [
            {
                "source": cell.source.name,
                "spec": cell.source.spec,
                "arch": cell.arch,
                "config": cell.config,
                "kernel": cell.kernel,
                "suites": list(cell.suites),
            }
            for cell in cells
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    for cell in cells:
        click.echo(f"{cell.source.name:<8} {cell.arch:<8} {cell.config:<28} {' '.join(cell.suites)}")
    kernels = len({(cell.source, cell.arch, cell.kernel) for cell in cells})
    click.echo(f"{plural(len(cells), 'cell')}, {plural(kernels, 'kernel')}")


def _selections(as_json: bool) -> None:
    known = selections.load()
    counted = {name: len(known.cells(name)) for name in known.selections}
    if as_json:
        rows = [{"name": name, "what": known.selections[name].what, "cells": count} for name, count in counted.items()]
        click.echo(json.dumps(rows, indent=2))
        return
    for name, count in counted.items():
        click.echo(f"{name:<12} {plural(count, 'cell'):>10}  {known.selections[name].what}")
