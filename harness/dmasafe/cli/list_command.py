# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe list``: the words that scenarios are made of."""

from __future__ import annotations

import json

import click

from dmasafe.faults import FAULTS
from dmasafe.scenario import BOARD, BUFFER_KINDS, CONTROLLERS, OPERATIONS, POLICIES, SUITES, USER, suite


@click.command(name="list", epilog="Example: dmasafe list --scenarios smoke")
@click.option("--scenarios", "suite_name", metavar="SUITE", help="Print the ids of this suite's scenarios, one a line.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(suite_name: str | None, form: str) -> None:
    """Print suites, buffer kinds, operations, controllers and seeded faults."""
    if suite_name is not None:
        ids = [scenario.id for scenario in suite(suite_name)]
        click.echo(json.dumps(ids) if form == "json" else "\n".join(ids))
        return
    sections = {
        "suites": {name: f"{what} ({len(make())} scenarios)" for name, (what, make) in SUITES.items()},
        "buffer kinds": {kind.name: kind.what for kind in (*BUFFER_KINDS.values(), USER)},
        "operations": {operation.name: operation.what for operation in OPERATIONS.values()},
        "controllers": {controller.name: controller.what for controller in (*CONTROLLERS.values(), BOARD)},
        "policies of dmasafe": dict(POLICIES),
        "faults of dmasafe (+fault=NAME)": {fault.name: f"the driver {fault.what}" for fault in FAULTS.values()},
    }
    if form == "json":
        click.echo(json.dumps(sections, indent=2))
        return
    for title, rows in sections.items():
        click.echo(f"{title}:")
        for name, what in rows.items():
            click.echo(f"  {name:<24} {what}")
