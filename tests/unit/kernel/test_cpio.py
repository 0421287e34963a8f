# SPDX-License-Identifier: GPL-2.0-or-later
"""The cpio writer, read back by cpio(1)."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest

from dmasafe.kernel.cpio import BLOCK_BYTES, join, write_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "usr" / "bin").mkdir(parents=True)
    (root / "usr" / "bin" / "tool").write_bytes(b"\x7fELF" + bytes(range(256)))
    (root / "usr" / "bin" / "tool").chmod(0o4711)
    (root / "etc").mkdir(mode=0o700)
    (root / "etc" / "naïve name").write_text("text")
    (root / "etc" / "empty").touch()
    (root / "bin").symlink_to("usr/bin")
    return root


def archive(root: Path, links: dict[str, str] | None = None) -> bytes:
    sink = io.BytesIO()
    write_tree(root, links or {}, sink)
    return sink.getvalue()


def unpacked(data: bytes, into: Path) -> Path:
    into.mkdir()
    subprocess.run(["cpio", "--extract", "--quiet"], input=data, cwd=into, check=True)
    return into


def test_cpio_unpacks_what_was_written(tree: Path, tmp_path: Path) -> None:
    # Without --make-directories: the kernel makes none either.
    out = unpacked(archive(tree, {"usr/bin/sh": "busybox", "opt/bin/vi": "busybox"}), tmp_path / "out")
    assert (out / "usr/bin/tool").read_bytes() == (tree / "usr/bin/tool").read_bytes()
    assert (out / "etc/naïve name").read_text() == "text"
    assert (out / "etc/empty").read_bytes() == b""
    assert (out / "bin").readlink() == Path("usr/bin")
    assert (out / "usr/bin/sh").readlink() == (out / "opt/bin/vi").readlink() == Path("busybox")
    assert {str(path.relative_to(out)) for path in out.rglob("*")} == {
        *("usr", "usr/bin", "usr/bin/tool", "usr/bin/sh", "etc", "etc/naïve name", "etc/empty", "bin"),
        *("opt", "opt/bin", "opt/bin/vi"),
    }


def test_owners_times_and_odd_modes_of_this_machine_do_not_show(tree: Path) -> None:
    before = archive(tree)
    listing = subprocess.run(["cpio", "--list", "--verbose", "--numeric-uid-gid"], input=before, capture_output=True)
    rows = [line.split() for line in listing.stdout.decode().splitlines()]
    assert {(row[2], row[3]) for row in rows} == {("0", "0")}
    assert {row[-1]: row[0] for row in rows}["usr/bin/tool"] == "-rwxr-xr-x"
    os.utime(tree / "etc" / "empty", (1, 1))
    (tree / "etc" / "empty").chmod(0o640)
    assert archive(tree) == before
    (tree / "etc" / "empty").chmod(0o740)
    assert archive(tree) != before


def test_a_joined_archive_is_aligned_and_the_second_part_wins(tree: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(archive(tree))
    (tree / "etc" / "empty").write_text("no longer")
    second.write_bytes(archive(tree))
    sink = io.BytesIO()
    join(first, second, sink)
    data = sink.getvalue()
    assert len(data) % BLOCK_BYTES == 0
    assert data[: first.stat().st_size] == first.read_bytes()
    start = first.stat().st_size + -first.stat().st_size % BLOCK_BYTES
    assert (unpacked(data[start:], tmp_path / "out") / "etc" / "empty").read_text() == "no longer"
