# SPDX-License-Identifier: GPL-2.0-or-later
"""The slaves that upstream's client drivers are satisfied with, message by message as those drivers send them."""

from __future__ import annotations

import json
import struct

import pytest

from dmasafe.devices.bus import Bus, Nak
from dmasafe.devices.errors import SlaveError
from dmasafe.devices.slaves.ad5110 import Ad5110
from dmasafe.devices.slaves.ad5622 import Ad5622
from dmasafe.devices.slaves.adm1266 import PAGES, Adm1266
from dmasafe.devices.slaves.catalogue import chips
from dmasafe.devices.slaves.ds1307 import Ds1307
from dmasafe.devices.slaves.ekth3500 import PACKET_BYTES, Ekth3500
from dmasafe.devices.slaves.hid_keyboard import REPORT_DESCRIPTOR, HidKeyboard
from dmasafe.devices.slaves.lm75 import Lm75, Tmp102
from dmasafe.devices.slaves.pca9534 import Pca9534
from dmasafe.devices.slaves.st1633 import COORDINATES, Finger, St1633
from dmasafe.devices.values import describe, encode, make, update

AT = 0x2A


def put(slave, *data: int) -> bool:
    return Bus({AT: slave}).transfer(AT, False, bytes(data)).ok


def get(slave, length: int, *written: int) -> bytes:
    """Write, repeated start, read; without ``written`` a read alone."""
    bus = Bus({AT: slave})
    if written:
        assert bus.transfer(AT, False, bytes(written), last=False).ok
    return bus.transfer(AT, True, length).data


@pytest.mark.parametrize("name", chips())
def test_every_slave_can_be_plugged_by_name_and_its_state_travels(name: str) -> None:
    slave = make(json.loads(json.dumps(describe(name))))
    twin = make(json.loads(json.dumps(describe(slave))))
    twin.write(b"\x00\x01\x02\x03")
    update(slave, json.loads(json.dumps(encode(twin))))
    assert encode(slave) == encode(twin)


def test_a_name_that_there_is_not_says_which_there_are() -> None:
    with pytest.raises(SlaveError, match=r"'lm57'.*lm75b"):
        make(describe("lm57"))


@pytest.mark.parametrize("name", chips())
def test_no_slave_minds_what_its_driver_never_sends(name: str) -> None:
    slave = make(describe(name))
    messages = [bytes((first,)) * length for first in range(256) for length in (1, 3)]
    for data in [b"", *messages, b"\x00" * 8192]:
        assert -1 <= slave.write(data) <= len(data)
        answer = slave.read(len(data))
        assert answer is not None and len(answer) == len(data)
        slave.stop()


# LM75B, TMP102


def test_lm75_has_words_and_one_byte_register() -> None:
    slave = Lm75(temperature=0x1AE0)
    assert get(slave, 2, 0) == b"\x1a\xe0"
    assert get(slave, 1, 1) == b"\x00"
    assert put(slave, 3, 0x2D, 0x7F) and get(slave, 2, 3) == b"\x2d\x00", "the lower seven bits are not there"
    assert put(slave, 0, 1, 2) and get(slave, 2, 0) == b"\x1a\xe0", "the temperature cannot be written"
    assert get(slave, 4, 2) == b"\x4b\x00\x4b\x00"


def test_tmp102_keeps_its_resolution_bits() -> None:
    slave = Tmp102()
    assert get(slave, 2, 1) == b"\x60\xa0"
    assert put(slave, 1, 0x02, 0x90) and get(slave, 2, 1) == b"\x62\xb0"


# DS1307


def test_ds1307_tells_the_time_that_was_set_and_keeps_its_ram() -> None:
    slave = Ds1307("2024-02-29 23:58:59", weekday=5)
    assert get(slave, 7, 0) == bytes.fromhex("59 58 23 05 29 02 24")
    assert put(slave, 0, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x25)
    assert slave.time == "2025-06-05 03:02:01"
    assert put(slave, 8, 0xAA, 0xBB) and slave.ram[:3] == b"\xaa\xbb\xa2"


def test_ds1307_wraps_behind_its_last_register() -> None:
    slave = Ds1307()
    assert put(slave, 63, 0x77, 0x11)
    assert slave.ram[-1] == 0x77 and slave.registers[0] == 0x11


def test_ds1307_has_no_more_bits_than_the_chip() -> None:
    slave = Ds1307()
    assert put(slave, 0, *[0xFF] * 8)
    assert get(slave, 8, 0) == bytes.fromhex("ff 7f 7f 07 3f 1f ff 93")


# PCA9534


def test_pca9534_pins_are_inputs_until_they_are_driven() -> None:
    slave = Pca9534(levels=0x5A)
    assert get(slave, 1, 0) == b"\x5a"
    assert put(slave, 3, 0xF7) and slave.pins == 0x5A | 8, "outputs are high after power-on"
    assert put(slave, 1, 0x00) and slave.pins == 0x52
    assert put(slave, 2, 0xFF) and get(slave, 1, 0) == b"\xad", "polarity"
    assert put(slave, 0, 0xFF) and slave.pins == 0x52, "the input port cannot be written"


# AD5110, AD5622


def test_ad5110_stores_and_restores_its_wiper() -> None:
    slave = Ad5110(stored=0x2A, tolerance=0x85)
    assert put(slave, 4, 0) and slave.wiper == 0x2A
    assert put(slave, 6, 1) and get(slave, 1) == b"\x85"
    assert put(slave, 2, 99) and put(slave, 5, 0) and get(slave, 1) == b"\x63"
    assert put(slave, 6, 0) and get(slave, 1) == b"\x2a"
    assert put(slave, 1, 0) and put(slave, 6, 0) and get(slave, 1) == b"\x63"
    assert put(slave, 3, 1) and slave.shut_down


def test_ad5622_takes_value_and_power_down_mode() -> None:
    slave = Ad5622()
    assert put(slave, 0x0C, 0x8A) and (slave.value, slave.power_down) == (3210, 0)
    assert put(slave, 0x10, 0x00) and (slave.value, slave.power_down) == (0, 1)
    assert put(slave, 0x01) and slave.word == 0x1000, "half a word changes nothing"


# ST1633


def test_st1633_serves_fingers_where_the_driver_looks_for_them() -> None:
    slave = St1633(width=1024, height=600, version=0x17, revision=0x01020304)
    slave.touch([Finger(1000, 599), Finger(3, 257)])
    data = get(slave, 20, COORDINATES)
    fingers = [data[at : at + 4] for at in range(0, 20, 4)]
    # st1232_ts_parse_and_report()
    seen = [((f[0] & 0x70) << 4 | f[1], (f[0] & 0x07) << 8 | f[2]) for f in fingers if f[0] & 0x80]
    assert seen == [(1000, 599), (3, 257)]
    # st1232_ts_read_resolution()
    high, low_x, low_y = get(slave, 3, 4)
    assert ((high & 0x70) << 4 | low_x, (high & 7) << 8 | low_y) == (1024, 600)
    assert get(slave, 4, 0x0C) == bytes.fromhex("04030201")
    assert get(slave, 1, 1) == b"\0", "ready"


# HID over I2C


@pytest.mark.parametrize("numbered", [True, False])
def test_the_keyboards_descriptors_agree_with_what_it_serves(numbered: bool) -> None:
    slave = HidKeyboard(numbered=numbered)
    fields = struct.unpack("<13HI", get(slave, 30, 0x01, 0x00))
    assert fields[:2] == (30, 0x0100)
    report_register, length = fields[3], fields[2]
    found = get(slave, length, report_register & 0xFF, report_register >> 8)
    # A Report ID item (HID 1.11, 6.2.2.7) is what makes reports numbered.
    assert found == (REPORT_DESCRIPTOR if numbered else REPORT_DESCRIPTOR.replace(b"\x85\x01", b""))
    assert (fields[5], fields[7]) == (len(slave.input_report), len(slave.output_report))


def test_a_reset_is_acknowledged_once_by_an_empty_report() -> None:
    slave = HidKeyboard(keys=(4,))
    assert put(slave, 0x05, 0x00, 0x00, 0x01) and slave.resets == 1
    assert get(slave, 10)[:2] == b"\0\0"
    assert get(slave, 11) == bytes.fromhex("0b00 01 0000 000000000000")
    slave.keys = (4,)
    assert get(slave, 11) == bytes.fromhex("0b00 01 0000 040000000000")


@pytest.mark.parametrize(
    ("message", "leds"),
    [
        ("0400 0400 01 02", 2),
        ("0500 2103 0600 0400 01 05", 5),
        ("0400 0300 01 02", 0),
        ("0400 0400 02 02", 0),
        ("0500 3103 0600 0400 01 05", 0),
    ],
    ids=["output register", "SET_REPORT", "wrong length", "other number", "no output report"],
)
def test_output_reports_come_by_two_ways(message: str, leds: int) -> None:
    slave = HidKeyboard()
    assert put(slave, *bytes.fromhex(message)) and slave.leds == leds


@pytest.mark.parametrize(
    ("message", "leds"), [("0400 0300 02", 2), ("0400 0300 00", 0), ("0400 0200", 1), ("0400 0400 01 02", 1)]
)
def test_a_keyboard_without_report_numbers_takes_reports_without(message: str, leds: int) -> None:
    slave = HidKeyboard.unnumbered()
    slave.leds = 1
    assert put(slave, *bytes.fromhex(message)) and slave.leds == leds


@pytest.mark.parametrize(("numbered", "report"), [(True, "0400 01 05"), (False, "0300 05")])
def test_the_lights_can_be_asked_for(numbered: bool, report: str) -> None:
    slave = HidKeyboard(numbered=numbered)
    slave.leds = 5
    assert get(slave, len(bytes.fromhex(report)), 0x05, 0x00, 0x20, 0x02, 0x06, 0x00) == bytes.fromhex(report)


def test_power_is_kept() -> None:
    slave = HidKeyboard()
    assert put(slave, 0x05, 0x00, 0x01, 0x08) and slave.power == 1


# eKTH3500


def test_elan_says_hello_after_boot_and_answers_what_is_asked() -> None:
    slave = Ekth3500()
    assert put(slave, 0x77, 0x77, 0x77, 0x77) and put(slave, *b"Main")
    assert get(slave, 1) != b"\x55", "the probe for an address takes no packet"
    assert get(slave, 4) == b"\x55" * 4
    for what, version in slave.versions.items():
        answer = get(slave, 4, 0x53, what, 0, 1)
        # elants_i2c_parse_version()
        assert answer[0] == 0x52 and int.from_bytes(answer, "big") >> 4 & 0xFFFF == version
    assert get(slave, 17, 0x5B, 0, 0, 0, 0, 0)[0] == 0x9B
    assert get(slave, 4, 0x53, 0xD7, 0, 1)[2:] == (157).to_bytes(2, "big")


def test_elans_packet_has_its_checksum_and_its_fingers() -> None:
    slave = Ekth3500()
    packet = get(slave, PACKET_BYTES)
    assert packet[:4] == bytes((0x63, 1, 55, 0))
    report = packet[4:59]
    assert report[0] == 0x62 and report[34] == sum(report[:34]) & 0xFF
    assert report[2] & 0x0F == 2 and report[1] == 0b11
    high, low_x, low_y = report[3:6]
    assert ((high & 0xF0) << 4 | low_x, (high & 0x0F) << 8 | low_y) == slave.touches[0][:2]


def test_elan_calibrates_sleeps_and_wakes() -> None:
    slave = Ekth3500()
    assert put(slave, 0x54, 0x29, 0, 1) and get(slave, PACKET_BYTES)[:4] == b"\x66" * 4
    assert get(slave, 4, 0x53, 0xD0, 0, 1)[2:] == b"\x00\x04"
    assert put(slave, 0x54, 0x50, 0, 1) and not slave.awake
    assert put(slave, 0x54, 0x58, 0, 1) and slave.awake


# ADM1266


def test_adm1266_has_a_voltage_for_each_page() -> None:
    slave = Adm1266()
    for page in range(PAGES):
        assert put(slave, 0, page)
        assert int.from_bytes(get(slave, 2, 0x8B), "little") == slave.volts[page]


def test_adm1266_refuses_commands_that_it_has_not() -> None:
    result = Bus({AT: Adm1266()}).transfer(AT, False, b"\x55", last=False)
    assert result.nak is Nak.DATA


def test_adm1266_serves_blocks_with_their_counts() -> None:
    slave = Adm1266(records=2)
    assert get(slave, 3, 0xEA) == b"\x02" + slave.gpio.to_bytes(2, "little")
    assert get(slave, 5, 0xE6)[4] == 2
    record = get(slave, 257, 0xDE, 1, 1)
    assert record[0] == 64 and record[1:65] == slave.records[1] and record[65:] == b"\xff" * 192


def test_adm1266_takes_its_clock_and_forgets_its_records() -> None:
    slave = Adm1266()
    assert put(slave, 0xDF, 6, 0, 0, 1, 2, 3, 4) and slave.rtc == bytes((0, 0, 1, 2, 3, 4))
    assert not put(slave, 0xDF, 5, 0), "a block of another length than its count"
    assert put(slave, 0xDE, 2, 0xFE, 0) and slave.records == []
