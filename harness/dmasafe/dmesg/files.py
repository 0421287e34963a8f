# SPDX-License-Identifier: GPL-2.0-or-later
"""Logs by their names: a file, or - for standard input."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dmasafe.dmesg.stream import Tally, parse_stream
from dmasafe.errors import DmasafeError
from dmasafe.outcome import Splat

STDIN = "-"


class LogError(DmasafeError):
    """A log that cannot be read."""


@contextlib.contextmanager
def open_log(log: str) -> Iterator[BinaryIO]:
    """The log as a binary stream; raises LogError."""
    if log == STDIN:
        yield sys.stdin.buffer
        return
    try:
        with Path(log).open("rb", buffering=0) as stream:
            # A directory opens, and only reading it fails.
            stream.read(0)
            yield stream
    except OSError as error:
        raise LogError(f"cannot read {log}: {error.strerror}") from error


def read_all(stream: BinaryIO, log: str, tally: Tally) -> list[Splat]:
    """The splats of the whole log; raises LogError if none of it is text."""
    found = list(parse_stream(stream, tally))
    if tally.size and not tally.readable and not found:
        raise LogError(f"nothing in {'standard input' if log == STDIN else log} is readable as a log")
    return found
