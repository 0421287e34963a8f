# SPDX-License-Identifier: GPL-2.0-or-later
"""The socket that QEMU's ``-chardev socket`` for a usb-redir connects to, with a bridge behind it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from dmasafe.devices.listener import Listener
from dmasafe.devices.loop import Loop
from dmasafe.devices.usb.device import Function, UsbDevice
from dmasafe.devices.usb.master import Master
from dmasafe.devices.usb.redirection import Redirection
from dmasafe.devices.usb.usbredir import ProtocolError, Wire

_RECEIVE_BYTES = 1 << 16
# Others want their turn too.
_ROUNDS = 16
# More than this unsent, and QEMU is asked for nothing more before it has taken some.
MAX_UNSENT_BYTES = 1 << 20


class Port:
    """One bridge on one listening socket, with one QEMU at a time.

    ``notify`` is told of ``connected`` and ``disconnected``, ``complain`` why a connection was given up.
    """

    def __init__(
        self,
        loop: Loop,
        master: Master,
        function: Function,
        path: Path,
        notify: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._master = master
        self._device = UsbDevice(function, master.name)
        self._path = path
        self._notify = notify
        self._complain = complain
        self._connection: socket.socket | None = None
        # A second description of the connection: epoll watches it for writing.
        self._writing: int | None = None
        self._wire = Wire()
        self._redirection: Redirection | None = None
        self._unsent = bytearray()
        self._held = False
        self._reading = False
        # Tells a timer of an earlier connection's from this one's.
        self._number = 0
        self._listener = Listener(loop, path, self._connected)

    @property
    def busy(self) -> bool:
        """Whether a slave holds the clock, or something is still to be said."""
        return self._held or bool(self._unsent)

    def poll(self) -> None:
        """Handles what QEMU has sent so far."""
        if self._reading:
            self._readable()

    def close(self) -> None:
        """Drops QEMU and removes the socket."""
        if self._connection is not None:
            self._disconnect()
        self._listener.close()

    def _connected(self, connection: socket.socket) -> None:
        self._connection = connection
        self._writing = os.dup(connection.fileno())
        self._number += 1
        self._wire = Wire()
        self._notify("connected")
        self._listen()
        self._redirection = Redirection(self._device, self._wire, self._send)
        self._flush()

    def _disconnect(self) -> None:
        assert self._connection is not None and self._writing is not None
        self._deafen()
        self._loop.forget(self._writing)
        os.close(self._writing)
        self._connection.close()
        self._connection = self._writing = self._redirection = None
        self._unsent.clear()
        self._held = False
        self._device.reset()
        self._listener.again()
        self._notify("disconnected")

    def _listen(self) -> None:
        if self._connection is not None and not self._reading:
            self._reading = True
            self._loop.on_readable(self._connection.fileno(), self._readable)

    def _deafen(self) -> None:
        if self._connection is not None and self._reading:
            self._reading = False
            self._loop.forget(self._connection.fileno())

    def _readable(self) -> None:
        for _round in range(_ROUNDS):
            if not self._reading or self._connection is None:
                return
            try:
                data = self._connection.recv(_RECEIVE_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self._disconnect()
                return
            self._wire.feed(data)
            self._handle()

    def _handle(self) -> None:
        """The packets that are here, until a slave holds the clock or QEMU does not take the answers."""
        number = self._number
        try:
            for packet in self._wire.packets():
                assert self._redirection is not None
                self._redirection.handle(packet)
                delay_s = self._master.take_delay_s()
                if delay_s > 0:
                    self._held = True
                    self._deafen()
                    self._loop.after(delay_s, lambda: self._resume(number))
                    return
                self._flush()
                if self._redirection is None or not self._reading:
                    return
        except ProtocolError as error:
            self._complain(str(error))
            if self._connection is not None:
                self._disconnect()

    def _resume(self, number: int) -> None:
        if number != self._number or not self._held:
            return
        self._held = False
        self._listen()
        self._flush()
        if self._reading:
            self._handle()

    def _send(self, data: bytes) -> None:
        self._unsent += data

    def _flush(self) -> None:
        """Sends what QEMU takes now, unless a slave holds the clock; the rest follows when there is room."""
        if self._connection is None or self._writing is None or self._held:
            return
        self._loop.forget(self._writing)
        try:
            while self._unsent:
                done = self._connection.send(self._unsent)
                del self._unsent[:done]
        except (BlockingIOError, InterruptedError):
            self._loop.on_writable(self._writing, self._room)
            if len(self._unsent) > MAX_UNSENT_BYTES:
                self._deafen()
        except OSError:
            self._disconnect()

    def _room(self) -> None:
        self._flush()
        if self._connection is not None and len(self._unsent) <= MAX_UNSENT_BYTES and not self._reading:
            self._listen()
            self._handle()
