# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages with a header of fixed size and file descriptors beside them, off a stream socket that does not block.

vhost-user and vfio-user are both made of these; each protocol says how long a message is.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any, NamedTuple

from dmasafe.devices.errors import DevicesError

_FD = Struct("=i")


class Unframed(DevicesError):
    """Bytes that are no message of this protocol: the connection cannot go on."""


class Frame(NamedTuple):
    """A message: its header's fields, what follows it, the file descriptors, which the receiver closes."""

    header: tuple[Any, ...]
    payload: bytes
    fds: list[int]


class FrameReader:
    """Takes messages off ``connection``, never reading into the next one, so that each keeps its descriptors.

    ``length`` gives the bytes that follow a header with these fields, or raises Unframed.
    """

    def __init__(
        self, connection: socket.socket, header: Struct, length: Callable[[tuple[Any, ...]], int], max_fds: int
    ) -> None:
        self._connection = connection
        self._header = header
        self._length = length
        self._max_fds = max_fds
        self._ancillary_bytes = socket.CMSG_SPACE(max_fds * _FD.size)
        self._buffer = bytearray()
        self._fds: list[int] = []

    def read(self) -> Frame | None:
        """The next message, or None if it has not all arrived. Raises EOFError, OSError or Unframed."""
        while True:
            size = self._header.size
            if len(self._buffer) >= size:
                fields = self._header.unpack_from(self._buffer)
                size += self._length(fields)
                if len(self._buffer) >= size:
                    frame = Frame(fields, bytes(self._buffer[self._header.size :]), self._fds)
                    self._buffer.clear()
                    self._fds = []
                    return frame
            try:
                # Not socket.recv_fds(): up to Python 3.12 it ignores the flags.
                data, ancillary, flags, _address = self._connection.recvmsg(
                    size - len(self._buffer), self._ancillary_bytes, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                return None
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    self._fds += [fd for (fd,) in _FD.iter_unpack(content[: len(content) - len(content) % _FD.size])]
            if flags & socket.MSG_CTRUNC or len(self._fds) > self._max_fds:
                raise Unframed("a message with too many file descriptors")
            if not data:
                raise EOFError
            self._buffer += data

    def close(self) -> None:
        """The connection and what came with half a message."""
        close_fds(self._fds)
        self._connection.close()


def close_fds(fds: Iterable[int]) -> None:
    """Close what nobody has taken."""
    for fd in fds:
        os.close(fd)
