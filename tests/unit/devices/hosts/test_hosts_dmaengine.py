# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts beside a DMA controller, driven as their drivers and a dmaengine provider do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from host_bench import BUFFER, RING, Bench

from dmasafe.devices.hosts.dmaengine import Channel
from dmasafe.devices.slaves.recorder import pattern

RECORDER, REGISTERS, BLOCKS, NAK_DATA, SLOW, NOBODY = 0x30, 0x20, 0x40, 0x60, 0x68, 0x77
DATA = bytes(range(100, 200)) * 4


class Driver:
    """What the drivers have in common: channels, and an interrupt handler that runs while the line is high."""

    name: str

    def __init__(self, fault: str | None = None) -> None:
        self.bench = Bench(self.name, fault)
        self.callback: Iterator[None] | None = None
        self.result: str | None = None
        self.probe()

    def probe(self) -> None:
        """The driver's own."""

    def interrupt(self) -> None:
        raise NotImplementedError

    def dma(self, way: str, address: int, length: int) -> None:
        """dmaengine_submit() and dma_async_issue_pending()."""
        channel: Channel = getattr(self.bench.host, way)
        bar = self.bench.host.decoders[0]
        for register, value in (("ADDRESS", address), ("LENGTH", length), ("CONTROL", 1)):
            found = next(r for r in channel.registers if r.name == register)
            bar.write(channel.base + found.offset, value.to_bytes(found.width, "little"))

    def through(self, way: str) -> bool:
        """The provider polls: whether the transfer is done."""
        channel: Channel = getattr(self.bench.host, way)
        done = channel.STATUS == 1
        if done:
            self.bench.host.decoders[0].write(channel.base + 0x10, b"\1\0\0\0")
        return done

    def polled(self) -> None:
        """What the DMA's callback does, if there is one."""

    def settle(self, seconds: float = 1.0) -> str:
        """Interrupts and time until the driver has a result."""
        deadline = self.bench.now + seconds
        while self.result is None and self.bench.now < deadline:
            self.bench.run(0.001)
            if self.bench.high:
                self.interrupt()
            self.polled()
        result, self.result = self.result, None
        return result or "time-out"

    def terminate(self) -> None:
        """dmaengine_terminate_sync()."""
        for channel in (self.bench.host.tx, self.bench.host.rx):
            self.bench.host.decoders[0].write(channel.base + 0x0C, bytes(4))

    def transfer(self, *messages: tuple[int, bytes | int], marked: bool = True) -> str:
        raise NotImplementedError


class RcarDriver(Driver):
    """i2c-rcar.c, generation 2."""

    name = "rcar"

    def transfer(self, *messages: tuple[int, bytes | int], marked: bool = True) -> str:
        self.messages, self.marked, self.number = messages, marked, 0
        self.got: list[bytearray] = [bytearray() for _ in messages]
        self.write = self.bench.write
        for name, value in (("ICMIER", 0), ("ICMCR", 0x80), ("ICMSR", 0)):
            self.write(name, value)
        self.repeated = self.nack = False
        self.direction = ""
        self.prepare()
        return self.settle()

    def prepare(self) -> None:
        address, payload = self.messages[self.number]
        read = isinstance(payload, int)
        rep_start, self.repeated, self.pos = not self.repeated, False, 0
        self.length = payload if isinstance(payload, int) else len(payload)
        self.write("ICMAR", address << 1 | read)
        self.write("ICMIER", 0x73 if read else 0x79)
        if rep_start:
            self.write("ICMCR", 0x89)

    def start_dma(self) -> bool:
        _address, payload = self.messages[self.number]
        if self.length < 8 or not self.marked:
            return False
        if isinstance(payload, int):
            self.dma("rx", RING, self.length - 2)
            self.direction, self.count = "rx", self.length - 2
            self.write("ICDMAER", 2)
        else:
            self.bench.put(BUFFER, payload[1:])
            self.dma("tx", BUFFER, self.length - 1)
            self.direction, self.count = "tx", self.length - 1
            self.write("ICDMAER", 1)
        return True

    def polled(self) -> None:
        if self.direction and self.through(self.direction):
            if self.direction == "rx":
                self.got[self.number] += self.bench.get(RING, self.count)
            self.pos += self.count
            self.direction = ""
            self.write("ICDMAER", 0)

    def interrupt(self) -> None:
        if not self.repeated:
            self.write("ICMCR", 0x88)
        msr = self.bench.read("ICMSR") & self.bench.read("ICMIER")
        if msr & 0x20:
            self.result = "lost"
        elif msr & 0x40:
            self.write("ICMIER", 0x10)
            self.nack = True
        elif msr & 0x10:
            self.result = "nak" if self.nack else "done"
            self.write("ICMIER", 0)
            self.write("ICMSR", 0)
        elif isinstance(self.messages[self.number][1], int):
            self.receive(msr)
        else:
            self.send(msr)

    def send(self, msr: int) -> None:
        assert msr & 8, "spurious irq"
        payload = self.messages[self.number][1]
        assert isinstance(payload, bytes)
        clear = 8 | msr & 1
        if self.pos == 1 and self.start_dma():
            return
        if self.pos < self.length:
            self.write("ICRXTX", payload[self.pos])
            self.pos += 1
        elif self.number == len(self.messages) - 1:
            self.write("ICMCR", 0x8A)
        else:
            self.number += 1
            self.prepare()
        self.write("ICMSR", ~clear & 0x7F)

    def receive(self, msr: int) -> None:
        if not msr & 2:
            return
        clear, last = 2 | msr & 1, self.number == len(self.messages) - 1
        if msr & 1:
            self.start_dma()
        elif self.pos < self.length:
            self.got[self.number].append(self.bench.read("ICRXTX"))
            self.pos += 1
        if self.pos + 1 == self.length:
            self.write("ICMCR", 0x8A if last else 0x89)
            self.repeated = self.repeated or not last
        if self.pos == self.length and not last:
            self.number += 1
            self.prepare()
        self.write("ICMSR", ~clear & 0x7F)


class Stm32f7Driver(Driver):
    """i2c-stm32f7.c with one interrupt line."""

    name = "stm32f7"

    def transfer(self, *messages: tuple[int, bytes | int], marked: bool = True) -> str:
        self.messages, self.marked, self.number = messages, marked, -1
        self.got = [bytearray() for _ in messages]
        self.bench.write("CR1", 1)
        self.nack = False
        self.next()
        return self.settle()

    def next(self) -> None:
        self.number += 1
        address, payload = self.messages[self.number]
        read = isinstance(payload, int)
        self.count = payload if isinstance(payload, int) else len(payload)
        self.pos = 0
        self.by_dma = self.marked and self.count >= 22
        cr2 = address << 1 | read << 10 | min(self.count, 255) << 16 | (self.count > 255) << 24 | 1 << 13
        cr1 = 1 | 1 << 7 | 1 << 6 | 1 << 5 | 1 << 4
        if self.by_dma:
            cr1 |= 1 << 15 if read else 1 << 14
            if not read:
                self.bench.put(BUFFER, payload)
            self.dma("rx" if read else "tx", RING if read else BUFFER, self.count)
        else:
            cr1 |= 1 << 2 if read else 1 << 1
        self.bench.write("CR1", cr1)
        self.bench.write("CR2", cr2)

    def interrupt(self) -> None:
        bench = self.bench
        status, payload = bench.read("ISR"), self.messages[self.number][1]
        if status & 1 << 9:
            bench.write("ICR", 1 << 9)
            self.result = "lost"
            return
        if status & 2 and bench.read("CR1") & 2:
            assert isinstance(payload, bytes)
            bench.write("TXDR", payload[self.pos])
            self.pos += 1
        if status & 4 and bench.read("CR1") & 4:
            self.got[self.number].append(bench.read("RXDR"))
            self.pos += 1
        if status & 1 << 4:
            bench.write("ICR", 1 << 4)
            self.nack = True
        if status & 1 << 7:
            self.count -= 255
            cr2 = bench.read("CR2") & ~(0xFF << 16) & ~(1 << 24)
            bench.write("CR2", cr2 | min(self.count, 255) << 16 | (self.count > 255) << 24)
        elif status & 1 << 6:
            if self.by_dma:
                assert self.through("rx" if isinstance(payload, int) else "tx")
                if isinstance(payload, int):
                    self.got[self.number] += bench.get(RING, payload)
            if self.number == len(self.messages) - 1:
                bench.write("CR2", bench.read("CR2") | 1 << 14)
            else:
                self.next()
        if status & 1 << 5:
            bench.write("CR1", 1)
            bench.write("ICR", 1 << 5)
            self.result = "nak" if self.nack else "done"


class ShMobileDriver(Driver):
    """i2c-sh_mobile.c. ``between_s`` passes between its asking for a stop and its clearing of WAIT.

    ``interrupts``: they come while it polls for the end.
    """

    name = "sh-mobile"
    between_s = 0.0
    interrupts = True

    def transfer(self, *messages: tuple[int, bytes | int], marked: bool = True) -> str:
        self.messages, self.marked, self.number = messages, marked, 0
        self.got = [bytearray() for _ in messages]
        for value in (0x01, 0x81):
            self.bench.write("ICCR", value)
        for self.number in range(len(messages)):
            outcome = self.one()
            if outcome != "done":
                break
        self.bench.write("ICCR", 0x01)
        return outcome

    def one(self) -> str:
        _address, payload = self.messages[self.number]
        self.length = payload if isinstance(payload, int) else len(payload)
        self.pos, self.sr, self.direction, self.stopped = -1, 0, "", False
        if self.marked and self.length >= 8:
            self.direction = "rx" if isinstance(payload, int) else "tx"
            if isinstance(payload, bytes):
                self.bench.put(BUFFER, payload)
            self.dma(self.direction, RING if isinstance(payload, int) else BUFFER, self.length)
        self.bench.write("ICIC", 0x0F)
        if not self.number:
            self.bench.write("ICCR", 0x94)
        if self.settle() == "time-out":
            return "time-out"
        last = self.number == len(self.messages) - 1
        bit, wanted = (0x10, 0) if last else (0x01, 0x01)
        deadline = self.bench.now + 0.01
        while (status := self.bench.read("ICSR")) & bit != wanted:
            assert self.bench.now < deadline, "poll_busy() or poll_dte()"
            self.bench.run(0.00001)
            if last and self.bench.high and self.interrupts:
                self.interrupt()
        self.sr |= status
        return "nak" if self.sr & 4 else "lost" if self.sr & 8 else "done"

    def polled(self) -> None:
        channel: Channel | None = getattr(self.bench.host, self.direction, None)
        failed = channel is not None and channel.STATUS == 2
        if self.direction and (failed or self.through(self.direction)):
            if self.direction == "rx" and not failed:
                self.got[self.number] += self.bench.get(RING, self.length)
            self.direction, self.pos, self.stopped = "", self.length, True
            self.bench.write("ICIC", self.bench.read("ICIC") & ~0x30)

    def interrupt(self) -> None:
        bench = self.bench
        sr = bench.read("ICSR")
        self.sr |= sr
        read = isinstance(self.messages[self.number][1], int)
        wakeup = False
        if self.direction == "tx" and self.pos == 0:
            bench.write("ICIC", bench.read("ICIC") | 0x20)
        elif sr & 0x0C:
            bench.write("ICSR", sr & ~0x0C)
        else:
            wakeup = self.receive() if read else self.send()
        if self.direction == "rx" and self.pos == 1:
            bench.write("ICIC", bench.read("ICIC") | 0x10)
        if sr & 2:
            if self.between_s:
                bench.run(self.between_s)
            bench.write("ICSR", sr & ~2)
        if wakeup:
            self.result = "done"

    def send(self) -> bool:
        address, payload = self.messages[self.number]
        assert isinstance(payload, bytes)
        if self.pos == self.length:
            self.bench.write("ICCR", 0x90 if self.number == len(self.messages) - 1 else 0x94)
            return True
        if self.pos == -1:
            self.bench.write("ICIC", 0x0E)
            self.bench.write("ICDR", address << 1)
        else:
            self.bench.write("ICDR", payload[self.pos])
        self.pos += 1
        return False

    def receive(self) -> bool:
        address, _length = self.messages[self.number]
        real, bench, got = self.pos - 2, self.bench, self.got[self.number]
        if self.pos == -1:
            bench.write("ICIC", 0x0E)
            bench.write("ICDR", address << 1 | 1)
        elif self.pos == 0:
            bench.write("ICCR", 0x81)
        elif self.pos == self.length:
            if self.stopped or real < 0:
                bench.write("ICIC", 0x0F)
                bench.write("ICCR", 0xC0)
                self.pos += self.stopped
            else:
                bench.write("ICIC", 0x0F)
                got.append(bench.read("ICDR"))
                bench.write("ICCR", 0xC0)
        elif real >= 0:
            got.append(bench.read("ICDR"))
        self.pos += 1
        return self.pos == self.length + 2


class At91Driver(Driver):
    """i2c-at91-master.c for the SAMA5D2. ``slow``: its processor takes a while from one access to the next."""

    name = "at91"
    slow = False

    def transfer(self, *messages: tuple[int, bytes | int], marked: bool = True) -> str:
        bench = self.bench
        self.got = [bytearray() for _ in messages]
        address, payload = messages[-1]
        inner = messages[0][1] if len(messages) == 2 else b""
        assert isinstance(inner, bytes)
        bench.write("IADR", int.from_bytes(inner, "big"))
        self.read = isinstance(payload, int)
        self.payload = payload
        self.left = payload if isinstance(payload, int) else len(payload)
        self.alt = 0 < self.left < 256
        bench.write("CR", 1 << 16 if self.alt else 1 << 17)
        if self.alt:
            bench.write("ACR", self.left | self.read << 8)
        bench.write("MMR", address << 16 | len(inner) << 8 | (self.read and not self.alt) << 12)
        bench.read("SR")
        self.status, self.way, self.pos = 0, "", 0
        by_dma = marked and self.left > 8
        if self.read:
            bench.write("CR", 1 | (2 if not self.alt and self.left <= 1 else 0))
            bench.write("IER", 1 << 8 if by_dma else 0x103)
            if by_dma:
                self.way, self.count = "rx", self.left - (0 if self.alt else 2)
                self.dma("rx", RING, self.count)
        elif by_dma:
            assert isinstance(payload, bytes)
            bench.write("IER", 1 << 8)
            bench.put(BUFFER, payload)
            self.way, self.count = "tx", self.left
            self.dma("tx", BUFFER, self.left)
        else:
            self.next_byte()
            bench.write("IER", 0x101 | (4 if self.left else 0))
        outcome = self.settle()
        if outcome == "time-out":
            bench.write("CR", 1 << 7)
        elif self.status & 1 << 8:
            self.terminate()
            bench.write("CR", 5 << 24)
            return "nak"
        return outcome

    def next_byte(self) -> None:
        if not self.left:
            return
        assert isinstance(self.payload, bytes)
        self.bench.host.decoders[0].write(0x34, self.payload[self.pos : self.pos + 1])
        self.pos += 1
        self.left -= 1
        if not self.left:
            if not self.alt:
                self.bench.write("CR", 2)
            self.bench.write("IDR", 4)

    def polled(self) -> None:
        if not self.way or not self.through(self.way):
            return
        if self.way == "rx":
            self.got[-1] += self.bench.get(RING, self.count)
            self.left = 0 if self.alt else 2
            self.bench.write("IER", 1 if self.alt else 3)
        else:
            self.bench.write("IER", 1)
            if not self.alt:
                self.bench.write("CR", 2)
        self.way = ""

    def interrupt(self) -> None:
        bench = self.bench
        status = bench.read("SR")
        pending = status & bench.read("IMR")
        if pending & 2:
            while True:
                byte = bench.host.decoders[0].read(0x30, 1)[0]
                if self.left:
                    self.got[-1].append(byte)
                    self.left -= 1
                    if self.slow:
                        bench.run()
                    if not self.alt and self.left == 1:
                        bench.write("CR", 2)
                if not bench.read("SR") & 2:
                    break
        if pending & 0x101:
            bench.write("IDR", 0xFFFF)
            self.result = "done"
        elif pending & 4:
            self.next_byte()
        self.status |= status


class ImxDriver(Driver):
    """i2c-imx.c as a state machine in its interrupt handler, and its DMA."""

    name = "imx"

    def transfer(self, *messages: tuple[int, bytes | int], marked: bool = True) -> str:
        bench = self.bench
        self.got = [bytearray() for _ in messages]
        bench.write("I2SR", 0)
        bench.write("I2CR", 0x80)
        bench.write("I2CR", 0xA0)
        assert bench.read("I2SR") & 0x20
        bench.write("I2CR", 0xF8)
        outcome = "done"
        for number, (address, payload) in enumerate(messages):
            if number:
                bench.write("I2CR", bench.read("I2CR") | 0x04)
            last = number == len(messages) - 1
            size = payload if isinstance(payload, int) else len(payload)
            steps = self.read if isinstance(payload, int) else self.send
            self.steps = steps(number, address, payload, last, marked and size >= 16)
            outcome = self.go()
            if outcome != "done":
                break
        bench.write("I2CR", bench.read("I2CR") & ~0x32)
        assert not bench.read("I2SR") & 0x20
        bench.write("I2CR", 0)
        return outcome

    def go(self) -> str:
        for wanted in self.steps:
            if wanted == "interrupt":
                self.waiting = True
                if self.settle() == "time-out":
                    return "time-out"
                if self.bench.read("I2SR") & 1:
                    return "nak"
            else:
                self.bench.run(0.002)
                if not self.through(wanted):
                    return "time-out"
        return "done"

    def interrupt(self) -> None:
        assert self.bench.read("I2SR") & 2
        self.bench.write("I2SR", ~2 & 0x90)
        self.result = "through"

    def send(self, number: int, address: int, payload: bytes, last: bool, by_dma: bool) -> Iterator[str]:
        bench = self.bench
        sent = payload
        if by_dma:
            bench.put(BUFFER, payload)
            self.dma("tx", BUFFER, len(payload) - 1)
            bench.write("I2CR", bench.read("I2CR") | 2)
            bench.write("I2DR", address << 1)
            yield "tx"
            bench.write("I2CR", bench.read("I2CR") & ~2)
            sent = payload[-1:]
        else:
            bench.write("I2DR", address << 1)
            yield "interrupt"
        for byte in sent:
            bench.write("I2DR", byte)
            yield "interrupt"

    def read(self, number: int, address: int, length: int, last: bool, by_dma: bool) -> Iterator[str]:
        bench, got = self.bench, self.got[number]
        bench.write("I2DR", address << 1 | 1)
        yield "interrupt"
        control = bench.read("I2CR") & ~0x10
        if length > 1:
            control &= ~8
        bench.write("I2CR", control | (2 if by_dma else 0))
        bench.read("I2DR")
        if by_dma:
            self.dma("rx", RING, length - 2)
            yield "rx"
            got += bench.get(RING, length - 2)
            bench.write("I2CR", bench.read("I2CR") & ~2)
        while len(got) < length:
            if not by_dma or len(got) == length - 1:
                yield "interrupt"
            by_dma = by_dma and len(got) < length - 1
            if len(got) == length - 1:
                control = bench.read("I2CR")
                bench.write("I2CR", control & ~0x30 if last else control | 0x10)
            elif len(got) == length - 2:
                bench.write("I2CR", bench.read("I2CR") | 8)
            got.append(bench.read("I2DR"))


class Lpi2cDriver(Driver):
    """i2c-imx-lpi2c.c."""

    name = "imx-lpi2c"

    def transfer(self, *messages: tuple[int, bytes | int], marked: bool = True) -> str:
        bench = self.bench
        self.got = [bytearray() for _ in messages]
        for value in (2, 0, 1):
            bench.write("MCR", value)
        outcome = "done"
        for number, (address, payload) in enumerate(messages):
            read = isinstance(payload, int)
            bench.write("MCR", bench.read("MCR") | 0x300)
            bench.write("MSR", 0x7F00)
            bench.write("MTDR", address << 1 | read | 4 << 8)
            if bench.read("MSR") & 1 << 11:
                return "lost"
            self.way, self.number = "", number
            self.payload, self.pos = payload, 0
            self.length = payload if isinstance(payload, int) else len(payload)
            by_dma = marked and self.length >= 8
            (self.by_dma if by_dma else self.by_hand)()
            outcome = self.settle(4)
            bench.write("MDER", 0)
            # lpi2c_imx_txfifo_empty()
            while not read and bench.read("MFSR") & 0xFF and not bench.read("MSR") & 1 << 10:
                bench.run(0.001)
            if outcome != "done" or bench.read("MSR") & 1 << 10:
                break
        bench.write("MTDR", 2 << 8)
        nack = bench.read("MSR") & 1 << 10
        bench.write("MCR", 0)
        return "nak" if nack else outcome

    def by_dma(self) -> None:
        bench = self.bench
        bench.write("MFCR", 8 | 7 << 16)
        if isinstance(self.payload, int):
            words = (self.length + 255) // 256
            lengths = [min(256, self.length - 256 * number) for number in range(words)]
            bench.put(BUFFER, b"".join((length - 1 | 1 << 8).to_bytes(2, "little") for length in lengths))
            bench.write("MDER", 3)
            bench.write("MIER", 1 << 10)
            self.dma("rx", RING, self.length)
            self.dma("tx", BUFFER, 2 * words)
            self.way = "rx"
        else:
            bench.put(BUFFER, self.payload)
            bench.write("MDER", 1)
            bench.write("MIER", 1 << 10)
            self.dma("tx", BUFFER, self.length)
            self.way = "tx"

    def polled(self) -> None:
        if self.way and self.through(self.way):
            if self.way == "rx":
                self.got[self.number] += self.bench.get(RING, self.length)
            self.way, self.result = "", "done"

    def by_hand(self) -> None:
        if isinstance(self.payload, int):
            self.watermark()
            self.bench.write("MTDR", min(256, self.length) - 1 | 1 << 8)
            self.bench.write("MIER", 2 | 1 << 10)
        else:
            self.bench.write("MFCR", 8)
            self.fill()

    def watermark(self) -> None:
        self.bench.write("MFCR", (8 if self.length - self.pos > 8 else 0) << 16)

    def fill(self) -> None:
        assert isinstance(self.payload, bytes)
        room = 16 - (self.bench.read("MFSR") & 0xFF)
        for byte in self.payload[self.pos : self.pos + room]:
            self.bench.write("MTDR", byte)
            self.pos += 1
        if self.pos < self.length:
            self.bench.write("MIER", 1 | 1 << 10)
        else:
            self.bench.run(0.001)
            self.result = "done"

    def interrupt(self) -> None:
        bench = self.bench
        enabled = bench.read("MIER")
        bench.write("MIER", 0)
        status = bench.read("MSR") & enabled
        if status & 1 << 10:
            self.result = "nak"
        elif status & 2:
            while not (data := bench.read("MRDR")) & 1 << 14:
                self.got[self.number].append(data & 0xFF)
                self.pos += 1
            if self.pos == self.length:
                self.result = "done"
                return
            self.watermark()
            if not self.pos & 0xFF:
                bench.write("MTDR", min(256, self.length - self.pos) - 1 | 1 << 8)
            bench.write("MIER", 2)
        elif status & 1:
            self.fill()


DRIVERS = [RcarDriver, Stm32f7Driver, ShMobileDriver, At91Driver, ImxDriver, Lpi2cDriver]
each_driver = pytest.mark.parametrize("make", DRIVERS, ids=lambda make: make.name)


@each_driver
@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 16, 22, 40, 300])
@pytest.mark.parametrize("marked", [True, False])
def test_what_a_driver_sends_and_receives_is_what_the_slave_has(make, length, marked):
    driver = make()
    assert driver.transfer((RECORDER, DATA[:length]), marked=marked) == "done"
    assert driver.transfer((RECORDER, length), marked=marked) == "done"
    assert driver.got == [pattern(0x30, 0, length)]
    sent, received = driver.bench.flush()
    assert (sent.data, sent.read, sent.ok) == (DATA[:length], False, True)
    assert (received.data, received.read, received.ok) == (pattern(0x30, 0, length), True, True)


@each_driver
def test_dma_is_in_the_record_of_its_message(make):
    driver = make()
    driver.transfer((RECORDER, DATA[:32]))
    driver.transfer((RECORDER, 32))
    driver.transfer((RECORDER, DATA[:32]))
    sent, received, again = driver.bench.flush()
    assert sent.segments[0].address == BUFFER
    assert received.segments[0].address == RING
    assert sent.segments[0].length >= 30 <= received.segments[0].length
    # What a read's commands were fetched from is no payload, and not the next message's.
    assert again.segments == sent.segments


@each_driver
@pytest.mark.parametrize("marked", [True, False])
def test_a_repeated_start_lies_between_a_write_and_a_read(make, marked):
    driver = make()
    assert driver.transfer((REGISTERS, b"\x10" + DATA[:20]), marked=marked) == "done"
    assert driver.transfer((REGISTERS, b"\x10"), (REGISTERS, 20), marked=marked) == "done"
    assert driver.got[1] == DATA[:20]


@each_driver
@pytest.mark.parametrize("payload", [b"ab", 2, DATA[:40], 40])
def test_nobody_answers(make, payload):
    driver = make()
    outcome = driver.transfer((NOBODY, payload))
    # imx waits for its DMA, which never starts.
    assert outcome == ("time-out" if make is ImxDriver and payload == DATA[:40] else "nak")
    assert driver.transfer((RECORDER, 3)) == "done"


@each_driver
@pytest.mark.parametrize("length", [3, 40])
def test_a_data_byte_is_refused(make, length):
    driver = make()
    # Two of i2c-imx' 39 bytes by DMA are taken; the driver never hears of it.
    outcome = driver.transfer((NAK_DATA, DATA[:length]))
    assert outcome == ("time-out" if make is ImxDriver and length == 40 else "nak")
    # Its record does not wait for the next message.
    assert [record.ok for record in driver.bench.flush()] == [False]
    assert driver.transfer((RECORDER, 3)) == "done"


@pytest.mark.parametrize("length", [3, 40])
def test_sh_mobile_hears_of_a_refused_byte_on_a_slow_machine(length):
    driver = ShMobileDriver()
    driver.between_s = 0.001
    assert driver.transfer((NAK_DATA, DATA[:length])) == "nak"
    assert driver.transfer((RECORDER, 3)) == "done"


def test_stm32f7_hears_of_a_refused_last_byte_after_the_end_of_its_dma():
    bench = Stm32f7Driver("nak-32").bench
    bench.put(BUFFER, DATA[:32])
    bench.write("CR1", 1 | 1 << 4 | 1 << 14)
    driver = Stm32f7Driver("nak-32")
    driver.bench = bench
    driver.dma("tx", BUFFER, 32)
    bench.write("CR2", RECORDER << 1 | 32 << 16 | 1 << 25 | 1 << 13)
    bench.run(0.005)
    assert bench.read("ISR") & 1 << 4 == 0 and not bench.host.tx.ready
    bench.run(0.02)
    assert bench.read("ISR") & (1 << 4 | 1 << 5) == 1 << 4 | 1 << 5


@each_driver
def test_a_slave_holds_the_clock(make):
    driver = make()
    driver.bench.i2c.slaves[SLOW].stretch_ms = 60
    assert driver.transfer((SLOW, 10)) == "done"
    driver.bench.i2c.slaves[SLOW].stretch_ms = 3500
    assert driver.transfer((SLOW, 10)) in ("time-out", "done")


def test_the_engine_fails_when_it_is_told_to():
    driver = RcarDriver("dma-error")
    assert driver.transfer((RECORDER, DATA[:32])) == "time-out"
    assert driver.bench.host.tx.STATUS == 2


def test_the_engine_fails_when_the_transfer_is_asked_for():
    driver = ShMobileDriver("dma-error")
    driver.dma("tx", BUFFER, 32)
    driver.bench.run()
    assert driver.bench.host.tx.STATUS == 0
    assert driver.transfer((RECORDER, DATA[:32])) == "done"
    assert driver.bench.host.tx.STATUS == 2 and driver.got == [b""]
    (sent,) = driver.bench.flush()
    assert sent.data == b""


def test_sh_mobile_has_a_byte_for_an_interrupt_after_the_end_if_its_engine_failed():
    driver = ShMobileDriver("dma-error")
    assert driver.transfer((RECORDER, 32)) == "done"
    # The driver writes it behind the buffer (395).
    assert driver.pos == driver.length + 3 and len(driver.got[0]) == 1
    driver.interrupts = False
    assert driver.transfer((RECORDER, 32)) == "done" and driver.got == [b""]
    driver.bench.host.fail(None)
    driver.interrupts = True
    assert driver.transfer((RECORDER, 32)) == "done"
    assert driver.pos == driver.length + 2 and len(driver.got[0]) == 32


@pytest.mark.parametrize("slow", [False, True])
def test_at91_ends_a_read_with_the_byte_that_comes_while_it_is_told_to_stop(slow):
    driver = At91Driver()
    driver.slow = slow
    assert driver.transfer((RECORDER, 300)) == "done"
    (received,) = driver.bench.flush()
    assert driver.got[-1] == received.data == pattern(0x30, 0, 300)


def test_at91_tells_of_a_lost_arbitration_in_a_bit_that_its_driver_does_not_know():
    driver = At91Driver("arbitration-lost")
    assert driver.transfer((RECORDER, b"ab")) == "done"
    assert driver.status & (1 << 9 | 1) == 1 << 9 | 1
    # DMA was never asked for a byte.
    assert At91Driver("arbitration-lost").transfer((RECORDER, DATA[:20])) == "time-out"
