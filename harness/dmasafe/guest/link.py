# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways to a board: what SSH, a serial line and this very machine have in common."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dmasafe.guest import GuestError
from dmasafe.guest.agent import Stream

COMMAND_TIMEOUT_S = 20.0
MAX_OUTPUT_BYTES = 4 << 20


class LinkError(GuestError):
    """A board that cannot be reached, or does not do what it is told; the sentence says what to do."""


@dataclass(frozen=True)
class Done:
    """A command's end: its exit status, and its standard output and error together."""

    status: int
    output: str


class Link(Protocol):
    """A root shell on a board. Everything raises LinkError.

    ``window_bytes`` may be under way unacknowledged, ``resend_s`` is longer than the way there and back.
    """

    name: str
    window_bytes: int
    resend_s: float

    def command(self, script: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Done:
        """Have the board's shell do something that may be done twice."""

    def upload(self, files: Mapping[str, bytes], directory: str) -> None:
        """Write files, which others cannot read, into a directory that is there."""

    def start(self, command: str) -> Stream:
        """Start a program and be joined to its standard input and output. The last thing that a link does."""

    def again(self) -> Link:
        """Another link to the same board."""

    def close(self) -> None:
        """End the connection; safe to call twice."""


def private_name() -> str:
    """A path on the board that nobody can guess."""
    return f"/tmp/dmasafe.{secrets.token_hex(8)}"


class ProcessStream:
    """A Stream to a child process through pipes."""

    def __init__(self, arguments: list[str]) -> None:
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()

    @property
    def pid(self) -> int:
        return self._process.pid

    def setblocking(self, flag: bool, /) -> None:
        os.set_blocking(self._in, flag)
        os.set_blocking(self._out, flag)

    def fileno(self) -> int:
        return self._out

    def send(self, data: bytes, /) -> int:
        return os.write(self._in, data)

    def recv(self, size: int, /) -> bytes:
        return os.read(self._out, size)

    def close(self, timeout_s: float) -> None:
        """End its input, and wait for it; it is left to itself if it takes too long."""
        for end in (self._process.stdin, self._process.stdout):
            if end is not None:
                end.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise LinkError(f"process {self._process.pid} does not end: it may hang in the kernel") from error


class LocalLink:
    """This machine as a board. Raises LinkError if we are not root here."""

    name = "local"
    window_bytes = 1 << 18
    resend_s = 5.0
    CLOSE_TIMEOUT_S = 20.0

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise LinkError("target local loads modules into this machine's kernel: run it as root")
        self._stream: ProcessStream | None = None

    def command(self, script: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Done:
        try:
            done = subprocess.run(
                ["sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LinkError(f"a command did not end within {timeout_s:g} s: {script[:60]!r}") from error
        return Done(done.returncode, done.stdout.decode(errors="replace"))

    def upload(self, files: Mapping[str, bytes], directory: str) -> None:
        for name, content in files.items():
            path = Path(directory) / name
            try:
                path.write_bytes(content)
                path.chmod(0o700)
            except OSError as error:
                shutil.rmtree(directory, ignore_errors=True)
                raise LinkError(f"cannot write {path}: {error.strerror}") from error

    def start(self, command: str) -> Stream:
        self._stream = ProcessStream(["sh", "-c", command])
        return self._stream

    def again(self) -> Link:
        return LocalLink()

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close(self.CLOSE_TIMEOUT_S)


def closed(why: str) -> OSError:
    """What a Stream raises when its other end is gone."""
    return OSError(errno.EPIPE, why)


def deadline(timeout_s: float) -> float:
    return time.monotonic() + timeout_s
