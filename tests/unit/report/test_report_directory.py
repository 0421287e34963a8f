# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from report_samples import passed

from dmasafe.report import ReportError, directory, json_report
from dmasafe.report.files import failure, write_text

NOW = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
FILES = {"results.json", "junit.xml", "results.ktap", "console.log", "kmsg.log"}


def names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


def test_a_run_leaves_its_five_files_behind_out_latest(with_rows, tmp_path: Path) -> None:
    (tmp_path / "serial").write_bytes(b"booting\xff\n")
    made = directory.publish(with_rows(passed()), tmp_path / "out", tmp_path / "serial", "4,1,2,-;hello\n", NOW)
    assert made == tmp_path / "out" / "20250102T030405Z-core"
    latest = tmp_path / "out" / "latest"
    assert latest.readlink() == Path(made.name)
    assert names(latest) == FILES
    assert (latest / "console.log").read_bytes() == b"booting\xff\n"
    assert (latest / "kmsg.log").read_text() == "4,1,2,-;hello\n"
    assert json_report.load(latest / "results.json").suite == "core"
    assert names(tmp_path / "out") == {"latest", made.name}


def test_runs_of_the_same_second_get_numbers_and_latest_is_the_last(with_rows, tmp_path: Path) -> None:
    made = [directory.publish(with_rows(passed()), tmp_path, now=NOW) for _ in range(3)]
    assert [path.name for path in made] == [
        "20250102T030405Z-core",
        "20250102T030405Z-core-2",
        "20250102T030405Z-core-3",
    ]
    assert (tmp_path / "latest").resolve() == made[2]
    assert all(names(path) == FILES for path in made)


def test_two_runs_at_once_never_share_a_directory(with_rows, tmp_path: Path) -> None:
    made: list[Path] = []
    results = with_rows(passed())
    runs = [Thread(target=lambda: made.append(directory.publish(results, tmp_path, now=NOW))) for _ in range(8)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(set(made)) == 8
    assert (tmp_path / "latest").resolve() in made


def test_latest_is_there_at_every_moment(with_rows, tmp_path: Path) -> None:
    results = with_rows(passed())
    directory.publish(results, tmp_path, now=NOW)
    stop, missing = Event(), []

    def watch() -> None:
        while not stop.is_set():
            if not (tmp_path / "latest" / "results.json").exists():
                missing.append(1)

    watcher = Thread(target=watch)
    watcher.start()
    for _ in range(30):
        directory.publish(results, tmp_path, now=NOW)
    stop.set()
    watcher.join()
    assert not missing


def test_a_suite_name_cannot_leave_the_directory(with_rows, tmp_path: Path) -> None:
    made = directory.publish(with_rows(passed(), suite="../a b/c"), tmp_path / "out", now=NOW)
    assert made == tmp_path / "out" / "20250102T030405Z-..-a-b-c"


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file that is created takes half of what it is given, then the disk is full."""
    opened = Path.open

    class Full:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.stream.close()

        def write(self, data: bytes) -> None:
            self.stream.write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def half(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        stream = opened(path, mode, *args, **options)
        return Full(stream) if "x" in mode else stream

    monkeypatch.setattr(Path, "open", half)


def test_a_full_disk_leaves_the_results_of_before(with_rows, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    before = directory.publish(with_rows(passed()), tmp_path, now=NOW)
    request.getfixturevalue("full_disk")
    with pytest.raises(ReportError, match="No space left on device; free some space") as caught:
        directory.publish(with_rows(passed()), tmp_path, now=NOW)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == {"latest", before.name}
    assert (tmp_path / "latest").resolve() == before


def test_a_disk_with_room_for_results_json_keeps_it(with_rows, tmp_path: Path, monkeypatch) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.name in ("junit.xml", "kmsg.log"):
            raise failure("write", path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        path.write_bytes(data)

    monkeypatch.setattr("dmasafe.report.files.write_bytes", full)
    monkeypatch.setattr(directory, "write_bytes", full)
    with pytest.raises(directory.Incomplete) as caught:
        directory.publish(with_rows(passed()), tmp_path, now=NOW)
    latest = tmp_path / "latest"
    assert names(latest) == FILES - {"junit.xml", "kmsg.log"}
    assert json_report.load(latest / "results.json").suite == "core"
    assert names(tmp_path) == {"latest", latest.resolve().name}
    assert str(caught.value) == (
        f"cannot write {latest.resolve()}/junit.xml: No space left on device; free some space there, or write to "
        f"another place; results.json is complete in {latest.resolve()}/"
    )


def test_a_full_disk_leaves_the_old_file_whole(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = tmp_path / "results.json"
    path.write_text("old")
    request.getfixturevalue("full_disk")
    with pytest.raises(ReportError, match=r"cannot write .*results.json"):
        write_text(path, "new and longer")
    assert path.read_text() == "old" and names(tmp_path) == {"results.json"}


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_what_is_called_latest_and_is_no_link_is_left_alone(kind: str, with_rows, tmp_path: Path) -> None:
    latest = tmp_path / "latest"
    if kind == "directory":
        latest.mkdir()
        (latest / "mine").touch()
    else:
        latest.write_text("mine")
    with pytest.raises(ReportError, match=f"latest is a {kind}, not the link .*: move it away"):
        directory.prepare(tmp_path)
    with pytest.raises(ReportError, match=f"latest is a {kind}"):
        directory.publish(with_rows(passed()), tmp_path)
    assert names(tmp_path) == {"latest"}


def test_a_dangling_latest_is_replaced(with_rows, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to("gone")
    made = directory.publish(with_rows(passed()), tmp_path, now=NOW)
    assert (tmp_path / "latest").resolve() == made


def test_a_place_that_cannot_be_written_is_known_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ReportError, match=r"cannot write results below .*file/out: Not a directory"):
        directory.prepare(tmp_path / "file" / "out")
    directory.prepare(tmp_path / "new" / "out")
    assert names(tmp_path / "new" / "out") == set()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_a_read_only_directory_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(ReportError, match="Permission denied; make it writable"):
        directory.prepare(tmp_path / "out")


def test_writing_goes_through_a_link_and_into_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "text"
    os.mkfifo(tmp_path / "pipe")
    got: list[str] = []
    reader = Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_text(tmp_path / "pipe", "through")
    reader.join(10)
    assert got == ["through"] and (tmp_path / "pipe").is_fifo()


def test_new_files_have_the_permissions_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "results.json", "{}")
    finally:
        os.umask(before)
    assert (tmp_path / "results.json").stat().st_mode & 0o777 == 0o644
