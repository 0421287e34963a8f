# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe findings``: what upstream does wrong, reproduced on the kernels at hand, and the page that says so."""

from __future__ import annotations

from collections.abc import Iterable

import click
from rich.table import Table
from rich.text import Text

from dmasafe.cli.options import completing, no_build_option
from dmasafe.cli.output import Output, output_options
from dmasafe.findings.catalogue import Finding, load
from dmasafe.findings.evidence import Report
from dmasafe.findings.page import to_json, to_markdown
from dmasafe.findings.reproduce import reproduce
from dmasafe.report.progress import ProgressDisplay
from dmasafe.report.text import one_line

# Oldest first: the page quotes the last.
KERNELS = ("apt:linux-source-6.12", "apt:linux-source-7.2", "apt:linux-source-7.3")


@click.command(name="findings", epilog="Examples: dmasafe findings | dmasafe findings osif-callers-buffer")
@click.argument(
    "wanted", nargs=-1, metavar="[FINDING]...", shell_complete=completing(lambda: [each.id for each in load()])
)
@click.option("--list", "only_list", is_flag=True, help="Only say what is in the catalogue; nothing is run.")
@click.option(
    "--kernel", "sources", metavar="SOURCE", multiple=True, default=KERNELS, show_default=True,
    help="Where to look; may be repeated, oldest first.",
)  # fmt: skip
@no_build_option
@output_options("table", "json", "markdown", also={"--json": "json"})
def command(wanted: tuple[str, ...], only_list: bool, sources: tuple[str, ...], output: Output) -> int:
    """Reproduce the findings of the catalogue (all of them, or those named) and list what was reproduced.

    Exit status: 0 every one was reproduced, 1 one was not, 2 one of them cannot be told.
    """
    findings = load(wanted)
    if only_list:
        output.show(
            table=lambda: _catalogue(findings),
            markdown=lambda: to_markdown(Report(()), findings),
            json=lambda: [
                {"id": one.id, "rule": one.rule, "where": one.where, "config": one.proof.config} for one in findings
            ],
        )
        return 0
    with ProgressDisplay() as progress:
        report = reproduce(findings, sources, progress)
    output.show(
        table=lambda: _table(report), json=lambda: to_json(report), markdown=lambda: to_markdown(report, findings)
    )
    return report.status


def _catalogue(findings: Iterable[Finding]) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("finding", "rule", "where", "configuration"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(finding.id, finding.rule, Text(finding.where), finding.proof.config)
    return table


def _table(report: Report) -> Table:
    words = {True: "reproduced", False: "NOT reproduced", None: "INCONCLUSIVE"}
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("finding", "kernel", "", "why"):
        table.add_column(heading, overflow="fold")
    for each in report.evidence:
        table.add_row(each.finding.id, each.kernel.release, words[each.reproduced], Text(one_line(each.why)))
    return table
