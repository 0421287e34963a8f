# SPDX-License-Identifier: GPL-2.0-or-later
"""An audit for people and for machines: a table, JSON, SARIF with the callers' files and lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from dmasafe.audit import RULES, AuditFinding, Dma, Judgement, Level, MessageKind, Record
from dmasafe.outcome import Frame, Splat
from dmasafe.report import sarif
from dmasafe.report.splat_text import blamed, frame_text
from dmasafe.report.text import one_line, plural, visible

FORMAT = 1
INCONCLUSIVE = 2
_STYLES = {Level.ERROR: "bold red", Level.WARNING: "yellow", Level.NOTE: "dim"}


def table(record: Record, judgement: Judgement) -> Table:
    """One row a kind of message: who sent it, what its buffer is, what is wrong with that."""
    rows = Table(show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("caller", "bus", "message", "buffer", "verdict"):
        rows.add_column(heading, overflow="fold")
    for kind in sorted(record.kinds, key=_order):
        found = [finding for finding in judgement.findings if any(one is kind for one in finding.kinds)]
        # Text, not str: a kernel's brackets are no markup.
        cells = (_caller(kind), _bus(kind), _message(kind), _buffer(kind))
        rows.add_row(*(Text(one_line(cell)) for cell in cells), _verdict(kind, found))
    return rows


def _order(kind: MessageKind) -> tuple[Any, ...]:
    return (kind.adapter, kind.address, _caller(kind), kind.read, kind.memory_class)


def _caller(kind: MessageKind) -> str:
    at = kind.blamed
    who = place_text(at) if at is not None else "?"
    return f"{who} for {kind.client_driver}" if at is None and kind.client_driver else who


def place_text(frame: Frame) -> str:
    """``function+0x1 [module] file:line``."""
    text = frame.function + (f"+{frame.offset:#x}" if frame.offset is not None and frame.file is None else "")
    text += f" [{frame.module}]" if frame.module else ""
    if frame.file:
        text += f" {frame.file}" + (f":{frame.line}" if frame.line is not None else "")
    return text


def _bus(kind: MessageKind) -> str:
    return f"{kind.adapter}-{kind.address:04x}" + (f" {kind.adapter_driver}" if kind.adapter_driver else "")


def _message(kind: MessageKind) -> str:
    length = f"{kind.min_bytes}" if kind.min_bytes == kind.max_bytes else f"{kind.min_bytes} to {kind.max_bytes}"
    marked = "marked" if kind.dma_safe else "unmarked"
    return f"{kind.count} x {'read' if kind.read else 'write'} of {length}, {marked}"


def _buffer(kind: MessageKind) -> str:
    text = kind.memory_class
    if kind.object_size is not None:
        text += f" ({kind.offset} in {kind.cache or 'object'} of {kind.object_size})"
    if kind.symbol is not None:
        text += f" {kind.symbol}"
    return text + (f", {kind.mapped} mapped" if kind.mapped else "")


def _verdict(kind: MessageKind, found: Sequence[AuditFinding]) -> Text:
    if found:
        return Text(", ".join(finding.rule for finding in found), _STYLES[found[0].level])
    unknown = kind.dma_safe and kind.memory.dma is Dma.UNKNOWN
    return Text("cannot be told", "yellow") if unknown else Text("ok")


def lines(record: Record, judgement: Judgement, splats: Sequence[Splat], strict: bool) -> Iterator[Text]:
    """What stands below the table: findings with what to do, the kernel's own reports, what is not known, the end."""
    for finding in judgement.findings:
        yield Text()
        yield Text(f"{finding.level}: {finding.rule}: {one_line(_blamed(finding))}", _STYLES[finding.level])
        yield Text(f"  {one_line(finding.why)}")
        for kind in finding.also:
            yield Text(f"  also {one_line(_message(kind))} at {one_line(_caller(kind))} ({one_line(_bus(kind))})")
        for splat in splats:
            if finding.tells(splat):
                yield Text(f"  the kernel reported it too: {one_line(_report(splat))}")
        for frame in finding.kind.frames if RULES[finding.rule].at_caller else ():
            yield Text(f"    {one_line(frame_text(frame))}", "dim")
        yield Text(f"  {RULES[finding.rule].fix}")
    yield Text()
    yield from (Text(f"note: {one_line(note)}") for note in judgement.notes)
    others = _others(judgement, splats)
    yield from (Text(f"the kernel reported {one_line(_report(splat))}", "bold red") for splat in others)
    yield Text(
        f"{plural(record.messages, 'message')} in {plural(record.transfers, 'transfer')} ({record.failed} failed), "
        f"{plural(len(record.kinds), 'kind')} of message, {plural(len(judgement.findings), 'finding')}"
        + (f", {plural(len(others), 'other report')} of the kernel's" if others else "")
    )
    word = "INCONCLUSIVE" if status(judgement, splats, strict) == INCONCLUSIVE else "note"
    yield from (Text(f"{word}: {one_line(why)}", "yellow") for why in judgement.distrust)
    if word == "note" or not judgement.distrust:
        yield _end(judgement, splats, strict)


def _others(judgement: Judgement, splats: Sequence[Splat]) -> list[Splat]:
    """The kernel's reports that no finding tells already, one for each class and message."""
    found = [splat for splat in splats if not any(finding.tells(splat) for finding in judgement.findings)]
    return list({(splat.splat_class, splat.driver, blamed(splat)): splat for splat in reversed(found)}.values())[::-1]


def _report(splat: Splat) -> str:
    """Class, driver, message, and whom to look at."""
    reporter = " ".join(part for part in (splat.driver, splat.device) if part)
    whom = blamed(splat)
    text = f"{splat.splat_class}: " + (f"{reporter}: " if reporter else "") + splat.message
    return text + (f" (look at {whom})" if whom else "")


def _end(judgement: Judgement, splats: Sequence[Splat], strict: bool) -> Text:
    if status(judgement, splats, strict):
        worst = next(iter(judgement.findings), None)
        if worst is not None and (strict or worst.level is not Level.NOTE):
            return Text(f"FAIL: {worst.rule}: {one_line(_blamed(worst))}", "bold red")
        return Text(f"FAIL: the kernel reported {one_line(_report(splats[0]))}", "bold red")
    return Text("PASS: nothing found but notes" if judgement.findings else "PASS: nothing found", "green")


def status(judgement: Judgement, splats: Sequence[Splat], strict: bool) -> int:
    """0 nothing found, 1 something (the kernel's own reports are), 2 it cannot be trusted."""
    return judgement.status(strict, splats)


def _blamed(finding: AuditFinding) -> str:
    kind = finding.kind
    if RULES[finding.rule].at_caller:
        return f"{_caller(kind)} ({_bus(kind)})"
    return f"controller {kind.adapter} ({kind.adapter_driver or kind.adapter_name}), called by {_caller(kind)}"


def to_json(
    record: Record,
    judgement: Judgement,
    splats: Sequence[Splat],
    kernel: dict[str, Any],
    strict: bool,
    command_status: int | None = None,
) -> str:
    """See docs/audit.md. ``command_status`` is that of the workload, None if it was no command."""
    document = {
        "schema": FORMAT,
        "kernel": kernel,
        "status": status(judgement, splats, strict),
        "command_status": command_status,
        "distrust": list(judgement.distrust),
        "notes": list(judgement.notes),
        "counts": {key: getattr(record, key) for key in ("messages", "transfers", "failed", "lost", "unmapped")},
        "line": record.line,
        "dma_alignment": record.dma_alignment,
        "points": sorted(record.points),
        "messages": [kind.to_json() for kind in record.kinds],
        "findings": [
            {
                "rule": finding.rule,
                "level": str(finding.level),
                "why": finding.why,
                "message": next(n for n, kind in enumerate(record.kinds) if kind is finding.kind),
                "also": [n for n, kind in enumerate(record.kinds) if any(kind is one for one in finding.also)],
            }
            for finding in judgement.findings
        ],
        "splats": [splat.to_json() for splat in splats],
    }
    return json.dumps(document, indent=2)


def to_sarif(judgement: Judgement) -> str:
    """A SARIF 2.1.0 log: one result a finding, at the caller's line; an audit that cannot be trusted says so."""
    slugs = list(dict.fromkeys(finding.rule for finding in judgement.findings))
    invocation = {
        "executionSuccessful": not judgement.distrust,
        "toolExecutionNotifications": [
            *({"level": "error", "message": {"text": visible(why)}} for why in judgement.distrust),
            *({"level": "note", "message": {"text": visible(note)}} for note in judgement.notes),
        ],
    }
    results = [_result(finding, slugs.index(finding.rule)) for finding in judgement.findings]
    return sarif.document([sarif.rule(slug, RULES[slug]) for slug in slugs], results, invocations=[invocation])


def _result(finding: AuditFinding, rule: int) -> dict[str, Any]:
    kind = finding.kind
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": str(finding.level),
        "message": {"text": visible(f"{_message(kind)} on {_bus(kind)}: {finding.why}")},
        "properties": {key: value for key, value in kind.to_json().items() if key != "frames"},
    }
    if kind.blamed is not None:
        result["locations"] = [_location(kind.blamed)]
    if kind.frames:
        result["stacks"] = [{"frames": [{"location": _location(frame)} for frame in kind.frames]}]
    return result


def _location(frame: Frame) -> dict[str, Any]:
    return sarif.location(frame.function, frame.module, frame.file, frame.line)
