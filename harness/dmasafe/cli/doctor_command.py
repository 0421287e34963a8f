# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe doctor``: what this machine has, what it lacks, and the command that installs it."""

from __future__ import annotations

from dataclasses import asdict

import click

from dmasafe.cli.options import arch_option
from dmasafe.cli.output import Output, output_options
from dmasafe.targets.doctor import Check, checks


@click.command(name="doctor", epilog="Example: dmasafe doctor --format json")
@arch_option
@output_options("table", "json")
def command(arch: str, output: Output) -> int:
    """Say what is installed, which accelerator works, and what to do. Exit status 2 if something is missing."""
    rows = checks(arch)
    output.show(table=lambda: map(_line, rows), json=lambda: [asdict(row) for row in rows])
    return 2 if any(row.ok is False for row in rows) else 0


def _line(row: Check) -> str:
    mark = {True: "ok", False: "MISSING", None: "-"}[row.ok]
    return f"{mark:<8} {row.name:<14} {row.found}" + (f"  ->  {row.remedy}" if row.remedy else "")
