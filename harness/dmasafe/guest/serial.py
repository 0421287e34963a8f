# SPDX-License-Identifier: GPL-2.0-or-later
"""A board over a serial line: login by pexpect, then a shell that takes nothing that came over damaged.

The line may lose, repeat or insert characters, the kernel may speak between. So every command goes with a checksum,
which the board's shell checks before it does anything, and every answer comes with one.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import gzip
import hashlib
import os
import re
import secrets
import select
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pexpect
import serial
from pexpect.fdpexpect import fdspawn

from dmasafe.guest.agent import Stream
from dmasafe.guest.link import COMMAND_TIMEOUT_S, Done, Link, LinkError, closed

BAUD = 115200
LOGIN_TIMEOUT_S = 20.0
PROMPT_TIMEOUT_S = 3.0
SETTLE_S = 0.3
READY_TIMEOUT_S = 0.8
TRIES = 4
NAMES = 4
NEWLINE = b"\n"
# What is sent at a time: small enough to be sent again.
CHUNK_BYTES = 32768
_LINE_BYTES = 512
_OCTAL_BYTES = 2048
_PIECE_BYTES = 1024
# 8N1: ten bits a byte.
_BITS = 10
_USER = re.compile(rb"(?i)(?:login|user ?name): ?$")
_PASSWORD = re.compile(rb"(?i)password: ?$")
_PROMPT = re.compile(rb"[#$%>] ?(?:\x1b\[[0-9;?]*[a-zA-Z])*$")
_QUESTIONS = (_PASSWORD, _USER, _PROMPT)
_REFUSED = re.compile(rb"(?i)login incorrect|authentication failure|permission denied")
# A shell in the shell: it collects lines, and does them when their checksum is right ("run" answers with one; "go"
# hands over the terminal, and is the last). It asks for nothing and echoes nothing, so no prompt has to be recognised.
_SHELL = """
k=sha256sum; command -v $k >/dev/null || k="busybox sha256sum"; t=$(stty -g); stty -echo; c=
sum() { printf %s "$1" | $k; }
while IFS= read -r l; do case "$l" in
"#new") c= ;;
"#run "*) set -- $l
s=damaged o=
case "$(sum "$c")" in $3*) o=$(eval "$c" 2>&1 </dev/null); s=$?; esac
printf "\\n%s\\n" "$2:b" "$o" "$2:e $s $(sum "$o")." ;;
"#put "*) set -- $l
case "$(sum "$4")" in $3*) head -n $5 | $6 $7 $8 > "$4" 2>/dev/null
printf "\\n%s\\n" "$2:p $($k < "$4")." ;; esac ;;
"#go "*) set -- $l
case "$(sum "$c")" in $3*) printf "\\n%s\\n" "$2:g"; eval "$c"; break; esac ;;
"#end") break ;;
*) c="$c$l
" ;;
esac; done; stty "$t"
"""


def parse_serial(text: str) -> tuple[str, int]:
    """``DEVICE[@BAUD]``. Raises LinkError."""
    device, _, baud = text.partition("@")
    if not device or (baud and not (baud.isascii() and baud.isdigit() and 50 <= int(baud) <= 4_000_000)):
        raise LinkError(f"'{text}' is no serial line: write DEVICE[@BAUD], such as /dev/ttyUSB0@115200")
    return device, int(baud or BAUD)


class _NoAnswer(LinkError):
    """Nothing whole came back."""


class SerialLink:
    """A root shell on a serial line. ``password`` is asked for if the board does."""

    def __init__(self, device: str, baud: int = BAUD, user: str = "root", password: Callable[[], str] | None = None):
        self._device, self._baud, self._user, self._password = device, baud, user, password
        self.name = f"serial:{device}"
        self.window_bytes = 4096
        # The window, an answer's longest frame behind it, and time to think.
        self.resend_s = 1.0 + 2 * self.seconds(self.window_bytes)
        self._logged_in = False
        self._shell = False
        self._free_at = 0.0
        self._port = _open(device, baud)
        self._expect: Any = fdspawn(self._port.fileno(), timeout=PROMPT_TIMEOUT_S, maxread=65536, use_poll=True)
        try:
            self._log_in()
            self._start_shell()
        except BaseException:
            self.close()
            raise

    def seconds(self, count: int) -> float:
        """How long so many bytes are on the line."""
        return count * _BITS / self._baud

    def _log_in(self) -> None:
        """To a shell: one that is there already, or by name and password. Raises LinkError."""
        # The word in two pieces: an echo of the question is no answer.
        token = secrets.token_hex(4)
        question = f"echo {token[:4]}''{token[4:]}"
        named, asked, refusals = 0, False, 0
        until = time.monotonic() + LOGIN_TIMEOUT_S + 2 * self.seconds(1000)
        self._send_line("")
        while time.monotonic() < until:
            found = self._asked([token.encode(), _REFUSED, _PASSWORD, _USER, _PROMPT])
            if found == 0:
                return
            if found == 2 and not named:
                # Somebody else's attempt: an empty one brings the question for the name back.
                self._send_line("")
            elif found == 1:
                # Once it may be a name too many that was taken for the password.
                refusals += asked
                if refusals > 1:
                    raise LinkError(f"{self.name}: the board refuses user '{self._user}' or the password")
                if asked:
                    named, asked = 0, False
            elif found == 2:
                if self._password is None:
                    raise LinkError(
                        f"{self.name}: user '{self._user}' needs a password: use --password-fd, or a terminal"
                    )
                if not asked:
                    self._send_line(self._password())
                    asked = True
            elif found == 3:
                # One may have been waiting, and another come for our first empty line.
                named += 1
                if named > NAMES:
                    raise LinkError(f"{self.name}: the board does not let user '{self._user}' in")
                self._send_line(self._user)
                self._logged_in = True
            else:
                self._send_line(question)
        raise LinkError(
            f"{self.name}: neither login nor shell answers at {self._baud} baud: is the speed right, is the board up?"
        )

    def _asked(self, patterns: list[Any]) -> int | None:
        """_look() for the last of questions that come one after the other: ours may meet one that was there before."""
        found = self._look(patterns, PROMPT_TIMEOUT_S)
        while found is not None and patterns[found] in _QUESTIONS:
            later = self._look(patterns, SETTLE_S + self.seconds(_LINE_BYTES))
            if later is None:
                break
            found = later
        return found

    def _start_shell(self) -> None:
        """Whatever the login shell is, the one that we talk to has no prompt, no echo and no job control."""
        for _ in range(TRIES):
            # One that was left behind is ended first; a login shell takes that for a comment.
            self._send_line("#end")
            self._send_line(f"sh -c '{_SHELL}'")
            self._shell = True
            time.sleep(self.seconds(len(_SHELL)))
            with contextlib.suppress(_NoAnswer):
                if self._ask("echo ready", READY_TIMEOUT_S, 4).output.strip() == "ready":
                    return
            # A quote that got lost leaves the login shell waiting for its other half.
            self._send(b"\x03\n")
        raise LinkError(f"{self.name}: the board's shell does not answer: does it have sh, stty and sha256sum?")

    def command(self, script: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Done:
        return self._ask(script, timeout_s, TRIES)

    def _ask(self, script: str, timeout_s: float, tries: int) -> Done:
        for _ in range(tries):
            token = secrets.token_hex(4)
            self._send_script(script, "run", token)
            begin, end = (
                re.escape(token.encode()) + rb":b\r?\n",
                rb"\n" + token.encode() + rb":e (\w+) ([0-9a-f]{64})  -\.\r?\n",
            )
            patience = timeout_s + self.seconds(len(script)) * 2
            if self._look([re.compile(begin + rb"(?s:(.*))" + end)], patience) != 0:
                continue
            output, status, digest = self._expect.match.groups()
            # The terminal makes \r\n of \n, and printf adds one.
            output = output.replace(b"\r\n", b"\n").removesuffix(b"\r").removesuffix(b"\n").removeprefix(b"\n")
            if status.isdigit() and digest.decode() == hashlib.sha256(output).hexdigest():
                return Done(int(status), output.decode(errors="replace"))
        raise _NoAnswer(f"{self.name}: the line is too bad, or the board hangs: no answer to {script[:60]!r}")

    def _send_script(self, script: str, verb: str, token: str) -> None:
        lines = script.strip("\n").split("\n")
        content = "".join(f"{line}\n" for line in lines).encode()
        # An unfinished line of an earlier try is ended first.
        self._send(b"\n#new\n" + content + f"#{verb} {token} {hashlib.sha256(content).hexdigest()}\n".encode())

    def upload(self, files: Mapping[str, bytes], directory: str) -> None:
        decode = self._tool("base64", "-d")
        gunzip = self._tool("gunzip", "-c")
        for name, content in files.items():
            path = f"{directory}/{name}"
            packed = gzip.compress(content, mtime=0) if gunzip else content
            parts: list[str] = []
            for at in range(0, len(packed), CHUNK_BYTES):
                parts.append(f"{path}.{len(parts)}")
                self._put(packed[at : at + CHUNK_BYTES], parts[-1], decode)
            joined = f"cat {' '.join(parts)}" + (f" | {gunzip}" if gunzip else "")
            self._checked(f"{joined} > {path} && chmod 700 {path}", path)
            self._checked(f"rm -f {' '.join(parts)}", path)
            if hashlib.sha256(content).hexdigest() not in self._checked(f"$k < {path}", path):
                raise LinkError(f"{self.name}: {path} did not arrive whole")

    def _put(self, data: bytes, path: str, decode: str | None) -> None:
        """Write one file. Raises LinkError if it does not arrive whole after some tries."""
        if decode is None:
            for start in range(0, len(data), _OCTAL_BYTES):
                self._checked(_in_octal(data[start : start + _OCTAL_BYTES], path, start > 0), path)
            return
        text = base64.b64encode(data)
        lines = b"".join(text[at : at + _LINE_BYTES] + b"\n" for at in range(0, len(text), _LINE_BYTES))
        for _ in range(TRIES):
            token = secrets.token_hex(4)
            name = hashlib.sha256(path.encode()).hexdigest()
            verb = f"#put {token} {name} {path} {lines.count(NEWLINE)} {decode}\n"
            self._send(b"\n#new\n" + verb.encode() + lines)
            # A board may be slower than its line.
            patience = COMMAND_TIMEOUT_S + 3 * self.seconds(len(lines))
            if self._look([re.compile(token.encode() + rb":p ([0-9a-f]{64})  -\.\r?\n")], patience) != 0:
                # Some ends of lines may have got lost, and head(1) still waits for them.
                self._send(NEWLINE * lines.count(NEWLINE))
            elif self._expect.match[1].decode() == hashlib.sha256(data).hexdigest():
                return
        raise _NoAnswer(f"{self.name}: the line is too bad for {path}")

    def _checked(self, script: str, path: str, repeat: bool = True) -> str:
        done = self._ask(script, 3 * COMMAND_TIMEOUT_S, TRIES if repeat else 1)
        if done.status != 0:
            raise LinkError(f"{self.name}: cannot write {path}: {done.output.strip()[-200:] or done.status}")
        return done.output

    def _tool(self, name: str, option: str) -> str | None:
        """How the board calls a program, or None if it has none."""
        script = f"""
if command -v {name} > /dev/null; then echo {name}
elif busybox --list 2> /dev/null | grep -qx {name}; then echo busybox {name}
fi
"""
        found = self.command(script).output.strip()
        return f"{found} {option}" if found else None

    def start(self, command: str) -> Stream:
        for _ in range(TRIES):
            token = secrets.token_hex(4)
            self._send_script(command, "go", token)
            if self._look([token.encode() + b":g\r?\n"], PROMPT_TIMEOUT_S) == 0:
                self._shell = False
                return SerialStream(self._port, bytes(self._expect.buffer))
        raise LinkError(f"{self.name}: the line is too bad to start anything")

    def again(self) -> Link:
        self.close()
        return SerialLink(self._device, self._baud, self._user, self._password)

    def close(self) -> None:
        """Leave the board at the prompt at which it was found."""
        with contextlib.suppress(OSError, LinkError, serial.SerialException):
            if self._shell:
                self._send_line("\n#end")
            if self._logged_in:
                self._send_line("\nexit")
            self._port.flush()
        self._shell = self._logged_in = False
        self._port.close()

    def _send_line(self, text: str) -> None:
        self._send(text.encode() + b"\n")

    def _send(self, data: bytes) -> None:
        """At the line's own speed: a pty, or an adapter with a large buffer, would take more than the board can."""
        try:
            for at in range(0, len(data), _PIECE_BYTES):
                piece = data[at : at + _PIECE_BYTES]
                now = time.monotonic()
                self._free_at = max(self._free_at, now - self.seconds(_PIECE_BYTES)) + self.seconds(len(piece))
                self._port.write(piece)
                time.sleep(max(0.0, self._free_at - now))
        except (OSError, serial.SerialException) as error:
            raise LinkError(f"{self.name}: the device is gone: {error}") from error

    def _look(self, patterns: list[Any], timeout_s: float) -> int | None:
        """The number of the pattern that came first, or None. Raises LinkError if the device is gone."""
        try:
            found = int(self._expect.expect([*patterns, pexpect.EOF, pexpect.TIMEOUT], timeout=timeout_s))
        except OSError as error:
            raise LinkError(f"{self.name}: the device is gone: {error.strerror}") from error
        if found == len(patterns):
            raise LinkError(f"{self.name}: the device is gone")
        return found if found < len(patterns) else None


class SerialStream:
    """An open serial port with a socket's manners; ``first`` was read before."""

    def __init__(self, port: serial.Serial, first: bytes) -> None:
        self._fd = port.fileno()
        self._first = first

    def setblocking(self, flag: bool, /) -> None:
        os.set_blocking(self._fd, flag)

    def fileno(self) -> int:
        return self._fd

    def send(self, data: bytes, /) -> int:
        return os.write(self._fd, data)

    def recv(self, size: int, /) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        try:
            data = os.read(self._fd, size)
        except BlockingIOError:
            raise
        except OSError as error:
            raise closed(f"the serial device is gone ({error.strerror})") from error
        if not data:
            # With VMIN 0 (termios(3)) that means "nothing yet", as long as the line is not hung up.
            if self._hung_up():
                raise closed("the serial device is gone")
            raise BlockingIOError
        return data

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, 0)
        return bool(poll.poll(0))


def _open(device: str, baud: int) -> serial.Serial:
    try:
        port = serial.Serial(device, baud, timeout=0, write_timeout=COMMAND_TIMEOUT_S, exclusive=True)
    except serial.SerialException as error:
        raise LinkError(_why_not(device, error)) from error
    except (OSError, ValueError) as error:
        raise LinkError(f"{device} cannot be used at {baud} baud: {error}") from error
    return port


def _why_not(device: str, error: serial.SerialException) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return f"there is no serial device {device}: 'dmasafe targets' lists those that are there"
        case errno.EACCES | errno.EPERM:
            group = _group_of(device)
            return f"no permission for {device}: join group {group} ('sudo adduser $USER {group}'), then log in again"
        case errno.EAGAIN | errno.EBUSY:
            return f"{device} is in use by another program"
    if "exclusively lock" in str(error):
        return f"{device} is in use by another program"
    return f"{device} cannot be opened as a serial line: {error}"


def _group_of(device: str) -> str:
    with contextlib.suppress(OSError, KeyError):
        return Path(device).group()
    return "dialout"


def _in_octal(data: bytes, path: str, more: bool) -> str:
    """A command that any shell understands, and that may be done twice: these bytes, at four characters each."""
    text = "".join(f"\\{octet:03o}" for octet in data)
    lines = [text[at : at + 512] for at in range(0, len(text), 512)]
    body = "\n".join(f"printf '{line}'" for line in lines)
    if not more:
        return f"{{ {body}\n}} > {path}"
    return f"{{ {body}\n}} > {path}+ && cat {path} {path}+ > {path}++ && mv {path}++ {path}; rm -f {path}+"
