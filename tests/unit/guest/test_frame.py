# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames over bad lines: what arrives is what was sent, in order, or the link says that it is cut."""

import contextlib
import json
import os
import random
import select
import socket
import subprocess
import time
import zlib

import pytest

from dmasafe.guest import ChannelClosed
from dmasafe.guest.agent import AgentChannel
from dmasafe.guest.frame import PAYLOAD_BYTES, FramedStream
from dmasafe.kernel import build_agent, open_cache, project_root
from dmasafe.progress import SILENT

SESSION = "ab12"
TIMEOUT_S = 60.0


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class End:
    """One end of an in-memory line."""

    def __init__(self, damage=lambda data: data):
        self.other = None
        self.arrived = bytearray()
        self.damage = damage
        self.closed = False

    def setblocking(self, _flag, /): ...

    def fileno(self):
        return -1

    def send(self, data, /):
        self.other.arrived += self.damage(bytes(data))
        return len(data)

    def recv(self, size, /):
        if not self.arrived:
            if self.closed:
                return b""
            raise BlockingIOError
        data = bytes(self.arrived[:size])
        del self.arrived[:size]
        return data


def pair(damage=lambda data: data, silence_s=1000.0, session=SESSION):
    clock, a, b = Clock(), End(damage), End(damage)
    a.other, b.other = b, a
    streams = [FramedStream(end, name, 4096, 1.0, silence_s, clock) for end, name in ((a, SESSION), (b, session))]
    return clock, *streams


def pump(clock, a, b, until, turns=20000):
    got = [bytearray(), bytearray()]
    for _ in range(turns):
        for stream, sink in ((a, got[0]), (b, got[1])):
            with contextlib.suppress(BlockingIOError):
                sink += stream.recv(1 << 16)
        if until(got):
            return got
        clock.now += 0.03
    raise AssertionError(f"not there after {clock.now} s: {bytes(got[1][-80:])!r}")


def damaging(rate, seed):
    rng = random.Random(seed)

    def damage(data):
        if rng.random() >= rate:
            return data
        at = rng.randrange(len(data))
        return rng.choice(
            (
                data[:at] + data[at + 1 :],
                data[: at + 1] + data[at:],
                data[:at] + b"\r\n[   12.345678] usb 1-1: new device\r\n" + data[at:],
                data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :],
                b"",
            )
        )

    return damage


LINES = [json.dumps({"n": n, "text": "x" * (n * 37 % 3000)}).encode() for n in range(120)]


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_lines_arrive_whole_and_in_order_both_ways(rate, seed):
    clock, a, b = pair(damaging(rate, seed))
    sent = b"".join(line + b"\n" for line in LINES)
    a.send(sent)
    b.send(sent)
    got = pump(clock, a, b, lambda found: all(len(each) >= len(sent) for each in found))
    assert bytes(got[0]) == bytes(got[1]) == sent
    assert (a.damaged + b.damaged > 0) == (rate > 0)


def test_the_end_comes_after_everything_else_even_if_it_was_lost():
    lost = iter([True] + [False] * 1000)
    clock, a, b = pair(lambda data: b"" if data[5:6] == b"E" and next(lost) else data)
    a.send(b"last words\n")
    a.end()
    got = pump(clock, a, b, lambda _found: b.ended)
    assert bytes(got[1]) == b"last words\n" and b.recv(10) == b""


def test_the_window_is_kept_until_it_is_acknowledged():
    clock, a, b = pair()
    a.send(b"".join(b"y" * PAYLOAD_BYTES + b"\n" for _ in range(20)))
    assert len(b._raw.arrived) <= 4096
    pump(clock, a, b, lambda found: found[1].count(b"\n") == 20)
    a._read()
    assert a.delivered


def test_silence_is_a_cut_link_and_a_heartbeat_prevents_it():
    clock, a, b = pair(silence_s=10.0)
    for _ in range(100):
        clock.now += 1.0
        for stream in (a, b):
            with pytest.raises(BlockingIOError):
                stream.recv(10)
    clock.now += 11.0
    with pytest.raises(ChannelClosed, match="nothing readable came for 10 s"):
        a.tick()


def test_frames_of_another_session_are_not_for_us():
    clock, a, b = pair(session="zz99")
    a.send(b"hello\n")
    with pytest.raises(AssertionError, match="not there"):
        pump(clock, a, b, lambda found: bool(found[1]), turns=200)


def test_what_the_kernel_says_between_frames_is_kept_and_bounded():
    clock, a, b = pair()
    b._raw.arrived += b"\r\nKernel panic - not syncing: test\r\n"
    a.send(b"hello\n")
    pump(clock, a, b, lambda found: bytes(found[1]) == b"hello\n")
    assert b"Kernel panic - not syncing: test" in b.noise
    b.take(b"z" * 100_000)
    assert len(b.noise) <= 16384


def test_a_panic_in_the_middle_of_a_frame_can_be_read():
    _clock, _a, b = pair()
    body = b"ab12L0000000000000000{}"
    b.take(b"\x01" + body[:9] + b"\r\nKernel panic - not syncing: oops\r\n")
    assert b"Kernel panic - not syncing: oops" in b.noise and b.damaged


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"ab12",
        b"ab12L00000000",
        b"ab12L0000000000000000{}*00000000",
        b"ab12L000000000000000g{}",
        b"ab12L+0000000 0000000{}",
    ],
)
def test_no_frame_that_is_not_whole_is_taken(frame):
    _clock, _a, b = pair()
    b.take(b"\x01" + frame + b"\n")
    if b"*" not in frame:
        b.take(b"\x01%s*%08x\n" % (frame, zlib.crc32(frame)))
    with pytest.raises(BlockingIOError):
        b.recv(10)
    assert b.damaged


def test_an_acknowledgement_of_what_was_never_sent_changes_nothing():
    _clock, _a, b = pair()
    body = b"ab12A00000000%08x" % 7
    b.send(b"one\n")
    b.take(b"\x01%s*%08x\n" % (body, zlib.crc32(body)))
    assert not b.delivered


class Damaged:
    """A socket whose traffic is damaged both ways."""

    def __init__(self, sock, damage):
        self._socket, self._damage = sock, damage
        self.setblocking, self.fileno = sock.setblocking, sock.fileno

    def send(self, data, /):
        self._socket.sendall(self._damage(bytes(data[:2000])))
        return min(len(data), 2000)

    def recv(self, size, /):
        data = self._socket.recv(min(size, 2000))
        left = self._damage(data) if data else b""
        if data and not left:
            raise BlockingIOError
        return left


@pytest.fixture(scope="module")
def agent():
    return build_agent("x86_64", project_root() / "images" / "agent", open_cache(), SILENT)


def start(agent, silence_s, damage=lambda data: data):
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [agent, "--frame", SESSION, "400", str(silence_s), "8192"], stdin=theirs, stdout=theirs
        )
    stream = FramedStream(Damaged(ours, damage), SESSION, 8192, 0.4, 30.0)
    return process, ours, stream, AgentChannel(stream)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the agent is built for x86_64")
@pytest.mark.parametrize("rate", [0.0, 0.03])
def test_the_agents_own_relay_speaks_the_same(agent, rate):
    process, ours, stream, channel = start(agent, 20, damaging(rate, 7))
    with ours:
        for number in range(100):
            channel.send({"op": "read", "path": "/proc/self/status", "n": number})
        seen, until = [], time.monotonic() + TIMEOUT_S
        with pytest.raises(ChannelClosed):
            while time.monotonic() < until:
                select.select([channel], [], [], 0.05)
                seen += [message["n"] for message in channel.receive() if message.get("re") == "read"]
                if len(seen) == 100 and not stream.ended:
                    stream.end()
                    seen.append("ended")
        assert seen == [*range(100), "ended"] and channel.violations == [] and stream.ended
    assert process.wait(10) == 0


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the agent is built for x86_64")
@pytest.mark.parametrize("way", ["silence", "hang-up"])
def test_the_agent_ends_when_nobody_speaks_to_it(agent, way):
    process, ours, _stream, channel = start(agent, 1)
    select.select([channel], [], [], 5)
    assert channel.receive()[0]["re"] == "hello"
    if way == "hang-up":
        ours.close()
    started = time.monotonic()
    assert process.wait(10) == 0
    assert time.monotonic() - started < 6
    ours.close()
