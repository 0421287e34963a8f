# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe findings``: what upstream does wrong, reproduced on the kernels at hand, and the page that says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from dmasafe import kernel as kernels
from dmasafe.architecture import project_root
from dmasafe.cli.options import completing, no_build_option
from dmasafe.cli.output import Output, output_options
from dmasafe.findings import record as records
from dmasafe.findings.catalogue import CatalogueError, Finding, load
from dmasafe.findings.corrections import Corrections, correct
from dmasafe.findings.evidence import Report
from dmasafe.findings.mail import mails
from dmasafe.findings.page import to_markdown
from dmasafe.findings.reproduce import reproduce
from dmasafe.report.progress import ProgressDisplay
from dmasafe.report.text import one_line

#: Where the results of earlier runs are kept in a checkout.
RECORD = Path("docs/findings.json")
# Oldest first: the page quotes the last.
KERNELS = ("apt:linux-source-6.12", "apt:linux-source-7.2", "apt:linux-source-7.3")


@click.command(
    name="findings",
    epilog="Examples: dmasafe findings | dmasafe findings at91-unmaps-more --with-patch | dmasafe findings "
    "at91-unmaps-more --mail",
)
@click.argument(
    "wanted", nargs=-1, metavar="[FINDING]...", shell_complete=completing(lambda: [each.id for each in load()])
)
@click.option("--list", "only_list", is_flag=True, help="Only say what is in the catalogue; nothing is run.")
@click.option(
    "--with-patch", is_flag=True,
    help="Apply each finding's patch, to a copy; show before and after, and that all else is as before.",
)  # fmt: skip
@click.option("--mail", is_flag=True, help="Print what its maintainers want to read; nothing is run, nothing is sent.")
@click.option(
    "--kernel", "sources", metavar="SOURCE", multiple=True, default=KERNELS, show_default=True,
    help="Where to look; may be repeated, oldest first.",
)  # fmt: skip
@click.option(
    "--record", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Keep what is found in this file, beside what it has of earlier runs; with --list and --mail, read it.",
)  # fmt: skip
@no_build_option
@output_options("table", "json", "markdown", also={"--json": "json"})
def command(
    wanted: tuple[str, ...],
    only_list: bool,
    with_patch: bool,
    mail: bool,
    sources: tuple[str, ...],
    record: Path | None,
    output: Output,
) -> int:
    """Reproduce the findings of the catalogue (all of them, or those named) and list what was reproduced.

    Exit status: 0 every one was reproduced (with --with-patch: corrected), 1 one was not, 2 one of them cannot be told.
    """
    findings = load(wanted)
    everything = load()
    if mail:
        kept = records.load(record or project_root() / RECORD, everything)
        click.echo("\n".join(_mails(finding, *kept) for finding in findings))
        return 0
    if only_list:
        kept = records.load(record, everything) if record else (Report(()), Corrections(()))
        output.show(
            table=lambda: _catalogue(findings),
            markdown=lambda: to_markdown(*kept, findings),
            json=lambda: [
                {"id": one.id, "rule": one.rule, "where": one.where, "config": one.proof.config} for one in findings
            ],
        )
        return 0
    with ProgressDisplay() as progress:
        if with_patch:
            report, corrections = Report(()), Corrections(())
            for each in correct(findings, sources, progress):
                seen = () if each.seen is None else (each.seen,)
                report = Report((*report.evidence, *seen))
                corrections = Corrections((*corrections.all, each))
                # Each takes minutes: what was found is kept at once.
                _keep(record, everything, report, corrections)
        else:
            report, corrections = reproduce(findings, sources, progress), Corrections(())
            _keep(record, everything, report, corrections)
    output.show(
        table=lambda: _correction_table(corrections) if with_patch else _table(report),
        json=lambda: records.to_json(report, corrections),
        markdown=lambda: to_markdown(report, corrections, findings),
    )
    return corrections.status if with_patch else report.status


def _keep(record: Path | None, findings: Sequence[Finding], report: Report, corrections: Corrections) -> None:
    if record:
        records.keep(record, *records.merge(records.load(record, findings), (report, corrections)))


def _mails(finding: Finding, report: Report, corrections: Corrections) -> str:
    """The mails of one finding, by the newest source that is here of those that it was seen on."""
    seen = report.proved(finding)
    tried = [each for each in corrections.all if each.finding.id == finding.id]
    cache = kernels.find_cache()
    source = next((each.source for each in reversed(seen)), KERNELS[-1])
    if kernels.remembered(kernels.parse_source(source), cache) is None:
        raise CatalogueError(f"the source of {source} is not here: run '{finding.command(source)}' first")
    tree = kernels.fetch(kernels.parse_source(source), cache)
    return mails(finding, seen, tried, tree.path)


def _catalogue(findings: Iterable[Finding]) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("finding", "rule", "where", "configuration"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(finding.id, finding.rule, Text(finding.where), finding.proof.config)
    return table


def _correction_table(corrections: Corrections) -> Table:
    words = {True: "corrected", False: "NOT corrected", None: "INCONCLUSIVE"}
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("finding", "kernel", "", "before", "after", "why"):
        table.add_column(heading, overflow="fold")
    for each in corrections.all:
        before, after = (Text("\n".join(map(one_line, facts))) for facts in (each.before, each.after))
        kept = f"; {each.kept:,} scenarios and phases as before" if each.kept else ""
        why = Text(one_line(each.why) + kept)
        table.add_row(each.finding.id, each.kernel.release, words[each.corrected], before, after, why)
    return table


def _table(report: Report) -> Table:
    words = {True: "reproduced", False: "NOT reproduced", None: "INCONCLUSIVE"}
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("finding", "kernel", "", "why"):
        table.add_column(heading, overflow="fold")
    for each in report.evidence:
        table.add_row(each.finding.id, each.kernel.release, words[each.reproduced], Text(one_line(each.why)))
    return table
