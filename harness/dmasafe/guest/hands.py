# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be done in a booted system through its agent: files, modules, commands (docs/agent-protocol.md).

Each function is one request or a few. What the system refuses is a Refused, or what its user makes of that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from dmasafe.guest import GuestError
from dmasafe.guest.agent import Message, integer

MAX_FILE_BYTES = 64 << 20
# The agent gets lines of 64 KiB; escapes make six bytes of one.
_PIECE_BYTES = 8192


class Refused(GuestError):
    """A request was refused. ``what`` is the file, module or command; ``errno`` is None if the reply has none."""

    def __init__(self, doing: str, what: str, reply: Message) -> None:
        self.what = what
        self.errno = integer(reply, "errno")
        self.why = errno_text(reply)
        super().__init__(f"the kernel refused {doing}{what}: {self.why}")


@dataclass(frozen=True)
class Done:
    """A command that has ended: ``status`` is its exit status, or minus the signal that ended it."""

    status: int
    output: str


class Hands:
    """``request`` sends one request and gives its reply; ``failure`` makes the exception that a Refused becomes."""

    def __init__(
        self, request: Callable[..., Message], failure: Callable[[Refused], Exception] = lambda refused: refused
    ) -> None:
        self._request = request
        self._failure = failure

    def read(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """A whole file."""
        data = b""
        while len(data) <= max_bytes:
            reply = self._ask("read", "to read ", path, path=path, offset=len(data))
            piece = str(reply.get("data", "")).encode("latin-1", "replace")
            data += piece
            if not reply.get("more") or not piece:
                return data
        raise self._failure(Refused("to read ", path, {"why": f"it has more than {max_bytes} bytes"}))

    def text(self, path: str) -> str | None:
        """The first 48 KiB of a file, as text without white space at its ends, or None if it cannot be read."""
        reply = self._request("read", path=path)
        return str(reply.get("data", "")).strip() if reply.get("errno") == 0 else None

    def write(self, path: str, data: str | bytes) -> None:
        """One write(2) to a file that is there, as sysfs wants it."""
        self._ask("write", "to write ", path, path=path, data=_text(data))

    def append(self, path: str, data: bytes) -> None:
        """Add bytes to the end of a file, which is made if it is missing."""
        for start in range(0, len(data), _PIECE_BYTES) or (0,):
            self._ask("append", "to write ", path, path=path, data=_text(data[start : start + _PIECE_BYTES]))

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        names = self._ask("list", "to list ", path, path=path).get("names")
        return sorted(str(name) for name in names) if isinstance(names, list) else []

    def load(self, path: str, parameters: str = "") -> None:
        """Load a module that lies in the system."""
        self._ask("load", "", path.rpartition("/")[2], path=path, params=parameters)

    def unload(self, name: str) -> None:
        """Unload a module by its name."""
        self._ask("unload", "to unload ", name, name=name.replace("-", "_"))

    def ioctl(self, path: str, number: int, data: bytes) -> None:
        """One ioctl(2) whose argument points to ``data``."""
        self._ask("ioctl", f"ioctl {number:#x} on ", path, path=path, request=number, data=_text(data))

    def run(self, command: str, timeout_s: float) -> Done:
        """A shell command. Refused with ENOENT means that there is no shell, with ETIMEDOUT that it did not end."""
        reply = self._ask("command", "to run ", command, command=command, timeout_ms=round(timeout_s * 1000))
        status = integer(reply, "status")
        if status is None:
            raise self._failure(Refused("to run ", command, {"why": "no exit status came back"}))
        return Done(status, str(reply.get("output", "")).encode("latin-1", "replace").decode(errors="replace"))

    def _ask(self, op: str, doing: str, what: str, **arguments: object) -> Message:
        reply = self._request(op, **arguments)
        if integer(reply, "errno") != 0:
            raise self._failure(Refused(doing, what, reply))
        return reply


def errno_text(reply: Message) -> str:
    """Why a reply says no."""
    number = integer(reply, "errno")
    # strerror() takes a C int.
    if number is not None and 0 <= number < 1 << 31:
        return os.strerror(number)
    return str(reply.get("why", "no reason given"))[:200]


def _text(data: str | bytes) -> str:
    """One code point a byte."""
    return (data.encode() if isinstance(data, str) else data).decode("latin-1")
