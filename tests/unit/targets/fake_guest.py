# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest without QEMU for targets/boot.py: what its agent answers, and the processes that Boot would start.

Sockets are real and nothing runs beside the test: a request is answered while it is sent.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmasafe.guest.agent import Message
from dmasafe.targets.session import IOMEM

ADAPTERS = {"virtio": 3, "dmasafe": 4}
MEMORY = (range(1 << 12, 256 << 20),)
MAILBOX = "/sys/module/dmasafe_client/parameters/mailbox"
Reply = Callable[[Message], Message | None]


@dataclass
class FakeGuest:
    """The agent. ``files`` can be read and written, ``does`` replaces the reply to an operation (None: silence)."""

    release: str | None = "6.12.117"
    files: dict[str, str] = field(default_factory=lambda: {MAILBOX: "0x1000", IOMEM: "00001000-0fffffff : System RAM"})
    does: dict[str, Reply] = field(default_factory=dict)
    heard: list[Message] = field(default_factory=list)

    def hello(self) -> Message | None:
        return None if self.release is None else {"re": "hello", "release": self.release}

    def answer(self, request: Message) -> Message | None:
        self.heard.append(request)
        op = request["op"]
        reply = self.does.get(op, getattr(self, f"_{op}", self._plain))(request)
        return None if reply is None else {"re": op, **reply}

    def asked(self, op: str) -> list[Message]:
        return [{key: value for key, value in one.items() if key != "op"} for one in self.heard if one["op"] == op]

    def _plain(self, request: Message) -> Message:
        return {"errno": 0}

    def _read(self, request: Message) -> Message:
        data = self.files.get(request["path"])
        return {"errno": 2} if data is None else {"errno": 0, "data": f"{data}\n"}

    def _write(self, request: Message) -> Message:
        self.files[request["path"]] = request["data"]
        return {"errno": 0}

    def _adapter(self, request: Message) -> Message:
        number = ADAPTERS.get(request["name"])
        return {"errno": 19} if number is None else {"errno": 0, "nr": number}


class FakeStream:
    """The harness's end of the agent's socket; what is sent through it is answered at once."""

    def __init__(self, guest: FakeGuest) -> None:
        self.guest = guest
        self._ours, self.theirs = socket.socketpair()
        self.setblocking, self.fileno, self.recv = self._ours.setblocking, self._ours.fileno, self._ours.recv
        self.full = 0
        self.broken = False
        self._sent = b""

    def say(self, message: Message | None) -> None:
        if message is not None:
            self.theirs.sendall(json.dumps(message).encode() + b"\n")

    def send(self, data: bytes) -> int:
        if self.broken:
            raise BrokenPipeError(32, "Broken pipe")
        if self.full:
            self.full -= 1
            raise BlockingIOError
        *lines, self._sent = (self._sent + data).split(b"\n")
        for line in lines:
            self.say(self.guest.answer(json.loads(line)))
        return len(data)


class FakeQemu:
    """Stands for QemuProcess. ``status`` is its exit status, once it has ended."""

    def __init__(self, guest: FakeGuest) -> None:
        self.agent = FakeStream(guest)
        self.console, self.console_end = socket.socketpair()
        self.guest = guest
        self.pid = os.getpid()
        self.status: int | None = None
        self.words = ""
        self.port_open: bool | None = True
        self.waited: list[float] = []
        self.closed = False
        self.config: Any = None

    def __call__(self, config: Any) -> FakeQemu:
        self.config = config
        return self

    def __enter__(self) -> FakeQemu:
        self.agent.say(self.guest.hello())
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def exit_status(self) -> int | None:
        return self.status

    def wait(self, timeout_s: float) -> int | None:
        self.waited.append(timeout_s)
        return self.status

    def last_words(self) -> str:
        return self.words

    def run_state(self) -> str:
        return "running"

    def agent_port_open(self) -> bool | None:
        return self.port_open

    def end(self, status: int, words: str = "") -> None:
        """QEMU ends, which closes its channels."""
        self.status, self.words = status, words
        self.agent.theirs.close()
        self.console_end.close()


class FakeDevice:
    """Stands for DeviceProcess. ``say`` an event, or an exception to raise when it is read."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self.pid = os.getpid()
        self.alive = True
        self.ready: list[float] = []
        self.synced: list[float] = []
        self.sync_error: Exception | None = None
        self.mailbox: int | None = None
        self.scenarios: list[int] = []
        self.closed = False
        self.image: Any = None
        self.directory: Path | None = None
        self._events: list[dict[str, object] | Exception] = []

    def __call__(self, image: Any, directory: Path) -> FakeDevice:
        self.image, self.directory = image, directory
        return self

    def __enter__(self) -> FakeDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def socket(self, name: str) -> Path:
        return Path("/sockets") / name

    def fileno(self) -> int:
        return self._ours.fileno()

    def wait_ready(self, timeout: float) -> None:
        self.ready.append(timeout)

    def say(self, event: dict[str, object] | Exception) -> None:
        self._events.append(event)
        self._theirs.send(b"x")

    def receive(self) -> list[dict[str, object]]:
        self._ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self._ours.recv(4096)
        events, self._events = self._events, []
        for event in events:
            if isinstance(event, Exception):
                raise event
        return [event for event in events if not isinstance(event, Exception)]

    def sync(self, timeout: float) -> None:
        self.synced.append(timeout)
        if self.sync_error is not None:
            raise self.sync_error

    def set_scenario(self, seq: int) -> None:
        self.scenarios.append(seq)

    def set_mailbox(self, address: int) -> None:
        self.mailbox = address
