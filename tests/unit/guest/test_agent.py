# SPDX-License-Identifier: GPL-2.0-or-later
import socket

import pytest

from dmasafe.guest import ChannelClosed
from dmasafe.guest.agent import MAX_LINE_BYTES, AgentChannel, integer, octets


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield AgentChannel(ours), theirs


def everything(channel):
    messages = []
    while new := channel.receive():
        messages += new
    return messages


def test_lines_may_arrive_in_any_pieces(ends):
    channel, guest = ends
    for piece in (b'{"re":"he', b'llo"}\n{"re":"run"', b',"seq":1}\n'):
        guest.sendall(piece)
        channel_messages = channel.receive()
    assert channel_messages == [{"re": "run", "seq": 1}]


@pytest.mark.parametrize("line", [b'{"re":', b"[1]", b"\xff\xfe", b"", b"[" * 5000, b"nonsense"])
def test_what_is_no_json_object_is_a_violation_and_the_next_line_is_read(ends, line):
    channel, guest = ends
    guest.sendall(line + b'\n{"re":"kmsg"}\n')
    assert everything(channel) == [{"re": "kmsg"}]
    assert len(channel.violations) == 1


def test_a_line_without_end_takes_bounded_memory_and_is_skipped(ends):
    channel, guest = ends
    guest.setblocking(False)
    sent, messages = 0, []
    while sent < 2 * MAX_LINE_BYTES:
        try:
            sent += guest.send(b"x" * 65536)
        except BlockingIOError:
            messages += channel.receive()
        assert len(channel._incoming) <= MAX_LINE_BYTES + (1 << 18)
    guest.setblocking(True)
    messages += everything(channel)
    guest.sendall(b'\n{"re":"kmsg"}\n')
    messages += everything(channel)
    assert messages == [{"re": "kmsg"}]
    assert "more than" in channel.violations[0]


def test_the_end_of_the_stream_is_an_error_of_its_own(ends):
    channel, guest = ends
    guest.close()
    with pytest.raises(ChannelClosed):
        channel.receive()


def test_a_guest_that_does_not_read_never_blocks_the_host(ends):
    channel, _ = ends
    for number in range(20_000):
        channel.send({"op": "run", "seq": number, "line": "x" * 100})
    assert channel.unsent


@pytest.mark.parametrize(
    ("value", "number"),
    [(5, 5), ("0x1f40", 8000), (True, 1), ("x", None), (None, None), (1.5, None), ("9" * 30, None), ([], None)],
)
def test_numbers_from_a_guest_are_numbers_or_nothing(value, number):
    assert integer({"key": value}, "key") == number


def test_hexadecimal_data_from_a_guest_is_bytes_or_nothing():
    assert octets({"data": "01ff"}, "data") == b"\x01\xff"
    assert octets({"data": "0g"}, "data") == octets({"data": 5}, "data") == octets({}, "data") == b""


def test_a_long_line_in_small_pieces_is_not_searched_again_and_again(ends):
    channel, guest = ends
    for _ in range(200):
        guest.sendall(b"x" * 100)
        assert channel.receive() == []
    guest.sendall(b'\n{"re":"kmsg"}\n')
    assert everything(channel) == [{"re": "kmsg"}]


def test_a_stream_that_ends_in_the_middle_of_a_line_says_so(ends):
    channel, guest = ends
    guest.sendall(b'{"re":"ru')
    guest.close()
    assert channel.receive() == []
    with pytest.raises(ChannelClosed, match="in the middle of a line"):
        channel.receive()


def test_what_nests_deeper_than_any_answer_is_a_violation(ends):
    channel, guest = ends
    guest.sendall(b'{"a":' + b"[" * 40 + b"]" * 40 + b'}\n{"data":"' + b"[{" * 4000 + b'"}\n')
    assert [list(message) for message in everything(channel)] == [["data"]]
    assert len(channel.violations) == 1 and "nested" in channel.violations[0]


@pytest.mark.parametrize("value", [10**400, -(1 << 64), 1 << 64, 1.5, None, [], "0x1ffffffffffffffff", "x"])
def test_what_is_no_integer_of_64_bits_is_none(value):
    assert integer({"n": value}, "n") is None
