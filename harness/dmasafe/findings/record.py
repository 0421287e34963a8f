# SPDX-License-Identifier: GPL-2.0-or-later
"""What was tried, as JSON: of one run, and of all runs whose results are kept (docs/findings.json)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dmasafe.decode import convert, read_json
from dmasafe.facts import KernelInfo
from dmasafe.findings.catalogue import CatalogueError, Finding
from dmasafe.findings.corrections import Correction, Corrections
from dmasafe.findings.evidence import Evidence, Report
from dmasafe.report.files import write_text
from dmasafe.report.json_report import splat_from_json

SCHEMA = 1
# A report of each evidence is enough for the page; all would be megabytes.
_KEPT_SPLATS = 1

_Tried = TypeVar("_Tried", bound=Evidence | Correction)


def to_json(report: Report, corrections: Corrections) -> str:
    """Everything that was tried, reproduced or not, corrected or not."""
    status = corrections.status if corrections.all else report.status
    found = {
        "schema": SCHEMA,
        "status": status,
        "findings": [_seen(each) for each in report.evidence],
        "patches": [_tried(each) for each in corrections.all],
    }
    return json.dumps(found, indent=1) + "\n"


def load(path: Path, findings: Sequence[Finding]) -> tuple[Report, Corrections]:
    """What to_json() wrote of these findings; nothing if there is no such file. Raises CatalogueError."""
    if not path.exists():
        return Report(()), Corrections(())
    found = read_json(path, SCHEMA, CatalogueError)
    known = {finding.id: finding for finding in findings}
    try:
        seen = [_row(row, known, Evidence, str(path)) for row in found["findings"] if row["finding"] in known]
        tried = [_row(row, known, Correction, str(path)) for row in found["patches"] if row["finding"] in known]
    except (KeyError, TypeError) as error:
        raise CatalogueError(f"{path} is no record of findings: {type(error).__name__}: {error}") from error
    return Report(tuple(seen)), Corrections(tuple(tried))


def merge(old: tuple[Report, Corrections], new: tuple[Report, Corrections]) -> tuple[Report, Corrections]:
    """Both; what was tried again takes the place of what was before. Oldest kernel first, in the catalogue's order."""
    return Report(_merged(old[0].evidence, new[0].evidence)), Corrections(_merged(old[1].all, new[1].all))


def keep(path: Path, report: Report, corrections: Corrections) -> None:
    """Write the record. Raises ReportError."""
    short = [Evidence(**{**vars(each), "splats": each.splats[:_KEPT_SPLATS]}) for each in report.evidence]
    write_text(path, to_json(Report(tuple(short)), corrections))


def _merged(old: Iterable[_Tried], new: Iterable[_Tried]) -> tuple[_Tried, ...]:
    rows = {(each.finding.id, each.source): each for each in (*old, *new)}
    order = list(dict.fromkeys(name for name, _source in rows))
    keys = sorted(rows, key=lambda key: (order.index(key[0]), key[1]))
    return tuple(rows[key] for key in keys)


def _head(each: Evidence | Correction) -> dict[str, Any]:
    kernel = each.kernel
    return {
        "finding": each.finding.id,
        "rule": each.finding.rule,
        "kernel": {"release": kernel.release, "arch": kernel.arch, "config": kernel.config, "source": kernel.source},
        "source": each.source,
    }


def _seen(each: Evidence) -> dict[str, Any]:
    return _head(each) | {
        "command": each.finding.command(each.source),
        "reproduced": each.reproduced,
        "why": each.why,
        "facts": list(each.facts),
        "splats": [splat.to_json() for splat in each.splats],
    }


def _tried(each: Correction) -> dict[str, Any]:
    return _head(each) | {
        "command": f"{each.finding.command(each.source)} --with-patch",
        "patches": list(each.patches),
        "corrected": each.corrected,
        "why": each.why,
        "before": list(each.before),
        "after": list(each.after),
        "kept": each.kept,
    }


def _row(row: Mapping[str, Any], known: Mapping[str, Finding], kind: type[_Tried], place: str) -> _Tried:
    kernel = convert(row["kernel"], KernelInfo, place, CatalogueError, extra=True)
    values = {name: row[name] for name in kind.__dataclass_fields__ if name in row}
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    if "splats" in lists:
        lists["splats"] = tuple(splat_from_json(splat) for splat in row["splats"])
    return kind(**{**values, **lists, "finding": known[row["finding"]], "kernel": kernel})
