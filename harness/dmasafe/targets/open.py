# SPDX-License-Identifier: GPL-2.0-or-later
"""From a target's name (qemu, model, local, ssh:root@board) to a Target that takes scenarios."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmasafe import kernel as kernels
from dmasafe.errors import DmasafeError
from dmasafe.kernel.config import STRICT_FRAGMENT
from dmasafe.kernel.distribution import PREFIX
from dmasafe.progress import Progress
from dmasafe.targets.base import Target
from dmasafe.targets.errors import TargetError
from dmasafe.targets.model import ModelTarget
from dmasafe.targets.prepare import (
    KernelChoice,
    Prepared,
    model_kernel,
    prepare,
    prepare_distribution,
    with_own_driver,
    with_qemu_arguments,
)
from dmasafe.targets.qemu import QemuTarget
from dmasafe.targets.sabotage import MODULES, SHORT, saboteur
from dmasafe.targets.session import LIMITS
from dmasafe.targets.untouched import BOOT_LIMITS

if TYPE_CHECKING:
    # A run in QEMU need not wait for what boards need.
    from dmasafe.guest.link import Link
    from dmasafe.kernel.kdir import KernelDirectory
    from dmasafe.targets.board import BoardTarget

KINDS = ("ssh", "serial", "local", "labgrid")


@dataclass(frozen=True)
class BoardArguments:
    """How a board is reached, and what may be done with it; ``password`` asks for one if the board wants it.

    ``strict``: it gets the strict machine's DMA operations.
    """

    kdir: Path | None = None
    cross_compile: str = ""
    oracle: Path | None = None
    bus: int | None = None
    addresses: tuple[int, ...] = ()
    destructive: bool = False
    strict: bool = False
    identity: Path | None = None
    known_hosts: Path | None = None
    serial_user: str = "root"
    password: Callable[[], str] | None = None
    labgrid_config: Path | None = None


def split_target(text: str) -> tuple[str, str]:
    """``ssh:root@host`` as kind and rest. Raises TargetError for a kind that does not exist."""
    kind, _, rest = text.partition(":")
    if kind in ("qemu", "model", "local"):
        if rest:
            raise TargetError(f"target {kind} takes nothing behind a colon")
        return kind, ""
    if kind not in KINDS:
        raise TargetError(f"there is no target '{text}': it is qemu, model, local, ssh:..., serial:... or labgrid:...")
    if not rest:
        example = {"ssh": "ssh:root@board", "serial": "serial:/dev/ttyUSB0@115200", "labgrid": "labgrid:PLACE"}[kind]
        raise TargetError(f"target {kind} needs to know where: {example}")
    return kind, rest


@contextlib.contextmanager
def open_target(
    kind: str,
    rest: str,
    choice: KernelChoice,
    arguments: BoardArguments,
    logs: Path,
    progress: Progress,
    sabotage: str | None = None,
    qemu_arguments: Sequence[str] = (),
    own: tuple[Path, str] | None = None,
) -> Iterator[Target]:
    """The target of this name, ready to run; whatever it holds is let go at the end.

    ``choice`` is the kernel of a model or a guest; ``sabotage`` names what wrecks the guest (dmasafe selftest),
    ``qemu_arguments`` are more words for QEMU, ``own`` the directory of a controller driver of the user's and its
    device. Raises TargetError if there is none.
    """
    if qemu_arguments and kind != "qemu":
        raise TargetError(f"--qemu-arg is for the target qemu: {kind} has no QEMU")
    if own is not None and kind != "qemu":
        raise TargetError(f"--controller is for the target qemu: {kind} has no controller to lend")
    if kind == "model":
        facts, kernel = model_kernel(choice.source, choice.configuration, choice.arch)
        yield ModelTarget(facts, kernel, logs)
    elif kind == "qemu":
        untouched = choice.source.startswith(PREFIX)
        if untouched and (own is not None or sabotage is not None):
            raise TargetError(f"{choice.source} is a distribution's kernel, for which no modules are built")
        if untouched:
            prepared = prepare_distribution(*choice, progress)
        else:
            prepared = prepare(*choice, progress, extra_modules=None if sabotage is None else MODULES)
        if own is not None:
            prepared = with_own_driver(prepared, *own, progress)
        yield _guest_target(with_qemu_arguments(prepared, qemu_arguments), logs, sabotage)
    else:
        with open_board(kind, rest, arguments, logs, progress) as board:
            yield board


def _guest_target(prepared: Prepared, logs: Path, sabotage: str | None) -> QemuTarget:
    if sabotage is None:
        limits = BOOT_LIMITS if prepared.image.untouched else LIMITS
        return QemuTarget(prepared.image, prepared.kernel, prepared.facts, logs, limits)
    wrecker = saboteur(sabotage, prepared.image, logs)
    return QemuTarget(wrecker.image, prepared.kernel, prepared.facts, logs, SHORT, wrecker.boots, wrecker.watch)


@contextlib.contextmanager
def open_board(
    kind: str,
    rest: str,
    arguments: BoardArguments,
    logs: Path,
    progress: Progress,
    extra_modules: str | None = None,
) -> Iterator[BoardTarget]:
    """Reach the board, compare its kernel with KDIR, build what is copied. Raises what the packages below raise.

    ``extra_modules`` names a directory of images/ whose modules are copied too.
    """
    from dmasafe.kernel.kdir import open_kdir

    kdir = open_kdir(_kdir(kind, arguments))
    progress.stage("reaching the board")
    link = open_link(kind, rest, arguments)
    try:
        yield _board_target(link, kdir, arguments, logs, progress, extra_modules)
    finally:
        with contextlib.suppress(DmasafeError):
            link.close()


def _board_target(
    link: Link,
    kdir: KernelDirectory,
    arguments: BoardArguments,
    logs: Path,
    progress: Progress,
    extra_modules: str | None,
) -> BoardTarget:
    from dmasafe.kernel.kdir import build_for_board
    from dmasafe.targets.board import BoardOptions, BoardTarget, check, probe

    board = probe(link)
    notes = check(board, kdir, link.name)
    images = kernels.project_root() / "images"
    extra_modules = STRICT_FRAGMENT if arguments.strict else extra_modules
    files = build_for_board(
        kdir, board.machine, arguments.cross_compile, images, kernels.open_cache(), progress, extra_modules
    )
    options = BoardOptions(
        arguments.bus, arguments.addresses, arguments.oracle, arguments.destructive, arguments.strict
    )
    return BoardTarget(link, board, kdir, files, images / "board" / "run", logs, options, notes)


def _kdir(kind: str, arguments: BoardArguments) -> Path:
    if arguments.kdir is not None:
        return arguments.kdir
    mine = Path("/lib/modules") / os.uname().release / "build"
    if kind == "local" and mine.is_dir():
        return mine
    raise TargetError("modules are built for the board's own kernel: name its build tree or headers by --kdir PATH")


def open_link(kind: str, rest: str, arguments: BoardArguments) -> Link:
    """The way to the board. Raises LinkError."""
    # Each brings a library that the others do not need.
    match kind:
        case "ssh":
            from dmasafe.guest.ssh import SshLink, SshOptions, parse_address

            return SshLink(parse_address(rest), SshOptions(arguments.known_hosts, arguments.identity))
        case "serial":
            from dmasafe.guest.serial import SerialLink, parse_serial

            device, baud = parse_serial(rest)
            return SerialLink(device, baud, arguments.serial_user, arguments.password)
        case "labgrid":
            from dmasafe.guest.labgrid import open_place

            return open_place(rest, arguments.labgrid_config, arguments.known_hosts, arguments.password)
        case _:
            from dmasafe.guest.link import LocalLink

            return LocalLink()
