# SPDX-License-Identifier: GPL-2.0-or-later
"""Each slave behaves as the chip or protocol that it stands for."""

from __future__ import annotations

import pytest

from dmasafe.devices.bus import Bus, Nak
from dmasafe.devices.slaves.eeprom import Eeprom
from dmasafe.devices.slaves.max31722 import Max31722
from dmasafe.devices.slaves.nak import NakSlave
from dmasafe.devices.slaves.recorder import Message, Recorder, pattern
from dmasafe.devices.slaves.register_file import RegisterFile
from dmasafe.devices.slaves.slow import SlowSlave
from dmasafe.devices.slaves.smbus_block import SmbusBlockSlave, crc8


def put(bus: Bus, address: int, data: bytes) -> bool:
    return bus.transfer(address, False, data).ok


def get(bus: Bus, address: int, written: bytes, length: int) -> bytes:
    """Write, repeated start, read."""
    assert bus.transfer(address, False, written, last=False).ok
    return bus.transfer(address, True, length).data


# Register file


def test_registers_are_written_and_read_from_the_pointer_on() -> None:
    bus = Bus({0x20: RegisterFile()})
    assert put(bus, 0x20, b"\x10\xaa\xbb")
    assert get(bus, 0x20, b"\x10", 3) == b"\xaa\xbb\x12"
    assert bus.transfer(0x20, True, 1).data == b"\x13", "the pointer stays where the read left it"


def test_the_register_pointer_wraps() -> None:
    bus = Bus({0x20: RegisterFile()})
    put(bus, 0x20, b"\xff\x01\x02")
    assert get(bus, 0x20, b"\xff", 3) == b"\x01\x02\x01"
    assert len(get(bus, 0x20, b"\x00", 600)) == 600


# Recorder


def test_the_recorder_keeps_every_message_byte_for_byte() -> None:
    slave = Recorder()
    bus = Bus({0x30: slave})
    data = bytes(range(256)) * 32
    put(bus, 0x30, data)
    put(bus, 0x30, b"")
    read = bus.transfer(0x30, True, 8192).data
    assert list(slave.messages) == [Message(False, data), Message(False, b""), Message(True, read)]


def test_the_recorder_never_grows_without_bound() -> None:
    slave = Recorder(keep_bytes=100, keep_messages=10)
    for number in range(50):
        slave.write(bytes([number]) * 30)
    assert [m.data[0] for m in slave.messages] == [47, 48, 49]
    for _ in range(50):
        slave.write(b"")
    assert len(slave.messages) == 10
    assert slave.dropped == 90


@pytest.mark.parametrize("length", [1, 2, 8, 32, 256, 8192])
def test_each_read_of_the_recorder_differs_and_can_be_foretold(length: int) -> None:
    slave = Recorder(seed=7)
    reads = [slave.read(length) for _ in range(200)]
    assert len(set(reads)) == 200
    assert reads == [pattern(7, number, length) for number in range(200)]
    assert {len(read) for read in reads} == {length}
    assert pattern(8, 0, length) != reads[0]


def test_a_read_of_the_recorder_does_not_repeat_itself() -> None:
    data = pattern(0x30, 3, 8192)
    pieces = {data[at : at + 8] for at in range(0, 8192, 8)}
    assert len(pieces) == 1024, "a shifted or repeated transfer could go unnoticed"


# EEPROM


def test_an_eeprom_write_wraps_within_its_page() -> None:
    slave = Eeprom.c02()
    assert put(Bus({0x50: slave}), 0x50, b"\x06" + b"abcd")
    assert bytes(slave.memory[:10]) == b"cd\xff\xff\xff\xffab\xff\xff"


def test_of_more_than_a_page_the_last_bytes_stay() -> None:
    slave = Eeprom.c02()
    put(Bus({0x50: slave}), 0x50, b"\x08" + b"0123456789")
    assert bytes(slave.memory[8:16]) == b"89234567"


def test_an_eeprom_read_wraps_over_the_whole_memory() -> None:
    slave = Eeprom.c02()
    slave.memory[:] = bytes(range(256))
    bus = Bus({0x50: slave})
    assert get(bus, 0x50, b"\xfe", 4) == b"\xfe\xff\x00\x01"
    assert bus.transfer(0x50, True, 1).data == b"\x02"


def test_a_large_eeprom_takes_two_address_bytes_and_pages_of_32() -> None:
    slave = Eeprom.c32()
    bus = Bus({0x51: slave})
    put(bus, 0x51, b"\x01\x1e" + b"abc")
    assert bytes(slave.memory[0x11E:0x120]) == b"ab"
    assert slave.memory[0x100] == ord("c")
    assert get(bus, 0x51, b"\x11\x1e", 2) == b"ab", "the address is taken modulo 4096"


def test_an_eeprom_write_counts_only_after_its_stop() -> None:
    slave = Eeprom.c02()
    bus = Bus({0x50: slave})
    bus.transfer(0x50, False, b"\x00xy", last=False)
    bus.transfer(0x50, True, 1)
    assert bytes(slave.memory[:2]) == b"\xff\xff"


# The slave that refuses


def test_the_refusing_slave_takes_one_byte() -> None:
    bus = Bus({0x60: NakSlave()})
    assert put(bus, 0x60, b"") and put(bus, 0x60, b"a")
    assert bus.transfer(0x60, False, b"abc")[:2] == (Nak.DATA, b"ab")
    assert bus.transfer(0x60, True, 2).ok


# The slow slave


def test_the_slow_slave_says_how_long_it_takes_and_can_be_told_so_over_the_bus() -> None:
    slave = SlowSlave(stretch_ms=1500)
    bus = Bus({0x68: slave})
    assert bus.transfer(0x68, False, b"\x00\x2a\x01").delay_s == 1.5
    assert bus.transfer(0x68, True, 1).delay_s == pytest.approx(0.298)
    slave.stretch_ms = 0
    assert bus.transfer(0x68, True, 1).delay_s == 0


# SMBus


@pytest.fixture
def smbus() -> Bus:
    return Bus({0x40: SmbusBlockSlave(0x40)})


W, R = b"\x80", b"\x81"


def test_crc8_is_the_one_of_the_specification() -> None:
    # The check value of CRC-8 with polynomial 0x07.
    assert crc8(b"123456789") == 0xF4


def test_a_block_is_read_as_it_was_written_with_its_count(smbus: Bus) -> None:
    assert put(smbus, 0x40, b"\x10\x04abcd")
    assert get(smbus, 0x40, b"\x10", 5) == b"\x04abcd"


def test_a_block_of_32_bytes_is_the_longest(smbus: Bus) -> None:
    assert put(smbus, 0x40, b"\x11\x20" + bytes(32))
    assert smbus.transfer(0x40, False, b"\x12\x21" + bytes(33))[:2] == (Nak.DATA, b"\x12\x21")


def test_pec_is_served_after_the_data_and_then_the_bus_is_high(smbus: Bus) -> None:
    put(smbus, 0x40, b"\x10\x02ab")
    pec = crc8(W + b"\x10" + R + b"\x02ab")
    assert get(smbus, 0x40, b"\x10", 6) == b"\x02ab" + bytes([pec]) + b"\xff\xff"


def test_a_right_pec_is_accepted_a_wrong_one_refused_and_the_write_dropped(smbus: Bus) -> None:
    message = b"\x10\x02ab"
    assert put(smbus, 0x40, message + bytes([crc8(W + message)]))
    bad = b"\x10\x02cd" + bytes([crc8(W + b"\x10\x02cd") ^ 1])
    assert smbus.transfer(0x40, False, bad).nak is Nak.DATA
    assert get(smbus, 0x40, b"\x10", 3) == b"\x02ab"


def test_a_block_process_call_inverts_and_keeps_nothing(smbus: Bus) -> None:
    put(smbus, 0x40, b"\x13\x01z")
    call = b"\x13\x02\x00\x0f"
    pec = crc8(W + call + R + b"\x02\xff\xf0")
    assert get(smbus, 0x40, call, 4) == b"\x02\xff\xf0" + bytes([pec])
    assert get(smbus, 0x40, b"\x13", 2) == b"\x01z"


def test_a_block_cut_short_is_not_kept(smbus: Bus) -> None:
    put(smbus, 0x40, b"\x10\x02ab")
    assert put(smbus, 0x40, b"\x10\x04xy")
    assert get(smbus, 0x40, b"\x10", 3) == b"\x02ab"


def test_bytes_beyond_block_and_pec_are_refused(smbus: Bus) -> None:
    message = b"\x10\x01a"
    pec = bytes([crc8(W + message)])
    assert smbus.transfer(0x40, False, message + pec + b"??")[:2] == (Nak.DATA, message + pec + b"?")


def test_words_bytes_and_their_process_call(smbus: Bus) -> None:
    put(smbus, 0x40, b"\x80\x34\x12")
    assert get(smbus, 0x40, b"\x80", 2) == b"\x34\x12"
    assert get(smbus, 0x40, b"\x80\x0f\xf0", 2) == b"\xf0\x0f"
    put(smbus, 0x40, b"\x41\x77")
    assert get(smbus, 0x40, b"\x41", 2) == b"\x77" + bytes([crc8(W + b"\x41" + R + b"\x77")])


def test_i2c_blocks_have_neither_count_nor_pec(smbus: Bus) -> None:
    put(smbus, 0x40, b"\xc5abc")
    assert get(smbus, 0x40, b"\xc5", 5) == b"abc\xff\xff"


def test_receive_byte_gives_the_last_command_and_send_byte_may_carry_pec(smbus: Bus) -> None:
    assert put(smbus, 0x40, b"\x21" + bytes([crc8(W + b"\x21")]))
    assert smbus.transfer(0x40, True, 2).data == b"\x21" + bytes([crc8(R + b"\x21")])


def test_quick_and_empty_block_are_acknowledged(smbus: Bus) -> None:
    assert put(smbus, 0x40, b"")
    assert put(smbus, 0x40, b"\x10\x00")
    assert get(smbus, 0x40, b"\x10", 1) == b"\x00"


def test_max31722_takes_the_top_bit_of_an_address_for_a_write() -> None:
    chip = Max31722(0x1B40)
    assert chip.write(b"\x80\x0e") == 2
    assert chip.write(b"\x00") == 1 and chip.read(3) == b"\x0e\x40\x1b"
