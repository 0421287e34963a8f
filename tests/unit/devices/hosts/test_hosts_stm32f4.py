# SPDX-License-Identifier: GPL-2.0-or-later
"""The STM32F4's controller, driven by two interrupts through the multiplexer as i2c-stm32f4.c does."""

from __future__ import annotations

from errno import EAGAIN, EBUSY, EIO, ETIMEDOUT

import pytest
from host_bench import Bench

from dmasafe.devices.slaves.recorder import pattern

RECORDER, REGISTERS, NAK_DATA, SLOW, NOBODY = 0x30, 0x20, 0x60, 0x68, 0x77
POS, ACK, STOP, START, PE = 1 << 11, 1 << 10, 1 << 9, 1 << 8, 1
ITBUFEN, ITEVTEN, ITERREN = 1 << 10, 1 << 9, 1 << 8
AF, ARLO, BERR, TXE, RXNE, BTF, ADDR, SB = 1 << 10, 1 << 9, 1 << 8, 1 << 7, 1 << 6, 1 << 2, 1 << 1, 1 << 0
TIMEOUT_S = 2.0


class Driver:
    """stm32f4_i2c_xfer_msg() and its two handlers; ``data`` is msg->buf, ``left`` msg->count."""

    def __init__(self, fault: str | None = None) -> None:
        self.bench = Bench("stm32f4", fault)
        for value in (0, 1):
            self.bench.write("RESETS", value)
        self.bench.write("CR2", 42)
        self.bench.write("CR1", PE)
        self.bench.write("CHANMASK", 3)

    def change(self, register: str, on: int = 0, off: int = 0) -> None:
        self.bench.write(register, (self.bench.read(register) & ~off) | on)

    def transfer(self, *messages: tuple[int, bytes | int]) -> int | list[bytes]:
        """What was read, or an errno."""
        answers = []
        for number, (address, message) in enumerate(messages):
            self.reads, self.last = isinstance(message, int), number == len(messages) - 1
            self.address = address << 1 | self.reads
            self.data = bytearray() if isinstance(message, int) else bytearray(message)
            self.left = message if isinstance(message, int) else len(message)
            self.result, self.done = 0, False
            self.change("CR2", ITEVTEN | ITERREN)
            if not number:
                if self.bench.read("SR2") & 2:
                    return EBUSY
                self.change("CR1", START)
            end = self.bench.now + TIMEOUT_S
            while not self.done:
                if not self.bench.high:
                    self.bench.run(0.01)
                    if self.bench.now > end:
                        return ETIMEDOUT
                    continue
                pending = self.bench.read("CHANSTATUS")
                assert pending
                if pending & 1:
                    self.event()
                if pending & 2:
                    self.error()
            if self.result:
                return self.result
            if self.reads:
                answers.append(bytes(self.data))
        return answers

    def event(self) -> None:
        bench, cr2 = self.bench, self.bench.read("CR2")
        event = bench.read("SR1") & (BTF | ADDR | SB | (TXE | RXNE if cr2 & ITBUFEN else 0))
        assert event
        if event & SB:
            bench.write("DR", self.address)
        if event & ADDR:
            if self.reads:
                self.rx_addressed()
            else:
                bench.read("SR2")
            bench.write("CR2", cr2 | ITBUFEN)
        if event & TXE and not self.reads:
            self.more()
        if event & RXNE and self.reads:
            if self.left == 1:
                self.change("CR2", off=ITBUFEN | ITEVTEN | ITERREN)
                self.fetch()
                self.done = True
            elif self.left in (2, 3):
                self.change("CR2", off=ITBUFEN)
            else:
                self.fetch()
        if event & BTF:
            if self.reads:
                self.rx_done()
            else:
                self.more()

    def more(self) -> None:
        if not self.left:
            self.terminate()
            return
        self.bench.write("DR", self.data[len(self.data) - self.left])
        self.left -= 1
        if not self.left:
            self.change("CR2", off=ITBUFEN)

    def terminate(self) -> None:
        self.change("CR2", off=ITBUFEN | ITEVTEN | ITERREN)
        self.change("CR1", STOP if self.last else START)
        self.done = True

    def fetch(self) -> None:
        self.data.append(self.bench.read("DR"))
        self.left -= 1

    def rx_addressed(self) -> None:
        if not self.left:
            self.terminate()
            self.bench.read("SR2")
        elif self.left == 1:
            self.change("CR1", off=ACK | POS)
            self.bench.read("SR2")
            self.change("CR1", STOP if self.last else START)
        else:
            self.change("CR1", *((POS, ACK) if self.left == 2 else (ACK, POS)))
            self.bench.read("SR2")

    def rx_done(self) -> None:
        if self.left == 2:
            self.change("CR1", STOP if self.last else START)
            self.fetch()
            self.fetch()
            self.change("CR2", off=ITEVTEN | ITERREN)
            self.done = True
        else:
            if self.left == 3:
                self.change("CR1", off=ACK)
            self.fetch()

    def error(self) -> None:
        status = self.bench.read("SR1")
        if status & AF and not self.reads:
            self.change("CR1", STOP)
        self.result = EAGAIN if status & ARLO else EIO
        self.bench.write("SR1", status & ~(AF | ARLO))
        self.change("CR2", off=ITBUFEN | ITEVTEN | ITERREN)
        self.done = True


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 33])
def test_bytes_are_moved_one_by_one(length):
    driver = Driver()
    sent = bytes(range(length))
    assert driver.transfer((RECORDER, sent)) == []
    assert driver.transfer((RECORDER, length)) == [pattern(0x30, 0, length)]
    first, second = driver.bench.flush()
    assert (first.data, first.ok, second.length, second.ok) == (sent, True, length, True)


@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_messages_are_joined_by_repeated_starts(length):
    driver = Driver()
    assert driver.transfer((REGISTERS, b"\x10" + bytes(range(length)))) == []
    assert driver.transfer((REGISTERS, b"\x10"), (REGISTERS, length), (RECORDER, 2)) == [
        bytes(range(length)), pattern(0x30, 0, 2),
    ]  # fmt: skip
    assert [record.length for record in driver.bench.flush()] == [length + 1, 1, length, 2]


@pytest.mark.parametrize(
    ("address", "fault"), [(NOBODY, None), (NAK_DATA, None), (RECORDER, "nak-0"), (RECORDER, "nak-2")]
)
def test_a_write_that_is_refused_ends_with_a_stop(address, fault):
    driver = Driver(fault)
    assert driver.transfer((address, b"abcd")) == EIO
    driver.bench.host.fail(None)
    assert driver.transfer((RECORDER, b"a")) == []


def test_a_read_that_is_refused_leaves_the_bus_busy():
    driver = Driver()
    assert driver.transfer((NOBODY, 4)) == EIO
    assert driver.transfer((RECORDER, 4)) == EBUSY
    for value in (0, 1):
        driver.bench.write("RESETS", value)
    driver.bench.write("CR1", PE)
    assert driver.transfer((RECORDER, 4)) == [pattern(0x30, 0, 4)]


def test_a_lost_arbitration_is_an_error():
    assert Driver("arbitration-lost").transfer((RECORDER, b"a")) == EAGAIN


def test_bytes_that_come_after_the_time_out_are_announced_all_the_same():
    driver = Driver()
    driver.bench.i2c.slaves[SLOW].stretch_ms = 2500
    assert driver.transfer((SLOW, 4)) == ETIMEDOUT
    assert not driver.bench.high
    driver.bench.run(1)
    assert driver.bench.high
    driver.event()
    assert driver.bench.read("SR1") & RXNE


def test_interrupts_can_be_masked_where_they_come_together():
    driver = Driver()
    driver.bench.write("CHANMASK", 2)
    driver.bench.write("CR2", ITEVTEN)
    driver.bench.write("CR1", PE | START)
    assert not driver.bench.high
    driver.bench.write("CHANMASK", 3)
    assert driver.bench.high
