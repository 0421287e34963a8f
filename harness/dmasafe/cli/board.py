# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of targets that are boards."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dmasafe.cli.options import CliError
from dmasafe.targets.open import BoardArguments

MAX_PASSWORD_BYTES = 1024


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


def board_arguments(*, password_fd: int | None, **words: Any) -> BoardArguments:
    """What board_options gave a command."""
    return BoardArguments(password=_password(password_fd), **words)


def _password(descriptor: int | None) -> Callable[[], str] | None:
    """Where a password comes from, if one is asked for: never from the command line."""
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
