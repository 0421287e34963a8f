# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest with one PCI function in it, without a guest: a vfio-user client like QEMU's, in this process.

Tests of the transport use its messages, tests of register models its accesses: what a driver would do.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import mmap
import os
import socket
import struct
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from dmasafe.devices.bus import Bus, Slave, default_bus
from dmasafe.devices.loop import Loop
from dmasafe.devices.pci import I2cBus, PciFunction
from dmasafe.devices.trace import Record
from dmasafe.devices.vfio_user import Complaint, VfioUser, VfioUserCommand

ANSWER_TIMEOUT_S = 5.0
RAM_BYTES = 1 << 20
CONFIG = 7
INTX, MSI, MSIX = 0, 1, 2
EVENTFD, NONE = 4, 1
MASK, UNMASK, TRIGGER = 8, 16, 32
READ, WRITE = 1, 2
_HEADER = struct.Struct("=HHIII")


class Refusal(Exception):
    """The server answered with an error; ``errno`` is which."""

    def __init__(self, errno: int) -> None:
        super().__init__(os.strerror(errno))
        self.errno = errno


class PciClient:
    """``function`` plugged in, with ``slaves`` on its bus (default: those of every run), its memory at address 0.

    A context manager. ``records`` are the messages on the bus, ``complaints`` what was against the rules,
    ``undeclared`` accesses to (BAR, offset, size, write) where there is no register, ``said`` the connection's events.
    With ``start`` the function is connected and its memory, I/O and bus mastering are enabled.
    """

    def __init__(
        self,
        function: PciFunction,
        slaves: Mapping[int, Slave] | None = None,
        ram_bytes: int = RAM_BYTES,
        start: bool = True,
    ) -> None:
        self.function = function
        self.records: list[Record] = []
        self.complaints: list[Complaint] = []
        self.said: list[str] = []
        self._stack = contextlib.ExitStack()
        self.path = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="pci-"))) / "function.sock"
        self.loop = Loop()
        self._stack.callback(self.loop.close)
        self.bus = I2cBus("pci", default_bus() if slaves is None else Bus(slaves), lambda: 7, self.records.append)
        self.undeclared: list[tuple[int, int, int, bool]] = []
        self.server = VfioUser(
            self.loop, function, self.path, self.said.append, self.complaints.append, self.bus,
            lambda *use: self.undeclared.append(use),
        )  # fmt: skip
        self._stack.callback(self.server.close)
        self.ram_fd = os.memfd_create("ram")
        self._stack.callback(os.close, self.ram_fd)
        os.ftruncate(self.ram_fd, ram_bytes)
        self.ram = self._stack.enter_context(contextlib.closing(mmap.mmap(self.ram_fd, ram_bytes)))
        self.eventfds: dict[int, int] = {}
        self._numbers = itertools.cycle(range(1 << 16))
        self.socket = self._stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        self.socket.connect(str(self.path))
        self.socket.setblocking(False)
        if start:
            self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # Messages

    def send(self, command: int, payload: bytes = b"", fds: tuple[int, ...] = (), flags: int = 0) -> int:
        """The message's number."""
        number = next(self._numbers)
        header = _HEADER.pack(number, command, _HEADER.size + len(payload), flags, 0)
        socket.send_fds(self.socket, [header + payload], fds)
        return number

    def receive(self) -> tuple[int, int, bytes]:
        """(number, command, payload) of a reply. Raises Refusal."""
        number, command, size, flags, error = _HEADER.unpack(self._exactly(_HEADER.size))
        assert flags & 0xF == 1
        payload = self._exactly(size - _HEADER.size)
        if flags & 0x20:
            assert not payload
            raise Refusal(error)
        return number, command, payload

    def ask(self, command: int, payload: bytes = b"", fds: tuple[int, ...] = (), flags: int = 0) -> bytes:
        """A message's reply. Raises Refusal."""
        number = self.send(command, payload, fds, flags)
        answered, what, reply = self.receive()
        assert (answered, what) == (number, command)
        return reply

    def turn(self) -> None:
        """The server does what it can do at once."""
        self.loop.soon(lambda: None)
        self.loop.step()

    def settle(self, seconds: float = ANSWER_TIMEOUT_S) -> None:
        """Until all messages are handled and the function has nothing left to do later."""
        deadline = time.monotonic() + seconds
        self.turn()
        while self.server.busy:
            assert time.monotonic() < deadline, "the function is busy for ever"
            self.loop.step()
        self.server.poll()

    def _exactly(self, length: int) -> bytes:
        data = b""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while len(data) < length:
            try:
                more = self.socket.recv(length - len(data))
            except BlockingIOError:
                assert time.monotonic() < deadline, "no answer"
                self.turn()
                continue
            if not more:
                raise EOFError
            data += more
        return data

    # What QEMU does

    def start(self) -> None:
        """Version, memory, the command register."""
        self.version()
        self.map(0, len(self.ram))
        self.write(4, 7, 2, CONFIG)

    def version(self, **capabilities: Any) -> dict[str, Any]:
        """The capabilities in the reply; QEMU's are proposed unless there are others."""
        proposed = capabilities or {"max_msg_fds": 8, "max_data_xfer_size": 1 << 20, "write_multiple": True}
        text = json.dumps({"capabilities": proposed}).encode() + b"\0"
        reply = self.ask(VfioUserCommand.VERSION, struct.pack("=HH", 0, 1) + text)
        assert struct.unpack_from("=HH", reply) == (0, 0)
        return json.loads(reply[4:].rstrip(b"\0"))["capabilities"]

    def map(
        self, address: int, size: int, offset: int = 0, permission: int = READ | WRITE, fd: int | None = None
    ) -> None:
        """A range of DMA addresses, in ``fd`` (default: the RAM)."""
        payload = struct.pack("=IIQQQ", 32, permission, offset, address, size)
        self.ask(VfioUserCommand.DMA_MAP, payload, (self.ram_fd if fd is None else fd,))

    def unmap(self, address: int, size: int, flags: int = 0) -> None:
        self.ask(VfioUserCommand.DMA_UNMAP, struct.pack("=IIQQ", 24, flags, address, size))

    def read(self, offset: int, size: int = 4, region: int = 0) -> int:
        """A register of BAR ``region``."""
        return int.from_bytes(self.read_bytes(offset, size, region), "little")

    def read_bytes(self, offset: int, size: int, region: int = 0) -> bytes:
        reply = self.ask(VfioUserCommand.REGION_READ, struct.pack("=QII", offset, region, size))
        assert struct.unpack_from("=QII", reply) == (offset, region, size) and len(reply) == 16 + size
        return reply[16:]

    def write(self, offset: int, value: int, size: int = 4, region: int = 0, posted: bool = False) -> None:
        """A register of BAR ``region``; ``posted`` as QEMU does it, without waiting for an answer."""
        payload = struct.pack("=QII", offset, region, size) + value.to_bytes(size, "little")
        if posted:
            self.send(VfioUserCommand.REGION_WRITE, payload, flags=0x10)
            self.turn()
        else:
            assert self.ask(VfioUserCommand.REGION_WRITE, payload) == payload[:16]

    def reset(self) -> None:
        self.ask(VfioUserCommand.DEVICE_RESET)

    def set_irqs(
        self, index: int, flags: int, start: int, count: int, fds: tuple[int, ...] = (), data: bytes = b""
    ) -> None:
        payload = struct.pack("=IIIII", 20 + len(data), flags, index, start, count) + data
        self.ask(VfioUserCommand.DEVICE_SET_IRQS, payload, fds)

    def enable(self, index: int = INTX, vectors: int = 1) -> None:
        """Have the interrupts of a kind signalled, each by an eventfd of its own; MSI-X is enabled, too."""
        if index == MSIX:
            at = self._capability(0x11)
            self.write(at + 2, 0x8000, 2, CONFIG)
        for vector in range(vectors):
            if vector not in self.eventfds:
                self.eventfds[vector] = os.eventfd(0, os.EFD_NONBLOCK)
                self._stack.callback(os.close, self.eventfds[vector])
            self.set_irqs(index, EVENTFD | TRIGGER, vector, 1, (self.eventfds[vector],))

    def unmask(self) -> None:
        """The guest has handled its INTx interrupt."""
        self.set_irqs(INTX, NONE | UNMASK, 0, 1)

    def interrupts(self, vector: int = 0) -> int:
        """How many came since this was last asked."""
        self.turn()
        try:
            return os.eventfd_read(self.eventfds[vector])
        except BlockingIOError:
            return 0

    def _capability(self, kind: int) -> int:
        at = self.read(0x34, 1, CONFIG)
        while at and self.read(at, 1, CONFIG) != kind:
            at = self.read(at + 1, 1, CONFIG)
        assert at, f"there is no capability {kind:#x}"
        return at
