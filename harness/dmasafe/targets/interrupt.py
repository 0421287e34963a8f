# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C at a moment when obeying it would lose what was measured."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def interrupt_deferred() -> Iterator[None]:
    """Ctrl-C within takes effect at the end. For work that takes a bounded, short time; nests."""
    previous = signal.getsignal(signal.SIGINT)
    # Only the main thread may set handlers, and only a Python one can be put off.
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return
    caught: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _number, frame: caught.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if caught:
            previous(signal.SIGINT, caught[0])
