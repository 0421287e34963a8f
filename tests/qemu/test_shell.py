# SPDX-License-Identifier: GPL-2.0-or-later
"""dmasafe shell as a user at a terminal has it: a console, its history, and QEMU's debugger stub."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest

from dmasafe.qemu.process import Extras
from dmasafe.targets.boot import Boot

SESSION_S = 120
CTRL_BRACKET = "\x1d"


@pytest.fixture
def shell(tmp_path):
    """Starts a session and waits for its prompt; all sessions have one state directory."""
    sessions = []

    def start(*arguments):
        session = pexpect.spawn(
            sys.executable, ["-m", "dmasafe.cli", "shell", *arguments], timeout=SESSION_S, encoding="utf-8",
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb", "COLUMNS": "200"},
        )  # fmt: skip
        sessions.append(session)
        session.expect("Ctrl-] ends the guest")
        session.expect("# ")
        return session

    yield start
    for session in sessions:
        session.close(force=True)


def finish(session):
    session.expect(pexpect.EOF)
    session.close()
    assert session.exitstatus == 0


def test_a_module_is_loaded_and_a_directory_is_there(shell, tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "file").write_text("from the host\n")
    driver = Path(__file__).parents[2] / "docs" / "examples" / "fixed"
    session = shell("--module", str(driver), "--share", str(tmp_path / "tools"))
    session.send("cat /share/file; ls /sys/module/thermo/refcnt\r")
    session.expect("from the host")
    session.expect("\r\n/sys/module/thermo/refcnt")
    session.send(CTRL_BRACKET)
    finish(session)


def test_what_was_typed_is_offered_in_the_next_session(shell, tmp_path):
    first = shell()
    first.send("echo $((6 * 7))\r")
    first.expect("\r\n42\r\n")
    first.send(CTRL_BRACKET)
    finish(first)
    stored = tmp_path / "dmasafe" / "shell-history"
    assert stored.read_text().splitlines() == ["echo $((6 * 7))"]

    second = shell()
    # Cursor up.
    second.send("\x1b[A")
    second.expect_exact("echo $((6 * 7))")
    second.send("\r")
    second.expect("\r\n42\r\n")
    second.send("reboot -f\r")
    finish(second)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH's client is not installed")
def test_the_printed_line_logs_in_with_openssh():
    command = [sys.executable, "-m", "dmasafe.cli", "shell", "--ssh"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as session:
        try:
            line = next(line for line in session.stdout if line.startswith("ssh: ")).removeprefix("ssh: ")
            words = [*shlex.split(line), "-o", "BatchMode=yes", "uname -n"]
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SESSION_S)
            assert (done.returncode, done.stdout) == (0, "board\n"), done.stderr
        finally:
            session.send_signal(signal.SIGINT)
    assert session.returncode == 130
    assert not Path(words[words.index("-i") + 1]).exists()


def test_a_debugger_finds_the_kernel_at_the_socket(guest, tmp_path):
    stub = tmp_path / "gdb.sock"
    image = replace(guest.image, extras=Extras(gdb=stub))
    with (tmp_path / "kmsg").open("wb") as log, Boot(image, tmp_path, log), socket.socket(socket.AF_UNIX) as gdb:
        gdb.settimeout(30)
        gdb.connect(str(stub))
        # The remote protocol's "why did it stop?": QEMU stops the guest when a debugger connects.
        gdb.sendall(b"$?#3f")
        answer = b""
        while not answer.partition(b"$")[2].count(b"#"):
            answer += gdb.recv(4096)
        assert answer.partition(b"$")[2].startswith(b"T0")
