# SPDX-License-Identifier: GPL-2.0-or-later
"""Each bridge, asked as its Linux driver asks it: bytes on the bus, what comes back, and what the trace says."""

import pytest
from usb_guest import DRIVERS, Guest

from dmasafe.devices.bus import Bus
from dmasafe.devices.slaves.nak import NakSlave
from dmasafe.devices.slaves.recorder import Message, Recorder, pattern
from dmasafe.devices.slaves.register_file import RegisterFile
from dmasafe.devices.slaves.slow import SlowSlave
from dmasafe.devices.usb.bridges import bridges

REGISTERS, RECORDER, NAK, SLOW, ABSENT = 0x20, 0x30, 0x60, 0x68, 0x77
# The longest message that each driver does, and does right.
LONGEST_WRITE = {"cp2615": 54, "dln2": 256, "cp2112": 61, "viperboard": 503}
LONGEST_READ = {"cp2615": 54, "dln2": 256, "cp2112": 512, "viperboard": 510}
PAYLOAD = bytes(n * 7 + 3 & 0xFF for n in range(1000))


def bus():
    return Bus({REGISTERS: RegisterFile(), RECORDER: Recorder(), NAK: NakSlave(accepts=3), SLOW: SlowSlave(250)})


def each(lengths, longest):
    """Every bridge with those of the lengths that its driver does."""
    rows = [(bridge, length) for bridge in bridges() for length in lengths if length <= longest.get(bridge, 65535)]
    return pytest.mark.parametrize(("bridge", "length"), rows)


@pytest.fixture(params=bridges())
def bridge(request):
    return request.param


@pytest.fixture
def guest(bridge):
    return Guest(bridge, bus())


@pytest.fixture
def driver(bridge, guest):
    return DRIVERS[bridge](guest)


def test_there_is_a_driver_for_every_bridge():
    assert set(DRIVERS) == set(bridges())


@each([1, 2, 8, 9, 53, 54, 60, 61, 62, 63, 64, 120, 121, 255, 256, 503, 777], LONGEST_WRITE)
def test_a_write_reaches_the_slave_byte_for_byte(guest, driver, length):
    assert driver.xfer((RECORDER, PAYLOAD[:length])) == []
    assert list(guest.bus.slaves[RECORDER].messages) == [Message(False, PAYLOAD[:length])]


@each([1, 2, 8, 54, 60, 61, 64, 120, 121, 180, 240, 241, 255, 256, 510, 512], LONGEST_READ)
def test_a_read_brings_what_the_slave_served_and_the_slave_serves_it_once(guest, driver, length):
    for number in range(3):
        assert driver.xfer((RECORDER, length)) == [pattern(0x30, number, length)]
    served = [Message(True, pattern(0x30, number, length)) for number in range(3)]
    assert list(guest.bus.slaves[RECORDER].messages) == served


def test_a_register_is_read_after_its_number_was_written(driver):
    assert driver.xfer((REGISTERS, b"\x40abcdef")) == []
    assert driver.xfer((REGISTERS, b"\x41"), (REGISTERS, 4)) == [b"bcde"]


def test_the_trace_has_every_message_with_its_scenario_and_no_addresses(bridge, guest, driver):
    driver.xfer((REGISTERS, b"\x40abc"))
    driver.xfer((REGISTERS, b"\x41"), (REGISTERS, 2))
    wanted = [(False, b"\x40abc"), (False, b"\x41"), (True, b"bc")]
    assert [(record.read, record.data) for record in guest.records] == wanted
    for record in guest.records:
        assert (record.controller, record.seq, record.address) == (bridge, 17, REGISTERS)
        assert record.ok and record.why == "" and record.length == len(record.data)
        assert not record.segments and not record.headers


@pytest.mark.parametrize("read", [False, True], ids=["write", "read"])
@each([2, 54, 70], LONGEST_WRITE)
def test_an_absent_slave_is_an_error_and_the_next_transfer_works(guest, driver, length, read):
    payload = length if read else PAYLOAD[:length]
    assert driver.xfer((ABSENT, payload)) is None
    assert [record.ok for record in guest.records] == [False]
    assert driver.xfer((RECORDER, b"after")) == []
    assert guest.bus.slaves[RECORDER].messages[-1] == Message(False, b"after")


@pytest.mark.parametrize("length", [8, 54])
def test_a_refused_byte_is_an_error_and_the_bus_carried_no_more(guest, driver, length):
    assert driver.xfer((NAK, PAYLOAD[:length])) is None
    assert [(record.ok, record.data) for record in guest.records] == [(False, PAYLOAD[:4])]
    assert driver.xfer((RECORDER, b"after")) == []


def test_a_refused_byte_of_a_write_in_many_transfers_is_told_in_the_end():
    guest = Guest("diolan-u2c", bus())
    assert DRIVERS["diolan-u2c"](guest).xfer((NAK, PAYLOAD[:200])) is None
    assert [(record.ok, record.data) for record in guest.records] == [(False, PAYLOAD[:4])]


def test_the_time_for_which_a_slave_holds_the_clock_is_told(guest, driver):
    driver.xfer((RECORDER, b"quick"))
    assert guest.master.take_delay_s() == 0
    driver.xfer((SLOW, b"\x10"), (SLOW, 1))
    assert guest.master.take_delay_s() == pytest.approx(0.5)


def test_a_zero_length_write_asks_whether_somebody_is_there():
    for name in ("tiny-usb", "osif", "diolan-u2c", "viperboard", "dln2"):
        guest = Guest(name, bus())
        driver = DRIVERS[name](guest)
        assert driver.xfer((RECORDER, b"")) == []
        assert driver.xfer((ABSENT, b"")) is None
        assert [(record.address, record.ok, record.length) for record in guest.records] == [
            (RECORDER, True, 0),
            (ABSENT, False, 0),
        ]


def test_an_address_of_ten_bits_is_nobodys():
    guest = Guest("tiny-usb", bus())
    assert DRIVERS["tiny-usb"](guest).xfer((0x130, b"x")) is None
    assert not guest.records[0].ok and not guest.bus.slaves[RECORDER].messages


class Stubborn(Recorder):
    """Cannot be copied, and so not looked at beforehand."""

    def __deepcopy__(self, _memo):
        raise TypeError


def test_a_slave_that_cannot_be_copied_does_not_answer_a_bridge_that_reads_byte_by_byte():
    guest = Guest("diolan-u2c", Bus({RECORDER: Stubborn()}))
    driver = DRIVERS["diolan-u2c"](guest)
    assert driver.xfer((RECORDER, 2)) is None
    assert driver.xfer((RECORDER, b"ab")) == []


def test_viperboard_puts_a_long_write_together_and_fetches_a_long_read_in_two():
    guest = Guest("viperboard", bus())
    DRIVERS["viperboard"](guest)
    head = bytes.fromhex("00 0040 ff f8 00 00 0000")
    assert guest.bulk_out(0x02, head + PAYLOAD[:503])
    assert guest.bulk_out(0x02, bytes.fromhex("00 f741 09 00 00 00 0000") + PAYLOAD[503:512])
    assert guest.bulk_out(0x02, bytes.fromhex("02 30 00 0002 00 00"))
    assert guest.bus.slaves[RECORDER].messages[0] == Message(False, PAYLOAD[:512])
    assert guest.bulk_out(0x02, bytes.fromhex("02 30 01 5802 00 00"))
    assert guest.bulk_out(0x02, bytes.fromhex("01 0040 02 ff ff 58 00 00 0002 5800"))
    first = guest.bulk_in(0x86, 512)
    # The driver's second header is what it read first: thirteen bytes of data.
    assert guest.bulk_out(0x02, first[:13])
    assert first + guest.bulk_in(0x86, 88) == pattern(0x30, 0, 600)


@pytest.mark.parametrize(
    ("name", "endpoint", "data"),
    [
        ("viperboard", 0x02, bytes.fromhex("00 0040 05 00 00 00 0000") + b"four"),
        ("viperboard", 0x02, bytes.fromhex("00 ff47 04 00 00 00 0000") + b"four"),
        ("viperboard", 0x02, bytes.fromhex("01 0040 01 00 00 00 00 00 0102 0000")),
        ("viperboard", 0x02, bytes.fromhex("02 30 01 ffff 00 00")),
        ("viperboard", 0x02, b"\x02\x30"),
        ("diolan-u2c", 0x02, b"\x0c\x13"),
        ("diolan-u2c", 0x02, b"\x26\x01"),
        ("dln2", 0x01, b"\x09\x00\x30\x00\x00\x00\x01\x00"),
        ("dln2", 0x01, b"\x08"),
        ("cp2615", 0x02, b"\x2a\x2a\x00\x07\xd1\x00"),
        ("cp2615", 0x02, b"\x2a\x2b\x00\x06\xd1\x00"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_stalled_and_the_bus_stays_silent(name, endpoint, data):
    guest = Guest(name, bus())
    DRIVERS[name](guest)
    assert guest.bulk_out(endpoint, data) is False
    assert not guest.records


@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("cp2112", b"\x10\x60\xff\xff"),
        ("cp2112", b"\x14\x60\x05four"),
        ("cp2112", b"\x11\x60\x00\x01\x00"),
        ("cp2112", b"\x99"),
        ("ft260", b"\xd0\x30\x06\x05four"),
        ("ft260", b"\xc2\x30"),
    ],
)
def test_a_report_that_makes_no_sense_is_stalled(name, report):
    guest = Guest(name, bus())
    DRIVERS[name](guest)
    assert guest.report(report) is False
    assert not guest.records
