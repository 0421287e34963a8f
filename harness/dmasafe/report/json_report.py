# SPDX-License-Identifier: GPL-2.0-or-later
"""results.json: the contract of docs/formats.md, which tools outside read, and the way back from it.

One scenario a line: json.dumps() without an indent is what its C encoder does, ten times as fast as with one, and
two files can be compared with diff.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from dmasafe.outcome import Frame, Judgement, Noticed, Outcome, Splat, Verdict
from dmasafe.report import ReportError
from dmasafe.report.files import failure, write_text
from dmasafe.report.results import Kernel, Results, Row, Stage, counts

SCHEMA = 1
SCHEMA_FILE = Path(__file__).with_name("results.schema.json")
_FRAME_KEYS = tuple(field.name for field in fields(Frame))
_NOTICED_KEYS = tuple(field.name for field in fields(Noticed))


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
    }


def row_to_json(row: Row) -> dict[str, Any]:
    judgement = row.judgement
    witnesses = {} if row.noticed is None else {"noticed": asdict(row.noticed)}
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
        **witnesses,
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
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise failure("read", path, error) from error
    except UnicodeDecodeError as error:
        raise ReportError(f"{path} is not a results.json: it is not UTF-8 text") from error
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ReportError(f"{path} is not a results.json, or only a part of one: {error}") from error
    if not isinstance(found, dict) or "schema" not in found:
        raise ReportError(f"{path} is not a results.json: it has no 'schema'")
    if found["schema"] != SCHEMA:
        other = found["schema"]
        raise ReportError(f"{path} has schema {other}, this dmasafe reads {SCHEMA}: use the one that wrote it")
    try:
        return from_json(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(
            f"{path} breaks the contract of results.json: {type(error).__name__} {error} (see docs/formats.md)"
        ) from error


def from_json(found: Mapping[str, Any]) -> Results:
    """The way back from to_json(). Keys that only newer versions write, and ``counts``, are not looked at."""
    durations = found["durations"]
    return Results(
        suite=found["suite"],
        target=found["target"],
        kernel=_kernel(found["kernel"]),
        accel=found["accel"],
        canary_splatted=found["canary"]["splatted"],
        rows=tuple(_row(row) for row in found["scenarios"]),
        boot_s=durations["boot_s"],
        scenarios_s=durations["scenarios_s"],
        total_s=durations["total_s"],
        stages=tuple(Stage(stage["name"], stage["seconds"]) for stage in found["stages"]),
        reason=found["reason"],
        notes=tuple(found["notes"]),
    )


def splat_from_json(found: Mapping[str, Any]) -> Splat:
    """The way back from Splat.to_json()."""
    return Splat(
        splat_class=found["class"],
        device=found["device"],
        driver=found["driver"],
        message=found["message"],
        fields=dict(found["fields"]),
        file=found["file"],
        line=found["line"],
        function=found["function"],
        frames=tuple(Frame(**{key: frame[key] for key in _FRAME_KEYS}) for frame in found["frames"]),
        log_line=found["log_line"],
        truncated=found["truncated"],
    )


def _kernel(found: Mapping[str, Any]) -> Kernel:
    required = {key: found[key] for key in ("release", "arch", "config", "source")}
    return Kernel(**required, config_sha256=found.get("config_sha256", ""))


def _row(found: Mapping[str, Any]) -> Row:
    return Row(
        id=found["id"],
        buffer=found["buffer"],
        operation=found["operation"],
        controller=found["controller"],
        policy=found["policy"],
        length=found["length"],
        judgement=Judgement(
            verdict=Verdict(found["verdict"]),
            outcome=_outcome(found["outcome"]),
            expected=_outcome(found["expected"]),
            why=found["why"],
            direct=found["direct"],
            splats=tuple(splat_from_json(splat) for splat in found["splats"]),
            us=found["us"],
        ),
        noticed=_noticed(found["noticed"]) if "noticed" in found else None,
    )


def _noticed(found: Mapping[str, Any]) -> Noticed:
    return Noticed(**{key: tuple(found[key]) for key in _NOTICED_KEYS})


def _outcome(text: str | None) -> Outcome | None:
    return None if text is None else Outcome(text)


def _seconds(seconds: float | None) -> float | None:
    """Milliseconds are what the measurement is worth."""
    return None if seconds is None else round(seconds, 3)
