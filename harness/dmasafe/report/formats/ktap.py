# SPDX-License-Identifier: GPL-2.0-or-later
"""results.ktap: KTAP version 1 (Documentation/dev-tools/ktap.rst), one subtest per controller and policy.

It is what tools/testing/kunit/kunit_parser.py of Linux 6.1 and later reads. Everything that is neither PASS nor SKIP
is "not ok"; the ERROR directive of KTAP marks those that are not the kernel's fault.
"""

from __future__ import annotations

from collections.abc import Iterator

from dmasafe.outcome import Verdict
from dmasafe.report.results import Results, Row, by_place
from dmasafe.report.splat_text import splat_lines
from dmasafe.report.text import one_line

FILE = "results.ktap"
_INDENT = "    "
_DIRECTIVE = {Verdict.SKIP: "SKIP", Verdict.INCONCLUSIVE: "ERROR inconclusive:", Verdict.ERROR: "ERROR"}
_OK = (Verdict.PASS, Verdict.SKIP)


def render(results: Results) -> str:
    """The text of results.ktap."""
    return "".join(line + "\n" for line in lines(results))


def lines(results: Results) -> Iterator[str]:
    groups = by_place(results)
    kernel = results.kernel
    yield "KTAP version 1"
    yield f"# dmasafe {results.suite} on {results.target}: Linux {kernel.release} {kernel.arch}, {kernel.config}"
    if results.reason is not None:
        yield f"# not to be trusted: {one_line(results.reason)}"
    yield f"1..{len(groups)}"
    for number, (place, rows) in enumerate(groups.items(), 1):
        name = _name(place)
        yield f"{_INDENT}KTAP version 1"
        yield f"{_INDENT}# Subtest: {name}"
        yield f"{_INDENT}1..{len(rows)}"
        for case, row in enumerate(rows, 1):
            yield from (_INDENT + line for line in _case(case, row))
        yield _group_result(number, name, rows)


def _case(number: int, row: Row) -> Iterator[str]:
    judgement = row.judgement
    name, why = _name(row.id), one_line(judgement.why)
    ok = judgement.verdict in _OK
    if not ok:
        # Diagnostics come before their result: that is where the kernel's parser looks for them.
        yield f"# {name}: expected {judgement.expected or 'nothing'}, happened {judgement.outcome or 'nothing'}"
        yield f"# {name}: {why}"
        for splat in judgement.splats[:1]:
            yield from (f"# {name}: {line}" for line in splat_lines(splat))
    directive = _DIRECTIVE.get(judgement.verdict)
    # A second " # " on the line would begin a second directive.
    suffix = f" # {directive} {why.replace('#', '')}".rstrip() if directive else ""
    yield f"{'ok' if ok else 'not ok'} {number} {name}{suffix}"


def _group_result(number: int, name: str, rows: list[Row]) -> str:
    verdicts = {row.judgement.verdict for row in rows}
    if verdicts == {Verdict.SKIP}:
        return f"ok {number} {name} # SKIP all of it"
    return f"{'ok' if verdicts <= set(_OK) else 'not ok'} {number} {name}"


def _name(text: str) -> str:
    """A name may hold anything but ``#`` and a newline, and no parser knows an escape: ``#`` becomes ``%23``."""
    return one_line(text).replace("#", "%23")
