# SPDX-License-Identifier: GPL-2.0-or-later
"""Root file systems of Debian packages: what goes in, what is taken out, and equal bytes from equal packages."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from dmasafe.architecture import project_root
from dmasafe.kernel import rootfs
from dmasafe.kernel.cache import Cache, open_cache
from dmasafe.kernel.debian import Deb, PackageList, _deb
from dmasafe.kernel.errors import SourceError
from dmasafe.kernel.rootfs import JOINED_KEPT, build_rootfs, foreign_busybox, image_names, join_archives, read_lines
from dmasafe.progress import SILENT

PYTHON = f"usr/lib/python{sys.version_info[0]}.{sys.version_info[1]}"


def make_deb(directory: Path, name: str, files: dict[str, str]) -> Deb:
    root = directory / name
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: x\n"
    )
    # It would be noticed: a maintainer script that runs.
    (root / "DEBIAN" / "postinst").write_text(f"#!/bin/sh\ntouch {directory}/ran\n")
    (root / "DEBIAN" / "postinst").chmod(0o755)
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", root, directory], check=True, capture_output=True)
    return _deb(next(directory.glob(f"{name}_*.deb")))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    directory = tmp_path / "demo"
    (directory / "root" / "sbin").mkdir(parents=True)
    (directory / "root" / "sbin" / "own").write_text("#!/bin/sh\n")
    (directory / "root" / "sbin" / "own").chmod(0o600)
    (directory / "packages").write_text("# comment\n\npython3   why\n-perl   why not\n")
    (directory / "prune").write_text("# comment\nusr/share/*   documentation\n*/unwanted\n")
    (directory / "applets").write_text("vi\ntool\n")
    return directory


class Apt:
    """Plays fetch_packages(): counts how often it is asked."""

    def __init__(self, debs: Sequence[Deb]) -> None:
        self.debs = tuple(debs)
        self.asked: list[tuple[PackageList, str]] = []

    def __call__(self, packages: PackageList, arch: str, cache: Cache, progress: object) -> tuple[Deb, ...]:
        self.asked.append((packages, arch))
        return self.debs


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    files = {
        "bin/tool": "a program",
        "usr/share/doc/x/README": "words",
        "usr/lib/unwanted/file": "words",
        f"{PYTHON}/mod.py": "def f():\n    return 1\n",
        f"{PYTHON}/broken.py": "def f(:\n",
        "var/empty/placeholder": "",
    }
    player = Apt([make_deb(tmp_path, "one", files), make_deb(tmp_path, "two", {"etc/two": "2"})])
    monkeypatch.setattr(rootfs, "fetch_packages", player)
    return player


def unpacked(archive: Path, into: Path) -> set[str]:
    into.mkdir()
    with archive.open("rb") as stdin:
        subprocess.run(["cpio", "--extract", "--quiet"], stdin=stdin, cwd=into, check=True)
    return {str(path.relative_to(into)) for path in into.rglob("*") if path.is_symlink() or path.is_file()}


def test_an_image_has_its_packages_less_what_is_pruned(cache: Cache, recipe: Path, apt: Apt, tmp_path: Path) -> None:
    archive = build_rootfs(recipe, "arm64", cache, SILENT)
    assert apt.asked == [(PackageList(("python3",), ("perl",)), "arm64")]
    version = f"{sys.version_info[0]}{sys.version_info[1]}"
    assert unpacked(archive, tmp_path / "out") == {
        "bin/tool",
        "bin/vi",
        "etc/two",
        "sbin/own",
        "var/empty/placeholder",
        f"{PYTHON}/mod.py",
        f"{PYTHON}/broken.py",
        f"{PYTHON}/__pycache__/mod.cpython-{version}.pyc",
    }
    assert not (tmp_path / "out" / "usr" / "share").exists()
    assert (tmp_path / "out" / "bin" / "tool").read_text() == "a program"
    assert os.access(tmp_path / "out" / "sbin" / "own", os.X_OK)
    assert not os.access(tmp_path / "out" / "etc" / "two", os.X_OK)
    assert not (tmp_path / "ran").exists()
    manifest = archive.with_suffix(".manifest").read_text().splitlines()
    assert [line.split()[:2] for line in manifest[:2]] == [["one", "1.0"], ["two", "1.0"]]


def test_equal_packages_give_equal_bytes(cache: Cache, recipe: Path, apt: Apt, tmp_path: Path) -> None:
    archive = build_rootfs(recipe, "arm64", cache, SILENT)
    again = build_rootfs(recipe, "arm64", open_cache(tmp_path / "other"), SILENT)
    assert again.name == archive.name
    assert again.read_bytes() == archive.read_bytes()
    apt.debs = apt.debs[:1]
    assert build_rootfs(recipe, "arm64", cache, SILENT, update=True).name != archive.name


def test_versions_are_looked_up_once_per_recipe(cache: Cache, recipe: Path, apt: Apt) -> None:
    archive = build_rootfs(recipe, "arm64", cache, SILENT)
    assert build_rootfs(recipe, "arm64", cache, SILENT) == archive
    assert len(apt.asked) == 1
    (recipe / "root" / "sbin" / "own").write_text("#!/bin/sh\nexit 1\n")
    assert build_rootfs(recipe, "arm64", cache, SILENT) != archive
    assert len(apt.asked) == 2
    archive.unlink()
    (recipe / "root" / "sbin" / "own").write_text("#!/bin/sh\n")
    assert build_rootfs(recipe, "arm64", cache, SILENT) == archive


def test_joined_archives_are_found_again_and_do_not_pile_up(cache: Cache, tmp_path: Path) -> None:
    base = tmp_path / "base.cpio"
    base.write_bytes(b"base")
    joined = []
    for number in range(JOINED_KEPT + 2):
        small = tmp_path / f"small{number}.cpio"
        small.write_bytes(b"%d" % number)
        joined.append(join_archives(base, small, cache))
    assert join_archives(base, small, cache) == joined[-1]
    assert joined[-1].read_bytes()[:4] == b"base"
    assert len(list(cache.path("initramfs").glob("joined-*"))) == JOINED_KEPT


def test_a_foreign_busybox_comes_from_debian_once(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = Apt([make_deb(tmp_path, "busybox-static", {"bin/busybox": "its code"})])
    monkeypatch.setattr(rootfs, "fetch_packages", player)
    program = foreign_busybox("arm64", cache, SILENT)
    assert program.read_text() == "its code"
    assert foreign_busybox("arm64", cache, SILENT) == program
    assert [arch for _, arch in player.asked] == ["arm64"]
    player.debs = (make_deb(tmp_path, "empty", {"bin/other": ""}),)
    with pytest.raises(SourceError, match="no busybox"):
        foreign_busybox("riscv64", cache, SILENT)


def test_the_projects_recipes_are_whole() -> None:
    assert "python" in image_names()
    for name in image_names()[1:]:
        recipe = project_root() / "images" / name
        applets = read_lines(recipe / "applets")
        assert applets == sorted(set(applets))
        known = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
        assert set(applets) <= set(known)
