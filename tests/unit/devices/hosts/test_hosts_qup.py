# SPDX-License-Identifier: GPL-2.0-or-later
"""The QUP, driven register by register as i2c-qup.c drives version 2."""

from __future__ import annotations

import pytest
from dma_provider import Provider
from host_bench import BUFFER, RING, Bench

from dmasafe.devices.slaves.recorder import pattern

RECORDER, REGISTERS, NAK_DATA, SLOW, NOBODY = 0x30, 0x20, 0x60, 0x68, 0x77
RESET, RUN, PAUSE, FLUSH = 0, 1, 3, 0x40
OUT_SVC, IN_SVC, OUT_DONE, OUT_BLOCK, IN_BLOCK = 0x100, 0x200, 0x400, 0x1000, 0x2000
NACK, ACTIVE = 0x8, 0x100
FIFO, BLOCK = 64, 16
AGAIN = 1 << 31
TAGS, ENDS, SCRATCH = 0x3000, 0x3800, 0x3900


class Driver:
    """qup_i2c_xfer_v2(), qup_i2c_interrupt() and qup_i2c_bam_xfer()."""

    def __init__(self, fault: str | None = None) -> None:
        self.bench = Bench("qup")
        self.bench.host.fail(fault)
        self.dma = Provider(self.bench)

    def state(self, state: int) -> None:
        self.bench.write("STATE", state)
        assert self.bench.read("STATE") & 0x17 == 0x14 | state

    def begin(self) -> None:
        self.bench.write("SW_RESET", 1)
        assert self.bench.read("STATE") & 0x17 == 0x14
        self.bench.write("CONFIG", 0x207)
        self.bench.write("I2C_MASTER_GEN", 1)

    def tags(self, address: int, reads: bool, size: int, first: bool, end: bool, last: bool) -> bytes:
        ending = (0x87 if last else 0x86) if reads else 0x83 if last else 0x82
        tag = ending if end else 0x85 if reads else 0x82
        return (bytes((0x81, address << 1 | reads)) if first else b"") + bytes((tag, size & 0xFF))

    def transfer(self, *messages: tuple[int, bytes | int]) -> tuple[int, list[bytes]]:
        """Bus errors, and what was read, by FIFO and in blocks."""
        bench = self.bench
        self.begin()
        longest = {
            kind: max((self.size(m) for _a, m in messages if isinstance(m, kind)), default=0) for kind in (bytes, int)
        }
        out_block, in_block = longest[bytes] > FIFO - 4, longest[int] > FIFO - 2
        bench.write("MX_WRITE_CNT" if out_block else "MX_OUTPUT_CNT", 0)
        bench.write("MX_READ_CNT" if in_block else "MX_INPUT_CNT", 0)
        bench.write("IO_MODE", 0xC000 | (0x400 if out_block else 0) | (0x1000 if in_block else 0))
        answers = []
        for number, (address, message) in enumerate(messages):
            reads = isinstance(message, int)
            limit, whole, done = 254 if reads else 256, self.size(message), b""
            parts = [min(limit, whole - at) for at in range(0, whole, limit)]
            for part, size in enumerate(parts):
                end, first = part == len(parts) - 1, not number and not part
                stream = self.tags(address, reads, size, part == 0, end, number == len(messages) - 1)
                if isinstance(message, bytes):
                    stream += message[part * limit :][:size]
                error, found = self.part(stream, size + 2 if reads else 0, out_block, in_block, first)
                if error:
                    return error, answers
                done += found[2:]
                if not (end and number == len(messages) - 1):
                    self.state(PAUSE)
            if reads:
                answers.append(done)
        assert not bench.read("I2C_STATUS") & ACTIVE
        self.state(RESET)
        return 0, answers

    @staticmethod
    def size(message: bytes | int) -> int:
        return message if isinstance(message, int) else len(message)

    def part(self, stream: bytes, rx: int, out_block: bool, in_block: bool, first: bool) -> tuple[int, bytes]:
        """qup_i2c_conf_xfer_v2(): bus errors, and what came with its tags."""
        bench, again = self.bench, 0 if first else AGAIN
        bench.write("MX_OUTPUT_CNT" if out_block else "MX_WRITE_CNT", again | len(stream))
        if rx:
            bench.write("MX_INPUT_CNT" if in_block else "MX_READ_CNT", again | rx)
        if first:
            self.state(RUN)
            bench.write("I2C_CLK_CTL", 0x300)
            self.state(PAUSE)
        words = [stream[at : at + 4].ljust(4, b"\0") for at in range(0, len(stream), 4)]
        found = b""
        if not out_block:
            for word in words:
                bench.write("OUT_FIFO", int.from_bytes(word, "little"))
            words = []
        self.state(RUN)
        for _ in range(10000):
            if not bench.high:
                bench.run(0.5)
            assert bench.high, "no interrupt"
            error, flags = bench.read("I2C_STATUS") & 0x38000FC, bench.read("OPERATIONAL")
            if error:
                bench.write("I2C_STATUS", error)
                self.state(RESET)
                return error, b""
            if flags & OUT_SVC:
                bench.write("OPERATIONAL", OUT_SVC)
                if flags & OUT_BLOCK:
                    block, words = words[: BLOCK // 4], words[BLOCK // 4 :]
                    for word in block:
                        bench.write("OUT_FIFO", int.from_bytes(word, "little"))
            if flags & IN_SVC:
                bench.write("OPERATIONAL", IN_SVC)
                room = (BLOCK if flags & IN_BLOCK else 0) if in_block else FIFO
                while room and len(found) < rx:
                    found += bench.read("IN_FIFO").to_bytes(4, "little")
                    room -= 4
            if (rx and len(found) >= rx) or (not rx and (not out_block or flags & OUT_DONE)):
                return 0, found[:rx]
        raise AssertionError("no end")

    def bam(self, *messages: tuple[int, bytes | int]) -> None:
        """qup_i2c_bam_xfer() up to the wait: writes lie at BUFFER, reads come to RING."""
        bench = self.bench
        self.begin()
        bench.write("IO_MODE", 0xFC00)
        bench.write("OPERATIONAL_MASK", 0x300)
        self.state(RUN)
        tx: list[tuple[int, int]] = []
        rx: list[tuple[int, int]] = []
        at, out, back = TAGS, BUFFER, RING
        for number, (address, message) in enumerate(messages):
            whole, reads = self.size(message), isinstance(message, int)
            for start in range(0, whole, 256):
                size = min(256, whole - start)
                tags = self.tags(address, reads, size, not start, start + size == whole, number == len(messages) - 1)
                bench.put(at, tags)
                tx.append((at, len(tags)))
                at += len(tags)
                if reads:
                    rx += [(SCRATCH, 2), (back, size)]
                    back += size
                else:
                    assert isinstance(message, bytes)
                    bench.put(out, message[start : start + size])
                    tx.append((out, size))
                    out += size
        bench.put(ENDS, b"\x93\x96" if rx else b"\x96")
        self.dma.start(0, *tx, (ENDS, 2 if rx else 1))
        if rx:
            self.dma.start(1, *rx, (SCRATCH, 1), to_memory=True)


@pytest.mark.parametrize("length", [1, 2, 3, 12, 57, 60, 61, 200, 256, 257, 700])
def test_bytes_go_through_the_fifos(length):
    driver = Driver()
    sent = bytes(n & 0xFF for n in range(length))
    assert driver.transfer((RECORDER, sent), (RECORDER, length)) == (0, [pattern(0x30, 0, length)])
    first, second = driver.bench.flush()
    assert (first.data, first.segments, second.length, second.segments) == (sent, (), length, ())


def test_a_write_and_a_read_are_one_transfer():
    driver = Driver()
    assert driver.transfer((REGISTERS, b"\x07\x99")) == (0, [])
    assert driver.transfer((REGISTERS, b"\x07"), (REGISTERS, 1)) == (0, [b"\x99"])


@pytest.mark.parametrize(
    ("address", "fault"), [(NOBODY, None), (NAK_DATA, None), (RECORDER, "nak-0"), (RECORDER, "nak-2")]
)
@pytest.mark.parametrize("length", [3, 100])
def test_a_missing_acknowledgement_is_a_bus_error(address, fault, length):
    assert Driver(fault).transfer((address, bytes(length))) == (NACK, [])


@pytest.mark.parametrize("length", [65, 256, 300, 1000])
def test_bam_moves_tags_and_data(length):
    driver = Driver()
    sent = bytes(n * 7 & 0xFF for n in range(length))
    driver.bam((RECORDER, sent), (RECORDER, length))
    assert driver.dma.poll() == {0: 1, 1: 1}
    assert driver.bench.get(RING, length) == pattern(0x30, 0, length)
    assert not driver.bench.read("I2C_STATUS") & ACTIVE
    first, second = driver.bench.flush()
    assert (first.data, second.length) == (sent, length)
    assert (BUFFER, min(256, length), False, None) in first.segments
    assert (RING, min(256, length), False, None) in second.segments


@pytest.mark.parametrize(("message", "channel"), [(bytes(100), 0), (100, 1)])
def test_bam_ends_after_a_nak_when_it_is_flushed(message, channel):
    driver = Driver()
    driver.bam((NOBODY, message))
    assert driver.dma.poll().get(channel) is None
    assert driver.bench.high
    error = driver.bench.read("I2C_STATUS")
    assert error & NACK
    driver.bench.write("I2C_STATUS", error)
    assert not driver.bench.high
    driver.bench.write("STATE", RUN)
    driver.bench.write("STATE", driver.bench.read("STATE") | FLUSH)
    assert driver.dma.poll()[channel] == 1
    driver.bam((RECORDER, bytes(100)))
    assert driver.dma.poll() == {0: 1}


def test_bam_waits_for_a_slow_slave():
    driver = Driver()
    driver.bench.i2c.slaves[SLOW].stretch_ms = 500
    driver.bam((SLOW, 70))
    assert driver.dma.poll(0.4) == {}
    assert driver.dma.poll(0.4) == {0: 1, 1: 1}


def test_late_is_later_than_the_driver_waits():
    driver = Driver("late")
    driver.bam((RECORDER, 70))
    assert driver.dma.poll(4.5) == {}
    assert driver.dma.poll(4) == {0: 1, 1: 1}


def test_what_is_late_for_no_driver_is_not_late_for_this_one():
    driver = Driver("busy")
    driver.bam((RECORDER, 70))
    assert driver.dma.poll(0.01) == {}
    assert driver.dma.poll(0.4) == {0: 1, 1: 1}
