# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m dmasafe.devices``: the emulated hardware as a process of its own, which QEMU reaches over vhost-user."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from dmasafe.devices.errors import DevicesError
from dmasafe.devices.server import serve

USAGE = """\
usage: python -m dmasafe.devices --directory DIR --controller NAME [--controller NAME ...] [--usb NAME:BRIDGE ...]
                                 [--function NAME:MODULE:CLASS ...] [--path DIR ...] [--control-fd N] [--quiet]

Creates DIR/NAME.sock for each controller, an I2C bus behind each; those of USB bridges speak usbredir, PCI functions
(dmasafe.devices.pci) vfio-user. Modules of functions are looked for in each --path, too. With
--control-fd, events and questions pass as JSON lines over the inherited socket N, whose end is this program's end;
without, events go to standard output.
"""
EXIT_USAGE = 2


class _UsageError(Exception):
    """What is wrong with the command line."""


def main(arguments: list[str]) -> int:
    # Not argparse: importing it takes a fifth of the start-up.
    directory: Path | None = None
    controllers: list[str] = []
    bridges: dict[str, str] = {}
    functions: dict[str, str] = {}
    control_fd: int | None = None
    quiet = False
    words = iter(arguments)
    try:
        for word in words:
            option, separator, attached = word.partition("=")
            if word == "--quiet":
                quiet = True
            elif word in ("-h", "--help"):
                sys.stdout.write(USAGE)
                return 0
            elif option in ("--directory", "--controller", "--usb", "--function", "--path", "--control-fd"):
                value = attached if separator else next(words, None)
                if value is None:
                    raise _UsageError(f"{option} needs a value")
                if option == "--directory":
                    directory = Path(value)
                elif option == "--controller":
                    controllers.append(_controller(value, [*controllers, *bridges, *functions]))
                elif option == "--usb":
                    name, _, bridge = value.partition(":")
                    bridges[_controller(name, [*controllers, *bridges, *functions])] = bridge
                elif option == "--function":
                    name, _, path = value.partition(":")
                    functions[_controller(name, [*controllers, *bridges, *functions])] = path
                elif option == "--path":
                    sys.path.append(value)
                elif value.isascii() and value.isdigit():
                    control_fd = int(value)
                else:
                    raise _UsageError(f"--control-fd needs a number, not '{value}'")
            else:
                raise _UsageError(f"unknown option '{word}'")
        if directory is None or not (controllers or bridges or functions):
            raise _UsageError("--directory and at least one controller are needed")
    except _UsageError as error:
        sys.stderr.write(f"dmasafe.devices: {error}\n{USAGE}")
        return EXIT_USAGE
    # Nothing here makes cycles in the hot path; a collection would only be a pause.
    gc.disable()
    try:
        serve(directory, controllers, control_fd, quiet, bridges, functions)
    except DevicesError as error:
        sys.stderr.write(f"dmasafe.devices: {error}\n")
        return 1
    return 0


def _controller(name: str, others: list[str]) -> str:
    """The name is part of a path and of every trace line."""
    if not name.isascii() or not name.replace("-", "").isalnum() or name in others:
        raise _UsageError(f"'{name}' is no controller name, or named twice: letters, digits and '-'")
    return name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
