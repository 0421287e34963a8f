# SPDX-License-Identifier: GPL-2.0-or-later
"""A history to test with: on SQLite, and on a PostgreSQL server of our own where there is one."""

import secrets

import pytest
from sqlalchemy import create_engine, make_url, text

from benchmarks import postgres
from dmasafe.matrix.database import open_history


@pytest.fixture(scope="session")
def server():
    """The URL of a PostgreSQL server that lives as long as the tests."""
    if postgres.programs() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.cluster() as url:
        yield make_url(url)


@pytest.fixture
def new_database(server):
    """The URL of an empty database on that server."""
    name = f"history_{secrets.token_hex(4)}"
    engine = create_engine(server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where a history can be made."""
    if request.param == "sqlite":
        return str(tmp_path / "history.sqlite3")
    return request.getfixturevalue("new_database")


@pytest.fixture
def database(place):
    with open_history(place, create=True) as found:
        yield found


@pytest.fixture
def file_database(tmp_path):
    """A history on SQLite only, for what does not depend on the database."""
    with open_history(str(tmp_path / "history.sqlite3"), create=True) as found:
        yield found
