# SPDX-License-Identifier: GPL-2.0-or-later
"""The build cache: where things lie, locks between runs, atomic publishing, listing and pruning.

Everything is named by what it was made from, is written under a temporary name and renamed when it is whole.
DMASAFE_CACHE overrides the place; nothing is ever written in a checkout or in somebody's source tree.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmasafe.atomic import adopt, publish
from dmasafe.decode import convert
from dmasafe.kernel.errors import CacheFullError, CacheUnwritableError, KernelError
from dmasafe.places import CACHE_VARIABLE, cache_root
from dmasafe.progress import Progress

KEY_DIGITS = 16
PRUNE_UNUSED_DAYS = 30.0
LIMIT_VARIABLE = "DMASAFE_CACHE_MAX"
#: What was used so lately is not taken for the limit's sake: a run may be between two uses of it.
RECENT_S = 3600.0

#: What each directory of the cache holds.
DIRECTORIES = {
    "downloads": "tarballs that are not whole yet",
    "sources": "one directory per kernel source: tree/, source.json, objects/",
    "git": "bare mirrors",
    "apt": "private package lists and configuration",
    "resolutions": "which version a name (a package, a branch) stood for when it was last looked up",
    "configs": "merged and checked kernel configurations",
    "kernels": "built kernels: kernel.json, vmlinux, System.map, config",
    "modules": "external modules per kernel",
    "agents": "static guest programs",
    "emulators": "QEMUs newer than the system's",
    "initramfs": "guest images",
    "bundles": "what boots, whole: kernel, guest image, configuration",
    "series": "what the bases of patch series came to",
    "store": "what workers of the matrix share, unless --store says otherwise",
    "ccache": "compiler results, unless CCACHE_DIR says otherwise",
    "ccache-bin": "links that put ccache in front of the compiler",
    "check": "what 'dmasafe check' read of a tree",
    "logs": "output of every command",
    "locks": "one file per thing being made",
    "tmp": "whatever is not finished",
}

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_UNWRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ELOOP})


@dataclass(frozen=True)
class Cache:
    """An open cache: its root exists, is absolute and can be written."""

    root: Path

    def path(self, *parts: str) -> Path:
        return self.root.joinpath(*parts)


@dataclass(frozen=True)
class Kernel:
    """A built kernel. All paths are absolute.

    ``image`` is what a boot loader or QEMU takes (for x86_64 vmlinux itself), ``build_dir`` the object directory
    that external modules build against, ``source`` a sentence for people and ``source_identity`` the same for
    machines, ``absences`` the wanted symbols that this version is known not to have (without ``CONFIG_``),
    ``notes`` what else became of its configuration that nobody asked for.
    """

    key: str
    release: str
    version: str
    arch: str
    configuration: str
    source: str
    source_identity: str
    vmlinux: Path
    image: Path
    config: Path
    system_map: Path
    build_dir: Path
    absences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pruned:
    """What prune() took away."""

    paths: tuple[Path, ...]
    bytes_freed: int


def find_cache(root: Path | None = None) -> Cache:
    """The cache at ``root``, else at $DMASAFE_CACHE, else in the user's cache directory; it may be missing."""
    return Cache(root.expanduser().absolute() if root is not None else cache_root())


def written_below(directory: Path) -> str:
    """How the paths of files below ``directory`` begin in debug information, for dmasafe.dmesg.known_as().

    Of a directory in the cache it is the part below the root: the cache may have been at another path at the build.
    """
    path, root = directory.resolve(), find_cache().root.resolve()
    return f"{path.relative_to(root)}/" if path.is_relative_to(root) else f"{path}/"


def open_cache(root: Path | None = None) -> Cache:
    """What find_cache() names, created if it is missing. Raises CacheUnwritableError or CacheFullError."""
    cache = find_cache(root)
    with explained(cache, any_reason=True):
        for name in DIRECTORIES:
            cache.path(name).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache.path("tmp")):
            pass
        tag = cache.path("CACHEDIR.TAG")
        if not tag.exists():
            # bford.info/cachedir: backups skip a directory with this very line.
            publish_text(tag, "Signature: 8a477f597d28d172789f06886806bc55\n")
    return cache


@contextmanager
def explained(cache: Cache, any_reason: bool = False) -> Iterator[None]:
    """Turn an OSError about the cache (unwritable, full) into a sentence; others pass unchanged.

    ``any_reason``: nothing but what the user named can be the cause, so every one of them is about the cache.
    """
    try:
        yield
    except OSError as cause:
        # A failed write() carries no file name: then it is the cache's, for we write nothing elsewhere.
        about_cache = cause.filename is None or str(cause.filename).startswith(str(cache.root))
        at = cause.filename or cache.root
        if about_cache and cause.errno in _FULL:
            raise CacheFullError(
                f"the disk of {cache.root} is full: make room ('dmasafe kernel prune'), or set {CACHE_VARIABLE}"
            ) from cause
        ancestors = (str(parent) for parent in (cache.root, *cache.root.parents))
        if any_reason or ((about_cache or str(at) in ancestors) and cause.errno in _UNWRITABLE):
            raise CacheUnwritableError(
                f"the cache {cache.root} cannot be written ({cause.strerror}: {at}): "
                f"set {CACHE_VARIABLE} to a directory that can be written"
            ) from cause
        raise


def require_space(cache: Cache, bytes_needed: int, what: str) -> None:
    """CacheFullError now rather than in the middle, unless the cache's disk has ``bytes_needed`` free."""
    free = shutil.disk_usage(cache.root).free
    if free < bytes_needed:
        raise CacheFullError(
            f"{what} needs {bytes_needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free at {cache.root}: "
            f"make room ('dmasafe kernel prune'), or set {CACHE_VARIABLE}"
        )


@contextmanager
def lock(cache: Cache, name: str, progress: Progress, doing: str) -> Iterator[int]:
    """Hold the lock ``name``; yields its file descriptor, to be handed to children as ``hold_fds``.

    A second process says on ``progress`` whom it waits for, waits (Ctrl-C ends that), and must look again
    whether the work is done. flock(2) and not a lock library: the lock must live on in a make whose parent was
    killed, or the next run would start a second make in the same directory.
    """
    path = cache.path("locks", f"{name}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 400, 0).decode(errors="replace").strip() or "another run"
            progress.stage(f"waiting for {holder}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}, which is {doing}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def staging(cache: Cache) -> Iterator[Path]:
    """A temporary directory on the cache's file system, gone afterwards; named by our process id for prune()."""
    path = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=cache.path("tmp")))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def publish_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with publish(path) as made:
        made.write_text(text, encoding="utf-8")


def publish_file(source: Path, path: Path) -> None:
    """Copy ``source`` to ``path`` so that a reader sees all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with publish(path) as made:
        shutil.copy2(source, made)


def publish_directory(staged: Path, path: Path) -> None:
    """Move a finished directory to its name; if another run was first, its (equal) result stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    adopt(staged, path)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None if the file is missing or damaged (whatever it says is then made again)."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def publish_json(path: Path, value: Mapping[str, Any]) -> None:
    publish_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def digest(*parts: str | bytes) -> str:
    """SHA-256 (hex) over parts that cannot run into each other: each is preceded by its length."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        sha.update(f"{len(data)}:".encode())
        sha.update(data)
    return sha.hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def new_log(cache: Cache, name: str) -> Path:
    """A fresh log file's path; ``name`` says of what."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return cache.path("logs", f"{stamp}-{os.getpid()}-{name}.log")


def load_kernel(cache: Cache, key: str) -> Kernel | None:
    """The finished kernel of this key, or None; marks it as used."""
    marker = cache.path("kernels", key, "kernel.json")
    facts = read_json(marker)
    if facts is None:
        return None
    kernel = _kernel_from_json(cache, facts)
    if not (kernel.vmlinux.exists() and kernel.image.exists() and kernel.config.exists()):
        return None
    os.utime(marker)
    return kernel


def save_kernel(cache: Cache, kernel: Kernel) -> None:
    """Write the marker that makes a kernel finished; its files must be in place."""
    facts: dict[str, Any] = {}
    for name, value in vars(kernel).items():
        facts[name] = os.path.relpath(value, cache.root) if isinstance(value, Path) else value
    publish_json(cache.path("kernels", kernel.key, "kernel.json"), facts)


def list_kernels(cache: Cache) -> tuple[Kernel, ...]:
    """All finished kernels, the most recently used first."""
    markers = sorted(cache.path("kernels").glob("*/kernel.json"), key=lambda marker: -marker.stat().st_mtime)
    found = (read_json(marker) for marker in markers)
    return tuple(_kernel_from_json(cache, facts) for facts in found if facts is not None)


def prune(
    cache: Cache, unused_days: float = PRUNE_UNUSED_DAYS, dry_run: bool = False, max_bytes: int | None = None
) -> Pruned:
    """Remove what nobody used for ``unused_days`` (0: everything), and what killed runs left behind.

    A thing goes when its marker is that old: kernels, then the sources, modules and images that no remaining
    kernel refers to. If more than ``max_bytes`` remain (without ccache's results, which have a limit of their own, and
    the matrix's store), the least recently used go too, but nothing of the last RECENT_S. What a running process
    holds locked, has open or was started with stays. ``dry_run`` removes nothing, and tells what would go.
    """
    in_use = _in_use(cache.root)
    now = time.time()

    def unused(since: float) -> list[Path]:
        return [path for path in _unused(cache, since, unused_days <= 0, in_use) if path not in in_use]

    doomed = unused(now - unused_days * 86400)
    if max_bytes is not None:
        places = [name for name in DIRECTORIES if name not in ("ccache", "store")]
        entries = [path for name in places for path in cache.path(name).iterdir()]
        sizes = {path: _size(path) for path in entries}
        nested = (*cache.path("kernels").glob("*/kernel.json"), *cache.path("sources").glob("*/objects/*"))
        uses = [_last_use(path) for path in (*entries, *nested)]
        for since in sorted({use for use in uses if use < now - RECENT_S}):
            if sum(sizes.values()) - sum(sizes.get(path) or _size(path) for path in doomed) <= max_bytes:
                break
            doomed = sorted({*doomed, *(path for path in unused(since) if path.parent.parent != cache.path("store"))})
    return Pruned(tuple(doomed), sum(_size(path) if dry_run else _remove(path) for path in doomed))


def cache_limit() -> int | None:
    """The bytes of DMASAFE_CACHE_MAX ("20G"), None if it is not set. Raises KernelError if it is no size."""
    text = os.environ.get(LIMIT_VARIABLE)
    if not text:
        return None
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise KernelError(f"{LIMIT_VARIABLE} is '{text}': give a size, such as 20G")
    return int(match[1]) << 10 * " KMGT".index(match[2].upper() or " ")


def _unused(cache: Cache, limit: float, everything: bool, in_use: Container[Path]) -> list[Path]:
    doomed: list[Path] = []
    for marker in cache.path("kernels").glob("*/kernel.json"):
        if marker.stat().st_mtime <= limit and marker.parent not in in_use:
            doomed.append(marker.parent)
    kept_kernels = [kernel for kernel in list_kernels(cache) if cache.path("kernels", kernel.key) not in doomed]
    needed = {kernel.build_dir for kernel in kept_kernels}
    for home in cache.path("sources").iterdir():
        objects = [path for path in home.glob("objects/*") if path not in needed]
        idle = [path for path in objects if _last_use(path) <= limit and not _is_locked(cache, objects_lock(path))]
        used = any(home in directory.parents for directory in needed)
        if used or len(idle) < len(objects) or _last_use(home) > limit:
            doomed.extend(idle)
        else:
            doomed.append(home)
    for place in (
        "downloads",
        "modules",
        "agents",
        "emulators",
        "initramfs",
        "bundles",
        "series",
        "configs",
        "check",
        "logs",
    ):
        doomed.extend(path for path in cache.path(place).iterdir() if _last_use(path) <= limit)
    # Its parts (dmasafe/matrix/): bundles/, index/, runs/.
    for part in cache.path("store").iterdir():
        doomed.extend(path for path in part.iterdir() if _last_use(path) <= limit)
    if everything:
        for place in ("git", "apt", "resolutions"):
            doomed.extend(cache.path(place).iterdir())
    doomed.extend(path for path in cache.path("tmp").iterdir() if not _owner_lives(path))
    return doomed


def _in_use(root: Path) -> set[Path]:
    """What processes have open, are in, or name in their command lines, as QEMU and make do; with its directories."""
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        # A process, or a file of it, may be gone meanwhile, or somebody else's.
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            found.update(re.split("[\0=,]", words))
            for link in (process / "cwd", *(process / "fd").iterdir()):
                with suppress(OSError):
                    found.add(str(link.readlink()))
    paths = [Path(word) for word in found if word.startswith(f"{root}/")]
    return {above for path in paths for above in (path, *path.parents)}


def objects_lock(object_dir: Path) -> str:
    """The name of the lock that an object directory is built under."""
    return f"objects-{object_dir.parent.parent.name}-{object_dir.name}"


def _kernel_from_json(cache: Cache, facts: Mapping[str, Any]) -> Kernel:
    paths = {
        name: cache.root / facts.get(name, "") for name in ("vmlinux", "image", "config", "system_map", "build_dir")
    }
    return convert({**facts, **paths}, Kernel, f"kernel.json of {facts.get('key')}", KernelError, extra=True)


def _last_use(path: Path) -> float:
    newest = path.lstat().st_mtime
    if path.is_dir():
        markers: Iterable[Path] = (path / name for name in ("source.json", "modules.json", "dmasafe-key"))
        newest = max([newest, *(marker.stat().st_mtime for marker in markers if marker.exists())])
    return newest


def _is_locked(cache: Cache, name: str) -> bool:
    path = cache.path("locks", f"{name}.lock")
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _owner_lives(path: Path) -> bool:
    owner = path.name.partition("-")[0]
    return owner.isdigit() and Path(f"/proc/{owner}").exists()


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a directory."""
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else (path,)
    return sum(file.lstat().st_size for file in files if file.is_symlink() or not file.is_dir())


def _remove(path: Path) -> int:
    size = _size(path)
    if not path.is_dir() or path.is_symlink():
        path.unlink()
        return size
    # Out of sight first: a run that is looking sees all of it or nothing.
    grave = path.with_name(f".{path.name}.pruned")
    path.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)
    return size
