# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines on their way out of the device's process: never blocking, never growing without bound.

Trace lines are gathered and written in large pieces; a reader that is too slow loses lines and is told how many.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Callable

from dmasafe.devices.loop import Loop

# What may wait for a slow reader. A line of 64 KiB of payload takes 128 KiB.
MAX_WAITING_BYTES = 8 << 20
FLUSH_AT_BYTES = 32 << 10
FLUSH_AFTER_S = 0.02
# Of a pipe that polls as writable, this many bytes can be written without blocking (PIPE_BUF, pipe(7)).
_PIPE_PIECE_BYTES = 4096
_SOCKET_PIECE_BYTES = 1 << 16


class Output:
    """Lines to the descriptor ``fd``, which stays the caller's. ``lost`` is called once when the reader has gone."""

    def __init__(self, loop: Loop, fd: int, lost: Callable[[], None]) -> None:
        self._loop = loop
        self._fd = fd
        self._lost = lost
        self._gone = False
        self._waiting = bytearray()
        self._dropped = 0
        self._timer = False
        self._watching = False
        mode = os.fstat(fd).st_mode
        self._socket = socket.socket(fileno=os.dup(fd)) if stat.S_ISSOCK(mode) else None
        # A second description of the same file: epoll watches it for writing while the first is watched for reading.
        self._watched = os.dup(fd)

    def line(self, text: str) -> None:
        """One event, newline included; it may be dropped."""
        if self._dropped and not self._report_dropped():
            self._dropped += 1
            return
        if len(self._waiting) + len(text) > MAX_WAITING_BYTES:
            self._dropped += 1
            return
        self._add(text)

    def reply(self, text: str) -> None:
        """One answer, newline included; it is never dropped, and everything so far is sent at once."""
        if self._dropped:
            self._add(_dropped_line(self._dropped))
            self._dropped = 0
        self._waiting += text.encode()
        self.flush()

    @property
    def full(self) -> bool:
        """Whether no further questions should be taken before the reader has caught up."""
        return len(self._waiting) > MAX_WAITING_BYTES

    def flush(self) -> None:
        """Writes what the reader takes now; the rest follows when there is room."""
        self._timer = False
        try:
            while self._waiting and not self._gone:
                if self._socket is not None:
                    with memoryview(self._waiting)[:_SOCKET_PIECE_BYTES] as piece:
                        done = self._socket.send(piece, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                elif select.select((), (self._fd,), (), 0)[1]:
                    # It is shared with others and must stay blocking; a piece of this size will not block.
                    done = os.write(self._fd, self._waiting[:_PIPE_PIECE_BYTES])
                else:
                    self._watch()
                    return
                del self._waiting[:done]
        except BlockingIOError:
            self._watch()
        except OSError:
            self._reader_gone()

    def close(self) -> None:
        """Sends what can be sent at once."""
        self.flush()
        self._unwatch()
        os.close(self._watched)
        if self._socket is not None:
            self._socket.close()

    def _add(self, text: str) -> None:
        self._waiting += text.encode()
        if len(self._waiting) >= FLUSH_AT_BYTES and not self._watching:
            self.flush()
        elif not self._timer and not self._watching:
            self._timer = True
            self._loop.after(FLUSH_AFTER_S, self._flush_late)

    def _flush_late(self) -> None:
        if self._timer:
            self.flush()

    def _report_dropped(self) -> bool:
        # Only when the reader has taken half: not a drop report for every second line.
        if len(self._waiting) > MAX_WAITING_BYTES // 2:
            return False
        count, self._dropped = self._dropped, 0
        self._add(_dropped_line(count))
        return True

    def _watch(self) -> None:
        if not self._watching:
            self._loop.on_writable(self._watched, self._room)
            self._watching = True

    def _unwatch(self) -> None:
        if self._watching:
            self._loop.forget(self._watched)
            self._watching = False

    def _room(self) -> None:
        self._unwatch()
        self.flush()

    def _reader_gone(self) -> None:
        self._gone = True
        self._waiting.clear()
        self._unwatch()
        self._lost()


def _dropped_line(count: int) -> str:
    return f'{{"ev":"dropped","count":{count}}}\n'
