# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages for a guest of any architecture: apt resolves and downloads them, none of them is installed.

apt works in a state of its own, as in apt.py, in which the packages that a list leaves out count as installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dmasafe.kernel import apt
from dmasafe.kernel.cache import Cache, digest, file_sha256, lock, new_log
from dmasafe.kernel.config import find_architecture
from dmasafe.kernel.errors import SourceError
from dmasafe.kernel.process import query, run
from dmasafe.progress import Progress

#: The suite that guests are made of: one, whatever this machine runs, so that everybody gets the same guest.
#: An architecture that it does not have names another one in its file.
SUITE = "bookworm"
# Newer than any dependency asks for, epochs too; "allowed" also answers a dependency on perl:any.
_LEFT_OUT = (
    "Package: {name}\nStatus: install ok installed\nArchitecture: {arch}\nMulti-Arch: allowed\nVersion: 9999:0\n\n"
)


@dataclass(frozen=True)
class PackageList:
    """What a guest is made of: packages with all that they depend on, but for what is ``left_out``."""

    wanted: tuple[str, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deb:
    """A downloaded package."""

    name: str
    version: str
    sha256: str
    path: Path

    def __str__(self) -> str:
        return f"{self.name} {self.version} {self.sha256}"


def read_package_list(path: Path) -> PackageList:
    """A file of lines ``NAME  why`` and ``-NAME  why it is left out``; ``#`` starts a comment. Raises SourceError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as cause:
        raise SourceError(f"{path} cannot be read: {cause.strerror}") from cause
    names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    return PackageList(
        tuple(name for name in names if not name.startswith("-")),
        tuple(name.removeprefix("-") for name in names if name.startswith("-")),
    )


def fetch_packages(
    packages: PackageList, arch: str, cache: Cache, progress: Progress, suites: Sequence[str] = ()
) -> tuple[Deb, ...]:
    """Download the packages and what they depend on, by name; apt checks each against the signed index.

    They come from ``suites``, of which the last one goes first (none: from where guests' packages are).
    Raises SourceError with apt's last lines, MissingToolError without Debian's archive keys.
    """
    row = find_architecture(arch)
    architecture, suites = row.debian, suites or (row.debian_suite or SUITE,)
    key = digest(*packages.wanted, "-", *packages.left_out)[:8]
    home = cache.path("apt", f"{suites[-1]}-{architecture}-{key}")
    with lock(cache, f"apt-{home.name}", progress, f"downloading packages for {arch}") as held:
        home.mkdir(parents=True, exist_ok=True)
        sources = home / "suite.sources"
        sources.write_text("\n".join(map(apt.archive_stanza, suites)), encoding="utf-8")
        stanzas = [_LEFT_OUT.format(name=name, arch=architecture) for name in packages.left_out]
        (home / "status").write_text("".join(stanzas), encoding="utf-8")
        settings = (
            f'APT::Architecture "{architecture}";',
            f'APT::Architectures {{ "{architecture}"; }};',
            # Backports come only to who asks.
            f'APT::Default-Release "{suites[-1]}";',
        )
        environment = apt.isolated(home, sources, settings)
        log = new_log(cache, f"apt-{home.name}")
        progress.stage(f"downloading Debian packages for {arch}")
        archives = home / "cache" / "archives"
        for old in archives.glob("*.deb"):
            old.unlink()

        def call(*words: str) -> None:
            run(
                ["apt-get", *words],
                what=f"downloading Debian packages for {arch}",
                log=log,
                env=environment,
                hold_fds=[held],
                error=SourceError,
            )

        call("update")
        call("install", "--yes", "--download-only", "--no-install-recommends", *packages.wanted)
        return tuple(_deb(path) for path in sorted(archives.glob("*.deb")))


def _deb(path: Path) -> Deb:
    name, version = query(["dpkg-deb", "--show", "--showformat=${Package} ${Version}", path]).split()
    return Deb(name, version, file_sha256(path), path)


def unpack(debs: Sequence[Deb], into: Path, cache: Cache) -> None:
    """Unpack the packages' files over one another; no maintainer script runs. Raises SourceError."""
    into.mkdir(parents=True, exist_ok=True)
    log = new_log(cache, "unpack-debs")
    for deb in debs:
        run(["dpkg-deb", "-x", deb.path, into], what=f"unpacking {deb.path.name}", log=log, error=SourceError)
