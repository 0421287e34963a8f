# SPDX-License-Identifier: GPL-2.0-or-later
"""A newer QEMU of Debian's packages: fetched once, started by its own loader with its own files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dmasafe.kernel import emulator
from dmasafe.kernel.cache import Cache
from dmasafe.kernel.debian import PackageList
from dmasafe.kernel.emulator import SUITES, find_newer_qemu, newer_qemu
from dmasafe.kernel.errors import SourceError
from dmasafe.progress import SILENT
from tests.unit.kernel.test_rootfs import make_deb

LIBRARIES = "usr/lib/x86_64-linux-gnu"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was fetched: packages whose loader says how it was called."""
    loader = '#!/bin/sh\necho "$QEMU_MODULE_DIR" "$@"\n'
    debs = (
        make_deb(tmp_path, "libc6", {f"{LIBRARIES}/ld-linux-x86-64.so.2": loader}),
        make_deb(tmp_path, "qemu-system-x86", {"usr/bin/qemu-system-x86_64": "\x7fELF"}),
    )
    found: list[tuple[str, ...]] = []

    def fetch(packages: PackageList, arch: str, cache: Cache, progress: object, suites: tuple[str, ...]) -> object:
        found.append((*packages.wanted, *suites))
        return debs

    def unpack(debs: object, into: Path, cache: Cache) -> None:
        real(debs, into, cache)
        (into / LIBRARIES / "ld-linux-x86-64.so.2").chmod(0o755)

    real = emulator.unpack
    monkeypatch.setattr(emulator, "fetch_packages", fetch)
    monkeypatch.setattr(emulator, "unpack", unpack)
    return found


def test_it_is_fetched_once_and_started_by_its_own_loader(cache: Cache, asked: list[tuple[str, ...]]) -> None:
    assert find_newer_qemu("qemu-system-x86_64", cache) is None
    program = newer_qemu("qemu-system-x86_64", "qemu-system-x86", cache, SILENT)
    assert newer_qemu("qemu-system-x86_64", "qemu-system-x86", cache, SILENT) == program
    assert find_newer_qemu("qemu-system-x86_64", cache) == program
    assert asked == [("qemu-system-x86", *SUITES)]
    told = subprocess.run([program, "-m", "1 G"], capture_output=True, text=True, check=True).stdout
    root = program.parents[2]
    assert told.split() == [
        f"{root}/{LIBRARIES}/qemu", "--library-path", f"{root}/{LIBRARIES}", f"{root}/usr/bin/qemu-system-x86_64",
        "-L", f"{root}/usr/share/qemu", "-L", f"{root}/usr/share/seabios", "-m", "1", "G",
    ]  # fmt: skip
    assert "libc6 1.0" in (root / "packages").read_text()


def test_packages_without_the_program_are_named(cache: Cache, asked: list[tuple[str, ...]]) -> None:
    with pytest.raises(SourceError, match=r"Debian's qemu-system-arm of .* has no qemu-system-aarch64 with a loader"):
        newer_qemu("qemu-system-aarch64", "qemu-system-arm", cache, SILENT)
    assert find_newer_qemu("qemu-system-aarch64", cache) is None
