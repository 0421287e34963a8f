# SPDX-License-Identifier: GPL-2.0-or-later
"""The device's process as the harness holds it: start, listen, ask, end.

Used by dmasafe/targets, which hands the sockets to QEMU and the trace to its observations.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import dmasafe
from dmasafe.devices.errors import DevicesError, SlaveError
from dmasafe.devices.lies import LIES
from dmasafe.devices.listener import Channel
from dmasafe.devices.values import describe, update

READY_TIMEOUT_S = 60.0
SYNC_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
LOG_NAME = "devices.log"
# The device's process takes questions of 64 KiB.
MAX_SLAVES_BYTES = 48 << 10

_LOG_LINES_SHOWN = 5


class DeviceProcess(Channel):
    """``python -m dmasafe.devices`` with its sockets in ``directory`` (which should be private to the run).

    ``bridges`` gives further controllers: names with their USB bridges (usb/bridges.py). So does ``functions``: names
    with ``module:Class`` of a PciFunction (pci/), looked for in ``path``, too.
    A context manager; usable without ``with`` if ``close`` is called. Everything raises DevicesError if the process has
    died or does not answer in time.
    """

    def __init__(
        self,
        directory: Path,
        controllers: Sequence[str] = ("virtio", "dmasafe"),
        bridges: Mapping[str, str] | None = None,
        functions: Mapping[str, str] | None = None,
        path: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self._bridges = dict(bridges or {})
        self._functions = dict(functions or {})
        self._controllers = (*controllers, *self._bridges, *self._functions)
        self._log = directory / LOG_NAME
        self._questions = 0
        self._answer: dict[str, Any] = {}
        self._plugged: dict[int, object] = {}
        self._ready = False
        ours, theirs = socket.socketpair()
        super().__init__(ours, "the device's process", "the emulated devices said nonsense")
        # -S: the process needs nothing but the standard library and this package, and site takes half of its start-up.
        arguments = [sys.executable, "-S", "-m", "dmasafe.devices", "--directory", str(directory)]
        for name in controllers:
            arguments += ["--controller", name]
        for name, bridge in self._bridges.items():
            arguments += ["--usb", f"{name}:{bridge}"]
        for name, function in self._functions.items():
            arguments += ["--function", f"{name}:{function}"]
        arguments += [f"--path={entry}" for entry in path]
        arguments += ["--control-fd", str(theirs.fileno())]
        try:
            with theirs, self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(theirs.fileno(),),
                    env=_environment(),
                    # Its own session: signals of the terminal are for us, who take what it still has to tell.
                    start_new_session=True,
                )
        except OSError as error:
            self._socket.close()
            raise DevicesError(f"the emulated devices cannot be started in {directory}: {error}") from error
        self._socket.setblocking(False)

    def socket(self, controller: str) -> Path:
        """Where QEMU's chardev for ``controller`` connects to; it exists once ``wait_ready`` has returned."""
        if controller not in self._controllers:
            raise DevicesError(f"there is no controller {controller!r}: it is one of {', '.join(self._controllers)}")
        return self._directory / f"{controller}.sock"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> Path:
        """Where the process's standard error goes."""
        return self._log

    @property
    def channel(self) -> Any:
        """The control channel's socket itself, for one who asks and listens in our place (trace_socket.py)."""
        return self._socket

    @property
    def alive(self) -> bool:
        return super().alive and self._process.poll() is None

    def wait_ready(self, timeout: float = READY_TIMEOUT_S) -> None:
        """Returns when the sockets can be connected to; ``timeout`` in seconds."""
        deadline = time.monotonic() + timeout
        while not self._ready:
            self._wait(deadline, f"were not ready within {timeout:g} s")

    def set_fault(self, controller: str, name: str | None) -> None:
        """Has ``controller`` tell one of the lies of lies.py, a host have one of the faults of hosts/base.py.

        None for the truth, and sound hardware. It does when this returns.
        """
        known: Collection[str] = LIES
        if controller in self._functions:
            # Only a harness with hosts pays for the import.
            from dmasafe.devices.hosts.faults import FAULTS

            known = FAULTS
        if name is not None and name not in known:
            raise DevicesError(f"{controller} has no fault {name!r}: it is one of {', '.join(known)}")
        self._ask(op="fault", controller=controller, name=name)
        self.sync()

    def set_scenario(self, seq: int | None) -> None:
        """From now on what the guest does belongs to this scenario: for guests without a mailbox."""
        self._ask(op="scenario", seq=seq)
        self.sync()

    def set_strict(self, table: int | None, devices: Mapping[str, str]) -> None:
        """Has the controllers reach only what the strict machine's table (physical address) has mapped.

        ``devices`` are their names in the guest; None for ``table``: all of memory again.
        """
        self._ask(op="strict", address=table, devices=dict(devices))

    def sync(self, timeout: float = SYNC_TIMEOUT_S) -> None:
        """Returns when every request that the guest has kicked so far is done and its events can be received."""
        self._answered("sync", timeout)

    def plug(self, slaves: Mapping[int, object] | None, path: Sequence[str] = ()) -> None:
        """Puts ``slaves`` on every controller's bus in place of all others; None brings the default bus back.

        A slave is an object, a class, functools.partial(class, ...) or "module:Class"; what the process cannot import
        otherwise it looks for in ``path``. The process works with copies: see ``update_slaves``. Raises SlaveError.
        """
        rows = None if slaves is None else [[address, describe(slave)] for address, slave in slaves.items()]
        if len(json.dumps(rows)) > MAX_SLAVES_BYTES:
            raise SlaveError("the slaves hold too much to be handed over as objects: give their classes instead")
        why = self._answered("plug", SYNC_TIMEOUT_S, slaves=rows, path=list(path)).get("why")
        if why is not None:
            raise SlaveError(str(why))
        self._plugged = {} if slaves is None else dict(slaves)

    def update_slaves(self) -> None:
        """Gives the objects that were plugged in the attributes that their copies have now. Raises SlaveError."""
        if not self._plugged:
            return
        for address, state in self._answered("slaves", SYNC_TIMEOUT_S).get("slaves", ()):
            slave = self._plugged.get(address)
            if slave is not None and state is not None and hasattr(slave, "__dict__") and not callable(slave):
                update(slave, state)

    def _answered(self, op: str, timeout: float, **question: Any) -> dict[str, Any]:
        """The answer to a question with one. Raises DevicesError if it does not come."""
        self._questions += 1
        number = self._questions
        deadline = time.monotonic() + timeout
        self._ask(op=op, n=number, **question)
        while self._answer.get("n") != number:
            self._wait(deadline, f"did not answer within {timeout:g} s")
        return self._answer

    def close(self) -> None:
        """Ends the process: by the end of its control channel, by force if that is not enough."""
        super().close()
        try:
            self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, **question: Any) -> None:
        data = memoryview(json.dumps(question).encode() + b"\n")
        deadline = time.monotonic() + SYNC_TIMEOUT_S
        while data:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                # Both sides full: take what the process has to say, so that it listens again.
                self._wait(deadline, "take no questions")
            except OSError as error:
                raise self._died() from error

    def _wait(self, deadline: float, what: str) -> None:
        """Reads once something has come. Raises DevicesError at the deadline or if the process is gone."""
        if self._lines.ended:
            raise self._died()
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise DevicesError(f"the emulated devices {what}{self._last_lines()}")
        self._read()

    def _take(self, event: dict[str, Any]) -> None:
        if event.get("re") in ("sync", "plug", "slaves"):
            self._answer = event
        elif event.get("ev") == "ready":
            self._ready = True
        else:
            self._events.append(event)

    def _died(self) -> DevicesError:
        status: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(CLOSE_TIMEOUT_S)
        return DevicesError(f"the emulated devices died (status {status}){self._last_lines()}")

    def _last_lines(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        shown = " / ".join(lines[-_LOG_LINES_SHOWN:])
        return f": {shown} (whole log: {self._log})" if shown else ""


def _environment() -> dict[str, str]:
    """The child must find this very package, wherever it was imported from."""
    environment = dict(os.environ)
    root = str(Path(dmasafe.__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH", ""))))
    return environment
