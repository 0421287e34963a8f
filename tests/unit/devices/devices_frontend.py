# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests play: guest memory, the driver's side of a virtqueue, and a vhost-user front-end like QEMU's."""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
from pathlib import Path
from typing import NamedTuple

from dmasafe.devices.guest_memory import RegionSpec
from dmasafe.devices.vhost_user import TRANSPORT_FEATURES

ANSWER_TIMEOUT_S = 5.0
# Where the front-end says it has mapped guest-physical 0; any value serves that is none of the guest's.
USER_BASE = 0x7F00_0000_0000
I2C_FEATURES = TRANSPORT_FEATURES & ~(1 << 33) | 1

NEXT, WRITE, INDIRECT = 1, 2, 4
FAIL_NEXT, READ = 1, 2


class GuestRam:
    """``size`` bytes of shared memory at a guest-physical address."""

    def __init__(self, size: int = 1 << 20, guest: int = 0) -> None:
        self.fd = os.memfd_create("guest")
        os.ftruncate(self.fd, size)
        self.memory = mmap.mmap(self.fd, size)
        self.spec = RegionSpec(guest, size, USER_BASE + guest, 0)
        self.guest = guest

    def write(self, address: int, data: bytes) -> None:
        offset = address - self.guest
        self.memory[offset : offset + len(data)] = data

    def read(self, address: int, length: int) -> bytes:
        offset = address - self.guest
        return self.memory[offset : offset + length]

    def close(self) -> None:
        self.memory.close()
        os.close(self.fd)


class Part(NamedTuple):
    """A descriptor to be: where, how long, writable by the device."""

    address: int
    length: int
    writable: bool = False


class DriverQueue:
    """The driver's side of a split virtqueue, laid out in ``ram`` from ``base`` on."""

    def __init__(self, ram: GuestRam, base: int = 0x1000, size: int = 16) -> None:
        self.ram = ram
        self.size = size
        self.descriptors = base
        self.available = base + 16 * size
        self.used = (self.available + 6 + 2 * size + 3) & ~3
        self.index = 0
        self.seen = 0
        self._next = 0

    def descriptor(self, at: int, address: int, length: int, flags: int = 0, following: int = 0) -> None:
        self.ram.write(self.descriptors + 16 * at, struct.pack("<QIHH", address, length, flags, following))

    def offer(self, head: int) -> None:
        """Puts a head into the available ring."""
        self.ram.write(self.available + 4 + 2 * (self.index % self.size), struct.pack("<H", head))
        self.index = (self.index + 1) & 0xFFFF
        self.ram.write(self.available + 2, struct.pack("<H", self.index))

    def add(self, parts: list[Part], indirect: int | None = None) -> int:
        """Offers a request, with an indirect table at ``indirect`` if given. The head."""
        if indirect is not None:
            head = self._take()
            self.ram.write(indirect, b"".join(self._rows(parts, list(range(len(parts))))))
            self.descriptor(head, indirect, 16 * len(parts), INDIRECT)
        else:
            places = [self._take() for _ in parts]
            head = places[0]
            for place, row in zip(places, self._rows(parts, places), strict=True):
                self.ram.write(self.descriptors + 16 * place, row)
        self.offer(head)
        return head

    @staticmethod
    def _rows(parts: list[Part], places: list[int]) -> list[bytes]:
        following = [*places[1:], None]
        return [
            struct.pack(
                "<QIHH",
                part.address,
                part.length,
                (WRITE if part.writable else 0) | (0 if after is None else NEXT),
                after or 0,
            )
            for part, after in zip(parts, following, strict=True)
        ]

    def _take(self) -> int:
        place, self._next = self._next, (self._next + 1) % self.size
        return place

    def used_index(self) -> int:
        return struct.unpack("<H", self.ram.read(self.used + 2, 2))[0]

    def done(self) -> list[tuple[int, int]]:
        """(head, length written) of each request given back since the last call."""
        found = []
        while self.seen != self.used_index():
            found.append(struct.unpack("<II", self.ram.read(self.used + 4 + 8 * (self.seen % self.size), 8)))
            self.seen = (self.seen + 1) & 0xFFFF
        return found

    def want_event(self, index: int) -> None:
        """used_event: tell me when the used index passes ``index``."""
        self.ram.write(self.available + 4 + 2 * self.size, struct.pack("<H", index))

    def available_event(self) -> int:
        return struct.unpack("<H", self.ram.read(self.used + 4 + 8 * self.size, 2))[0]

    def forbid_interrupts(self, yes: bool) -> None:
        self.ram.write(self.available, struct.pack("<H", int(yes)))


class I2cDriver:
    """Makes requests as Linux's i2c-virtio does: header, payload and status in places of their own."""

    HEADER, STATUS, PAYLOAD, TABLE = 0x4000, 0x5000, 0x10000, 0x8000
    SLOT = 0x40

    def __init__(self, queue: DriverQueue) -> None:
        self.queue = queue
        self._number = 0

    def add(
        self,
        address: int,
        data: bytes | int,
        flags: int = 0,
        payload: int | None = None,
        status: int | None = None,
        header: int | None = None,
        indirect: bool = False,
    ) -> tuple[int, int]:
        """Offers a message: bytes to write, or a number of bytes to read. (payload address, status address)."""
        ram = self.queue.ram
        slot = self.SLOT * (self._number % 16)
        table = self.TABLE + 0x100 * (self._number % 16)
        self._number += 1
        status = self.STATUS + slot if status is None else status
        payload = self.PAYLOAD if payload is None else payload
        if header is None:
            header = self.HEADER + slot
            read = isinstance(data, int)
            ram.write(header, struct.pack("<HHI", address << 1, 0, flags | (READ if read else 0)))
        parts = [Part(header, 8)]
        length = data if isinstance(data, int) else len(data)
        if isinstance(data, bytes) and ram.guest <= payload < ram.guest + ram.spec.size:
            ram.write(payload, data)
        if length:
            parts.append(Part(payload, length, isinstance(data, int)))
        parts.append(Part(status, 1, True))
        if ram.guest <= status < ram.guest + ram.spec.size:
            ram.write(status, b"\xee")
        self.queue.add(parts, table if indirect else None)
        return payload, status


class Frontend:
    """A vhost-user front-end. Requests that need an answer wait for it, and fail the test if there is none."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(ANSWER_TIMEOUT_S)
        self.socket.connect(str(path))
        self.kick = os.eventfd(0, os.EFD_NONBLOCK)
        self.call = os.eventfd(0, os.EFD_NONBLOCK)
        self.error = os.eventfd(0, os.EFD_NONBLOCK)
        self.channel, self._channel_theirs = socket.socketpair()
        self.channel.settimeout(ANSWER_TIMEOUT_S)

    def close(self) -> None:
        self.socket.close()
        self.channel.close()
        self._channel_theirs.close()
        for fd in (self.kick, self.call, self.error):
            os.close(fd)

    def send(self, request: int, payload: bytes = b"", fds: tuple[int, ...] = (), flags: int = 1) -> None:
        socket.send_fds(self.socket, [struct.pack("=III", request, flags, len(payload)) + payload], fds)

    def receive(self) -> tuple[int, bytes]:
        """(request, payload) of a reply."""
        request, flags, length = struct.unpack("=III", self._exactly(self.socket, 12))
        assert flags == 0b101, "version 1 and the reply flag"
        return request, self._exactly(self.socket, length)

    @staticmethod
    def _exactly(connection: socket.socket, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = connection.recv(length - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def ask(self, request: int, payload: bytes = b"") -> bytes:
        """A request that has a reply of its own."""
        self.send(request, payload)
        answered, reply = self.receive()
        assert answered == request
        return reply

    def acknowledged(self, request: int, payload: bytes = b"", fds: tuple[int, ...] = ()) -> int:
        """A request sent with NEED_REPLY: 0 for success."""
        self.send(request, payload, fds, flags=1 | 8)
        answered, reply = self.receive()
        assert answered == request
        return struct.unpack("=Q", reply)[0]

    def u64(self, request: int) -> int:
        return struct.unpack("=Q", self.ask(request))[0]

    def memory(self, *rams: GuestRam) -> int:
        payload = struct.pack("=II", len(rams), 0) + b"".join(struct.pack("=QQQQ", *ram.spec) for ram in rams)
        return self.acknowledged(5, payload, tuple(ram.fd for ram in rams))

    def begin(self, negotiate: bool = True) -> None:
        """What QEMU sends while the device is realized."""
        assert self.u64(1) & I2C_FEATURES == I2C_FEATURES
        if negotiate:
            protocol = self.u64(15)
            assert protocol & (1 << 3) and protocol & (1 << 5), "or QEMU refuses iommu_platform=on"
            self.send(16, struct.pack("=Q", protocol))
            assert self.u64(17) == 1
            self.send(21, fds=(self._channel_theirs.fileno(),))
        self.send(3)
        self.send(13, struct.pack("=Q", 0), (self.call,))
        self.send(14, struct.pack("=Q", 0), (self.error,))

    def start(self, queue: DriverQueue, *rams: GuestRam, features: int = I2C_FEATURES, base: int = 0) -> None:
        """What QEMU sends when the driver sets DRIVER_OK."""
        self.send(2, struct.pack("=Q", features))
        assert self.memory(*(rams or (queue.ram,))) == 0
        self.send(8, struct.pack("=II", 0, queue.size))
        self.send(10, struct.pack("=II", 0, base))
        offset = 0 if features & (1 << 33) else USER_BASE
        self.send(
            9,
            struct.pack("=IIQQQQ", 0, 0, offset + queue.descriptors, offset + queue.used, offset + queue.available, 0),
        )
        self.send(12, struct.pack("=Q", 0), (self.kick,))
        self.send(13, struct.pack("=Q", 0), (self.call,))
        assert self.acknowledged(18, struct.pack("=II", 0, 1)) == 0

    def stop(self) -> int:
        """GET_VRING_BASE: the index at which to go on."""
        return struct.unpack("=II", self.ask(11, struct.pack("=II", 0, 0)))[1]

    def notify(self) -> None:
        os.eventfd_write(self.kick, 1)

    def called(self, timeout: float = ANSWER_TIMEOUT_S) -> bool:
        """Whether the guest was interrupted within ``timeout`` seconds."""
        if not select.select([self.call], [], [], timeout)[0]:
            return False
        os.eventfd_read(self.call)
        return True
