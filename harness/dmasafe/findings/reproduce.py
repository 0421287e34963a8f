# SPDX-License-Identifier: GPL-2.0-or-later
"""Reproducing findings: their scenarios, client drivers and programs on the kernels at hand."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dmasafe import scratch
from dmasafe.architecture import REFERENCE_ARCH
from dmasafe.devices.errors import DevicesError
from dmasafe.dmesg.symbols import Symbols
from dmasafe.expect.clients import parse_client_scenario
from dmasafe.facts import KernelInfo
from dmasafe.findings.catalogue import PROGRAMS, Finding, Proof
from dmasafe.findings.evidence import Evidence, Report, from_program, from_rows, gone_from_program, gone_from_rows
from dmasafe.guest import GuestError
from dmasafe.guest.ssh import SshLink, SshOptions, parse_address
from dmasafe.kernel import Kernel, NotBuilt
from dmasafe.progress import Progress
from dmasafe.report.results import Results
from dmasafe.report.text import one_line
from dmasafe.scenario import select
from dmasafe.targets.clients import MODULES, run_clients
from dmasafe.targets.errors import TargetError
from dmasafe.targets.judged import run_and_judge
from dmasafe.targets.machine import BoardGuest, board_image
from dmasafe.targets.prepare import Prepared, prepare
from dmasafe.targets.qemu import QemuTarget

PROGRAM_TIMEOUT_S = 60.0
#: For what a program waits for to happen, and does not with a patch.
GONE_TIMEOUT_S = 900.0
_DIRECTORY = "/tmp"


def reproduce(findings: Sequence[Finding], sources: Iterable[str], progress: Progress) -> Report:
    """Try each finding on each of these kernels that it concerns. Raises KernelError, QemuError, TargetError."""
    return Report(tuple(each for source in sources for each in _on_kernel(source, findings, progress)))


def _on_kernel(source: str, findings: Sequence[Finding], progress: Progress) -> list[Evidence]:
    """The evidence of one kernel, in the order of the findings; one run for all scenarios of a configuration."""
    found: dict[str, Evidence] = {}
    rest = [finding for finding in findings if finding.concerns(source)]
    for where in dict.fromkeys(map(where_of, rest)):
        group = [finding for finding in rest if where_of(finding) == where]
        for clients in (False, True):
            rows = [finding for finding in group if finding.proof.rows and bool(finding.proof.client) is clients]
            with _what_is_not_built(source, rows, found):
                found |= by_rows(source, where, rows, clients, progress) if rows else {}
        for finding in group:
            if finding.proof.program:
                with _what_is_not_built(source, [finding], found):
                    found[finding.id] = by_program(source, finding, progress)
    return [found[finding.id] for finding in rest]


class Where(NamedTuple):
    """What is booted: findings that agree in it share a run."""

    config: str
    arch: str
    cmdline: tuple[str, ...]


def where_of(finding: Finding) -> Where:
    """What has to be booted for it."""
    return Where(finding.proof.config, finding.proof.arch, finding.proof.cmdline)


@contextmanager
def _what_is_not_built(source: str, findings: Sequence[Finding], found: dict[str, Evidence]) -> Iterator[None]:
    """Within, a kernel that may not be built makes these findings inconclusive, and costs the others nothing."""
    try:
        yield
    except NotBuilt as error:
        for finding in findings:
            kernel = KernelInfo(source, finding.proof.arch, finding.proof.config, source)
            found[finding.id] = Evidence(finding, kernel, source, None, str(error))


def by_rows(
    source: str,
    where: Where,
    findings: Sequence[Finding],
    clients: bool,
    progress: Progress,
    patched: Kernel | None = None,
) -> Mapping[str, Evidence]:
    """The evidence of findings that scenarios or clients show; with ``patched``, of their being gone."""
    names = list(dict.fromkeys(row.scenario for finding in findings for row in finding.proof.rows))
    results, symbols = run_rows(source, where, names, clients, progress, patched)
    judged = from_rows if patched is None else gone_from_rows
    return {finding.id: _with_lines(judged(finding, results, source), symbols) for finding in findings}


def run_rows(
    source: str, where: Where, names: Sequence[str], clients: bool, progress: Progress, patched: Kernel | None = None
) -> tuple[Results, Symbols]:
    """Scenarios, or phases of clients, on the kernel of this source, or on ``patched``, which was made from it.

    Raises KernelError, QemuError, TargetError; KeyboardInterrupt after Ctrl-C, which a run else survives.
    """
    modules = MODULES if clients else None
    prepared = prepare(
        source, where.config, where.arch, None, progress, where.cmdline, extra_modules=modules, patched=patched
    )
    started = time.monotonic()
    with scratch.directory() as logs:
        if clients:
            wanted = [parse_client_scenario(name) for name in names]
            results, _records = run_clients(prepared, wanted, logs, progress, started)
        else:
            target = QemuTarget(prepared.image, prepared.kernel, prepared.facts, logs)
            results = run_and_judge(target, select(names), "findings", progress, started)
    if any(note.startswith("interrupted by ") for note in results.notes):
        # What a run keeps of its results is not asked for here.
        raise KeyboardInterrupt
    return results, Symbols(prepared.build.vmlinux, {})


def by_program(source: str, finding: Finding, progress: Progress, patched: Kernel | None = None) -> Evidence:
    """The evidence of a finding that a program shows; with ``patched``, of its being gone."""
    config, modules = finding.proof.config, finding.proof.modules
    board = board_image(progress, REFERENCE_ARCH, source, config, extra_modules=modules, patched=patched)
    kernel = KernelInfo(board.kernel.release, REFERENCE_ARCH, config, board.kernel.source)
    progress.stage(f"reproducing {finding.id}")
    with scratch.directory() as logs:
        try:
            patience_s = PROGRAM_TIMEOUT_S if patched is None else GONE_TIMEOUT_S
            output = _run_program(board, logs, finding.proof, patience_s)
        except (GuestError, TargetError, DevicesError) as error:
            return Evidence(finding, kernel, source, None, one_line(str(error)))
    judged = from_program if patched is None else gone_from_program
    return _with_lines(judged(finding, kernel, output, source), Symbols(board.build.vmlinux, {}))


def _run_program(board: Prepared, logs: Path, proof: Proof, patience_s: float) -> str:
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
            return link.command(f"python3 {_DIRECTORY}/{name} {' '.join(words)}", patience_s).output


def _with_lines(evidence: Evidence, symbols: Symbols) -> Evidence:
    return replace(evidence, splats=tuple(symbols.resolve(evidence.splats)))
