# SPDX-License-Identifier: GPL-2.0-or-later
"""Options that many commands have, and the error of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from dmasafe import kernel as kernels
from dmasafe.architecture import architecture_names
from dmasafe.errors import DmasafeError
from dmasafe.targets.prepare import DEFAULT_ARCH, DEFAULT_CONFIGURATION


class CliError(DmasafeError):
    """What the command line asks for cannot be done."""


def kernel_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose a kernel and how it runs, the same for every command that boots one."""
    for option in (
        click.option(
            "--accel", metavar="NAME", help="QEMU accelerator; default: the first that proves to work (kvm, tcg)."
        ),
        click.option("--arch", type=click.Choice(architecture_names()), default=DEFAULT_ARCH, show_default=True),
        click.option(
            "--config", "configuration", metavar="NAME", default=DEFAULT_CONFIGURATION, show_default=True,
            help="Configuration from kernel-configs/matrix.toml.",
        ),
        click.option(
            "--kernel", "kernel_source", metavar="SOURCE", default=kernels.DEFAULT_SOURCE, show_default=True,
            help="A release (7.3.4, 7.3, latest, longterm, mainline, next), apt:PACKAGE, a kernel tree, "
            "URL#sha256=HEX, or git:URL@REVISION.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function
