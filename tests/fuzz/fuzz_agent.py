# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines from a hostile guest's agent: ``python tests/fuzz/fuzz_agent.py --count 1000000``, or --seconds.

From the bytes on the port to the verdict and the reports, as a run takes them. What must hold is check(): nothing is
raised, what is kept is bounded, and every report can be written and read.
"""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET

import fuzzing

with fuzzing.instrumented():
    from dmasafe.expect import expect
    from dmasafe.facts import KernelFacts, KernelInfo
    from dmasafe.guest import ChannelClosed
    from dmasafe.guest.agent import MAX_LINE_BYTES, AgentChannel, Message, integer
    from dmasafe.guest.hands import errno_text
    from dmasafe.outcome import BusMessage, DmaSegment, judge
    from dmasafe.report import json_report
    from dmasafe.report.formats import junit, ktap
    from dmasafe.report.results import Results, Row, exit_status
    from dmasafe.scenario import select
    from dmasafe.targets.gathered import MAX_VIOLATIONS, Gathered
    from dmasafe.targets.wire import observation

MEMORY = (range(256 << 20),)
FACTS = KernelFacts("x86_64", (6, 12, 117), frozenset({"DMA_API_DEBUG", "VMAP_STACK", "I2C_VIRTIO"}))
SCENARIOS = select(
    [
        "heap/master_send/dmasafe:bounce/8",
        "heap/master_recv_dmasafe/virtio/8",
        "heap/get_put/*/8*",
        "user/i2cdev_smbus/dmasafe:bounce/*",
        "stack/transfer/dmasafe:trusting/8*",
    ]
)
_BUS = (BusMessage(0x30, False, bytes(8), True, (DmaSegment(0x1000, 8),)),)
_KERNEL = KernelInfo("6.12.117", "x86_64", "default", "fuzz")
# One input in so many is rendered in every format: that takes longer than all the rest.
RENDER_EVERY = 64


class Pieces:
    """A stream that hands out its bytes in pieces of one length, then ends."""

    def __init__(self, data: bytes, length: int) -> None:
        self._data, self._at, self._length = data, 0, length

    def setblocking(self, _flag: bool, /) -> None: ...

    def fileno(self) -> int:
        return -1

    def send(self, data: bytes, /) -> int:
        return len(data)

    def recv(self, _size: int, /) -> bytes:
        piece = self._data[self._at : self._at + self._length]
        self._at += len(piece)
        return piece


_inputs = 0


def check(data: bytes) -> int:
    """The number of lines taken. The first byte says in pieces of what length they come."""
    global _inputs
    _inputs += 1
    length, data = (data[0] * data[0] + 1, data[1:]) if data else (1, b"")
    gathered = Gathered(io.BytesIO())
    replies: list[Message] = []
    channel = AgentChannel(Pieces(data, length))
    try:
        while True:
            for message in channel.receive():
                reply = gathered.take_message(message)
                if reply is not None:
                    replies.append(reply)
            assert len(channel._incoming) <= MAX_LINE_BYTES + length
    except ChannelClosed:
        pass
    assert len(channel.violations) <= MAX_VIOLATIONS and len(gathered.violations) <= MAX_VIOLATIONS
    rows = []
    for number, reply in enumerate(replies):
        scenario = SCENARIOS[(integer(reply, "seq") or number) % len(SCENARIOS)]
        records = gathered.records.get(integer(reply, "seq") or 0, [])
        seen = observation(scenario, reply, records, _BUS, MEMORY)
        rows.append(Row.of(scenario, judge(expect(scenario, FACTS), seen, gathered.lost_log)))
        errno_text(reply)
    if _inputs % RENDER_EVERY == 0:
        _render(rows, tuple([*channel.violations, *gathered.violations][:3]))
    return data.count(b"\n")


def _render(rows: list[Row], notes: tuple[str, ...]) -> None:
    results = Results("fuzz", "qemu", _KERNEL, "tcg", True, tuple(rows), notes=notes)
    exit_status(results)
    again = json_report.from_json(json.loads(json_report.render(results)))
    assert [(row.id, row.judgement.verdict) for row in again.rows] == [(row.id, row.judgement.verdict) for row in rows]
    ET.fromstring(junit.render(results))
    ktap.render(results).encode("utf-8", "backslashreplace")


if __name__ == "__main__":
    fuzzing.main(check, "agent", "lines")
