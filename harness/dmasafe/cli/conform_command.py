# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe conform``: the model compared with a real kernel, on random scenarios; or the checker, on functions."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click

from dmasafe import scratch
from dmasafe.check.programs import LIMITS
from dmasafe.cli.options import SCENARIO_IDS, kernel_options, kernel_words, suite_option
from dmasafe.cli.output import Output, output_options
from dmasafe.facts import KernelFacts
from dmasafe.model.config import Config
from dmasafe.model.predict import cannot_exist
from dmasafe.report.progress import ProgressDisplay
from dmasafe.report.text import one_line
from dmasafe.scenario import Scenario, parse_scenario, suite
from dmasafe.targets import check_conform, conform
from dmasafe.targets.prepare import KernelChoice, prepare
from dmasafe.targets.qemu import QemuTarget

DEFAULT_SCENARIOS = 500
# Longer facets, such as 8192 bytes of data, are cut in the text report; JSON has all of them.
_SHOWN_CHARACTERS = 200
_EXIT_DIFFERENCES = 1
_EXIT_INCONCLUSIVE = 2


@dataclass(frozen=True)
class _Report:
    """What is printed: the comparison with its differences made small, and how long it took."""

    seed: int | None
    wanted: int
    comparison: conform.Comparison
    differences: list[conform.Difference]
    choice: str
    total_s: float

    @property
    def percentage(self) -> float:
        compared = self.comparison.compared
        return 100.0 * (compared - len(self.differences)) / compared if compared else 0.0


@click.command(
    name="conform",
    epilog="Examples: dmasafe conform --scenarios 5000 --seed 7 | dmasafe conform --suite core | "
    "dmasafe conform heap/master_send/virtio/8 | dmasafe conform --config upstream --functions 1000",
)
@click.argument("scenario_ids", nargs=-1, metavar="[SCENARIO]...", shell_complete=SCENARIO_IDS)
@suite_option("A named suite, without what this kernel cannot have.")
@click.option(
    "--scenarios", "count", type=click.IntRange(1), help=f"How many at random.  [default: {DEFAULT_SCENARIOS}]"
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Which ones.")
@click.option(
    "--functions",
    type=click.IntRange(1),
    metavar="N",
    help="Compare 'dmasafe check' instead: N random C functions, checked and run.",
)
@click.option("--shrink/--no-shrink", default=True, show_default=True, help="Make differences small, in more guests.")
@kernel_options
@output_options("table", "json")
def command(
    scenario_ids: tuple[str, ...],
    suite_name: str | None,
    count: int | None,
    seed: int,
    functions: int | None,
    shrink: bool,
    kernel: KernelChoice,
    output: Output,
) -> int:
    """Run the same scenarios on the model and in a guest, and compare every oracle: outcome, splats, return value, data
    at the caller and on the bus, damage, direct or bounced, I2C_M_DMA_SAFE as the adapter saw it.

    With --functions it is the checker that is compared: C functions made at random are judged by 'dmasafe check',
    compiled into a module, and run. SPI needs --config upstream.

    Exit status: 0 all agree, 1 differences, 2 inconclusive.
    """
    started = time.monotonic()
    if sum((bool(scenario_ids), count is not None, suite_name is not None, functions is not None)) > 1:
        raise click.UsageError(
            "name scenarios, or a suite, or draw them with --scenarios, or functions with --functions: one of the four"
        )
    if functions is not None:
        return _functions(functions, seed, kernel, output)
    named = suite(suite_name) if suite_name is not None else [parse_scenario(text) for text in scenario_ids]
    with scratch.directory() as logs, ProgressDisplay() as progress:
        prepared = prepare(*kernel, progress)
        target = QemuTarget(prepared.image, prepared.kernel, prepared.facts, logs)
        if suite_name is not None:
            named = _possible(named, prepared.facts)
        wanted = named or conform.draw(prepared.facts, count or DEFAULT_SCENARIOS, seed)
        comparison = conform.compare(target, wanted, progress)
        total_s = time.monotonic() - started
        differences = list(comparison.differences)
        if shrink:
            differences = conform.shrink_all(target, differences, progress)
    choice = "".join(f" {word}" for word in kernel_words(kernel._replace(accel=None)))
    report = _Report(None if named else seed, len(wanted), comparison, differences, choice, total_s)
    output.show(table=lambda: _table(report), json=lambda: _as_json(report))
    if comparison.inconclusive or not comparison.run.canary_splatted:
        return _EXIT_INCONCLUSIVE
    return _EXIT_DIFFERENCES if differences else 0


def _functions(count: int, seed: int, kernel: KernelChoice, output: Output) -> int:
    started = time.monotonic()
    with scratch.directory() as logs, ProgressDisplay() as progress:
        prepared = prepare(*kernel, progress)
        compared = check_conform.compare(prepared, count, seed, logs, progress)
    total_s = time.monotonic() - started
    output.show(
        table=lambda: _functions_table(compared, seed, total_s),
        json=lambda: _functions_json(compared, seed, total_s),
    )
    if compared.inconclusive:
        return _EXIT_INCONCLUSIVE
    return _EXIT_DIFFERENCES if compared.faults else 0


def _possible(scenarios: list[Scenario], facts: KernelFacts) -> list[Scenario]:
    config = Config.of(facts)
    return [s for s in scenarios if s.fault is None and cannot_exist(s, config) is None]


def _as_json(report: _Report) -> dict[str, object]:
    run = report.comparison.run
    return {
        "schema": 1,
        "kernel": asdict(run.kernel),
        "seed": report.seed,
        "scenarios": report.wanted,
        "compared": report.comparison.compared,
        "agreement_percent": round(report.percentage, 3),
        "inconclusive": dict(report.comparison.inconclusive),
        "durations": {"boot_s": run.boot_s, "scenarios_s": run.scenarios_s, "total_s": report.total_s},
        "differences": [
            {
                "id": d.scenario.id,
                "first": d.first.id,
                "alone": d.alone,
                "known": d.known,
                "fields": list(d.fields),
                "model": d.model,
                "guest": d.guest,
            }
            for d in report.differences
        ],
    }


def _table(report: _Report) -> Iterator[str]:
    run = report.comparison.run
    lot = "named scenarios" if report.seed is None else f"scenarios of seed {report.seed}"
    yield (
        f"{report.wanted:,} {lot} on the model and on Linux {run.kernel.release} {run.kernel.arch}, "
        f"configuration {run.kernel.config}, accelerator {run.accel}"
    )
    for difference in report.differences:
        yield from _told(difference, report.choice)
    reasons: dict[str, list[str]] = {}
    for id_, why in report.comparison.inconclusive.items():
        reasons.setdefault(why, []).append(id_)
    for why, ids in reasons.items():
        yield f"\nINCONCLUSIVE {len(ids)}: {one_line(why)}\n  such as {ids[0]}"
    for note in (*run.kernel.notes, *run.notes):
        yield f"note: {one_line(note)}"
    yield (
        f"\n{report.comparison.compared - len(report.differences):,} of {report.comparison.compared:,} agree "
        f"({report.percentage:.2f} %), {len(report.comparison.inconclusive)} inconclusive; "
        f"boot {run.boot_s:.1f} s, scenarios {run.scenarios_s:.1f} s, total {report.total_s:.1f} s"
    )


def _told(difference: conform.Difference, choice: str) -> Iterator[str]:
    yield f"\nDIFFERENCE dmasafe run '{difference.scenario.id}'{choice}"
    if difference.first.id != difference.scenario.id:
        yield f"  found as {difference.first.id}"
    if difference.alone is False:
        yield "  it shows only after the scenarios before it"
    if difference.known is not None:
        reason = next(row.reason for row in conform.KNOWN if row.name == difference.known)
        yield f"  known: {difference.known}: {reason}"
    for name in difference.fields:
        for side, values in (("model", difference.model), ("guest", difference.guest)):
            text = one_line(values.get(name, ""))
            shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + " ..."
            yield f"  {name:<12}{side}: {shown or '-'}"


def _functions_json(compared: check_conform.Comparison, seed: int, total_s: float) -> dict[str, object]:
    return {
        "schema": 1,
        "kernel": asdict(compared.kernel),
        "seed": seed,
        "functions": compared.compared + len(compared.inconclusive),
        "compared": compared.compared,
        "unsafe": compared.unsafe,
        "inconclusive": dict(compared.inconclusive),
        "durations": {"boot_s": compared.boot_s, "total_s": total_s},
        "differences": [
            {
                "name": one.written.name,
                "made_of": one.written.what,
                "limit": one.limit,
                "why": one.why,
                "checker": [{"level": str(each.level), "rule": each.rule, "kind": each.kind} for each in one.results],
                "runs": [asdict(run) for run in one.runs],
                "text": one.written.text,
            }
            for one in compared.differences
        ],
    }


def _functions_table(compared: check_conform.Comparison, seed: int, total_s: float) -> Iterator[str]:
    kernel = compared.kernel
    yield (
        f"{compared.compared + len(compared.inconclusive):,} functions of seed {seed}, checked, and run on Linux "
        f"{kernel.release} {kernel.arch}, configuration {kernel.config}, accelerator {compared.accel}"
    )
    for one in compared.faults:
        yield f"\nDIFFERENCE {one.written.name} ({one.written.what}): {one.why}"
        yield from (f"  checker: {each.level}: {one_line(each.why)}" for each in one.results)
        yield from (f"  guest: {one_line(run.words)}" for run in one.runs)
        yield from (f"    {line}" for line in one.written.text.expandtabs(4).splitlines())
    for name, reason in LIMITS.items():
        count = sum(1 for one in compared.differences if one.limit == name)
        if count:
            yield f"\nlimit {name}, {count} times: {reason}"
    for why, count in Counter(compared.inconclusive.values()).items():
        yield f"\nINCONCLUSIVE {count}: {one_line(why)}"
    agree = compared.compared - len(compared.differences)
    yield (
        f"\n{agree:,} of {compared.compared:,} agree, {compared.unsafe:,} are unsafe; "
        f"{len(compared.differences) - len(compared.faults)} differ by a limit, {len(compared.faults)} by a fault, "
        f"{len(compared.inconclusive)} inconclusive; boot {compared.boot_s:.1f} s, total {total_s:.1f} s"
    )
