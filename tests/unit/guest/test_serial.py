# SPDX-License-Identifier: GPL-2.0-or-later
"""The way to a board over a serial line, on a pty: login, a shell that no damage reaches, and what is said."""

import contextlib
import os
import pty
import random
import selectors
import stat
import sys
import threading
import time
import tty

import pytest

from dmasafe.guest.link import LinkError
from dmasafe.guest.serial import SerialLink, parse_serial

BAUD = 1_500_000
# getty and login in one: asks for a name and, if there is one, a password; then a shell on the same terminal.
LOGIN = """
import subprocess, sys, time
def ask(question):
    time.sleep(float(sys.argv[2]) if sys.argv[2:] else 0)
    return input(question)
while True:
    name = ask("board login: ")
    if name and len(sys.argv) > 1 and ask("Password: ") != sys.argv[1]:
        name = "nobody"
    if name == "root":
        subprocess.run(["sh", "-i"])
    elif name:
        print("Login incorrect")
"""


class Line:
    """A program on one pty, carried to another one, whose name is ``device``; ``damage`` is how often it suffers."""

    def __init__(self, argv, damage=0.0):
        self.damage, self.chatter = damage, False
        self._rng = random.Random(3)
        self._pid, self._board = pty.fork()
        if self._pid == 0:
            os.execvp(argv[0], argv)
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self.device = os.ttyname(self._theirs)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        for fd in (self._ours, self._theirs, self._board):
            os.close(fd)
        os.waitpid(self._pid, 0)

    def _carry(self):
        spoken = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self._ours, selectors.EVENT_READ, self._board)
            selector.register(self._board, selectors.EVENT_READ, self._ours)
            while not self._stop.is_set():
                for key, _ in selector.select(0.05):
                    try:
                        data = os.read(key.fd, 256)
                        while data:
                            data = data[os.write(key.data, self._damaged(data)) and len(data) :]
                    except OSError:
                        return
                if self.chatter and time.monotonic() - spoken > 0.2:
                    spoken = time.monotonic()
                    os.write(self._ours, b"\r\n[  123.456789] usb 1-1: new high-speed USB device\r\n")

    def _damaged(self, data):
        if self._rng.random() >= self.damage:
            return data
        at = self._rng.randrange(len(data))
        return self._rng.choice((data[:at] + data[at + 1 :], data[: at + 1] + data[at:])) or b"\0"


def board(*password_and_delay):
    return [sys.executable, "-c", LOGIN, *password_and_delay]


@pytest.mark.parametrize(
    ("text", "found"), [("/dev/ttyUSB0", ("/dev/ttyUSB0", 115200)), ("/dev/x@9600", ("/dev/x", 9600))]
)
def test_a_line_is_named_with_its_speed(text, found):
    assert parse_serial(text) == found


@pytest.mark.parametrize("text", ["", "@9600", "/dev/x@fast", "/dev/x@1", "/dev/x@-5"])
def test_what_is_no_line_is_said(text):
    with pytest.raises(LinkError, match="is no serial line: write DEVICE"):
        parse_serial(text)


@pytest.mark.parametrize(
    "argv",
    [["sh", "-i"], board(), board("secret"), board("secret", "0.1")],
    ids=["shell", "login", "password", "slow"],
)
def test_a_shell_is_reached_and_left_as_it_was(argv):
    with Line(argv) as line:
        for _ in range(2):
            with contextlib.closing(SerialLink(line.device, BAUD, password=lambda: "secret")) as link:
                done = link.command("echo one; echo two >&2; exit 7")
                assert (done.status, done.output) == (7, "one\ntwo")


def test_a_wrong_password_is_said():
    with Line(board("secret")) as line, pytest.raises(LinkError, match="refuses user 'root' or the password"):
        SerialLink(line.device, BAUD, password=lambda: "wrong")


def test_a_password_that_nobody_can_give_is_said():
    with Line(board("secret")) as line, pytest.raises(LinkError, match="needs a password: use --password-fd"):
        SerialLink(line.device, BAUD)


def test_a_bad_line_and_a_talking_kernel_do_no_harm(tmp_path):
    content = random.Random(5).randbytes(50_000)
    with Line(["sh", "-i"]) as line, contextlib.closing(SerialLink(line.device, BAUD)) as link:
        line.chatter, line.damage = True, 0.002
        for number in range(20):
            assert link.command(f"echo $(({number} * 3))").output == str(number * 3)
        link.upload({"agent": content}, str(tmp_path))
        line.damage = 0.0
    assert (tmp_path / "agent").read_bytes() == content
    assert stat.S_IMODE((tmp_path / "agent").stat().st_mode) == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["agent"]


def test_a_damaged_command_is_never_carried_out(tmp_path):
    with Line(["sh", "-i"]) as line, contextlib.closing(SerialLink(line.device, BAUD)) as link:
        for attempt in range(5):
            # The same with one character lost, as the board would see it.
            script = f"touch {tmp_path}/damaged{attempt}"
            link._send_script(script, "run", "0" * 8)
            link._send(f"\n#new\n{script[:-1]}\n#run 11111111 {'0' * 64}\n".encode())
        assert link.command("true").status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"damaged{n}" for n in range(5)]


def test_a_device_that_is_not_there_is_said(tmp_path):
    with pytest.raises(LinkError, match=r"there is no serial device .*/ttyUSB9: 'dmasafe targets' lists"):
        SerialLink(str(tmp_path / "ttyUSB9"))


def test_a_device_that_is_taken_is_said():
    taken = pytest.raises(LinkError, match="is in use by another program")
    with Line(["sh", "-i"]) as line, contextlib.closing(SerialLink(line.device, BAUD)), taken:
        SerialLink(line.device, BAUD)


def test_no_permission_is_said_with_the_group(monkeypatch):
    import errno

    import serial

    def refuse(*_args, **_kwargs):
        raise serial.SerialException(errno.EACCES, "could not open port")

    monkeypatch.setattr("dmasafe.guest.serial.serial.Serial", refuse)
    with pytest.raises(LinkError, match=r"no permission for /dev/null: join group \w+ \('sudo adduser"):
        SerialLink("/dev/null")


def test_a_line_on_which_nobody_answers_is_said(monkeypatch):
    monkeypatch.setattr("dmasafe.guest.serial.LOGIN_TIMEOUT_S", 1.0)
    with Line(["sleep", "60"]) as line:
        with pytest.raises(LinkError, match="neither login nor shell answers at 1500000 baud"):
            SerialLink(line.device, BAUD)
        os.kill(line._pid, 9)
