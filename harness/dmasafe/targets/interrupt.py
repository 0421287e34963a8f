# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C, Ctrl-\\, SIGTERM or SIGHUP at a moment when obeying it would lose what was measured.

All four interrupt (dmasafe/cli/guard.py): CI systems send SIGTERM, a window that closes SIGHUP.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
Handler = Callable[[int, FrameType | None], Any]


def by_whom(interrupt: KeyboardInterrupt) -> str:
    """Who sent it, for a sentence: the signal's name if it was not the user at the keyboard."""
    return str(interrupt) or "the user"


@contextlib.contextmanager
def interrupt_deferred() -> Iterator[None]:
    """A signal within takes effect at the end. For work that takes a bounded, short time; nests."""
    caught: list[tuple[Handler, int, FrameType | None]] = []
    try:
        with _handled_by(lambda previous: lambda number, frame: caught.append((previous, number, frame))):
            yield
    finally:
        for previous, number, frame in caught[:1]:
            previous(number, frame)


@contextlib.contextmanager
def interrupt_once() -> Iterator[None]:
    """Signals after the first one change nothing: who was interrupted is about to keep what there is, and end."""
    seen: list[int] = []

    def handler(previous: Handler) -> Handler:
        def handle(number: int, frame: FrameType | None) -> None:
            seen.append(number)
            if len(seen) == 1:
                previous(number, frame)

        return handle

    with _handled_by(handler):
        yield


@contextlib.contextmanager
def _handled_by(make: Callable[[Handler], Handler]) -> Iterator[None]:
    """Within, each signal has the handler that ``make`` makes of its own one."""
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    # Only the main thread may set handlers, and only a Python one can be put off.
    if threading.current_thread() is not threading.main_thread():
        previous = {}
    ours = {number: handler for number, handler in previous.items() if callable(handler)}
    try:
        for number, handler in ours.items():
            signal.signal(number, make(handler))
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
