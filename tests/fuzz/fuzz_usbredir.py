# SPDX-License-Identifier: GPL-2.0-or-later
"""usbredir packets from a hostile guest: ``python tests/fuzz/fuzz_usbredir.py --count 1000000``, or --seconds.

A guest steers what QEMU sends, short of the packets' framing; here that is not to be relied on either. What must hold
is check(): no exception but the one that drops the connection, bounded answers, and a bridge that works afterwards.
"""

from __future__ import annotations

import json
import struct

import fuzzing

with fuzzing.instrumented():
    from dmasafe.devices import trace
    from dmasafe.devices.bus import default_bus
    from dmasafe.devices.usb.bridges import bridges
    from dmasafe.devices.usb.device import UsbDevice
    from dmasafe.devices.usb.master import Master
    from dmasafe.devices.usb.redirection import MAX_READY_BYTES, MAX_WAITING, Redirection
    from dmasafe.devices.usb.usbredir import ProtocolError, Wire

NAMES = tuple(bridges())
CONTROL, BULK, INTERRUPT = 100, 101, 103
# Where the length of the data stands in each header, which is so long.
HEADERS = {CONTROL: (10, 8), BULK: (10, 2), INTERRUPT: (4, 2)}
QEMU_CAPABILITIES = 0xF6
# One answer in for each thing asked, and no answer longer than a descriptor or what a slave was asked for.
MAX_ANSWER_BYTES = 1 << 17


def records(data: bytes):
    """(type, body) of each packet: a byte for the type, one that says how to frame it, two for the length, the body."""
    at = 0
    while at + 4 <= len(data):
        kind, how, length = struct.unpack_from("<BBH", data, at)
        body = bytearray(data[at + 4 : at + 4 + length])
        at += 4 + len(body)
        size, place = HEADERS.get(kind, (0, 0))
        if size and len(body) >= size and how < 0xF0:
            # As QEMU frames it: the header says how much data follows, if it goes out.
            reads = body[2 if kind == CONTROL else 0] & 0x80
            if reads:
                del body[size:]
            else:
                body[place : place + 2] = struct.pack("<H", len(body) - size)
            if kind == BULK:
                body[8:10] = b"\0\0"
        yield kind, how, bytes(body)


def record(kind: int, body: bytes) -> bytes:
    return struct.pack("<BBH", kind, 0, len(body)) + body


class Link:
    """One connection to one bridge."""

    def __init__(self, name: str, capabilities: int) -> None:
        self.sent = 0
        self.traced = 0
        self.master = Master(name, default_bus(), lambda: 1, self._traced)
        self.wire = Wire()
        self.redirection = Redirection(UsbDevice(bridges()[name](self.master), name), self.wire, self._send)
        self.wire.feed(struct.pack("<III", 0, 68, 0) + bytes(64) + struct.pack("<I", capabilities))
        self._handle()

    def _send(self, data: bytes) -> None:
        self.sent += len(data)

    def _traced(self, found: trace.Record) -> None:
        self.traced += 1
        json.loads(trace.line(found))

    def _handle(self) -> None:
        for packet in self.wire.packets():
            self.redirection.handle(packet)

    def take(self, kind: int, body: bytes, number: int) -> None:
        form = "<IIQ" if self.wire.can(1 << 5) else "<III"
        self.wire.feed(struct.pack(form, kind, len(body), number) + body)
        self._handle()


def check(data: bytes) -> int:
    """The number of packets handled."""
    if len(data) < 2:
        return 1
    name = NAMES[data[0] % len(NAMES)]
    capabilities = QEMU_CAPABILITIES if data[1] < 0xC0 else data[1]
    link = Link(name, capabilities)
    handled = 0
    for kind, how, body in records(data[2:]):
        handled += 1
        before = link.sent
        try:
            link.take(kind, body, handled if how != 0xEF else 1)
        except ProtocolError as error:
            assert str(error)
            link = Link(name, capabilities)
            continue
        assert link.sent - before <= MAX_ANSWER_BYTES + handled * 64, "an answer out of all proportion"
        assert link.master.take_delay_s() >= 0
    waiting = sum(map(len, link.redirection._waiting.values()))
    ready = sum(len(item) for queue in link.redirection._ready.values() for item in queue)
    assert waiting <= MAX_WAITING * 16 and ready <= 2 * MAX_READY_BYTES
    link.take(3, b"", 0)
    return max(handled, 1)


if __name__ == "__main__":
    fuzzing.main(check, "usbredir", "usbredir packets")
