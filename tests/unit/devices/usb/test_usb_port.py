# SPDX-License-Identifier: GPL-2.0-or-later
"""The real process and its usbredir sockets; the installed QEMU and its firmware as the other end."""

import contextlib
import json
import shutil
import socket
import struct
import subprocess
import sys
import time

import pytest
import usb_guest as usb
from usb_guest import Answers, hello, packet

from dmasafe.devices.client import DeviceProcess
from dmasafe.devices.errors import DevicesError
from dmasafe.devices.usb.bridges import bridges

QEMU = "qemu-system-x86_64"
TIMEOUT_S = 20.0
SLOW_ADDRESS = 0x68


@pytest.fixture
def devices(tmp_path):
    with DeviceProcess(tmp_path, ("virtio",), {name: name for name in bridges()}) as found:
        found.wait_ready()
        yield found


class Connection:
    """QEMU's end of a socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(str(path))
        self._answers = Answers()
        self._seen = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def next(self):
        while not self._seen:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._seen += self._answers.feed(data)
        return self._seen.pop(0)

    def begin(self):
        self.socket.sendall(hello())
        while self.next().type != usb.DEVICE_CONNECT:
            pass

    def control(self, request_type, request, value, index, payload, packet_id=1):
        read = isinstance(payload, int)
        length, data = (payload, b"") if read else (len(payload), payload)
        head = struct.pack("<BBBBHHH", request_type & 0x80, request, request_type, 0, value, index, length)
        self.socket.sendall(packet(usb.CONTROL, head + data, packet_id))
        answer = self.next()
        assert (answer.type, answer.id) == (usb.CONTROL, packet_id)
        return answer.body[3], answer.body[10:]

    def write_i2c(self, address, data):
        """By i2c-tiny-usb's command; the status."""
        assert self.control(0x41, 7, 0, address, data)[0] == usb.SUCCESS
        return self.control(0xC1, 3, 0, 0, 1)[1]


def messages(devices):
    devices.sync()
    return [event for event in devices.receive() if event["ev"] == "message"]


def test_a_message_is_on_the_bus_and_in_the_trace(devices):
    with Connection(devices.socket("tiny-usb")) as qemu:
        qemu.begin()
        assert qemu.write_i2c(0x30, b"hello") == b"\x01"
        (message,) = messages(devices)
    assert message["controller"] == "tiny-usb" and message["data"] == b"hello".hex()
    # No front-end shares its memory here, so nobody knows the scenario.
    assert message["seq"] is None and message["segments"] == []


def test_the_plugged_slaves_are_behind_the_bridges_too(devices):
    devices.plug({0x11: "dmasafe.devices.slaves.recorder:Recorder"})
    with Connection(devices.socket("tiny-usb")) as qemu:
        qemu.begin()
        assert qemu.write_i2c(0x11, b"x") == b"\x01"
        assert qemu.write_i2c(0x30, b"x") == b"\x02"
        devices.plug(None)
        assert qemu.write_i2c(0x30, b"x") == b"\x01"


def test_a_slow_slave_delays_its_bridge_and_nobody_else(devices):
    with Connection(devices.socket("tiny-usb")) as slow, Connection(devices.socket("osif")) as other:
        slow.begin()
        other.begin()
        # 300 ms from the next message on.
        assert slow.write_i2c(SLOW_ADDRESS, b"\x00\x2c\x01") == b"\x01"
        started = time.monotonic()
        head = struct.pack("<BBBBHHH", 0, 7, 0x41, 0, 0, SLOW_ADDRESS, 1)
        slow.socket.sendall(packet(usb.CONTROL, head + b"\x00", 2))
        assert other.control(0xC1, 23, 0, 0, 1) == (usb.SUCCESS, b"\0")
        assert time.monotonic() - started < 0.25
        devices.sync()
        assert slow.next().id == 2
        assert time.monotonic() - started >= 0.29


def test_a_connection_that_breaks_the_protocol_is_dropped_and_the_next_one_served(devices):
    for data in (
        b"\xff" * 64,
        hello() + packet(77),
        hello() + packet(usb.BULK, b"\0"),
        hello() + packet(usb.HELLO, bytes(68)),
    ):
        with Connection(devices.socket("dln2")) as qemu:
            qemu.socket.sendall(data)
            with contextlib.suppress(ConnectionResetError), pytest.raises(EOFError):
                while True:
                    qemu.next()
    devices.sync()
    events = devices.receive()
    assert [event["what"] for event in events if event["ev"] == "violation"] == ["usbredir"] * 4
    with Connection(devices.socket("dln2")) as qemu:
        qemu.begin()
        assert devices.alive


def test_the_device_begins_anew_for_the_next_connection(devices):
    path = devices.socket("cp2615")
    with Connection(path) as qemu:
        qemu.begin()
        qemu.socket.sendall(packet(usb.SET_ALT, b"\x01\x02", 5))
        while qemu.next().type != usb.ALT_STATUS:
            pass
    with Connection(path) as qemu:
        qemu.begin()
        qemu.socket.sendall(packet(usb.GET_ALT, b"\x01", 6))
        assert qemu.next().body == b"\0\x01\0"


def test_answers_that_nobody_takes_do_not_fill_memory(devices):
    request = packet(usb.CONTROL, struct.pack("<BBBBHHH", 0x80, 6, 0x80, 0, 0x0200, 0, 255), 1)
    with Connection(devices.socket("cp2112")) as qemu:
        qemu.begin()
        qemu.socket.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 64 << 20:
                sent += qemu.socket.send(request * 1000)
        qemu.socket.settimeout(TIMEOUT_S)
        # It goes on when somebody listens again; the question in between is answered too.
        for _ in range(100):
            assert qemu.next().type == usb.CONTROL
    assert devices.alive


def test_an_unknown_bridge_is_a_sentence(tmp_path):
    devices = DeviceProcess(tmp_path, ("virtio",), {"x": "abacus"})
    with devices, pytest.raises(DevicesError, match="no USB bridge 'abacus': it is one of cp2112, cp2615"):
        devices.wait_ready()
    done = subprocess.run(
        [sys.executable, "-m", "dmasafe.devices", "--directory", str(tmp_path), "--controller", "a", "--usb", "a:osif"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 2 and "named twice" in done.stderr


def attached(qemu):
    """How many devices QEMU's monitor lists."""
    qemu.stdin.write('{"execute":"human-monitor-command","arguments":{"command-line":"info usb"}}\n')
    qemu.stdin.flush()
    while True:
        answer = json.loads(qemu.stdout.readline())
        if isinstance(answer.get("return"), str):
            return answer["return"].count("USB Redirection Device")


@pytest.mark.skipif(shutil.which(QEMU) is None, reason=f"{QEMU} is not installed")
@pytest.mark.parametrize(("hcd", "bridges"), [("qemu-xhci,p2=15,p3=1", tuple(bridges())), ("usb-ehci", ("osif",))])
def test_qemu_attaches_the_bridges_and_its_firmware_can_ask_them(tmp_path, hcd, bridges):
    with DeviceProcess(tmp_path, ("virtio",), {name: name for name in bridges}) as devices:
        devices.wait_ready()
        command = [QEMU, "-machine", "q35", "-accel", "tcg", "-nodefaults", "-display", "none", "-m", "64M"]
        command += ["-qmp", "stdio", "-device", f"{hcd},id=usb"]
        for name in bridges:
            command += ["-chardev", f"socket,id={name},path={devices.socket(name)}"]
            command += ["-device", f"usb-redir,chardev={name},bus=usb.0"]
        deadline = time.monotonic() + TIMEOUT_S
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as qemu:
            try:
                qemu.stdin.write('{"execute":"qmp_capabilities"}\n')
                # A device is attached when the machine runs and its clock has moved on.
                while (count := attached(qemu)) < len(bridges) and time.monotonic() < deadline:
                    time.sleep(0.05)
            finally:
                qemu.kill()
        devices.sync()
        events = devices.receive()
    assert count == len(bridges)
    assert [event for event in events if event["ev"] == "violation"] == []
