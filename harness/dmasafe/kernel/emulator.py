# SPDX-License-Identifier: GPL-2.0-or-later
"""A newer QEMU than this system's, of Debian's packages: unpacked in the cache, started by its own loader beside it.

None of the packages is installed, and none of their scripts runs.
"""

from __future__ import annotations

import os
from pathlib import Path

from dmasafe.architecture import host_arch
from dmasafe.kernel.cache import Cache, explained, lock, publish_text, staging
from dmasafe.kernel.debian import PackageList, fetch_packages, unpack
from dmasafe.kernel.errors import CacheError, SourceError
from dmasafe.progress import Progress

#: The first Debian release whose backports have what is needed here: QEMU itself, and where its libraries are.
SUITES = ("trixie", "trixie-backports")
# What only an installation needs, and network cards' ROMs.
_LEFT_OUT = ("adduser", "passwd", "debconf", "ipxe-qemu", "openssl-provider-legacy")
# From usr/share on it looks as any installed QEMU does: qemu/versions.py finds its firmware.
_PLACE = "usr/libexec"
# QEMU would take its modules from the system's directory, where those of another version are.
_STARTER = """#!/bin/sh
root=${{0%/{place}/*}}
QEMU_MODULE_DIR=$root/{libraries}/qemu exec "$root/{loader}" --library-path "$root/{libraries}" \\
\t"$root/usr/bin/{binary}" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" "$@"
"""


def newer_qemu(binary: str, debian_package: str, cache: Cache, progress: Progress) -> Path:
    """A program to be started as ``binary`` would be, fetched once. Raises SourceError, CacheError."""
    found = find_newer_qemu(binary, cache)
    if found is not None:
        return found
    home = _home(binary, cache)
    with explained(cache), lock(cache, f"emulator-{home.name}", progress, f"fetching {binary}"):
        found = find_newer_qemu(binary, cache)
        if found is not None:
            return found
        debs = fetch_packages(PackageList((debian_package,), _LEFT_OUT), host_arch(), cache, progress, SUITES)
        with staging(cache) as directory:
            root = directory / "root"
            unpack(debs, root, cache)
            loader = next(root.glob("usr/lib/*/ld-linux*.so.*"), None)
            if loader is None or not (root / "usr" / "bin" / binary).is_file():
                raise SourceError(f"Debian's {debian_package} of {SUITES[-1]} has no {binary} with a loader")
            text = _STARTER.format(
                binary=binary,
                place=_PLACE,
                loader=loader.relative_to(root),
                libraries=loader.parent.relative_to(root),
            )
            starter = root / _PLACE / binary
            publish_text(starter, text)
            starter.chmod(0o755)
            publish_text(root / "packages", "".join(f"{deb}\n" for deb in debs))
            try:
                root.rename(home)
            except OSError as cause:
                raise CacheError(f"cannot move {binary} to {home}: {cause.strerror}") from cause
        for deb in debs:
            deb.path.unlink(missing_ok=True)
    return home / _PLACE / binary


def find_newer_qemu(binary: str, cache: Cache) -> Path | None:
    """What newer_qemu() has fetched, marked as used, or None."""
    home = _home(binary, cache)
    if not (home / _PLACE / binary).is_file():
        return None
    os.utime(home)
    return home / _PLACE / binary


def _home(binary: str, cache: Cache) -> Path:
    return cache.path("emulators", f"{binary}-{SUITES[-1]}")
