# SPDX-License-Identifier: GPL-2.0-or-later
"""Root file systems made of Debian packages: the large half of an image, as a cpio archive, made once.

A recipe is a directory of images/: `packages` (debian.py), `prune` (patterns of paths that are taken out), `applets`
(links to busybox in /bin) and `root/` (files laid over). Beside each archive lies a manifest of what went in.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from dmasafe.architecture import project_root
from dmasafe.atomic import publish
from dmasafe.kernel.cache import (
    KEY_DIGITS,
    Cache,
    digest,
    explained,
    file_sha256,
    lock,
    new_log,
    publish_file,
    publish_json,
    publish_text,
    read_json,
    staging,
)
from dmasafe.kernel.cpio import join, write_tree
from dmasafe.kernel.debian import Deb, PackageList, fetch_packages, read_package_list, unpack
from dmasafe.kernel.errors import SourceError
from dmasafe.kernel.process import clean_environment, run
from dmasafe.progress import Progress

MINIMAL = "minimal"
#: Bumped when the same packages and recipe would come out differently.
ROOTFS_RECIPE = "2"
#: Joined archives are large and quickly made: only so many of the latest stay.
JOINED_KEPT = 4

# Run with the guest's version of Python: its byte code, in the order of names, so that equal trees give equal bytes.
_COMPILE = """
import pathlib, py_compile, sys
root = pathlib.Path(sys.argv[1])
for path in sorted(root.glob("usr/lib/python3*/**/*.py")):
    try:
        py_compile.compile(str(path), dfile=f"/{path.relative_to(root)}", doraise=True,
                           invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except py_compile.PyCompileError as error:
        print(error)
"""


def image_names() -> tuple[str, ...]:
    """The images that can be booted: the minimal one, and a recipe for each other."""
    return (MINIMAL, *sorted(path.parent.name for path in (project_root() / "images").glob("*/packages")))


def build_rootfs(recipe: Path, arch: str, cache: Cache, progress: Progress, *, update: bool = False) -> Path:
    """The recipe's archive for ``arch``, made if it is not in the cache; its manifest has the suffix ``.manifest``.

    The packages' versions are looked up once, then only with ``update``. Raises SourceError, CacheError.
    """
    with explained(cache):
        name = f"{recipe.name}-{arch}"
        recipe_key = _recipe_digest(recipe)
        alias = cache.path("resolutions", f"rootfs-{name}.json")
        found = None if update else _known(cache, alias, recipe_key)
        if found is not None:
            return found
        doing = f"making the image {recipe.name} for {arch}"
        with lock(cache, f"rootfs-{name}", progress, doing):
            found = None if update else _known(cache, alias, recipe_key)
            if found is not None:
                return found
            debs = fetch_packages(read_package_list(recipe / "packages"), arch, cache, progress)
            key = digest(recipe_key, *(str(deb) for deb in debs))[:KEY_DIGITS]
            archive = cache.path("initramfs", f"{name}-{key}.cpio")
            progress.stage(doing)
            _make(recipe, debs, archive, cache)
            publish_json(alias, {"recipe": recipe_key, "archive": archive.name})
            return archive


def join_archives(base: Path, small: Path, cache: Cache) -> Path:
    """One initramfs of the two, as QEMU takes only one; its path."""
    with explained(cache):
        key = digest(base.name, small.name)[:KEY_DIGITS]
        joined = cache.path("initramfs", f"joined-{key}.cpio")
        if joined.exists():
            os.utime(joined)
            return joined
        with publish(joined) as made, made.open("wb") as sink:
            join(base, small, sink)
        old = sorted(cache.path("initramfs").glob("joined-*.cpio"), key=lambda path: -path.stat().st_mtime)
        for path in old[JOINED_KEPT:]:
            path.unlink(missing_ok=True)
        return joined


def foreign_busybox(arch: str, cache: Cache, progress: Progress) -> Path:
    """Debian's static busybox for another architecture, fetched once. Raises SourceError."""
    with explained(cache):
        alias = cache.path("resolutions", f"busybox-{arch}.json")
        known = read_json(alias)
        if known is not None and (program := cache.path("agents", str(known["program"]))).exists():
            os.utime(program)
            return program
        debs = fetch_packages(PackageList(("busybox-static",), ("libc6",)), arch, cache, progress)
        with staging(cache) as directory:
            unpack(debs, directory, cache)
            found = next((path for path in directory.glob("**/busybox") if path.parent.name == "bin"), None)
            if found is None:
                raise SourceError(f"Debian's busybox-static for {arch} has no busybox in a bin directory")
            program = cache.path("agents", f"busybox-{arch}-{file_sha256(found)[:KEY_DIGITS]}")
            publish_file(found, program)
        publish_json(alias, {"program": program.name})
        return program


def _recipe_digest(recipe: Path) -> str:
    parts: list[str | bytes] = [ROOTFS_RECIPE, _COMPILE]
    for path in sorted(path for path in recipe.rglob("*") if path.is_file()):
        parts += [str(path.relative_to(recipe)), path.read_bytes()]
    return digest(*parts)


def _known(cache: Cache, alias: Path, recipe_key: str) -> Path | None:
    facts = read_json(alias)
    if facts is None or facts.get("recipe") != recipe_key:
        return None
    archive = cache.path("initramfs", str(facts["archive"]))
    if not archive.exists():
        return None
    for path in (archive, _manifest(archive)):
        if path.exists():
            os.utime(path)
    return archive


def _manifest(archive: Path) -> Path:
    return archive.with_suffix(".manifest")


def _make(recipe: Path, debs: Sequence[Deb], archive: Path, cache: Cache) -> None:
    with staging(cache) as directory:
        root = directory / "root"
        unpack(debs, root, cache)
        if (recipe / "prune").is_file():
            _prune(root, read_lines(recipe / "prune"))
        if (recipe / "root").is_dir():
            _lay_over(recipe / "root", root)
        compiled = _compile(root, cache)
        _drop_empty_directories(root)
        applets = read_lines(recipe / "applets") if (recipe / "applets").is_file() else []
        links = {f"bin/{name}": "busybox" for name in applets if not os.path.lexists(root / "bin" / name)}
        with publish(archive) as made:
            with made.open("wb") as sink:
                write_tree(root, links, sink)
            publish_text(_manifest(archive), "".join(f"{deb}\n" for deb in debs) + f"byte code: {compiled}\n")


def read_lines(path: Path) -> list[str]:
    """The first words of a recipe's lines, without comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def _prune(root: Path, patterns: Sequence[str]) -> None:
    """Take out what matches (fnmatch, where ``*`` also crosses ``/``); a directory goes with all that is in it."""
    for path in sorted(root.rglob("*"), key=lambda path: len(path.parts)):
        name = str(path.relative_to(root))
        if any(fnmatch(name, pattern) for pattern in patterns) and os.path.lexists(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _lay_over(files: Path, root: Path) -> None:
    """Copy the recipe's own files; a script can be run, though a checkout or a package may have lost its mode."""
    for path in sorted(path for path in files.rglob("*") if path.is_file()):
        target = root / path.relative_to(files)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o755 if path.read_bytes().startswith(b"#!") else 0o644)


def _compile(root: Path, cache: Cache) -> str:
    """Precompile the guest's Python modules if this machine has its version of Python; which one did, or "none"."""
    versions = sorted(path.name for path in root.glob("usr/lib/python3.*") if path.is_dir())
    if not versions:
        return "none"
    running = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    program = sys.executable if versions[-1] == running else shutil.which(versions[-1])
    if program is None:
        return "none"
    # -X frozen_modules, sites and hash seeds of this machine must not show in the byte code.
    environment = clean_environment({"PYTHONHASHSEED": "0"})
    command: list[str | Path] = [program, "-I", "-S", "-c", _COMPILE, root]
    run(command, what="precompiling Python modules", log=new_log(cache, "rootfs-pyc"), env=environment)
    return versions[-1]


def _drop_empty_directories(root: Path) -> None:
    for path in sorted((path for path in root.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts)):
        if not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()
