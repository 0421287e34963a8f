# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe selftest``: wreck runs in every known way, and see whether the harness notices, says why, and cleans up."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from dmasafe import kernel as kernels
from dmasafe.cli.options import kernel_options
from dmasafe.cli.selftest_arena import Arena, SelftestError
from dmasafe.cli.selftest_cases import BOUND_S, CASES, INTERRUPTED, Case, Finding, Results, read_results
from dmasafe.report.progress import Progress
from dmasafe.report.text import one_line
from dmasafe.targets.prepare import DEFAULT_ARCH, DEFAULT_CONFIGURATION, prepare
from dmasafe.targets.sabotage import MODULES

# More would wait for processors, and the bounds are for runs that get one.
MOST_AT_ONCE = 2


@click.command(name="selftest", epilog="Examples: dmasafe selftest | dmasafe selftest --only guest-panic --format json")
@click.option("--only", metavar="NAME", multiple=True, type=click.Choice(list(CASES)), help="This case; repeatable.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--jobs", type=click.IntRange(1, 16), help="Cases at a time; default: one a processor, two at most.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Where to put what a case that went wrong printed and left."
)
@kernel_options
def command(
    only: tuple[str, ...],
    form: str,
    jobs: int | None,
    keep: Path | None,
    kernel_source: str,
    configuration: str,
    arch: str,
    accel: str | None,
) -> int:
    """Wreck runs in every known way: does the harness notice in time, name the cause, keep results, leave nothing?

    Exit status: 0 it did each time, 1 it let something pass, missed a reason or left something behind.
    """
    cases = [CASES[name] for name in dict.fromkeys(only)] or list(CASES.values())
    with Progress() as progress:
        # What the cases share is made before their bounds count.
        prepare(kernel_source, configuration, arch, accel, progress)
        prepare(kernel_source, configuration, arch, accel, progress, extra_modules=MODULES)
        progress.stage("selftest")
        options = _kernel_arguments(kernel_source, configuration, arch, accel)
        findings = []
        for finding in _all(cases, options, jobs or min(MOST_AT_ONCE, len(os.sched_getaffinity(0))), keep):
            findings.append(finding)
            if finding.wrong:
                progress.note(f"{finding.case.name}: {'; '.join(finding.wrong)}")
            progress.advance(len(findings), len(cases), finding.case.name)
    if form == "json":
        click.echo(json.dumps([_to_json(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    return 1 if any(finding.wrong for finding in findings) else 0


def _kernel_arguments(source: str, configuration: str, arch: str, accel: str | None) -> list[str]:
    """The same kernel for the runs; what is the default anyway stays free for a case to choose."""
    arguments = [] if source == kernels.DEFAULT_SOURCE else ["--kernel", source]
    arguments += [] if configuration == DEFAULT_CONFIGURATION else ["--config", configuration]
    arguments += [] if arch == DEFAULT_ARCH else ["--arch", arch]
    return [*arguments, *([] if accel is None else ["--accel", accel])]


def _all(cases: Sequence[Case], options: Sequence[str], jobs: int, keep: Path | None) -> Iterator[Finding]:
    stop = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(lambda case: examine(case, options, stop, keep), cases)
        finally:
            # Of use after Ctrl-C only: the runs are in sessions of their own and do not hear it.
            stop.set()
            pool.shutdown(cancel_futures=True)


def examine(case: Case, options: Sequence[str], stop: threading.Event, keep: Path | None = None) -> Finding:
    """Carry out one case and hold what happened against its row."""
    with Arena(options, case.bound_s, BOUND_S, stop) as arena:
        finding = _carry_out(case, arena)
        if finding.wrong and keep is not None:
            shutil.copytree(arena.directory, keep / case.name, symlinks=True, dirs_exist_ok=True)
        return finding


def _carry_out(case: Case, arena: Arena) -> Finding:
    started = time.monotonic()
    try:
        case.start(arena)
        statuses = arena.wait()
    except SelftestError as error:
        return Finding(case, time.monotonic() - started, "none", str(error), (str(error),))
    took_s = time.monotonic() - started
    if statuses is None:
        return Finding(case, took_s, "none", "", (f"it did not end within {case.bound_s:g} s",))
    wrong = []
    if any(status not in case.statuses for status in statuses):
        wrong.append(f"exit status {statuses}, not {' or '.join(map(str, case.statuses))}")
    printed = arena.text("stdout") + arena.text("stderr")
    if "Traceback (most recent call last)" in printed:
        wrong.append("a traceback")
    results = None
    try:
        results = read_results(arena)
    except (SelftestError, ValueError, KeyError) as error:
        wrong.append(str(error))
    if case.kept and results is None:
        wrong.append("no results were kept")
    reason = _reason(case, results, printed)
    if reason is None:
        seen = results.reasons if results is not None and results.reasons else (printed[-300:],)
        reason = max(set(seen), key=seen.count)
        wrong.append(f"the reason does not name the cause: {reason}")
    if results is not None and results.counts["pass"] and not case.passes:
        wrong.append(f"{results.counts['pass']} scenarios passed")
    if results is not None and results.counts["pass"] < case.keeps:
        wrong.append("nothing of the sound part was kept")
    if results is not None and results.counts["fail"]:
        wrong.append(f"{results.counts['fail']} scenarios failed: the driver was blamed")
    wrong += [f"left behind: {what}" for what in arena.left_behind()]
    return Finding(case, took_s, _verdict(max(statuses), results), reason, tuple(wrong))


def _reason(case: Case, results: Results | None, printed: str) -> str | None:
    """The reason given, if it is the right one: one of the INCONCLUSIVE's, and then all of them match."""
    wanted = re.compile(case.reason, re.MULTILINE)
    if results is not None and results.reasons:
        return results.reasons[0] if all(wanted.search(reason) for reason in results.reasons) else None
    found = next((line for line in printed.splitlines() if wanted.search(line)), None)
    return None if found is None else found.removeprefix("dmasafe: ")


def _verdict(status: int, results: Results | None) -> str:
    if status == INTERRUPTED:
        return "interrupted"
    if status == 0:
        return "PASS"
    return "INCONCLUSIVE" if results is not None and results.counts["inconclusive"] else "ERROR"


def _print(findings: Sequence[Finding]) -> None:
    """One line a case, however long its reason: a table of cells would cut it where the cause stands."""
    width = max(len(finding.case.name) for finding in findings)
    for finding in findings:
        bound, took = f"{finding.case.bound_s:.0f} s", f"{finding.took_s:.1f} s"
        reason = one_line(finding.reason)
        click.echo(f"{finding.case.name:{width}}  {bound:>5}  {took:>7}  {finding.verdict:12}  {reason}")
        for what in finding.wrong:
            click.echo(f"{'':{width}}  WRONG: {one_line(what)}")
    right = sum(not finding.wrong for finding in findings)
    click.echo(
        f"{right} of {len(findings)} sabotages were noticed in time, for the right reason, with nothing left over"
    )


def _to_json(finding: Finding) -> dict[str, object]:
    return {
        "sabotage": finding.case.name,
        "what": finding.case.what,
        "bound_s": finding.case.bound_s,
        "took_s": round(finding.took_s, 3),
        "verdict": finding.verdict,
        "reason": finding.reason,
        "wrong": list(finding.wrong),
    }
