# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages from a hostile vfio-user client: ``python tests/fuzz/fuzz_vfio_user.py --count 1000000``, or --seconds.

The whole server and a PCI function that can do everything run in this process, on real sockets. What must hold is
check(): every message is answered, nothing is raised, no descriptor is kept, no memory is touched that was not mapped.
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
    from dmasafe.devices.loop import Loop
    from dmasafe.devices.pci import Bar, I2cBus, PciFunction, Register, Window
    from dmasafe.devices.vfio_user import VfioUser, VfioUserCommand

RAM = 0x20000
# Only this part of the RAM is ever handed out.
SHARED = range(0x8000, 0x10000)
MAX_MESSAGES = 16
MAX_STEPS = 200
NO_REPLY = 0x10
READ = 1 << 31
_HEADER = struct.Struct("=HHIII")


class Everything(PciFunction):
    """Registers of each kind, DMA wherever it is told to, interrupts, timers, a bus, ports, a window, MSI and MSI-X."""

    vendor_id, device_id = 0x1AF4, 0x10F0
    bars = (Bar(0, 0x100), Bar(1, 4, (Window(0, 4),), ports=True))
    msi, msix = 2, 2
    needs_bus_master = False

    TARGET = Register("TARGET", 0x00)
    LENGTH = Register("LENGTH", 0x04, width=2)
    MEMORY = Register("MEMORY", 0x08, width=8)
    GO = Register("GO", 0x10, access="wo", on_write="go")
    STATUS = Register("STATUS", 0x14, access="w1c", on_write=lambda self, _value: self.set_irq(bool(self.STATUS)))
    MESSAGE = Register("MESSAGE", 0x18, on_write=lambda self, vector: self.raise_irq(vector))
    CLEAR = Register("CLEAR", 0x1C, access="rc", reset=1)
    SET = Register("SET", 0x20, access="w1s", width=1)
    FAIL = Register("FAIL", 0x24, on_read=lambda self: 1 // 0)

    def go(self, value: int) -> None:
        if value & READ:
            self.dma.write(self.MEMORY, self.bus.transfer(self.TARGET, True, self.LENGTH).data)
        else:
            self.bus.transfer(self.TARGET, False, self.dma.read(self.MEMORY, self.LENGTH), bool(value & 2))
        self.later(0, self.finish)

    def finish(self) -> None:
        self.STATUS |= 1
        self.set_irq(True)


class Wire:
    """What a client could hand to the server, and what it does."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="dmasafe-fuzz-")
        self.path = Path(self._directory.name) / "function.sock"
        self.loop = Loop()
        self.said: list[str] = []
        self.complaints = 0
        self.ram = os.memfd_create("ram")
        os.ftruncate(self.ram, RAM)
        os.pwrite(self.ram, b"\x5a" * RAM, 0)
        self.small = os.memfd_create("small")
        os.ftruncate(self.small, 100)
        self.event = os.eventfd(0, os.EFD_NONBLOCK)
        self.pipe = os.pipe()
        self.choices = (
            (), (self.ram,), (self.event,), (self.pipe[0],), (self.pipe[1],), (self.small,), (self.event, self.event),
            (self.ram,) * 16,
        )  # fmt: skip
        atexit.register(self._directory.cleanup)

    def server(self) -> VfioUser:
        """A new function at the socket: each has one client in its life."""
        bus = I2cBus("fuzz", default_bus())
        return VfioUser(self.loop, Everything(), self.path, self.said.append, self.complain, bus)

    def complain(self, complaint: tuple[str, str]) -> None:
        assert str(complaint[0]) and complaint[1]
        self.complaints += 1

    def settle(self, server: VfioUser) -> None:
        """Let the server do all it has to; the loop never waits, since something is always due soon."""
        for _ in range(MAX_STEPS):
            before = len(self.said), self.complaints
            self.loop.soon(lambda: None)
            self.loop.step()
            if (len(self.said), self.complaints) == before and not server.busy:
                return
        raise AssertionError("the server is busy for ever")


WIRE: list[Wire] = []
_VERSION = struct.pack("=HH", 0, 1) + b'{"capabilities": {"max_msg_fds": 8, "write_multiple": true}}\0'
_MAP = struct.pack("=IIQQQ", 32, 3, SHARED.start, SHARED.start, len(SHARED))


def _write(offset: int, value: int, size: int = 4) -> bytes:
    return struct.pack("=QII", offset, 0, size) + value.to_bytes(size, "little")


# (command, payload, descriptors): what QEMU and a driver do, for the fuzzer to deviate from.
SESSION = (
    (VfioUserCommand.VERSION, _VERSION, 0),
    (VfioUserCommand.DMA_MAP, _MAP, 1),
    (VfioUserCommand.DEVICE_GET_INFO, bytes(16), 0),
    (VfioUserCommand.DEVICE_GET_REGION_INFO, struct.pack("=IIIIQQ", 32, 0, 7, 0, 0, 0), 0),
    (VfioUserCommand.DEVICE_GET_IRQ_INFO, struct.pack("=IIII", 16, 0, 2, 0), 0),
    (VfioUserCommand.DEVICE_SET_IRQS, struct.pack("=IIIII", 20, 36, 0, 0, 1), 2),
    (VfioUserCommand.DEVICE_SET_IRQS, struct.pack("=IIIII", 20, 36, 2, 0, 2), 6),
    (VfioUserCommand.DEVICE_SET_IRQS, struct.pack("=IIIII", 20, 17, 0, 0, 1), 0),
    (VfioUserCommand.REGION_READ, struct.pack("=QII", 0, 7, 64), 0),
    (VfioUserCommand.REGION_WRITE, _write(0x00, 0x30), 0),
    (VfioUserCommand.REGION_WRITE, _write(0x04, 0x100, 2), 0),
    (VfioUserCommand.REGION_WRITE, _write(0x08, SHARED.start, 8), 0),
    (VfioUserCommand.REGION_WRITE, _write(0x10, READ), 0),
    (VfioUserCommand.REGION_WRITE, _write(0x10, 1), 0),
    (VfioUserCommand.REGION_WRITE_MULTI, struct.pack("=QQII8s", 1, 0x18, 0, 4, b"\1"), 0),
    (VfioUserCommand.REGION_READ, struct.pack("=QII", 0x14, 0, 4), 0),
    (VfioUserCommand.DEVICE_RESET, b"", 0),
    (VfioUserCommand.DMA_UNMAP, struct.pack("=IIQQ", 24, 0, SHARED.start, len(SHARED)), 0),
)


def _messages(data: bytes) -> list[fuzzing.Step]:
    """Those of an input. A map of the RAM is made one of what is shared: all else that is touched has no map."""
    found = []
    for kind, payload, choice in fuzzing.decode(data, SESSION, MAX_MESSAGES):
        if kind == VfioUserCommand.DMA_MAP and len(payload) == len(_MAP):
            argsz, flags, offset, address, length = struct.unpack("=IIQQQ", payload)
            offset = SHARED.start + offset % len(SHARED)
            length = length % (SHARED.stop - offset + 1)
            payload = struct.pack("=IIQQQ", argsz, flags, offset, address, length)
        found.append((kind, payload, choice))
    return found


def check(data: bytes) -> int:
    """The number of messages sent."""
    if not WIRE:
        WIRE.append(Wire())
    wire = WIRE[0]
    messages = _messages(data)
    server = wire.server()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(wire.path))
        client.setblocking(False)
        if not data or data[0] & 3:
            # Most inputs get beyond the beginning.
            messages.insert(0, (VfioUserCommand.VERSION, _VERSION, 0))
        for number, (kind, payload, choice) in enumerate(messages):
            fds = wire.choices[choice % len(wire.choices)]
            flags = NO_REPLY if choice & 0x80 else choice >> 5 & 1
            try:
                header = _HEADER.pack(number, kind, _HEADER.size + len(payload), flags, 0)
                socket.send_fds(client, [header + payload], fds)
            except OSError:
                break
            wire.settle(server)
            answer = fuzzing.received(client)
            if answer is None:
                break
            if flags & NO_REPLY:
                assert not answer, "an answer that nobody asked for"
                continue
            assert answer, f"message {number} was not answered"
            echoed, command, size, kind_of_answer, error = _HEADER.unpack_from(answer)
            assert (echoed, command, size, kind_of_answer & 0xF) == (number, kind, len(answer), 1)
            assert bool(kind_of_answer & 0x20) == bool(error) and (not error or size == _HEADER.size)
        # And the end of one, in the middle of a message.
        if data and data[-1] & 1:
            client.send(data[:8])
            wire.settle(server)
    wire.settle(server)
    server.close()
    assert wire.said in ([], ["connected", "disconnected"])
    wire.said.clear()
    rest = os.pread(wire.ram, SHARED.start, 0) + os.pread(wire.ram, RAM, SHARED.stop)
    assert rest == b"\x5a" * (RAM - len(SHARED)), "memory was written to that was never mapped"
    return len(messages)


if __name__ == "__main__":
    fuzzing.main(check, "vfio-user", "messages")
