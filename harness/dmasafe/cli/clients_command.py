# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe clients``: upstream's client drivers on the emulated controllers, from probe to removal."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import click

from dmasafe import scratch
from dmasafe.audit import AuditError, Record, merge
from dmasafe.audit import judge as judge_audit
from dmasafe.cli.options import CliError, completing, kernel_options
from dmasafe.cli.output import Output, output_options, results_option
from dmasafe.cli.results import RESULT_FORMATS, conclude
from dmasafe.expect.client_drivers import CLIENT_DRIVERS, Phase
from dmasafe.expect.clients import DEFAULT_PLACES, ClientScenario, Place, parse_client, parse_place
from dmasafe.report import audit as render_audit
from dmasafe.report import directory
from dmasafe.report.console import console_for
from dmasafe.report.progress import ProgressDisplay
from dmasafe.targets.boot import CONSOLE_LOG
from dmasafe.targets.clients import MODULES, run_clients
from dmasafe.targets.interrupt import interrupt_once
from dmasafe.targets.prepare import KernelChoice, Prepared, prepare
from dmasafe.targets.session import KMSG_LOG

CONFIGURATION = "upstream"


@click.command(
    name="clients",
    # Its clients and their drivers are in no other configuration.
    context_settings={"default_map": {"configuration": CONFIGURATION}},
    epilog="Examples: dmasafe clients | dmasafe clients --kernel apt:linux-source-7.2 ad5110 i2c_hid_of | "
    "dmasafe clients --place dmasafe:bounce --place osif --messages",
)
@click.argument("names", nargs=-1, metavar="[CLIENT]...", shell_complete=completing(lambda: CLIENT_DRIVERS))
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
    kernel: KernelChoice,
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
    with interrupt_once(), scratch.directory() as logs:
        with ProgressDisplay() as progress:
            prepared = prepare(*kernel, progress, extra_modules=MODULES)
            results, records = run_clients(prepared, wanted, logs, progress, started)
        status = conclude(results, out, _joined(logs, CONSOLE_LOG), _joined(logs, KMSG_LOG), output)
    _tell_messages(records, prepared, messages, audit_file)
    return status


def _wanted(names: Sequence[str], places: Sequence[str], phases: Sequence[str]) -> list[ClientScenario]:
    rows = [parse_client(name) for name in dict.fromkeys(names)] or list(CLIENT_DRIVERS.values())
    where: Sequence[Place] = [parse_place(text) for text in dict.fromkeys(places)] or DEFAULT_PLACES
    what = [Phase(phase) for phase in Phase if not phases or phase in phases]
    return [ClientScenario(row, phase, place) for place in where for row in rows for phase in what]


def _joined(logs: Path, name: str) -> bytes:
    """The log of every boot, in their order."""
    return b"".join(path.read_bytes() for path in sorted(logs.glob(f"boot-*/{name}")))


def _tell_messages(records: Sequence[Record], prepared: Prepared, shown: bool, file: Path | None) -> None:
    if not records or not (shown or file is not None):
        return
    record = merge(records)
    judgement = judge_audit(record, prepared.kernel.release)
    if shown:
        console_for().print(render_audit.table(record, judgement))
    if file is not None:
        text = render_audit.to_json(record, judgement, (), dataclasses.asdict(prepared.kernel), False)
        try:
            file.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise AuditError(f"cannot write {file}: {error.strerror}") from error
