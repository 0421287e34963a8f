# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets with one peer at a time: the one that QEMU connects to, and lines of JSON between processes of ours."""

from __future__ import annotations

import json
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dmasafe.closing import Closing
from dmasafe.devices.errors import DevicesError
from dmasafe.devices.loop import Loop

# A trace line of 64 KiB of payload takes 128 KiB.
MAX_LINE_BYTES = 1 << 20
_RECEIVE_BYTES = 1 << 18


class Listener:
    """A listening Unix socket; deaf while the peer that ``taken`` was given is there, until ``again``.

    Raises DevicesError.
    """

    def __init__(self, loop: Loop, path: Path, taken: Callable[[socket.socket], None]) -> None:
        self._loop = loop
        self._path = path
        self._taken = taken
        self._socket = _listening(path)
        self.again()

    def again(self) -> None:
        """The peer is gone, and another one may come."""
        self._loop.on_readable(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Removes the socket; the peer's connection is the owner's."""
        self._loop.forget(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            connection, _address = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        connection.setblocking(False)
        self._loop.forget(self._socket.fileno())
        self._taken(connection)


def _listening(path: Path) -> socket.socket:
    """A listening socket at ``path``; what a crashed process left there is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()
        listener.bind(str(path))
        listener.listen(4)
    except OSError as error:
        listener.close()
        raise DevicesError(f"cannot listen on {path}: {error}; is another run using this directory?") from error
    listener.setblocking(False)
    return listener


class Lines:
    """Whole lines from a socket that does not block; ``who`` is at its other end."""

    def __init__(self, source: socket.socket, who: str) -> None:
        self._source = source
        self._who = who
        self._rest = bytearray()
        self.ended = False

    def read(self) -> Iterator[bytes]:
        """What has come so far; ``ended`` is set when no more will. Raises DevicesError for a line without end."""
        while not self.ended:
            try:
                data = self._source.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.ended = True
                return
            self._rest += data
            *lines, self._rest = self._rest.split(b"\n")
            yield from map(bytes, lines)
            if len(self._rest) > MAX_LINE_BYTES:
                raise DevicesError(f"{self._who} says a line of more than {MAX_LINE_BYTES} bytes")
            if len(data) < _RECEIVE_BYTES:
                return


class Channel(Closing, ABC):
    """Questions to the devices' process, and its events: lines of JSON on ``source``. Raises DevicesError.

    ``who`` is at the other end; ``nonsense`` is said of a line that is none.
    """

    def __init__(self, source: socket.socket, who: str, nonsense: str) -> None:
        self._socket = source
        self._lines = Lines(source, who)
        self._nonsense = nonsense
        self._events: list[dict[str, Any]] = []

    def fileno(self) -> int:
        """For a selector: readable when ``receive`` has something, or the process has ended."""
        return self._socket.fileno()

    @property
    def alive(self) -> bool:
        return not self._lines.ended

    def receive(self) -> list[dict[str, Any]]:
        """The events since the last call (message, violation, connected, disconnected, dropped, replies with why)."""
        self._read()
        events, self._events = self._events, []
        return events

    def set_mailbox(self, address: int | None) -> None:
        """Where the guest or board notes the scenario under way (physical); None for nowhere."""
        self._ask(op="mailbox", address=address)

    def close(self) -> None:
        self._lines.ended = True
        self._socket.close()

    @abstractmethod
    def _ask(self, **question: Any) -> None:
        """Send a question."""

    @abstractmethod
    def _take(self, event: dict[str, Any]) -> None:
        """An answer, or one more of the events."""

    def _read(self) -> None:
        for line in self._lines.read():
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if not isinstance(event, dict):
                raise DevicesError(f"{self._nonsense}: {line!r:.200}")
            self._take(event)
