# SPDX-License-Identifier: GPL-2.0-or-later
"""What run, shell and predicates have in common: from names on the command line to an image that boots."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from dmasafe import kernel as kernels
from dmasafe.architecture import architecture_names
from dmasafe.errors import DmasafeError
from dmasafe.facts import KernelFacts
from dmasafe.kernel.config import resolve
from dmasafe.qemu.machines import find_machine
from dmasafe.targets.base import KernelInfo, Progress
from dmasafe.targets.boot import GuestImage
from dmasafe.targets.machine import described, facts_of, guest_image

_VERSION = re.compile(r"\d+\.\d+(\.\d+)?")
DEFAULT_CONFIGURATION = "default"
DEFAULT_ARCH = "x86_64"


class CliError(DmasafeError):
    """What the command line asks for cannot be done."""


@dataclass(frozen=True)
class Prepared:
    """A guest that can be booted, with what is known of its kernel."""

    image: GuestImage
    kernel: KernelInfo
    facts: KernelFacts
    build: kernels.Kernel


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
            help="apt:PACKAGE, a kernel tree, URL#sha256=HEX, or git:URL@REVISION.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def build_kernel(
    kernel_source: str, configuration: str, arch: str, progress: Progress, update: bool = False, jobs: int | None = None
) -> kernels.Kernel:
    """The kernel of this source and configuration, built if it is not in the cache. Raises KernelError."""
    store = kernels.open_cache()
    tree = kernels.fetch(kernels.parse_source(kernel_source), store, progress, update=update)
    return kernels.build_kernel(tree, configuration, arch, store, progress, jobs=jobs)


def prepare(
    kernel_source: str,
    configuration: str,
    arch: str,
    accel: str | None,
    progress: Progress,
    cmdline: tuple[str, ...] = (),
    extra_modules: str | Sequence[str] | None = None,
    image_name: str = kernels.MINIMAL,
) -> Prepared:
    """Fetch, configure, build and pack whatever is not in the cache yet. Raises KernelError, QemuError.

    ``extra_modules`` names a directory of images/ whose modules go into the initramfs too, or several.
    """
    kernel = build_kernel(kernel_source, configuration, arch, progress)
    image = guest_image(kernel, image_name, accel, progress, cmdline, extra_modules, configuration)
    config = kernel.config.read_text()
    info, facts = described(image, config, kernel.release, arch, configuration, kernel.source)
    return Prepared(image, info, facts, kernel)


def model_kernel(kernel_source: str, configuration: str, arch: str) -> tuple[KernelFacts, KernelInfo]:
    """What the model is to be: the kernel of this source and configuration as built, or as its fragments ask for it.

    A kernel that is not in the cache is not built for the model's sake. Raises KernelError, CliError.
    """
    matrix = kernels.load_matrix()
    cell = kernels.find_configuration(matrix, configuration, arch)
    machine = find_machine(arch, cell.machine)
    for kernel in kernels.list_kernels(kernels.open_cache()):
        wanted = kernel.source_identity.startswith(f"{kernel_source}=") or kernel.source_identity == kernel_source
        if wanted and kernel.configuration == cell.kernel_name and kernel.arch == arch:
            info = KernelInfo(kernel.release, arch, configuration, kernel.source)
            return facts_of(kernel.config.read_text(), kernel.release, machine, cell.append), info
    version = _VERSION.search(kernel_source)
    if version is None:
        raise CliError(
            f"the model cannot tell the version of '{kernel_source}': build it first, with "
            f"'dmasafe kernel build --config {configuration} {kernel_source}'"
        )
    text = resolve(matrix, configuration, arch, version[0]).text
    info = KernelInfo(version[0], arch, configuration, "the fragments of kernel-configs/")
    return facts_of(text, version[0], machine, cell.append), info
