# SPDX-License-Identifier: GPL-2.0-or-later
"""A check of the source for people and for machines: frames of code, one line a result, JSON, SARIF."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from dmasafe.audit import Level
from dmasafe.check import CHECK_RULES, Checked, CheckError, CheckResult
from dmasafe.decode import convert
from dmasafe.errors import os_sentence
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
    return f"{plural(checked.files, 'file')}: {_found(checked)}"


def _found(checked: Checked) -> str:
    counts = Counter(result.level for result in checked.results)
    return ", ".join(plural(counts[level], str(level)) for level in Level if counts[level]) or "nothing found"


def lines(checked: Checked) -> Iterator[str]:
    """``file:line: rule: message``, as editors read it."""
    for result in checked.results:
        yield one_line(f"{result.file}:{result.line}: {result.rule}: {result.why}: goes to {result.sink}")


def to_markdown(checked: Sequence[Checked]) -> Iterator[str]:
    """The counts by rule, by bus and by directory, a column for each kernel; of a single one then every error."""
    names = [one.release or "the files" for one in checked]
    for name, one in zip(names, checked, strict=True):
        yield f"- Linux {name}: {plural(one.files, 'file')}, {_found(one)}" if one.release else f"- {_counts(one)}"
    yield "\nErrors / warnings / notes:"
    keys: dict[str, Callable[[CheckResult], str]] = {
        "rule": lambda one: f"`{one.rule}`",
        "bus": lambda one: one.bus,
        "directory": lambda one: "/".join(one.file.split("/")[:-1][:2]),
    }
    for heading, key in keys.items():
        counts = [Counter((key(result), result.level) for result in one.results) for one in checked]
        yield f"\n| {heading} | {' | '.join(names)} |\n|---|{'---:|' * len(names)}"
        for name in sorted({name for count in counts for name, _level in count}):
            cells = (" / ".join(str(count[name, level]) for level in Level) for count in counts)
            yield f"| {one_line(name)} | {' | '.join(cells)} |"
    if len(checked) == 1:
        yield "\n| error | function | buffer | memory | goes to |\n|---|---|---|---|---|"
        for result in checked[0].results:
            if result.level is Level.ERROR:
                row = (f"{result.file}:{result.line}", result.function, result.name, result.kind, result.sink)
                yield "| " + " | ".join(one_line(cell).replace("|", "\\|") for cell in row) + " |"


def to_json(checked: Checked) -> dict[str, Any]:
    """See docs/check.md."""
    counts = Counter(str(result.level) for result in checked.results)
    return {
        "schema": FORMAT,
        "kernel": checked.release,
        "files": checked.files,
        "skipped": list(checked.skipped),
        "counts": {str(level): counts[str(level)] for level in Level},
        "results": [result.to_json() for result in checked.results],
    }


def from_json(path: Path) -> Checked:
    """An earlier check, from the file that to_json() was written to. Raises CheckError."""
    try:
        made = json.loads(path.read_bytes())
        results = tuple(
            convert(one, CheckResult, f"{path}: results", CheckError, extra=True) for one in made["results"]
        )
        return Checked(results, int(made["files"]), 0, tuple(made["skipped"]), str(made.get("kernel", "")))
    except OSError as error:
        raise CheckError(os_sentence("read", path, error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckError(f"{path} is no result of 'dmasafe check --format json'") from error


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
