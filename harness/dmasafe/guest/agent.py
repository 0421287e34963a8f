# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's side of the agent's protocol (docs/agent-protocol.md): JSON lines over a socket.

Nothing a guest sends is trusted: lines are bounded, anything that is no JSON object is a named violation, and
numbers are checked where they are used.
"""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any, Protocol

import msgspec

from dmasafe.guest import ChannelClosed

# The agent's own bound is 64 KiB; escapes can make a line of log text longer on the way.
MAX_LINE_BYTES = 1 << 20
_RECEIVE_BYTES = 1 << 18
# The protocol's answers nest four deep.
MAX_DEPTH = 32
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')

Message = dict[str, Any]


class Stream(Protocol):
    """What is used of a connected socket."""

    def setblocking(self, flag: bool, /) -> None: ...

    def fileno(self) -> int: ...

    def send(self, data: bytes, /) -> int: ...

    def recv(self, size: int, /) -> bytes: ...


class AgentChannel:
    """JSON lines in both directions over a connected, stream-like socket; never blocks.

    ``violations`` collects what the guest sent that the protocol does not know, at most 100 of them.
    """

    def __init__(self, sock: Stream) -> None:
        self._socket = sock
        self._socket.setblocking(False)
        self._incoming = bytearray()
        self._outgoing: deque[bytes] = deque()
        self._skipping = False
        self.violations: list[str] = []

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def unsent(self) -> bool:
        """Whether something waits for the socket to become writable."""
        return bool(self._outgoing)

    def send(self, *messages: Message) -> None:
        """Queue requests and send what the socket takes. Raises ChannelClosed."""
        lines = [json.dumps(message, separators=(",", ":")).encode() + b"\n" for message in messages]
        if lines:
            self._outgoing.append(b"".join(lines))
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes. Raises ChannelClosed."""
        while self._outgoing:
            try:
                sent = self._socket.send(self._outgoing[0])
            except BlockingIOError:
                return
            except OSError as error:
                raise ChannelClosed(f"the agent's channel broke: {error.strerror}") from error
            if sent < len(self._outgoing[0]):
                self._outgoing[0] = self._outgoing[0][sent:]
            else:
                self._outgoing.popleft()

    def receive(self) -> list[Message]:
        """The objects that have arrived completely. Raises ChannelClosed at the end of the stream."""
        try:
            chunk = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ChannelClosed(f"the agent's channel broke: {error.strerror}") from error
        if not chunk:
            raise ChannelClosed(
                "the agent's channel was closed" + (" in the middle of a line" if self._incoming else "")
            )
        self._incoming += chunk
        if b"\n" not in chunk and len(self._incoming) <= MAX_LINE_BYTES:
            # A long line in small pieces must not be searched from its beginning each time.
            return []
        *lines, rest = self._incoming.split(b"\n")
        self._incoming = bytearray(rest)
        messages = []
        for line in lines:
            if self._skipping:
                self._skipping = False
                continue
            message = self._parse(bytes(line))
            if message is not None:
                messages.append(message)
        if len(self._incoming) > MAX_LINE_BYTES:
            self._violation(f"a line of more than {MAX_LINE_BYTES} bytes")
            self._incoming.clear()
            self._skipping = True
        return messages

    def _parse(self, line: bytes) -> Message | None:
        if len(line) > MAX_LINE_BYTES:
            self._violation(f"a line of {len(line)} bytes")
            return None
        if line.count(b"[") + line.count(b"{") > MAX_DEPTH and _depth(line) > MAX_DEPTH:
            # str() of such a thing may reach Python's recursion limit.
            self._violation(f"nested more than {MAX_DEPTH} deep: {line[:80]!r}")
            return None
        try:
            message = msgspec.json.decode(line)
        except (ValueError, RecursionError):
            self._violation(f"no JSON: {line[:80]!r}")
            return None
        if not isinstance(message, dict):
            self._violation(f"no JSON object: {line[:80]!r}")
            return None
        return message

    def _violation(self, what: str) -> None:
        if len(self.violations) < 100:
            self.violations.append(what)


def _depth(line: bytes) -> int:
    """How deep a JSON text nests."""
    depth = deepest = 0
    for octet in _STRING.sub(b"", line):
        if octet in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif octet in b"]}":
            depth -= 1
    return deepest


def integer(message: Message, key: str, default: int | None = None) -> int | None:
    """An integer of 64 bits in a guest's message, written as a number or as 0x text; ``default`` for anything else."""
    value = message.get(key)
    if isinstance(value, str) and len(value) <= 20:
        try:
            value = int(value, 0)
        except ValueError:
            return default
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 64:
        return int(value)
    return default


def octets(message: Message, key: str) -> bytes:
    """The bytes of a hexadecimal string in a guest's message; empty for anything else."""
    value = message.get(key)
    if not isinstance(value, str):
        return b""
    try:
        return bytes.fromhex(value)
    except ValueError:
        return b""
