# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine as a board."""

import contextlib
import os
import re
import select

import pytest

from dmasafe.guest.link import LinkError, LocalLink, private_name

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="target local is root's")


def test_only_root_may_use_this_machine(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LinkError, match="run it as root"):
        LocalLink()


@as_root
def test_commands_files_and_streams_pass(tmp_path):
    with contextlib.closing(LocalLink()) as link:
        assert link.command("echo out; echo err >&2; exit 3").output == "out\nerr\n"
        link.upload({"agent": b"\x00\xff"}, str(tmp_path))
        assert (tmp_path / "agent").read_bytes() == b"\x00\xff" and (tmp_path / "agent").stat().st_mode & 0o777 == 0o700
        stream = link.start("cat; touch " + str(tmp_path / "ended"))
        stream.setblocking(False)
        with pytest.raises(BlockingIOError):
            stream.recv(10)
        stream.send(b"hello")
        select.select([stream], [], [], 10)
        assert stream.recv(10) == b"hello"
    # The end of its input is the program's end.
    assert (tmp_path / "ended").exists()


@as_root
def test_a_command_without_end_is_bounded():
    with contextlib.closing(LocalLink()) as link, pytest.raises(LinkError, match=r"did not end within 0\.2 s"):
        link.command("sleep 20", 0.2)


def test_private_names_are_never_the_same():
    names = {private_name() for _ in range(100)}
    assert len(names) == 100 and all(re.fullmatch(r"/tmp/dmasafe\.[0-9a-f]{16}", name) for name in names)
