# SPDX-License-Identifier: GPL-2.0-or-later
"""The trace of emulated devices on a socket, for runs on a QEMU that the harness did not start.

``python -m dmasafe.devices.trace_socket --directory DIR --socket PATH`` starts the devices for such a QEMU and serves
their trace; ``dmasafe run --oracle PATH`` listens. One listener at a time; without one the trace is dropped.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dmasafe.closing import Closing
from dmasafe.devices.client import DeviceProcess
from dmasafe.devices.errors import DevicesError
from dmasafe.devices.listener import MAX_LINE_BYTES, Channel

ANSWER_TIMEOUT_S = 10.0
_RECEIVE_BYTES = 1 << 18
_POLL_S = 0.2


class TraceListener(Channel):
    """A listener: the same questions as DeviceProcess takes. Raises DevicesError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(str(path))
        except OSError as error:
            connection.close()
            raise DevicesError(
                f"nothing serves a trace at {path} ({error.strerror}): start 'python -m dmasafe.devices.trace_socket'"
            ) from error
        super().__init__(connection, f"the trace socket {path}", f"the trace socket {path} says nonsense")
        self._number = 0
        self._answered = -1
        self._socket.setblocking(False)
        try:
            # One that serves somebody else does not answer.
            self.sync(ANSWER_TIMEOUT_S)
        except DevicesError:
            self.close()
            raise

    def sync(self, timeout_s: float) -> None:
        """Returns when the trace of everything done so far can be received."""
        self._number += 1
        self._ask(op="sync", n=self._number)
        deadline = time.monotonic() + timeout_s
        while self._answered != self._number:
            with selectors.DefaultSelector() as selector:
                selector.register(self._socket, selectors.EVENT_READ)
                ready = selector.select(max(0.0, deadline - time.monotonic()))
            self._read()
            if self._lines.ended:
                raise DevicesError(f"the trace socket {self._path} is gone")
            if not ready and time.monotonic() > deadline:
                raise DevicesError(f"the trace socket {self._path} does not answer: does it serve another run?")

    def _ask(self, **question: Any) -> None:
        try:
            self._socket.settimeout(ANSWER_TIMEOUT_S)
            self._socket.sendall(json.dumps(question).encode() + b"\n")
            self._socket.setblocking(False)
        except OSError as error:
            raise DevicesError(f"the trace socket {self._path} is gone: {error.strerror}") from error

    def _take(self, event: dict[str, Any]) -> None:
        if event.get("re") == "sync":
            self._answered = event.get("n", -1)
        else:
            self._events.append(event)


class TraceServer(Closing):
    """Serves a device's control channel at ``path``, in a thread; a context manager.

    While it runs nobody else may ask the device or listen to it.
    """

    def __init__(self, channel: socket.socket, path: Path) -> None:
        self._channel = channel
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.bind(str(path))
        except OSError as error:
            self._listener.close()
            raise DevicesError(f"cannot serve a trace at {path}: {error.strerror}") from error
        path.chmod(0o600)
        self._listener.listen(1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="trace socket", daemon=True)
        self.ended = threading.Event()

    def _start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        client: socket.socket | None = None
        # Lines are passed on whole: a listener that comes in the middle of one must not get its second half.
        from_device, from_client = bytearray(), bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._stop.is_set():
                for key, _events in selector.select(_POLL_S):
                    if key.fileobj is self._listener and client is None:
                        client, _address = self._listener.accept()
                        client.settimeout(ANSWER_TIMEOUT_S)
                        selector.register(client, selectors.EVENT_READ)
                        selector.unregister(self._listener)
                        from_client.clear()
                    elif key.fileobj is self._channel:
                        if not self._receive(self._channel, from_device):
                            self.ended.set()
                            self._drop(client, selector)
                            return
                        if not self._pass_on(from_device, client):
                            self._drop(client, selector)
                            client = None
                    elif key.fileobj is client and not (
                        self._receive(client, from_client) and self._pass_on(from_client, self._channel)
                    ):
                        # The next one's scenarios have numbers of their own.
                        self._pass_on(bytearray(b'{"op":"mailbox","address":null}\n'), self._channel)
                        self._drop(client, selector)
                        client = None
            self._drop(client, selector)

    @staticmethod
    def _receive(sock: socket.socket, buffer: bytearray) -> bool:
        try:
            data = sock.recv(_RECEIVE_BYTES)
        except (BlockingIOError, TimeoutError):
            return True
        except OSError:
            return False
        buffer += data
        return bool(data) and len(buffer) <= 2 * MAX_LINE_BYTES

    @staticmethod
    def _pass_on(buffer: bytearray, sock: socket.socket | None) -> bool:
        """Send all whole lines; to nobody they are dropped."""
        whole = buffer.rfind(b"\n") + 1
        lines, view = bytes(buffer[:whole]), 0
        del buffer[:whole]
        if sock is None:
            return True
        until = time.monotonic() + ANSWER_TIMEOUT_S
        while view < len(lines) and time.monotonic() < until:
            try:
                view += sock.send(lines[view:])
            except (BlockingIOError, TimeoutError):
                time.sleep(0.001)
            except OSError:
                return False
        return view == len(lines)

    def _drop(self, client: socket.socket | None, selector: selectors.BaseSelector) -> None:
        if client is not None:
            selector.unregister(client)
            client.close()
            selector.register(self._listener, selectors.EVENT_READ)


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM, SIGINT or the devices' end."""
    # A listener need not wait for it.
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m dmasafe.devices.trace_socket", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--directory", type=Path, required=True, help="where NAME.sock of each controller goes")
    parser.add_argument("--socket", type=Path, required=True, help="where dmasafe run --oracle connects to")
    parser.add_argument(
        "--controller", action="append", help="default: virtio, then dmasafe, in PCI slots in this order"
    )
    chosen = parser.parse_args(arguments)
    controllers = tuple(chosen.controller or ("virtio", "dmasafe"))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        with DeviceProcess(chosen.directory, controllers) as device:
            device.wait_ready()
            with TraceServer(device.channel, chosen.socket) as server:
                for name in controllers:
                    print(
                        f"-chardev socket,id=i2c-{name},path={device.socket(name)} "
                        f"-device vhost-user-i2c-pci,chardev=i2c-{name},iommu_platform=on"
                    )
                sys.stdout.flush()
                while not stop.wait(_POLL_S) and not server.ended.is_set():
                    pass
    except DevicesError as error:
        sys.stderr.write(f"dmasafe.devices.trace_socket: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
