# SPDX-License-Identifier: GPL-2.0-or-later
"""Splats read from a log, for people and for machines: a table, JSON, SARIF, KTAP.

A file in a SARIF result is one of the kernel's source tree, relative to SRCROOT.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from dmasafe.dmesg import blame, explanation
from dmasafe.outcome import Splat
from dmasafe.report import sarif
from dmasafe.report.splat_text import blamed, which_of_both
from dmasafe.report.text import general, one_line, visible

_DOCUMENTATION = "https://docs.kernel.org/"


def grouped(splats: Iterable[Splat]) -> list[list[Splat]]:
    """The splats of the same class with the same culprit together, both in the order of the log."""
    groups: dict[tuple[str, str], list[Splat]] = {}
    for splat in splats:
        # Where nobody can be blamed, only the same words are the same thing.
        whom = blamed(splat) or general(one_line(splat.message))
        groups.setdefault((splat.splat_class, whom), []).append(splat)
    return list(groups.values())


def table(splats: Iterable[Splat]) -> Table:
    """One row for each group, with its first splat and, if any group has several, how many there are."""
    groups = grouped(splats)
    headings = ["line", "class", "device", "whom to look at", "what the kernel said"]
    if any(len(group) > 1 for group in groups):
        headings.insert(0, "count")
    rows = Table(show_edge=False, pad_edge=False, header_style="bold")
    for heading in headings:
        rows.add_column(heading, overflow="fold", justify="right" if heading in ("count", "line") else "left")
    for group in groups:
        splat = group[0]
        cut = " (cut short)" if splat.truncated else ""
        devices = dict.fromkeys(" ".join(one_line(part) for part in (s.driver, s.device) if part) for s in group)
        device = next(iter(devices)) + (f" and {len(devices) - 1:,} more" if len(devices) > 1 else "")
        said = one_line(splat.message) + cut
        cells = [f"{len(group):,}", str(splat.log_line), splat.splat_class, device, one_line(blamed(splat)), said]
        # Text, not str: a log's brackets are no markup.
        rows.add_row(*map(Text, cells[-len(headings) :]))
    return rows


def reasons(splats: Iterable[Splat]) -> Iterator[str]:
    """Of transfers with a controller and a client: which of the two is wrong and why, each sentence once."""
    lines: dict[str, list[int]] = {}
    for splat in splats:
        if which := which_of_both(splat):
            lines.setdefault(which, []).append(splat.log_line)
    for which, found in lines.items():
        more = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
        yield f"line {found[0]}{more}: {which}"


def to_json(splats: Iterable[Splat]) -> str:
    """The contract's JSON list; see docs/formats.md."""
    return json.dumps([splat.to_json() for splat in splats], indent=2)


def to_json_line(splat: Splat) -> str:
    """One splat as one line of JSON, for a live log."""
    return json.dumps(splat.to_json())


def to_sarif(splats: Sequence[Splat], log: str) -> str:
    """A SARIF 2.1.0 log: one result a splat, one rule a class; ``log`` is the name of the log that was read."""
    slugs = list(dict.fromkeys(splat.splat_class for splat in splats))
    results = [_result(splat, slugs.index(splat.splat_class), log) for splat in splats]
    return sarif.document([_rule(slug) for slug in slugs], results)


def _rule(slug: str) -> dict[str, Any]:
    told = explanation(slug)
    fixes = "\n".join(f"- {fix}" for fix in told.fixes)
    return {
        "id": slug,
        "shortDescription": {"text": told.means},
        "fullDescription": {"text": told.rule},
        "help": {"text": f"{told.rule}\n\n{fixes}\n\nRead: {', '.join(told.read)}"},
        "helpUri": _DOCUMENTATION,
        "defaultConfiguration": {"level": "error"},
    }


def _result(splat: Splat, rule: int, log: str) -> dict[str, Any]:
    found = blame(splat)
    place: dict[str, Any] = {}
    if found is not None and found.file:
        place["physicalLocation"] = sarif.physical(found.file, found.line)
    else:
        place["physicalLocation"] = {"artifactLocation": {"uri": log}, "region": {"startLine": max(1, splat.log_line)}}
    if found is not None:
        name = f"{found.module}:{found.function}" if found.module else found.function
        place["logicalLocations"] = [{"name": visible(found.function), "fullyQualifiedName": visible(name)}]
    result: dict[str, Any] = {
        "ruleId": splat.splat_class,
        "ruleIndex": rule,
        "level": "error",
        "message": {"text": visible(splat.message) or splat.splat_class},
        "locations": [place],
        "properties": {
            "device": splat.device,
            "driver": splat.driver,
            "fields": dict(splat.fields),
            "logLine": splat.log_line,
            "truncated": splat.truncated,
        },
    }
    frames = [_stack_frame(frame.function, frame.module, frame.file, frame.line) for frame in splat.frames]
    if frames:
        result["stacks"] = [{"frames": frames}]
    return result


def _stack_frame(function: str, module: str | None, file: str | None, line: int | None) -> dict[str, Any]:
    location: dict[str, Any] = {"logicalLocations": [{"name": visible(function)}]}
    if file:
        location["physicalLocation"] = sarif.physical(file, line)
    return {"location": location, **({"module": visible(module)} if module else {})}


def to_ktap(splats: Sequence[Splat]) -> str:
    """KTAP version 1: one failed test a splat, or one passed test for a clean log."""
    lines = ["KTAP version 1", f"1..{max(1, len(splats))}"]
    if not splats:
        lines.append("ok 1 no_splat")
    for number, splat in enumerate(splats, 1):
        lines.append(f"# line {splat.log_line}: {one_line(splat.message)}")
        if whom := blamed(splat):
            lines.append(f"# look at {one_line(whom)}")
        if which := which_of_both(splat):
            lines.append(f"# {which}")
        lines.append(f"not ok {number} {splat.splat_class}")
    return "\n".join(lines)
