# SPDX-License-Identifier: GPL-2.0-or-later
"""The history as a static site: one directory of HTML files that need nothing, not even a server.

data.py asks the history, plots.py places lines, pages.py renders the templates beside it. Everything that came from a
guest is escaped by the templates, and a policy in every page forbids whatever is not this site's own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from dmasafe.atomic import publish
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.history import History
from dmasafe.matrix.site.data import collect
from dmasafe.matrix.site.pages import GENERATOR, render

INDEX = "index.html"
NIGHTS = 30
_HEAD_BYTES = 4096


def write(history: History, out: Path, nights: int = NIGHTS, now: datetime | None = None) -> int:
    """Write the site into ``out``, which is replaced if it is an older one; returns its size in bytes.

    ``nights``: how many are shown in detail. Raises MatrixError.
    """
    out = out.absolute()
    _check(out)
    data = collect(history, nights, now or datetime.now(UTC))
    size = 0
    try:
        with publish(out) as made:
            made.mkdir(parents=True)
            for name, text in render(data):
                content = text.encode("utf-8", "backslashreplace")
                (made / name).write_bytes(content)
                size += len(content)
    except OSError as error:
        raise MatrixError(f"cannot write {out}: {error.strerror}; write to another place") from error
    return size


def _check(out: Path) -> None:
    """Only what an earlier report wrote is overwritten."""
    try:
        if out.is_symlink() or (out.exists() and not out.is_dir()):
            raise MatrixError(f"{out} is not a directory: name another place for the report")
        if not out.exists() or not any(out.iterdir()):
            return
        index = out / INDEX
        if not index.is_file() or GENERATOR.encode() not in index.read_bytes()[:_HEAD_BYTES]:
            raise MatrixError(f"{out} holds something else than an older report: name an empty or a new directory")
    except OSError as error:
        raise MatrixError(f"cannot look into {out}: {error.strerror}; write to another place") from error
