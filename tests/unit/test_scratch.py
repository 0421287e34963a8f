# SPDX-License-Identifier: GPL-2.0-or-later
"""Temporary directories: gone with their work, and where that was killed, with the next one."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dmasafe
from dmasafe import scratch
from dmasafe.errors import DmasafeError


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def names(root):
    return {path.name for path in root.iterdir()}


def test_it_is_private_and_goes_away_whatever_is_in_it(root):
    with pytest.raises(ValueError), scratch.directory("board-") as made:
        assert made.parent == root and made.name.startswith("dmasafe-board-") and made.stat().st_mode & 0o777 == 0o700
        (made / "a").mkdir()
        (made / "a" / "file").touch()
        raise ValueError
    assert names(root) == set()


def test_what_a_killed_process_left_is_swept_and_what_is_in_use_is_not(root):
    script = (
        f"import os, tempfile; tempfile.tempdir = {str(root)!r}\nfrom dmasafe import scratch\n"
        "with scratch.directory() as a, scratch.directory() as b:\n print(a, flush=True); os.read(0, 1)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline()
    (root / "dmasafe-error-1.txt").touch()
    (root / "dmasafe-old").mkdir()
    with scratch.directory():
        assert len(names(root)) == 5, "those in use stay"
    child.send_signal(signal.SIGKILL)
    child.wait()
    with scratch.directory() as mine:
        assert names(root) == {mine.name, "dmasafe-error-1.txt", "dmasafe-old"}


def test_somebody_else_s_is_left_alone(root, monkeypatch):
    with scratch.directory() as first:
        pass
    first.mkdir()
    (first / ".lock").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with scratch.directory():
        assert first.is_dir()


def test_no_place_for_it_is_one_sentence(root, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(root / "missing"))
    with pytest.raises(DmasafeError, match=r"cannot make \S+/missing/dmasafe-\S+: No such .*set TMPDIR to another"):
        scratch.directory().__enter__()


def test_nobody_makes_temporary_directories_otherwise():
    package = Path(dmasafe.__path__[0])
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"tempfile\.(mkdtemp\(|TemporaryDirectory\(\))|TemporaryDirectory\(prefix", path.read_text())
    }
    # The cache has its own sweeping: dmasafe kernel prune.
    assert found == {"scratch.py", "kernel/cache.py"}


def test_ctrl_c_while_it_is_made_leaves_nothing(root, monkeypatch):
    def interrupted(_made):
        raise KeyboardInterrupt

    monkeypatch.setattr(scratch, "_lock", interrupted)
    with pytest.raises(KeyboardInterrupt), scratch.directory():
        pass
    assert names(root) == set()
