# SPDX-License-Identifier: GPL-2.0-or-later
"""A results.json into the history.

What the file does not say (when, which revision of the harness, how long the build took, the exact source) comes from
the sidecar ``matrix.json`` beside it, and how far the model agrees from ``model.json``. A run is known by its content
and its cell: recorded again, it changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from dmasafe.decode import convert, read_json
from dmasafe.matrix import agreement, schema, vectors, writer
from dmasafe.matrix.agreement import Agreement
from dmasafe.matrix.cells import Cell, identity_of, label_of
from dmasafe.matrix.database import Database
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.judgements import (
    MAX_SIGNATURES,
    TRUSTED,
    Signature,
    StoredJudgement,
    general,
    shortened,
    signature_of,
)
from dmasafe.outcome import Judgement, Splat, Verdict
from dmasafe.report import ReportError, detection, json_report
from dmasafe.report.directory import RESULTS_JSON
from dmasafe.report.files import failure
from dmasafe.report.results import Results, Row
from dmasafe.scenario import ScenarioError, parse_scenario

SIDECAR = "matrix.json"
SIDECAR_SCHEMA = 1
MAX_RESULTS_BYTES = 256 * 1024 * 1024
MAX_SIDECAR_BYTES = 1024 * 1024
# Whole reasons and splats are kept of so many scenarios that went otherwise than in the run before.
MAX_EVIDENCE = 50
MAX_FRAMES = 40
LONGEST_MESSAGE = 2000
MAX_SPLATS = 3
_LONGEST_NAME = 500
_UNREMARKABLE = frozenset({Verdict.PASS, Verdict.SKIP})
_DIRECTORY = re.compile(r"(\d{8}T\d{6}Z)-.*")


@dataclass(frozen=True)
class Facts:
    """What a results.json does not say of its run.

    ``time``: when it began; ``night``: the date it counts to, that of ``time`` in UTC if None. ``revision`` is the
    harness's. ``build_s`` is None if nothing was built. ``source`` and ``source_id`` are what the cell follows and the
    exact source, read off the results if None.
    """

    time: datetime
    night: date | None = None
    revision: str | None = None
    build_s: float | None = None
    source: str | None = None
    source_id: str | None = None


@dataclass(frozen=True)
class NewRun:
    """A run ready to be written: findings by scenario id, sorted.

    ``examples`` are packed splats with the scenario that showed them; ``told`` is the evidence of each scenario that
    neither passed nor was skipped; ``model`` is how far the model agrees, packed.
    """

    digest: str
    cell: Cell
    time: int
    night: str
    source_id: str
    release: str
    revision: str | None
    accel: str | None
    build_s: float | None
    boot_s: float | None
    scenarios_s: float | None
    findings: Mapping[str, StoredJudgement]
    rows: Mapping[str, Row] = field(repr=False)
    examples: Mapping[Signature, tuple[str, bytes]] = field(repr=False)
    told: Mapping[str, Any] = field(repr=False)
    detection: bytes | None = field(default=None, repr=False)
    model: bytes | None = field(default=None, repr=False)


def find(paths: Sequence[Path]) -> Iterator[Path]:
    """The results.json files that ``paths`` name: files, or directories with such files in them, links not followed."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(path.rglob(RESULTS_JSON)) if not (path / RESULTS_JSON).is_file() else [path / RESULTS_JSON]
        if not found:
            raise MatrixError(f"there is no {RESULTS_JSON} in {path}: name the directory that a run wrote")
        yield from found


def read(path: Path, given: Mapping[str, Any] | None = None, assumed: Mapping[str, Any] | None = None) -> NewRun:
    """The run of a results.json and its sidecar; what is ``given`` outweighs the sidecar's values, ``assumed`` not.

    Raises MatrixError and ReportError.
    """
    try:
        size = path.stat().st_size
        if size > MAX_RESULTS_BYTES:
            raise MatrixError(f"{path} has {size:,} bytes, more than the {MAX_RESULTS_BYTES:,} that a run can have")
        data = path.read_bytes()
    except OSError as error:
        raise failure("read", path, error) from error
    sidecar = path.with_name(SIDECAR)
    said = read_json(sidecar, SIDECAR_SCHEMA, MatrixError, MAX_SIDECAR_BYTES) if sidecar.exists() else {}
    facts = _facts(path, {**(assumed or {}), **said, **(given or {})})
    agreed = agreement.read(path.with_name(agreement.MODEL_JSON))
    return prepare(json_report.load(path), data, facts, str(path), agreed)


def prepare(results: Results, data: bytes, facts: Facts, name: str, agreed: Agreement | None = None) -> NewRun:
    """``results`` as a row of the history; ``data`` are the bytes of their results.json, ``name`` is for sentences.

    Raises MatrixError for results that say what cannot be.
    """
    kernel = results.kernel
    source = facts.source or label_of(_text(kernel.source, name))
    made = results.provenance
    target = f"{results.target} {made.qemu}" if made is not None and made.qemu else results.target
    cell = Cell(*(_text(part, name) for part in (source, kernel.arch, kernel.config, target, results.suite)))
    rows = {_text(row.id, name): row for row in results.rows}
    if len(rows) != len(results.rows):
        raise MatrixError(f"{name} has a scenario twice: it was not written by dmasafe")
    if not rows:
        raise MatrixError(f"{name} has no scenarios: there is nothing to record")
    untrusted = _untrusted(results)
    findings = {id_: _finding(row.judgement, untrusted) for id_, row in sorted(rows.items())}
    examples: dict[Signature, tuple[str, bytes]] = {}
    for id_ in findings:
        for splat in rows[id_].judgement.splats[:MAX_SIGNATURES]:
            signature = signature_of(splat)
            if signature not in examples:
                examples[signature] = id_, packed(_splat(splat))
    revision = facts.revision
    if revision is None and made is not None:
        revision = made.dmasafe.revision
    moment = facts.time.astimezone(UTC)
    source_id = facts.source_id if facts.source_id is not None else identity_of(kernel.source, kernel.release)
    return NewRun(
        digest=hashlib.sha256(data + "\0".join(cell).encode("utf-8", "backslashreplace")).hexdigest(),
        cell=cell,
        time=int(moment.timestamp()),
        night=(facts.night or moment.date()).isoformat(),
        source_id=shortened(source_id, _LONGEST_NAME),
        release=shortened(_text(kernel.release, name), 200),
        revision=None if revision is None else shortened(_text(revision, name), 100),
        accel=None if results.accel is None else shortened(_text(results.accel, name), 100),
        build_s=_duration(facts.build_s, name),
        boot_s=_duration(results.boot_s, name),
        scenarios_s=_duration(results.scenarios_s, name),
        findings=findings,
        rows=rows,
        examples=examples,
        told={id_: _told(rows[id_]) for id_, one in findings.items() if one.verdict not in _UNREMARKABLE},
        detection=_detection(results),
        model=None if agreed is None else packed(asdict(agreed)),
    )


def record(database: Database, runs: Sequence[NewRun]) -> int:
    """Write the runs that the history does not have, in one transaction; returns how many. Raises MatrixError."""
    unique: dict[str, NewRun] = {}
    for run in runs:
        unique.setdefault(run.digest, run)
    with database.writing() as connection:
        known = writer.known_runs(connection, list(unique))
        new = sorted((run for run in unique.values() if run.digest not in known), key=lambda run: run.time)
        if new:
            _write(connection, new)
    return len(new)


def _write(connection: Connection, runs: Sequence[NewRun]) -> None:
    cells = writer.intern_cells(connection, {run.cell for run in runs})
    scenarios = writer.intern(
        connection, schema.scenario, ("name",), (_scenario(id_, row) for run in runs for id_, row in run.rows.items())
    )
    findings = writer.intern_findings(connection, dict.fromkeys(f for run in runs for f in run.findings.values()))
    signatures = writer.intern_signatures(connection, dict.fromkeys(one for run in runs for one in run.examples))
    for run in runs:
        cell_id = cells[run.cell]
        set_id = writer.intern_set(connection, [scenarios[id_] for id_ in run.findings])
        data = vectors.raw(findings[finding] for finding in run.findings.values())
        before = writer.previous_vector(connection, cell_id, run.time)
        evidence = _evidence(run, set_id, data, before)
        row = {
            "digest": run.digest,
            "cell_id": cell_id,
            "vector_id": writer.intern_vectors(connection, [(set_id, data)])[set_id, data],
            "detection_id": None if run.detection is None else writer.intern_document(connection, run.detection),
            "evidence_id": None if evidence is None else writer.intern_document(connection, evidence),
            "model_id": None if run.model is None else writer.intern_document(connection, run.model),
        }
        for key in ("time", "night", "source_id", "release", "revision", "accel", "build_s", "boot_s", "scenarios_s"):
            row[key] = getattr(run, key)
        connection.execute(insert(schema.run), [row])
        writer.see(connection, [
            {
                "cell_id": cell_id,
                "signature_id": signatures[one],
                "first_time": run.time,
                "last_time": run.time,
                "source_id": run.source_id,
                "scenario_id": scenarios[id_],
                "example": example,
            }
            for one, (id_, example) in run.examples.items()
        ])  # fmt: skip


def packed(content: Any) -> bytes:
    """JSON for a document or an example."""
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode("ascii"))


def unpacked(data: bytes) -> Any:
    """The way back from packed()."""
    return json.loads(zlib.decompress(data))


def _untrusted(results: Results) -> str | None:
    if results.reason is not None:
        return general(results.reason)
    return None if results.canary_splatted else "the canary did not splat"


def _finding(judgement: Judgement, untrusted: str | None) -> StoredJudgement:
    verdict, why = judgement.verdict, general(judgement.why)
    if verdict is Verdict.PASS and judgement.outcome is not judgement.expected:
        verdict, why = Verdict.ERROR, "PASS, though the outcome is not the one that was expected"
    if verdict in TRUSTED and untrusted is not None:
        verdict, why = Verdict.INCONCLUSIVE, untrusted
    signatures = sorted({signature_of(splat) for splat in judgement.splats[:MAX_SIGNATURES]})
    return StoredJudgement(verdict, judgement.outcome, judgement.expected, judgement.direct, tuple(signatures), why)


def _scenario(id_: str, row: Row) -> dict[str, str]:
    parts = {"buffer": row.buffer, "operation": row.operation, "place": row.place}
    return {"name": id_, **{key: shortened(value, 100) for key, value in parts.items()}}


def _evidence(run: NewRun, set_id: int, data: bytes, before: tuple[int, bytes] | None) -> bytes | None:
    """The whole reason and the splats of scenarios that did not pass, and did otherwise in the run before."""
    names = list(run.findings)
    if before is not None and before[0] == set_id:
        names = [names[place] for place in vectors.changed(before[1], data)]
    bad = [id_ for id_ in names if id_ in run.told]
    return packed({id_: run.told[id_] for id_ in bad[:MAX_EVIDENCE]}) if bad else None


def _told(row: Row) -> dict[str, Any]:
    return {
        "why": shortened(row.judgement.why, LONGEST_MESSAGE),
        "splats": [_splat(splat) for splat in row.judgement.splats[:MAX_SPLATS]],
    }


def _splat(splat: Splat) -> dict[str, Any]:
    """A splat of bounded size."""
    mapped_at = splat.fields.get("mapped_at")
    short = replace(
        splat,
        message=splat.message[:LONGEST_MESSAGE],
        # The message has the others.
        fields={} if mapped_at is None else {"mapped_at": str(mapped_at)[:LONGEST_MESSAGE]},
        frames=tuple(replace(frame, function=frame.function[:_LONGEST_NAME]) for frame in splat.frames[:MAX_FRAMES]),
        **{key: value and value[:_LONGEST_NAME] for key, value in _names(splat).items()},
    )
    return short.to_json()


def _names(splat: Splat) -> dict[str, Any]:
    return {key: getattr(splat, key) for key in ("device", "driver", "file", "function")}


def _detection(results: Results) -> bytes | None:
    """The table of report/detection.py, None for a run without seeded faults."""
    if all(row.noticed is None for row in results.rows):
        return None
    known = tuple(row for row in results.rows if _is_scenario(row.id))
    found = [
        {
            "fault": one.fault.name,
            "what": one.fault.what,
            "shape": one.shape,
            "words": None if one.noticed is None else [list(words) for words in one.noticed.words()],
            "why": one.why,
        }
        for one in detection.detections(replace(results, rows=known))
    ]
    return packed(found) if found else None


def _is_scenario(id_: str) -> bool:
    """Whether this version knows what the id means: a fault that only another version seeds has no row."""
    try:
        parse_scenario(id_)
    except ScenarioError:
        return False
    return True


def _text(value: str, name: str) -> str:
    if not value or len(value) > _LONGEST_NAME or "\0" in value:
        raise MatrixError(f"{name} breaks the contract of results.json: {value[:60]!r} is no name (docs/formats.md)")
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _duration(value: float | None, name: str) -> float | None:
    if value is not None and not 0 <= value < math.inf:
        raise MatrixError(f"{name}: {value} is no number of seconds")
    return value


def _facts(path: Path, found: Mapping[str, Any]) -> Facts:
    when = found.get("time")
    try:
        moment = datetime.fromisoformat(when) if when else _time_of(path)
    except (TypeError, ValueError) as error:
        raise MatrixError(f"{path}: its time is not an ISO date: {error}") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return convert({**found, "time": moment}, Facts, f"{path.with_name(SIDECAR)}", MatrixError, extra=True)


def _time_of(path: Path) -> datetime:
    """When the run was published: from its directory's name, or the file's time."""
    match = _DIRECTORY.fullmatch(path.resolve().parent.name)
    if match:
        return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError as error:
        raise failure("read", path, error) from error


__all__ = ["SIDECAR", "Facts", "NewRun", "ReportError", "find", "packed", "prepare", "read", "record", "unpacked"]
