# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory as a cpio archive that the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).

It needs no kernel and no root, and equal files give equal bytes.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

_ALIGNMENT = 4
#: Archives are joined at this alignment, as cpio(1) writes its blocks.
BLOCK_BYTES = 512


def write_tree(root: Path, links: Mapping[str, str], sink: BinaryIO, at: str = "") -> None:
    """Write what is below ``root``, and symbolic ``links`` (path to target), owned by root and without times.

    ``at`` is the directory that the tree becomes there.

    Equal trees give equal bytes. Raises OSError.
    """
    archive = Archive(sink)
    entries: dict[str, Path | str] = {str(at / path.relative_to(root)): path for path in root.rglob("*")}
    entries |= {at: ""} if at else {}
    entries |= links
    # The kernel makes no directory that is not named before what is in it (do_symlink() in init/initramfs.c).
    for name in list(links):
        entries |= {str(parent): "" for parent in Path(name).parents[:-1] if str(parent) not in entries}
    for name in sorted(entries, key=lambda name: Path(name).parts):
        _add(archive, name, entries[name])
    archive.end()


def _add(archive: Archive, name: str, what: Path | str) -> None:
    """One entry: a file of the tree, a link's target, or nothing for a directory."""
    if isinstance(what, str):
        archive.add(name, stat.S_IFLNK | 0o777 if what else stat.S_IFDIR | 0o755, os.fsencode(what))
        return
    mode = what.lstat().st_mode
    if stat.S_ISLNK(mode):
        archive.add(name, stat.S_IFLNK | 0o777, os.fsencode(what.readlink()))
    elif stat.S_ISDIR(mode):
        archive.add(name, stat.S_IFDIR | 0o755, b"")
    elif stat.S_ISREG(mode):
        # Only root is there; what matters is whether a file can be run.
        archive.add(name, stat.S_IFREG | (0o755 if mode & 0o100 else 0o644), what.read_bytes())


def join(first: Path, second: Path, sink: BinaryIO) -> None:
    """Write one archive behind the other; the kernel unpacks both, and the second's files win."""
    for path in (first, second):
        with path.open("rb") as source:
            shutil.copyfileobj(source, sink, 1 << 20)
        sink.write(bytes(-path.stat().st_size % BLOCK_BYTES))


class Archive:
    """An archive in the "newc" format while it is written: owned by root, without times. Ends with ``end()``."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._inode = 0
        self._size = 0

    def add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        """One entry by its kind and permissions (stat(2)); ``device`` are a node's major and minor number."""
        self._inode += 1
        raw = os.fsencode(name) + b"\0"
        # ino, mode, uid, gid, nlink, mtime, size, device (2), device number (2), size of the name, checksum
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(raw), 0)
        self._write(b"070701" + b"".join(b"%08X" % field for field in fields) + raw)
        self._write(data)

    def end(self) -> None:
        self.add("TRAILER!!!", 0, b"")
        self._sink.write(bytes(-self._size % BLOCK_BYTES))

    def _write(self, data: bytes) -> None:
        padding = bytes(-(self._size + len(data)) % _ALIGNMENT)
        self._sink.write(data + padding)
        self._size += len(data) + len(padding)
