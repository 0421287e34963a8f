# SPDX-License-Identifier: GPL-2.0-or-later
"""From a SourceTree to a bootable Kernel and the modules that load into it.

A kernel's key is made of its source's identity, its merged configuration, the toolchain and RECIPE. An object
directory is resumed if a run was interrupted, and is updated where a local tree changes under it.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from dmasafe.architecture import project_root
from dmasafe.kernel.cache import (
    KEY_DIGITS,
    Cache,
    Kernel,
    cache_limit,
    digest,
    explained,
    load_kernel,
    lock,
    new_log,
    objects_lock,
    prune,
    publish_file,
    publish_json,
    publish_text,
    read_json,
    require_space,
    save_kernel,
)
from dmasafe.kernel.config import (
    Absence,
    Architecture,
    ConfigRequest,
    Matrix,
    check,
    enable_missed,
    explain_absent,
    explain_missed,
    find_architecture,
    load_matrix,
    parse_config,
    resolve,
)
from dmasafe.kernel.errors import BuildError
from dmasafe.kernel.kconfig import Kconfig, read_kconfig
from dmasafe.kernel.permission import announcement, may_build
from dmasafe.kernel.process import clean_environment, query, run
from dmasafe.kernel.source import SourceTree
from dmasafe.kernel.tools import Step, cross_prefix, require
from dmasafe.progress import SILENT, Progress

#: Part of every key: what we hand to make besides the configuration. A change here builds anew.
RECIPE = {
    # Fixed, so that equal inputs give an equal kernel (Documentation/kbuild/reproducible-builds.rst).
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 2026",
    "KBUILD_BUILD_USER": "dmasafe",
    "KBUILD_BUILD_HOST": "dmasafe",
    "KBUILD_BUILD_VERSION": "1",
    # Set and empty: setlocalversion then adds no "+" for a commit without a tag.
    "LOCALVERSION": "",
    # No such programs: Kconfig would note the versions of those that happen to be installed, which nothing here uses,
    # and the same kernel would have another key in another PATH.
    "RUSTC": "no-rustc",
    "BINDGEN": "no-bindgen",
    "PAHOLE": "no-pahole",
}
#: An object directory without debug information takes 220 MiB.
BUILD_SPACE_BYTES = 2**29
NO_CLANG = "kernels and modules are built with gcc only, and nothing that clang built was verified"
CCACHE_DEFAULT_SIZE = "5G"
CCACHE_VARIABLE = "DMASAFE_CCACHE"
#: The file in an object directory that says which kernel its objects belong to.
OBJECTS_KEY = "dmasafe-key"

_MAKE_LINE = re.compile(r"^  (?P<verb>[A-Z][A-Z0-9_.+]*(?: \[M\])?)\s+(?P<path>\S+)")
_SOURCE_NAMES = re.compile(r"(Kbuild|Makefile|Kconfig|.*\.[chS])")


def build_kernel(
    tree: SourceTree,
    configuration: str,
    architecture: str,
    cache: Cache,
    progress: Progress = SILENT,
    jobs: int | None = None,
    *,
    matrix: Matrix | None = None,
) -> Kernel:
    """Configure and build ``tree``, or find it built.

    ``jobs`` is make's -j (None: one for each processor that we may use). Raises ConfigError (an unknown name, a
    symbol that did not take), BuildError (with the log's last lines), MissingToolError, CacheError.
    """
    with explained(cache):
        matrix, request, toolchain, merge_key = _asked(tree, configuration, architecture, matrix)
        object_dir = _object_dir(tree, request, merge_key)
        kernel = _find(cache, tree, request, merge_key, toolchain)
        if kernel is not None:
            return kernel
        what = f"{tree.version} {configuration} for {architecture}"
        with lock(cache, objects_lock(object_dir), progress, f"building {what}") as held:
            kernel = _find(cache, tree, request, merge_key, toolchain)
            if kernel is not None:
                return kernel
            require_space(cache, BUILD_SPACE_BYTES, f"building {what}")
            make = Make(tree, request.architecture, object_dir, cache, held, jobs or len(os.sched_getaffinity(0)))
            merged = _merged(cache, merge_key)
            if merged is None:
                merged = _merge(make, request, matrix, merge_key, cache, progress)
                # Another way to ask for the same: a comment, a rule that says nothing here.
                kernel = _find(cache, tree, request, merge_key, toolchain)
                if kernel is not None:
                    return kernel
            kernel = _build(make, request, merged, toolchain, cache, progress)
        limit = cache_limit()
        if limit is not None:
            prune(cache, math.inf, max_bytes=limit)
        return kernel


def find_kernel(
    tree: SourceTree, configuration: str, architecture: str, cache: Cache, *, matrix: Matrix | None = None
) -> Kernel | None:
    """The kernel that build_kernel() would find built, or None.

    Raises ConfigError, MissingToolError, CacheError.
    """
    with explained(cache):
        _matrix, request, toolchain, merge_key = _asked(tree, configuration, architecture, matrix)
        return _find(cache, tree, request, merge_key, toolchain)


def configure(
    tree: SourceTree,
    configuration: str,
    architecture: str,
    cache: Cache,
    progress: Progress = SILENT,
    *,
    matrix: Matrix | None = None,
) -> Path:
    """The merged and checked .config of a cell, without building it. Raises like build_kernel()."""
    with explained(cache):
        matrix, request, _toolchain, merge_key = _asked(tree, configuration, architecture, matrix)
        object_dir = _object_dir(tree, request, merge_key)
        if _merged(cache, merge_key) is None:
            doing = f"configuring {tree.version} {configuration}"
            with lock(cache, objects_lock(object_dir), progress, doing) as held:
                if _merged(cache, merge_key) is None:
                    make = Make(tree, request.architecture, object_dir, cache, held, 1)
                    _merge(make, request, matrix, merge_key, cache, progress)
        return cache.path("configs", merge_key, "config")


def kernel_key(
    tree: SourceTree, configuration: str, architecture: str, cache: Cache, progress: Progress = SILENT
) -> str:
    """The key of the kernel that build_kernel() would find or make. Raises like build_kernel()."""
    configure(tree, configuration, architecture, cache, progress)
    _matrix, request, toolchain, merge_key = _asked(tree, configuration, architecture, None)
    merged = _merged(cache, merge_key)
    if merged is None:
        raise BuildError(f"the configuration of {tree.version} was taken from the cache: try again")
    return _kernel_key(tree, request, merged, toolchain)


def adopt_configuration(
    tree: SourceTree,
    other: SourceTree,
    configuration: str,
    architecture: str,
    cache: Cache,
    *,
    matrix: Matrix | None = None,
) -> None:
    """Take for ``tree`` what was merged for ``other``, if it was: nothing that Kconfig reads differs, says the caller.

    Raises like build_kernel().
    """
    with explained(cache):
        *_, key = _asked(tree, configuration, architecture, matrix)
        *_, known = _asked(other, configuration, architecture, matrix)
        merged = _merged(cache, known)
        if merged is not None and _merged(cache, key) is None:
            publish_text(cache.path("configs", key, "config"), merged.text)
            _publish_merged(cache, key, merged)


def _publish_merged(cache: Cache, merge_key: str, merged: Merged) -> None:
    facts = {"absences": merged.absences, "notes": merged.notes}
    publish_json(cache.path("configs", merge_key, "merged.json"), facts)


def _asked(
    tree: SourceTree, configuration: str, architecture: str, matrix: Matrix | None
) -> tuple[Matrix, ConfigRequest, str, str]:
    """What is asked for: the matrix, the request, the compiler's version, the key of the merged configuration."""
    llvm = os.environ.get("LLVM", "")
    if llvm not in ("", "0"):
        raise BuildError(f"LLVM={llvm}: {NO_CLANG}")
    matrix = matrix or load_matrix()
    request = resolve(matrix, configuration, architecture, tree.version)
    require(request.architecture, Step.KERNEL)
    toolchain = toolchain_version(request.architecture)
    return matrix, request, toolchain, _merge_key(tree, request, matrix, toolchain)


@dataclass(frozen=True)
class Merged:
    """A merged configuration: its text, the symbols that this version is known to lack, and notes for the reader."""

    text: str
    absences: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Make:
    """How make is called for one object directory, under the lock ``held``."""

    tree: SourceTree
    architecture: Architecture
    object_dir: Path
    cache: Cache
    held: int
    jobs: int

    def command(self, *targets: str) -> list[str]:
        words = ["make", "-C", str(self.tree.path), f"O={self.object_dir}", f"-j{self.jobs}"]
        return [*words, *make_variables(self.architecture), *targets]

    def environment(self) -> dict[str, str]:
        return compiler_environment(self.cache, self.architecture, self.tree.home)


def make_variables(architecture: Architecture) -> list[str]:
    """The variables of every make call, as words: architecture, cross compiler, RECIPE."""
    values = {"ARCH": architecture.make_arch, "CROSS_COMPILE": cross_prefix(architecture), **RECIPE}
    return [f"{name}={value}" for name, value in values.items()]


def toolchain_version(architecture: Architecture) -> str:
    """The compiler's and linker's own words on their versions, part of every key."""
    prefix = cross_prefix(architecture)
    return "; ".join(query([f"{prefix}{tool}", "--version"]).splitlines()[0] for tool in ("gcc", "ld"))


def compiler_environment(cache: Cache, architecture: Architecture, base: Path) -> dict[str, str]:
    """The environment of a kernel's build: clean, and with ccache in front of the compiler where it is installed.

    ccache comes by the name of the compiler on PATH and not by CC=, so that the commands that Kbuild compares
    do not change on the day when somebody installs it. ``base``: paths below it count as relative, which lets a
    second source or configuration hit what a first one compiled. The first kernel of a cache goes without: keeping
    what nothing may ever ask for costs a third of its build (DMASAFE_CCACHE=1: more kernels will follow).
    """
    environment = clean_environment()
    ccache = shutil.which("ccache")
    follows = os.environ.get(CCACHE_VARIABLE) == "1" or any(cache.path("kernels").iterdir())
    if ccache is None or not follows:
        return environment
    masks = cache.path("ccache-bin")
    for name in {"gcc", f"{cross_prefix(architecture)}gcc"}:
        mask = masks / name
        if not mask.is_symlink() or mask.readlink() != Path(ccache):
            mask.unlink(missing_ok=True)
            mask.symlink_to(ccache)
    environment["PATH"] = f"{masks}:{environment.get('PATH', os.defpath)}"
    for name, value in (
        ("CCACHE_DIR", str(cache.path("ccache"))),
        ("CCACHE_MAXSIZE", CCACHE_DEFAULT_SIZE),
        ("CCACHE_BASEDIR", str(base)),
        ("CCACHE_NOHASHDIR", "1"),
        # Not CCACHE_DEPEND: autoconf.h is among every file's dependencies, and what another configuration compiles
        # alike would be compiled again. Not CCACHE_NOCPP2: Kbuild's probes that rely on a warning of the preprocessor
        # fail (CC_HAS_INT128), and the configuration would depend on whether ccache is there.
    ):
        environment.setdefault(name, value)
    return environment


def tree_digest(directory: Path) -> str:
    """SHA-256 over the names and contents of the C, assembler and Kbuild files below ``directory``."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and is_module_source(path.name))
    parts: list[str | bytes] = []
    for path in files:
        parts += [str(path.relative_to(directory)), path.read_bytes()]
    return digest(*parts)


def is_module_source(name: str) -> bool:
    """Whether a file of this name is a source, not a product of building beside it."""
    return _SOURCE_NAMES.fullmatch(name) is not None and not name.endswith(".mod.c") and not name.startswith(".")


def copy_sources(source: Path, copy: Path) -> None:
    """Copy what is_module_source() accepts, with its subdirectories."""
    for path in source.rglob("*"):
        if path.is_file() and is_module_source(path.name):
            target = copy / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def copy_modules(source: Path, home: Path) -> Path:
    """Make ``home`` anew with the sources of modules, and beside them the headers that all modules share; the copy."""
    shutil.rmtree(home, ignore_errors=True)
    copy_sources(source, home / "src")
    copy_sources(_common_headers(), home / "common")
    return home / "src"


def modules_digest(source: Path) -> str:
    """SHA-256 over all that copy_modules() copies."""
    return digest(tree_digest(source), tree_digest(_common_headers()))


def _common_headers() -> Path:
    return project_root() / "images" / "common"


def build_modules(
    kernel: Kernel,
    module_source_dir: Path,
    cache: Cache,
    progress: Progress = SILENT,
    jobs: int | None = None,
    cflags: tuple[str, ...] = (),
) -> tuple[Path, ...]:
    """Build the external modules of a directory with a Kbuild file for ``kernel``; their .ko files, by name.

    The sources are copied to the cache first, to a directory ``src``; ``cflags`` are added to the compiler's. Raises
    BuildError (its lines name the files in ``module_source_dir``), CacheError.
    """
    require_modules(module_source_dir)
    architecture = find_architecture(kernel.arch)
    key = digest(kernel.key, modules_digest(module_source_dir), *cflags)[:KEY_DIGITS]
    home = cache.path("modules", f"{kernel.key}-{key}")
    with explained(cache):
        found = finished_modules(home)
        if found:
            return found
        what = f"the modules of {module_source_dir} for {kernel.release}"
        with (
            lock(cache, objects_lock(kernel.build_dir), progress, f"building modules for {kernel.release}") as held,
        ):
            found = finished_modules(home)
            if found:
                return found
            if _objects_key(kernel.build_dir) != kernel.key:
                raise BuildError(
                    f"the objects of {kernel.release} ({kernel.configuration}) have been replaced by those of another "
                    f"state of {kernel.source}: build that kernel again first"
                )
            progress.stage(f"building modules for {kernel.release}")
            copy = copy_modules(module_source_dir, home)
            counter = _StepCounter(progress, None)
            run(
                [
                    "make", "-C", str(kernel.build_dir), f"M={copy}", f"-j{jobs or len(os.sched_getaffinity(0))}",
                    *make_variables(architecture),
                    # A WARN() in a module names its file: not by a path of this machine.
                    f"KCFLAGS={' '.join([f'-fmacro-prefix-map={copy}/=', *cflags])}", "modules",
                ],
                what=f"building {what}",
                log=new_log(cache, f"modules-{kernel.release}"),
                on_line=counter.line,
                hold_fds=[held],
                shown_as={str(copy): str(module_source_dir)},
            )  # fmt: skip
            names = sorted(str(path.relative_to(home)) for path in copy.rglob("*.ko"))
            if not names:
                raise BuildError(f"{module_source_dir} built no module: its Kbuild file sets no obj-m")
            publish_json(home / "modules.json", {"kernel": kernel.key, "modules": names})
            return tuple(home / name for name in names)


def require_modules(directory: Path) -> None:
    """Raises BuildError unless ``directory`` can be one of external modules."""
    if not directory.is_dir():
        raise BuildError(f"there is no module directory {directory}")
    if not any((directory / name).is_file() for name in ("Kbuild", "Makefile")):
        raise BuildError(f"{directory} has no Kbuild file: give a directory of external modules")


def finished_modules(home: Path) -> tuple[Path, ...]:
    """The modules that were built into ``home``, marked as used; none if one of them is gone."""
    facts = read_json(home / "modules.json")
    modules = tuple(home / str(name) for name in facts["modules"]) if facts is not None else ()
    if not all(path.exists() for path in modules):
        return ()
    if modules:
        os.utime(home / "modules.json")
    return modules


def _concise(absence: Absence) -> dict[str, object]:
    return {name: value for name, value in asdict(absence).items() if value}


def _merge_key(tree: SourceTree, request: ConfigRequest, matrix: Matrix, toolchain: str) -> str:
    # What Debian calls it shapes no kernel.
    row = json.dumps({k: v for k, v in asdict(request.architecture).items() if k != "debian"}, sort_keys=True)
    # Only the rows that concern it: another one's must not cost a build.
    symbols = {line.symbol for line in request.wanted}
    rows = [row for row in matrix.absences if row.symbol in symbols and row.concerns(request.architecture.name)]
    rules = json.dumps([_concise(row) for row in rows], sort_keys=True)
    required = json.dumps(sorted(line.symbol for line in request.wanted if line.required))
    return digest(tree.identity, request.text, row, rules, required, toolchain, json.dumps(RECIPE))[:KEY_DIGITS]


def _object_dir(tree: SourceTree, request: ConfigRequest, merge_key: str) -> Path:
    # A tree that somebody edits keeps its objects, so that an edit rebuilds what it touches.
    suffix = "" if tree.changing else f"-{merge_key[:8]}"
    return tree.home / "objects" / f"{_file_name(request)}-{request.architecture.name}{suffix}"


def _file_name(request: ConfigRequest) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", request.name)


def _kernel_key(tree: SourceTree, request: ConfigRequest, merged: Merged, toolchain: str) -> str:
    row = request.architecture
    build = json.dumps([row.make_arch, row.targets, row.image, RECIPE])
    content = digest(tree.identity, merged.text, row.name, build, toolchain)
    return f"{tree.version}-{row.name}-{_file_name(request)}-{content[:KEY_DIGITS]}"


def _merged(cache: Cache, merge_key: str) -> Merged | None:
    directory = cache.path("configs", merge_key)
    facts = read_json(directory / "merged.json")
    if facts is None:
        return None
    text = (directory / "config").read_text(encoding="utf-8")
    return Merged(text, tuple(facts["absences"]), tuple(facts.get("notes", ())))


def _find(cache: Cache, tree: SourceTree, request: ConfigRequest, merge_key: str, toolchain: str) -> Kernel | None:
    merged = _merged(cache, merge_key)
    if merged is None:
        return None
    kernel = load_kernel(cache, _kernel_key(tree, request, merged, toolchain))
    # The objects of a changing tree may be those of another state by now: modules could not be built against them.
    if kernel is None or _objects_key(kernel.build_dir) != kernel.key:
        return None
    return kernel


def _objects_key(object_dir: Path) -> str:
    path = object_dir / OBJECTS_KEY
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _merge(
    make: Make, request: ConfigRequest, matrix: Matrix, merge_key: str, cache: Cache, progress: Progress
) -> Merged:
    """tinyconfig, merge_config.sh, olddefconfig; then the check. The result is kept under ``merge_key``.

    What a line that did not take depends on is set, and all merged again, as long as that helps.
    """
    tree, object_dir = make.tree, make.object_dir
    progress.stage(f"configuring {tree.version} {request.name}")
    object_dir.mkdir(parents=True, exist_ok=True)
    log = new_log(cache, f"configure-{tree.version}-{request.name.replace('/', '_')}")
    call = partial(
        run, what=f"configuring {tree.version} {request.name}", log=log, env=make.environment(), hold_fds=[make.held]
    )
    fragment = object_dir / "dmasafe.config"
    script = tree.path / "scripts" / "kconfig" / "merge_config.sh"
    enabled: dict[str, tuple[str, ...]] = {}
    kconfig: Kconfig | None = None
    while True:
        lines = {name: f"CONFIG_{name}=y\n" for names in enabled.values() for name in names}
        fragment.write_text("".join([request.text, *lines.values()]), encoding="utf-8")
        call(make.command("tinyconfig"))
        call(["bash", script, "-m", "-O", object_dir, object_dir / ".config", fragment], cwd=object_dir)
        call(make.command("olddefconfig"))
        text = (object_dir / ".config").read_text(encoding="utf-8")
        config = parse_config(text)
        checked = check(request.wanted, config, tree.version, matrix.absences, request.architecture.name)
        if not checked.missed:
            break
        kconfig = kconfig or read_kconfig(tree.path, request.architecture.make_arch)
        more = enable_missed(checked.missed, request.wanted, config, kconfig)
        if not set(more) - set(enabled):
            break
        enabled |= more
    asked = {line.symbol for line in request.wanted}
    told: dict[str, list[str]] = {}
    for symbol, names in enabled.items():
        own = [name for name in names if name not in asked]
        told |= {symbol: own} if own else {}
        asked |= set(own)
    notes = tuple(f"{', '.join(names)} enabled, for {symbol} needs it" for symbol, names in told.items())
    if checked.missed:
        assert kconfig is not None
        required = [line for line in checked.missed if line.required]
        if required:
            raise explain_missed(required, config, tree.version, kconfig)
        notes += explain_absent(checked.missed, config, tree.version, kconfig)
    publish_text(cache.path("configs", merge_key, "config"), text)
    merged = Merged(text, checked.absences, notes)
    _publish_merged(cache, merge_key, merged)
    return merged


def _build(
    make: Make, request: ConfigRequest, merged: Merged, toolchain: str, cache: Cache, progress: Progress
) -> Kernel:
    tree, object_dir, row = make.tree, make.object_dir, request.architecture
    what = f"Linux {tree.version}, configuration {request.name} for {row.name},"
    may_build(what, f"dmasafe kernel build --config {request.name} --arch {row.name}")
    key = _kernel_key(tree, request, merged, toolchain)
    object_dir.mkdir(parents=True, exist_ok=True)
    (object_dir / OBJECTS_KEY).unlink(missing_ok=True)
    config = object_dir / ".config"
    if not config.exists() or config.read_text(encoding="utf-8") != merged.text:
        publish_text(config, merged.text)
    fresh = not (object_dir / "vmlinux.o").exists() and not (object_dir / "init" / "main.o").exists()
    if fresh:
        progress.stage(f"not built yet: {what} {announcement(make.jobs)}")
    progress.stage(f"building {tree.version} {request.name} for {row.name}")
    series = ".".join(tree.version.split(".")[:2])
    steps_file = cache.path("configs", f"steps-{series}-{row.name}-{_file_name(request)}.json")
    known = read_json(steps_file) or {"steps": row.steps if request.name == "default" else None}
    # Nobody has counted what an update makes anew.
    counter = _StepCounter(progress, known["steps"] if fresh else None)
    run(
        make.command(*row.targets),
        what=f"building {tree.version} {request.name} for {row.name}",
        log=new_log(cache, f"build-{key}"),
        env=make.environment(),
        on_line=counter.line,
        hold_fds=[make.held],
    )
    if fresh:
        publish_json(steps_file, {"steps": counter.done})
    home = cache.path("kernels", key)
    files = {"vmlinux": "vmlinux", "config": ".config", "system_map": "System.map", "image": row.image}
    paths: dict[str, Path] = {}
    for name, product in files.items():
        source = object_dir / product
        if not source.is_file():
            raise BuildError(
                f"the build of {tree.version} left no {product} in {object_dir}: see targets in kernel-configs/arch/"
            )
        paths[name] = home / ("config" if product == ".config" else source.name)
        publish_file(source, paths[name])
    release = (object_dir / "include" / "config" / "kernel.release").read_text(encoding="utf-8").strip()
    publish_text(object_dir / OBJECTS_KEY, key + "\n")
    kernel = Kernel(
        key=key, release=release, version=tree.version, arch=row.name, configuration=request.name,
        source=tree.description, source_identity=tree.identity, build_dir=object_dir, absences=merged.absences,
        notes=merged.notes, **paths,
    )  # fmt: skip
    save_kernel(cache, kernel)
    return kernel


class _StepCounter:
    """Counts make's "  CC      file" lines into a Progress."""

    def __init__(self, progress: Progress, total: int | None) -> None:
        self.progress = progress
        self.total = total
        self.done = 0

    def line(self, text: str) -> None:
        match = _MAKE_LINE.match(text)
        if match is None:
            return
        self.done += 1
        # Better none than one that is wrong.
        if self.total is not None and self.done > self.total:
            self.total = None
        self.progress.advance(self.done, self.total, match["path"])
