# SPDX-License-Identifier: GPL-2.0-or-later
"""Logs by their names: a file, or - for standard input."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dmasafe.dmesg.minimal import Recorder
from dmasafe.dmesg.stream import Tally, parse_stream
from dmasafe.errors import DmasafeError, os_sentence
from dmasafe.outcome import Splat

STDIN = "-"


class LogError(DmasafeError):
    """A log that cannot be read."""


@contextlib.contextmanager
def open_log(log: str) -> Iterator[BinaryIO]:
    """The log as a binary stream; raises LogError."""
    try:
        if log == STDIN:
            yield sys.stdin.buffer
            return
        with Path(log).open("rb", buffering=0) as stream:
            # A directory opens, and only reading it fails.
            stream.read(0)
            yield stream
    except OSError as error:
        # Reading has no name; what has another one is about the output.
        if error.filename not in (None, log):
            raise
        raise LogError(os_sentence("read", "standard input" if log == STDIN else log, error)) from error


def read_all(stream: BinaryIO, log: str, tally: Tally, recorder: Recorder | None = None) -> list[Splat]:
    """The splats of the whole log; raises LogError if none of it is text. ``recorder`` gets the lines of each."""
    found = list(parse_stream(stream, tally, recorder))
    if tally.size and not tally.readable and not found:
        raise LogError(f"nothing in {'standard input' if log == STDIN else log} is readable as a log")
    return found
