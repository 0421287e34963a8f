# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing a file so that a reader sees the old one or the whole new one, never a part."""

from __future__ import annotations

import errno
from pathlib import Path

from dmasafe.atomic import publish
from dmasafe.report import ReportError

# Advice where a user can do something; other errnos have none.
_ADVICE = {
    errno.ENOSPC: "free some space there, or write to another place",
    errno.EDQUOT: "free some of your quota there, or write to another place",
    errno.EACCES: "make it writable for you, or write to another place",
    errno.EPERM: "make it writable for you, or write to another place",
    errno.EROFS: "it is read-only: write to another place",
    errno.ENOTDIR: "a part of the path is a file: move it away, or write to another place",
    errno.ENOENT: "make its directory first",
    errno.EISDIR: "it is a directory: give the name of a file",
}


def failure(doing: str, path: Path, error: OSError) -> ReportError:
    """The one sentence about ``error``, which happened when ``doing`` (such as "write") was tried on ``path``."""
    advice = _ADVICE.get(error.errno or 0)
    reason = error.strerror or type(error).__name__
    return ReportError(f"cannot {doing} {path}: {reason}" + (f"; {advice}" if advice else ""))


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` by way of a temporary file beside it.

    What is there and no regular file (a pipe, /dev/stdout) is written straight, for a rename would replace it.
    Lone surrogates are spelled out. Raises ReportError.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, data: bytes) -> None:
    """As write_text(), for bytes."""
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        # Through a symbolic link its target is what is meant; a rename would replace the link.
        with publish(path.resolve()) as made, made.open("xb") as stream:
            stream.write(data)
    except OSError as error:
        raise failure("write", path, error) from error
