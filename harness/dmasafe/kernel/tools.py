# SPDX-License-Identifier: GPL-2.0-or-later
"""What must be installed to build: a table of programs, headers and libraries with their Debian packages."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dmasafe.errors import to_install
from dmasafe.kernel.config import Architecture
from dmasafe.kernel.errors import KernelError, MissingToolError
from dmasafe.kernel.process import query

HEADER_DIRECTORIES = (Path("/usr/include"), Path("/usr/local/include"))


class ToolKind(StrEnum):
    """How a tool is looked for."""

    PROGRAM = "program"
    HEADER = "header"
    STATIC_LIBRARY = "static library"


class Step(StrEnum):
    """The step that needs a tool."""

    FETCH = "fetch"
    KERNEL = "kernel"
    AGENT = "agent"
    INITRAMFS = "initramfs"


@dataclass(frozen=True)
class Tool:
    """``name`` is a program on PATH, a header below an include directory, or a library of the C compiler.

    ``optional`` tools only make things faster.
    """

    name: str
    kind: ToolKind
    package: str
    steps: tuple[Step, ...]
    optional: bool = False


_TOOLS = (
    Tool("tar", ToolKind.PROGRAM, "tar", (Step.FETCH,)),
    Tool("xz", ToolKind.PROGRAM, "xz-utils", (Step.FETCH,)),
    Tool("dpkg-deb", ToolKind.PROGRAM, "dpkg", (Step.FETCH,)),
    Tool("git", ToolKind.PROGRAM, "git", (Step.FETCH,), optional=True),
    Tool("make", ToolKind.PROGRAM, "make", (Step.KERNEL,)),
    Tool("gcc", ToolKind.PROGRAM, "gcc", (Step.KERNEL, Step.AGENT)),
    Tool("ld", ToolKind.PROGRAM, "binutils", (Step.KERNEL, Step.AGENT)),
    Tool("flex", ToolKind.PROGRAM, "flex", (Step.KERNEL,)),
    Tool("bison", ToolKind.PROGRAM, "bison", (Step.KERNEL,)),
    Tool("bc", ToolKind.PROGRAM, "bc", (Step.KERNEL,)),
    Tool("perl", ToolKind.PROGRAM, "perl-base", (Step.KERNEL,)),
    Tool("bash", ToolKind.PROGRAM, "bash", (Step.KERNEL,)),
    # objtool.
    Tool("gelf.h", ToolKind.HEADER, "libelf-dev", (Step.KERNEL,)),
    Tool("stdio.h", ToolKind.HEADER, "libc6-dev", (Step.KERNEL, Step.AGENT)),
    Tool("libc.a", ToolKind.STATIC_LIBRARY, "libc6-dev", (Step.AGENT,)),
    Tool("jsmn.h", ToolKind.HEADER, "libjsmn-dev", (Step.AGENT,)),
    Tool("busybox", ToolKind.PROGRAM, "busybox-static", (Step.INITRAMFS,)),
    Tool("ccache", ToolKind.PROGRAM, "ccache", (Step.KERNEL,), optional=True),
)


def is_native(architecture: Architecture) -> bool:
    """Whether this machine's own compiler makes programs for ``architecture``."""
    return platform.machine() == architecture.machine


def agent_compiler(architecture: Architecture) -> tuple[str, ...]:
    """What links static programs for ``architecture``: its gcc, or musl's where glibc has no libc.a (Fedora's)."""
    gcc = f"{cross_prefix(architecture)}gcc"
    if is_native(architecture) and not _has_static_libc(gcc) and shutil.which("musl-gcc"):
        # musl has none of the kernel's own headers; what it has is found first.
        triplet = query([gcc, "-print-multiarch"]).strip()
        return ("musl-gcc", "-idirafter", "/usr/include", "-idirafter", f"/usr/include/{triplet}")
    return (gcc,)


def _has_static_libc(gcc: str) -> bool:
    try:
        # gcc answers with the bare name if it does not find the file.
        return "/" in query([gcc, "-print-file-name=libc.a"])
    except KernelError:
        return False


def cross_prefix(architecture: Architecture) -> str:
    """What goes before ``gcc``: empty where this machine's own compiler is the right one."""
    return "" if is_native(architecture) else architecture.cross_compile


def required_tools(architecture: Architecture) -> tuple[Tool, ...]:
    """All tools for building for ``architecture``; a foreign one adds its cross compiler and C library.

    Its busybox is no tool of this machine's: rootfs.py fetches it.
    """
    prefix = cross_prefix(architecture)
    if not prefix:
        return _TOOLS
    triplet = prefix.rstrip("-")
    library = f"libc6-dev-{architecture.debian}-cross"
    own = (tool for tool in _TOOLS if tool.kind is not ToolKind.STATIC_LIBRARY and tool.steps != (Step.INITRAMFS,))
    cross = (
        Tool("libc.a", ToolKind.STATIC_LIBRARY, library, (Step.AGENT,)),
        Tool(f"{prefix}gcc", ToolKind.PROGRAM, f"gcc-{triplet}".replace("_", "-"), (Step.KERNEL, Step.AGENT)),
        Tool(f"{prefix}ld", ToolKind.PROGRAM, f"binutils-{triplet}".replace("_", "-"), (Step.KERNEL, Step.AGENT)),
    )
    return (*own, *cross)


def missing_packages(
    architecture: Architecture, steps: Sequence[Step] = tuple(Step), *, optional: bool = False
) -> dict[str, tuple[str, ...]]:
    """Debian packages to install for these steps, each with the tools of it that are missing; empty if all is there."""
    missing: dict[str, tuple[str, ...]] = {}
    for tool in required_tools(architecture):
        if tool.optional == optional and set(tool.steps) & set(steps) and not _present(tool, architecture):
            missing[tool.package] = (*missing.get(tool.package, ()), tool.name)
    return missing


def require(architecture: Architecture, *steps: Step) -> None:
    """MissingToolError, naming all the Debian packages at once, unless everything for these steps is there."""
    missing = missing_packages(architecture, steps)
    if missing:
        tools = ", ".join(name for names in missing.values() for name in names)
        raise MissingToolError(f"{tools} is missing: {to_install(*sorted(missing))}")


def _present(tool: Tool, architecture: Architecture) -> bool:
    match tool.kind:
        case ToolKind.PROGRAM:
            return shutil.which(tool.name) is not None
        case ToolKind.HEADER:
            places = list(HEADER_DIRECTORIES)
            places += [path for root in HEADER_DIRECTORIES for path in root.glob("*-linux-gnu*")]
            return any((place / tool.name).is_file() for place in places)
        case ToolKind.STATIC_LIBRARY:
            return agent_compiler(architecture)[0] == "musl-gcc" or _has_static_libc(f"{cross_prefix(architecture)}gcc")
