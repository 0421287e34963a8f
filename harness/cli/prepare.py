# SPDX-License-Identifier: GPL-2.0-or-later
"""What run, shell and predicates have in common: from names on the command line to an image that boots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from harness import kernel as kernels
from harness.expectation import KernelFacts
from harness.qemu.accelerators import choose_accelerator
from harness.qemu.machines import MACHINES
from harness.targets.base import KernelInfo, Progress
from harness.targets.boot import GuestImage
from harness.targets.kconfig import facts_from_config

DEFAULT_CONFIGURATION = "default"
DEFAULT_ARCH = "x86_64"


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
        click.option("--arch", type=click.Choice(sorted(MACHINES)), default=DEFAULT_ARCH, show_default=True),
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
) -> Prepared:
    """Fetch, configure, build and pack whatever is not in the cache yet. Raises KernelError, QemuError."""
    store = kernels.open_cache()
    kernel = build_kernel(kernel_source, configuration, arch, progress)
    images = kernels.project_root() / "images"
    modules = kernels.build_modules(kernel, images / "modules", store, progress)
    agent = kernels.build_agent(arch, images / "agent", store, progress)
    initrd = kernels.build_initramfs(kernel, images / "initramfs", modules, agent, None, store, progress)
    machine = MACHINES[arch]
    accelerator = choose_accelerator(machine, kernel.image, store.path("accelerators.json"), accel)
    image = GuestImage(machine, kernel.image, initrd, accelerator, cmdline)
    info = KernelInfo(kernel.release, arch, configuration, kernel.source)
    facts = facts_from_config(kernel.config.read_text(), arch, kernel.release)
    return Prepared(image, info, facts, kernel)
