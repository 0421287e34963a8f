# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules and agent for a board's running kernel, from a build tree or installed headers that the user names (KDIR)."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dmasafe.architecture import architecture_of
from dmasafe.kernel.build import NO_CLANG, copy_modules, finished_modules, modules_digest, toolchain_version
from dmasafe.kernel.cache import (
    KEY_DIGITS,
    Cache,
    digest,
    explained,
    lock,
    new_log,
    publish_json,
)
from dmasafe.kernel.config import Architecture, find_architecture, parse_config
from dmasafe.kernel.errors import BuildError, MissingToolError
from dmasafe.kernel.guest import compile_agent
from dmasafe.kernel.process import query, run
from dmasafe.progress import SILENT, Progress

#: "# Linux/x86 6.12.117 Kernel Configuration" in every .config.
_HEADER = re.compile(r"^# Linux/(\S+) \S+ Kernel Configuration", re.MULTILINE)
_VERMAGIC = re.compile(rb"\0vermagic=([^\0]*)\0")
_RELEASE_HEADER = re.compile(r'UTS_RELEASE "([^"]+)"')
#: What goes into vermagic (include/linux/vermagic.h): a kernel refuses modules that differ in one of them.
VERMAGIC_SYMBOLS = (
    "SMP", "PREEMPT_BUILD", "PREEMPT", "PREEMPT_RT", "PREEMPTION", "MODULE_UNLOAD", "MODVERSIONS", "RANDSTRUCT",
    "GCC_PLUGIN_RANDSTRUCT", "64BIT",
)  # fmt: skip


@dataclass(frozen=True)
class KernelDirectory:
    """A KDIR: the release and the configuration that modules built with it are for. ``make_arch`` is ARCH."""

    path: Path
    release: str
    make_arch: str
    config: str


@dataclass(frozen=True)
class BoardFiles:
    """What is copied to a board."""

    modules: tuple[Path, ...]
    agent: Path


def open_kdir(path: Path) -> KernelDirectory:
    """Read what a build tree or a directory of installed headers says of itself. Raises BuildError."""
    if not (path / "Makefile").is_file():
        raise BuildError(f"{path} is no kernel build tree and no directory of kernel headers: it has no Makefile")
    try:
        config = (path / ".config").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BuildError(f"{path} has no readable .config: configure and build that kernel first") from error
    header = _HEADER.search(config)
    release = _release(path)
    if header is None or release is None:
        raise BuildError(f"{path} is not prepared for modules: run 'make modules_prepare' (better 'make') there")
    return KernelDirectory(path.resolve(), release, header[1], config)


def _release(path: Path) -> str | None:
    file = path / "include" / "config" / "kernel.release"
    if file.is_file():
        return file.read_text(encoding="utf-8", errors="replace").strip()
    header = path / "include" / "generated" / "utsrelease.h"
    match = _RELEASE_HEADER.search(header.read_text(encoding="utf-8", errors="replace")) if header.is_file() else None
    return match[1] if match else None


def make_arch_of(machine: str) -> str:
    """The kernel's ARCH for a uname -m; of boards whose architecture has no file, by scripts/subarch.include's rule."""
    name = architecture_of(machine)
    if name is not None:
        return find_architecture(name).make_arch
    family = re.match(r"s390|[a-z]+", machine)
    return "" if family is None else family[0].replace("ppc", "powerpc")


def config_differences(mine: str, theirs: str) -> tuple[str, ...]:
    """Symbols that two .config differ in, those of vermagic first; the versions of compilers do not count."""
    first, second = _comparable(mine), _comparable(theirs)
    names = sorted(name for name in first.keys() | second.keys() if first.get(name, "n") != second.get(name, "n"))
    return tuple(sorted(names, key=lambda name: (name not in VERMAGIC_SYMBOLS, name)))


def _comparable(config: str) -> Mapping[str, str]:
    ignored = re.compile(
        r"CC_|GCC_VERSION|CLANG_VERSION|AS_|LD_|LLD_|PAHOLE_|RUSTC?_|TOOLS_SUPPORT|LOCALVERSION|BUILD_"
    )
    return {name: value for name, value in parse_config(config).items() if not ignored.match(name)}


def build_for_board(
    kdir: KernelDirectory,
    machine: str,
    cross_compile: str,
    images: Path,
    cache: Cache,
    progress: Progress = SILENT,
    extra_modules: str | None = None,
) -> BoardFiles:
    """Modules for the kernel of ``kdir`` and an agent for ``machine`` (uname -m), from the sources in ``images``.

    ``cross_compile`` goes before ``gcc``; ``extra_modules`` names a directory of ``images`` with more modules.
    Raises BuildError, MissingToolError, CacheError.
    """
    if parse_config(kdir.config).get("CC_IS_CLANG") == "y":
        raise BuildError(f"{kdir.path} was built with clang: {NO_CLANG}")
    if shutil.which(f"{cross_compile}gcc") is None:
        raise MissingToolError(f"{cross_compile}gcc is not installed: name a compiler for {machine} by --cross-compile")
    native = make_arch_of(os.uname().machine) == kdir.make_arch
    if not native and not cross_compile:
        raise BuildError(
            f"the board is {machine}, this machine is not: name a cross compiler by --cross-compile PREFIX"
        )
    # No cross compiler is looked for where the machine is this one, so the prefix must make it another.
    row = Architecture(
        f"board-{machine}", (), kdir.make_arch, machine if not cross_compile else f"{machine} by {cross_compile}",
        cross_compile, (), "", (), 0,
    )  # fmt: skip
    agent = compile_agent(row, images / "agent", cache, progress)
    modules = _build_modules(kdir, row, images / "modules", cache, progress)
    if extra_modules is not None:
        modules += _build_modules(kdir, row, images / extra_modules, cache, progress)
    return BoardFiles(modules, agent)


def _build_modules(
    kdir: KernelDirectory, row: Architecture, source: Path, cache: Cache, progress: Progress
) -> tuple[Path, ...]:
    symvers = kdir.path / "Module.symvers"
    versions = symvers.read_bytes() if symvers.is_file() else b""
    parts = (str(kdir.path), kdir.release, kdir.config, versions, toolchain_version(row), modules_digest(source))
    home = cache.path("modules", f"board-{kdir.release}-{digest(*parts)[:KEY_DIGITS]}")
    with explained(cache):
        found = finished_modules(home)
        if found:
            return found
        doing = f"building modules for {kdir.release}"
        with lock(cache, f"board-{home.name}", progress, doing) as held:
            found = finished_modules(home)
            if found:
                return found
            progress.stage(doing)
            copy = copy_modules(source, home)
            run(
                [
                    "make", "-C", kdir.path, f"M={copy}", f"-j{len(os.sched_getaffinity(0))}", f"ARCH={row.make_arch}",
                    f"CROSS_COMPILE={row.cross_compile}", f"KCFLAGS=-fmacro-prefix-map={copy}/=", "modules",
                ],
                what=f"building the modules against {kdir.path}",
                log=new_log(cache, f"modules-board-{kdir.release}"),
                hold_fds=[held],
                shown_as={str(copy): str(source)},
            )  # fmt: skip
            modules = sorted(copy.glob("*.ko"))
            for module in modules:
                _check_vermagic(module, kdir)
                _strip(module, row)
            publish_json(home / "modules.json", {"modules": [str(path.relative_to(home)) for path in modules]})
            return tuple(modules)


def _strip(module: Path, row: Architecture) -> None:
    """Debug information would take minutes over a serial line."""
    query([f"{row.cross_compile}strip", "--strip-debug", module])


def vermagic(module: Path) -> str:
    """What a .ko says it was built for; empty if it does not say."""
    match = _VERMAGIC.search(b"\0" + module.read_bytes())
    return match[1].decode(errors="replace") if match else ""


def _check_vermagic(module: Path, kdir: KernelDirectory) -> None:
    found = vermagic(module)
    if found.split(" ")[0] != kdir.release:
        raise BuildError(
            f"modules built against {kdir.path} are for '{found}', but its kernel.release says {kdir.release}: "
            "run 'make modules_prepare' there"
        )
