# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe bisect``: the first bad commit of a kernel tree or of a driver's repository."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from dmasafe.cli.options import SCENARIO_IDS, CliError, kernel_options
from dmasafe.cli.output import Output, output_options
from dmasafe.kernel.tree import tree_version
from dmasafe.matrix.bisect import Found, Job, Step, bisect, top
from dmasafe.report.text import one_line, plural
from dmasafe.scenario import POLICIES, select
from dmasafe.targets.prepare import KernelChoice


@click.command(
    name="bisect",
    epilog="Examples: dmasafe bisect --good v6.11 --bad v6.12 --kdir ~/linux heap/master_recv/virtio/8 | "
    "dmasafe bisect --good v1 --bad main --module ~/thermo/driver --policy pio -- "
    "'echo thermo 0x30 > /sys/bus/i2c/devices/i2c-$DMASAFE_BUS/new_device; cat /sys/bus/i2c/devices/*/temperature'",
)
@click.argument("words", nargs=-1, metavar="SCENARIO...|-- COMMAND", shell_complete=SCENARIO_IDS)
@click.option("--good", required=True, metavar="REVISION", help="Where it was right.")
@click.option("--bad", required=True, metavar="REVISION", help="Where it is wrong.")
@click.option(
    "--kdir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    envvar="KDIR",
    help="The kernel tree, a git checkout.  [default: where you are, or $KDIR]",
)
@click.option(
    "--module",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Bisect the repository of the external module in this directory instead; the kernel stays. "
    "A commit is bad if the audit of COMMAND finds something.",
)
@click.option("--policy", type=click.Choice(sorted(POLICIES)), help="With --module: what the controller's driver does.")
@kernel_options
@output_options("table", "json")
def command(
    words: tuple[str, ...],
    good: str,
    bad: str,
    kdir: Path,
    module: Path | None,
    policy: str | None,
    kernel: KernelChoice,
    output: Output,
) -> int:
    """Find the commit since which SCENARIO fails, or COMMAND with the module under test is found guilty.

    Each step builds, boots and judges in a worktree of its own; yours is not touched. A commit that does not build, or
    whose verdict is INCONCLUSIVE, is skipped, never called good or bad. Both ends are tried first.

    Exit status: 0 found, 2 not.
    """
    machine = Job(kernel.configuration, kernel.arch, kernel.accel)
    if module is None:
        tree, job = _kernel_job(kdir, words, policy, machine)
    else:
        tree, job = _module_job(module, words, replace(machine, policy=policy, kernel_source=kernel.source))
    found = bisect(tree, good, bad, job, _tell)
    output.show(table=lambda: _table(found), json=lambda: _to_json(found))
    return 0


def _kernel_job(kdir: Path, words: tuple[str, ...], policy: str | None, machine: Job) -> tuple[Path, Job]:
    if not words:
        raise CliError("name the scenario that goes wrong: heap/master_recv/virtio/8, say (see 'dmasafe list')")
    if policy is not None:
        raise CliError("--policy goes with --module: a scenario names its policy itself")
    select(words)
    tree_version(kdir)
    return top(kdir), replace(machine, scenarios=words)


def _module_job(module: Path, words: tuple[str, ...], machine: Job) -> tuple[Path, Job]:
    if not words:
        raise CliError("give the COMMAND that uses the module in the guest, after --")
    tree = top(module)
    inside = module.resolve().relative_to(tree.resolve())
    line = words[0] if len(words) == 1 else shlex.join(words)
    return tree, replace(machine, module=str(inside), command=line)


def _tell(step: Step) -> None:
    click.echo(f"{step.commit[:12]} {step.word.name:<4} {step.seconds:6.1f} s  {one_line(step.why)[:300]}", err=True)


def _to_json(found: Found) -> dict[str, object]:
    steps = [
        {
            "commit": step.commit,
            "verdict": step.word.name.lower(),
            "why": step.why,
            "seconds": round(step.seconds, 3),
        }
        for step in found.steps
    ]
    return {"schema": 1, "commit": found.commit, "subject": found.subject, "steps": steps}


def _table(found: Found) -> Iterator[str]:
    yield f"first bad commit: {found.commit} {one_line(found.subject)}"
    bad = [step for step in found.steps if step.commit == found.commit]
    if bad:
        yield f"  {one_line(bad[-1].why)}"
    yield f"{plural(len(found.steps), 'commit')} tried"
