# SPDX-License-Identifier: GPL-2.0-or-later
"""The device's process: a vhost-user back-end, a usbredir port or a PCI function per controller, and the channel to

whoever runs it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from dmasafe.devices import trace
from dmasafe.devices.bus import Bus, default_bus
from dmasafe.devices.errors import DevicesError, FunctionError, failure
from dmasafe.devices.lies import LIES
from dmasafe.devices.loop import Loop
from dmasafe.devices.output import Output
from dmasafe.devices.vhost_user import Backend
from dmasafe.devices.virtio_i2c import Mailbox, VirtioI2c
from dmasafe.devices.vring import Violation, What

if TYPE_CHECKING:
    from dmasafe.devices.hosts.base import I2cHost
    from dmasafe.devices.usb.port import Port
    from dmasafe.devices.vfio_user import Complaint, VfioUser

# Longer than any question; a line without end is a broken harness.
MAX_QUESTION_BYTES = 65536
# How often a busy device is looked at again while a "sync" waits.
_SYNC_POLL_S = 0.001
_LISTEN_AGAIN_S = 0.01
# A process that did not run for so long (stopped, starved) may be the reason why a driver lost patience: it says so.
LATE_S = 0.5
# QEMU waits 5 s for the answer to an access, with the whole guest, and then gives the guest all ones.
STALLED_S = 4.5
_TICK_S = 0.1


class _OnBus(Protocol):
    """What has slaves behind it."""

    bus: Bus


class _Polled(Protocol):
    """What is at the other end of a socket of QEMU's."""

    @property
    def busy(self) -> bool:
        """Whether something was asked of it and is not yet done."""

    def poll(self) -> None:
        """Handles what has been asked so far."""


class Server:
    """Owns loop, sockets and controllers. ``control`` is the socket to the harness, None for a trace on stdout.

    The channel carries one JSON object a line. Events: ``ready``, ``connected`` and ``disconnected`` (``controller``),
    ``message`` (trace.py), ``violation`` (``controller``, ``seq``, ``what`` as in vring.What, ``why``), ``dropped``
    (``count`` events that the reader was too slow for), ``queue`` (the ring of ``controller`` has ``entries``),
    ``late`` (this process did not run for ``seconds``), ``stalled`` (so long that QEMU may have answered the guest in
    a PCI function's place), ``undeclared`` (the driver used ``size`` bytes at ``offset`` of BAR ``bar``, where the
    function has no register; ``write``). Questions, by ``op``: ``sync`` (answered with
    ``{"re":"sync","n":N}`` once every request now in a ring is done and its events
    are on the way), ``mailbox`` (``address`` or null; no answer), ``scenario``
    (``seq`` of the one under way, from a guest that has no mailbox, or null; no answer), ``strict``
    (``address`` of the strict machine's table or null, ``devices`` the controllers' names in the guest; no answer),
    ``fault`` (from now on ``controller`` tells the lie ``name`` of lies.py, or a host has the fault of that name in
    hosts/base.py; null for none; no answer), ``plug`` (``slaves`` and their search ``path`` as plugged.py reads them
    take the place of all slaves of every controller, null brings the default bus back; answered with
    ``{"re":"plug","n":N,"why":null}`` or what is wrong with them; one that fails later is a ``slave`` event),
    ``slaves`` (answered with their attributes), ``quit``. Anything else is answered with ``{"re":"error","why":...}``.
    """

    def __init__(
        self,
        directory: Path,
        controllers: Sequence[str],
        control: socket.socket | None,
        quiet: bool = False,
        bridges: Mapping[str, str] | None = None,
        functions: Mapping[str, str] | None = None,
    ) -> None:
        self._loop = Loop()
        self._control = control
        self._quiet = quiet
        self._mailbox = Mailbox()
        self._question = bytearray()
        self._wakeup = socket.socketpair()
        self._backends: dict[str, Backend] = {}
        self._ports: dict[str, Port] = {}
        self._functions: dict[str, VfioUser] = {}
        self._hosts: dict[str, I2cHost] = {}
        self._devices: dict[str, _OnBus] = {}
        self._records: list[trace.Record] = []
        self._output = Output(self._loop, 1 if control is None else control.fileno(), self._loop.quit)
        try:
            for name in controllers:
                self._backends[name] = self._backend(directory, name)
            for name, bridge in (bridges or {}).items():
                self._ports[name] = self._port(directory, name, bridge)
            for name, function in (functions or {}).items():
                self._functions[name] = self._function(directory, name, function)
        except BaseException:
            self.close()
            raise

    def _backend(self, directory: Path, name: str) -> Backend:
        def complain(violation: Violation, seq: int | None = None) -> None:
            self._event(ev="violation", controller=name, seq=seq, what=violation.what, why=violation.why)

        device = VirtioI2c(name, default_bus(), self._mailbox, self._record, complain)
        self._devices[name] = device
        notify = partial(self._connection_event, name)
        return Backend(self._loop, device, directory / f"{name}.sock", notify, complain, partial(self._sized, name))

    def _port(self, directory: Path, name: str, bridge: str) -> Port:
        # Only a harness with bridges pays for the import.
        from dmasafe.devices.usb.bridges import bridges
        from dmasafe.devices.usb.master import Master
        from dmasafe.devices.usb.port import Port

        if bridge not in bridges():
            raise DevicesError(f"there is no USB bridge '{bridge}': it is one of {', '.join(bridges())}")

        def complain(why: str) -> None:
            self._event(ev="violation", controller=name, seq=self._seq(), what=What.USBREDIR, why=f"{name}: {why}")

        master = self._devices[name] = Master(name, default_bus(), self._seq, self._record)
        notify = partial(self._connection_event, name)
        return Port(self._loop, master, bridges()[bridge](master), directory / f"{name}.sock", notify, complain)

    def _function(self, directory: Path, name: str, path: str) -> VfioUser:
        # Only a harness with PCI functions pays for the import.
        from dmasafe.devices.hosts.base import I2cHost
        from dmasafe.devices.pci import I2cBus, PciFunction
        from dmasafe.devices.values import find
        from dmasafe.devices.vfio_user import VfioUser

        def complain(complaint: Complaint) -> None:
            why = f"{name}: {complaint.why}"
            self._event(ev="violation", controller=name, seq=self._seq(), what=complaint.what, why=why)

        def undeclared(bar: int, offset: int, size: int, write: bool) -> None:
            self._event(ev="undeclared", controller=name, bar=bar, offset=offset, size=size, write=write)

        make = find(path)
        try:
            function = make()
        except Exception as error:
            raise FunctionError(f"{path} cannot be made: {failure(error, make)}") from error
        if not isinstance(function, PciFunction):
            raise FunctionError(f"{path} makes no PciFunction (dmasafe.devices.pci) but {function!r:.80}")
        if isinstance(function, I2cHost):
            self._hosts[name] = function
        bus = self._devices[name] = I2cBus(name, default_bus(), self._seq, self._record)
        notify = partial(self._connection_event, name)
        return VfioUser(self._loop, function, directory / f"{name}.sock", notify, complain, bus, undeclared)

    def _sized(self, name: str, entries: int) -> None:
        self._event(ev="queue", controller=name, entries=entries)

    def _seq(self) -> int | None:
        """The scenario under way, from the memory that a vhost-user front-end shares: USB shows a device none."""
        if self._mailbox.told is not None:
            return self._mailbox.told
        for backend in self._backends.values():
            seq = self._mailbox.seq(backend.memory)
            if seq is not None:
                return seq
        return None

    def run(self) -> None:
        """Until "quit", the end of the control channel, SIGTERM, or SIGINT where there is no harness to decide."""
        for end in self._wakeup:
            end.setblocking(False)
        previous = signal.set_wakeup_fd(self._wakeup[1].fileno(), warn_on_full_buffer=False)
        # The handler itself has nothing to do: the signal's number arrives on the wake-up socket.
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN if self._control else lambda _number, _frame: None)
        try:
            self._loop.on_readable(self._wakeup[0].fileno(), self._loop.quit)
            if self._control is not None:
                self._listen()
            self._event(ev="ready")
            self._output.flush()
            self._tick(time.monotonic())
            self._loop.run()
        finally:
            signal.set_wakeup_fd(previous)

    def close(self) -> None:
        """Removes the sockets, drops the front-ends, sends what can still be sent."""
        for backend in self._backends.values():
            backend.close()
        for port in self._ports.values():
            port.close()
        for function in self._functions.values():
            function.close()
        self._tell()
        self._output.close()
        for end in self._wakeup:
            end.close()
        self._loop.close()

    def _record(self, message: trace.Record) -> None:
        """Keep a message until whoever waits for its end has been told; no event or answer overtakes it."""
        if self._quiet:
            return
        if not self._records:
            self._loop.soon(self._tell)
        self._records.append(message)

    def _tell(self) -> None:
        records, self._records = self._records, []
        for record in records:
            self._output.line(trace.line(record))

    def _event(self, **fields: Any) -> None:
        if not self._quiet:
            self._tell()
            self._output.line(json.dumps(fields, separators=(",", ":")) + "\n")

    def _connection_event(self, controller: str, what: str) -> None:
        # Never dropped: a verdict hangs on whether the device was there.
        if not self._quiet:
            self._reply(ev=what, controller=controller)

    def _tick(self, due: float) -> None:
        now = time.monotonic()
        if now - due > LATE_S and not self._quiet:
            self._reply(ev="late", seconds=round(now - due, 3))
            if now - due > STALLED_S and self._functions:
                self._reply(ev="stalled", seconds=round(now - due, 3))
        self._loop.after(_TICK_S, partial(self._tick, now + _TICK_S))

    def _reply(self, **fields: Any) -> None:
        self._tell()
        self._output.reply(json.dumps(fields, separators=(",", ":")) + "\n")

    # The control channel

    def _listen(self) -> None:
        assert self._control is not None
        if self._output.full:
            # Asked without end by somebody who does not read the answers.
            self._loop.after(_LISTEN_AGAIN_S, self._listen)
        else:
            self._loop.on_readable(self._control.fileno(), self._asked)

    def _asked(self) -> None:
        assert self._control is not None
        if self._output.full:
            self._loop.forget(self._control.fileno())
            self._listen()
            return
        try:
            data = self._control.recv(MAX_QUESTION_BYTES, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self._question += data
        if not data or len(self._question) > 2 * MAX_QUESTION_BYTES:
            self._loop.quit()
            return
        *lines, self._question = self._question.split(b"\n")
        for line in lines:
            self._answer(bytes(line))

    def _answer(self, line: bytes) -> None:
        try:
            question = json.loads(line)
            op = question["op"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self._reply(re="error", why=f"not a question: {error!r}")
            return
        handler = self._OPERATIONS.get(op) if isinstance(op, str) else None
        if handler is None:
            self._reply(re="error", why=f"unknown operation {op!r:.100}")
            return
        handler(self, question)

    def _sync(self, question: dict[str, Any]) -> None:
        for device in self._polled():
            device.poll()
        self._sync_when_settled(question)

    def _sync_when_settled(self, question: dict[str, Any]) -> None:
        if any(device.busy for device in self._polled()):
            self._loop.after(_SYNC_POLL_S, partial(self._sync_when_settled, question))
        else:
            for function in self._functions.values():
                function.poll()
            self._reply(re="sync", n=question.get("n"))

    def _polled(self) -> Iterator[_Polled]:
        return chain(self._backends.values(), self._ports.values(), self._functions.values())

    def _set_mailbox(self, question: dict[str, Any]) -> None:
        address = question.get("address")
        if address is not None and (type(address) is not int or not 0 <= address < 1 << 64):
            self._reply(re="error", why=f"a mailbox is at an address, not at {address!r:.100}")
            return
        self._mailbox.address = address

    def _set_scenario(self, question: dict[str, Any]) -> None:
        seq = question.get("seq")
        if seq is not None and (type(seq) is not int or seq < 0):
            self._reply(re="error", why=f"a scenario has a number, not {seq!r:.100}")
            return
        self._mailbox.told = seq

    def _strict(self, question: dict[str, Any]) -> None:
        address, devices = question.get("address"), question.get("devices")
        if (address is not None and type(address) is not int) or not isinstance(devices, dict):
            self._reply(re="error", why=f"a strict machine's table is at an address, not at {address!r:.100}")
            return
        strict: dict[str, Backend | VfioUser] = {**self._backends, **self._functions}
        for name, device in strict.items():
            # DMA operations of the strict machine's are given to those only that it was told of.
            device.be_strict(address if name in devices else None, str(devices.get(name)))

    def _fault(self, question: dict[str, Any]) -> None:
        controller, name = question.get("controller"), question.get("name")
        backend = self._backends.get(controller) if isinstance(controller, str) else None
        host = self._hosts.get(controller) if isinstance(controller, str) else None
        try:
            if host is not None:
                host.fail(name)
            elif backend is not None:
                backend.lie = None if name is None else LIES[name]
            else:
                raise KeyError(controller)
        except (DevicesError, KeyError, TypeError):
            self._reply(re="error", why=f"controller {controller!r:.100} has no fault {name!r:.100}")

    def _plug(self, question: dict[str, Any]) -> None:
        # Only a harness that plugs in slaves of its own pays for the import.
        from dmasafe.devices.plugged import plug

        why: str | None = None
        try:
            if question.get("slaves") is None:
                for device in self._devices.values():
                    device.bus = default_bus()
            else:
                slaves = plug(question["slaves"], question.get("path"), self._slave_failed)
                for device in self._devices.values():
                    device.bus = Bus(slaves)
        except DevicesError as error:
            why = str(error)
        self._reply(re="plug", n=question.get("n"), why=why)

    def _slaves(self, question: dict[str, Any]) -> None:
        from dmasafe.devices.plugged import states

        found = next((states(device.bus.slaves) for device in self._devices.values()), ())
        self._reply(re="slaves", n=question.get("n"), slaves=found)

    def _slave_failed(self, why: str) -> None:
        self._reply(ev="slave", why=why)

    def _quit(self, _question: dict[str, Any]) -> None:
        self._loop.quit()

    _OPERATIONS: ClassVar[dict[str, Callable[[Server, dict[str, Any]], None]]] = {
        "sync": _sync,
        "mailbox": _set_mailbox,
        "scenario": _set_scenario,
        "strict": _strict,
        "fault": _fault,
        "plug": _plug,
        "slaves": _slaves,
        "quit": _quit,
    }


def serve(
    directory: Path,
    controllers: Sequence[str],
    control_fd: int | None,
    quiet: bool,
    bridges: Mapping[str, str] | None = None,
    functions: Mapping[str, str] | None = None,
) -> None:
    """Runs until told to end. Raises DevicesError if it cannot start."""
    control = None
    if control_fd is not None:
        try:
            control = socket.socket(fileno=control_fd)
        except OSError as error:
            raise DevicesError(f"--control-fd {control_fd} is no socket: {error}") from error
        os.set_inheritable(control_fd, False)
    server = Server(directory, controllers, control, quiet, bridges, functions)
    try:
        server.run()
    finally:
        server.close()
