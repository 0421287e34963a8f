# SPDX-License-Identifier: GPL-2.0-or-later
"""The smallest excerpt of a log that parses to the same splat, for a bug report: delta debugging over its lines.

Recorder keeps the lines around each splat while stream.py reads a log. Ever smaller pieces are left out (Zeller and
Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002); every step is verified by parsing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from dmasafe.dmesg import parse
from dmasafe.dmesg.lines import without_controls
from dmasafe.outcome import Splat

# Lines in front of a report that may be needed to read it: where a prefix or an encoding is learnt from.
LINES_BEFORE = 8
# So many of the log's first lines are tried too: there a mail says how it is encoded.
FIRST_LINES = 64
MAX_KEPT_BYTES = 4 << 20
# For each splat; what is found by then is given.
TIME_LIMIT_S = 5.0


@dataclass
class Recorder:
    """The lines that a log's splats were read from. Bounded: of a report of megabytes the beginning is lost."""

    found: list[tuple[Splat, list[bytes]]] = field(default_factory=list)
    _first: list[tuple[int, bytes]] = field(default_factory=list)
    _lines: deque[tuple[int, bytes]] = field(default_factory=deque)
    _size: int = 0

    def take(self, number: int, line: bytes) -> None:
        """A line that was read."""
        if len(self._first) < FIRST_LINES:
            self._first.append((number, line))
        self._lines.append((number, line))
        self._size += len(line)
        while self._size > MAX_KEPT_BYTES and len(self._lines) > 1:
            self._size -= len(self._lines.popleft()[1])

    def finished(self, splat: Splat) -> None:
        """A splat whose last line was read."""
        numbers = [number for number, _ in self._lines]
        begin = next((at for at, number in enumerate(numbers) if number >= splat.log_line), len(numbers))
        kept = list(self._lines)[max(0, begin - LINES_BEFORE) :]
        head = [line for number, line in self._first if not kept or number < kept[0][0]]
        self.found.append((splat, head + [line for _, line in kept]))


def minimal(lines: Sequence[bytes], splat: Splat, clock: Callable[[], float] = time.monotonic) -> list[str]:
    """Of ``lines``, those without any of which ``splat`` would be another one; more of them if time is over.

    What is given parses to ``splat``, but for the line's number. If even all lines do not, the answer is empty: the
    log has to be quoted as it is.
    """
    deadline = clock() + TIME_LIMIT_S
    text = [part for line in lines for part in without_controls(line.decode("utf-8", "replace"))]
    wanted = replace(splat, log_line=0)

    def same(chosen: Sequence[str]) -> bool:
        return any(replace(found, log_line=0) == wanted for found in parse(chosen))

    if not same(text):
        return []
    size, less = len(text), False
    while clock() < deadline and (size > 1 or less):
        size, less, start = max(size // 2, 1), False, 0
        while start < len(text) and clock() < deadline:
            shorter = text[:start] + text[start + size :]
            if same(shorter):
                text, less = shorter, True
            else:
                start += size
    return text
