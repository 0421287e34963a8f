# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines that mail or a terminal has wrapped, put together again before anything is read from them.

Where every line of a log begins with this log's prefix, a line without one goes on with the line before, if its first
word had no room there. source.py says which lines begin with the prefix; logs without prefixes are reports.py's work.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from dmasafe.dmesg import headers
from dmasafe.dmesg.anchors import anchor_positions
from dmasafe.dmesg.classes import readings
from dmasafe.dmesg.lines import LONGEST_LINE_CHARS, strip_prefixes

# Nobody wraps narrower, and a longer "line" of one word is base64's.
SHORTEST_WIDTH_CHARS = 40
# The longest line of quoted-printable: 76 characters in RFC 2045, 78 in mails of Python's.
LONGEST_QP_CHARS = 78
# A list of modules takes so many lines of a narrow terminal.
MAX_JOINED = 128
# The tables know nothing longer.
LONGEST_TOLD_CHARS = 1024
# So many lines without a prefix, and the log is no longer one with prefixes.
MAX_BARE = 16
# A report's marks, broken: what stands before them is what this log's prefix is inferred from.
_BROKEN_MARK = re.compile(
    r"(?:^|[\s:])(?:-{1,12}|-{3,20}\[ ?(?:c|cut? ?|cut h|cut her?e? ?|en?d? ?|end t[race]{0,4} ?"
    r"|end trace [0-9a-f]{0,16} ?))$"
)
_MARK_CHARS = 48
# What no word of the kernel's begins with, or ends with.
_INNER, _INNER_ENDS = ".:+,/)", "+/_="
_PCI = re.compile(r"(?<!\S)[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.\d: ")
_HYPHEN = re.compile(r"\w-$")


class Unwrapper:
    """Holds a line until the next one says whether it goes on. ``begins`` says whether a line has this log's prefix."""

    def __init__(self, begins: Callable[[str], bool], note: Callable[[str], None]) -> None:
        self._begins, self._note = begins, note
        self._number = 0
        self._held: list[str] | None = None
        self._size = 0
        self._kept = False
        self._bare = MAX_BARE
        self._longest = SHORTEST_WIDTH_CHARS
        self._last = ""
        # Whether lines are broken in the middle of words, where that is known.
        self._hard: bool | None = None

    @property
    def idle(self) -> bool:
        return self._held is None

    def take(self, number: int, line: str, keep: bool) -> list[tuple[int, str]]:
        """The lines that are whole now. ``keep`` says whether the line can matter, so that it is worth waiting."""
        piece = self._rest(line)
        if piece is not None and self._held is not None:
            self._join(line, piece)
            return []
        whole = self.flush()
        if not keep and not self._kept:
            self._bare = MAX_BARE
            return [*whole, (number, line)]
        self._number, self._held, self._size, self._kept, self._last = number, [line], len(line), keep, line
        self._measure(line)
        return whole

    def flush(self) -> list[tuple[int, str]]:
        """The line that waits."""
        held, self._held = self._held, None
        return [(self._number, "".join(held))] if held is not None else []

    def _measure(self, line: str) -> None:
        if len(line) > self._longest and " " in line.strip():
            self._longest = len(line)

    def _rest(self, line: str) -> str | None:
        """What the line adds to the one that is held; None if it begins one of its own."""
        if self._begins(line):
            self._bare = 0
            return None
        if self._held is None:
            return None
        if self._last.endswith("=") and len(self._last) <= LONGEST_QP_CHARS:
            return None  # quoted-printable says itself that a line goes on
        if _BROKEN_MARK.search(self._last[-_MARK_CHARS:]):
            return line
        if self._bare >= MAX_BARE and self._begins(self._held[0]):
            self._bare = 0
        self._bare += 1
        if self._bare > MAX_BARE or len(self._held) >= MAX_JOINED or self._size > LONGEST_LINE_CHARS:
            return None
        piece = strip_prefixes(line).text
        word = len(piece.split(" ", 1)[0])
        if not piece.strip() or len(self._last) + 1 + word <= self._longest:
            return None
        if headers.MAIL.match(piece) or (" " not in piece and " " not in self._last and word >= SHORTEST_WIDTH_CHARS):
            return None
        return piece

    def _join(self, line: str, piece: str) -> None:
        assert self._held is not None
        self._note("wrapped lines joined")
        self._bare = 0
        if len(self._last) < self._longest - 1:
            self._hard = False
        elif self._hard is None and (piece[:1] in _INNER or self._last[-1:] in _INNER_ENDS):
            self._hard = True
        glue = self._glue("".join(self._held), piece)
        self._held += [glue, piece]
        self._size += len(piece)
        self._last = line
        self._measure(line)

    def _glue(self, before: str, piece: str) -> str:
        """What was between two pieces: a space that was broken at, or nothing, in the middle of a word."""
        if before[-1:].isspace() or piece[:1].isspace() or (_HYPHEN.search(before[-2:]) and piece[0].isalnum()):
            return ""
        if len(self._last) < self._longest or self._hard is not None:
            return "" if self._hard and len(self._last) == self._longest else " "
        if len(before) > LONGEST_TOLD_CHARS or len(piece) > LONGEST_TOLD_CHARS:
            return " "
        apart, together = told(f"{before} {piece}"), told(before + piece)
        if apart != together:
            self._hard = together > apart
        return "" if self._hard else " "


def told(line: str) -> int:
    """How much of a line the tables know, whatever stands before it."""
    known = sum(2 + len(reading.values) + reading.complete for reading in readings(line))
    known += sum(1 for _ in anchor_positions(line.encode("utf-8", "replace")))
    symbol = headers.SYMBOL.search(line)
    return known + (_PCI.search(line) is not None) + (0 if symbol is None else 1 + (symbol["module"] is not None))
