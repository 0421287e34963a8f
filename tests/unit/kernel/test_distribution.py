# SPDX-License-Identifier: GPL-2.0-or-later
"""A distribution's kernel out of its package, with packages made here."""

from __future__ import annotations

import lzma
import subprocess
from pathlib import Path

import pytest

from dmasafe.kernel import distribution
from dmasafe.kernel.cache import Cache, list_kernels
from dmasafe.kernel.debian import Deb, PackageList
from dmasafe.kernel.distribution import DebSource, fetch_kernel, parse_deb
from dmasafe.kernel.errors import SourceError
from dmasafe.kernel.modules import load_order, own_modules
from dmasafe.kernel.source import parse_source

RELEASE = "6.12.7+deb13-arm64"
MODULES = f"usr/lib/modules/{RELEASE}"
FILES = {
    f"boot/vmlinuz-{RELEASE}": b"an image",
    f"boot/config-{RELEASE}": b"CONFIG_I2C_MT65XX=m\n",
    f"{MODULES}/modules.order": b"kernel/i2c-mt65xx.ko\n",
    f"{MODULES}/kernel/i2c-mt65xx.ko.xz": lzma.compress(b"\0depends=\0"),
}
# As Debian has them since Linux 7.
MOVED = {f"boot/vmlinuz-{RELEASE}": f"{MODULES}/vmlinuz", f"boot/config-{RELEASE}": f"{MODULES}/config"}


class Archive:
    """What apt would download: one package with FILES, one that only depends on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = dict(FILES)
        self.asked: list[tuple[PackageList, str, tuple[str, ...]]] = []

    def fetch(self, packages: PackageList, arch: str, cache: Cache, progress: object, suites: tuple[str, ...]) -> tuple:  # type: ignore[type-arg]
        self.asked.append((packages, arch, suites))
        return (self._deb("linux-image-arm64", {}), self._deb(f"linux-image-{RELEASE}", self.files))

    def _deb(self, name: str, files: dict[str, bytes]) -> Deb:
        tree = self.directory / name
        (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: arm64\nMaintainer: n <n@example.org>\nDescription: none\n"
        )
        for path, data in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(data)
        package = self.directory / f"{name}.deb"
        subprocess.run(["dpkg-deb", "-Znone", "--build", tree, package], check=True, capture_output=True)
        return Deb(name, "1", "0" * 64, package)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    found = Archive(tmp_path / "archive")
    monkeypatch.setattr(distribution, "fetch_packages", found.fetch)
    return found


@pytest.mark.parametrize("moved", [False, True])
def test_a_kernel_is_what_the_package_has_with_its_packed_modules(cache: Cache, archive: Archive, moved: bool) -> None:
    if moved:
        archive.files = {MOVED.get(name, name): data for name, data in FILES.items()}
    kernel = fetch_kernel(parse_deb("deb:linux-image-arm64"), "arm64", cache)
    assert (kernel.release, kernel.version, kernel.configuration) == (RELEASE, "6.12.7", "distribution")
    assert kernel.image.read_bytes() == b"an image" and "I2C_MT65XX" in kernel.config.read_text()
    assert [path.read_bytes() for path in load_order("i2c-mt65xx", own_modules(kernel))] == [b"\0depends=\0"]
    packages, arch, suites = archive.asked[0]
    assert (packages.wanted, arch, suites) == (("linux-image-arm64",), "arm64", ("trixie",))
    assert "initramfs-tools" in packages.left_out
    assert list_kernels(cache) == (kernel,)
    assert not list(archive.directory.glob("*.deb"))


def test_a_package_is_looked_up_once_and_again_when_asked_to(cache: Cache, archive: Archive) -> None:
    source = parse_deb("deb:linux-image-arm64/trixie-backports")
    kernel = fetch_kernel(source, "arm64", cache)
    assert fetch_kernel(source, "arm64", cache) == kernel
    assert [suites for _, _, suites in archive.asked] == [("trixie", "trixie-backports")]
    assert fetch_kernel(source, "arm64", cache, update=True) == kernel
    assert len(archive.asked) == 2


@pytest.mark.parametrize("missing", [name for name in FILES if not name.endswith(".xz")])
def test_a_package_without_a_whole_kernel_is_refused(cache: Cache, archive: Archive, missing: str) -> None:
    del archive.files[missing]
    with pytest.raises(SourceError, match="brings no kernel with its configuration and modules"):
        fetch_kernel(parse_deb("deb:linux-image-arm64"), "arm64", cache)


def test_the_name_of_a_package_is_read_with_its_suite() -> None:
    assert parse_deb("deb:linux-image-amd64/sid") == DebSource("linux-image-amd64", "sid")
    assert str(parse_deb("deb:linux-image-amd64")) == "deb:linux-image-amd64/trixie"
    for wrong in ("deb:", "deb:-o/x", "deb:a b", "deb:x/../y"):
        with pytest.raises(SourceError, match="names no Debian package"):
            parse_deb(wrong)
    # What is built is built of a source.
    with pytest.raises(SourceError, match="booted as it is"):
        parse_source("deb:linux-image-amd64")
