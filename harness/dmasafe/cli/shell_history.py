# SPDX-License-Identifier: GPL-2.0-or-later
"""What was typed at guests' prompts, kept from session to session in the user's state directory.

busybox, as Debian builds it, cannot save its shell's history. So the lines are read off the console as they are
entered, and put back into the next shell by typing them as a here-document, whose lines a shell remembers but does
not run. What a guest prints is text here, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import platformdirs

from dmasafe.errors import DmasafeError

#: Typing them into a guest takes about a millisecond each.
GIVEN_LINES = 100
KEPT_LINES = 1000
MAX_LINE_CHARS = 1000
#: A serial console knows no width, so busybox takes this one.
COLUMNS = 80
_PROMPT = re.compile(r"[~/]\S* # (?P<line>.*)")
_CONTROL = re.compile(r"[^\x20-\x7e\xa0-\xff]")
_ESCAPE = re.compile(r"\x1b\[(?P<count>\d*)[\d;]*(?P<final>[A-Za-z])")
# An escape sequence that has begun to arrive.
_UNFINISHED = re.compile(r"\x1b(\[[\d;]{0,20})?\Z")


def history_file() -> Path:
    return platformdirs.user_state_path("dmasafe") / "shell-history"


def load(file: Path) -> list[str]:
    """The lines that are kept, oldest first. A history that cannot be read is none: no reason to have no shell."""
    with contextlib.suppress(OSError):
        return _cleaned(file.read_text(encoding="utf-8", errors="replace").split("\n"))
    return []


def save(file: Path, typed: Sequence[str]) -> None:
    """Add a session's lines to what is stored by now, perhaps by another session. Atomic. Raises DmasafeError."""
    new = _cleaned(typed)
    if not new:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [*load(file), *new]
        kept = [line for line, after in zip(lines, [*lines[1:], None], strict=True) if line != after]
        _replace(file, "".join(f"{line}\n" for line in kept[-KEPT_LINES:]))
    except OSError as error:
        raise DmasafeError(f"the shell's history cannot be kept in {file}: {error.strerror}") from error


def here_document(lines: Sequence[str]) -> tuple[bytes, bytes]:
    """What to type so that a shell remembers ``lines`` and runs nothing, and its last line; empty for no lines.

    The last line of history is the document's end, so that nothing else comes to stand after it.
    """
    given = list(lines[-GIVEN_LINES:])
    if not given:
        return b"", b""
    end = given[-1]
    typed = [f": <<{shlex.quote(end)}", *(line for line in given[:-1] if line != end), end]
    return "".join(f"{line}\r" for line in typed).encode("latin-1", "replace"), end.encode("latin-1", "replace")


def _cleaned(lines: Iterable[str]) -> list[str]:
    """Lines without what a terminal would act on; those that are empty or without end are left out."""
    cleaned = (_CONTROL.sub(" ", line).strip() for line in lines)
    return [line for line in cleaned if 0 < len(line) <= MAX_LINE_CHARS]


class Recorder:
    """Reads the lines that were entered off a console: the row as it stood at the end, after all editing.

    A line of several rows is one long row here, of which row n starts at cell n * COLUMNS.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._entered = 0
        self._cells: list[str] = []
        self._column = 0
        self._rest = ""

    def type(self, typed: bytes) -> None:
        """What went to the guest: only a row that somebody ended with Enter is one that was typed."""
        self._entered += typed.count(b"\r")

    def show(self, printed: bytes) -> None:
        """What came from the guest, in pieces of any size."""
        text = self._rest + printed.decode("latin-1")
        unfinished = _UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        self._rest = text[end:]
        at = 0
        while at < end:
            escape = _ESCAPE.match(text, at)
            if escape:
                self._escape(escape["final"], int(escape["count"] or 1))
                at = escape.end()
            else:
                self._character(text[at])
                at += 1

    def _character(self, character: str) -> None:
        if character == "\n":
            self._row_ended()
        elif character == "\r":
            # In the last column the cursor still stands in the row that is full.
            self._column = max(0, self._column - 1) // COLUMNS * COLUMNS
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character >= " " and self._column < MAX_LINE_CHARS:
            self._cells += " " * (self._column - len(self._cells))
            self._cells[self._column : self._column + 1] = character
            self._column += 1

    def _escape(self, final: str, count: int) -> None:
        if final == "D":
            self._column = max(0, self._column - count)
        elif final == "A":
            self._column = max(0, self._column - count * COLUMNS)
        elif final == "C":
            self._column = min(MAX_LINE_CHARS, self._column + count)
        elif final in "JK":
            del self._cells[self._column :]

    def _row_ended(self) -> None:
        match = _PROMPT.match("".join(self._cells))
        full = len(self._cells) % COLUMNS == 0
        if match and match["line"].strip() and (full or not self._entered):
            # Nobody pressed Enter, or not yet: the line goes on in the next row.
            self._column = len(self._cells)
            return
        if match and self._entered:
            self._entered -= 1
            self.lines += _cleaned([match["line"]])
        self._cells.clear()
        self._column = 0


def _replace(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
