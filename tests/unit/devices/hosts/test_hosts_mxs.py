# SPDX-License-Identifier: GPL-2.0-or-later
"""The i.MX28's controller and its DMA engine, driven as i2c-mxs.c and mxs-dma.c do."""

from __future__ import annotations

from errno import EIO, ENXIO
from struct import pack

import pytest
from host_bench import BUFFER, RING, Bench

from dmasafe.devices.slaves.recorder import pattern

RECORDER, REGISTERS, NAK_DATA, SLOW, NOBODY = 0x30, 0x20, 0x60, 0x68, 0x77
SFTRST, CLKGATE, RUN = 1 << 31, 1 << 30, 1 << 29
RETAIN, STOP, START, MASTER, SENDS, NAK_LAST = 1 << 21, 1 << 20, 1 << 19, 1 << 17, 1 << 16, 1 << 25
NAK_IRQ, LOSS_IRQ, MASK = 0x20, 0x04, 0x6F
CLR_NAK, GOT_A_NAK = 1 << 28, 1 << 28
SELECT, WRITE, READ = RETAIN | START | MASTER | SENDS | 1, START | MASTER | SENDS, NAK_LAST | MASTER
CHAIN, IRQ, DEC_SEM, WAIT4END, HALT, FLUSH = 1 << 2, 1 << 3, 1 << 6, 1 << 7, 1 << 8, 1 << 9
NO_XFER, TO_MEMORY, FROM_MEMORY = 0, 1, 2
CHAINED, ADDRESS, COMMAND_BYTES = 0x4000, 0x5000, 76


class Driver:
    """mxs_i2c_pio_setup_xfer(), mxs_i2c_dma_setup_xfer(), mxs_dma_prep_slave_sg() and the two handlers."""

    def __init__(self, fault: str | None = None) -> None:
        self.bench = Bench("mxs", fault)
        self.bench.write("CHANMASK", 3)
        for register in ("CTRL0", "APBX_CTRL0"):
            self.reset_block(register)
        self.bench.write("APBX_CTRL1_SET", 0xFFFF0000)
        self.bench.write("CTRL1_SET", MASK << 8)
        self.commands: list[list[int]] = []

    def reset_block(self, register: str) -> None:
        """stmp_reset_block()"""
        bench = self.bench
        bench.write(f"{register}_CLR", SFTRST)
        assert not bench.read(register) & SFTRST
        bench.write(f"{register}_CLR", CLKGATE)
        bench.write(f"{register}_SET", SFTRST)
        assert bench.read(register) & CLKGATE
        bench.write(f"{register}_CLR", SFTRST)
        bench.write(f"{register}_CLR", CLKGATE)
        assert not bench.read(register) & (SFTRST | CLKGATE)

    # PIO

    def wait(self) -> int:
        for _ in range(200):
            if not self.bench.read("CTRL0") & RUN:
                return 0
            if self.bench.read("CTRL1") & NAK_IRQ:
                return ENXIO
            self.bench.run(0.005)
        raise AssertionError("it runs and runs")

    def trigger(self, command: int, data: int) -> int:
        self.bench.write("CTRL0", command)
        self.bench.write("DATA", data)
        self.bench.write("CTRL0_SET", RUN)
        return self.wait()

    def pio(self, address: int, message: bytes | int, stop: bool = True) -> int | bytes:
        """An errno, or what was read."""
        bench, result, data = self.bench, 0, b""
        bench.write("CTRL1_CLR", MASK << 8)
        if isinstance(message, int):
            result = self.trigger(SELECT, address << 1 | 1)
            if not result:
                bench.write("CTRL0", READ | (STOP if stop else 0) | message)
                bench.write("CTRL0", bench.read("CTRL0") | RUN)
                result = self.wait()
                data = bench.read("DATA").to_bytes(4, "little")[:message]
        else:
            rest, flags = bytes((address << 1,)) + message, START | (RETAIN if len(message) > 3 else 0)
            while rest and not result:
                part, rest = rest[:4], rest[4:]
                flags = flags if rest else (flags & ~RETAIN) | (STOP if stop else 0)
                bench.write("DEBUG0_CLR", 1 << 31)
                result = self.trigger(flags | MASTER | SENDS | len(part), int.from_bytes(part, "little"))
                flags &= ~START
                if bench.read("STAT") & GOT_A_NAK:
                    result = ENXIO
        if not result and bench.read("CTRL1_CLR") & (NAK_IRQ | LOSS_IRQ):
            result = EIO
        bench.write("CTRL1_CLR", MASK)
        bench.write("CTRL1_SET", MASK << 8)
        if result == ENXIO:
            bench.write("CTRL1_SET", CLR_NAK)
        return result or data

    # DMA

    def prepare(self, kind: int, pieces: list[tuple[int, int]], words: tuple[int, ...] = (), end: bool = False) -> None:
        """mxs_dma_prep_slave_sg(), which appends to what is there."""
        if self.commands:
            self.commands[-1][0] = CHAINED + COMMAND_BYTES * len(self.commands)
            self.commands[-1][1] = (self.commands[-1][1] | CHAIN) & ~(IRQ | DEC_SEM)
        for number, (address, length) in enumerate(pieces or [(0, 0)]):
            bits = HALT | FLUSH | kind | len(words) << 12
            if number == len(pieces or [0]) - 1:
                bits |= IRQ | DEC_SEM | (WAIT4END if end else 0)
            else:
                bits |= CHAIN
            following = CHAINED + COMMAND_BYTES * (len(self.commands) + 1)
            self.commands.append([following, bits, length, address, *words])

    def start(self) -> None:
        for number, (following, bits, length, address, *words) in enumerate(self.commands):
            block = pack("<IHHI", following, bits, length, address) + b"".join(pack("<I", word) for word in words)
            self.bench.put(CHAINED + COMMAND_BYTES * number, block)
        self.bench.write("NXTCMDAR", CHAINED)
        self.bench.write("SEMA", 1)

    def dma(self, address: int, message: bytes | int, wait: float = 0.9, stop: bool = True) -> tuple[int | None, int]:
        """What its handler makes of the engine's interrupt (None: there was none; 1, 2: an error), and an errno."""
        flags = STOP if stop else 0
        self.bench.put(ADDRESS, bytes((address << 1 | isinstance(message, int),)))
        if isinstance(message, int):
            self.prepare(NO_XFER, [], (SELECT,))
            self.prepare(FROM_MEMORY, [(ADDRESS, 1)], end=True)
            self.prepare(NO_XFER, [], (READ | flags | message,))
            self.prepare(TO_MEMORY, [(RING, message)], end=True)
        else:
            self.bench.put(BUFFER, message)
            self.prepare(NO_XFER, [], (WRITE | flags | len(message) + 1,))
            self.prepare(FROM_MEMORY, [(ADDRESS, 1), (BUFFER, len(message))], end=True)
        self.start()
        return self.interrupts(wait)

    def interrupts(self, wait: float) -> tuple[int | None, int]:
        bench, error = self.bench, 0
        for _ in range(100):
            bench.run(wait / 100)
            pending = bench.read("CHANSTATUS")
            if pending & 1:
                status = bench.read("CTRL1") & MASK
                error = ENXIO if status & NAK_IRQ else EIO if status & LOSS_IRQ else error
                bench.write("CTRL1_CLR", status)
            if pending & 2:
                completed = bench.read("APBX_CTRL1") & 1
                bench.write("APBX_CTRL1_CLR", 1)
                errors = bench.read("APBX_CTRL2")
                bench.write("APBX_CTRL2_CLR", 1 | 1 << 16)
                bad = (errors >> 16 & 1) + (errors & 1)
                bad -= bad & completed
                if bad:
                    bench.write("CHANNEL_CTRL_SET", 1 << 16)
                self.commands = []
                if error == ENXIO:
                    bench.write("CTRL1_SET", CLR_NAK)
                return bad, error
        return None, error


@pytest.mark.parametrize("length", [1, 2, 3, 4, 6])
def test_the_processor_moves_short_messages(length):
    driver = Driver()
    sent = bytes(range(length))
    assert driver.pio(RECORDER, sent) == b""
    assert driver.pio(RECORDER, min(4, length)) == pattern(0x30, 0, min(4, length))
    first, second = driver.bench.flush()
    assert (first.data, first.segments, second.length, second.segments) == (sent, (), min(4, length), ())


def test_messages_without_a_stop_are_joined():
    driver = Driver()
    assert driver.pio(REGISTERS, b"\x07\x99") == b""
    assert driver.pio(REGISTERS, b"\x07", stop=False) == b""
    assert driver.pio(REGISTERS, 1) == b"\x99"


@pytest.mark.parametrize(
    ("address", "fault"), [(NOBODY, None), (NAK_DATA, None), (RECORDER, "nak-0"), (RECORDER, "nak-2")]
)
def test_a_refusal_holds_the_controller_until_it_is_told(address, fault):
    driver = Driver(fault)
    assert driver.pio(address, b"abc") == ENXIO
    assert driver.dma(address, b"abcdefgh") == (1, ENXIO)
    driver.bench.host.fail(None)
    assert driver.pio(RECORDER, b"a") == b""


@pytest.mark.parametrize("length", [7, 32, 300])
def test_the_engine_moves_long_messages(length):
    driver = Driver()
    sent = bytes(n & 0xFF for n in range(length))
    assert driver.dma(RECORDER, sent) == (0, 0)
    assert driver.dma(RECORDER, length) == (0, 0)
    assert driver.bench.get(RING, length) == pattern(0x30, 0, length)
    first, second = driver.bench.flush()
    assert (first.data, first.segments) == (sent, ((BUFFER, length, False, None),))
    assert (second.length, second.segments) == (length, ((RING, length, False, None),))
    assert [header.length for header in first.headers] == [12, 4, 12, 1, 12]


def test_a_lost_arbitration_and_a_bus_error_end_the_engine():
    assert Driver("arbitration-lost").dma(RECORDER, bytes(8)) == (1, EIO)
    assert Driver("dma-error").dma(RECORDER, 8) == (2, 0)


def test_after_a_reset_in_mid_message_only_that_of_the_channel_helps():
    driver = Driver()
    driver.bench.i2c.slaves[SLOW].stretch_ms = 1500
    assert driver.dma(SLOW, 8) == (None, 0)
    driver.reset_block("CTRL0")
    driver.bench.write("CTRL1_SET", MASK << 8)
    driver.bench.i2c.slaves[SLOW].stretch_ms = 0
    assert driver.dma(RECORDER, 8) == (None, 0)
    assert driver.bench.get(RING, 8) == bytes(8)
    driver.bench.write("CHANNEL_CTRL_SET", 1 << 16)
    driver.commands = []
    assert driver.dma(RECORDER, 8) == (0, 0)


def test_what_comes_late_is_still_stored():
    driver = Driver("late")
    assert driver.dma(RECORDER, 8) == (None, 0)
    driver.bench.run(2)
    assert driver.bench.get(RING, 8) == pattern(0x30, 0, 8)
