# SPDX-License-Identifier: GPL-2.0-or-later
"""The protocol: what is said when, how it is laid out, and what becomes of packets that are not as they should be."""

import struct

import pytest
import usb_guest as usb
from usb_guest import Guest, packet

from dmasafe.devices.usb.usbredir import MAX_DATA_BYTES, ProtocolError, Wire

GET_DESCRIPTOR = 6


def test_nothing_but_the_hello_is_said_before_qemus():
    wire = Wire()
    assert Wire.hello()[:12] == struct.pack("<III", usb.HELLO, 68, 0)
    assert not wire.greeted
    guest = Guest("osif")
    assert [answer.type for answer in guest.greeting] == [
        usb.HELLO,
        usb.EP_INFO,
        usb.INTERFACE_INFO,
        usb.DEVICE_CONNECT,
    ]


def test_what_qemu_needs_for_xhci_is_offered():
    (words,) = struct.unpack("<I", Wire.hello()[-4:])
    ep_info_max_packet_size, ids_64_bits, bulk_length_32_bits = 1 << 4, 1 << 5, 1 << 6
    for capability in (ep_info_max_packet_size, ids_64_bits, bulk_length_32_bits):
        assert words & capability
    # Nobody here speaks of streams or buffered bulk input.
    assert not words & (1 << 0 | 1 << 7)


def test_the_device_is_described():
    guest = Guest("mcp2221")
    connect = next(answer.body for answer in guest.greeting if answer.type == usb.DEVICE_CONNECT)
    assert struct.unpack("<BBBBHHH", connect) == (1, 0, 0, 0, 0x04D8, 0x00DD, 0x0100)
    tables = next(answer.body for answer in guest.greeting if answer.type == usb.EP_INFO)
    types, intervals, interfaces = tables[:32], tables[32:64], tables[64:96]
    sizes = struct.unpack("<32H", tables[96:160])
    assert [(types[n], intervals[n], interfaces[n], sizes[n]) for n in (0, 16, 1, 17)] == [
        (0, 0, 0, 64), (0, 0, 0, 64), (3, 1, 0, 64), (3, 1, 0, 64),
    ]  # fmt: skip
    assert types.count(255) == 28
    rows = next(answer.body for answer in guest.greeting if answer.type == usb.INTERFACE_INFO)
    assert rows[:4] == struct.pack("<I", 1) and rows[36] == 3


@pytest.mark.parametrize("capabilities", [None, 0, 0x02, 0x10, 0x20, 0x40, 0x60, usb.QEMU_CAPABILITIES])
def test_layouts_follow_what_both_ends_can(capabilities):
    guest = Guest("dln2", capabilities=capabilities)
    bits = capabilities or 0
    sizes = {answer.type: len(answer.body) for answer in guest.greeting}
    assert sizes[usb.DEVICE_CONNECT] == (10 if bits & 0x02 else 8)
    assert sizes[usb.EP_INFO] == (160 if bits & 0x10 else 96)
    descriptor = guest.control(0x80, GET_DESCRIPTOR, 0x0100, 0, 18)
    assert descriptor is not None and len(descriptor) == 18
    usb.Dln2(guest)


def test_packets_may_come_in_any_pieces():
    whole = Guest("osif")
    pieces = Guest("osif")
    data = packet(usb.CONTROL, struct.pack("<BBBBHHH", 0x80, GET_DESCRIPTOR, 0x80, 0, 0x0200, 0, 255), 9)
    data += packet(usb.GET_CONFIGURATION, b"", 10)
    whole.send(data)
    for n in range(len(data)):
        pieces.send(data[n : n + 1])
    assert list(pieces.seen) == list(whole.seen)
    assert [answer.id for answer in whole.seen] == [9, 10]


@pytest.mark.parametrize(
    "data",
    [
        packet(usb.CONTROL, b"\0" * 9),
        packet(usb.CONTROL, struct.pack("<BBBBHHH", 0, 21, 0x41, 0, 0, 0x30, 4) + b"abc"),
        packet(usb.CONTROL, struct.pack("<BBBBHHH", 0x80, 6, 0x80, 0, 0x100, 0, 4) + b"abcd"),
        packet(usb.BULK, struct.pack("<BBHIH", 2, 0, 4, 0, 1) + b"abcd"),
        packet(usb.BULK, struct.pack("<BBHIH", 0x81, 0, 4, 0, 0) + b"abcd"),
        packet(usb.BULK, b"\x02\0\0"),
        packet(usb.INTERRUPT, struct.pack("<BBH", 1, 0, 2) + b"x"),
        packet(usb.SET_CONFIGURATION, b""),
        packet(usb.SET_ALT, b"\0"),
        packet(usb.RESET, b"x"),
        packet(usb.DEVICE_CONNECT, bytes(10)),
        packet(usb.EP_INFO, bytes(160)),
        packet(77),
        packet(usb.HELLO, bytes(68)),
        struct.pack("<IIQ", usb.BULK, MAX_DATA_BYTES + 1, 1),
        struct.pack("<IIQ", usb.CONTROL, 0xFFFFFFFF, 1),
    ],
)
def test_a_packet_that_cannot_be_is_an_error_with_a_reason(data):
    guest = Guest("dln2")
    with pytest.raises(ProtocolError, match="usbredir"):
        guest.send(data)


@pytest.mark.parametrize("data", [packet(usb.RESET, wide=False), packet(usb.HELLO, bytes(63), wide=False)])
def test_a_connection_begins_with_a_hello(data):
    wire = Wire()
    wire.feed(data)
    with pytest.raises(ProtocolError, match="hello"):
        list(wire.packets())


def test_a_filter_is_taken_note_of_in_silence():
    guest = Guest("osif")
    guest.send(packet(23, b"0x03,-1,-1,-1,1|-1,-1,-1,-1,0\0"))
    guest.send(packet(22))
    assert not guest.seen


def test_configuration_and_interface_are_set_and_told():
    guest = Guest("cp2615")
    assert guest.answer(usb.CONFIGURATION_STATUS, guest.ask(usb.GET_CONFIGURATION)) == b"\0\0"
    number = guest.ask(usb.SET_CONFIGURATION, b"\x01")
    # The endpoints first: QEMU must know them when the guest begins to use them.
    assert [answer.type for answer in guest.seen] == [usb.EP_INFO, usb.INTERFACE_INFO, usb.CONFIGURATION_STATUS]
    guest.seen.popleft(), guest.seen.popleft()
    assert guest.answer(usb.CONFIGURATION_STATUS, number) == b"\0\x01"
    assert guest.answer(usb.CONFIGURATION_STATUS, guest.ask(usb.SET_CONFIGURATION, b"\x07")) == b"\x04\x01"
    assert guest.answer(usb.ALT_STATUS, guest.ask(usb.GET_ALT, b"\x01")) == b"\0\x01\0"
    assert guest.bulk_out(0x02, b"\x2a\x2a\x00\x06\xd1\x00") is False
    number = guest.ask(usb.SET_ALT, b"\x01\x02")
    tables = guest.seen.popleft().body
    assert (tables[2], tables[18]) == (2, 2)
    guest.seen.popleft()
    assert guest.answer(usb.ALT_STATUS, number) == b"\0\x01\x02"
    assert guest.answer(usb.ALT_STATUS, guest.ask(usb.GET_ALT, b"\x01")) == b"\0\x01\x02"
    assert guest.bulk_out(0x02, b"\x2a\x2a\x00\x06\xd1\x00") is True
    assert guest.answer(usb.ALT_STATUS, guest.ask(usb.SET_ALT, b"\x01\x09")) == b"\x04\x01\x09"
    assert guest.answer(usb.ALT_STATUS, guest.ask(usb.GET_ALT, b"\x05"))[0] == usb.STALL


def test_a_transfer_in_waits_until_there_is_something_to_say_and_can_be_cancelled():
    guest = Guest("dln2")
    first, second = guest.submit_in(0x81, 512), guest.submit_in(0x81, 512)
    assert not guest.seen
    guest.send(packet(usb.CANCEL, b"", first))
    assert guest.answer(usb.BULK, first)[:2] == bytes((0x81, usb.CANCELLED))
    # A second cancellation comes too late, as does that of an answered transfer.
    guest.send(packet(usb.CANCEL, b"", first))
    assert not guest.seen
    assert guest.bulk_out(0x01, struct.pack("<HHHH", 8, 0x30, 1, 1))
    assert guest.bulk_answer(second)[10:] == struct.pack("<I", 0x200)
    guest.send(packet(usb.CANCEL, b"", second))
    assert not guest.seen


def test_a_reset_cancels_what_waits_and_forgets_what_is_ready():
    guest = Guest("dln2")
    assert guest.bulk_out(0x01, struct.pack("<HHHH", 8, 0x30, 1, 1))
    guest.send(packet(usb.RESET))
    waiting = guest.submit_in(0x81, 512)
    assert not guest.seen
    guest.send(packet(usb.RESET))
    assert guest.answer(usb.BULK, waiting)[1] == usb.CANCELLED


def test_a_transfer_in_that_asks_for_less_gets_the_rest_later():
    guest = Guest("dln2")
    assert guest.bulk_out(0x01, struct.pack("<HHHH", 8, 0x30, 1, 1))
    assert guest.bulk_in(0x81, 5) + guest.bulk_in(0x81, 512) == struct.pack("<HHHHHI", 14, 0x30, 1, 1, 0, 0x200)


def test_interrupt_input_waits_until_it_is_received():
    guest = Guest("mcp2221")
    assert guest.report(b"\x51")
    assert not guest.inputs
    guest.ask(usb.START_INTERRUPT, b"\x81")
    status, report = guest.seen
    assert (status.type, status.body) == (usb.INTERRUPT_STATUS, b"\0\x81")
    assert report.type == usb.INTERRUPT and len(report.body) == 4 + 64
    guest.seen.clear()
    assert guest.answer(usb.INTERRUPT_STATUS, guest.ask(usb.STOP_INTERRUPT, b"\x81")) == b"\0\x81"
    assert guest.report(b"\x51") and not guest.inputs
    for endpoint in (b"\x82", b"\x01", b"\0"):
        assert guest.answer(usb.INTERRUPT_STATUS, guest.ask(usb.START_INTERRUPT, endpoint))[0] == usb.STALL


def test_what_the_device_does_not_have_is_stalled():
    guest = Guest("osif")
    assert guest.bulk_out(0x02, b"x") is False
    assert guest.answer(usb.BULK, guest.submit_in(0x81, 4))[1] == usb.STALL
    assert guest.report(b"x") is False
    assert guest.answer(usb.ISO_STATUS, guest.ask(usb.START_ISO, b"\x81\x01\x01"))[0] == usb.STALL
    for request in (
        (0x80, 6, 0x0600, 0),
        (0x80, 6, 0x0309, 0),
        (0x81, 6, 0x2200, 0),
        (0xC1, 99, 0, 0),
        (0x83, 0, 0, 0),
    ):
        assert guest.control(*request, 8) is None
    body = struct.pack("<BBBBHHH", 0x81, 6, 0x80, 0, 0x100, 0, 18)
    assert guest.answer(usb.CONTROL, guest.ask(usb.CONTROL, body))[3] == usb.STALL


def test_descriptors_are_cut_to_what_was_asked_for_and_add_up():
    for bridge in usb.DRIVERS:
        guest = Guest(bridge)
        whole = guest.control(0x80, GET_DESCRIPTOR, 0x0200, 0, 4096)
        head = guest.control(0x80, GET_DESCRIPTOR, 0x0200, 0, 9)
        assert whole is not None and head == whole[:9]
        assert struct.unpack_from("<H", whole, 2)[0] == len(whole)
        at, endpoints, wanted = 0, 0, 0
        while at < len(whole):
            if whole[at + 1] == 4:
                assert endpoints == wanted
                endpoints, wanted = 0, whole[at + 4]
            endpoints += whole[at + 1] == 5
            at += whole[at]
        assert at == len(whole) and endpoints == wanted
        serial = guest.control(0x80, GET_DESCRIPTOR, 0x0303, 0x0409, 255)
        assert serial is not None and serial[2:].decode("utf-16-le") == bridge


def test_a_hid_describes_reports_that_add_up():
    for bridge in ("mcp2221", "cp2112", "ft260"):
        guest = Guest(bridge)
        hid = guest.control(0x81, GET_DESCRIPTOR, 0x2100, 0, 9)
        report = guest.control(0x81, GET_DESCRIPTOR, 0x2200, 0, 4096)
        assert hid is not None and report is not None
        assert struct.unpack_from("<H", hid, 7)[0] == len(report)
        assert report[-1] == 0xC0
        assert guest.control(0x21, 0x0A, 0, 0, b"") == b""
