# SPDX-License-Identifier: GPL-2.0-or-later
"""What was typed at guests' prompts, kept from session to session in the user's state directory.

busybox, as Debian builds it, cannot save its shell's history, but its shell knows it: the prompt prints the latest
lines in a mark that is taken out of what the user sees. The next shell gets them by typing them as a here-document,
whose lines a shell remembers but does not run. What a guest prints is text here, and nothing else.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import platformdirs

from dmasafe.atomic import publish
from dmasafe.errors import DmasafeError

#: Typing them into a guest takes about a millisecond each.
GIVEN_LINES = 100
KEPT_LINES = 1000
MAX_LINE_CHARS = 1000
#: At each prompt; a command of more lines leaves only the last ones.
TOLD_LINES = 9
#: The longest that TOLD_LINES can be.
MAX_TOLD_BYTES = 16 * 1024
_CONTROL = re.compile(r"[^\x20-\x7e\xa0-\xff]")


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
        with publish(file) as unfinished:
            unfinished.touch(mode=0o600)
            unfinished.write_text("".join(f"{line}\n" for line in kept[-KEPT_LINES:]), encoding="utf-8")
    except OSError as error:
        raise DmasafeError(f"the shell's history cannot be kept in {file}: {error.strerror}") from error


def _cleaned(lines: Iterable[str]) -> list[str]:
    """Lines without what a terminal would act on; those that are empty or without end are left out."""
    cleaned = (_CONTROL.sub(" ", line).strip() for line in lines)
    return [line for line in cleaned if 0 < len(line) <= MAX_LINE_CHARS]


class ShellHistory:
    """The history of one guest's shell; ``lines`` is what was entered beside ``kept``, oldest first."""

    def __init__(self, kept: Sequence[str]) -> None:
        self._given = list(kept[-GIVEN_LINES:])
        self._known = list(self._given)
        self._rest = b""
        # Not to be guessed: what programs print is not what was typed.
        self._mark = secrets.token_hex(8)
        self._start = f"\x1b]{self._mark};".encode()
        self._told = re.compile(re.escape(self._start) + rb"(.*?)\x07", re.DOTALL)
        #: What the console prints once the shell has read all of ``typed``.
        self.ready = re.compile(self._told.pattern + rb".* # ", re.DOTALL)

    @property
    def lines(self) -> list[str]:
        return self._known[len(self._given) :]

    @property
    def typed(self) -> bytes:
        """What to type first: the shell tells its history from then on, remembers what is kept, and runs none of it.

        The last line of history is the here-document's end, so that nothing else comes to stand after it.
        """
        tell = f'{{ printf "\\033]{self._mark};"; history | busybox tail -n {TOLD_LINES}; printf "\\a"; }} >/dev/tty'
        typed = [f"PS1='$({tell})\\w \\$ '"]
        if self._given:
            end = self._given[-1]
            # An assignment before a special builtin stays.
            typed[0] += f" : <<{shlex.quote(end)}"
            typed += [*(line for line in self._given[:-1] if line != end), end]
        return "".join(f"{line}\r" for line in typed).encode("latin-1", "replace")

    def show(self, printed: bytes) -> bytes:
        """Take what the guest printed, in pieces of any size; returns what of it, and before it, is for the user."""
        *parts, rest = self._told.split(self._rest + printed)
        for told in parts[1::2]:
            self._learn(told.decode("latin-1"))
        shown = b"".join((*parts[::2], rest))
        at = shown.rfind(b"\x1b")
        tail = shown[at:] if at >= 0 else b""
        begun = tail and (self._start.startswith(tail) or tail.startswith(self._start)) and len(tail) < MAX_TOLD_BYTES
        self._rest = tail if begun else b""
        return shown.removesuffix(self._rest)

    def _learn(self, told: str) -> None:
        """Add what is new of the latest lines, each of which has its number before it."""
        latest = [row.lstrip().partition(" ")[2] for row in told.splitlines()]
        ours = [number for number, line in enumerate(latest, 1) if self._mark in line]
        latest = _cleaned(latest[ours[-1] if ours else 0 :])
        same = next(n for n in range(len(latest), -1, -1) if self._known[len(self._known) - n :] == latest[:n])
        self._known += latest[same:]
