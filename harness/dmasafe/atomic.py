# SPDX-License-Identifier: GPL-2.0-or-later
"""Files, links and directories that a reader sees whole or not at all: made under another name, then renamed.

What is published has its content on the disk before it has its name: after a power failure there is no empty file.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def publish(path: Path) -> Iterator[Path]:
    """Yields a name beside ``path`` to make something under. At the end it replaces ``path``; on errors it goes away.

    A directory replaces one that is not empty in two steps: for a moment there is none. Raises OSError.
    """
    made = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        yield made
        if made.is_symlink():
            made.replace(path)
        elif not made.is_dir():
            _sync(made)
            made.replace(path)
        elif not path.is_dir():
            made.rename(path)
        else:
            _swap(made, path)
    finally:
        _remove(made)


def adopt(made: Path, path: Path) -> bool:
    """Give a finished directory its name; False if something is there already, which stays. Raises OSError."""
    try:
        made.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    return True


def _swap(made: Path, path: Path) -> None:
    old = made.with_name(f"{made.name}-old")
    path.rename(old)
    try:
        made.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
