# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing a file so that a reader sees the old one or the whole new one, never a part."""

from __future__ import annotations

from pathlib import Path

from dmasafe.atomic import publish
from dmasafe.errors import os_sentence
from dmasafe.report import ReportError


def failure(doing: str, path: Path, error: OSError) -> ReportError:
    """The one sentence about ``error``, which happened when ``doing`` (such as "write") was tried on ``path``."""
    return ReportError(os_sentence(doing, path, error))


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
