# SPDX-License-Identifier: GPL-2.0-or-later
"""Logs of any length, from a file, a pipe or a live console, in constant memory.

Clean text is only searched for anchors (anchors.py); lines are read one by one where a report may begin and while
one is open. The splats are those of parse() on the same lines.
"""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dmasafe.dmesg.anchors import anchor_positions, may_matter
from dmasafe.dmesg.lines import LONGEST_LINE_BYTES
from dmasafe.dmesg.reports import Reader
from dmasafe.dmesg.source import Source
from dmasafe.dmesg.unpack import Unpacker
from dmasafe.outcome import Splat

if TYPE_CHECKING:
    from dmasafe.dmesg.minimal import Recorder

CHUNK_BYTES = 1 << 18
# A live console that has been silent for so long has said all of a report that has its end mark.
IDLE_S = 0.5

# What decides whether anything is readable: a run of so many bytes of which so many per cent are printable ASCII or
# white space. Random bytes have 38 per cent; a wrong baud rate, compressed data and images hardly more.
_WINDOW_BYTES = 256
_TEXT_PERCENT = 75
_TEXT = bytes([*range(0x20, 0x7F), *b"\t\n\r\x1b"])


@dataclass
class Tally:
    """What was read so far: bytes, lines, and whether any of it was text. Nothing at all is not readable either.

    ``notes`` are sentences about how the log was read, where that was inferred (Source.notes).
    """

    size: int = 0
    lines: int = 0
    readable: bool = False
    notes: dict[str, None] = field(default_factory=dict)

    def take(self, data: bytes) -> None:
        """Count a piece of the log; only until the first text is found does it cost anything."""
        self.size += len(data)
        for start in range(0, 0 if self.readable else len(data), _WINDOW_BYTES):
            window = data[start : start + _WINDOW_BYTES]
            rubbish = len(window.translate(None, _TEXT))
            if (len(window) - rubbish) * 100 >= _TEXT_PERCENT * len(window):
                self.readable = True
                return


class _Scanner:
    """Takes a log in pieces of any size and gives out its splats."""

    def __init__(self, tally: Tally, recorder: Recorder | None = None) -> None:
        self._tally = tally
        self._recorder = recorder
        self._reader = Reader()
        self._source = Source(lambda: self._reader.idle)
        self._source.notes = tally.notes
        self._rest = b""  # the beginning of a line whose end has not come
        self._unpacker = Unpacker(self._source.note)

    def take(self, data: bytes) -> list[Splat]:
        return [splat for piece in self._unpacker.take(data) for splat in self._take(piece)]

    def _take(self, data: bytes) -> list[Splat]:
        self._tally.take(data)
        end = data.rfind(b"\n") + 1
        if not end:
            # No more of an endless line is kept than is looked at.
            self._rest += data[: LONGEST_LINE_BYTES - len(self._rest)]
            return []
        splats: list[Splat] = []
        start = 0
        if self._rest:
            start = data.find(b"\n") + 1
            line, self._rest = self._rest + data[:start], b""
            splats += self._line(line)
        splats += self._scan(data, start, end)
        self._rest = data[end : end + LONGEST_LINE_BYTES]
        return splats

    def flush(self) -> list[Splat]:
        splats = [splat for number, line in self._source.flush() for splat in self._reader.feed(number, *line)]
        return splats + self._reader.flush()

    def close(self) -> list[Splat]:
        splats = [splat for piece in self._unpacker.close() for splat in self._take(piece)]
        splats += self._line(self._rest) if self._rest else []
        for number, line in self._source.close():
            splats += self._recorded(self._reader.feed(number, *line))
        return splats + self._recorded(self._reader.close())

    def _scan(self, data: bytes, start: int, end: int) -> list[Splat]:
        """All whole lines between ``start`` and ``end``."""
        splats: list[Splat] = []
        anchors = anchor_positions(data)
        anchor = next(anchors, end)
        while start < end:
            if self._reader.idle and self._source.idle:
                while anchor < start:
                    anchor = next(anchors, end)
                line = max(start, data.rfind(b"\n", start, anchor) + 1) if anchor < end else end
                self._tally.lines += data.count(b"\n", start, line)
                start = line
                if start >= end:
                    break
            after = data.find(b"\n", start) + 1
            splats += self._line(data[start:after])
            start = after
        return splats

    def _line(self, line: bytes) -> list[Splat]:
        self._tally.lines += 1
        splats: list[Splat] = []
        matters = not self._reader.idle or may_matter(line[:LONGEST_LINE_BYTES])
        if matters or not self._source.idle:
            if self._recorder is not None:
                self._recorder.take(self._tally.lines, line)
            for number, part in self._source.read(self._tally.lines, line, matters):
                splats += self._reader.feed(number, *part)
        return self._recorded(splats)

    def _recorded(self, splats: list[Splat]) -> list[Splat]:
        if self._recorder is not None:
            for splat in splats:
                self._recorder.finished(splat)
        return splats


def parse_stream(stream: BinaryIO, tally: Tally | None = None, recorder: Recorder | None = None) -> Iterator[Splat]:
    """The splats of a log that is read to its end, as parse() finds them in its lines (which end at ``\\n``).

    ``tally`` counts along; ``tally.readable`` says at the end whether the log was text at all. ``recorder`` gets the
    lines of each splat.
    """
    tally = tally or Tally()
    scanner = _Scanner(tally, recorder)
    while data := stream.read(CHUNK_BYTES):
        yield from scanner.take(data)
    yield from scanner.close()


def parse_path(path: str | os.PathLike[str], tally: Tally | None = None) -> Iterator[Splat]:
    """The splats of a log file; raises OSError if it cannot be opened or read."""
    with Path(path).open("rb", buffering=0) as stream:
        yield from parse_stream(stream, tally)


def follow(
    stream: BinaryIO,
    tally: Tally | None = None,
    *,
    idle_s: float = IDLE_S,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Splat]:
    """The splats of a live log as they come: a finished report is given out after ``idle_s`` of silence at the latest.

    A pipe or a terminal ends the iteration with its end; a regular file is waited on for more until ``stop()``, which
    is asked at least every ``idle_s`` seconds.
    """
    tally = tally or Tally()
    scanner = _Scanner(tally)
    handle = stream.fileno()
    grows = stat.S_ISREG(os.fstat(handle).st_mode)
    while not stop():
        ready, _, _ = select.select([handle], [], [], idle_s)
        data = os.read(handle, CHUNK_BYTES) if ready else b""
        if data:
            yield from scanner.take(data)
            continue
        yield from scanner.flush()
        if grows:
            time.sleep(idle_s)
        elif ready:
            break
    yield from scanner.close()
