# SPDX-License-Identifier: GPL-2.0-or-later
"""A distribution's kernel as its package has it: image, configuration and modules, not built and not changed.

apt downloads the package in a state of its own (debian.py). Nothing of it is installed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dmasafe.kernel.cache import (
    Cache,
    Kernel,
    digest,
    explained,
    load_kernel,
    lock,
    publish_directory,
    publish_json,
    read_json,
    save_kernel,
    staging,
)
from dmasafe.kernel.debian import PackageList, fetch_packages, unpack
from dmasafe.kernel.errors import SourceError
from dmasafe.progress import SILENT, Progress

PREFIX = "deb:"
#: Debian's stable release, unless the source names another suite.
SUITE = "trixie"
#: What results call the configuration of such a kernel.
CONFIGURATION = "distribution"
# What only an installation needs.
_LEFT_OUT = ("kmod", "linux-base", "initramfs-tools", "linux-initramfs-tool", "dracut", "tiny-initramfs")
_SOURCE = re.compile(rf"{PREFIX}(?P<package>[a-z0-9][a-z0-9+.-]+)(?:/(?P<suite>[a-z0-9-]+))?")


@dataclass(frozen=True)
class DebSource:
    """A Debian package with a kernel that boots, or one that depends on it; ``suite`` is where it is looked for."""

    package: str
    suite: str = SUITE

    def __str__(self) -> str:
        return f"{PREFIX}{self.package}/{self.suite}"


def parse_deb(text: str) -> DebSource:
    """``deb:PACKAGE`` or ``deb:PACKAGE/SUITE``. Raises SourceError.

    >>> parse_deb("deb:linux-image-arm64/trixie-backports")
    DebSource(package='linux-image-arm64', suite='trixie-backports')
    """
    match = _SOURCE.fullmatch(text.strip())
    if match is None:
        raise SourceError(f"'{text}' names no Debian package: write deb:linux-image-arm64, or with a suite behind a /")
    return DebSource(match["package"], match["suite"] or SUITE)


def fetch_kernel(
    source: DebSource, arch: str, cache: Cache, progress: Progress = SILENT, *, update: bool = False
) -> Kernel:
    """The kernel of a package, unpacked in the cache; its version is looked up once, then only with ``update``.

    ``build_dir`` is its directory of modules. Raises SourceError, CacheError.
    """
    alias = cache.path("resolutions", f"deb-{digest(str(source), arch)[:16]}.json")
    with explained(cache):
        known = None if update else read_json(alias)
        found = None if known is None else load_kernel(cache, str(known["key"]))
        if found is not None:
            return found
        with lock(cache, alias.stem, progress, f"fetching {source}"):
            base, _, backports = source.suite.partition("-")
            suites = (base, source.suite) if backports else (source.suite,)
            debs = fetch_packages(PackageList((source.package,), _LEFT_OUT), arch, cache, progress, suites)
            key = f"deb-{arch}-{digest(*map(str, debs))[:16]}"
            kernel = load_kernel(cache, key)
            if kernel is None:
                progress.stage(f"unpacking {source.package}")
                with staging(cache) as directory:
                    unpack(debs, directory / "root", cache)
                    kernel = _described(directory / "root", source, arch, key, cache)
                    publish_directory(directory / "root", cache.path("kernels", key))
                save_kernel(cache, kernel)
            for deb in debs:
                deb.path.unlink(missing_ok=True)
            publish_json(alias, {"key": key})
            return kernel


def _described(root: Path, source: DebSource, arch: str, key: str, cache: Cache) -> Kernel:
    """The kernel whose files are below ``root``, as it will be in the cache. Raises SourceError."""
    modules = next((path.parent for path in sorted(root.glob("**/lib/modules/*/modules.order"))), root)
    release, boot = modules.name, root / "boot"
    # Where Debian's packages have them from Linux 7 on, and before.
    images = (modules / "vmlinuz", boot / f"vmlinuz-{release}", boot / f"vmlinux-{release}")
    configs = (modules / "config", boot / f"config-{release}")
    image, config = (next((path for path in paths if path.is_file()), None) for paths in (images, configs))
    if modules == root or image is None or config is None:
        raise SourceError(f"{source} brings no kernel with its configuration and modules: it is no linux-image package")
    home = cache.path("kernels", key)
    there = {path: home / path.relative_to(root) for path in (image, config, modules)}
    return Kernel(
        key=key,
        release=release,
        version=release.partition("+")[0].partition("-")[0],
        arch=arch,
        configuration=CONFIGURATION,
        source=str(source),
        source_identity=str(source),
        vmlinux=there[image],
        image=there[image],
        config=there[config],
        system_map=home / "boot" / f"System.map-{release}",
        build_dir=there[modules],
    )
