# SPDX-License-Identifier: GPL-2.0-or-later
"""A check of the source for people and for machines: frames of code, one line a result, JSON, SARIF."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.text import Text

from dmasafe.audit import Level
from dmasafe.check import CHECK_RULES, Checked, CheckResult
from dmasafe.report import sarif
from dmasafe.report.text import one_line, plural

FORMAT = 1
_STYLES = {Level.ERROR: "bold red", Level.WARNING: "yellow", Level.NOTE: "dim"}


def table(checked: Checked) -> Iterator[Text]:
    """Each result with its way through the code and what to do; the counts at the end."""
    for result in checked.results:
        place = f"{result.file}:{result.line}: {result.function}()"
        yield Text(one_line(f"{result.level}: {result.rule}: {place}"), _STYLES[result.level])
        yield Text(f"  {one_line(result.why)}")
        for step in result.steps:
            yield Text(f"    {one_line(f'{step.file}:{step.line}: {step.code or step.what}')}", "dim")
        yield Text(f"  {one_line(result.sink)}: {one_line(result.document)}")
        yield Text(f"  {one_line(result.fix)}")
        yield Text()
    for name in checked.skipped:
        yield Text(f"not read: {one_line(name)}: more than 32 MiB", "yellow")
    yield Text(_counts(checked))


def _counts(checked: Checked) -> str:
    counts = Counter(result.level for result in checked.results)
    found = ", ".join(plural(counts[level], str(level)) for level in Level if counts[level])
    return f"{plural(checked.files, 'file')}: {found or 'nothing found'}"


def lines(checked: Checked) -> Iterator[str]:
    """``file:line: rule: message``, as editors read it."""
    for result in checked.results:
        yield one_line(f"{result.file}:{result.line}: {result.rule}: {result.why}: goes to {result.sink}")


def to_markdown(checked: Checked) -> Iterator[str]:
    """The counts by directory, by bus and by rule, then every error."""
    yield f"{plural(checked.files, 'file')}, {plural(len(checked.results), 'result')}."
    keys: dict[str, Callable[[CheckResult], str]] = {
        "directory": lambda one: "/".join(one.file.split("/")[:-1][:3]),
        "bus": lambda one: one.bus,
        "rule": lambda one: one.rule,
    }
    for heading, key in keys.items():
        counts = Counter((key(one), one.level) for one in checked.results)
        yield f"\n| {heading} | errors | warnings | notes |\n|---|---:|---:|---:|"
        for name in sorted({name for name, _level in counts}):
            yield f"| {name} | " + " | ".join(str(counts[name, level]) for level in Level) + " |"
    yield "\n| error | function | buffer | memory | goes to |\n|---|---|---|---|---|"
    for one in checked.results:
        if one.level is Level.ERROR:
            cells = (f"{one.file}:{one.line}", one.function, one.name, one.kind, one.sink)
            yield "| " + " | ".join(one_line(cell).replace("|", "\\|") for cell in cells) + " |"


def to_json(checked: Checked) -> dict[str, Any]:
    """See docs/check.md."""
    counts = Counter(str(result.level) for result in checked.results)
    return {
        "schema": FORMAT,
        "files": checked.files,
        "skipped": list(checked.skipped),
        "counts": {str(level): counts[str(level)] for level in Level},
        "results": [result.to_json() for result in checked.results],
    }


def to_sarif(checked: Checked) -> str:
    """A SARIF 2.1.0 log: the way of each buffer is a code flow."""
    slugs = list(dict.fromkeys(result.rule for result in checked.results))
    rules = [sarif.rule(slug, CHECK_RULES[slug]) for slug in slugs]
    return sarif.document(rules, [sarif_result(result, slugs) for result in checked.results])


def sarif_result(result: CheckResult, slugs: Sequence[str]) -> dict[str, Any]:
    """A result of a SARIF log whose rules are ``slugs``."""
    flow = [
        {
            "location": {
                **sarif.location(step.function, None, step.file, step.line),
                "message": {"text": one_line(step.what)},
            }
        }
        for step in result.steps
    ]
    return {
        "ruleId": result.rule,
        "ruleIndex": slugs.index(result.rule),
        "level": str(result.level),
        "message": {"text": one_line(f"{result.why}: goes to {result.sink}. {result.fix}")},
        "locations": [sarif.location(result.function, None, result.file, result.line)],
        "codeFlows": [{"threadFlows": [{"locations": flow}]}],
        "partialFingerprints": {"dmasafe/v1": result.fingerprint},
        "properties": {"kind": result.kind, "bus": result.bus, "document": result.document},
    }
