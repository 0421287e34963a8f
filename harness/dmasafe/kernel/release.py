# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels by version (7.3.4, 7.3) or by what kernel.org calls them (latest, longterm, mainline, next): which source?

Debian's archive is asked first, since a machine of Debian's has a mirror; elsewhere, and for what Debian does not
have, it is kernel.org.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dmasafe.kernel import apt
from dmasafe.kernel.cache import Cache
from dmasafe.progress import Progress

#: The words of kernel.org's front page, and what each means here.
NAMES = {
    "latest": "the newest release",
    "longterm": "the newest release that gets long-term maintenance",
    "mainline": "the newest release or release candidate",
    "next": "linux-next's newest tree",
}
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?(?:-rc(\d+))?")
_DEBIAN = re.compile(r"(?:\d+:)?(\d+\.\d+(?:\.\d+)?)(?:~(rc\d+))?")
#: The suite whose kernel has long-term maintenance: a release of Debian's is built on one.
_LONGTERM_SUITE = "stable"


def is_release(text: str) -> bool:
    """Whether this names a release: a version, or one of NAMES."""
    return text in NAMES or _VERSION.fullmatch(text) is not None


def release_key(version: str) -> tuple[int, int, int, float]:
    """What releases are ordered by: "7.3-rc7" comes before "7.3", "7.3" before "7.3.1"."""
    match = _VERSION.fullmatch(version)
    assert match is not None, version
    major, minor, patch, candidate = match.groups()
    return int(major), int(minor), int(patch or 0), float(candidate) if candidate else float("inf")


def series(version: str) -> str:
    """ "7.3" of "7.3.4" and of "7.3-rc7"."""
    return ".".join(re.split(r"[.-]", version)[:2])


def chosen(name: str, versions: Sequence[str], longterm: str | None = None) -> str | None:
    """The version among ``versions`` that ``name`` means, or None. ``longterm`` is the series that is maintained."""
    if name == "longterm":
        possible = [version for version in versions if longterm is not None and series(version) == longterm]
    elif name in ("latest", "mainline"):
        possible = [version for version in versions if name == "mainline" or "-rc" not in version]
    elif re.fullmatch(r"\d+\.\d+", name):
        # "7.3" before its first release is its newest candidate.
        possible = [version for version in versions if series(version) == name]
    else:
        possible = [version for version in versions if release_key(version) == release_key(name)]
    return max(possible, key=release_key, default=None)


def upstream_version(debian: str) -> str:
    """Upstream's version ("7.3.4", "7.3-rc7") of a package's ("7.3.4-1~bpo13+1", "7.3~rc7-1~exp1")."""
    match = _DEBIAN.match(debian)
    if match is None:
        return debian
    return match[1] + (f"-{match[2]}" if match[2] else "")


def in_debian(name: str, cache: Cache, progress: Progress) -> tuple[apt.Package, Path] | None:
    """The package of the release that ``name`` means, and the apt.conf it was found with.

    None where no suite has it. Raises SourceError where apt cannot be asked.
    """
    found = [(upstream_version(package.version), package, conf) for package, conf in apt.kernels(cache, progress)]
    found = [row for row in found if _VERSION.fullmatch(row[0])]
    stable = [version for version, package, _ in found if package.suite == _LONGTERM_SUITE]
    version = chosen(name, [row[0] for row in found], series(stable[0]) if stable else None)
    return next(((package, conf) for here, package, conf in found if here == version), None)
