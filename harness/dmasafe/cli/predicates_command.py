# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe predicates``: the talk's "why is there no is_dma_capable()?" as a table measured on a real kernel."""

from __future__ import annotations

from collections.abc import Iterator

import click
from rich.table import Table

from dmasafe import scratch
from dmasafe.cli.options import kernel_options
from dmasafe.cli.output import Output, output_options
from dmasafe.report.progress import ProgressDisplay
from dmasafe.targets.predicates import PREDICATES, Measured, measure
from dmasafe.targets.prepare import KernelChoice, prepare

HEADER_COLUMNS = 8


@click.command(name="predicates", epilog="Example: dmasafe predicates --config no-vmap-stack")
@output_options("table", "json")
@kernel_options
def command(output: Output, kernel: KernelChoice) -> None:
    """Measure what the kernel's predicates say of every buffer kind, beside what DMA really does with it.

    An answer marked with ! errs: taken as is_dma_capable(), it would have been wrong for that kind.
    """
    with scratch.directory() as logs, ProgressDisplay() as progress:
        prepared = prepare(*kernel, progress)
        progress.stage("predicates")
        rows = measure(prepared.image, logs)
    title = f"{prepared.kernel.release} {kernel.arch}, configuration {kernel.configuration}"
    output.show(table=lambda: (_table(rows, title), *_errors(rows)), json=lambda: [_to_json(row) for row in rows])


def _errors(rows: list[Measured]) -> Iterator[str]:
    for predicate in PREDICATES:
        wrong = [row.kind for row in rows if row.errs(predicate)]
        yield f"{predicate} errs for: {', '.join(wrong) or 'none of these kinds'}"
    yield from (f"{row.kind} was not measured: {row.error}" for row in rows if row.error is not None)


def _table(rows: list[Measured], title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("buffer kind", no_wrap=True)
    for predicate in PREDICATES:
        table.add_column(_broken(predicate), justify="center")
    table.add_column("DMA from it")
    table.add_column("DMA to it")
    for row in rows:
        if row.error is not None:
            continue
        cells = []
        for predicate in PREDICATES:
            answer = "-" if predicate not in row.answers else "yes" if row.answers[predicate] else "no"
            cells.append(f"{answer} !" if row.errs(predicate) else answer)
        table.add_row(row.kind, *cells, *(str(outcome) for outcome in row.outcomes.values()))
    return table


def _broken(name: str) -> str:
    """A long identifier over several lines, broken after underscores, so that the table fits 80 columns."""
    lines = [""]
    for part in name.split("_"):
        if lines[-1] and len(lines[-1]) + len(part) > HEADER_COLUMNS:
            lines.append("")
        lines[-1] += f"{part}_"
    return "\n".join(lines)[:-1]


def _to_json(row: Measured) -> dict[str, object]:
    return {
        "buffer": row.kind,
        "predicates": dict(row.answers),
        "outcomes": {operation: str(outcome) for operation, outcome in row.outcomes.items()},
        "why": dict(row.whys),
        "dma_works": row.dma_works,
        "errs": [predicate for predicate in PREDICATES if row.errs(predicate)],
        "unsupported": row.error,
    }
