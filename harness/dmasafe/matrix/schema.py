# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of the history, and the steps from an older version of them to this one.

A verdict has no row of its own. What can come of a scenario is a *finding*, shared by all that came out alike; a run is
one *vector* of findings in the order of its scenario *set*. Sets and vectors are stored once for the same content, so
a night like the one before costs a row per cell. No row depends on an earlier run: runs may come in any order.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.schema import SchemaItem

VERSION = 2

metadata = MetaData()


def _numbered(name: str, *items: SchemaItem) -> Table:
    """A table whose rows have an id of their own."""
    return Table(name, metadata, Column("id", Integer, primary_key=True), *items)


version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

cell = _numbered(
    "cell",
    Column("source", String(500), nullable=False),
    Column("arch", String(100), nullable=False),
    Column("config", String(500), nullable=False),
    Column("target", String(200), nullable=False),
    Column("suite", String(200), nullable=False),
    UniqueConstraint("source", "arch", "config", "target", "suite"),
)

scenario = _numbered(
    "scenario",
    Column("name", String(500), nullable=False, unique=True),
    Column("buffer", String(100), nullable=False),
    Column("operation", String(100), nullable=False),
    Column("place", String(200), nullable=False),
)

# A class of splat and the function to blame for it; "" where the report names nobody.
signature = _numbered(
    "signature",
    Column("splat_class", String(100), nullable=False),
    Column("function", String(200), nullable=False),
    UniqueConstraint("splat_class", "function"),
)

# ``content`` is the JSON of dmasafe.matrix.judgements.StoredJudgement, ``digest`` its hash.
finding = _numbered(
    "finding",
    Column("digest", String(32), nullable=False, unique=True),
    Column("content", Text, nullable=False),
)

# ``members``: ids of scenarios, sorted by name, packed as in dmasafe/matrix/vectors.py.
scenario_set = _numbered(
    "scenario_set",
    Column("digest", String(32), nullable=False, unique=True),
    Column("size", Integer, nullable=False),
    Column("members", LargeBinary, nullable=False),
)

# ``findings``: one id of a finding for each member of the set, packed alike.
vector = _numbered(
    "vector",
    Column("digest", String(32), nullable=False, unique=True),
    Column("set_id", ForeignKey("scenario_set.id"), nullable=False),
    Column("findings", LargeBinary, nullable=False),
)

# What is too long or too various for a finding, compressed JSON: the table of who notices which fault (kind
# ``detection``); of scenarios that went otherwise than in the run before, the whole reason and the splats; how far the
# model agrees with the kernel, in every oracle (``model``).
document = _numbered(
    "document",
    Column("digest", String(32), nullable=False, unique=True),
    Column("content", LargeBinary, nullable=False),
)

# ``time``: seconds since the epoch, UTC. ``night``: the ISO date that the run counts to. ``source_id``: the exact
# source, "" if it is not known. A duration that was not measured is null, as is ``build_s`` where nothing was built.
run = _numbered(
    "run",
    Column("digest", String(64), nullable=False, unique=True),
    Column("cell_id", ForeignKey("cell.id"), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("night", String(10), nullable=False),
    Column("source_id", String(600), nullable=False),
    Column("release", String(200), nullable=False),
    Column("revision", String(100)),
    Column("accel", String(100)),
    Column("vector_id", ForeignKey("vector.id"), nullable=False),
    Column("build_s", Float),
    Column("boot_s", Float),
    Column("scenarios_s", Float),
    Column("detection_id", ForeignKey("document.id")),
    Column("evidence_id", ForeignKey("document.id")),
    Column("model_id", ForeignKey("document.id")),
    # The runs before one of a cell; the runs of a night; the runs of a revision. Nothing else is asked for.
    Index("run_of_cell", "cell_id", "time", "id"),
    Index("run_of_night", "night"),
    Index("run_of_revision", "revision"),
)

# When a cell first and last showed a signature, and one such splat, of the newest source that showed it.
sighting = Table(
    "sighting",
    metadata,
    Column("cell_id", ForeignKey("cell.id"), primary_key=True, autoincrement=False),
    Column("signature_id", ForeignKey("signature.id"), primary_key=True, autoincrement=False),
    Column("first_time", BigInteger, nullable=False),
    Column("last_time", BigInteger, nullable=False),
    Column("source_id", String(600), nullable=False),
    Column("scenario_id", ForeignKey("scenario.id"), nullable=False),
    Column("example", LargeBinary, nullable=False),
    Index("sighting_first", "first_time"),
)

Migration = Callable[[Connection], None]


def _add_model(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE run ADD COLUMN model_id INTEGER REFERENCES document (id)"))


# MIGRATIONS[n] leads from version n to n + 1, with statements of its own (the tables above are always the newest).
MIGRATIONS: dict[int, Migration] = {1: _add_model}
