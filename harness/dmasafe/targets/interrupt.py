# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C, Ctrl-\\, SIGTERM or SIGHUP at a moment when obeying it would lose what was measured.

All four interrupt (dmasafe/cli/guard.py): CI systems send SIGTERM, a window that closes SIGHUP.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
Handler = Callable[[int, FrameType | None], Any]


def by_whom(interrupt: KeyboardInterrupt) -> str:
    """Who sent it, for a sentence: the signal's name if it was not the user at the keyboard."""
    return str(interrupt) or "the user"


class _Gate:
    """Handlers that stay while a run lasts: to set them anew for each piece of work costs more than the work."""

    def __init__(self) -> None:
        self.closed = 0
        self.waiting: list[tuple[Handler, int, FrameType | None]] = []

    def __enter__(self) -> None:
        self.closed += 1

    def __exit__(self, *_: object) -> None:
        self.closed -= 1
        if self.waiting and not self.closed:
            (previous, number, frame), self.waiting = self.waiting[0], []
            previous(number, frame)

    def guarded(self, handler: Handler) -> Handler:
        """The handler, which waits while the gate is closed."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self.closed:
                self.waiting.append((handler, number, frame))
            else:
                handler(number, frame)

        return handle


# Of the interrupt_once() that is under way.
_gate: _Gate | None = None


def interrupt_deferred() -> AbstractContextManager[None]:
    """A signal within takes effect at the end. For work that takes a bounded, short time; nests."""
    return _gate if _gate is not None and _in_main_thread() else _deferred()


@contextlib.contextmanager
def _deferred() -> Iterator[None]:
    gate = _Gate()
    with gate, _handled_by(gate.guarded):
        yield


@contextlib.contextmanager
def interrupt_once() -> Iterator[None]:
    """Signals after the first one change nothing: who was interrupted is about to keep what there is, and end."""
    global _gate
    seen: list[int] = []
    gate, outer = _Gate(), _gate

    def handler(previous: Handler) -> Handler:
        def handle(number: int, frame: FrameType | None) -> None:
            seen.append(number)
            if len(seen) == 1:
                previous(number, frame)

        return gate.guarded(handle)

    with _handled_by(handler):
        # A thread's has no handlers behind it.
        if not _in_main_thread():
            yield
            return
        try:
            _gate = gate
            yield
        finally:
            _gate = outer


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def _handled_by(make: Callable[[Handler], Handler]) -> Iterator[None]:
    """Within, each signal has the handler that ``make`` makes of its own one."""
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    # Only the main thread may set handlers, and only a Python one can be put off.
    if not _in_main_thread():
        previous = {}
    ours = {number: handler for number, handler in previous.items() if callable(handler)}
    try:
        for number, handler in ours.items():
            signal.signal(number, make(handler))
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
