# SPDX-License-Identifier: GPL-2.0-or-later
"""Carry out the cases of the self-test, and compare what happened with what each case's row says."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dmasafe.report import directory
from dmasafe.selftest.arena import Arena, SelftestError
from dmasafe.selftest.cases import BOUND_S, INTERRUPTED, Case

# More would wait for processors, and the bounds are for runs that get one.
MOST_AT_ONCE = 2


@dataclass(frozen=True)
class CaseResult:
    """What came of one case. ``took_s`` is compared with its bound. ``wrong`` says what the harness missed."""

    case: Case
    took_s: float
    verdict: str
    reason: str
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """What is used of a results.json: the counts, and the reason of each INCONCLUSIVE or ERROR."""

    counts: dict[str, int]
    reasons: tuple[str, ...]


def read_results(arena: Arena) -> Results | None:
    """DIR/latest's results.json, None if there is none. Raises SelftestError if its files are not all there."""
    latest = arena.out / "latest"
    if not latest.is_dir():
        return None
    files = {path.name for path in latest.iterdir()}
    missing = set(directory.file_names()) - files
    if missing:
        raise SelftestError(f"the results lack {', '.join(sorted(missing))}")
    found = json.loads((latest / "results.json").read_text())
    rows = found["scenarios"]
    if sum(found["counts"].values()) != len(rows):
        raise SelftestError("the results' counts do not add up")
    reasons = tuple(row["why"] for row in rows if row["verdict"] in ("INCONCLUSIVE", "ERROR"))
    return Results(found["counts"], reasons)


def examine_all(
    cases: Sequence[Case], options: Sequence[str], jobs: int | None = None, keep: Path | None = None
) -> Iterator[CaseResult]:
    """Carry out the cases, ``jobs`` at a time (by default one a processor, two at most), and yield in their order.

    ``options`` choose the kernel, as on the command line; what a case that went wrong left is copied below ``keep``.
    """
    jobs = jobs or min(MOST_AT_ONCE, len(os.sched_getaffinity(0)))
    stop = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(lambda case: examine(case, options, stop, keep), cases)
        finally:
            # Of use after Ctrl-C only: the runs are in sessions of their own and do not hear it.
            stop.set()
            pool.shutdown(cancel_futures=True)


def examine(case: Case, options: Sequence[str], stop: threading.Event, keep: Path | None = None) -> CaseResult:
    """Carry out one case and compare what happened with its row."""
    with Arena(options, case.bound_s, BOUND_S, stop) as arena:
        result = _carry_out(case, arena)
        if result.wrong and keep is not None:
            shutil.copytree(arena.directory, keep / case.name, symlinks=True, dirs_exist_ok=True)
        return result


def _carry_out(case: Case, arena: Arena) -> CaseResult:
    try:
        case.start(arena)
        statuses = arena.wait()
    except SelftestError as error:
        return CaseResult(case, arena.took_s, "none", str(error), (str(error),))
    took_s = arena.took_s
    if statuses is None:
        return CaseResult(case, took_s, "none", "", (f"it did not end within {case.bound_s:g} s",))
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
    return CaseResult(case, took_s, _verdict(max(statuses), results), reason, tuple(wrong))


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
