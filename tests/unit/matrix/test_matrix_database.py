# SPDX-License-Identifier: GPL-2.0-or-later
"""Opening histories: made, brought up to date, refused, shared by many writers."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sqlite3 import connect

import pytest
from matrix_samples import run
from sqlalchemy import Column, Integer, MetaData, Table, Text, func, insert, inspect, select, text, update

from dmasafe.matrix import schema
from dmasafe.matrix.database import default_place, open_history
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.record import record

_WRITER = """
import sys
sys.path.insert(0, sys.argv[3])
from matrix_samples import run
from dmasafe.matrix.database import open_history
from dmasafe.matrix.record import record
with open_history(sys.argv[1], create=True) as database:
    for night in range(8):
        record(database, [run(night, config=f"c{night % 3}")])
        record(database, [run(night, hour=1 + int(sys.argv[2]))])
"""


def test_a_new_history_has_the_version_of_this_dmasafe(database):
    with database.reading() as connection:
        assert connection.execute(select(schema.version.c.version)).scalar_one() == schema.VERSION
        assert set(schema.metadata.tables) <= set(inspect(connection).get_table_names())


def test_a_newer_history_is_left_alone(place):
    with open_history(place, create=True) as database, database.writing() as connection:
        connection.execute(update(schema.version).values(version=schema.VERSION + 1))
    with pytest.raises(MatrixError, match=f"has version {schema.VERSION + 1}, this dmasafe knows {schema.VERSION}"):
        open_history(place, create=True)


def test_an_older_history_is_brought_up_to_date_with_its_runs(place, monkeypatch):
    with open_history(place, create=True) as database:
        record(database, [run(0), run(1)])
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    monkeypatch.setitem(
        schema.MIGRATIONS,
        schema.VERSION - 1,
        lambda connection: connection.execute(text("ALTER TABLE run ADD note TEXT")),
    )
    note = Table("run", MetaData(), Column("id", Integer), Column("note", Text))
    for _ in range(2):
        with open_history(place) as database, database.reading() as connection:
            assert connection.execute(select(note.c.note)).scalars().all() == [None, None]


def test_a_migration_that_fails_leaves_the_old_version(place, monkeypatch):
    open_history(place, create=True).close()

    def broken(connection):
        connection.execute(text("ALTER TABLE run ADD note TEXT"))
        connection.execute(text("ALTER TABLE nothing ADD note TEXT"))

    with monkeypatch.context() as patch:
        patch.setattr(schema, "VERSION", schema.VERSION + 1)
        patch.setitem(schema.MIGRATIONS, schema.VERSION - 1, broken)
        with pytest.raises(MatrixError, match="nothing"):
            open_history(place)
    with open_history(place) as database, database.reading() as connection:
        assert "note" not in {column["name"] for column in inspect(connection).get_columns("run")}


def test_many_writers_at_once_lose_nothing_and_double_nothing(place):
    folder = str(Path(__file__).parent)
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, place, str(number), folder], stderr=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    errors = [writer.communicate(timeout=120)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, errors
    with open_history(place) as database, database.reading() as connection:
        # Eight nights that all four wrote, and eight of each writer's own.
        assert connection.execute(select(func.count()).select_from(schema.run)).scalar_one() == 8 + 4 * 8
        assert connection.execute(select(func.count()).select_from(schema.cell)).scalar_one() == 4
        assert connection.execute(select(func.count()).select_from(schema.vector)).scalar_one() == 1


def test_threads_that_open_the_same_new_history_all_succeed(place):
    def write(number):
        with open_history(place, create=True) as database:
            return record(database, [run(number)])

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(write, range(6))) == 6


def test_a_reader_sees_one_state_while_a_writer_writes(database):
    record(database, [run(0)])
    count = select(func.count()).select_from(schema.run)
    with database.reading() as connection:
        assert connection.execute(count).scalar_one() == 1
        record(database, [run(1)])
        assert connection.execute(count).scalar_one() == 1
    with database.reading() as connection:
        assert connection.execute(count).scalar_one() == 2


def test_what_fails_in_the_middle_leaves_no_part(database):
    with pytest.raises(RuntimeError), database.writing() as connection:
        connection.execute(insert(schema.signature).values(splat_class="map-stack", function="f"))
        raise RuntimeError
    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(schema.signature)).scalar_one() == 0


def test_reading_where_no_history_is_says_how_to_get_one(place):
    with pytest.raises(MatrixError, match=r"there is no history .*matrix record"):
        open_history(place)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://host/database", "cannot lie in 'mysql'"),
        ("postgresql://user:secret@127.0.0.1:1/nothing", "does the server run"),
        ("sqlite://", "names no file"),
        ("post gres://x:y:z", "cannot"),
    ],
)
def test_a_place_that_cannot_be_is_one_sentence_without_the_password(url, words):
    with pytest.raises(MatrixError, match=words) as caught:
        open_history(url, create=True)
    assert "secret" not in str(caught.value)


def test_another_kind_of_file_is_named_and_left_alone(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("milk, bread\n" * 100)
    with pytest.raises(MatrixError, match="another kind of file"):
        open_history(str(file), create=True)
    assert file.read_text().startswith("milk")


def test_somebody_elses_tables_are_left_alone(tmp_path):
    with connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE run (id INTEGER)")
    other.close()
    with pytest.raises(MatrixError, match="no history of dmasafe's but has a table 'run'"):
        open_history(str(tmp_path / "other.db"), create=True)


def test_the_place_is_the_users_state_directory_or_the_environments(monkeypatch, tmp_path):
    monkeypatch.delenv("DMASAFE_HISTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_place() == str(tmp_path / "dmasafe" / "history.sqlite3")
    monkeypatch.setenv("DMASAFE_HISTORY", "postgresql://host/database")
    assert default_place() == "postgresql://host/database"
