# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests become messages; groups become transactions; strays and nonsense never reach the bus."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

import pytest
from devices_frontend import (
    FAIL_NEXT,
    I2C_FEATURES,
    READ,
    USER_BASE,
    DriverQueue,
    GuestRam,
    I2cDriver,
    Part,
)

from dmasafe.devices import trace
from dmasafe.devices.bus import default_bus
from dmasafe.devices.guest_memory import GuestMemory, Reach
from dmasafe.devices.iotlb import Iotlb
from dmasafe.devices.lies import Trespass
from dmasafe.devices.slaves.recorder import Message, Recorder, pattern
from dmasafe.devices.slaves.slow import SlowSlave
from dmasafe.devices.virtio_i2c import MAX_MESSAGE_BYTES, Mailbox, VirtioI2c
from dmasafe.devices.vring import Chain, Violation, Vring, What

STRAY = 0x2000E0C0
MAILBOX = 0x3000
OK, ERROR, UNTOUCHED = b"\x00", b"\x01", b"\xee"


class Bench:
    """A driver, a ring and a device, without the process around them."""

    def __init__(self) -> None:
        self.ram = GuestRam()
        self.memory = GuestMemory()
        self.memory.replace([self.ram.spec], [self.ram.fd])
        self.queue = DriverQueue(self.ram)
        self.driver = I2cDriver(self.queue)
        self.vring = Vring(self.memory, Iotlb(self.memory))
        self.vring.size = self.queue.size
        self.vring.set_features(I2C_FEATURES)
        self.vring.set_addresses(
            USER_BASE + self.queue.descriptors, USER_BASE + self.queue.available, USER_BASE + self.queue.used
        )
        self.bus = default_bus()
        self.mailbox = Mailbox()
        self.records: list[trace.Record] = []
        self.violations: list[Violation] = []
        self.device = VirtioI2c(
            "virtio", self.bus, self.mailbox, self.records.append, lambda v, _seq: self.violations.append(v)
        )

    def run(self) -> list[int]:
        """Handles what was offered; the lengths written."""
        while (chain := self.vring.peek()) is not None:
            assert isinstance(chain, Chain)
            self.vring.give_back(chain, self.device.handle(chain, self.memory, self.memory).finish())
        self.vring.publish()
        return [length for _head, length in self.queue.done()]

    @property
    def heard(self) -> list[Message]:
        """What the recorder saw."""
        recorder = self.bus.slaves[0x30]
        assert isinstance(recorder, Recorder)
        return list(recorder.messages)

    def scenario(self, seq: int, magic: bytes = b"dmasafe1") -> None:
        self.mailbox.address = MAILBOX
        self.ram.write(MAILBOX, magic + struct.pack("<I", seq))

    @property
    def whats(self) -> list[What]:
        return [violation.what for violation in self.violations]


@pytest.fixture
def bench() -> Iterator[Bench]:
    found = Bench()
    yield found
    found.ram.close()


@pytest.mark.parametrize("indirect", [False, True])
def test_a_write_reaches_the_slave(bench: Bench, indirect: bool) -> None:
    payload, status = bench.driver.add(0x30, b"hello", indirect=indirect)
    assert bench.run() == [1]
    assert bench.ram.read(status, 1) == OK
    assert bench.heard == [Message(False, b"hello")]
    record = bench.records[0]
    assert record[:8] == ("virtio", None, 0x30, False, 5, b"hello", True, "")
    assert record.segments == [trace.Segment(payload, 5)]
    assert [s.length for s in record.headers] == [8, 1] and record.headers[1].address == status


@pytest.mark.parametrize("indirect", [False, True])
@pytest.mark.parametrize("length", [1, 256, 8192, MAX_MESSAGE_BYTES])
def test_a_read_fills_the_buffer_and_nothing_else(bench: Bench, length: int, indirect: bool) -> None:
    bench.ram.write(0x10000 + length, b"guard")
    payload, status = bench.driver.add(0x30, length, indirect=indirect)
    assert bench.run() == [length + 1]
    assert bench.ram.read(status, 1) == OK
    assert bench.ram.read(payload, length) == pattern(0x30, 0, length) == bench.records[0].data
    assert bench.ram.read(payload + length, 5) == b"guard"


def test_zero_length_messages_are_probes(bench: Bench) -> None:
    _, present = bench.driver.add(0x30, b"")
    _, read = bench.driver.add(0x30, 0)
    _, absent = bench.driver.add(0x77, b"")
    assert bench.run() == [1, 1, 1]
    assert [bench.ram.read(at, 1) for at in (present, read, absent)] == [OK, OK, ERROR]
    assert [r.ok for r in bench.records] == [True, True, False]
    assert bench.records[0].segments == []


def test_a_nak_is_an_error_with_its_reason_and_leaves_the_buffer_alone(bench: Bench) -> None:
    bench.ram.write(0x10000, b"????")
    _, status = bench.driver.add(0x77, 4)
    assert bench.run() == [1]
    assert bench.ram.read(status, 1) == ERROR
    assert bench.ram.read(0x10000, 4) == b"????"
    assert "acknowledged" in bench.records[0].why
    bench.driver.add(0x60, b"abc")
    bench.run()
    assert bench.records[1].data == b"ab" and not bench.records[1].ok


# Groups


def test_a_group_is_one_transaction(bench: Bench) -> None:
    bench.driver.add(0x50, b"\x05data")
    bench.driver.add(0x50, b"\x05", FAIL_NEXT)
    payload, _ = bench.driver.add(0x50, 3)
    bench.run()
    assert bench.ram.read(payload, 3) == b"dat"
    # With a repeated start in place of the stop an EEPROM does not program.
    bench.driver.add(0x50, b"\x05XYZ", FAIL_NEXT)
    bench.driver.add(0x50, b"\x05", FAIL_NEXT)
    payload, _ = bench.driver.add(0x50, 3)
    bench.run()
    assert bench.ram.read(payload, 3) == b"dat"


def test_after_a_failure_the_rest_of_the_group_fails_without_reaching_the_bus(bench: Bench) -> None:
    places = [
        bench.driver.add(0x77, b"a", FAIL_NEXT)[1],
        bench.driver.add(0x30, b"b", FAIL_NEXT)[1],
        bench.driver.add(0x30, b"c")[1],
        bench.driver.add(0x30, b"d")[1],
    ]
    bench.run()
    assert [bench.ram.read(at, 1) for at in places] == [ERROR, ERROR, ERROR, OK]
    assert bench.heard == [Message(False, b"d")]
    assert [r.data for r in bench.records] == [b"", b"", b"", b"d"]
    assert "earlier message" in bench.records[1].why


def test_a_group_may_come_in_several_kicks(bench: Bench) -> None:
    bench.driver.add(0x77, b"a", FAIL_NEXT)
    bench.run()
    _, status = bench.driver.add(0x30, b"b")
    bench.run()
    assert bench.ram.read(status, 1) == ERROR


def test_a_reset_ends_a_group(bench: Bench) -> None:
    bench.driver.add(0x77, b"a", FAIL_NEXT)
    bench.run()
    bench.device.reset()
    _, status = bench.driver.add(0x30, b"b")
    bench.run()
    assert bench.ram.read(status, 1) == OK


def test_the_next_scenario_is_not_part_of_a_group_that_its_driver_cut_short(bench: Bench) -> None:
    # i2c-virtio with more messages than fit into the queue.
    bench.scenario(4)
    bench.driver.add(0x77, b"a", FAIL_NEXT)
    bench.run()
    bench.scenario(5)
    _, status = bench.driver.add(0x30, b"b")
    bench.run()
    assert bench.ram.read(status, 1) == OK
    assert bench.whats == [What.GROUP_UNFINISHED]


# Strays


@pytest.mark.parametrize("address", [STRAY, (1 << 64) - 2, 0x7F00_0000_0000])
def test_a_stray_payload_is_recorded_and_the_bus_stays_silent(bench: Bench, address: int) -> None:
    _, write = bench.driver.add(0x30, b"12345678", payload=address)
    _, read = bench.driver.add(0x30, 8, payload=address)
    assert bench.run() == [1, 1]
    assert bench.ram.read(write, 1) == bench.ram.read(read, 1) == ERROR
    assert bench.heard == []
    for record in bench.records:
        assert record.segments == [trace.Segment(address, 8, True)]
        assert not record.ok and not record.data and "stray DMA" in record.why
    assert bench.violations == []


def test_a_payload_that_runs_out_of_memory_is_stray_as_a_whole(bench: Bench) -> None:
    end = bench.ram.spec.size
    bench.ram.write(end - 4, b"????")
    bench.driver.add(0x30, 8, payload=end - 4)
    bench.run()
    assert bench.records[0].segments == [trace.Segment(end - 4, 8, True)]
    assert bench.ram.read(end - 4, 4) == b"????"


def test_a_stray_status_cannot_be_answered(bench: Bench) -> None:
    bench.driver.add(0x30, b"abc", status=STRAY)
    assert bench.run() == [0]
    assert bench.heard == []
    assert bench.whats == [What.STRAY_STATUS]
    assert bench.records[0].headers[1] == trace.Segment(STRAY, 1, True)
    assert not bench.records[0].ok


def test_a_stray_header_is_answered_with_an_error(bench: Bench) -> None:
    _, status = bench.driver.add(0x30, b"abc", header=STRAY)
    assert bench.run() == [1]
    assert bench.ram.read(status, 1) == ERROR
    assert bench.whats == [What.STRAY_REQUEST_HEADER]
    assert bench.records == []


# Layouts and nonsense


def test_a_request_may_be_cut_anywhere(bench: Bench) -> None:
    bench.ram.write(0x4000, struct.pack("<HHI", 0x30 << 1, 0, 0) + b"abcd")
    bench.queue.add([Part(0x4000, 3), Part(0x4003, 7), Part(0x400A, 0), Part(0x400A, 2), Part(0x5000, 1, True)])
    assert bench.run() == [1]
    assert bench.heard == [Message(False, b"abcd")]
    assert bench.records[0].segments == [trace.Segment(0x4008, 2), trace.Segment(0x400A, 2)]
    bench.ram.write(0x4000, struct.pack("<HHI", 0x30 << 1, 0, READ))
    bench.queue.add([Part(0x4000, 8), Part(0x6000, 3, True), Part(0x7000, 3, True)])
    assert bench.run() == [6]
    assert bench.ram.read(0x6000, 3) + bench.ram.read(0x7000, 3) == pattern(0x30, 0, 5) + OK


def header(target: int, flags: int) -> bytes:
    return struct.pack("<HHI", target, 0, flags)


@pytest.mark.parametrize(
    ("raw", "parts", "what"),
    [
        (b"", [Part(0x5000, 1, True)], What.NO_REQUEST_HEADER),
        (b"", [Part(0x4000, 7), Part(0x5000, 1, True)], What.NO_REQUEST_HEADER),
        (b"", [Part(0x4000, 8)], What.NO_STATUS),
        (header(0x61, 0), [Part(0x4000, 8), Part(0x5000, 1, True)], What.ADDRESS_FORMAT),
        (header(0x12F0, 0), [Part(0x4000, 8), Part(0x5000, 1, True)], What.ADDRESS_FORMAT),
        (header(0x60, 4), [Part(0x4000, 8), Part(0x5000, 1, True)], What.RESERVED_FLAGS),
        (header(0x60, READ), [Part(0x4000, 9), Part(0x5000, 1, True)], What.WRONG_DIRECTION),
        (header(0x60, 0), [Part(0x4000, 8), Part(0x5000, 2, True)], What.WRONG_DIRECTION),
        (header(0x60, 0), [Part(0x4000, 8), Part(0x6000, 65536), Part(0x5000, 1, True)], What.MESSAGE_TOO_LONG),
        (header(0x60, 0), [Part(0x4000, 8), Part(0x6000, 0xFFFFFFFF), Part(0x5000, 1, True)], What.MESSAGE_TOO_LONG),
    ],
)
def test_nonsense_has_a_name_and_an_error_status(bench: Bench, raw: bytes, parts: list[Part], what: What) -> None:
    bench.ram.write(0x4000, raw)
    bench.ram.write(0x5000, UNTOUCHED * 2)
    bench.queue.add(parts)
    bench.run()
    assert bench.whats == [what]
    assert bench.heard == []
    last = parts[-1]
    if last.writable:
        assert bench.ram.read(last.address + last.length - 1, 1) == ERROR


# The mailbox


def test_messages_carry_the_scenario_under_way(bench: Bench) -> None:
    bench.scenario(17)
    bench.driver.add(0x30, b"a")
    bench.run()
    bench.scenario(0xFFFFFFFF)
    bench.driver.add(0x30, b"b")
    bench.run()
    bench.scenario(18, b"dmasafe2")
    bench.driver.add(0x30, b"c")
    bench.run()
    bench.mailbox.address = STRAY
    bench.driver.add(0x30, b"d")
    bench.run()
    assert [record.seq for record in bench.records] == [17, None, None, None]


# A slow slave


def test_a_slow_read_lands_in_memory_only_when_the_clock_is_released(bench: Bench) -> None:
    slow = bench.bus.slaves[0x68]
    assert isinstance(slow, SlowSlave)
    slow.stretch_ms = 300
    payload, status = bench.driver.add(0x68, 2)
    chain = bench.vring.peek()
    assert isinstance(chain, Chain)
    job = bench.device.handle(chain, bench.memory, bench.memory)
    assert job.delay_s == 0.3
    assert bench.ram.read(status, 1) == UNTOUCHED and bench.records == []
    assert job.finish() == 3
    assert bench.ram.read(payload, 2) == b"\x2c\x01"


def test_memory_that_went_away_while_the_clock_was_held_is_not_written(bench: Bench) -> None:
    bench.driver.add(0x68, 2)
    chain = bench.vring.peek()
    assert isinstance(chain, Chain)
    job = bench.device.handle(chain, bench.memory, bench.memory)
    bench.memory.close()
    assert job.finish() == 0


# The trace


def test_a_trace_line_is_json_and_leads_back_to_the_message(bench: Bench) -> None:
    bench.scenario(17)
    bench.driver.add(0x30, b"\x00\xff", payload=0x12345)
    bench.driver.add(0x30, 4, payload=STRAY)
    bench.run()
    lines = [trace.line(record) for record in bench.records]
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    first = json.loads(lines[0])
    assert first | {"headers": None} == {
        "ev": "message",
        "controller": "virtio",
        "seq": 17,
        "addr": 0x30,
        "read": False,
        "len": 2,
        "data": "00ff",
        "ok": True,
        "why": "",
        "segments": [{"address": 0x12345, "length": 2, "stray": False}],
        "headers": None,
    }
    seq, controller, message = trace.parse(json.loads(lines[1]))
    assert (seq, controller) == (17, "virtio")
    assert (message.address, message.read, message.ok, message.data) == (0x30, True, False, b"")
    assert message.segments[0].stray and message.segments[0].address == STRAY
    assert "stray" in message.why


@pytest.mark.parametrize(
    "event",
    [{}, {"ev": "ready"}, {"ev": "message"}, {"ev": "message", "seq": None, "addr": "x"}],
)
def test_what_is_no_message_line_is_refused(event: dict[str, object]) -> None:
    with pytest.raises(trace.TraceError):
        trace.parse(event)


class Spy:
    """An address space that notes what is reached, and that may refuse."""

    def __init__(self, memory: GuestMemory, refuses: bool = False) -> None:
        self._memory = memory
        self.refuses = refuses
        self.reached: list[tuple[int, int, bool]] = []

    def reach(self, address: int, length: int, write: bool) -> Reach | None:
        self.reached.append((address, length, write))
        return None if self.refuses else self._memory.reach(address, length, write)

    def physical(self, address: int, reach: Reach) -> int:
        return address


@pytest.mark.parametrize(
    ("how", "read", "offset", "length", "write"),
    [
        (Trespass.BEYOND, True, 8, 1, True),
        (Trespass.BEYOND, False, 8, 1, False),
        (Trespass.LATE, True, 0, 8, True),
        (Trespass.LATE, False, 0, 8, False),
        (Trespass.READ, True, 0, 8, False),
        (Trespass.WRITE, False, 0, 8, True),
    ],
)
@pytest.mark.parametrize("refuses", [False, True])
def test_a_trespass_goes_where_the_device_has_no_business(
    bench: Bench, how: Trespass, read: bool, offset: int, length: int, write: bool, refuses: bool
) -> None:
    payload, _status = bench.driver.add(0x30, 8 if read else b"to send!")
    bench.ram.write(payload + 8, b"!")
    chain = bench.vring.peek()
    assert isinstance(chain, Chain)
    spy = Spy(bench.memory)
    job = bench.device.handle(chain, spy, bench.memory)
    before = bench.ram.read(payload, 9)
    spy.reached.clear()
    spy.refuses = refuses
    job.trespass(how)
    assert spy.reached == [(payload + offset, length, write)]
    assert (bench.ram.read(payload, 9) != before) is (write and not refuses)


@pytest.mark.parametrize(("how", "read"), [(Trespass.READ, False), (Trespass.WRITE, True)])
def test_there_is_no_trespass_in_the_right_direction(bench: Bench, how: Trespass, read: bool) -> None:
    bench.driver.add(0x30, 8 if read else b"to send!")
    chain = bench.vring.peek()
    assert isinstance(chain, Chain)
    spy = Spy(bench.memory)
    job = bench.device.handle(chain, spy, bench.memory)
    spy.reached.clear()
    job.trespass(how)
    assert spy.reached == []
