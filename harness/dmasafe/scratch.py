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


@contextlib.contextmanager
def directory(what: str = "") -> Iterator[Path]:
    """A private directory, ``what`` in its name; gone at the end, whatever is in it. Raises DmasafeError."""
    try:
        _sweep(Path(tempfile.gettempdir()))
        made = Path(tempfile.mkdtemp(prefix=PREFIX + what))
    except OSError as error:
        where = error.filename or "a directory for temporary files"
        raise DmasafeError(os_sentence("make", where, error, "set TMPDIR to another place")) from error
    descriptor = _lock(made)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
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


def _sweep(root: Path) -> None:
    with contextlib.suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                # Somebody else's, without a lock, or in use.
                with contextlib.suppress(OSError):
                    _remove_stale(Path(entry.path))


def _remove_stale(path: Path) -> None:
    if path.stat().st_uid != os.geteuid():
        return
    descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)
