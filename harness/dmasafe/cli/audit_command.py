# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe audit``: every I2C message of a running kernel, what memory its buffer is, and who sent it."""

from __future__ import annotations

import dataclasses
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from dmasafe import kernel as kernels
from dmasafe.audit import DEFAULT_BOUNCE_BYTES, AuditError, Judgement, Record, judge, merge
from dmasafe.cli.board import BoardArguments, board_options, open_board, split_target
from dmasafe.cli.options import SCENARIO_IDS, CliError, kernel_options, suite_option
from dmasafe.cli.output import Output, output_options
from dmasafe.dmesg import Symbols
from dmasafe.expect import expect
from dmasafe.facts import KernelInfo
from dmasafe.outcome import Expectation, Frame, Skip
from dmasafe.progress import Progress
from dmasafe.report import audit as render
from dmasafe.report.progress import ProgressDisplay
from dmasafe.report.text import visible
from dmasafe.scenario import POLICIES, Scenario, select, suite
from dmasafe.targets import audit as auditing
from dmasafe.targets.boot import Boot
from dmasafe.targets.prepare import Prepared, prepare
from dmasafe.targets.qemu import QemuTarget
from dmasafe.targets.session import KMSG_LOG, Session

DEFAULT_TIMEOUT_S = 60.0
# Frames get their lines from it.
_CFLAGS = ("-g",)


@dataclass(frozen=True)
class _Wanted:
    """What to audit, from the command line."""

    command: str | None
    scenarios: tuple[Scenario, ...]
    seconds: float | None
    timeout_s: float
    modules: tuple[Path, ...]
    policy: str | None
    rows: int

    @property
    def workload(self) -> auditing.Workload:
        if self.command is not None:
            return auditing.running(self.command, self.timeout_s)
        return auditing.waiting(self.seconds)


@dataclass
class _Objects:
    """What names files and lines: objects with debug information, and what their sources are known by."""

    vmlinux: Path | None = None
    modules: dict[str, Path] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    under_test: list[Path] = field(default_factory=list)

    def symbols(self) -> Symbols:
        return Symbols(self.vmlinux, self.modules)

    def named(self, record: Record) -> Record:
        """The record with the sources' own names instead of those of copies."""
        kinds = (dataclasses.replace(kind, frames=tuple(map(self._frame, kind.frames))) for kind in record.kinds)
        return dataclasses.replace(record, kinds=tuple(kinds))

    def _frame(self, frame: Frame) -> Frame:
        for copy, source in self.places.items():
            if frame.file is not None and frame.file.startswith(copy):
                return dataclasses.replace(frame, file=source + frame.file.removeprefix(copy))
        return frame


@click.command(
    name="audit",
    epilog="Examples: dmasafe audit --suite smoke | "
    "dmasafe audit --target local --bus 1 --seconds 60 | dmasafe audit --policy pio --module drivers/mine -- "
    "'echo mine 0x48 > /sys/bus/i2c/devices/i2c-$DMASAFE_BUS/new_device'",
)
@click.argument("words", nargs=-1, metavar="[-- COMMAND]...")
@click.option(
    "--target",
    metavar="TARGET",
    default="qemu",
    show_default=True,
    help="Where to look: qemu, local, ssh:[USER@]HOST[:PORT], serial:DEVICE[@BAUD], labgrid:PLACE.",
)
@suite_option("The workload is a named suite (QEMU only).")
@click.option(
    "--scenario",
    "patterns",
    metavar="PATTERN",
    multiple=True,
    shell_complete=SCENARIO_IDS,
    help="QEMU: the workload is what 'dmasafe run PATTERN' runs (again for more).",
)
@click.option("--seconds", metavar="N", type=click.FloatRange(min=0, min_open=True), help="Watch for so long.")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    help="Seconds that COMMAND may take.",
)
@click.option(
    "--module",
    "modules",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="QEMU: build the external module in DIR and load it first (again for more).",
)
@click.option("--policy", type=click.Choice(sorted(POLICIES)), help="What the emulated controller's driver does.")
@click.option(
    "--bounce-from",
    "bounce_bytes",
    metavar="N",
    type=click.IntRange(min=1),
    default=DEFAULT_BOUNCE_BYTES,
    show_default=True,
    help="From how many bytes on a missing mark is noted.",
)
@click.option(
    "--rows",
    metavar="N",
    type=click.IntRange(8, 65536),
    default=auditing.DEFAULT_ROWS,
    show_default=True,
    help="How many kinds of messages can be told apart.",
)
@click.option("--strict", is_flag=True, help="A note counts as a finding.")
@click.option(
    "--vmlinux",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Board: name files and lines with this kernel.",
)
@click.option(
    "--modules",
    "module_directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Board: likewise, the directory with its .ko files.",
)
@board_options
@kernel_options
@output_options("table", "json", "sarif", also={"--sarif": "sarif"})
def command(
    words: tuple[str, ...],
    target: str,
    suite_name: str | None,
    patterns: tuple[str, ...],
    seconds: float | None,
    timeout_s: float,
    modules: tuple[Path, ...],
    policy: str | None,
    bounce_bytes: int,
    rows: int,
    strict: bool,
    vmlinux: Path | None,
    module_directory: Path | None,
    kernel_source: str,
    configuration: str,
    arch: str,
    accel: str | None,
    output: Output,
    **board: Any,
) -> int:
    """Watch every I2C message while COMMAND, a suite or nothing special runs: whose buffers may DMA not touch?

    The controller need not do DMA. One word of COMMAND is a line for the shell, several are a program and its
    arguments. Without COMMAND, scenarios and --seconds it watches until Ctrl-C.

    Exit status: 0 nothing found, 1 findings, 2 the audit cannot be trusted.
    """
    kind, rest = split_target(target)
    scenarios = (*(suite(suite_name) if suite_name is not None else ()), *select(patterns))
    wanted = _wanted(words, scenarios, seconds, timeout_s, modules, policy, rows, kind)
    with tempfile.TemporaryDirectory(prefix="dmasafe-") as temporary, ProgressDisplay() as progress:
        logs = Path(temporary)
        if kind == "qemu":
            prepared = prepare(kernel_source, configuration, arch, accel, progress, extra_modules=auditing.SOURCES)
            kernel, objects = prepared.kernel, _objects(prepared, wanted.modules, progress)
            outcome = _in_guest(prepared, wanted, objects, logs, progress)
        else:
            kernel, outcome = _on_board(kind, rest, BoardArguments(**board), wanted, logs, progress)
            objects = _board_objects(vmlinux, module_directory)
        progress.stage("names and lines")
        outcome = _with_lines(outcome, objects)
    judgement = judge(outcome.record, kernel.release, bounce_bytes)
    facts = dataclasses.asdict(kernel)
    output.show(
        table=lambda: _table(outcome, judgement, strict),
        json=lambda: render.to_json(outcome.record, judgement, outcome.splats, facts, strict, outcome.status),
        sarif=lambda: render.to_sarif(judgement),
    )
    return render.status(judgement, outcome.splats, strict)


def _wanted(
    words: Sequence[str],
    scenarios: tuple[Scenario, ...],
    seconds: float | None,
    timeout_s: float,
    modules: tuple[Path, ...],
    policy: str | None,
    rows: int,
    kind: str,
) -> _Wanted:
    if (bool(words) + bool(scenarios) + (seconds is not None)) > 1:
        raise CliError("give a COMMAND, scenarios (--suite, --scenario) or --seconds: one of them")
    if kind == "model":
        raise CliError("the model has no kernel that could be audited: --target qemu, or a board")
    if kind != "qemu" and (scenarios or modules or policy):
        raise CliError("scenarios, --module and --policy are for the guest in QEMU: on a board, run what you run there")
    if scenarios and (modules or policy):
        raise CliError("scenarios say themselves what runs: --module and --policy go with a COMMAND or --seconds")
    line = None
    if words:
        line = words[0] if len(words) == 1 else shlex.join(words)
    return _Wanted(line, scenarios, seconds, timeout_s, modules, policy, rows)


# ---- in QEMU


def _objects(prepared: Prepared, directories: Sequence[Path], progress: Progress) -> _Objects:
    """Build with debug information what may call: our own client, and the modules under test."""
    store = kernels.open_cache()
    images = kernels.project_root() / "images"
    # Reading a whole kernel takes seconds: only if there is something to find.
    found = _Objects(prepared.build.vmlinux if prepared.facts.has("DEBUG_INFO") else None)
    found.places[f"{(prepared.build.build_dir / 'source').resolve()}/"] = ""
    for directory in (images / "modules", *directories):
        if not directory.is_dir():
            raise CliError(f"there is no module directory {directory}")
        for module in kernels.build_modules(prepared.build, directory, store, progress, cflags=_CFLAGS):
            found.modules[module.stem.replace("-", "_")] = module
            copy = next(parent for parent in module.parents if parent.name == "src")
            found.places[f"{copy}/"] = f"{directory}/" if directory in directories else "images/modules/"
            if directory in directories:
                found.under_test.append(module)
    return found


def _in_guest(
    prepared: Prepared, wanted: _Wanted, objects: _Objects, logs: Path, progress: Progress
) -> auditing.Outcome:
    if wanted.scenarios:
        return _run(prepared, wanted.scenarios, wanted.rows, logs, progress)
    progress.stage("boot")
    with (logs / KMSG_LOG).open("wb") as kmsg_log, Boot(prepared.image, logs, kmsg_log) as boot:
        boot.prepare()
        if wanted.policy is not None:
            _set_policy(boot, wanted.policy)

        def before(session: Session) -> None:
            for file in objects.under_test:
                auditing.load(session, file)

        module = f"/modules/{auditing.MODULE}.ko"
        return auditing.audit(boot, module, wanted.workload, progress, wanted.rows, before)


def _set_policy(session: Session, policy: str) -> None:
    """By a scenario that does nothing: the agent keeps account of what is set."""
    line = "op=predicates buffer=heap len=8"
    session.send({"op": "run", "seq": 0, "adapter": "dmasafe", "set": f"policy={policy}", "line": line})
    reply = next(iter(session.replies()))
    if not isinstance(reply.get("answer"), dict):
        raise AuditError(f"the controller refuses policy {policy}: {str(reply.get('error', reply))[:200]}")


def _run(
    prepared: Prepared, scenarios: Sequence[Scenario], rows: int, logs: Path, progress: Progress
) -> auditing.Outcome:
    audited = auditing.Audited(rows)
    target = QemuTarget(prepared.image, prepared.kernel, prepared.facts, logs, boots=audited.boot)
    expectations = {scenario: expect(scenario, target.facts()) for scenario in scenarios}
    possible = [scenario for scenario, found in expectations.items() if not isinstance(found, Skip)]
    if not possible:
        raise CliError("none of these scenarios can exist on this target: 'dmasafe run' says why")
    destructive = frozenset(
        scenario.id for scenario, found in expectations.items() if isinstance(found, Expectation) and found.destructive
    )
    run = target.run(possible, destructive, progress)
    # What a scenario provoked is judged by 'dmasafe run'; here it counts only whether its messages were seen.
    if not audited.records:
        raise AuditError(f"no boot came to its end: {next(iter((*audited.incomplete, *run.notes)), 'none was made')}")
    return auditing.Outcome(merge(audited.records, audited.incomplete))


# ---- on a board


def _on_board(
    kind: str, rest: str, arguments: BoardArguments, wanted: _Wanted, logs: Path, progress: Progress
) -> tuple[KernelInfo, auditing.Outcome]:
    with (
        open_board(kind, rest, arguments, logs, progress, auditing.SOURCES) as board,
        (logs / KMSG_LOG).open("wb") as kmsg_log,
        board.session(kmsg_log) as session,
    ):
        session.prepare()
        module = f"{session.directory}/{auditing.MODULE}.ko"
        return board.kernel, auditing.audit(session, module, wanted.workload, progress, wanted.rows)


def _board_objects(vmlinux: Path | None, directory: Path | None) -> _Objects:
    objects = _Objects(vmlinux)
    if directory is not None:
        objects.modules = {path.stem: path for path in directory.rglob("*.ko")}
    return objects


# ---- the end


def _with_lines(outcome: auditing.Outcome, objects: _Objects) -> auditing.Outcome:
    symbols = objects.symbols()
    record = objects.named(auditing.with_lines(outcome.record, symbols))
    return dataclasses.replace(outcome, record=record, splats=auditing.splats_with_lines(outcome.splats, symbols))


def _table(outcome: auditing.Outcome, judgement: Judgement, strict: bool) -> Iterator[Text | Table]:
    if outcome.output:
        yield Text(visible(outcome.output.rstrip("\n")))
    yield render.table(outcome.record, judgement)
    yield from render.lines(outcome.record, judgement, outcome.splats, strict)
