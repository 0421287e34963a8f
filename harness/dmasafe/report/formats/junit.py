# SPDX-License-Identifier: GPL-2.0-or-later
"""junit.xml: what CI servers show. One testsuite per controller and policy, one testcase per scenario.

FAIL is a failure; INCONCLUSIVE and ERROR are errors, so that no CI server counts them as passed; SKIP is skipped.
"""

from __future__ import annotations

import junitparser

from dmasafe.outcome import Verdict
from dmasafe.report.results import Results, Row, by_place
from dmasafe.report.splat_text import splat_lines
from dmasafe.report.text import one_line, xml_text

FILE = "junit.xml"
_RESULT = {
    Verdict.FAIL: junitparser.Failure,
    Verdict.INCONCLUSIVE: junitparser.Error,
    Verdict.ERROR: junitparser.Error,
    Verdict.SKIP: junitparser.Skipped,
}


class _Case(junitparser.TestCase):
    # A text, for junitparser's own number makes 5e-05 of 50 µs, which is no xs:decimal.
    time = junitparser.Attr("time")


def render(results: Results) -> str:
    """The text of junit.xml."""
    report = junitparser.JUnitXml(f"dmasafe {results.suite}")
    for place, rows in by_place(results).items():
        suite = junitparser.TestSuite(place)
        for name, value in _properties(results).items():
            suite.add_property(name, xml_text(value))
        # add_testcase() would count the whole suite again for each of them.
        suite.add_testcases([_testcase(row, results.suite) for row in rows])
        report.append(suite)
    report.update_statistics()
    return f'<?xml version="1.0" encoding="utf-8"?>\n{report.tostring().decode()}\n'


def _properties(results: Results) -> dict[str, str]:
    kernel = results.kernel
    found = {
        "kernel.release": kernel.release,
        "kernel.arch": kernel.arch,
        "kernel.config": kernel.config,
        "kernel.source": kernel.source,
        "target": results.target,
        "accel": results.accel or "none",
        "canary.splatted": str(results.canary_splatted).lower(),
    }
    return found if results.reason is None else found | {"untrusted": results.reason}


def _testcase(row: Row, suite: str) -> junitparser.TestCase:
    judgement = row.judgement
    # Dots make a CI server's tree: suite, controller, policy, buffer kind, and the scenario as its leaf.
    classname = ".".join(part for part in ("dmasafe", suite, row.controller, row.policy, row.buffer) if part)
    case = _Case(xml_text(row.id), xml_text(classname))
    case.time = f"{(judgement.us or 0.0) / 1e6:.6f}"
    kind = _RESULT.get(judgement.verdict)
    if kind is not None:
        result = kind(xml_text(one_line(judgement.why)), judgement.verdict.lower())
        if judgement.verdict is not Verdict.SKIP:
            result.text = xml_text("\n".join(_explanation(row)))
        case.result = [result]
    elif judgement.splats:
        case.system_out = xml_text("\n".join(_explanation(row)))
    return case


def _explanation(row: Row) -> list[str]:
    judgement = row.judgement
    lines = [
        f"expected: {judgement.expected or 'nothing'}",
        f"happened: {judgement.outcome or 'nothing was observed'}",
        f"why: {judgement.why}",
        f"again: {row.again}",
    ]
    for splat in judgement.splats:
        lines.extend(splat_lines(splat))
    return lines
