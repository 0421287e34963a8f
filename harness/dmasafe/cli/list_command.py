# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe list``: the words that scenarios are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from dmasafe.cli.options import suite_option
from dmasafe.cli.output import Output, output_options
from dmasafe.faults import FAULTS
from dmasafe.scenario import BOARD, BUFFER_KINDS, CONTROLLERS, OPERATIONS, POLICIES, SUITES, USER, suite


@click.command(name="list", epilog="Example: dmasafe list --scenarios smoke")
@suite_option("Print the ids of this suite's scenarios, one a line.", "--scenarios")
@output_options("table", "json")
def command(suite_name: str | None, output: Output) -> None:
    """Print suites, buffer kinds, operations, controllers and seeded faults."""
    if suite_name is not None:
        ids = [scenario.id for scenario in suite(suite_name)]
        output.show(table=lambda: ids, json=lambda: ids)
        return
    sections = {
        "suites": {name: f"{what} ({len(make())} scenarios)" for name, (what, make) in SUITES.items()},
        "buffer kinds": {kind.name: kind.what for kind in (*BUFFER_KINDS.values(), USER)},
        "operations": {operation.name: operation.what for operation in OPERATIONS.values()},
        "controllers": {controller.name: controller.what for controller in (*CONTROLLERS.values(), BOARD)},
        "policies of dmasafe": dict(POLICIES),
        "faults of dmasafe (+fault=NAME)": {fault.name: f"the driver {fault.what}" for fault in FAULTS.values()},
    }
    output.show(table=lambda: _table(sections), json=lambda: sections)


def _table(sections: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for title, rows in sections.items():
        yield f"{title}:"
        yield from (f"  {name:<24} {what}" for name, what in rows.items())
