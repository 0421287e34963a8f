# SPDX-License-Identifier: GPL-2.0-or-later
"""The trace socket: a device's channel on a socket, one listener after the other, nothing of one for the next."""

import json
import subprocess
import sys
import time

import pytest

from dmasafe.devices import trace_socket as module
from dmasafe.devices.client import DeviceProcess
from dmasafe.devices.errors import DevicesError
from dmasafe.devices.trace_socket import TraceListener, TraceServer


@pytest.fixture
def served(tmp_path):
    with DeviceProcess(tmp_path) as device:
        device.wait_ready()
        with TraceServer(device.channel, tmp_path / "oracle"):
            yield tmp_path / "oracle", device


def test_a_listener_asks_as_the_owner_would_and_another_may_follow(served):
    path, _device = served
    for _ in range(2):
        listener = TraceListener(path)
        listener.set_mailbox(4096)
        listener.sync(10.0)
        assert listener.alive and listener.receive() == []
        # An answer to a question that the device does not take shows that questions arrive.
        listener._ask(op="nonsense")
        listener.sync(10.0)
        assert [event["re"] for event in listener.receive()] == ["error"]
        listener.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_second_listener_is_told_that_there_is_one(served, monkeypatch):
    path, _device = served
    first = TraceListener(path)
    monkeypatch.setattr(module, "ANSWER_TIMEOUT_S", 0.5)
    with pytest.raises(DevicesError, match="does it serve another run"):
        TraceListener(path)
    first.close()


def test_a_device_that_dies_is_noticed_by_the_listener(served):
    path, device = served
    listener = TraceListener(path)
    device._process.kill()
    until = time.monotonic() + 10
    while listener.alive and time.monotonic() < until:
        listener.receive()
    assert not listener.alive
    with pytest.raises(DevicesError, match="is gone"):
        listener.sync(1.0)


def test_nobody_at_the_socket_is_said(tmp_path):
    with pytest.raises(DevicesError, match=r"start 'python -m dmasafe\.devices\.trace_socket'"):
        TraceListener(tmp_path / "nobody")


def test_the_program_serves_and_prints_what_qemu_must_be_told(tmp_path):
    command = [
        sys.executable,
        "-m",
        "dmasafe.devices.trace_socket",
        "--directory",
        tmp_path,
        "--socket",
        tmp_path / "w",
    ]
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline() for _ in range(2)]
    assert all(f"path={tmp_path}/{name}.sock" in line for name, line in zip(("virtio", "dmasafe"), lines, strict=True))
    TraceListener(tmp_path / "w").close()
    process.terminate()
    assert process.wait(10) == 0 and not (tmp_path / "w").exists()
    process.stdout.close()


def test_nonsense_on_a_trace_socket_is_an_error(tmp_path):
    import socket
    import threading

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "w"))
    listener.listen()

    def answer():
        client, _ = listener.accept()
        question = json.loads(client.recv(1000))
        client.sendall(json.dumps({"re": "sync", "n": question["n"]}).encode() + b"\nnonsense\n")

    threading.Thread(target=answer, daemon=True).start()
    with pytest.raises(DevicesError, match="says nonsense"):
        found = TraceListener(tmp_path / "w")
        until = time.monotonic() + 5
        while time.monotonic() < until:
            found.receive()
    listener.close()
