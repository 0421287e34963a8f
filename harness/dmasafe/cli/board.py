# SPDX-License-Identifier: GPL-2.0-or-later
"""From ``--target ssh:...`` and its options to a board that takes scenarios."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmasafe import kernel as kernels
from dmasafe.cli.options import CliError
from dmasafe.errors import DmasafeError
from dmasafe.progress import Progress

if TYPE_CHECKING:
    # A run in QEMU need not wait for what boards need.
    from dmasafe.guest.link import Link
    from dmasafe.kernel.kdir import KernelDirectory
    from dmasafe.targets.board import BoardTarget

KINDS = ("ssh", "serial", "local", "labgrid")
MAX_PASSWORD_BYTES = 1024


@dataclass(frozen=True)
class BoardArguments:
    """The command line's words about a board."""

    kdir: Path | None = None
    cross_compile: str = ""
    oracle: Path | None = None
    bus: int | None = None
    addresses: tuple[int, ...] = ()
    destructive: bool = False
    identity: Path | None = None
    known_hosts: Path | None = None
    serial_user: str = "root"
    password_fd: int | None = None
    labgrid_config: Path | None = None


class _Address(click.ParamType[int]):
    """An I2C address as i2c-tools write it."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            address = int(str(value), 16)
        except ValueError:
            self.fail(f"'{value}' is no hexadecimal address, such as 0x50", param, ctx)
        if not 0x03 <= address <= 0x77:
            self.fail(f"{value} is no 7-bit address that a device may have (0x03 to 0x77)", param, ctx)
        return address


class _Renamed(click.Option):
    """Help shows the first name; the others still work."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        shown = copy.copy(self)
        shown.opts = self.opts[:1]
        return click.Option.get_help_record(shown, ctx)


def board_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of the targets that are boards."""
    path = click.Path(path_type=Path)
    for option in (
        click.option("--labgrid-config", metavar="FILE", type=path, help="labgrid: its environment file."),
        click.option("--password-fd", metavar="N", type=int, help="serial: read the password from this descriptor."),
        click.option("--serial-user", metavar="NAME", default="root", show_default=True, help="serial: who logs in."),
        click.option("--known-hosts", metavar="FILE", type=path, help="ssh: instead of ~/.ssh/known_hosts."),
        click.option("--identity", metavar="FILE", type=path, help="ssh: the private key to log in with."),
        click.option("--destructive", is_flag=True, help="Board: also what kills a task in its kernel."),
        click.option("--address", "addresses", metavar="0xNN", type=_Address(), multiple=True,
                     help="Board: a device on --bus that may be read (again for more)."),
        click.option("--bus", metavar="N", type=click.IntRange(min=0), help="Board: the /dev/i2c-N that may be used."),
        click.option("--oracle", "--witness", "oracle", cls=_Renamed, metavar="SOCKET", type=path,
                     help="Board: where the process of its emulated devices serves their trace."),
        click.option("--cross-compile", metavar="PREFIX", default="", help="Board: what goes before 'gcc'."),
        click.option("--kdir", metavar="PATH", type=path, help="Board: build tree or headers of its kernel."),
    ):  # fmt: skip
        function = option(function)
    return function


def split_target(text: str) -> tuple[str, str]:
    """``ssh:root@host`` as kind and rest. Raises CliError for a kind that does not exist."""
    kind, _, rest = text.partition(":")
    if kind in ("qemu", "model", "local"):
        if rest:
            raise CliError(f"target {kind} takes nothing behind a colon")
        return kind, ""
    if kind not in KINDS:
        raise CliError(f"there is no target '{text}': it is qemu, model, local, ssh:..., serial:... or labgrid:...")
    if not rest:
        example = {"ssh": "ssh:root@board", "serial": "serial:/dev/ttyUSB0@115200", "labgrid": "labgrid:PLACE"}[kind]
        raise CliError(f"target {kind} needs to know where: {example}")
    return kind, rest


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
        yield _target(link, kdir, arguments, logs, progress, extra_modules)
    finally:
        with contextlib.suppress(DmasafeError):
            link.close()


def _target(
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
    files = build_for_board(
        kdir, board.machine, arguments.cross_compile, images, kernels.open_cache(), progress, extra_modules
    )
    options = BoardOptions(arguments.bus, arguments.addresses, arguments.oracle, arguments.destructive)
    return BoardTarget(link, board, kdir, files, images / "board" / "run", logs, options, notes)


def _kdir(kind: str, arguments: BoardArguments) -> Path:
    if arguments.kdir is not None:
        return arguments.kdir
    mine = Path("/lib/modules") / os.uname().release / "build"
    if kind == "local" and mine.is_dir():
        return mine
    raise CliError("modules are built for the board's own kernel: name its build tree or headers by --kdir PATH")


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
            return SerialLink(device, baud, arguments.serial_user, _password(arguments))
        case "labgrid":
            from dmasafe.guest.labgrid import open_place

            return open_place(rest, arguments.labgrid_config, arguments.known_hosts, _password(arguments))
        case _:
            from dmasafe.guest.link import LocalLink

            return LocalLink()


def _password(arguments: BoardArguments) -> Callable[[], str] | None:
    """Where a password comes from, if one is asked for: never from the command line."""
    descriptor = arguments.password_fd
    if descriptor is not None:
        return lambda: _read_password(descriptor)
    if sys.stdin.isatty():
        return lambda: str(click.prompt("Password of the board", hide_input=True, err=True))
    return None


def _read_password(descriptor: int) -> str:
    try:
        text = os.read(descriptor, MAX_PASSWORD_BYTES).decode(errors="surrogateescape")
    except OSError as error:
        raise CliError(f"--password-fd {descriptor} cannot be read: {error.strerror}") from error
    return text.splitlines()[0] if text else ""
