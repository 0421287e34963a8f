# SPDX-License-Identifier: GPL-2.0-or-later
"""What is published is there whole or not at all."""

from pathlib import Path

import pytest

from dmasafe.atomic import adopt, publish


def test_a_file_gets_its_name_when_it_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with publish(path) as made:
        made.write_text("new")
        assert path.read_text() == "old"
        assert made.parent == tmp_path
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["file", "directory", "nothing"])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "here"
    path.mkdir()
    (path / "old").touch()

    def make(made: Path) -> None:
        if kind == "file":
            made.write_text("half")
        elif kind == "directory":
            made.mkdir()
            (made / "half").touch()
        raise ValueError

    with pytest.raises(ValueError), publish(path) as made:
        make(made)
    assert list(tmp_path.iterdir()) == [path]
    assert [entry.name for entry in path.iterdir()] == ["old"]


def test_a_directory_replaces_one_that_is_not_empty(tmp_path: Path) -> None:
    path = tmp_path / "here"
    path.mkdir()
    (path / "old").touch()
    with publish(path) as made:
        made.mkdir()
        (made / "new").touch()
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_cannot_take_its_place_gives_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "here"
    path.mkdir()
    (path / "old").touch()
    rename, calls = Path.rename, []

    def second_fails(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == 2:
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(OSError, match="no"), publish(path) as made:
        made.mkdir()
    assert [entry.name for entry in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_not_its_target(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to("first")
    with publish(link) as made:
        made.symlink_to("second")
        assert link.readlink() == Path("first")
    assert link.readlink() == Path("second")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["first", "link", "second"]


def test_a_file_does_not_replace_a_directory(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), publish(tmp_path / "here") as made:
        (tmp_path / "here").mkdir()
        made.touch()
    assert [entry.name for entry in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("taken", ["directory", "file"])
def test_the_first_of_two_directories_stays(tmp_path: Path, taken: str) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    path = tmp_path / "here"
    if taken == "file":
        path.touch()
    else:
        assert adopt(tmp_path / "one", path)
    assert not adopt(tmp_path / "two", path)
    assert path.is_file() or (path / "one").exists()
    assert (tmp_path / "two" / "two").exists()
