# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine needs to boot a kernel that it did not build: the kernel, its guest image, its configuration.

A bundle is named by its content. It lies in a machine's cache, and as an archive in the store of a run, from where
any machine takes it; ``index/`` there says which bundle came of which kernel and which sources of images/.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dmasafe import kernel as kernels
from dmasafe.decode import convert
from dmasafe.kernel.cache import digest, file_sha256, publish_directory, publish_json, read_json, staging
from dmasafe.matrix.errors import StoreError
from dmasafe.matrix.store import Store

_FILES = ("kernel", "initrd", "config")
_FACTS = "bundle.json"
_IMAGES = ("common", "modules", "agent", "initramfs")
MAX_ARCHIVE_BYTES = 2**31


@dataclass(frozen=True)
class Facts:
    """What is known of the kernel in a bundle: as in dmasafe.kernel.Kernel."""

    key: str
    release: str
    arch: str
    configuration: str
    source: str
    source_identity: str
    notes: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """The facts that there are: a bundle without notes is named and written as before there were any."""
        return {name: value for name, value in asdict(self).items() if value != ()}


@dataclass(frozen=True)
class Bundle:
    name: str
    directory: Path
    facts: Facts

    @property
    def kernel(self) -> Path:
        return self.directory / "kernel"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd"

    @property
    def config(self) -> str:
        return (self.directory / "config").read_text(encoding="utf-8")


def make(kernel: kernels.Kernel, initrd: Path, cache: kernels.Cache) -> Bundle:
    """The bundle of these files, in the cache. Raises OSError."""
    facts = Facts(**{key: getattr(kernel, key) for key in Facts.__dataclass_fields__})
    with staging(cache) as directory:
        staged = directory / "bundle"
        staged.mkdir()
        for name, path in zip(_FILES, (kernel.image, initrd, kernel.config), strict=True):
            try:
                # Published files are replaced, never written into: a second name costs nothing.
                os.link(path, staged / name)
            except OSError:
                shutil.copyfile(path, staged / name)
        publish_json(staged / _FACTS, facts.told())
        return _adopt(staged, _name(staged, facts), facts, cache)


def find(name: str, cache: kernels.Cache) -> Bundle | None:
    """A bundle that this machine has."""
    directory = cache.path("bundles", name)
    facts = read_json(directory / _FACTS)
    if facts is None:
        return None
    os.utime(directory)
    return Bundle(name, directory, convert(facts, Facts, str(directory / _FACTS), StoreError))


def push(bundle: Bundle, store: Store) -> None:
    """Make sure that the store has it. Raises StoreError."""
    if not store.has(_archive(bundle.name)):
        store.put(_archive(bundle.name), pack(bundle.directory))


def pull(name: str, cache: kernels.Cache, store: Store) -> Bundle:
    """The bundle of this name, from the store unless it is here. Raises StoreError."""
    found = find(name, cache)
    if found is not None:
        return found
    data = store.get(_archive(name))
    if data is None:
        raise StoreError(
            f"the store {store.url} has no kernel {name} for this worker: name one that all workers reach with --store"
        )
    with staging(cache) as directory:
        staged = directory / "bundle"
        staged.mkdir()
        try:
            unpack(data, staged)
            facts = convert(read_json(staged / _FACTS), Facts, _FACTS, StoreError)
            intact = _name(staged, facts) == name
        except (OSError, tarfile.TarError, StoreError) as error:
            raise StoreError(f"{_archive(name)} in the store {store.url} is damaged: {error}; remove it") from error
        if not intact:
            raise StoreError(f"{_archive(name)} in the store {store.url} has another content than its name: remove it")
        return _adopt(staged, name, facts, cache)


def indexed(kernel_key: str, store: Store) -> str | None:
    """The bundle that came of this kernel and the sources of images/ as they are here."""
    found = store.get(_index(kernel_key))
    name = found.decode(errors="replace").strip() if found is not None else ""
    if not name or not store.has(_archive(name)):
        return None
    for used in (_index(kernel_key), _archive(name)):
        store.mark_used(used)
    return name


def index(bundle: Bundle, store: Store) -> None:
    """Let others find it by its kernel."""
    store.put(_index(bundle.facts.key), f"{bundle.name}\n".encode())


def pack(directory: Path) -> bytes:
    """The files of a directory as an archive."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", compresslevel=1) as archive:
        for path in sorted(directory.iterdir()):
            archive.add(path, path.name)
    return data.getvalue()


def unpack(data: bytes, into: Path) -> None:
    """The way back from pack(), with nothing in it that could harm. Raises OSError and tarfile.TarError."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            if sum(member.size for member in archive.getmembers()) > MAX_ARCHIVE_BYTES:
                raise tarfile.TarError(f"it has more than {MAX_ARCHIVE_BYTES >> 20} MiB")
            for member in archive:
                _unpack_member(archive, member, into)
    except (EOFError, zlib.error) as error:
        raise tarfile.ReadError(f"it is cut or damaged: {error}") from error


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    """Plain files and directories below ``into``, and nothing else. tarfile's own filters came with Python 3.11.4."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
        raise tarfile.TarError(f"it has {member.name!a}, which is no file below it")
    target = into / path
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None
    with content, target.open("xb") as stream:
        shutil.copyfileobj(content, stream)


def _name(directory: Path, facts: Facts) -> str:
    contents = [file_sha256(directory / name) for name in _FILES]
    return digest(json.dumps(facts.told(), sort_keys=True), *contents)[:32]


def _adopt(staged: Path, name: str, facts: Facts, cache: kernels.Cache) -> Bundle:
    directory = cache.path("bundles", name)
    publish_directory(staged, directory)
    return Bundle(name, directory, facts)


def _archive(name: str) -> str:
    return f"bundles/{name}.tar.gz"


def _index(kernel_key: str) -> str:
    sha = hashlib.sha256()
    images = kernels.project_root() / "images"
    for path in sorted(path for name in _IMAGES for path in (images / name).rglob("*") if path.is_file()):
        # What building left beside a source would only cost a miss.
        sha.update(f"{path.relative_to(images)}\0{file_sha256(path)}\n".encode())
    return f"index/{kernel_key}-{sha.hexdigest()[:16]}"
