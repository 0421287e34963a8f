# SPDX-License-Identifier: GPL-2.0-or-later
"""results.json: the contract of docs/formats.md, which tools outside read, and the way back from it.

One scenario a line: json.dumps() without an indent is what its C encoder does, ten times as fast as with one, and
two files can be compared with diff.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dmasafe.decode import convert, read_json
from dmasafe.outcome import Splat
from dmasafe.report import ReportError
from dmasafe.report.files import write_text
from dmasafe.report.results import Results, Row, counts

SCHEMA = 1
SCHEMA_FILE = Path(__file__).with_name("results.schema.json")


def head(results: Results) -> dict[str, Any]:
    """The contract's object without its ``scenarios``."""
    return {
        "schema": SCHEMA,
        "suite": results.suite,
        "target": results.target,
        "kernel": {
            "release": results.kernel.release,
            "arch": results.kernel.arch,
            "config": results.kernel.config,
            "source": results.kernel.source,
            **({"config_sha256": results.kernel.config_sha256} if results.kernel.config_sha256 else {}),
        },
        "accel": results.accel,
        "canary": {"splatted": results.canary_splatted},
        "reason": results.reason,
        "counts": {verdict.lower(): count for verdict, count in counts(results).items()},
        "durations": {
            "boot_s": _seconds(results.boot_s),
            "scenarios_s": _seconds(results.scenarios_s),
            "total_s": _seconds(results.total_s),
        },
        "stages": [{"name": stage.name, "seconds": _seconds(stage.seconds)} for stage in results.stages],
        "notes": list(results.notes),
        **({"provenance": asdict(results.provenance)} if results.provenance else {}),
    }


def row_to_json(row: Row) -> dict[str, Any]:
    judgement = row.judgement
    oracles: dict[str, Any] = {} if row.noticed is None else {"noticed": asdict(row.noticed)}
    doubt = {} if row.doubt is None else {"doubt": row.doubt}
    return {
        "id": row.id,
        "buffer": row.buffer,
        "operation": row.operation,
        "controller": row.controller,
        "policy": row.policy,
        "length": row.length,
        "outcome": judgement.outcome,
        "expected": judgement.expected,
        "verdict": judgement.verdict,
        "direct": judgement.direct,
        "splats": [splat.to_json() for splat in judgement.splats],
        "us": None if judgement.us is None else round(judgement.us, 1),
        "why": judgement.why,
        **oracles,
        **doubt,
    }


def to_json(results: Results) -> dict[str, Any]:
    """The whole contract as one object, ready for json.dumps()."""
    return head(results) | {"scenarios": [row_to_json(row) for row in results.rows]}


def render(results: Results) -> str:
    """The text of results.json, in ASCII."""
    encode = json.JSONEncoder(allow_nan=False, check_circular=False).encode
    lines = [f"  {encode(key)}: {encode(value)},\n" for key, value in head(results).items()]
    rows = ",\n".join("    " + encode(row_to_json(row)) for row in results.rows)
    return "{\n" + "".join(lines) + '  "scenarios": [\n' + rows + ("\n" if rows else "") + "  ]\n}\n"


def write(results: Results, path: Path) -> None:
    """Write results.json to ``path`` (temporary file, then rename). Raises ReportError."""
    write_text(path, render(results))


def load(path: Path) -> Results:
    """The Results that a results.json holds. Raises ReportError for a file that is unreadable or something else."""
    found = read_json(path, SCHEMA, ReportError)
    try:
        return from_json(found, str(path))
    except (KeyError, TypeError) as error:
        raise _broken(f"{path}: {type(error).__name__}: {error}") from error


def from_json(found: Mapping[str, Any], place: str = "results.json") -> Results:
    """The way back from to_json(). Keys that only newer versions write, and ``counts``, are not looked at.

    Raises ReportError, and KeyError or TypeError where the object is not nested as it must be.
    """
    rows = [{**row, "judgement": {**row, "splats": _splats(row["splats"])}} for row in found["scenarios"]]
    trust = {"canary_splatted": found["canary"]["splatted"], "reason": found["reason"]}
    flat = {**found, **found["durations"], **trust, "rows": rows}
    return convert(flat, Results, place, _broken, extra=True)


def _broken(text: str) -> ReportError:
    """An error in the contract's own words for where it is."""
    return ReportError(f"{text.replace(': rows[', ': scenarios[').replace('].judgement', ']')} (see docs/formats.md)")


def splat_from_json(found: Mapping[str, Any]) -> Splat:
    """The way back from Splat.to_json(). Raises ReportError and KeyError."""
    return convert(_splats([found])[0], Splat, "splat", ReportError, extra=True)


def _splats(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**splat, "splat_class": splat["class"]} for splat in found]


def _seconds(seconds: float | None) -> float | None:
    """Milliseconds are what the measurement is worth."""
    return None if seconds is None else round(seconds, 3)
