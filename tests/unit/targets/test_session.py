# SPDX-License-Identifier: GPL-2.0-or-later
"""The conversation with an agent: the right reply is taken, its absence is noticed in time, and errors have words."""

import os
import signal
import time
from types import SimpleNamespace

import pytest

from dmasafe.guest.hands import Hands, errno_text
from dmasafe.targets.board_session import BoardSession
from dmasafe.targets.boot import Boot
from dmasafe.targets.errors import BootLost
from dmasafe.targets.session import Conversation, Limits, Session, borrowed_objects, is_hello, linked_symbols, lost

LIMITS = Limits(request_s=15.0, silence_s=20.0)


class Agent:
    """Says ``comes``, a list of messages at each pump; then it hangs."""

    def __init__(self, *comes):
        self.comes = list(comes)
        self.sent = []
        self.waits = []
        self.talk = Conversation(LIMITS, self.sent.append, self._pump)

    def _pump(self, deadline, what):
        self.waits.append((round(deadline - time.monotonic()), what))
        if not self.comes:
            raise BootLost(f"{what} did not come")
        self.talk.waiting.extend(self.comes.pop(0))


def test_a_requests_own_reply_is_given_and_those_before_it_are_dropped():
    agent = Agent([{"re": "run"}], [], [{"re": "read", "data": "1"}, {"re": "run", "seq": 2}])
    assert agent.talk.request("read", path="/x") == {"re": "read", "data": "1"}
    assert agent.sent == [{"op": "read", "path": "/x"}]
    assert list(agent.talk.waiting) == [{"re": "run", "seq": 2}]
    assert agent.waits == [(15, "the reply to 'read'")] * 3


def test_a_reply_that_is_there_already_is_not_waited_for():
    agent = Agent()
    agent.talk.waiting.append({"re": "kmsg"})
    assert agent.talk.request("kmsg") == {"re": "kmsg"} and agent.waits == []


def test_no_reply_is_a_lost_boot():
    with pytest.raises(BootLost, match="the reply to 'kmsg' did not come"):
        Agent([{"re": "run"}]).talk.request("kmsg")


def test_a_command_gets_its_own_time_besides():
    agent = Agent([{"re": "command"}])
    agent.talk.request("command", timeout_ms=4_000_000)
    assert agent.waits == [(4015, "the reply to 'command'")]


def test_what_cannot_be_done_without_is_a_lost_boot():
    hands = Hands(Agent([{"re": "write", "errno": 13}]).talk.request, lost)
    with pytest.raises(BootLost, match=r"^the kernel refused to write /x: Permission denied$"):
        hands.write("/x", "1")


def test_replies_wait_for_the_first_and_take_all_that_are_there():
    agent = Agent([], [{"seq": 1}, {"seq": 2}], [{"seq": 3}])
    assert list(agent.talk.replies()) == [{"seq": 1}, {"seq": 2}]
    assert agent.waits == [(20, "an answer")] * 2
    assert list(agent.talk.replies()) == [{"seq": 3}]


def test_replies_that_are_there_are_not_waited_for():
    agent = Agent()
    agent.talk.waiting.extend([{"seq": 1}, {"seq": 2}])
    assert list(agent.talk.replies()) == [{"seq": 1}, {"seq": 2}] and agent.waits == []


def test_silence_is_a_lost_boot():
    with pytest.raises(BootLost, match="an answer did not come"):
        list(Agent().talk.replies())


def test_a_first_word_is_known():
    assert is_hello({"re": "hello"}) is True
    assert is_hello({"re": "read"}) is False and is_hello({}) is False


@pytest.mark.parametrize(
    ("symbols", "words"),
    [
        (
            {"kernel_config_data": "0xffffffff82000000", "kernel_config_data_end": "0xffffffff82000100"},
            "rodata_address=0xffffffff82000000 rodata_size=256",
        ),
        ({"kernel_config_data": 16, "kernel_config_data_end": 16}, ""),
        ({"kernel_config_data": 16, "kernel_config_data_end": 8}, ""),
        ({"kernel_config_data": 16}, ""),
        ({"kernel_config_data_end": 16}, ""),
        ({"kernel_config_data": 0, "kernel_config_data_end": 16}, ""),
        ({"argv_init": 0}, ""),
        # 34 pointers, of 4 or 8 bytes.
        ({"argv_init": 0xFFFFFFFF}, "data_address=0xffffffff data_size=136"),
        ({"argv_init": 0x100000000}, "data_address=0x100000000 data_size=272"),
        (
            {"argv_init": "0xc1000000", "kernel_config_data": 1, "kernel_config_data_end": 2},
            "rodata_address=0x1 rodata_size=1 data_address=0xc1000000 data_size=136",
        ),
        ({}, ""),
    ],
)
def test_only_objects_that_the_kernel_has_are_borrowed(symbols, words):
    assert borrowed_objects(symbols) == words


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ({"errno": 2}, "No such file or directory"),
        ({"errno": 0}, "Success"),
        ({"errno": 1, "why": "no"}, "Operation not permitted"),
        ({"errno": (1 << 31) - 1}, "Unknown error 2147483647"),
        ({"errno": 1 << 31, "why": "large"}, "large"),
        ({"errno": -1, "why": "negative"}, "negative"),
        ({"errno": None, "why": "none"}, "none"),
        ({"why": "x" * 300}, "x" * 200),
        ({}, "no reason given"),
    ],
)
def test_why_a_reply_says_no_has_words(reply, text):
    assert errno_text(reply) == text


class Half:
    """Something that has said three things; the signal comes while they are sorted."""

    said = (1, 2, 3)

    def __init__(self):
        self.taken = []
        self.waiting = []

    def flush(self):
        pass

    def sync(self, _timeout_s):
        os.kill(os.getpid(), signal.SIGINT)

    def receive(self):
        return self.said

    def take_event(self, event):
        if event == 1:
            os.kill(os.getpid(), signal.SIGINT)
        self.taken.append(event)

    def take_message(self, message):
        self.take_event(message)
        return message


@pytest.mark.parametrize(
    "step",
    [Session._exchange_lines, Boot._take_trace, BoardSession._take_trace, Boot.sync_device, BoardSession.sync_device],
)
def test_an_interrupt_never_loses_half_of_what_was_said(step):
    """A trace or a log without its end would be wrong data without a report, and the driver blamed."""
    half = Half()
    session = SimpleNamespace(agent=half, device=half, _oracle=half, gathered=half, _talk=half, limits=LIMITS)
    session._take_trace = lambda: BoardSession._take_trace(session)
    with pytest.raises(KeyboardInterrupt):
        step(session)
    assert half.taken == [1, 2, 3] and half.waiting in ([], [1, 2, 3])


def test_a_system_map_is_believed_only_where_the_kernel_does_not_move():
    text = "ffffffff81000000 T _text\nffffffff81611408 D kernel_config_data\nffffffff818086e0 d argv_init\n"
    text += "ffffffff818086f0 d argv_init_not\n"
    found = {"kernel_config_data": 0xFFFFFFFF81611408, "argv_init": 0xFFFFFFFF818086E0}
    assert linked_symbols(text, ("quiet", "nokaslr")) == found
    assert linked_symbols(text, ("quiet",)) == linked_symbols("", ("nokaslr",)) == {}
