# SPDX-License-Identifier: GPL-2.0-or-later
"""The root of the error families: one family per package, each derived from DmasafeError.

The command line prints the sentence and exits; anything else is a bug (dmasafe/cli/guard.py).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

# What a user can do; other errnos have no advice.
_WRITING = {
    errno.ENOSPC: "free some space there, or {}",
    errno.EDQUOT: "free some of your quota there, or {}",
    errno.EACCES: "make it writable for you, or {}",
    errno.EPERM: "make it writable for you, or {}",
    errno.EROFS: "it is read-only: {}",
    errno.ENOTDIR: "a part of the path is a file: move it away, or {}",
    errno.ENOENT: "its directory is not there (any more): make it, or {}",
    errno.EISDIR: "it is a directory: give the name of a file",
}
_READING = {
    errno.EACCES: "your user may not: ask for access, or name another",
    errno.EPERM: "your user may not: ask for access, or name another",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EISDIR: "it is a directory: give the name of a file",
}


class DmasafeError(Exception):
    """A failure whose cause is known; ``str(error)`` is one sentence that says what to do about it."""


def os_sentence(doing: str, path: object, error: OSError, elsewhere: str = "write to another place") -> str:
    """The one sentence about ``error``, which happened when ``doing`` ("write", "read") was tried on ``path``.

    ``elsewhere`` says how to choose another place. "use" is for what may be either.
    """
    advice = (_WRITING if doing not in ("read", "use") else _READING).get(error.errno or 0)
    reason = error.strerror or type(error).__name__
    return f"cannot {doing} {path}: {reason}" + (f"; {advice.format(elsewhere)}" if advice else "")


def to_install(*packages: str) -> str:
    """How Debian's ``packages`` come to this system: a command where they are called so."""
    from shutil import which

    names = " ".join(packages)
    return f"apt-get install {names}" if which("apt-get") else f"install what Debian calls {names}"


def unknown(what: str, word: str, known: Iterable[str]) -> str:
    """The sentence for a ``word`` that is none of the ``known`` ones, with the one that was meant if one is like it."""
    # A third of what importing dmasafe.model takes.
    from difflib import get_close_matches

    words = list(known)
    near = get_close_matches(word, words, n=1)
    meant = f"did you mean '{near[0]}'? It" if near else "it"
    return f"there is no {what} '{word}': {meant} is one of {', '.join(words)}"
