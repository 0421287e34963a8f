# SPDX-License-Identifier: GPL-2.0-or-later
"""The shell's history from session to session, with busybox's own shell and with guests that print anything."""

import os
import stat
import tempfile
from pathlib import Path

import pexpect
import pytest

from dmasafe.cli.shell_history import GIVEN_LINES, KEPT_LINES, Recorder, here_document, load, save
from dmasafe.errors import DmasafeError

UP, LEFT, RUBOUT, KILL = "\x1b[A", "\x1b[D", "\x7f", "\x15"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "shell-history"


class Terminal:
    """busybox's shell, watched by a Recorder."""

    def __init__(self, home):
        self.recorder = Recorder()
        environment = {"TERM": "dumb", "HOME": str(home), "PATH": os.environ["PATH"]}
        self.shell = pexpect.spawn("busybox", ["ash", "-i"], env=environment, cwd="/", timeout=20)
        self.shell.expect_exact("# ")
        self.show_prompt()

    def show_prompt(self):
        self.shell.send("\r")
        self.shell.expect_exact("# ")
        self.recorder.show(self.shell.before + self.shell.after)

    def give(self, lines):
        typed, last = here_document(lines)
        self.shell.send(typed)
        self.shell.expect_exact(last + b"\r\n")
        self.shell.expect_exact("# ")
        self.show_prompt()

    def enter(self, *keys, answer):
        """Type, and wait for what the line prints."""
        for key in keys:
            self.recorder.type(key.encode())
            self.shell.send(key)
        self.recorder.type(b"\r")
        self.shell.send("\r")
        self.shell.expect(f"\r\n{answer}\r\n[^\r\n]*# ")
        # In pieces, as a slow guest prints.
        for octet in self.shell.before + self.shell.after:
            self.recorder.show(bytes([octet]))


@pytest.fixture
def terminal(tmp_path):
    opened = Terminal(tmp_path)
    yield opened
    opened.shell.close(force=True)


@pytest.fixture
def trap():
    """A file that is not there; its path is short, so that a line with it fits into a row."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as directory:
        yield Path(directory) / "ran"


def test_what_is_given_is_remembered_and_not_run(terminal, trap):
    lines = [f"touch {trap}", f"echo $(touch {trap})", "echo 'it''s' \\", "echo done"]
    terminal.give(lines)
    terminal.enter(UP, answer="done")
    # Two further back than the line just entered, which is the last one again.
    terminal.enter(UP, UP, UP, KILL, "echo two", answer="two")
    assert not trap.exists()
    assert terminal.recorder.lines == ["echo done", "echo two"]
    terminal.enter(UP, UP, UP, UP, UP, "; echo $?", answer="0")
    assert trap.exists()
    assert terminal.recorder.lines[-1] == f"touch {trap}; echo $?"


def test_a_line_is_recorded_as_it_stood_when_it_was_entered(terminal):
    terminal.enter("echo 1x", RUBOUT, LEFT, "4", answer="41")
    terminal.enter("cd /us", "\t", " && pwd", answer="/usr/?")
    terminal.enter("echo more", answer="more")
    assert terminal.recorder.lines == ["echo 41", "cd /usr/ && pwd", "echo more"]


def test_a_line_longer_than_the_terminal_is_recorded_whole(terminal):
    text = "abcdefghi " * 12
    terminal.enter(f"echo {text}| wc -c", answer="120")
    assert terminal.recorder.lines == [f"echo {text}| wc -c"]


def test_what_a_program_prints_is_not_what_was_typed(terminal):
    terminal.enter("printf '/ # reboot\\n/ # halt\\n'", answer="/ # reboot\r\n/ # halt")
    assert terminal.recorder.lines == ["printf '/ # reboot\\n/ # halt\\n'"]


def test_no_lines_are_typed_as_nothing():
    assert here_document([]) == (b"", b"")


def test_a_guest_gets_the_latest_lines_and_the_end_occurs_once():
    lines = [f"line {number}" for number in range(GIVEN_LINES)] + ["end", "other", "end"]
    typed, last = here_document(lines)
    rows = typed.decode().split("\r")
    assert last == b"end" and rows.count("end") == 1 and rows[-2] == "end"
    assert len(rows) <= GIVEN_LINES + 1


def test_lines_are_kept_in_order_and_bounded(file):
    save(file, ["first", "second", "second"])
    save(file, ["second", "third"])
    assert load(file) == ["first", "second", "third"]
    save(file, [f"line {number}" for number in range(2 * KEPT_LINES)])
    assert load(file)[-1] == f"line {2 * KEPT_LINES - 1}" and len(load(file)) == KEPT_LINES
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["shell-history"]


def test_a_session_without_a_line_writes_nothing(file):
    save(file, ["", "   "])
    assert not file.exists() and load(file) == []


def test_what_could_move_a_cursor_is_neither_kept_nor_given(file):
    save(file, ["ls \x1b[2Jx\rgr\xfc\xdfe\x00\x9b"])
    assert load(file) == ["ls  [2Jx gr\xfc\xdfe"]
    file.write_bytes(b"good\n\xff\xfe\x07bad\n" + b"x" * 5000 + b"\n")
    typed, _ = here_document(load(file))
    assert typed.startswith(b": <<") and b"\x07" not in typed and b"xxx" not in typed


def test_a_console_without_any_sense_costs_nothing():
    recorder = Recorder()
    recorder.type(b"\r" * 5)
    recorder.show(b"\x1b[999999999D\x1b[\x1b[12\b\b\n\x1b" + b"x" * 100_000 + b"\n\x1b[99999C# \n" + bytes(range(256)))
    assert recorder.lines == []


def test_a_place_that_cannot_be_written_is_one_sentence(file):
    file.parent.write_text("no directory")
    with pytest.raises(DmasafeError, match="cannot be kept in"):
        save(file, ["x"])
