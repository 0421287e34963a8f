# SPDX-License-Identifier: GPL-2.0-or-later
"""Directories below TMPDIR that end with the work they are for.

Nobody can clean up after SIGKILL. So each directory has a lock, which ends with its process, and whoever makes a new
one removes those that are not locked any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dmasafe.errors import DmasafeError, os_sentence

PREFIX = "dmasafe-"
_LOCK = ".lock"
# A stale directory that has this file is left to who can read it (dmasafe/targets/journal.py).
UNFINISHED = "unfinished.json"


@contextlib.contextmanager
def directory(what: str = "") -> Iterator[Path]:
    """A private directory, ``what`` in its name; gone at the end, whatever is in it. Raises DmasafeError."""
    made: Path | None = None
    descriptor: int | None = None
    # Ctrl-C may come between any two of these lines.
    try:
        try:
            _sweep()
            made = Path(tempfile.mkdtemp(prefix=PREFIX + what))
        except OSError as error:
            where = error.filename or "a directory for temporary files"
            raise DmasafeError(os_sentence("make", where, error, "set TMPDIR to another place")) from error
        descriptor = _lock(made)
        yield made
    finally:
        if made is not None:
            remove(made)
        if descriptor is not None:
            os.close(descriptor)


def _lock(made: Path) -> int | None:
    """Locked before it has its name: nobody finds it unlocked. None where there are no locks: it is never swept."""
    with contextlib.suppress(OSError):
        new = made / f"{_LOCK}.new"
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.rename(made / _LOCK)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor
    return None


def stale() -> Iterator[Path]:
    """The directories of this user's that dead processes left. While the caller has one, nobody else is given it."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                with _locked(Path(entry.path)) as path:
                    if path is not None:
                        yield path


def remove(path: Path) -> None:
    """Remove a directory with all that is in it, as far as that can be done."""
    shutil.rmtree(path, ignore_errors=True)


def _sweep() -> None:
    for path in stale():
        if not (path / UNFINISHED).exists():
            remove(path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[Path | None]:
    """``path``, if it can be locked: None for somebody else's, one without a lock, or in use."""
    descriptor = None
    try:
        try:
            if path.stat().st_uid == os.geteuid():
                descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found: Path | None = path
            else:
                found = None
        except OSError:
            found = None
        yield found
    finally:
        if descriptor is not None:
            os.close(descriptor)
