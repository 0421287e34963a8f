# SPDX-License-Identifier: GPL-2.0-or-later
"""The Tegra210's controller, driven by packets as i2c-tegra.c does."""

from __future__ import annotations

from errno import EAGAIN, EREMOTEIO, ETIMEDOUT

import pytest
from dma_provider import Provider
from host_bench import BUFFER, Bench

from dmasafe.devices.slaves.recorder import pattern

RECORDER, REGISTERS, NAK_DATA, SLOW, NOBODY = 0x30, 0x20, 0x60, 0x68, 0x77
BUS_CLEARED, COMPLETE, NO_ACK, LOST, TX, RX = 1 << 11, 1 << 7, 1 << 3, 1 << 2, 1 << 1, 1 << 0
READ, IE, REPEAT, CONTINUE = 1 << 19, 1 << 17, 1 << 16, 1 << 15
STOP_AFTER, REPEAT_AFTER, CONTINUE_AFTER = 0, REPEAT, CONTINUE
HEADER_BYTES, PIO_BYTES, TIMEOUT_S = 12, 32, 0.1


class Driver:
    """tegra_i2c_init(), tegra_i2c_xfer_msg() and tegra_i2c_isr()."""

    def __init__(self, fault: str | None = None) -> None:
        self.bench = Bench("tegra", fault)
        self.dma = Provider(self.bench)
        self.init()

    def init(self) -> None:
        bench = self.bench
        bench.write("RESET", 1)
        bench.write("CNFG", 1 << 11 | 1 << 10 | 2 << 12 | 1 << 17)
        bench.write("INT_MASK", 0)
        self.load()
        self.flush()

    def load(self) -> None:
        self.bench.write("CONFIG_LOAD", 1)
        assert not self.bench.read("CONFIG_LOAD")

    def flush(self) -> None:
        self.bench.write("FIFO_CONTROL", self.bench.read("FIFO_CONTROL") | 3)
        assert not self.bench.read("FIFO_CONTROL") & 3

    def message(self, address: int, message: bytes | int, end: int = STOP_AFTER, dma: bool = True) -> bytes | int:
        """What was read, or an errno."""
        bench = self.bench
        self.flush()
        self.reads, size = isinstance(message, int), message if isinstance(message, int) else len(message)
        self.rest = b"" if isinstance(message, int) else message
        self.found, self.left, self.error, self.done = b"", size, 0, False
        whole = (size if self.reads else size + HEADER_BYTES) + 3 & ~3
        self.uses_dma = dma and whole > PIO_BYTES
        if self.uses_dma and self.reads:
            self.dma.start(0, (BUFFER, whole), to_memory=True)
        header = [1 << 4 | 1 << 16, size - 1, IE | end | address << 1 | (READ if self.reads else 0)]
        if self.uses_dma and not self.reads:
            words = b"".join(word.to_bytes(4, "little") for word in header)
            bench.put(BUFFER, words + self.rest + b"\xee" * 3)
            self.dma.start(0, (BUFFER, whole))
        else:
            for word in header:
                bench.write("TX_FIFO", word)
            if not self.reads:
                self.fill()
        mask = NO_ACK | LOST | COMPLETE
        if not self.uses_dma:
            mask |= RX if self.reads else TX if self.rest else 0
        bench.write("INT_MASK", mask)
        result = self.wait()
        bench.write("INT_MASK", 0)
        if result or self.error:
            self.dma.stop(0)
            self.init()
            return result or (EREMOTEIO if self.error & NO_ACK else EAGAIN)
        return bench.get(BUFFER, size) if self.uses_dma and self.reads else self.found[:size]

    def wait(self) -> int:
        end = self.bench.now + TIMEOUT_S
        while not self.done:
            if not self.bench.high:
                self.dma.poll(0.01)
                if self.bench.now > end:
                    return ETIMEDOUT
                continue
            self.interrupt()
        if self.uses_dma and not self.error:
            self.dma.poll(0.01)
            assert self.dma.left(0) == 0
        return 0

    def fill(self) -> None:
        room = self.bench.read("FIFO_STATUS") >> 4 & 0xF
        while room and self.rest:
            self.bench.write("TX_FIFO", int.from_bytes(self.rest[:4], "little"))
            self.rest = self.rest[4:]
            room -= 1

    def interrupt(self) -> None:
        bench, status = self.bench, self.bench.read("INT_STATUS")
        assert status
        if status & (NO_ACK | LOST):
            bench.write("CNFG", bench.read("CNFG") & ~(1 << 10))
            self.load()
            self.error = status & (NO_ACK | LOST)
            bench.write("INT_MASK", 0)
            bench.write("INT_STATUS", status)
            self.done = True
            return
        if not self.uses_dma:
            if self.reads and status & RX:
                words = bench.read("FIFO_STATUS") & 0xF
                assert self.left > 0
                for _ in range(words):
                    self.found += bench.read("RX_FIFO").to_bytes(4, "little")
                self.left -= 4 * words
                assert self.left > -4
                assert not bench.read("FIFO_STATUS") & 0xF or self.left > 0
            if not self.reads and status & TX:
                if self.rest:
                    self.fill()
                else:
                    bench.write("INT_MASK", bench.read("INT_MASK") & ~TX)
        bench.write("INT_STATUS", status)
        if status & COMPLETE:
            assert self.uses_dma or not (self.rest or (self.reads and self.left > 0))
            self.done = True


@pytest.mark.parametrize("length", [1, 3, 4, 5, 20, 32])
def test_short_messages_go_by_fifo(length):
    driver = Driver()
    sent = bytes(range(length))
    assert driver.message(RECORDER, sent, dma=False) == b""
    assert driver.message(RECORDER, length) == pattern(0x30, 0, length)
    first, second = driver.bench.flush()
    assert (first.data, first.segments, second.length, second.segments) == (sent, (), length, ())


@pytest.mark.parametrize("length", [300, 4096])
def test_long_messages_go_by_fifo_if_there_is_no_dma(length):
    driver = Driver()
    sent = bytes(n & 0xFF for n in range(length))
    assert driver.message(RECORDER, sent, dma=False) == b""
    assert driver.message(RECORDER, length, dma=False) == pattern(0x30, 0, length)
    assert driver.bench.flush()[0].data == sent


@pytest.mark.parametrize("length", [33, 256, 1001])
def test_long_messages_go_by_dma_with_their_header(length):
    driver = Driver()
    sent = bytes(n & 0xFF for n in range(length))
    assert driver.message(RECORDER, sent) == b""
    assert driver.message(RECORDER, length) == pattern(0x30, 0, length)
    first, second = driver.bench.flush()
    assert (first.data, first.segments) == (sent, ((BUFFER, length + 15 & ~3, False, None),))
    assert second.segments == ((BUFFER, length + 3 & ~3, False, None),)


def test_packets_say_what_comes_between_messages():
    driver = Driver()
    driver.message(REGISTERS, b"\x07\x99\x98")
    driver.message(REGISTERS, b"\x07", REPEAT_AFTER)
    assert driver.message(REGISTERS, 1, CONTINUE_AFTER) == b"\x99"
    assert driver.message(REGISTERS, 1) == b"\x98"
    assert [record.length for record in driver.bench.flush()] == [3, 1, 2]


@pytest.mark.parametrize(
    ("address", "fault"), [(NOBODY, None), (NAK_DATA, None), (RECORDER, "nak-0"), (RECORDER, "nak-2")]
)
@pytest.mark.parametrize("length", [3, 60])
def test_a_refused_message_ends(address, fault, length):
    driver = Driver(fault)
    assert driver.message(address, bytes(length)) == EREMOTEIO
    driver.bench.host.fail(None)
    assert driver.message(RECORDER, bytes(length)) == b""


def test_a_lost_arbitration_is_told_and_the_bus_can_be_cleared():
    driver = Driver("arbitration-lost")
    assert driver.message(RECORDER, b"a") == EAGAIN
    driver.bench.write("BUS_CLEAR_CNFG", 9 << 16 | 7)
    driver.bench.write("INT_MASK", BUS_CLEARED)
    assert driver.bench.high
    assert driver.bench.read("BUS_CLEAR_STATUS") == 1


def test_a_message_is_forgotten_when_the_controller_is_reset():
    driver = Driver()
    driver.bench.i2c.slaves[SLOW].stretch_ms = 500
    assert driver.message(SLOW, 40) == ETIMEDOUT
    driver.bench.put(BUFFER, bytes(40))
    driver.bench.run(1)
    assert driver.bench.get(BUFFER, 40) == bytes(40)
    assert driver.message(RECORDER, 4) == pattern(0x30, 0, 4)
