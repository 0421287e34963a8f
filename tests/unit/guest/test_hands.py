# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done in a booted system through its agent: requests and replies, without a system."""

import pytest

from dmasafe.errors import DmasafeError
from dmasafe.guest.hands import Done, Hands, Refused, errno_text


class Agent:
    """Replies with what it was given, in that order, and keeps the requests."""

    def __init__(self, *replies):
        self.replies, self.requests = list(replies), []

    def __call__(self, op, **arguments):
        self.requests.append((op, arguments))
        return self.replies.pop(0)


def test_a_file_is_read_on_until_there_is_no_more():
    agent = Agent({"errno": 0, "data": "ab\xff", "more": True}, {"errno": 0, "data": "c"})
    assert Hands(agent).read("/f") == b"ab\xffc"
    assert [arguments["offset"] for _, arguments in agent.requests] == [0, 3]


def test_a_file_without_end_is_refused():
    agent = Agent(*[{"errno": 0, "data": "x" * 10, "more": True}] * 9)
    with pytest.raises(Refused, match=r"refused to read /f: it has more than 25 bytes"):
        Hands(agent).read("/f", 25)


def test_a_file_that_says_more_and_gives_nothing_ends():
    assert Hands(Agent({"errno": 0, "data": "", "more": True})).read("/f") == b""


def test_text_is_stripped_and_none_if_it_cannot_be_read():
    assert Hands(Agent({"errno": 0, "data": " 7\n"})).text("/f") == "7"
    assert Hands(Agent({"errno": 2})).text("/f") is None


def test_bytes_are_appended_in_pieces_of_one_code_point_a_byte():
    agent = Agent(*[{"errno": 0}] * 3)
    data = bytes(range(256)) * 65
    Hands(agent).append("/f", data)
    assert len(agent.requests) == 3
    assert "".join(arguments["data"] for _, arguments in agent.requests).encode("latin-1") == data


def test_an_empty_file_is_made():
    agent = Agent({"errno": 0})
    Hands(agent).append("/f", b"")
    assert agent.requests == [("append", {"path": "/f", "data": ""})]


def test_a_command_says_how_it_ended_and_what_it_printed():
    agent = Agent({"errno": 0, "status": -9, "output": "caf\xc3\xa9"})
    assert Hands(agent).run("true", 1.5) == Done(-9, "café")
    assert agent.requests == [("command", {"command": "true", "timeout_ms": 1500})]


def test_a_command_without_a_status_is_refused():
    with pytest.raises(Refused, match="refused to run true: no exit status"):
        Hands(Agent({"errno": 0, "output": ""})).run("true", 1.0)


@pytest.mark.parametrize(
    ("do", "message"),
    [
        (lambda hands: hands.read("/f"), "refused to read /f: No such file or directory"),
        (lambda hands: hands.write("/f", "1"), "refused to write /f: No such file or directory"),
        (lambda hands: hands.append("/f", b"1"), "refused to write /f: No such file or directory"),
        (lambda hands: hands.names("/d"), "refused to list /d: No such file or directory"),
        (lambda hands: hands.load("/d/m.ko"), "refused m.ko: No such file or directory"),
        (lambda hands: hands.unload("m"), "refused to unload m: No such file or directory"),
        (lambda hands: hands.ioctl("/f", 0x40, b""), "refused ioctl 0x40 on /f: No such file or directory"),
        (lambda hands: hands.run("true", 1.0), "refused to run true: No such file or directory"),
    ],
)
def test_what_is_refused_is_what_the_caller_makes_of_it(do, message):
    def failure(refused):
        assert refused.errno == 2
        return DmasafeError(f"it was so: {refused}")

    with pytest.raises(DmasafeError, match=f"it was so: the kernel {message}"):
        do(Hands(Agent({"errno": 2}), failure))


def test_a_reply_without_an_errno_is_a_refusal():
    with pytest.raises(Refused, match="refused to write /f: unknown op") as caught:
        Hands(Agent({"why": "unknown op"})).write("/f", "1")
    assert caught.value.errno is None


def test_names_that_are_no_list_are_none():
    assert Hands(Agent({"errno": 0, "names": {"a": 1}})).names("/d") == []
    assert Hands(Agent({"errno": 0, "names": ["b", "a", 3]})).names("/d") == ["3", "a", "b"]


def test_an_errno_that_is_none_of_the_kernels_is_no_trap():
    assert errno_text({"errno": 1 << 40, "why": "odd"}) == "odd"
    assert errno_text({}) == "no reason given"
