# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages from a hostile vhost-user front-end: ``python tests/fuzz/fuzz_frontend.py --count 1000000``, or --seconds.

The whole back-end runs in this process, on real sockets. What must hold is check(): every message is answered, nothing
is raised, no descriptor is kept, and the next front-end is served.
"""

from __future__ import annotations

import atexit
import os
import socket
import struct
import tempfile
from pathlib import Path

import fuzzing

with fuzzing.instrumented():
    from dmasafe.devices.bus import default_bus
    from dmasafe.devices.guest_memory import GuestMemory  # noqa: F401
    from dmasafe.devices.loop import Loop
    from dmasafe.devices.vhost_user import Backend, VhostUserRequest
    from dmasafe.devices.virtio_i2c import Mailbox, VirtioI2c

RAM = 0x20000
USER = 0x7F00_0000_0000
QUEUE, HEADER, PAYLOAD, STATUS = 0x1000, 0x4000, 0x5000, 0x6000
MAX_MESSAGES = 16
NEED_REPLY = 8
# Rounds of the loop in which nothing may be left to do: a back-end that keeps itself busy never comes to rest.
MAX_STEPS = 200


class Wire:
    """The back-end and everything that a front-end could hand it."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="dmasafe-fuzz-")
        self.path = Path(self._directory.name) / "device.sock"
        self.loop = Loop()
        self.said: list[str] = []
        self.complaints = 0
        device = VirtioI2c("virtio", default_bus(), Mailbox(), lambda _record: None, lambda _violation, _seq: None)
        self.backend = Backend(self.loop, device, self.path, self.said.append, self._complain)
        self.ram = os.memfd_create("ram")
        os.ftruncate(self.ram, RAM)
        self.small = os.memfd_create("small")
        os.ftruncate(self.small, 100)
        self.kick = os.eventfd(0, os.EFD_NONBLOCK)
        self.pipe = os.pipe()
        self.pair = socket.socketpair()
        self.choices = (
            (), (self.ram,), (self.kick,), (self.pair[0].fileno(),), (self.pipe[0],), (self.pipe[1],), (self.small,),
            (self.ram, self.ram), (self.ram,) * 8, (self.kick, self.ram),
        )  # fmt: skip
        atexit.register(self.close)

    def _complain(self, violation: object) -> None:
        assert str(violation)
        self.complaints += 1

    def close(self) -> None:
        self.backend.close()
        self.loop.close()
        self._directory.cleanup()

    def settle(self) -> None:
        """Let the back-end do all it has to; the loop never waits, since something is always due soon."""
        for _ in range(MAX_STEPS):
            before = len(self.said), self.complaints
            self.loop.soon(lambda: None)
            self.loop.step()
            if (len(self.said), self.complaints) == before and not self.backend.busy:
                return

    def ring(self) -> None:
        """One request in the ring, for a front-end that gets so far as to enable it."""
        rows = ((HEADER, 8, 1, 1), (PAYLOAD, 16, 1, 2), (STATUS, 1, 2, 0))
        os.pwrite(self.ram, b"".join(struct.pack("<QIHH", *row) for row in rows), QUEUE)
        os.pwrite(self.ram, struct.pack("<HHH", 0, 1, 0), QUEUE + 0x100)
        os.pwrite(self.ram, bytes(64), QUEUE + 0x200)
        os.pwrite(self.ram, struct.pack("<HHI", 0x30 << 1, 0, 0), HEADER)


WIRE: list[Wire] = []
_TABLE = struct.pack("=IIQQQQ", 1, 0, 0, RAM, USER, 0)
_ADDRESSES = struct.pack("=IIQQQQ", 0, 0, USER + QUEUE, USER + QUEUE + 0x200, USER + QUEUE + 0x100, 0)
# (kind, payload, descriptors): what QEMU sends, for the fuzzer to deviate from.
SESSION = (
    (VhostUserRequest.SET_FEATURES, struct.pack("=Q", 1 << 32 | 1 << 30 | 1 << 28), 0),
    (VhostUserRequest.SET_MEM_TABLE, _TABLE, 1),
    (VhostUserRequest.SET_VRING_NUM, struct.pack("=II", 0, 4), 0),
    (VhostUserRequest.SET_VRING_BASE, struct.pack("=II", 0, 0), 0),
    (VhostUserRequest.SET_VRING_ADDR, _ADDRESSES, 0),
    (VhostUserRequest.SET_VRING_KICK, struct.pack("=Q", 0), 2),
    (VhostUserRequest.SET_BACKEND_REQ_FD, b"", 3),
    (VhostUserRequest.SET_VRING_ENABLE, struct.pack("=II", 0, 1), 0),
    (VhostUserRequest.GET_VRING_BASE, struct.pack("=II", 0, 0), 0),
)


def check(data: bytes) -> int:
    """The number of messages sent."""
    if not WIRE:
        WIRE.append(Wire())
    wire = WIRE[0]
    wire.ring()
    messages = fuzzing.decode(data, SESSION, MAX_MESSAGES)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as front:
        front.connect(str(wire.path))
        front.setblocking(False)
        for number, (kind, payload, choice) in enumerate(messages):
            fds = wire.choices[choice % len(wire.choices)]
            header = struct.pack("=III", kind, 1 | NEED_REPLY, len(payload))
            try:
                socket.send_fds(front, [header + payload], fds)
            except OSError:
                break
            if choice & 0x80:
                os.eventfd_write(wire.kick, 1)
            wire.settle()
            answer = fuzzing.received(front)
            if answer is None:
                break
            assert answer and struct.unpack_from("=I", answer)[0] == kind, f"message {number} was not answered"
        # And the end of one, in the middle of a message.
        if data and data[-1] & 1:
            front.send(data[:8])
            wire.settle()
    wire.settle()
    fuzzing.received(wire.pair[1])
    assert wire.said[-1:] in ([], ["disconnected"]) and wire.said.count("connected") == wire.said.count("disconnected")
    wire.said.clear()
    return len(messages)


if __name__ == "__main__":
    fuzzing.main(check, "frontend", "messages")
