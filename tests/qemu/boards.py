# SPDX-License-Identifier: GPL-2.0-or-later
"""Boards for tests: a guest whose console has a shell, reached through a pty that can do what bad lines do."""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import threading
import tty
from pathlib import Path

from dmasafe.devices.client import DeviceProcess
from dmasafe.devices.trace_socket import TraceServer
from dmasafe.qemu.process import MachineConfig, QemuProcess

CONTROLLERS = ("virtio", "dmasafe")


class Line:
    """A pty joined to a connected socket: ``device`` is its name. It can be cut, and made to damage what passes."""

    def __init__(self, sock, seed=1):
        self._socket = sock
        self._rng = random.Random(seed)
        self._ours, theirs = os.openpty()
        tty.setraw(theirs)
        self.device = os.ttyname(theirs)
        # Held open, or the pty would hang up between two users.
        self._theirs = theirs
        self.damage = 0.0
        self.cut = False
        self.passed = 0
        self.on_bytes = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        os.close(self._ours)
        os.close(self._theirs)

    def _carry(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self._ours, selectors.EVENT_READ)
            selector.register(self._socket, selectors.EVENT_READ)
            while not self._stop.is_set():
                for key, _ in selector.select(0.1):
                    if key.fd == self._ours:
                        data = os.read(self._ours, 512)
                        self._put(self._socket.sendall, data)
                    else:
                        data = self._socket.recv(4096)
                        if not data:
                            return
                        self._put(lambda piece: os.write(self._ours, piece), data)

    def _put(self, put, data):
        self.passed += len(data)
        if self.on_bytes is not None:
            self.on_bytes(self)
        if self.cut:
            return
        if self._rng.random() < self.damage:
            at = self._rng.randrange(len(data))
            kind = self._rng.randrange(3)
            lost, twice, noise = (
                data[:at] + data[at + 1 :],
                data[: at + 2] + data[at:],
                data[:at] + b"\r\n[ 1.0] x\r\n" + data[at:],
            )
            data = (lost, twice, noise)[kind]
        while data:
            done = put(data)
            data = data[done:] if done else b""


@contextlib.contextmanager
def shell_board(prepared, directory: Path):
    """A guest with a root shell on its serial console; yields (Line, the oracle's socket)."""
    directory.mkdir(exist_ok=True)
    image = prepared.image
    with contextlib.ExitStack() as stack:
        device = stack.enter_context(DeviceProcess(directory, CONTROLLERS))
        device.wait_ready(15.0)
        config = MachineConfig(
            machine=image.machine,
            accelerator=image.accelerator,
            kernel=image.kernel,
            initrd=image.initrd,
            i2c_sockets={name: device.socket(name) for name in CONTROLLERS},
            console_log=directory / "board-console.log",
            stderr_log=directory / "board-qemu.log",
            cmdline=("dmasafe.shell",),
            memory_mib=image.memory_mib,
        )
        qemu = stack.enter_context(QemuProcess(config))
        line = stack.enter_context(Line(qemu.console))
        oracle = directory / "oracle"
        stack.enter_context(TraceServer(device.channel, oracle))
        yield line, oracle
