# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe findings``: what upstream does wrong, reproduced on the kernels at hand, and the page that says so."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from dmasafe.architecture import DEFAULT_ARCH
from dmasafe.cli.options import completing
from dmasafe.cli.output import Output, output_options
from dmasafe.devices.errors import DevicesError
from dmasafe.dmesg.symbols import Symbols
from dmasafe.expect.clients import parse_client_scenario
from dmasafe.facts import KernelInfo
from dmasafe.findings import Evidence, Finding, Proof, Report, from_program, from_rows, load, to_json, to_markdown
from dmasafe.findings.catalogue import PROGRAMS
from dmasafe.guest import GuestError
from dmasafe.guest.ssh import SshLink, SshOptions, parse_address
from dmasafe.outcome import Splat
from dmasafe.progress import Progress
from dmasafe.report.progress import ProgressDisplay
from dmasafe.report.text import one_line
from dmasafe.scenario import select
from dmasafe.targets.clients import MODULES, run_clients
from dmasafe.targets.errors import TargetError
from dmasafe.targets.judged import run_and_judge
from dmasafe.targets.machine import BoardGuest, board_image
from dmasafe.targets.prepare import Prepared, prepare
from dmasafe.targets.qemu import QemuTarget

# Oldest first: the page quotes the last.
KERNELS = ("apt:linux-source-6.12", "apt:linux-source-7.2")
PROGRAM_TIMEOUT_S = 60.0
_DIRECTORY = "/tmp"


@click.command(name="findings", epilog="Examples: dmasafe findings | dmasafe findings osif-callers-buffer")
@click.argument(
    "wanted", nargs=-1, metavar="[FINDING]...", shell_complete=completing(lambda: [each.id for each in load()])
)
@click.option("--list", "only_list", is_flag=True, help="Only say what is in the catalogue; nothing is run.")
@click.option(
    "--kernel", "sources", metavar="SOURCE", multiple=True, default=KERNELS, show_default=True,
    help="Where to look; may be repeated, oldest first.",
)  # fmt: skip
@output_options("table", "json", "markdown", also={"--json": "json"})
def command(wanted: tuple[str, ...], only_list: bool, sources: tuple[str, ...], output: Output) -> int:
    """Reproduce the findings of the catalogue (all of them, or those named) and list what was reproduced.

    Exit status: 0 every one was reproduced, 1 one was not, 2 one of them cannot be told.
    """
    findings = load(wanted)
    if only_list:
        output.show(
            table=lambda: _catalogue(findings),
            markdown=lambda: to_markdown(Report(()), findings),
            json=lambda: [
                {"id": one.id, "rule": one.rule, "where": one.where, "config": one.proof.config} for one in findings
            ],
        )
        return 0
    with ProgressDisplay() as progress:
        report = Report(tuple(each for source in sources for each in _on_kernel(source, findings, progress)))
    output.show(
        table=lambda: _table(report), json=lambda: to_json(report), markdown=lambda: to_markdown(report, findings)
    )
    return report.status


def _on_kernel(source: str, findings: Sequence[Finding], progress: Progress) -> list[Evidence]:
    """The evidence of one kernel, in the order of the findings; one run for all scenarios of a configuration."""
    found: dict[str, Evidence] = {}
    rest = [finding for finding in findings if finding.concerns(source)]
    for config in dict.fromkeys(finding.proof.config for finding in rest):
        group = [finding for finding in rest if finding.proof.config == config]
        for clients in (False, True):
            rows = [finding for finding in group if finding.proof.witnesses and bool(finding.proof.client) is clients]
            found |= _by_rows(source, config, rows, clients, progress) if rows else {}
        for finding in group:
            if finding.proof.program:
                found[finding.id] = _by_program(source, finding, progress)
    return [found[finding.id] for finding in rest]


def _by_rows(
    source: str, config: str, findings: Sequence[Finding], clients: bool, progress: Progress
) -> Mapping[str, Evidence]:
    prepared = prepare(source, config, DEFAULT_ARCH, None, progress, extra_modules=MODULES if clients else None)
    names = list(dict.fromkeys(witness.scenario for finding in findings for witness in finding.proof.witnesses))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dmasafe-") as logs:
        if clients:
            wanted = [parse_client_scenario(name) for name in names]
            results, _records = run_clients(prepared, wanted, Path(logs), progress, started)
        else:
            target = QemuTarget(prepared.image, prepared.kernel, prepared.facts, Path(logs))
            results = run_and_judge(target, select(names), "findings", progress, started)
    lines = _Lines.of(prepared)
    return {finding.id: lines.named(from_rows(finding, results, source)) for finding in findings}


def _by_program(source: str, finding: Finding, progress: Progress) -> Evidence:
    board = board_image(progress, DEFAULT_ARCH, source, finding.proof.config, extra_modules=finding.proof.modules)
    kernel = KernelInfo(board.kernel.release, DEFAULT_ARCH, finding.proof.config, board.kernel.source)
    progress.stage(f"reproducing {finding.id}")
    with tempfile.TemporaryDirectory(prefix="dmasafe-") as logs:
        try:
            output = _run_program(board, Path(logs), finding.proof)
        except (GuestError, TargetError, DevicesError) as error:
            return Evidence(finding, kernel, source, None, one_line(str(error)))
    return _Lines(board.build.vmlinux).named(from_program(finding, kernel, output, source))


def _run_program(board: Prepared, logs: Path, proof: Proof) -> str:
    name, *arguments = proof.program
    programs = {path.name: path.read_bytes() for path in PROGRAMS.glob("*.py")}
    with BoardGuest(board, logs) as guest:
        if proof.slaves:
            guest.device.plug(dict(proof.slaves))
        address = parse_address(f"{guest.user}@{guest.host}:{guest.port}")
        link = SshLink(address, SshOptions(guest.known_hosts, guest.identity))
        words = [guest.functions.get(argument, argument) for argument in arguments]
        with closing(link):
            link.upload(programs, _DIRECTORY)
            return link.command(f"python3 {_DIRECTORY}/{name} {' '.join(words)}", PROGRAM_TIMEOUT_S).output


@dataclass(frozen=True)
class _Lines:
    """Files and lines for the frames of a kernel's reports."""

    vmlinux: Path

    @classmethod
    def of(cls, prepared: Prepared) -> _Lines:
        return cls(prepared.build.vmlinux)

    def named(self, evidence: Evidence) -> Evidence:
        splats: list[Splat] = Symbols(self.vmlinux, {}).resolve(evidence.splats)
        return replace(evidence, splats=tuple(splats))


def _catalogue(findings: Iterable[Finding]) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("finding", "rule", "where", "configuration"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(finding.id, finding.rule, Text(finding.where), finding.proof.config)
    return table


def _table(report: Report) -> Table:
    words = {True: "reproduced", False: "NOT reproduced", None: "INCONCLUSIVE"}
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("finding", "kernel", "", "why"):
        table.add_column(heading, overflow="fold")
    for each in report.evidence:
        table.add_row(each.finding.id, each.kernel.release, words[each.reproduced], Text(one_line(each.why)))
    return table
