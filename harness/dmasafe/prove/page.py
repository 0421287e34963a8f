# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts on candidates for people and for machines: a table, JSON, SARIF with the proof attached, the page."""

from __future__ import annotations

import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from dmasafe.audit import Level
from dmasafe.check import CHECK_RULES
from dmasafe.outcome import Splat
from dmasafe.prove.judge import Status, Verdict
from dmasafe.prove.run import Proofs
from dmasafe.report import sarif
from dmasafe.report.text import one_line, plural

FORMAT = 1
_STYLES = {
    Status.PROVED: "bold red",
    Status.REACHED: "yellow",
    Status.NOT_REACHED: "dim",
    Status.REFUTED: "green",
}
_KINDS = {Status.PROVED: "fail", Status.REACHED: "review", Status.NOT_REACHED: "open", Status.REFUTED: "pass"}
_FRAMES_SHOWN = 12
PAGE_COLUMNS = 100
_ATTEMPTS = re.compile(r" in (?:all )?\d+(?: of \d+)? attempts")
_HEAD = """<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
"""


def command_of(verdict: Verdict, proofs: Proofs) -> str:
    """The line that repeats it."""
    return f"dmasafe prove {verdict.candidate.file}:{verdict.candidate.line} --kernel {proofs.kernel_source}"


def table(proofs: Proofs) -> Iterator[Table | Text]:
    """A row a candidate, the counts at the end; for a single one the report as well."""
    found = Table(show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("", "candidate", "function", "why"):
        found.add_column(heading, overflow="fold")
    for one in proofs.verdicts:
        place = f"{one.candidate.file}:{one.candidate.line}"
        found.add_row(Text(one.status, _STYLES[one.status]), place, one.candidate.function, Text(one_line(one.why)))
    yield found
    if len(proofs.verdicts) == 1 and proofs.verdicts[0].splat is not None:
        yield Text("\n".join(["", *report_lines(proofs.verdicts[0].splat)]))
    yield Text("")
    yield Text(counts(proofs.verdicts))
    for note in proofs.notes:
        yield Text(one_line(note), "yellow")


def counts(verdicts: Sequence[Verdict]) -> str:
    """How many there are of each status, and of the errors how many in a hundred."""
    tally = Counter(one.status for one in verdicts)
    words = ", ".join(f"{tally[status]} {status}" for status in Status)
    functions = {(one.candidate.file, one.candidate.function) for one in verdicts if one.status is Status.PROVED}
    drivers = {file for file, _ in functions}
    return (
        f"{plural(len(verdicts), 'candidate')}: {words}; those proved are in "
        f"{plural(len(functions), 'function')} of {plural(len(drivers), 'file')}"
    )


def report_lines(splat: Splat) -> list[str]:
    """The kernel's report, as far as it concerns the driver."""
    lines = [f"{splat.splat_class}: {splat.message}"]
    for frame in [frame for frame in splat.frames if frame.reliable][:_FRAMES_SHOWN]:
        where = f" {frame.file}:{frame.line}" if frame.file else ""
        lines.append(f"  {frame.function}{f' [{frame.module}]' if frame.module else ''}{where}")
    return lines


def to_json(proofs: Proofs) -> dict[str, Any]:
    """See docs/prove.md."""
    return {
        "schema": FORMAT,
        "release": proofs.release,
        "counts": {str(status): sum(one.status is status for one in proofs.verdicts) for status in Status},
        "notes": list(proofs.notes),
        "results": [
            {
                **one.candidate.to_json(),
                "status": str(one.status),
                "proof": one.why,
                "driver": one.driver,
                "board": one.attempt.wish if one.attempt is not None else "",
                "said": list(one.attempt.said) if one.attempt is not None else [],
                "splat": one.splat.to_json() if one.splat is not None else None,
                "command": command_of(one, proofs),
            }
            for one in proofs.verdicts
        ],
    }


def to_sarif(proofs: Proofs) -> str:
    """A SARIF 2.1.0 log: the check's results with their verdicts; a proof's backtrace is a stack."""
    slugs = list(dict.fromkeys(one.candidate.rule for one in proofs.verdicts))
    results = [_result(one, proofs, slugs) for one in proofs.verdicts]
    return sarif.document([sarif.rule(slug, CHECK_RULES[slug]) for slug in slugs], results)


def _result(one: Verdict, proofs: Proofs, slugs: Sequence[str]) -> dict[str, Any]:
    candidate = one.candidate
    proved = one.status is Status.PROVED
    result: dict[str, Any] = {
        "ruleId": candidate.rule,
        "ruleIndex": slugs.index(candidate.rule),
        "kind": _KINDS[one.status],
        # SARIF has levels for what failed only.
        "level": str(candidate.level) if proved else "none",
        "message": {"text": one_line(f"{one.status}: {one.why}. {candidate.why}: goes to {candidate.sink}.")},
        "locations": [sarif.location(candidate.function, None, candidate.file, candidate.line)],
        "partialFingerprints": {"dmasafe/v1": candidate.fingerprint},
        "properties": {
            "status": str(one.status), "kernel": proofs.release, "command": command_of(one, proofs),
            **({"report": "\n".join(report_lines(one.splat))} if one.splat is not None else {}),
        },
    }  # fmt: skip
    if one.splat is not None:
        frames = [
            {"location": sarif.location(frame.function, frame.module, frame.file, frame.line)}
            for frame in one.splat.frames
            if frame.reliable
        ]
        result["stacks"] = [{"message": {"text": one_line(one.splat.message)}, "frames": frames}]
    return result


def to_markdown(proofs: Proofs) -> Iterator[str]:
    """The page: counts, then what was proved by subsystem, then what was not, and why."""
    errors = [one for one in proofs.verdicts if one.candidate.level is Level.ERROR]
    yield _HEAD.strip()
    yield f'<!-- Written by "dmasafe prove --all --kernel {proofs.kernel_source} --format markdown". -->'
    yield "# Proved by a boot"
    yield ""
    tally = Counter(one.status for one in errors)
    shares = (f"{tally[status]} {status} ({tally[status] * 100 / max(1, len(errors)):.1f} %)" for status in Status)
    yield from textwrap.wrap(
        "What `dmasafe check` suspects of SPI client drivers, put on emulated boards ([prove.md](prove.md)). "
        f"The drivers are those of Linux {proofs.release}, unmodified. {counts(proofs.verdicts)}. "
        f"Of the {len(errors)} that the check calls errors: {', '.join(shares)}.",
        PAGE_COLUMNS,
    )
    by_folder: dict[str, list[Verdict]] = defaultdict(list)
    for one in proofs.verdicts:
        by_folder["/".join(one.candidate.file.split("/")[1 : 3 if one.candidate.file.count("/") > 2 else 2])].append(
            one
        )
    yield ""
    yield "| subsystem | rule | candidates | proved | reached | not reached | refuted |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for folder, found in sorted(by_folder.items()):
        for rule in sorted({one.candidate.rule for one in found}):
            mine = [one for one in found if one.candidate.rule == rule]
            cells = " | ".join(str(sum(one.status is status for one in mine)) for status in Status)
            yield f"| {folder} | {rule} | {len(mine)} | {cells} |"
    yield ""
    yield "## Proved"
    yield ""
    yield "Repeat one with `dmasafe prove FILE:LINE`, as it stands in the first column."
    for folder, found in sorted(by_folder.items()):
        proved = [one for one in found if one.status is Status.PROVED]
        if proved:
            yield ""
            yield f"### {folder}"
            yield ""
            yield "| place | function | buffer | goes to | reported |"
            yield "|---|---|---|---|---|"
        for one in proved:
            splat_class = one.splat.splat_class if one.splat is not None else ""
            yield _row(_place(one), one.candidate.function, f"{one.candidate.name} ({one.candidate.kind})",
                       one.candidate.sink, splat_class)  # fmt: skip
    yield ""
    yield "## Not proved"
    yield ""
    yield "Why candidates were not reached, as often as each reason comes:"
    yield ""
    yield "| reason | candidates | files |"
    yield "|---|---:|---:|"
    for reason, files in sorted(reasons(proofs.verdicts).items(), key=lambda item: (-len(item[1]), item[0])):
        yield f"| {one_line(reason)} | {len(files)} | {len(set(files))} |"
    yield ""
    yield "| place | function | status | why |"
    yield "|---|---|---|---|"
    for one in proofs.verdicts:
        if one.status is not Status.PROVED:
            yield _row(_place(one), one.candidate.function, str(one.status), one.why)
    if proofs.notes:
        yield ""
        yield "## Why not all was seen"
        yield ""
        yield "| driver | |"
        yield "|---|---|"
        for note in proofs.notes:
            driver, _, why = note.partition(": ")
            yield _row(driver, why)


def reasons(verdicts: Sequence[Verdict]) -> dict[str, list[str]]:
    """Why candidates were not reached: for each reason their files, without how often and what the driver said."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in verdicts:
        if one.status is Status.NOT_REACHED:
            found[_ATTEMPTS.sub("", one.why.partition(";")[0])].append(one.candidate.file)
    return found


def _place(one: Verdict) -> str:
    return f"{one.candidate.file}:{one.candidate.line}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(one_line(cell).replace("|", "\\|") for cell in cells) + " |"
