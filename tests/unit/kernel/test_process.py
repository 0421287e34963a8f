# SPDX-License-Identifier: GPL-2.0-or-later
"""Subprocesses: nothing outlives us, failures show their last words."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from dmasafe.kernel.errors import BuildError, CacheFullError, KernelError
from dmasafe.kernel.process import clean_environment, query, run

BOUND_MS = 20_000


def ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(BOUND_MS))


@pytest.mark.parametrize("reaction", ["", "trap '' TERM;"], ids=["polite", "ignores SIGTERM"])
def test_ctrl_c_ends_the_whole_process_group(tmp_path: Path, reaction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmasafe.kernel.process.KILL_GRACE_S", 0.2)
    descriptors: list[int] = []

    def interrupt(line: str) -> None:
        descriptors.extend(os.pidfd_open(int(word)) for word in line.split())
        raise KeyboardInterrupt

    script = f"{reaction} sleep 1000 & echo $! $$; wait; wait"
    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", script], what="sleeping", log=tmp_path / "log", on_line=interrupt)
    assert len(descriptors) == 2
    try:
        assert all(ended(descriptor) for descriptor in descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def test_a_failure_shows_the_last_lines_and_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "seq 100; echo /tmp/copy/file.c: error; exit 3"
    with pytest.raises(BuildError) as caught:
        run(["sh", "-c", script], what="counting", log=log, shown_as={"/tmp/copy": "/home/me"})
    text = str(caught.value)
    assert text.startswith("counting failed (exit status 3)")
    assert "    100\n    /home/me/file.c: error\n" in text
    assert "    86\n" not in text
    assert str(log) in text
    assert "\n1\n2\n" in log.read_text()


def test_a_full_disk_is_told_from_a_broken_build(tmp_path: Path) -> None:
    script = "echo 'as: main.o: No space left on device'; exit 1"
    with pytest.raises(CacheFullError, match="make room"):
        run(["sh", "-c", script], what="building", log=tmp_path / "log")


def test_a_program_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="counting failed: no-such-program is not installed"):
        run(["no-such-program"], what="counting", log=tmp_path / "log")
    with pytest.raises(KernelError, match="no-such-program is not installed"):
        query(["no-such-program"])


def test_the_callers_make_does_not_reach_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEFLAGS", "--jobserver-auth=3,4")
    monkeypatch.setenv("ARCH", "arm64")
    environment = clean_environment({"EXTRA": "1"})
    assert "MAKEFLAGS" not in environment
    assert "ARCH" not in environment
    assert environment["LC_ALL"] == "C"
    assert environment["EXTRA"] == "1"
