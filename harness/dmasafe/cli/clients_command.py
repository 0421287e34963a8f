# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe clients``: upstream's client drivers on the emulated controllers, from probe to removal."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from dmasafe.audit import AuditError, merge
from dmasafe.audit import judge as judge_audit
from dmasafe.cli.options import CliError, kernel_options
from dmasafe.cli.output import RESULT_FORMATS, Output, output_options, results_option
from dmasafe.expect.client_drivers import CLIENT_DRIVERS, Phase
from dmasafe.expect.clients import DEFAULT_PLACES, ClientScenario, Place, expect_client, parse_client, parse_place
from dmasafe.outcome import Expectation, Skip, judge
from dmasafe.progress import Progress
from dmasafe.report import audit as render_audit
from dmasafe.report import directory, terminal
from dmasafe.report.progress import ProgressDisplay
from dmasafe.report.results import Results, Row, exit_status
from dmasafe.targets import audit, clients
from dmasafe.targets.boot import CONSOLE_LOG
from dmasafe.targets.clients import ClientsRun, Performer
from dmasafe.targets.interrupt import interrupt_deferred
from dmasafe.targets.prepare import Prepared, prepare
from dmasafe.targets.session import KMSG_LOG

SUITE = "clients"
CONFIGURATION = "upstream"
MODULES = (audit.SOURCES, clients.SOURCES)


@click.command(
    name="clients",
    # Its clients and their drivers are in no other configuration.
    context_settings={"default_map": {"configuration": CONFIGURATION}},
    epilog="Examples: dmasafe clients | dmasafe clients --kernel apt:linux-source-7.2 ad5110 i2c_hid_of | "
    "dmasafe clients --place dmasafe:bounce --place osif --messages",
)
@click.argument("names", nargs=-1, metavar="[CLIENT]...")
@click.option(
    "--place",
    "places",
    metavar="PLACE",
    multiple=True,
    help="A controller, as dmasafe:bounce or virtio (again for more).",
)
@click.option(
    "--phase",
    "phases",
    type=click.Choice([str(phase) for phase in Phase]),
    multiple=True,
    help="Only this (again for more).",
)
@click.option("--messages", is_flag=True, help="Also print which messages were sent, and what memory they lie in.")
@click.option(
    "--audit", "audit_file", type=click.Path(path_type=Path), help="Also write the messages as JSON to this file."
)
@results_option
@kernel_options
@output_options(*RESULT_FORMATS, also={"--json": "json"})
def command(
    names: tuple[str, ...],
    places: tuple[str, ...],
    phases: tuple[str, ...],
    messages: bool,
    audit_file: Path | None,
    out: Path,
    kernel_source: str,
    configuration: str,
    arch: str,
    accel: str | None,
    output: Output,
) -> int:
    """Put upstream's client drivers on the emulated controllers, with slaves that satisfy them, and judge each phase.

    Without CLIENT all of them, without --place those controllers where it matters.

    Exit status: 0 all as expected, 1 a FAIL, 2 INCONCLUSIVE or ERROR.
    """
    if messages and (output.form, output.file) != ("table", None):
        raise CliError("--messages adds to the table on the terminal; --audit FILE has the messages as JSON")
    started = time.monotonic()
    wanted = _wanted(names, places, phases)
    directory.prepare(out)
    with tempfile.TemporaryDirectory(prefix="dmasafe-") as temporary:
        logs = Path(temporary)
        with ProgressDisplay() as progress:
            prepared = prepare(kernel_source, configuration, arch, accel, progress, extra_modules=MODULES)
            results, run = perform_and_judge(prepared, wanted, logs, progress, started)
        with interrupt_deferred():
            published = directory.publish(results, out, _joined(logs, CONSOLE_LOG), _joined(logs, KMSG_LOG))
            output.show_results(results, published)
    _tell_messages(run, prepared, messages, audit_file)
    return exit_status(results)


def _wanted(names: Sequence[str], places: Sequence[str], phases: Sequence[str]) -> list[ClientScenario]:
    rows = [parse_client(name) for name in dict.fromkeys(names)] or list(CLIENT_DRIVERS.values())
    where: Sequence[Place] = [parse_place(text) for text in dict.fromkeys(places)] or DEFAULT_PLACES
    what = [Phase(phase) for phase in Phase if not phases or phase in phases]
    return [ClientScenario(row, phase, place) for place in where for row in rows for phase in what]


def perform_and_judge(
    prepared: Prepared, wanted: Sequence[ClientScenario], logs: Path, progress: Progress, started: float
) -> tuple[Results, ClientsRun]:
    """Perform what can exist on this kernel and hold all against its expectations; ``prepared`` has MODULES."""
    expectations = {scenario: expect_client(scenario, prepared.facts) for scenario in wanted}
    run = _perform(prepared, [s for s in wanted if isinstance(expectations[s], Expectation)], logs, progress)
    return _results(prepared, run, expectations, progress, started), run


def _perform(prepared: Prepared, scenarios: Sequence[ClientScenario], logs: Path, progress: Progress) -> ClientsRun:
    if not scenarios:
        return ClientsRun()
    return Performer(prepared.image, prepared.kernel, prepared.facts, logs, progress).perform(scenarios)


def _results(
    prepared: Prepared,
    run: ClientsRun,
    expectations: dict[ClientScenario, Expectation | Skip],
    progress: Progress,
    started: float,
) -> Results:
    rows = tuple(_row(scenario, run, expectation) for scenario, expectation in expectations.items())
    total_s = time.monotonic() - started
    reasons = set(run.untrusted.values())
    return Results(
        suite=SUITE,
        target="qemu",
        kernel=prepared.kernel,
        accel=prepared.image.accelerator,
        canary_splatted=run.canary_splatted,
        rows=rows,
        boot_s=run.boot_s,
        scenarios_s=run.performed_s,
        total_s=total_s,
        stages=progress.stages(),
        reason=next(iter(reasons)) if len(reasons) == 1 and not run.observations else None,
        notes=tuple(run.notes),
    )


def _row(scenario: ClientScenario, run: ClientsRun, expectation: Expectation | Skip) -> Row:
    judgement = judge(expectation, run.observations.get(scenario.id), run.untrusted.get(scenario.id))
    place = scenario.place
    return Row(scenario.id, scenario.client.name, scenario.phase, place.controller, place.policy, 0, judgement)


def _joined(logs: Path, name: str) -> bytes:
    """The log of every boot, in their order."""
    return b"".join(path.read_bytes() for path in sorted(logs.glob(f"boot-*/{name}")))


def _tell_messages(run: ClientsRun, prepared: Prepared, shown: bool, file: Path | None) -> None:
    if not run.records or not (shown or file is not None):
        return
    record = merge(run.records)
    judgement = judge_audit(record, prepared.kernel.release)
    if shown:
        terminal.console_for().print(render_audit.table(record, judgement))
    if file is not None:
        text = render_audit.to_json(record, judgement, (), dataclasses.asdict(prepared.kernel), False)
        try:
            file.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise AuditError(f"cannot write {file}: {error.strerror}") from error
