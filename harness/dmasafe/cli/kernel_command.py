# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe kernel``: build kernels ahead of a run, list what the cache holds, make room in it."""

from __future__ import annotations

import click

from dmasafe import kernel as kernels
from dmasafe.cli.lazy import Group
from dmasafe.cli.options import FILES, CliError, arch_option, config_option, source_option
from dmasafe.cli.output import Output, output_options
from dmasafe.report.progress import ProgressDisplay
from dmasafe.targets.prepare import build_kernel


@click.group(name="kernel", cls=Group, epilog="Example: dmasafe kernel build --kernel ~/linux --config debug-sg")
def command() -> None:
    """Build kernels, list what is built, remove what is not used."""


@command.command(name="build", epilog="Example: dmasafe kernel build --kernel ~/linux --config debug-sg")
@click.argument("source", required=False, shell_complete=FILES)
@source_option
@config_option
@arch_option
@click.option("--update", is_flag=True, help="Look again which version the source's name stands for.")
@click.option("--jobs", type=click.IntRange(1), help="Parallel jobs of make; default: one a processor.")
@click.pass_context
def build(
    context: click.Context,
    source: str | None,
    kernel_source: str,
    configuration: str,
    arch: str,
    update: bool,
    jobs: int | None,
) -> None:
    """Build a kernel, from SOURCE or what --kernel says, which is the same."""
    given = context.get_parameter_source("kernel_source") is not click.core.ParameterSource.DEFAULT
    if source is not None and given and source != kernel_source:
        raise CliError(f"build {source} or --kernel {kernel_source}, one of them")
    with ProgressDisplay() as progress:
        kernel = build_kernel(source or kernel_source, configuration, arch, progress, update=update, jobs=jobs)
    click.echo(f"{kernel.release} {kernel.configuration} {kernel.arch}: {kernel.image}")


@command.command(name="list", epilog="Example: dmasafe kernel list --format json")
@output_options("table", "json")
def list_(output: Output) -> None:
    """List the kernels in the cache."""
    built = kernels.list_kernels(kernels.find_cache())
    output.show(
        table=lambda: (
            [f"{one.release:<14} {one.arch:<8} {one.configuration:<16} {one.source}" for one in built]
            or "no kernel is built yet: 'dmasafe kernel build'"
        ),
        json=lambda: [
            {
                "release": one.release,
                "arch": one.arch,
                "config": one.configuration,
                "source": one.source,
                "image": str(one.image),
                "key": one.key,
            }
            for one in built
        ],
    )


@command.command(name="prune", epilog="Examples: dmasafe kernel prune --dry-run | dmasafe kernel prune --unused-days 0")
@click.option(
    "--unused-days", metavar="N", type=click.FloatRange(0), default=kernels.PRUNE_UNUSED_DAYS, show_default=True,
    help="Remove what was not used for so long; 0: everything.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@output_options("table", "json")
def prune(unused_days: float, dry_run: bool, output: Output) -> None:
    """Remove kernels that were not used for some time, their sources and images, and what killed runs left.

    If more than $DMASAFE_CACHE_MAX (such as 20G) remains, the least recently used goes too; every build of a kernel
    sees to that limit by itself. What a running build, guest or run of the matrix uses stays, and so does the
    compiler's cache.
    """
    cache = kernels.open_cache()
    pruned = kernels.prune(cache, unused_days, dry_run, kernels.cache_limit())
    names = [str(path.relative_to(cache.root)) for path in pruned.paths]
    freed = f"{pruned.bytes_freed / 2**20:,.1f} MiB in {cache.root} {'would be' if dry_run else 'are'} free"
    output.show(
        table=lambda: (*names, freed if names else f"nothing to remove in {cache.root}"),
        json=lambda: {"cache": str(cache.root), "removed": not dry_run, "paths": names, "bytes": pruned.bytes_freed},
    )
