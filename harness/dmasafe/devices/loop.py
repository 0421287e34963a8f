# SPDX-License-Identifier: GPL-2.0-or-later
"""The one thread of the device's process: file descriptors, timers and deferred calls.

On epoll itself: the selectors module costs more per wake-up than a whole request's bookkeeping.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import NamedTuple

Callback = Callable[[], None]


class _Timer(NamedTuple):
    at: float
    number: int
    callback: Callback


class Loop:
    """``run`` calls back until ``quit``. No callback may block, and each must bear being called without need."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._timers: list[_Timer] = []
        self._soon: list[Callback] = []
        self._numbers = itertools.count()
        self._running = True

    def on_readable(self, fd: int, callback: Callback) -> None:
        """Calls ``callback`` whenever ``fd`` has something to read, until ``forget``."""
        self._epoll.register(fd, select.EPOLLIN)
        self._callbacks[fd] = callback

    def on_writable(self, fd: int, callback: Callback) -> None:
        """The same for room to write; for descriptors that are not also read.

        Raises PermissionError for a regular file, which always has room.
        """
        self._epoll.register(fd, select.EPOLLOUT)
        self._callbacks[fd] = callback

    def forget(self, fd: int) -> None:
        """Stops watching ``fd``; call it before closing. An ``fd`` that is not watched is no error."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def soon(self, callback: Callback) -> None:
        """Calls once, after everything that is readable now has had its turn."""
        self._soon.append(callback)

    def after(self, seconds: float, callback: Callback) -> None:
        """Calls once, ``seconds`` from now."""
        heapq.heappush(self._timers, _Timer(time.monotonic() + seconds, next(self._numbers), callback))

    def quit(self) -> None:
        self._running = False

    def run(self) -> None:
        while self._running:
            self.step()

    def step(self) -> None:
        """Waits for whatever comes next, and handles it."""
        timeout = -1.0
        if self._soon:
            timeout = 0.0
        elif self._timers:
            timeout = max(0.0, self._timers[0].at - time.monotonic())
        for fd, _events in self._epoll.poll(timeout):
            callback = self._callbacks.get(fd)
            # An earlier callback of this round may have stopped watching it.
            if callback is not None:
                callback()
        if self._soon:
            soon, self._soon = self._soon, []
            for callback in soon:
                callback()
        while self._timers and self._timers[0].at <= time.monotonic():
            heapq.heappop(self._timers).callback()

    def close(self) -> None:
        self._epoll.close()
