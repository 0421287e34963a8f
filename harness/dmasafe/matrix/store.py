# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the workers of a run share what they made: a directory, or any URL that fsspec knows.

Nothing in it is ever changed: what has a name stays, and of two who write the same name the first one wins.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
from fsspec.implementations.local import LocalFileSystem

from dmasafe.matrix.errors import StoreError


class Store:
    """Files by name below ``url``. Every method raises StoreError."""

    def __init__(self, url: str) -> None:
        self.url = url
        with self._explained("opened"):
            self._fs, self._root = fsspec.core.url_to_fs(url)
            self._fs.makedirs(self._root, exist_ok=True)

    def get(self, name: str) -> bytes | None:
        """A file's content, None if it is not there."""
        with self._explained("read"):
            try:
                data: bytes = self._fs.cat_file(self._path(name))
            except FileNotFoundError:
                return None
            return data

    def has(self, name: str) -> bool:
        with self._explained("read"):
            return bool(self._fs.exists(self._path(name)))

    def mark_used(self, name: str) -> None:
        """Let a directory's file look new to ``dmasafe kernel prune``; other places keep no time of use."""
        if isinstance(self._fs, LocalFileSystem):
            with self._explained("written"):
                self._fs.touch(self._path(name), truncate=False)

    def put(self, name: str, data: bytes) -> None:
        """Add a file, whole or not at all; one that is there stays as it is."""
        path = self._path(name)
        with self._explained("written"):
            if self._fs.exists(path):
                return
            temporary = f"{path}.{secrets.token_hex(6)}.unfinished"
            self._fs.makedirs(self._fs._parent(path), exist_ok=True)
            self._fs.pipe_file(temporary, data)
            self._fs.mv(temporary, path)

    def remove(self, name: str) -> None:
        """Take a file, or all below a name, away."""
        with self._explained("written"):
            if self._fs.exists(self._path(name)):
                self._fs.rm(self._path(name), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, ImportError, NotImplementedError) as error:
            reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
            raise StoreError(
                f"the store {self.url} cannot be {what}: {reason}; name a directory or a URL that all workers reach "
                "with --store"
            ) from error
