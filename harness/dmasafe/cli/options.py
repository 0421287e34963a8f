# SPDX-License-Identifier: GPL-2.0-or-later
"""Options that many commands have, and the error of all of them."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from dmasafe import kernel as kernels
from dmasafe.architecture import architecture_names
from dmasafe.errors import DmasafeError
from dmasafe.scenario import SUITES
from dmasafe.targets.prepare import DEFAULT_ARCH, DEFAULT_CONFIGURATION, KernelChoice


class CliError(DmasafeError):
    """What the command line asks for cannot be done."""


def completing(names: Callable[[], Iterable[str]], files: bool = False) -> Callable[..., list[CompletionItem[str]]]:
    """What a shell may complete a parameter to: the names that begin like its word, else, with ``files``, a file."""

    def candidates(_context: click.Context, _parameter: click.Parameter, word: str) -> list[CompletionItem[str]]:
        found = [CompletionItem(name) for name in names() if name.startswith(word)]
        return found or ([CompletionItem(word, type="file")] if files else [])

    return candidates


SUITE_NAMES = completing(lambda: SUITES)
SCENARIO_IDS = completing(lambda: dict.fromkeys(one.id for _what, make in SUITES.values() for one in make()))
CONFIGURATIONS = completing(lambda: kernels.load_matrix().configurations)
FILES = completing(tuple, files=True)


arch_option = click.option("--arch", type=click.Choice(architecture_names()), default=DEFAULT_ARCH, show_default=True)
config_option = click.option(
    "--config", "configuration", metavar="NAME", default=DEFAULT_CONFIGURATION, show_default=True,
    shell_complete=CONFIGURATIONS, help="Configuration from kernel-configs/matrix.toml.",
)  # fmt: skip
source_option = click.option(
    "--kernel", "kernel_source", metavar="SOURCE", default=kernels.DEFAULT_SOURCE, show_default=True,
    help="A release (7.3.4, 7.3, latest, longterm, mainline, next), apt:PACKAGE, a kernel tree, URL#sha256=HEX, "
    "or git:URL@REVISION; 'dmasafe run' also takes deb:PACKAGE.",
)  # fmt: skip


def suite_option(text: str, name: str = "--suite") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(name, "suite_name", metavar="NAME", shell_complete=SUITE_NAMES, help=text)


def qemu_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--qemu-arg``; the command gets all words of all of them as ``qemu_arguments``."""
    return click.option(
        "--qemu-arg", "qemu_arguments", metavar="WORDS", multiple=True, callback=_shell_words,
        help="More words for QEMU, such as '-smp 2'; repeatable. The results say that they were given.",
    )(function)  # fmt: skip


def _shell_words(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(word for value in values for word in shlex.split(value))
    except ValueError as error:
        raise click.BadParameter(f"{error}: quote it as for a shell") from error


def kernel_words(kernel: KernelChoice) -> list[str]:
    """The same kernel for another command: the options that are not as they are by default."""
    named = zip(("--kernel", "--config", "--arch", "--accel"), kernel, KernelChoice(), strict=True)
    return [word for option, value, default in named if value != default for word in (option, str(value))]


def no_build_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--no-build``: a kernel that is not built yet ends the command. Without it, a build says what it is for."""

    @functools.wraps(function)
    def command(*arguments: Any, no_build: bool, **rest: Any) -> Any:
        with kernels.building(f"'dmasafe {click.get_current_context().info_name}'", allowed=not no_build):
            return function(*arguments, **rest)

    option = click.option("--no-build", is_flag=True, help="Do not build a kernel that is not built yet: say so.")
    decorated: Callable[..., Any] = option(command)
    return decorated


def kernel_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose a kernel, the same for every command that boots one, which gets a KernelChoice."""

    @functools.wraps(function)
    def command(
        *arguments: Any, kernel_source: str, configuration: str, arch: str, accel: str | None, **rest: Any
    ) -> Any:
        return function(*arguments, kernel=KernelChoice(kernel_source, configuration, arch, accel), **rest)

    decorated = no_build_option(command)
    for option in (
        click.option(
            "--accel", metavar="NAME", help="QEMU accelerator; default: the first that proves to work (kvm, tcg)."
        ),
        arch_option,
        config_option,
        source_option,
    ):
        decorated = option(decorated)
    return decorated
