# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe selftest``: wreck runs in every known way, and see whether the harness notices, says why, and cleans up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from dmasafe.cli.options import CliError, completing, kernel_options, kernel_words
from dmasafe.cli.output import Output, output_options
from dmasafe.errors import unknown
from dmasafe.kernel import load_matrix
from dmasafe.report.progress import ProgressDisplay
from dmasafe.report.text import one_line
from dmasafe.selftest.cases import CASES
from dmasafe.selftest.examine import CaseResult, examine_all
from dmasafe.targets.prepare import KernelChoice, prepare
from dmasafe.targets.sabotage import MODULES

_WIDTH = max(map(len, CASES))


@click.command(name="selftest", epilog="Examples: dmasafe selftest --list | dmasafe selftest --only guest-panic")
@click.option(
    "--only", metavar="NAME", multiple=True, shell_complete=completing(lambda: CASES), help="This case; repeatable."
)
@click.option("--list", "only_list", is_flag=True, help="Only say which cases there are; nothing is run.")
@output_options("table", "json")
@click.option("--jobs", type=click.IntRange(1, 16), help="Cases at a time; default: one a processor, two at most.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Where to put what a case that went wrong printed and left."
)
@kernel_options
def command(
    only: tuple[str, ...],
    only_list: bool,
    jobs: int | None,
    keep: Path | None,
    kernel: KernelChoice,
    output: Output,
) -> int:
    """Wreck runs in every known way: does the harness notice in time, name the cause, keep results, leave nothing?

    Exit status: 0 it did each time, 1 it let something pass, missed a reason or left something behind.
    """
    for name in only:
        if name not in CASES:
            raise CliError(unknown("case", name, CASES))
    configurations = load_matrix().configurations
    cases = [CASES[name] for name in dict.fromkeys(only)] or [
        case
        for case in CASES.values()
        if not case.configuration or kernel.arch in configurations[case.configuration].architectures
    ]
    if only_list:
        output.show(
            table=lambda: (f"{case.name:{_WIDTH}}  {case.what}" for case in cases),
            json=lambda: [{"sabotage": case.name, "what": case.what, "bound_s": case.bound_s} for case in cases],
        )
        return 0
    with ProgressDisplay() as progress:
        # What the cases share is made before their bounds count.
        prepare(*kernel, progress)
        prepare(*kernel, progress, extra_modules=MODULES)
        for configuration in sorted({case.configuration for case in cases} - {""}):
            prepare(*kernel._replace(configuration=configuration), progress, extra_modules=MODULES)
        progress.stage("selftest")
        results = []
        # What is the default anyway stays free for a case to choose.
        for result in examine_all(cases, kernel_words(kernel), jobs, keep):
            results.append(result)
            if result.wrong:
                progress.note(f"{result.case.name}: {'; '.join(result.wrong)}")
            progress.advance(len(results), len(cases), result.case.name)
    output.show(table=lambda: _table(results), json=lambda: [_to_json(result) for result in results])
    return 1 if any(result.wrong for result in results) else 0


def _table(results: Sequence[CaseResult]) -> Iterator[str]:
    """One line a case, however long its reason: a table of cells would cut it where the cause stands."""
    for result in results:
        bound, took = f"{result.case.bound_s:.0f} s", f"{result.took_s:.1f} s"
        yield f"{result.case.name:{_WIDTH}}  {bound:>5}  {took:>7}  {result.verdict:12}  {one_line(result.reason)}"
        yield from (f"{'':{_WIDTH}}  WRONG: {one_line(what)}" for what in result.wrong)
    right = sum(not result.wrong for result in results)
    yield f"{right} of {len(results)} sabotages were noticed in time, for the right reason, with nothing left over"


def _to_json(result: CaseResult) -> dict[str, object]:
    return {
        "sabotage": result.case.name,
        "what": result.case.what,
        "bound_s": result.case.bound_s,
        "took_s": round(result.took_s, 3),
        "verdict": result.verdict,
        "reason": result.reason,
        "wrong": list(result.wrong),
    }
