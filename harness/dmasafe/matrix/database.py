# SPDX-License-Identifier: GPL-2.0-or-later
"""Opening a history: a file of SQLite's or a PostgreSQL server, its schema made or brought up to date.

A writer holds a lock of the whole history for the few milliseconds of its transaction (BEGIN IMMEDIATE, an advisory
lock), so that any number of recorders may run at once. Readers wait for nobody.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, make_url, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from dmasafe.closing import Closing
from dmasafe.matrix import schema
from dmasafe.matrix.errors import MatrixError

VARIABLE = "DMASAFE_HISTORY"
BUSY_TIMEOUT_S = 60
CONNECT_TIMEOUT_S = 10
# Any number that no other program takes advisory locks of in the same database.
_LOCK_KEY = 0x646D6173
_POSTGRESQL = "postgresql+psycopg"


def default_place() -> str:
    """$DMASAFE_HISTORY, or a file in the user's state directory."""
    return os.environ.get(VARIABLE) or str(platformdirs.user_state_path("dmasafe") / "history.sqlite3")


class Database(Closing):
    """An engine with the two ways to use it; close() it, or use it as a context manager."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name

    def close(self) -> None:
        self.engine.dispose()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One unchanging view of the history. Raises MatrixError."""
        with self._explained("read"), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that no other writer runs beside; rolled back if the block raises. Raises MatrixError."""
        with self._explained("write"), self.engine.connect() as connection:
            connection = connection.execution_options(dmasafe_writes=True)
            with connection.begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
                yield connection

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            reason = " ".join(str(error.orig).split())
            raise MatrixError(f"cannot {doing} the history {self.name}: {reason}; {_advice(reason)}") from error
        except SQLAlchemyError as error:
            raise MatrixError(f"cannot {doing} the history {self.name}: {error}") from error


def _advice(reason: str) -> str:
    for words, advice in (
        ("not a database", "it is another kind of file: name another with --db"),
        ("malformed", "the file is damaged: restore it, or record the runs again into a new one"),
        ("locked", "another program keeps it locked: try again"),
        ("full", "free some space there"),
        ("readonly", "make it writable for you, or name another with --db"),
        ("unable to open", "is its directory there and writable? Or name another with --db"),
        ("could not connect", "does the server run, and may you use it?"),
        ("connection", "does the server run, and may you use it?"),
    ):
        if words in reason:
            return advice
    return "name another with --db"


def open_history(place: str | None = None, *, create: bool = False) -> Database:
    """The history at ``place`` (a path or a PostgreSQL URL; default_place() if None), its schema up to date.

    One that is not there is made if ``create``, and an error if not. Raises MatrixError.
    """
    url = _url(place or default_place())
    database = _sqlite(url, create) if url.get_backend_name() == "sqlite" else _postgresql(url)
    try:
        _bring_up_to_date(database, create)
    except BaseException:
        database.close()
        raise
    return database


def _url(place: str) -> URL:
    if "://" not in place:
        return URL.create("sqlite", database=str(Path(place).expanduser()))
    try:
        url = make_url(place)
    except (ArgumentError, ValueError) as error:
        raise MatrixError("the history's URL cannot be read: write postgresql://USER@HOST/DATABASE") from error
    if url.drivername in ("postgresql", "postgres"):
        return url.set(drivername=_POSTGRESQL)
    if url.drivername not in ("sqlite", _POSTGRESQL):
        raise MatrixError(
            f"a history cannot lie in '{url.drivername}': name a file, or postgresql://USER@HOST/DATABASE"
        )
    return url


def _sqlite(url: URL, create: bool) -> Database:
    path = Path(url.database or "")
    if not url.database:
        raise MatrixError("the history's URL names no file: write sqlite:///PATH")
    if not create and not path.exists():
        raise MatrixError(
            f"there is no history at {path}: record runs first (dmasafe matrix record), or name it with --db"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MatrixError(
            f"cannot make the directory {path.parent}: {error.strerror}; name another with --db"
        ) from error
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: Any) -> None:
        # Transactions are begun below, not when the driver thinks so.
        connection.isolation_level = None
        # Readers and the writer do not wait for one another. A file system that cannot do that keeps the old mode.
        connection.execute("PRAGMA journal_mode=WAL").close()
        connection.execute("PRAGMA synchronous=NORMAL").close()
        connection.execute("PRAGMA foreign_keys=ON").close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("dmasafe_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return Database(engine, str(path))


def _postgresql(url: URL) -> Database:
    name = url.render_as_string(hide_password=True).replace(f"{_POSTGRESQL}://", "postgresql://", 1)
    try:
        return Database(create_engine(url, connect_args={"connect_timeout": CONNECT_TIMEOUT_S}), name)
    except ImportError as error:
        raise MatrixError("PostgreSQL needs the package psycopg: pip install 'dmasafe[postgres]'") from error


def _bring_up_to_date(database: Database, create: bool) -> None:
    with database.reading() as connection:
        found = _version(connection, database.name)
    if found == schema.VERSION:
        return
    if found is None and not create:
        raise MatrixError(f"there is no history in {database.name}: record runs first (dmasafe matrix record)")
    with database.writing() as connection:
        # Somebody else may have done it meanwhile.
        found = _version(connection, database.name)
        if found is None:
            schema.metadata.create_all(connection)
            connection.execute(insert(schema.version).values(version=schema.VERSION))
        else:
            for step in range(found, schema.VERSION):
                schema.MIGRATIONS[step](connection)
            connection.execute(schema.version.update().values(version=schema.VERSION))


def _version(connection: Connection, name: str) -> int | None:
    """The schema's version, None where there is none. Raises MatrixError for a newer one and for somebody else's."""
    tables = inspect(connection).get_table_names()
    if schema.version.name not in tables:
        taken = sorted(set(tables) & set(schema.metadata.tables))
        if taken:
            raise MatrixError(f"{name} is no history of dmasafe's but has a table '{taken[0]}': name another with --db")
        return None
    found = connection.execute(select(schema.version.c.version)).scalar()
    if found is None or found > schema.VERSION:
        raise MatrixError(
            f"the history {name} has version {found}, this dmasafe knows {schema.VERSION}: use the one that wrote it"
        )
    return int(found)
