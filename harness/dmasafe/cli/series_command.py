# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe series``: what a patch series makes worse, compared with its own base."""

from __future__ import annotations

import functools
import json
import shlex
import sys
from pathlib import Path

import click
from rich.text import Text

from dmasafe import kernel as kernels
from dmasafe import scratch
from dmasafe.architecture import architecture_names
from dmasafe.cli.options import CONFIGURATIONS, SUITE_NAMES, CliError, no_build_option
from dmasafe.cli.output import Output, output_options, results_option
from dmasafe.report import directory
from dmasafe.report.files import write_text
from dmasafe.report.formats import formats
from dmasafe.report.progress import ProgressDisplay
from dmasafe.scenario import suite
from dmasafe.series import mail, show
from dmasafe.series.bench import QemuBench
from dmasafe.series.choose import choose
from dmasafe.series.run import REPEATS, look
from dmasafe.series.tree import Repository, from_lore
from dmasafe.targets.interrupt import interrupt_once
from dmasafe.targets.prepare import DEFAULT_ARCH


@click.command(
    name="series",
    epilog="Examples: dmasafe series --kdir ~/linux | dmasafe series --kdir ~/linux v7.3..my-branch --each | "
    "dmasafe series --kdir ~/linux patches.mbox --mail reply.txt",
)
@click.argument("what", nargs=-1, metavar="[RANGE|MBOX...]")
@click.option(
    "--kdir", type=click.Path(path_type=Path, file_okay=False), default=Path(), envvar="KDIR",
    help="The kernel's git repository, which is only read.  [default: where you are, or $KDIR]",
)  # fmt: skip
@click.option("--lore", "message_id", metavar="MESSAGE-ID", help="The series of this mail, fetched by b4.")
@click.option("--base", metavar="REVISION", help="What it is compared with, and mails are applied to.")
@click.option("--each", is_flag=True, help="Build every commit, and name the one that each difference is of.")
@click.option(
    "--suite", "suites", metavar="NAME", multiple=True, shell_complete=SUITE_NAMES,
    help="Run this as well, whatever the series touches (again for more).",
)  # fmt: skip
@click.option(
    "--config", "configurations", metavar="NAME", multiple=True, shell_complete=CONFIGURATIONS,
    help="Run all of it in this configuration, too (again for more).",
)  # fmt: skip
@click.option(
    "--arch", "architectures", type=click.Choice(architecture_names()), multiple=True,
    help=f"Run all of it on this architecture, too (again for more), beside {DEFAULT_ARCH}.",
)  # fmt: skip
@click.option("--accel", metavar="NAME", help="QEMU accelerator; default: the first that proves to work (kvm, tcg).")
@click.option(
    "--repeats", type=click.IntRange(1), default=REPEATS, show_default=True, help="How often rows that differ are run."
)
@click.option("--mail", "mail_file", type=click.Path(path_type=Path), help="Write a reply to the series here.")
@click.option("--patchwork-check", "check_file", type=click.Path(path_type=Path), help="Write Patchwork's JSON here.")
@click.option("--target-url", metavar="URL", help="Where Patchwork's check leads to.")
@click.option("--choose", "only_choose", is_flag=True, help="Say what would be run, and why, and end.")
@no_build_option
@results_option
@output_options("table", "json", *formats(), "sarif")
def command(
    what: tuple[str, ...],
    kdir: Path,
    message_id: str | None,
    base: str | None,
    each: bool,
    suites: tuple[str, ...],
    configurations: tuple[str, ...],
    architectures: tuple[str, ...],
    accel: str | None,
    repeats: int,
    mail_file: Path | None,
    check_file: Path | None,
    target_url: str | None,
    only_choose: bool,
    out: Path,
    output: Output,
) -> int:
    """Say what a patch series makes worse: it is built and run beside its base, and only what differs is told.

    RANGE is as git takes it; without it, the commits since the merge base with upstream. MBOX is what git format-patch
    or b4 leaves, applied to the mails' base-commit, --base, or what is checked out. Your tree is not touched.

    Exit status: 0 nothing worse, 1 worse, 2 it cannot be said.
    """
    if message_id is not None and what:
        raise CliError("--lore fetches the series: name no range and no file beside it")
    for name in suites:
        suite(name)
    for name in configurations:
        kernels.find_configuration(kernels.load_matrix(), name, DEFAULT_ARCH)
    directory.prepare(out)
    with interrupt_once(), ProgressDisplay() as progress:
        repository = Repository(kdir, kernels.open_cache())
        with repository.held(progress), scratch.directory() as fetched:
            words = what if message_id is None else (str(from_lore(message_id, fetched)),)
            series = repository.find(words, base, progress)
            choice = choose(series.paths, DEFAULT_ARCH, suites, configurations, architectures)
            if only_choose:
                click.echo("\n".join(show.chosen(choice)))
                return 0
            for line in show.chosen(choice):
                progress.note(line)
            bench = QemuBench(repository, series, choice.jobs, accel, progress)
            verdict = look(series, choice, bench, repository, progress.note, each=each, repeats=repeats)
            typed = shlex.join(["dmasafe", *sys.argv[1:]])
            reply = mail.render(verdict, typed, repository.who())
    published = directory.publish_texts(show.files(verdict, typed, reply), out, "series")
    if mail_file is not None:
        write_text(mail_file, reply)
    if check_file is not None:
        write_text(check_file, json.dumps(show.patchwork(verdict, target_url), indent=1) + "\n")
    results = show.as_results(verdict, typed)
    output.show(
        table=lambda: [*show.table(verdict), Text(f"results: {published}")],
        json=lambda: show.to_json(verdict),
        sarif=lambda: show.to_sarif(verdict),
        **{name: functools.partial(form.render, results) for name, form in formats().items()},
    )
    return verdict.exit_status
