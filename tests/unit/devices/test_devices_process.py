# SPDX-License-Identifier: GPL-2.0-or-later
"""The real process, with the test playing QEMU on one side and the harness on the other."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from devices_frontend import (
    FAIL_NEXT,
    I2C_FEATURES,
    USER_BASE,
    DriverQueue,
    Frontend,
    GuestRam,
    I2cDriver,
)

from dmasafe.devices import trace
from dmasafe.devices.client import DeviceProcess
from dmasafe.devices.errors import DevicesError
from dmasafe.devices.lies import LIES
from dmasafe.devices.output import MAX_WAITING_BYTES
from dmasafe.devices.server import LATE_S, STALLED_S, Server

F_ACCESS_PLATFORM = 1 << 33
EXIT_TIMEOUT_S = 5.0


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[DeviceProcess]:
    with DeviceProcess(tmp_path) as found:
        found.wait_ready()
        yield found


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    found = GuestRam()
    yield found
    found.close()


@pytest.fixture
def frontend(devices: DeviceProcess) -> Iterator[Frontend]:
    found = Frontend(devices.socket("virtio"))
    yield found
    found.close()


@pytest.fixture
def driver(frontend: Frontend, ram: GuestRam) -> I2cDriver:
    """A driver whose device is up and running."""
    queue = DriverQueue(ram, size=4)
    frontend.begin()
    frontend.start(queue)
    return I2cDriver(queue)


def events(devices: DeviceProcess, kind: str) -> list[dict[str, Any]]:
    return [event for event in devices.receive() if event.get("ev") == kind]


def round_trip(frontend: Frontend, driver: I2cDriver, data: bytes | int, **options: Any) -> tuple[bytes, bytes]:
    """(payload, status) of one message that the guest waits for."""
    driver.queue.want_event(driver.queue.used_index())
    payload, status = driver.add(options.pop("address", 0x30), data, **options)
    frontend.notify()
    assert frontend.called()
    assert len(driver.queue.done()) == 1
    length = data if isinstance(data, int) else len(data)
    return driver.queue.ram.read(payload, length), driver.queue.ram.read(status, 1)


# Life


def test_it_is_up_quickly_and_goes_with_its_harness(tmp_path: Path) -> None:
    with DeviceProcess(tmp_path) as devices:
        devices.wait_ready()
        assert devices.alive
        assert {path.name for path in tmp_path.glob("*.sock")} == {"virtio.sock", "dmasafe.sock"}
        pid = devices.pid
    assert not devices.alive
    assert not Path(f"/proc/{pid}").exists()
    assert list(tmp_path.glob("*.sock")) == []
    assert devices.log.read_text() == ""


@pytest.mark.parametrize("ending", ["SIGTERM", "quit", "end of control"])
def test_every_way_to_end_is_clean(tmp_path: Path, ending: str) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(EXIT_TIMEOUT_S)
    arguments = ["--directory", str(tmp_path), "--controller=virtio", "--control-fd", str(theirs.fileno())]
    process = subprocess.Popen(
        [sys.executable, "-m", "dmasafe.devices", *arguments], pass_fds=[theirs.fileno()], stderr=subprocess.PIPE
    )
    theirs.close()
    assert ours.recv(100) == b'{"ev":"ready"}\n'
    if ending == "SIGTERM":
        process.send_signal(signal.SIGTERM)
    elif ending == "quit":
        ours.sendall(b'{"op":"quit"}\n')
    else:
        ours.close()
    assert process.communicate(timeout=EXIT_TIMEOUT_S)[1] == b""
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []
    ours.close()


def test_a_killed_process_is_told_and_its_sockets_are_taken_over(tmp_path: Path) -> None:
    devices = DeviceProcess(tmp_path)
    devices.wait_ready()
    os.kill(devices.pid, signal.SIGKILL)
    with pytest.raises(DevicesError, match="died"):
        devices.sync()
    devices.close()
    with DeviceProcess(tmp_path) as again:
        again.wait_ready()


def test_two_runs_cannot_share_a_directory(tmp_path: Path) -> None:
    with DeviceProcess(tmp_path) as first:
        first.wait_ready()
        second = DeviceProcess(tmp_path)
        with pytest.raises(DevicesError, match="another run"):
            second.wait_ready()
        second.close()
        first.sync()


@pytest.mark.parametrize(
    "arguments", [[], ["--directory", "x"], ["--controller"], ["--controller=../x"], ["--what"], ["--control-fd=x"]]
)
def test_a_wrong_command_line_is_explained(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dmasafe.devices", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("dmasafe.devices: ") and "usage:" in done.stderr


def test_without_a_harness_the_trace_goes_to_standard_output(tmp_path: Path, ram: GuestRam) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "dmasafe.devices", "--directory", str(tmp_path), "--controller", "virtio"],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"ev": "ready"}
    frontend = Frontend(tmp_path / "virtio.sock")
    frontend.begin()
    frontend.start(DriverQueue(ram, size=4))
    driver = I2cDriver(DriverQueue(ram, size=4))
    round_trip(frontend, driver, b"x" * 5000)
    assert json.loads(process.stdout.readline())["ev"] == "connected"
    assert json.loads(process.stdout.readline())["ev"] == "queue"
    assert json.loads(process.stdout.readline())["data"] == "78" * 5000
    frontend.close()
    process.terminate()
    rest = process.communicate(timeout=EXIT_TIMEOUT_S)[0]
    assert process.returncode == 0
    assert b"disconnected" in rest


# The control channel


def test_questions_that_cannot_be_answered_are_answered_so(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(EXIT_TIMEOUT_S)
    arguments = ["--directory", str(tmp_path), "--controller=virtio"]
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "dmasafe.devices", *arguments, "--control-fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
        )
    lines = ours.makefile("r")
    lines.readline()
    for question in (
        b"nonsense",
        b"[]",
        b'"x"',
        b'{"op":7}',
        b'{"op":"dance"}',
        b'{"op":"mailbox","address":-1}',
        b'{"op":"mailbox","address":"x"}',
        b'{"op":"fault","controller":"virtio","name":"none"}',
        b"[" * 60000,
        b"\xff\xfe",
    ):
        ours.sendall(question + b"\n")
        answer = json.loads(lines.readline())
        assert answer["re"] == "error" and answer["why"], question
    ours.sendall(b'{"op":"sync","n":7}\n{"op":"sync"}\n')
    assert json.loads(lines.readline()) == {"re": "sync", "n": 7}
    assert json.loads(lines.readline()) == {"re": "sync", "n": None}
    ours.sendall(b"x" * 200_000)
    assert process.wait(EXIT_TIMEOUT_S) == 0, "a line without end is no question"
    lines.close()
    ours.close()


def test_sync_covers_requests_that_nobody_kicked(devices: DeviceProcess, driver: I2cDriver) -> None:
    for number in range(100):
        _, status = driver.add(0x30, bytes([number]), indirect=True)
        devices.sync()
        assert [e["data"] for e in events(devices, "message")] == [f"{number:02x}"]
        assert driver.queue.ram.read(status, 1) == b"\x00"


def test_sync_waits_for_a_slow_slave(devices: DeviceProcess, frontend: Frontend, driver: I2cDriver) -> None:
    round_trip(frontend, driver, b"\x00\x2c\x01", address=0x68)
    driver.add(0x68, 4)
    began = time.monotonic()
    devices.sync()
    assert time.monotonic() - began >= 0.25
    assert [e["read"] for e in events(devices, "message")] == [False, True]


def test_a_slow_slave_holds_up_its_own_controller_only(
    devices: DeviceProcess, frontend: Frontend, driver: I2cDriver
) -> None:
    # The longest that a slave can take: the test would time out if anything waited for it.
    round_trip(frontend, driver, b"\x00\xff\xff", address=0x68)
    driver.add(0x68, 4)
    frontend.notify()
    with contextlib.closing(Frontend(devices.socket("dmasafe"))) as other, contextlib.closing(GuestRam()) as ram:
        queue = DriverQueue(ram, size=4)
        other.begin()
        other.start(queue)
        began = time.monotonic()
        assert round_trip(other, I2cDriver(queue), b"quick")[1] == b"\x00"
        assert time.monotonic() - began < 5
        # A stopped ring leaves nothing behind: the answer is written early.
        assert frontend.stop() == 2
        assert len(driver.queue.done()) == 1


def test_messages_carry_the_mailbox_of_the_guest(
    devices: DeviceProcess, frontend: Frontend, driver: I2cDriver, ram: GuestRam
) -> None:
    ram.write(0x3000, b"dmasafe1" + struct.pack("<I", 4711))
    devices.set_mailbox(0x3000)
    devices.sync()
    round_trip(frontend, driver, b"a")
    devices.set_mailbox(1 << 40)
    devices.sync()
    round_trip(frontend, driver, b"a")
    devices.sync()
    assert [e["seq"] for e in events(devices, "message")] == [4711, None]


def test_messages_carry_the_scenario_that_the_harness_says_where_the_guest_has_no_mailbox(
    devices: DeviceProcess, frontend: Frontend, driver: I2cDriver
) -> None:
    for number in (12, None):
        devices.set_scenario(number)
        round_trip(frontend, driver, b"a")
    devices.sync()
    assert [e["seq"] for e in events(devices, "message")] == [12, None]
    devices._ask(op="scenario", seq="one")
    devices.sync()
    assert "a scenario has a number" in str(devices.receive())


def test_a_harness_that_does_not_listen_loses_lines_and_learns_how_many(
    devices: DeviceProcess, frontend: Frontend, driver: I2cDriver
) -> None:
    devices.sync()
    devices.receive()
    size = 65535
    sent = MAX_WAITING_BYTES // (2 * size) + 40
    for _ in range(sent):
        assert round_trip(frontend, driver, b"x" * size, payload=0x40000)[1] == b"\x00"
    devices.sync()
    found = devices.receive()
    messages = [e for e in found if e["ev"] == "message"]
    dropped = sum(e["count"] for e in found if e["ev"] == "dropped")
    assert dropped > 0
    assert len(messages) + dropped == sent
    round_trip(frontend, driver, b"again")
    devices.sync()
    assert [e["len"] for e in events(devices, "message")] == [5]


# vhost-user


def test_a_guest_that_transfers(devices: DeviceProcess, frontend: Frontend, driver: I2cDriver) -> None:
    assert round_trip(frontend, driver, b"hello") == (b"hello", b"\x00")
    read, status = round_trip(frontend, driver, 32, indirect=True)
    assert status == b"\x00"
    assert round_trip(frontend, driver, b"?", address=0x77)[1] == b"\x01"
    devices.sync()
    connected, queue, *found = devices.receive()
    assert connected == {"ev": "connected", "controller": "virtio"}
    assert queue == {"ev": "queue", "controller": "virtio", "entries": 4}
    parsed = [trace.parse(event) for event in found]
    assert [(controller, message.ok) for _, controller, message in parsed] == [
        ("virtio", True),
        ("virtio", True),
        ("virtio", False),
    ]
    assert parsed[1][2].data == read


def test_the_two_controllers_are_two_worlds(devices: DeviceProcess, frontend: Frontend, driver: I2cDriver) -> None:
    round_trip(frontend, driver, b"\x10\x99", address=0x20)
    with contextlib.closing(Frontend(devices.socket("dmasafe"))) as other, contextlib.closing(GuestRam()) as ram:
        queue = DriverQueue(ram, size=4)
        other.begin()
        other.start(queue)
        again = I2cDriver(queue)
        again.add(0x20, b"\x10", FAIL_NEXT, indirect=True)
        assert round_trip_rest(other, again, 1) == b"\x10"
    devices.sync()
    assert [e["controller"] for e in events(devices, "message")] == ["virtio", "dmasafe", "dmasafe"]


def round_trip_rest(frontend: Frontend, driver: I2cDriver, length: int) -> bytes:
    """The read that ends a group which was offered before."""
    payload, _status = driver.add(0x20, length, indirect=True)
    driver.queue.want_event(1)
    frontend.notify()
    assert frontend.called()
    assert len(driver.queue.done()) == 2
    return driver.queue.ram.read(payload, length)


def test_a_ring_that_is_stopped_goes_on_where_it_was(frontend: Frontend, driver: I2cDriver) -> None:
    round_trip(frontend, driver, b"a")
    round_trip(frontend, driver, b"b")
    assert frontend.stop() == 2
    driver.add(0x30, b"c")
    frontend.notify()
    assert not frontend.called(0.05), "a stopped ring is not processed"
    driver.queue.want_event(2)
    frontend.start(driver.queue, base=2)
    assert frontend.called()
    assert len(driver.queue.done()) == 1


def test_a_disabled_ring_waits(frontend: Frontend, driver: I2cDriver) -> None:
    assert frontend.acknowledged(18, struct.pack("=II", 0, 0)) == 0
    driver.queue.want_event(0)
    driver.add(0x30, b"a")
    frontend.notify()
    assert not frontend.called(0.05)
    assert frontend.acknowledged(18, struct.pack("=II", 0, 1)) == 0
    assert frontend.called()


def test_a_new_memory_table_moves_everything(
    devices: DeviceProcess, frontend: Frontend, driver: I2cDriver, ram: GuestRam
) -> None:
    round_trip(frontend, driver, b"a")
    with contextlib.closing(GuestRam(0x10000, 1 << 32)) as more:
        assert round_trip(frontend, driver, b"far", payload=1 << 32)[1] == b"\x01"
        assert frontend.memory(ram, more) == 0
        more.write(1 << 32, b"far")
        assert round_trip(frontend, driver, b"far", payload=1 << 32)[1] == b"\x00"
        assert frontend.memory(ram) == 0
        assert round_trip(frontend, driver, b"far", payload=1 << 32)[1] == b"\x01"
    devices.sync()
    found = events(devices, "message")
    assert [e["ok"] for e in found] == [True, False, True, False]
    assert [e["segments"][0]["stray"] for e in found] == [False, True, False, True]


def test_a_table_that_cannot_be_is_refused_and_the_guest_goes_on(
    devices: DeviceProcess, frontend: Frontend, driver: I2cDriver, ram: GuestRam
) -> None:
    row = struct.pack("=QQQQ", 0, ram.spec.size, USER_BASE, 0)
    assert frontend.acknowledged(5, struct.pack("=II", 2, 0) + row + row, (ram.fd, ram.fd)) == 1
    assert frontend.acknowledged(5, struct.pack("=II", 1, 0) + row, ()) == 1
    assert frontend.acknowledged(5, struct.pack("=II", 200, 0) + row, (ram.fd,)) == 1
    assert frontend.acknowledged(5, struct.pack("=II", 1, 0) + row, (frontend.kick,)) == 1
    assert round_trip(frontend, driver, b"still here")[1] == b"\x00"
    devices.sync()
    assert {e["what"] for e in events(devices, "violation")} == {"frontend-message"}


def test_a_frontend_can_go_and_another_one_come(devices: DeviceProcess) -> None:
    for number in range(3):
        with contextlib.closing(Frontend(devices.socket("virtio"))) as frontend, contextlib.closing(GuestRam()) as ram:
            queue = DriverQueue(ram, size=4)
            # As QEMU 7.2's vhost-user-i2c does after a reconnect.
            frontend.begin(negotiate=number != 1)
            frontend.start(queue)
            assert round_trip(frontend, I2cDriver(queue), b"hello")[1] == b"\x00"
    devices.sync()
    told = list(devices.receive())
    assert {(e["controller"], e["entries"]) for e in told if e["ev"] == "queue"} == {("virtio", 4)}
    kinds = [e["ev"] for e in told if e["ev"] != "queue"]
    assert kinds[:5] == ["connected", "message", "disconnected", "connected", "message"]


def test_a_second_frontend_waits_for_the_first_to_leave(devices: DeviceProcess, ram: GuestRam) -> None:
    first = Frontend(devices.socket("virtio"))
    first.begin()
    with contextlib.closing(Frontend(devices.socket("virtio"))) as second:
        second.send(1)
        first.close()
        assert second.receive()[0] == 1


def test_without_protocol_features_the_ring_is_enabled_from_the_start(
    devices: DeviceProcess, frontend: Frontend, ram: GuestRam
) -> None:
    queue = DriverQueue(ram, size=4)
    frontend.begin(negotiate=False)
    features = I2C_FEATURES & ~(1 << 30)
    frontend.send(2, struct.pack("=Q", features))
    assert frontend.memory(ram) == 0
    frontend.send(8, struct.pack("=II", 0, 4))
    frontend.send(10, struct.pack("=II", 0, 0))
    places = (USER_BASE + queue.descriptors, USER_BASE + queue.used, USER_BASE + queue.available)
    frontend.send(9, struct.pack("=IIQQQQ", 0, 0, *places, 0))
    frontend.send(12, struct.pack("=Q", 0), (frontend.kick,))
    assert round_trip(frontend, I2cDriver(queue), b"x")[1] == b"\x00"


@pytest.mark.parametrize(
    ("request_", "payload"),
    [
        (99, b""),
        (0, b""),
        (2, b"short"),
        (8, struct.pack("=II", 0, 3)),
        (8, struct.pack("=II", 0, 65536)),
        (8, struct.pack("=II", 1, 4)),
        (9, struct.pack("=IIQQQQ", 0, 1, 0, 0, 0, 0)),
        (9, struct.pack("=IIQQQQ", 0, 0, 1, 0, 0, 0)),
        (10, b""),
        (12, struct.pack("=Q", 0x100)),
        (13, struct.pack("=Q", 0)),
        (13, struct.pack("=Q", 5)),
        (16, struct.pack("=Q", 1 << 63)),
        (18, struct.pack("=II", 255, 1)),
        (21, b""),
        (22, struct.pack("=QQQBB6x", 0, 0, 0, 0, 2)),
        (22, struct.pack("=QQQBB6x", 0, 0, 0, 0, 77)),
    ],
)
def test_a_message_that_cannot_be_obeyed_is_answered_with_an_error(
    devices: DeviceProcess, frontend: Frontend, driver: I2cDriver, request_: int, payload: bytes
) -> None:
    assert frontend.acknowledged(request_, payload) == 1
    devices.sync()
    assert [e["what"] for e in events(devices, "violation")] == ["frontend-message"]
    assert frontend.u64(1), "and the connection goes on"


def test_a_ring_broken_by_the_guest_is_reported_once_and_works_again_after_a_reset(
    devices: DeviceProcess, frontend: Frontend, driver: I2cDriver, ram: GuestRam
) -> None:
    round_trip(frontend, driver, b"before")
    ram.write(driver.queue.available + 2, b"\x99\x99")
    for _ in range(3):
        frontend.notify()
        devices.sync()
    assert [e["what"] for e in events(devices, "violation")] == ["available-index"]
    assert os.eventfd_read(frontend.error) == 1
    assert frontend.stop() == 1
    ram.write(driver.queue.available + 2, b"\x01\x00")
    frontend.start(driver.queue, base=1)
    assert round_trip(frontend, driver, b"after")[1] == b"\x00"


def test_descriptors_of_the_wrong_kind_are_refused(
    devices: DeviceProcess, frontend: Frontend, driver: I2cDriver, ram: GuestRam
) -> None:
    assert frontend.acknowledged(12, struct.pack("=Q", 0), (ram.fd,)) == 1
    assert frontend.acknowledged(21, b"", (ram.fd,)) == 1
    assert frontend.acknowledged(12, struct.pack("=Q", 0), (frontend.kick,)) == 0
    assert round_trip(frontend, driver, b"still here")[1] == b"\x00"


@pytest.mark.parametrize("garbage", [b"\xff" * 64, struct.pack("=III", 1, 1, 1 << 30), struct.pack("=III", 1, 0, 0)])
def test_bytes_that_are_no_message_end_the_connection_only(devices: DeviceProcess, garbage: bytes) -> None:
    with contextlib.closing(Frontend(devices.socket("virtio"))) as frontend:
        frontend.socket.sendall(garbage)
        with pytest.raises((EOFError, ConnectionResetError)):
            frontend.receive()
    with contextlib.closing(Frontend(devices.socket("virtio"))) as frontend:
        assert frontend.u64(1)


def test_messages_may_come_in_pieces(devices: DeviceProcess, frontend: Frontend) -> None:
    for byte in struct.pack("=III", 1, 1, 0) * 2:
        frontend.socket.sendall(bytes([byte]))
    assert frontend.receive()[0] == frontend.receive()[0] == 1


def test_descriptors_are_not_leaked(devices: DeviceProcess, ram: GuestRam) -> None:
    def opened() -> int:
        devices.sync()
        return len(list(Path(f"/proc/{devices.pid}/fd").iterdir()))

    counts = []
    for _ in range(4):
        with contextlib.closing(Frontend(devices.socket("virtio"))) as frontend:
            frontend.begin()
            for _ in range(3):
                frontend.start(DriverQueue(ram, size=4))
            frontend.send(99, b"", (ram.fd, ram.fd))
            frontend.send(3, b"", (ram.fd,))
            assert frontend.u64(1)
            counts.append(opened())
    assert len(set(counts)) == 1


def test_sync_covers_more_requests_than_are_taken_in_one_turn(
    devices: DeviceProcess, frontend: Frontend, ram: GuestRam
) -> None:
    queue = DriverQueue(ram, base=0x40000, size=1024)
    frontend.begin()
    frontend.start(queue)
    driver = I2cDriver(queue)
    for _ in range(1000):
        driver.add(0x30, b"x", indirect=True)
    frontend.notify()
    devices.sync()
    assert len(queue.done()) == 1000
    assert len(events(devices, "message")) == 1000


# Behind an IOMMU


class Iommu:
    """The front-end's answers to IOTLB misses: identity, for the pages in ``mapped``."""

    def __init__(self, frontend: Frontend, mapped: set[int]) -> None:
        self.frontend = frontend
        self.mapped = mapped
        self.asked: list[tuple[int, int]] = []

    def answer(self) -> None:
        """One miss, as QEMU answers it: the mapping on the main connection, then the reply on the channel."""
        request, flags, length = struct.unpack("=III", self.frontend._exactly(self.frontend.channel, 12))
        assert (request, flags & 3, length) == (1, 1, 32)
        iova, _size, _user, permission, kind = struct.unpack(
            "=QQQBB6x", self.frontend._exactly(self.frontend.channel, length)
        )
        assert kind == 1
        page = iova & ~0xFFF
        self.asked.append((page, permission))
        if page in self.mapped:
            entry = struct.pack("=QQQBB6x", page, 0x1000, USER_BASE + page, 3, 2)
            assert self.frontend.acknowledged(22, entry) == 0
        self.frontend.channel.sendall(struct.pack("=IIIQ", 1, 0b101, 8, 0))


def test_behind_an_iommu_each_page_is_asked_for_once_and_unmapped_ones_are_stray(
    devices: DeviceProcess, frontend: Frontend, ram: GuestRam
) -> None:
    queue = DriverQueue(ram, size=4)
    frontend.begin()
    frontend.start(queue, features=I2C_FEATURES | F_ACCESS_PLATFORM)
    iommu = Iommu(frontend, {0x1000, 0x4000, 0x5000, 0x10000})
    driver = I2cDriver(queue)
    driver.add(0x30, b"hello")
    frontend.notify()
    for _ in range(4):
        iommu.answer()
    assert frontend.called()
    assert iommu.asked == [(0x1000, 1), (0x4000, 1), (0x5000, 2), (0x10000, 1)]
    assert round_trip_again(frontend, driver) == b"\x00", "the second time nothing is asked"

    queue.want_event(queue.used_index())
    _, status = driver.add(0x30, b"hello", payload=0x20000)
    frontend.notify()
    iommu.answer()
    assert frontend.called()
    assert ram.read(status, 1) == b"\x01"

    # An invalidated page is asked for again.
    assert frontend.acknowledged(22, struct.pack("=QQQBB6x", 0x10000, 0x1000, 0, 0, 3)) == 0
    queue.want_event(queue.used_index())
    driver.add(0x30, b"hello")
    frontend.notify()
    iommu.answer()
    assert iommu.asked[-1] == (0x10000, 1)
    assert frontend.called()
    devices.sync()
    found = events(devices, "message")
    assert [e["segments"][0]["stray"] for e in found] == [False, False, True, False]


def round_trip_again(frontend: Frontend, driver: I2cDriver) -> bytes:
    driver.queue.want_event(driver.queue.used_index())
    _, status = driver.add(0x30, b"again")
    frontend.notify()
    assert frontend.called()
    return driver.queue.ram.read(status, 1)


def test_with_nobody_to_ask_unmapped_pages_are_stray(devices: DeviceProcess, frontend: Frontend, ram: GuestRam) -> None:
    queue = DriverQueue(ram, size=4)
    frontend.begin()
    frontend.start(queue, features=I2C_FEATURES | F_ACCESS_PLATFORM)
    for page in (0x1000, 0x4000, 0x5000):
        entry = struct.pack("=QQQBB6x", page, 0x1000, USER_BASE + page, 3, 2)
        assert frontend.acknowledged(22, entry) == 0
    _, status = I2cDriver(queue).add(0x30, b"hello")
    frontend.notify()
    frontend.channel.recv(44)
    frontend.channel.close()
    frontend._channel_theirs.close()
    assert frontend.called()
    assert ram.read(status, 1) == b"\x01"


@pytest.mark.parametrize("name", LIES)
def test_each_lie_is_told_until_it_is_taken_back(tmp_path: Path, name: str) -> None:
    """Fault and truth on one ring: what the guest and the harness see of it."""
    with DeviceProcess(tmp_path) as devices, contextlib.closing(GuestRam()) as ram:
        devices.wait_ready()
        devices.set_fault("dmasafe", name)
        with contextlib.closing(Frontend(devices.socket("dmasafe"))) as frontend:
            queue = DriverQueue(ram)
            frontend.begin()
            frontend.start(queue)
            driver = I2cDriver(queue)
            queue.want_event(0)
            payload, _status = driver.add(0x30, b"truth")
            frontend.notify()
            told = frontend.called(0.5)
            done = queue.done()
            devices.sync()
            events = devices.receive()
            data = [event["data"] for event in events if event["ev"] == "message"]
            what = {event["what"] for event in events if event["ev"] == "violation"}
            seen = {
                "wrong-bytes": told and data == [bytes(octet ^ 0xFF for octet in b"truth").hex()],
                "wrong-length": told and done[0][1] == 65 and what == {"device-used-length"},
                "twice": told and len(done) == 2 and what == {"device-used-twice"},
                "never": not told and done == [] and data == [b"truth".hex()],
                "slow": not told and data in ([], [b"truth".hex()]),
                # To the driver all is well; what else is done shows in memory, or to the strict machine.
                **dict.fromkeys(("late", "beyond", "reads-receive-buffer"), told and data == [b"truth".hex()]),
                "late-after-timeout": not told and done == [] and data == [b"truth".hex()],
                "writes-send-buffer": told and ram.read(payload, 5) == bytes(octet ^ 0xFF for octet in b"truth"),
            }
            assert seen[name], (told, done, events)
            if name == "slow":
                assert frontend.called(10.0)
            devices.set_fault("dmasafe", None)
            queue.seen = queue.used_index()
            queue.want_event(queue.seen)
            driver.add(0x30, b"again", payload=payload)
            frontend.notify()
            assert frontend.called() and len(queue.done()) == 1


def test_a_lie_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with DeviceProcess(tmp_path) as devices:
        devices.wait_ready()
        with pytest.raises(DevicesError, match="wrong-bytes"):
            devices.set_fault("virtio", "white")


def test_a_process_that_was_stopped_says_for_how_long(tmp_path: Path) -> None:
    with DeviceProcess(tmp_path) as devices:
        devices.wait_ready()
        devices.sync()
        os.kill(devices.pid, signal.SIGSTOP)
        time.sleep(LATE_S + 0.3)
        os.kill(devices.pid, signal.SIGCONT)
        devices.sync()
        deadline = time.monotonic() + 5
        late: list[float] = []
        while not late and time.monotonic() < deadline:
            devices.sync()
            late = [event["seconds"] for event in devices.receive() if event["ev"] == "late"]
        assert late and late[0] >= LATE_S


def test_a_function_of_somebody_elses_module(tmp_path):
    """Its messages, its accesses to nothing and its mistakes arrive as events; a stall is told apart from lateness."""
    (tmp_path / "somebodys.py").write_text(FUNCTION)
    with DeviceProcess(tmp_path, (), functions={"mine": "somebodys:Mine"}, path=[str(tmp_path)]) as devices:
        devices.wait_ready()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(EXIT_TIMEOUT_S)
            client.connect(str(devices.socket("mine")))

            def ask(number: int, command: int, payload: bytes) -> bytes:
                client.send(struct.pack("=HHIII", number, command, 16 + len(payload), 0, 0) + payload)
                return client.recv(4096)[16:]

            ask(1, 1, struct.pack("=HH", 0, 0))
            for number, offset in enumerate((0, 4, 8)):
                ask(number, 10, struct.pack("=QII", offset, 0, 4) + b"\x30\0\0\0")
            devices.sync()
            (message,) = events_of(seen := devices.receive(), "message")
            assert (message["addr"], message["data"], message["controller"]) == (0x30, "0102", "mine")
            (violation,) = events_of(seen, "violation")
            assert "mine: Mine raised ValueError: 48 at" in violation["why"] and "somebodys.py:" in violation["why"]
            (undeclared,) = events_of(seen, "undeclared")
            assert (undeclared["bar"], undeclared["offset"], undeclared["write"]) == (0, 8, True)
            os.kill(devices.pid, signal.SIGSTOP)
            time.sleep(STALLED_S + 0.2)
            os.kill(devices.pid, signal.SIGCONT)
            devices.sync()
            assert events_of(devices.receive(), "stalled")


FUNCTION = """
from dmasafe.devices.pci import Bar, PciFunction, Register

class Mine(PciFunction):
    vendor_id, device_id = 0x1AF4, 0x10F0
    bars = (Bar(0, 16),)
    GO = Register("GO", 0, on_write=lambda self, target: self.bus.transfer(target, False, bytes([1, 2])))
    FAIL = Register("FAIL", 4, on_write="fail")

    def fail(self, value):
        raise ValueError(value)
"""


def events_of(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in found if event.get("ev") == kind]


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("dmasafe.devices.bus:Bus", "Bus cannot be made: TypeError"),
        ("dmasafe.devices.bus:default_bus", "default_bus makes no PciFunction"),
        ("nowhere:Mine", "cannot be imported"),
        ("Mine", "is no import path"),
    ],
)
def test_a_function_that_is_none_is_refused_at_start(tmp_path, function, why):
    with DeviceProcess(tmp_path, (), functions={"mine": function}) as devices, pytest.raises(DevicesError, match=why):
        devices.wait_ready()


def test_a_message_is_told_when_its_driver_has_been_called_and_is_not_overtaken(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    server = Server(tmp_path, ("virtio",), theirs)
    record = trace.Record("virtio", 1, 0x30, False, 1, b"x", True, "", (), ())

    def told() -> list[tuple[str, int | None]]:
        with contextlib.suppress(BlockingIOError):
            return [(event["ev"], event.get("seq")) for event in map(json.loads, ours.recv(1 << 16).splitlines())]
        return []

    ours.setblocking(False)
    with ours, theirs:
        server._record(record)
        server._output.flush()
        assert told() == []
        server._loop.step()
        server._output.flush()
        assert told() == [("message", 1)]
        server._record(record._replace(seq=2))
        server._event(ev="violation", seq=2)
        server._record(record._replace(seq=3))
        server._reply(ev="late", seq=None)
        assert told() == [("message", 2), ("violation", 2), ("message", 3), ("late", None)]
        server._record(record._replace(seq=4))
        server.close()
        assert told() == [("message", 4)]
