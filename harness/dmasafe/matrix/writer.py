# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows into the history, in bulk: what is there already is looked up, what is not is added, each content once.

All of it happens inside one Database.writing(), which keeps other writers out between looking and adding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, and_, insert, select, tuple_, update

from dmasafe.matrix import schema, vectors
from dmasafe.matrix.cells import Cell
from dmasafe.matrix.judgements import Signature, StoredJudgement

# SQLite takes 32,766 values in one statement, PostgreSQL 65,535.
_CHUNK = 500

T = TypeVar("T")


def chunks(items: Sequence[T], size: int = _CHUNK) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def intern(
    connection: Connection, table: Table, keys: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> dict[Any, int]:
    """The ids of ``rows`` by their ``keys`` (a value if there is one, a tuple of several); missing rows are added."""
    columns = [table.c[key] for key in keys]

    def key_of(row: Mapping[str, Any]) -> Any:
        return row[keys[0]] if len(keys) == 1 else tuple(row[key] for key in keys)

    wanted = {key_of(row): row for row in rows}
    column = columns[0] if len(columns) == 1 else tuple_(*columns)

    def look(sought: Sequence[Any]) -> dict[Any, int]:
        found: dict[Any, int] = {}
        for part in chunks(sought):
            for id_, *values in connection.execute(select(table.c.id, *columns).where(column.in_(part))):
                found[values[0] if len(values) == 1 else tuple(values)] = id_
        return found

    known = look(list(wanted))
    missing = [key for key in wanted if key not in known]
    if missing:
        connection.execute(insert(table), [dict(wanted[key]) for key in missing])
        known |= look(missing)
    return known


def intern_cells(connection: Connection, cells: Iterable[Cell]) -> dict[Cell, int]:
    found = intern(connection, schema.cell, Cell._fields, (one._asdict() for one in cells))
    return {Cell(*key): id_ for key, id_ in found.items()}


def intern_signatures(connection: Connection, signatures: Iterable[Signature]) -> dict[Signature, int]:
    found = intern(connection, schema.signature, Signature._fields, (one._asdict() for one in signatures))
    return {Signature(*key): id_ for key, id_ in found.items()}


def intern_findings(connection: Connection, findings: Iterable[StoredJudgement]) -> dict[StoredJudgement, int]:
    texts = {finding: finding.to_text() for finding in findings}
    digests = {finding: vectors.digest(text.encode()) for finding, text in texts.items()}
    rows = ({"digest": digests[finding], "content": text} for finding, text in texts.items())
    known = intern(connection, schema.finding, ("digest",), rows)
    return {finding: known[digest] for finding, digest in digests.items()}


def intern_set(connection: Connection, scenario_ids: Sequence[int]) -> int:
    """The set of these scenarios, which the caller sorted by name."""
    data = vectors.raw(scenario_ids)
    row = {"digest": vectors.digest(data), "size": len(scenario_ids), "members": vectors.deflate(data)}
    return intern(connection, schema.scenario_set, ("digest",), [row])[row["digest"]]


def intern_vectors(connection: Connection, found: Iterable[tuple[int, bytes]]) -> dict[tuple[int, bytes], int]:
    """Ids of vectors, each given as its set and its raw ids."""
    wanted = dict.fromkeys(found)
    digests = {one: vectors.digest(str(one[0]).encode(), one[1]) for one in wanted}
    known: dict[str, int] = {}
    for part in chunks(list(digests.values())):
        columns = select(schema.vector.c.digest, schema.vector.c.id).where(schema.vector.c.digest.in_(part))
        known |= {row.digest: row.id for row in connection.execute(columns)}
    # Deflating is what takes the time here: only what is new.
    missing = [
        {"digest": digest, "set_id": set_id, "findings": vectors.deflate(data)}
        for (set_id, data), digest in digests.items()
        if digest not in known
    ]
    if missing:
        known |= intern(connection, schema.vector, ("digest",), missing)
    return {one: known[digest] for one, digest in digests.items()}


def intern_document(connection: Connection, content: bytes) -> int:
    """Compressed JSON, stored once."""
    row = {"digest": vectors.digest(content), "content": content}
    return intern(connection, schema.document, ("digest",), [row])[row["digest"]]


def see(connection: Connection, sightings: Sequence[Mapping[str, Any]]) -> None:
    """Write down who showed a signature when; rows of the table ``sighting``, with first_time equal to last_time.

    Runs may come in any order: first and last are kept, and the example of the newest source.
    """
    table = schema.sighting
    for part in chunks(sightings):
        pairs = {(row["cell_id"], row["signature_id"]) for row in part}
        asked = select(table.c.cell_id, table.c.signature_id, table.c.first_time, table.c.last_time, table.c.source_id)
        known = {
            (one.cell_id, one.signature_id): one
            for one in connection.execute(asked.where(tuple_(table.c.cell_id, table.c.signature_id).in_(pairs)))
        }
        fresh = []
        for row in part:
            there = known.get((row["cell_id"], row["signature_id"]))
            if there is None:
                fresh.append(dict(row))
                continue
            changes: dict[str, Any] = {}
            if row["first_time"] < there.first_time:
                changes["first_time"] = row["first_time"]
            if row["last_time"] > there.last_time:
                changes["last_time"] = row["last_time"]
                if row["source_id"] != there.source_id:
                    changes |= {key: row[key] for key in ("source_id", "scenario_id", "example")}
            if changes:
                mine = and_(table.c.cell_id == row["cell_id"], table.c.signature_id == row["signature_id"])
                connection.execute(update(table).where(mine).values(changes))
        if fresh:
            connection.execute(insert(table), fresh)


def known_runs(connection: Connection, digests: Sequence[str]) -> set[str]:
    """Which of these runs are recorded."""
    found: set[str] = set()
    for part in chunks(digests):
        found |= set(connection.execute(select(schema.run.c.digest).where(schema.run.c.digest.in_(part))).scalars())
    return found


def previous_vector(connection: Connection, cell_id: int, time: int) -> tuple[int, bytes] | None:
    """Set and raw findings of the newest run of the cell up to ``time``, None if there is none."""
    run, vector, members = schema.run, schema.vector, schema.scenario_set
    row = connection.execute(
        select(vector.c.set_id, vector.c.findings, members.c.size)
        .select_from(run.join(vector, run.c.vector_id == vector.c.id).join(members, vector.c.set_id == members.c.id))
        .where(run.c.time <= time, run.c.cell_id == cell_id)
        .order_by(run.c.time.desc(), run.c.id.desc())
        .limit(1)
    ).first()
    return None if row is None else (row.set_id, vectors.inflate(row.findings, row.size))
