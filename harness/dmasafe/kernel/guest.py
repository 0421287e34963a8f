# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest boots besides the kernel: the static agent, and an initramfs made without root.

Both are addressed by content, like kernels; equal inputs give equal bytes.
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
from collections.abc import Sequence
from pathlib import Path

from dmasafe.architecture import project_root
from dmasafe.atomic import publish
from dmasafe.errors import to_install
from dmasafe.kernel.build import copy_sources, toolchain_version, tree_digest
from dmasafe.kernel.cache import (
    KEY_DIGITS,
    Cache,
    digest,
    explained,
    file_sha256,
    lock,
    new_log,
    publish_file,
    staging,
)
from dmasafe.kernel.config import Architecture, find_architecture
from dmasafe.kernel.cpio import Archive
from dmasafe.kernel.errors import BuildError, MissingToolError
from dmasafe.kernel.process import run
from dmasafe.kernel.rootfs import MINIMAL, build_rootfs, foreign_busybox, join_archives
from dmasafe.kernel.tools import HEADER_DIRECTORIES, Step, agent_compiler, cross_prefix, require
from dmasafe.progress import SILENT, Progress

AGENT_CFLAGS = (
    *("-static", "-O2", "-g0", "-std=gnu11", "-Wall", "-Wextra", "-Werror"),
    # A kernel of 32 bits need not have the calls whose seconds have as many.
    *("-D_FILE_OFFSET_BITS=64", "-D_TIME_BITS=64"),
)
#: Links to busybox that an init script may count on; a file `applets` beside it (one name a line) adds more.
APPLETS = (
    *("sh", "[", "test", "cat", "chmod", "cp", "cut", "date", "dmesg", "echo", "env", "false"),
    *("grep", "head", "hexdump", "insmod", "kill", "ln", "ls", "lsmod", "mkdir", "mknod", "mount"),
    *("mv", "poweroff", "printf", "ps", "readlink", "reboot", "rm", "rmmod", "sed", "seq", "setsid"),
    *("sleep", "stty", "sync", "tail", "tee", "touch", "tr", "true", "umount", "uname", "wc"),
    *("xargs"),
)
DIRECTORIES = ("bin", "dev", "etc", "modules", "proc", "root", "run", "sys", "tmp")
#: Device nodes in /dev, with their numbers; devtmpfs has the others.
NODES = {"console": (5, 1), "null": (1, 3), "kmsg": (1, 11)}
#: Where /init finds the names of modules that it loads first.
FIRST_MODULES = "etc/first-modules"
#: Bumped when what build_initramfs() puts in changes without any of its inputs.
INITRAMFS_RECIPE = "2"

_ELF_MAGIC = b"\x7fELF"
_PT_INTERP = 3


def build_agent(architecture: str, agent_source_dir: Path, cache: Cache, progress: Progress = SILENT) -> Path:
    """Compile all .c files of a directory into one static program; its path.

    Raises BuildError (with the compiler's words), MissingToolError, CacheError.
    """
    row = find_architecture(architecture)
    require(row, Step.AGENT)
    return compile_agent(row, agent_source_dir, cache, progress)


def compile_agent(row: Architecture, agent_source_dir: Path, cache: Cache, progress: Progress = SILENT) -> Path:
    """build_agent() for an architecture that need not be one of the matrix."""
    architecture = row.name
    sources = sorted(path.name for path in agent_source_dir.glob("*.c"))
    if not sources:
        raise BuildError(f"{agent_source_dir} has no .c file: give the agent's source directory")
    header = next((place / "jsmn.h" for place in HEADER_DIRECTORIES if (place / "jsmn.h").is_file()), None)
    if header is None:
        raise MissingToolError(f"jsmn.h is missing: {to_install('libjsmn-dev')}")
    compiler = agent_compiler(row)
    flags = (*AGENT_CFLAGS, *row.agent_cflags)
    key = digest(
        tree_digest(agent_source_dir), header.read_bytes(), toolchain_version(row), " ".join((*compiler, *flags))
    )[:KEY_DIGITS]
    program = cache.path("agents", f"{architecture}-{key}")
    with explained(cache):
        if program.exists():
            os.utime(program)
            return program
        doing = f"compiling the agent for {architecture}"
        with lock(cache, f"agent-{program.name}", progress, doing) as held, staging(cache) as directory:
            if program.exists():
                return program
            progress.stage(doing)
            copy_sources(agent_source_dir, directory / "src")
            # A cross compiler does not look into /usr/include, where this header-only library lies.
            shutil.copyfile(header, directory / "jsmn.h")
            run(
                [*compiler, *flags, "-idirafter", directory, "-o", directory / "agent", *sources],
                what=f"compiling {agent_source_dir}",
                log=new_log(cache, f"agent-{architecture}"),
                cwd=directory / "src",
                hold_fds=[held],
                shown_as={f"{directory}/src": str(agent_source_dir)},
            )
            publish_file(directory / "agent", program)
        return program


def find_busybox(architecture: str, cache: Cache, progress: Progress = SILENT) -> Path:
    """A static busybox for ``architecture``: this machine's, or for a foreign one Debian's.

    Raises MissingToolError if this machine has none (or only a dynamic one), SourceError if Debian's cannot be had.
    """
    row = find_architecture(architecture)
    if cross_prefix(row):
        return foreign_busybox(architecture, cache, progress)
    require(row, Step.INITRAMFS)
    path = Path(shutil.which("busybox") or "busybox")
    if not is_static(path):
        raise MissingToolError(f"{path} needs shared libraries, which a guest has not: {to_install('busybox-static')}")
    return path


def is_static(path: Path) -> bool:
    """Whether an ELF program asks for no interpreter (PT_INTERP, elf(5)); False for anything but an ELF file."""
    data = path.read_bytes()
    if data[:4] != _ELF_MAGIC or len(data) < 64:
        return False
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    if wide:
        (offset,), (size, count) = struct.unpack_from(f"{order}Q", data, 32), struct.unpack_from(f"{order}HH", data, 54)
    else:
        (offset,), (size, count) = struct.unpack_from(f"{order}I", data, 28), struct.unpack_from(f"{order}HH", data, 42)
    kinds = (struct.unpack_from(f"{order}I", data, offset + number * size)[0] for number in range(count))
    return _PT_INTERP not in kinds


def build_image(
    image: str,
    arch: str,
    modules: Sequence[Path],
    agent: Path,
    cache: Cache,
    progress: Progress = SILENT,
    first: Sequence[str] = (),
) -> Path:
    """What QEMU takes as initramfs for one of image_names(); its path. ``first`` as build_initramfs() takes it.

    A large image is joined of its root file system and the minimal image, so that a changed module packs little anew.
    """
    images = project_root() / "images"
    small = build_initramfs(arch, images / "initramfs", modules, agent, None, cache, progress, first)
    if image == MINIMAL:
        return small
    return join_archives(build_rootfs(images / image, arch, cache, progress), small, cache)


def build_initramfs(
    arch: str,
    spec_dir: Path,
    modules: Sequence[Path],
    agent: Path,
    busybox: Path | None,
    cache: Cache,
    progress: Progress = SILENT,
    first: Sequence[str] = (),
) -> Path:
    """Make an uncompressed cpio; its path.

    /init comes from ``spec_dir``/init, with /bin/busybox (None: this machine's), its links in /bin, /bin/agent,
    /modules/*.ko, and /dev with console, null and kmsg. Other files of ``spec_dir`` go to /etc. ``first`` are names of
    module files that /init loads before it starts the agent, in this order.
    Raises BuildError, MissingToolError, CacheError.
    """
    init = spec_dir / "init"
    if not init.is_file():
        raise BuildError(f"{spec_dir} has no file init: give the directory of the initramfs recipe")
    busybox = busybox or find_busybox(arch, cache, progress)
    extra = sorted(path for path in spec_dir.iterdir() if path.is_file() and path.name not in ("init", "applets"))
    applets = set(APPLETS)
    if (spec_dir / "applets").is_file():
        applets |= set((spec_dir / "applets").read_text(encoding="utf-8").split())
    files = [("init", init, 0o755), ("bin/busybox", busybox, 0o755), ("bin/agent", agent, 0o755)]
    files += [(f"modules/{path.name}", path, 0o644) for path in sorted(modules, key=lambda path: path.name)]
    files += [(f"etc/{path.name}", path, 0o644) for path in extra]
    names = [name for name, _, _ in files]
    if len(set(names)) != len(names):
        raise BuildError(f"two files of the initramfs have one name: {', '.join(sorted(names))}")
    with explained(cache):
        contents = [f"{name}:{mode:o}:{file_sha256(path)}" for name, path, mode in files]
        key = digest(INITRAMFS_RECIPE, *contents, *sorted(applets), *first)[:KEY_DIGITS]
        image = cache.path("initramfs", f"{arch}-{key}.cpio")
        if image.exists():
            os.utime(image)
            return image
        progress.stage("making the initramfs")
        with publish(image) as made, made.open("wb") as sink:
            archive = Archive(sink)
            for name in DIRECTORIES:
                archive.add(name, stat.S_IFDIR | 0o755)
            for name, device in NODES.items():
                archive.add(f"dev/{name}", stat.S_IFCHR | 0o600, device=device)
            for name, path, mode in files:
                archive.add(name, stat.S_IFREG | mode, path.read_bytes())
            if first:
                archive.add(FIRST_MODULES, stat.S_IFREG | 0o644, "".join(f"{name}\n" for name in first).encode())
            for name in sorted(applets - {"busybox", "agent"}):
                archive.add(f"bin/{name}", stat.S_IFLNK | 0o777, b"busybox")
            archive.end()
        return image
