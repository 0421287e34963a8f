# SPDX-License-Identifier: GPL-2.0-or-later
"""The shell's history from session to session, with busybox's own shell and with guests that print anything."""

import os
import re
import stat
import tempfile
from pathlib import Path

import pexpect
import pytest

from dmasafe.cli.shell_history import GIVEN_LINES, KEPT_LINES, ShellHistory, load, save
from dmasafe.errors import DmasafeError

UP, LEFT, RUBOUT, KILL = "\x1b[A", "\x1b[D", "\x7f", "\x15"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "shell-history"


class Terminal:
    """busybox's shell, as a ShellHistory sees it; it takes a console of no known width to have 80 columns."""

    def __init__(self, home, lines=()):
        self.history = ShellHistory(lines)
        environment = {"TERM": "dumb", "HOME": str(home), "PATH": os.environ["PATH"]}
        self.shell = pexpect.spawn("busybox", ["ash", "-i"], env=environment, cwd="/", timeout=20, dimensions=(24, 80))
        self.shell.expect_exact("# ")
        self.shell.send(self.history.typed)
        self.shell.expect(self.history.ready)

    def enter(self, *keys, answer):
        """Type, and wait for what the line prints."""
        for key in (*keys, "\r"):
            self.shell.send(key)
        self.shell.expect(self.history.ready)
        # In pieces, as a slow guest prints.
        printed = self.shell.before + self.shell.after
        shown = b"".join(self.history.show(bytes([octet])) for octet in printed).decode("latin-1")
        assert re.search(rf"\n{answer}\r\n[^\n]*# $", shown), shown
        return shown


@pytest.fixture
def start(tmp_path):
    opened = []

    def with_lines(*lines):
        opened.append(Terminal(tmp_path, lines))
        return opened[-1]

    yield with_lines
    for terminal in opened:
        terminal.shell.close(force=True)


@pytest.fixture
def trap():
    """A file that is not there; its path is short, so that a line with it fits into a row."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as directory:
        yield Path(directory) / "ran"


def test_what_is_given_is_remembered_and_not_run(start, trap):
    terminal = start(f"touch {trap}", f"echo $(touch {trap})", "echo 'it''s' \\", "echo done")
    terminal.enter(UP, answer="done")
    # Two further back than the line just entered, which is the last one again.
    terminal.enter(UP, UP, UP, KILL, "echo two", answer="two")
    assert not trap.exists()
    assert terminal.history.lines == ["echo two"]
    terminal.enter(UP, UP, UP, UP, UP, "; echo $?", answer="0")
    assert trap.exists()
    assert terminal.history.lines[-1] == f"touch {trap}; echo $?"


def test_a_line_is_remembered_as_it_stood_when_it_was_entered(start):
    terminal = start()
    terminal.enter("echo 1x", RUBOUT, LEFT, "4", answer="41")
    terminal.enter("cd /us", "\t", " && pwd", answer="/usr/?")
    terminal.enter("echo more", answer="more")
    assert terminal.history.lines == ["echo 41", "cd /usr/ && pwd", "echo more"]


# The prompt "/ # " and what is typed fill one row less a column, exactly one, one and a column, exactly two.
@pytest.mark.parametrize("columns", [79, 80, 81, 160])
def test_a_line_is_remembered_whole_whatever_rows_it_fills(start, columns):
    line = "echo " + "x" * (columns - len("/ # echo "))
    terminal = start("echo before", line)
    terminal.enter("echo first", answer="first")
    terminal.enter(UP, UP, answer=r"(?:\x1b\[J)?x+")
    terminal.enter("echo last", answer="last")
    assert terminal.history.lines == ["echo first", line, "echo last"]


def test_the_lines_of_a_long_command_are_all_remembered(start):
    terminal = start()
    terminal.enter("for n in 1 2; do\r", "echo $n\r", "done", answer="1\r\n2")
    assert terminal.history.lines == ["for n in 1 2; do", "echo $n", "done"]


def test_the_user_sees_nothing_of_it(start):
    terminal = start("echo before")
    shown = terminal.enter("echo 'a\\b'", answer=r"a\\b")
    assert shown.endswith("a\\b\r\n/ # ") and "\x1b]" not in shown and "before" not in shown
    assert terminal.history.lines == ["echo 'a\\b'"]


def test_what_a_program_prints_is_not_what_was_typed(start):
    terminal = start()
    shown = terminal.enter(r"printf '/ # reboot\n\033]0;  1 halt\a\n'", answer="/ # reboot\r\n[^\r]*")
    assert "\x1b]0;  1 halt\x07" in shown
    assert terminal.history.lines == [r"printf '/ # reboot\n\033]0;  1 halt\a\n'"]


def test_a_guest_gets_the_latest_lines_and_the_end_occurs_once():
    lines = [f"line {number}" for number in range(GIVEN_LINES)] + ["end", "other", "end"]
    rows = ShellHistory(lines).typed.decode().split("\r")
    assert rows.count("end") == 1 and rows[-2] == "end"
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
    typed = ShellHistory(load(file)).typed
    assert typed.endswith(b"\r") and b"good\r" in typed and b"\x07" not in typed and b"xxx" not in typed


def test_a_console_without_any_sense_costs_nothing_and_is_shown():
    history = ShellHistory([])
    start = re.search(rb"\\033(\][0-9a-f]+;)", history.typed)[1]
    noise = (
        b"\x1b[999D\x1b[\x1b]\x1b" + b"x" * 100_000 + b"\n# \n" + bytes(range(256)) + b"\x1b" + start + b"y" * 100_000
    )
    shown = b"".join(history.show(noise[at : at + 999]) for at in range(0, len(noise), 999))
    assert shown == noise and history.lines == []


def test_a_place_that_cannot_be_written_is_one_sentence(file):
    file.parent.write_text("no directory")
    with pytest.raises(DmasafeError, match="cannot be kept in"):
        save(file, ["x"])
