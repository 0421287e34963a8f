# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel tree that somebody works in: its version, what it contains right now, and a clean view of it.

Nothing is ever written there: a clean tree is built from in place (make O=), one that was built in (make refuses
O= then) is copied to the cache first, file by file and only what changed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dmasafe.kernel.cache import Cache, digest, publish_text, staging
from dmasafe.kernel.errors import KernelError, SourceError
from dmasafe.kernel.process import clean_environment, query
from dmasafe.progress import Progress

#: Files that every kernel since 5.10 has at these places.
LANDMARKS = ("Makefile", "Kconfig", "scripts/kconfig/merge_config.sh")
#: What the kernel's own outputmakefile rule calls an unclean tree (Makefile, 5.10 to 7.2).
BUILT_IN_MARKS = (".config", "include/config", "arch/*/include/generated")
#: What `make clean` and `make mrproper` delete by name, in any directory (Makefile, 5.10 to 7.3).
_PRODUCT_NAMES = re.compile(
    r"(.*\.(o|a|i|s|rsi|ko|ko\..*|mod|mod\.c|dtbo?|dtbo?\.S|dt\.yaml|dwo|lst|su|symtypes|gcno|gcda|ll|rmeta)"
    r"|\..*\.(cmd|d|tmp)|\.tmp_.*|.*\.lex\.c|.*\.tab\.[ch]|.*\.asn1\.[ch]|modules\.(order|builtin.*|nsdeps)"
    r"|\.?vmlinux(\.(map|symvers|unstripped|relocs|objs|export\.c|bin(\..*)?))?|System\.map|Module\.symvers|\.config(\.old)?|\.version)"
)
_PRODUCT_DIRECTORIES = re.compile(r"include/(config|generated)|arch/[^/]+/include/generated|\.tmp_versions")
SNAPSHOT_INDEX = "snapshot.json"
PROGRESS_EVERY_FILES = 2000

_VERSION_LINE = re.compile(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)\s*=[ \t]*(\S*)", re.MULTILINE)


@dataclass(frozen=True)
class FileFacts:
    """What tells whether a file changed: bytes, nanoseconds."""

    size: int
    mtime_ns: int
    mode: int


def tree_version(path: Path) -> str:
    """The version in a tree's Makefile ("6.12.117", "7.2.0-rc3"); SourceError if ``path`` is no kernel tree."""
    if not path.is_dir():
        raise SourceError(f"there is no directory {path}: give the path of a kernel tree, or apt:linux-source-6.12")
    missing = [name for name in LANDMARKS if not (path / name).exists()]
    fields: dict[str, str] = {}
    if "Makefile" not in missing:
        head = (path / "Makefile").read_text(encoding="utf-8", errors="replace")[:4000]
        fields = dict(_VERSION_LINE.findall(head))
        if "VERSION" not in fields or "PATCHLEVEL" not in fields:
            missing.append("VERSION and PATCHLEVEL in its Makefile")
    if missing:
        raise SourceError(f"{path} is not a kernel tree: it has no {', no '.join(missing)}")
    sublevel = fields.get("SUBLEVEL") or "0"
    return f"{fields['VERSION']}.{fields['PATCHLEVEL']}.{sublevel}{fields.get('EXTRAVERSION', '')}"


def is_clean(path: Path) -> bool:
    """Whether the kernel's build would accept O= for this tree."""
    return not any(next(path.glob(mark), None) for mark in BUILT_IN_MARKS)


def git_root(path: Path) -> bool:
    """Whether ``path`` is the top of a git checkout that has the kernel's sources.

    Not one merely inside of a checkout, and not Debian's packaging repository, where the sources are ignored.
    """
    if not (path / ".git").exists() or shutil.which("git") is None:
        return False
    try:
        top = _git(path, "rev-parse", "--show-toplevel").strip()
        _git(path, "rev-parse", "--verify", "--quiet", "HEAD")
        _git(path, "ls-files", "--error-unmatch", "--", *LANDMARKS)
    except KernelError:
        return False
    return Path(top).resolve() == path.resolve()


def identity(path: Path, cache: Cache) -> str:
    """What the tree contains right now.

    For git: HEAD, the difference to it and the untracked files that are not ignored. Else: path, size and mtime of
    every file whose name is not that of a product of a build.
    """
    if git_root(path):
        head = _git(path, "rev-parse", "HEAD").strip()
        with staging(cache) as directory:
            # git diff refreshes the index, GIT_OPTIONAL_LOCKS or not (git 2.39): let it be a copy.
            index = Path(_git(path, "rev-parse", "--git-path", "index").strip())
            shutil.copyfile(path / index, directory / "index")
            options = ("--binary", "--no-ext-diff", "--no-textconv", "--ignore-submodules")
            changes = _git(path, "diff", "HEAD", *options, index=directory / "index")
        untracked = _git(path, "ls-files", "-z", "--others", "--exclude-standard")
        names = sorted(name for name in untracked.split("\0") if name)
        contents = [_content(path / name) for name in names]
        if not changes and not names:
            return f"git:{head}"
        pairs = (part for pair in zip(names, contents, strict=True) for part in pair)
        return f"git:{head}+{digest(changes, *pairs)[:16]}"
    facts = list_files(path, cache)
    lines = (f"{name}\0{facts[name].size}\0{facts[name].mtime_ns}\0{facts[name].mode}" for name in sorted(facts))
    return f"files:{digest(*lines)}"


def list_files(path: Path, cache: Cache) -> dict[str, FileFacts]:
    """The source files of a tree (relative path to facts).

    In a git checkout: tracked files, and untracked ones that are not ignored. Elsewhere .gitignore counts for nothing
    (the one in Debian's kernel packages names every file): all files but those that a build makes.
    """
    if git_root(path):
        listed = _git(path, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    elif not is_clean(path):
        listed = [
            name
            for name in _walk(path, "", _PRODUCT_DIRECTORIES)
            if not _PRODUCT_NAMES.fullmatch(name.rpartition("/")[2])
        ]
    else:
        listed = list(_walk(path, ""))
    facts = {}
    for name in listed:
        if not name:
            continue
        try:
            status = os.lstat(path / name)
        except FileNotFoundError:
            continue  # deleted in the working tree and still in the index
        if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            facts[name] = FileFacts(status.st_size, status.st_mtime_ns, stat.S_IMODE(status.st_mode))
    return facts


def snapshot(path: Path, into: Path, cache: Cache, progress: Progress) -> int:
    """Make ``into/tree`` a copy of the tree's sources; how many files were copied. Holds no lock: the caller does.

    Copies get the time of copying, not the original's: make must see a file that was moved into place as new. The
    kernel's own `make mrproper` then takes from the copy what a name did not tell to be a product.
    """
    progress.stage(f"copying the sources of {path}, which has been built in, to the cache")
    facts = list_files(path, cache)
    index_path = into / SNAPSHOT_INDEX
    try:
        index = json.loads(index_path.read_text(encoding="utf-8"))
        known, products = index["files"], set(index["products"])
    except (FileNotFoundError, ValueError, KeyError):
        known, products = {}, set()
    tree = into / "tree"
    copied = 0
    for number, (name, fact) in enumerate(facts.items()):
        if number % PROGRESS_EVERY_FILES == 0:
            progress.advance(number, len(facts), name)
        target = tree / name
        same = known.get(name) == [fact.size, fact.mtime_ns, fact.mode]
        if same and (name in products or os.path.lexists(target)):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy(path / name, target, follow_symlinks=False)
        products.discard(name)
        copied += 1
    for name in set(_walk(tree, "")) - set(facts):
        (tree / name).unlink()
    if copied:
        query(["make", "-s", "mrproper"], cwd=tree)
        products = set(facts) - set(_walk(tree, ""))
    files = {name: [fact.size, fact.mtime_ns, fact.mode] for name, fact in facts.items()}
    publish_text(index_path, json.dumps({"files": files, "products": sorted(products & set(facts))}))
    return copied


def _walk(root: Path, prefix: str, without: re.Pattern[str] | None = None) -> Iterator[str]:
    """The files below ``root``/``prefix``; directories whose path ``without`` matches are left out."""
    with os.scandir(root / prefix) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = f"{prefix}{entry.name}"
            if not entry.is_dir(follow_symlinks=False):
                yield name
            elif entry.name != ".git" and (without is None or not without.fullmatch(name)):
                yield from _walk(root, f"{name}/", without)


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return os.fsencode(path.readlink())
    return path.read_bytes() if path.is_file() else b""


def _git(path: Path, *arguments: str, index: Path | None = None) -> str:
    # GIT_OPTIONAL_LOCKS=0: not even git's index may be refreshed in somebody's tree. safe.directory: the tree may
    # belong to another user; nothing configured in it is run (no fsmonitor, no external diff).
    return query(
        ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-C", path, *arguments],
        env=clean_environment({"GIT_OPTIONAL_LOCKS": "0"} | ({"GIT_INDEX_FILE": str(index)} if index else {})),
    )
