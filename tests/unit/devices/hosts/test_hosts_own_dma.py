# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts with a DMA engine of their own, driven register by register as their drivers do."""

from __future__ import annotations

from struct import pack, unpack_from

import pytest
from host_bench import BUFFER, RING, Bench

from dmasafe.devices.slaves.recorder import pattern

RECORDER, REGISTERS, BLOCKS, NAK_DATA, SLOW, NOBODY = 0x30, 0x20, 0x40, 0x60, 0x68, 0x77


class IsmtDriver:
    """ismt_hw_init() and ismt_access() of i2c-ismt.c."""

    def __init__(self, fault: str | None = None) -> None:
        self.bench = Bench("ismt", fault)
        self.head = 0
        self.bench.write("MDBA", RING)
        self.bench.write("MCTRL", 0x10)
        self.bench.write("MDS", 1)

    def access(
        self, address: int, read: int, wr: int = 0, rd: int = 0, control: int = 0, wait: float = 0.01
    ) -> tuple[int, int]:
        """Status and received bytes of one descriptor."""
        at = RING + 16 * self.head
        self.bench.put(at, pack("<BBBBBBBBQ", address << 1 | read, wr, rd, control | 0x48, 0, 0, 0, 0, BUFFER))
        self.head = (self.head + 1) % 2
        self.bench.write("MCTRL", self.bench.read("MCTRL") & ~0xFF0000 | self.head << 16)
        self.bench.write("MCTRL", self.bench.read("MCTRL") | 1)
        self.bench.run(wait)
        status, _retry, received, _sent = unpack_from("<BBBB", self.bench.get(at + 4, 4))
        return status, received


CWRL, BLK, I2C = 0x01, 0x04, 0x20


def test_ismt_writes_what_is_in_the_buffer_and_interrupts():
    driver = IsmtDriver()
    driver.bench.put(BUFFER, bytes((0x10, 0xAB)))
    assert driver.access(REGISTERS, 0, wr=2) == (1, 0)
    assert driver.bench.irqs == [0]
    assert driver.access(REGISTERS, 1, wr=0x10, rd=1, control=CWRL) == (1, 1)
    assert driver.bench.get(BUFFER, 1) == b"\xab"
    first, second, third = driver.bench.flush()
    assert (first.data, first.segments) == (bytes((0x10, 0xAB)), ((BUFFER, 2, False, None),))
    assert (second.data, second.segments, third.data) == (b"\x10", (), b"\xab")
    assert third.segments == ((BUFFER, 1, False, None),)


def test_ismt_reads_the_count_of_a_block_beyond_the_length_that_is_mapped():
    driver = IsmtDriver()
    driver.bench.put(BUFFER, bytes((5, *range(32))))
    assert driver.access(BLOCKS, 0, wr=33, control=BLK) == (1, 0)
    assert driver.access(BLOCKS, 1, wr=5, rd=32, control=BLK | CWRL) == (1, 33)
    assert driver.bench.get(BUFFER, 33) == bytes((32, *range(32)))


def test_ismt_sends_quick_commands_and_bytes_from_the_descriptor():
    driver = IsmtDriver()
    assert driver.access(RECORDER, 0) == (1, 0)
    assert driver.access(RECORDER, 1)[0] == 1
    assert driver.access(RECORDER, 0, wr=0x55, control=CWRL) == (1, 0)
    assert [record.data for record in driver.bench.flush()] == [b"", b"", b"\x55"]


def test_ismt_says_who_did_not_acknowledge():
    driver = IsmtDriver()
    assert driver.access(NOBODY, 1, rd=1)[0] == 0x08
    assert driver.access(RECORDER, 1, rd=1)[0] == 1
    assert IsmtDriver("nak-0").access(RECORDER, 1, rd=1)[0] == 0x08
    assert IsmtDriver("arbitration-lost").access(RECORDER, 1, rd=1)[0] == 0x40


def test_ismt_goes_on_after_a_transaction_is_killed():
    driver = IsmtDriver()
    driver.bench.i2c.slaves[SLOW].stretch_ms = 3000
    assert driver.access(SLOW, 1, rd=1, wait=1.0)[0] == 0
    driver.bench.write("GCTRL", 0x08)
    driver.bench.run(5)
    assert not driver.bench.irqs
    assert driver.access(RECORDER, 1, rd=1) == (1, 1)


def test_ismt_loses_or_doubles_its_interrupt():
    lost, twice = IsmtDriver("interrupt-lost"), IsmtDriver("interrupt-twice")
    assert lost.access(RECORDER, 1, rd=1) == (1, 1) == twice.access(RECORDER, 1, rd=1)
    twice.bench.run(1)
    assert (lost.bench.irqs, twice.bench.irqs) == ([], [0, 0])


class Mt65xxDriver:
    """mtk_i2c_do_transfer() of i2c-mt65xx.c: one START for each message, or for a write and a read."""

    def __init__(self, fault: str | None = None) -> None:
        self.bench = Bench("mt65xx", fault)
        self.bench.write("INTR_MASK", 0)

    def message(self, address: int, write: bytes | None, read: int = 0, more: bool = False, wait: float = 0.01) -> int:
        """INTR_STAT afterwards. A ``write`` lies at BUFFER, what is read comes to RING."""
        bench = self.bench
        both = write is not None and bool(read)
        bench.write("CONTROL", 0x2C | (0x12 if both else 0))
        bench.write("SLAVE_ADDR", address << 1 | (write is None))
        bench.write("INTR_STAT", 0x1F)
        bench.write("INTR_MASK", 0x1F)
        bench.write("TRANSFER_LEN", read if write is None else len(write))
        bench.write("TRANSFER_LEN_AUX", read)
        if write is not None:
            bench.put(BUFFER, write)
            bench.write("TX_MEM_ADDR", BUFFER)
            bench.write("TX_LEN", len(write))
        bench.write("RX_MEM_ADDR", RING)
        bench.write("RX_LEN", read)
        bench.write("EN", 1)
        bench.write("START", 1 | 1 << 14 | more << 15)
        bench.run(wait)
        return bench.read("INTR_STAT")


def test_mt65xx_moves_messages_by_its_own_dma():
    driver = Mt65xxDriver()
    assert driver.message(RECORDER, b"abc", more=True) == 0x10
    assert driver.bench.high
    assert driver.message(RECORDER, None, 40) == 0x01
    assert driver.bench.get(RING, 40) == pattern(0x30, 0, 40)
    first, second = driver.bench.flush()
    assert (first.data, first.segments) == (b"abc", ((BUFFER, 3, False, None),))
    assert second.segments == ((RING, 40, False, None),)


def test_mt65xx_turns_round_within_one_start():
    driver = Mt65xxDriver()
    assert driver.message(REGISTERS, b"\x07\x99", 0) == 0x01
    assert driver.message(REGISTERS, b"\x07", 1) == 0x01
    assert driver.bench.get(RING, 1) == b"\x99"


@pytest.mark.parametrize(
    ("fault", "address"), [(None, NOBODY), ("nak-0", RECORDER), (None, NAK_DATA), ("nak-2", RECORDER)]
)
def test_mt65xx_tells_of_a_missing_acknowledgement_with_the_end(fault, address):
    assert Mt65xxDriver(fault).message(address, b"abc") == 0x03


def test_mt65xx_drops_the_message_under_way_when_it_is_reset_and_writes_late_when_not():
    for resets in (False, True):
        driver = Mt65xxDriver()
        driver.bench.i2c.slaves[SLOW].stretch_ms = 2500
        driver.message(SLOW, None, 8, wait=2)
        assert driver.bench.get(RING, 8) == bytes(8)
        if resets:
            driver.bench.write("RST", 2)
            driver.bench.write("SOFTRESET", 1)
        driver.bench.run(1)
        assert (driver.bench.get(RING, 8) == bytes(8)) == resets


@pytest.mark.parametrize("reset", [("SOFTRESET", 1), ("START", 0)])
def test_a_slave_may_let_go_in_the_moment_before_its_master_is_reset(reset):
    driver = Mt65xxDriver("last-moment")
    assert driver.message(RECORDER, None, 8, wait=2) == 0 and driver.bench.get(RING, 8) == bytes(8)
    driver.bench.write(*reset)
    assert driver.bench.get(RING, 8) == pattern(0x30, 0, 8)
    driver.bench.put(RING, bytes(8))
    driver.bench.write("SOFTRESET", 1)
    driver.bench.run(1)
    assert driver.bench.get(RING, 8) == bytes(8) and driver.bench.read("INTR_STAT") == 0
    driver.bench.host.fail(None)
    assert driver.message(RECORDER, None, 8) == 1


def test_mt65xx_interrupts_by_level():
    driver = Mt65xxDriver()
    driver.message(RECORDER, b"a")
    driver.bench.write("INTR_STAT", 0x1F)
    assert not driver.bench.high
    driver.bench.write("INTR_MASK", 0)
    driver.message(RECORDER, b"a")
    assert driver.bench.high


def test_hardware_that_is_early_writes_to_memory_after_its_interrupt():
    driver = Mt65xxDriver("interrupt-early")
    assert driver.message(RECORDER, None, 8) == 0x01
    assert driver.bench.get(RING, 8) == bytes(8)
    driver.bench.run(1)
    assert driver.bench.get(RING, 8) == pattern(0x30, 0, 8)


def test_hardware_may_write_once_more_when_its_driver_has_been_told():
    driver = Mt65xxDriver("writes-after")
    assert driver.message(RECORDER, None, 8) == 0x01
    assert driver.bench.get(RING, 8) == pattern(0x30, 0, 8)
    driver.bench.run(1)
    assert driver.bench.get(RING, 8) == bytes(octet ^ 0xFF for octet in pattern(0x30, 0, 8))


def test_a_stray_message_is_in_the_trace():
    driver = Mt65xxDriver()
    driver.bench.write("TX_4G_MODE", 0x10)
    driver.message(RECORDER, b"abc")
    (record,) = driver.bench.flush()
    assert (record.data, record.ok, record.segments[0].stray) == (b"\xff" * 3, False, True)


class AmdMp2Driver:
    """amd_mp2_rw() and the interrupt handler of i2c-amd-mp2-pci.c."""

    DATA = 0x10508

    def __init__(self, fault: str | None = None) -> None:
        self.bench = Bench("amd-mp2", fault)
        self.bar = self.bench.host.decoders[2]

    def command(self, what: int, address: int, length: int, data: bytes = b"", wait: float = 0.01) -> tuple[int, int]:
        """Response and status of the event that follows, (0, 0) if none does."""
        in_registers = length <= 32
        self.bar.write(self.DATA, data if in_registers else BUFFER.to_bytes(8, "little"))
        if not in_registers:
            self.bench.put(BUFFER, data)
        self.bench.write("C2P_MSG0", what | address << 8 | length << 16 | 1 << 28 | in_registers << 31)
        self.bench.run(wait)
        event = self.bench.read("P2C_MSG1")
        assert not event or (event >> 12 & 0xFFF, event >> 24) == (length, address)
        self.bench.write("P2C_MSG1", 0)
        return event & 3, event >> 2 & 0x1F


def test_amd_mp2_has_32_bytes_of_registers_and_dma_beyond():
    driver = AmdMp2Driver()
    assert driver.command(1, RECORDER, 32, bytes(range(32))) == (1, 2)
    assert driver.command(1, RECORDER, 33, bytes(range(33))) == (1, 2)
    assert driver.command(0, RECORDER, 32) == (1, 0)
    assert driver.bar.read(driver.DATA, 4) == pattern(0x30, 0, 4)
    assert driver.command(0, RECORDER, 40) == (1, 0)
    assert driver.bench.get(BUFFER, 40) == pattern(0x30, 1, 40)
    mapped = [record.segments for record in driver.bench.flush()]
    assert mapped == [(), ((BUFFER, 33, False, None),), (), ((BUFFER, 40, False, None),)]


def test_amd_mp2_enables_and_fails():
    driver = AmdMp2Driver()
    assert [driver.command(what, 0, 0) for what in (2, 3)] == [(1, 4), (1, 6)]
    assert [driver.command(what, NOBODY, 4, b"abcd") for what in (0, 1)] == [(2, 1), (2, 3)]


def test_amd_mp2_posts_an_event_when_the_last_one_was_taken():
    driver = AmdMp2Driver()
    driver.bench.i2c.slaves[SLOW].stretch_ms = 300
    assert driver.command(0, SLOW, 40, wait=0.25) == (0, 0)
    driver.bench.run(1)
    first = driver.bench.read("P2C_MSG1")
    driver.bench.write("C2P_MSG0", 2)
    driver.bench.run()
    assert driver.bench.read("P2C_MSG1") == first
    driver.bench.write("P2C_MSG1", 0)
    assert driver.bench.read("P2C_MSG1") & 0x7F == 1 | 4 << 2


def test_amd_mp2_is_enabled_though_nobody_took_that_it_was_disabled():
    driver = AmdMp2Driver()
    for command in (3, 2):
        driver.bench.write("C2P_MSG0", command)
        driver.bench.run()
    assert driver.bench.read("P2C_MSG1") & 0x7F == 1 | 4 << 2


def test_amd_mp2_answers_who_has_given_up_and_the_next_one_after_that():
    bench = AmdMp2Driver("slow").bench
    for command in (RECORDER << 8 | 32 << 16, RECORDER << 8 | 1 << 16):
        bench.write("C2P_MSG0", command | 1 << 28 | 1 << 31)
        bench.run(0.25)
    lengths = []
    for _ in range(2):
        lengths.append(bench.read("P2C_MSG1") >> 12 & 0xFFF)
        bench.write("P2C_MSG1", 0)
        bench.run(0.4)
    assert lengths == [32, 1]


class GeniDriver:
    """geni_i2c_rx_one_msg() and geni_i2c_tx_one_msg() of i2c-qcom-geni.c."""

    def __init__(self, fault: str | None = None) -> None:
        self.bench = Bench("qcom-geni", fault)
        for name, value in (("IRQ_EN", 0xF), ("M_IRQ_EN", 0x7E)):
            self.bench.write(name, value)

    def start(self, address: int, read: bool, length: int, dma: bool, last: bool) -> None:
        bench = self.bench
        bench.write("M_IRQ_CLEAR", 0xFFFFFFFF)
        bench.write("DMA_MODE_EN", dma)
        bench.write("M_IRQ_EN", 0x7E if dma else 0x4C00007F)
        bench.write("RX_TRANS_LEN" if read else "TX_TRANS_LEN", length)
        bench.write("M_CMD0", (2 if read else 1) << 27 | address << 9 | (not last) << 2)

    def by_dma(self, address: int, data: bytes | None, length: int, last: bool = True, wait: float = 0.01) -> int:
        """M_IRQ_STATUS afterwards."""
        way = "RX" if data is None else "TX"
        self.start(address, data is None, length, True, last)
        if data is not None:
            self.bench.put(BUFFER, data)
        self.bench.write(f"{way}_IRQ_EN_SET", 7)
        self.bench.write(f"{way}_PTR_L", BUFFER)
        self.bench.write(f"{way}_LEN", length)
        self.bench.run(wait)
        return self.bench.read("M_IRQ_STATUS")

    def by_fifo(self, address: int, data: bytes | None, length: int) -> tuple[int, bytes]:
        """M_IRQ_STATUS afterwards and what was read."""
        self.start(address, data is None, length, False, True)
        if data is not None:
            self.bench.write("TX_WATERMARK", 1)
            assert self.bench.high
            for at in range(0, len(data), 4):
                self.bench.write("TX_FIFO", int.from_bytes(data[at : at + 4], "little"))
        self.bench.run()
        words = self.bench.read("RX_FIFO_STATUS") & 0xFFFFFF
        got = b"".join(self.bench.read("RX_FIFO").to_bytes(4, "little") for _ in range(words))
        return self.bench.read("M_IRQ_STATUS"), got[:length]


def test_geni_moves_bytes_by_dma_and_by_fifo():
    driver = GeniDriver()
    assert driver.by_dma(RECORDER, bytes(range(40)), 40, last=False) & 0x7F == 1
    assert driver.bench.high
    assert driver.by_dma(RECORDER, None, 40) & 0x7F == 1
    assert driver.bench.get(BUFFER, 40) == pattern(0x30, 0, 40)
    assert driver.by_fifo(RECORDER, b"0123456789", 10)[0] & 0x7F == 1
    assert driver.by_fifo(RECORDER, None, 10) == (1 | 3 << 26, pattern(0x30, 1, 10))
    assert [record.data[:10] for record in driver.bench.flush()] == [
        bytes(range(10)), pattern(0x30, 0, 10), b"0123456789", pattern(0x30, 1, 10)
    ]  # fmt: skip


def test_geni_tells_an_address_from_data_that_was_not_acknowledged():
    driver = GeniDriver()
    assert driver.by_dma(NOBODY, b"abc", 3) == 1 << 10 | 1 << 3 | 1
    assert driver.bench.read("M_GP_LENGTH") == 0
    assert driver.by_dma(NAK_DATA, b"abc", 3) == 1 << 10 | 1 << 3 | 1
    assert driver.bench.read("M_GP_LENGTH") == 2
    assert GeniDriver("arbitration-lost").by_dma(RECORDER, b"abc", 3) == 1 << 13 | 1 << 3 | 1


def test_geni_goes_on_by_its_fifo_with_a_command_that_no_dma_came_for():
    """What the driver does where a buffer cannot be mapped."""
    driver = GeniDriver()
    driver.start(RECORDER, True, 10, True, True)
    driver.bench.run(1)
    assert not driver.bench.read("M_IRQ_STATUS")
    driver.bench.write("DMA_MODE_EN", 0)
    driver.bench.run()
    assert driver.bench.read("M_IRQ_STATUS") == 1 | 3 << 26
    assert driver.bench.read("RX_FIFO").to_bytes(4, "little") == pattern(0x30, 0, 4)


def test_geni_stops_when_it_is_told_to():
    driver = GeniDriver()
    driver.bench.i2c.slaves[SLOW].stretch_ms = 2500
    assert driver.by_dma(SLOW, None, 40, wait=1) == 0
    driver.bench.write("M_CMD_CTRL", 1 << 2)
    assert driver.bench.read("M_IRQ_STATUS") == 1 << 4 | 1
    driver.bench.write("RX_FSM_RST", 1)
    assert driver.bench.read("RX_IRQ_STAT") == 1 << 3
    driver.bench.run(5)
    assert driver.bench.get(BUFFER, 40) == bytes(40)
