# SPDX-License-Identifier: GPL-2.0-or-later
"""The bus: who answers, what a NAK looks like, where transactions end."""

from __future__ import annotations

from dmasafe.devices.bus import ADDRESS_NAK, Bus, Nak, default_bus


class Spy:
    """A slave that notes what happens to it."""

    def __init__(self, accepts: int = 99, answer: bytes | None = b"", stretch_s: float = 0.0) -> None:
        self.log: list[object] = []
        self.accepts = accepts
        self.answer = answer
        self.stretch_s = stretch_s

    def write(self, data: bytes) -> int:
        self.log.append(("write", data))
        return min(self.accepts, len(data))

    def read(self, length: int) -> bytes | None:
        self.log.append(("read", length))
        return self.answer

    def stop(self) -> None:
        self.log.append("stop")


def test_an_address_without_slave_is_not_acknowledged() -> None:
    result = default_bus().transfer(0x77, False, b"\x01")
    assert (result.nak, result.ok, result.data) == (Nak.NO_SLAVE, False, b"")
    assert default_bus().transfer(0x1234, True, 4).nak is Nak.NO_SLAVE


def test_default_bus_has_the_documented_slaves() -> None:
    bus = default_bus()
    assert [a for a in range(128) if bus.transfer(a, False, b"").ok] == [0x20, 0x30, 0x40, 0x50, 0x51, 0x60, 0x68]


def test_a_refused_byte_is_on_the_wire_and_nothing_after_it() -> None:
    result = Bus({0x10: Spy(accepts=2)}).transfer(0x10, False, b"abcd")
    assert (result.nak, result.data) == (Nak.DATA, b"abc")


def test_a_slave_can_refuse_its_address() -> None:
    bus = Bus({0x10: Spy(accepts=ADDRESS_NAK, answer=None)})
    assert bus.transfer(0x10, False, b"ab")[:2] == (Nak.ADDRESS, b"")
    assert bus.transfer(0x10, True, 3)[:2] == (Nak.ADDRESS, b"")


def test_the_stop_comes_after_the_last_message_only() -> None:
    slave = Spy(answer=b"xy")
    bus = Bus({0x10: slave})
    bus.transfer(0x10, False, b"\x05", last=False)
    bus.transfer(0x10, True, 2, last=True)
    assert slave.log == [("write", b"\x05"), ("read", 2), "stop"]


def test_every_slave_of_a_transaction_sees_its_stop() -> None:
    one, two = Spy(), Spy()
    bus = Bus({1: one, 2: two})
    bus.transfer(1, False, b"a", last=False)
    bus.transfer(2, False, b"b")
    assert one.log[-1] == two.log[-1] == "stop"


def test_a_failing_message_ends_the_transaction() -> None:
    slave = Spy()
    bus = Bus({1: slave})
    bus.transfer(1, False, b"a", last=False)
    bus.transfer(2, False, b"b", last=False)
    assert slave.log == [("write", b"a"), "stop"]


def test_a_slave_that_says_too_little_leaves_the_bus_high() -> None:
    assert Bus({1: Spy(answer=b"a")}).transfer(1, True, 3).data == b"a\xff\xff"
    assert Bus({1: Spy(answer=b"abcd")}).transfer(1, True, 3).data == b"abc"


def test_the_time_a_slave_holds_the_clock_is_reported_not_slept() -> None:
    assert Bus({1: Spy(stretch_s=30.0)}).transfer(1, False, b"").delay_s == 30.0
