# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe kernel``: build kernels ahead of a run, and list what the cache holds."""

from __future__ import annotations

import json

import click

from dmasafe import kernel as kernels
from dmasafe.architecture import architecture_names
from dmasafe.report.progress import Progress
from dmasafe.targets.prepare import DEFAULT_ARCH, DEFAULT_CONFIGURATION, build_kernel


@click.group(name="kernel", epilog="Example: dmasafe kernel build --config debug-sg ~/linux")
def command() -> None:
    """Build kernels, and list what is built."""


@command.command(name="build", epilog="Example: dmasafe kernel build --config debug-sg ~/linux")
@click.argument("source", default=kernels.DEFAULT_SOURCE)
@click.option("--config", "configuration", metavar="NAME", default=DEFAULT_CONFIGURATION, show_default=True)
@click.option("--arch", type=click.Choice(architecture_names()), default=DEFAULT_ARCH, show_default=True)
@click.option("--update", is_flag=True, help="Look again which version the source's name stands for.")
@click.option("--jobs", type=click.IntRange(1), help="Parallel jobs of make; default: one a processor.")
def build(source: str, configuration: str, arch: str, update: bool, jobs: int | None) -> None:
    """Build a kernel from SOURCE: a release (7.3.4), apt:PACKAGE, a tree, URL#sha256=HEX or git:URL@REVISION."""
    with Progress() as progress:
        kernel = build_kernel(source, configuration, arch, progress, update=update, jobs=jobs)
    click.echo(f"{kernel.release} {kernel.configuration} {kernel.arch}: {kernel.image}")


@command.command(name="list", epilog="Example: dmasafe kernel list --format json")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_(form: str) -> None:
    """List the kernels in the cache."""
    built = kernels.list_kernels(kernels.open_cache())
    if form == "json":
        rows = [
            {
                "release": kernel.release,
                "arch": kernel.arch,
                "config": kernel.configuration,
                "source": kernel.source,
                "image": str(kernel.image),
                "key": kernel.key,
            }
            for kernel in built
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    for kernel in built:
        click.echo(f"{kernel.release:<14} {kernel.arch:<8} {kernel.configuration:<16} {kernel.source}")
    if not built:
        click.echo("no kernel is built yet: 'dmasafe kernel build'")
