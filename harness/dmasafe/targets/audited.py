# SPDX-License-Identifier: GPL-2.0-or-later
"""Audits from end to end: what boots or a board, one session with the audit's module, files and lines for its record.

targets/audit.py has the session's part, dmasafe/audit.py what the record means.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dmasafe import kernel as kernels
from dmasafe.audit import AuditError, MessageKind, Record, merge
from dmasafe.dmesg import Symbols, known_as
from dmasafe.outcome import Expectation, Skip, Splat
from dmasafe.progress import Progress
from dmasafe.scenario import Scenario
from dmasafe.targets.audit import (
    DEFAULT_ROWS,
    MODULE,
    Audited,
    Outcome,
    Workload,
    audit,
    load_all,
    running,
    splats_with_lines,
    waiting,
    with_lines,
)
from dmasafe.targets.boot import Boot
from dmasafe.targets.judged import expectation_at
from dmasafe.targets.prepare import Prepared
from dmasafe.targets.qemu import QemuTarget
from dmasafe.targets.session import KMSG_LOG, Session

if TYPE_CHECKING:
    from dmasafe.targets.board import BoardTarget

T = TypeVar("T", MessageKind, Splat)
DEFAULT_TIMEOUT_S = 60.0
# Frames get their lines from it.
_CFLAGS = ("-g",)


@dataclass(frozen=True)
class AuditTask:
    """What to audit: scenarios, or what ``command`` does, or what happens in ``seconds`` (None: until Ctrl-C).

    ``modules`` are directories of external modules, built and loaded first. ``rows`` is the size of the record.
    """

    command: str | None = None
    scenarios: tuple[Scenario, ...] = ()
    seconds: float | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    modules: tuple[Path, ...] = ()
    policy: str | None = None
    rows: int = DEFAULT_ROWS

    @property
    def workload(self) -> Workload:
        if self.command is not None:
            return running(self.command, self.timeout_s)
        return waiting(self.seconds)


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
        return dataclasses.replace(record, kinds=tuple(map(self.renamed, record.kinds)))

    def renamed(self, traced: T) -> T:
        """A kind of message or a splat likewise."""
        return dataclasses.replace(traced, frames=tuple(known_as(frame, self.places) for frame in traced.frames))


def audit_guest(prepared: Prepared, task: AuditTask, logs: Path, progress: Progress) -> Outcome:
    """Boot a guest that was prepared with SOURCES, and audit it. Raises AuditError, KernelError, TargetError."""
    objects = _objects(prepared, task.modules, progress)
    outcome = _in_guest(prepared, task, objects, logs, progress)
    progress.stage("names and lines")
    return _with_lines(outcome, objects)


def audit_board(
    board: BoardTarget, task: AuditTask, vmlinux: Path | None, modules: Path | None, logs: Path, progress: Progress
) -> Outcome:
    """Audit a board that was opened with SOURCES; frames get lines from ``vmlinux`` and the .ko files in ``modules``.

    Raises AuditError, TargetError.
    """
    with (logs / KMSG_LOG).open("wb") as kmsg_log, board.session(kmsg_log) as session:
        session.prepare()
        outcome = audit(session, f"{session.directory}/{MODULE}.ko", task.workload, progress, task.rows)
    progress.stage("names and lines")
    found = {path.stem: path for path in modules.rglob("*.ko")} if modules is not None else {}
    return _with_lines(outcome, _Objects(vmlinux, found))


def _objects(prepared: Prepared, directories: Sequence[Path], progress: Progress) -> _Objects:
    """Build with debug information what may call: our own client, and the modules under test."""
    store = kernels.open_cache()
    images = kernels.project_root() / "images"
    # Reading a whole kernel takes seconds: only if there is something to find.
    found = _Objects(prepared.build.vmlinux if prepared.facts.has("DEBUG_INFO") else None)
    found.places[kernels.written_below(prepared.build.build_dir / "source")] = ""
    for directory in (images / "modules", *directories):
        for module in kernels.build_modules(prepared.build, directory, store, progress, cflags=_CFLAGS):
            found.modules[module.stem.replace("-", "_")] = module
            copy = next(parent for parent in module.parents if parent.name == "src")
            found.places[kernels.written_below(copy)] = (
                f"{directory}/" if directory in directories else "images/modules/"
            )
            if directory in directories:
                found.under_test.append(module)
    return found


def _in_guest(prepared: Prepared, wanted: AuditTask, objects: _Objects, logs: Path, progress: Progress) -> Outcome:
    if wanted.scenarios:
        return _run(prepared, wanted.scenarios, wanted.rows, logs, progress)
    progress.stage("boot")
    with (logs / KMSG_LOG).open("wb") as kmsg_log, Boot(prepared.image, logs, kmsg_log) as boot:
        boot.prepare()
        if wanted.policy is not None:
            _set_policy(boot, wanted.policy)

        def before(session: Session) -> None:
            load_all(session, objects.under_test)

        module = f"/modules/{MODULE}.ko"
        return audit(boot, module, wanted.workload, progress, wanted.rows, before)


def _set_policy(session: Session, policy: str) -> None:
    """By a scenario that does nothing: the agent keeps account of what is set."""
    line = "op=predicates buffer=heap len=8"
    session.send({"op": "run", "seq": 0, "adapter": "dmasafe", "set": f"policy={policy}", "line": line})
    reply = next(iter(session.replies()))
    if not isinstance(reply.get("answer"), dict):
        raise AuditError(f"the controller refuses policy {policy}: {str(reply.get('error', reply))[:200]}")


def _run(prepared: Prepared, scenarios: Sequence[Scenario], rows: int, logs: Path, progress: Progress) -> Outcome:
    audited = Audited(rows)
    target = QemuTarget(prepared.image, prepared.kernel, prepared.facts, logs, boots=audited.boot)
    expectations = {scenario: expectation_at(target, scenario) for scenario in scenarios}
    possible = [scenario for scenario, found in expectations.items() if not isinstance(found, Skip)]
    if not possible:
        raise AuditError("none of these scenarios can exist on this target: 'dmasafe run' says why")
    destructive = frozenset(
        scenario.id for scenario, found in expectations.items() if isinstance(found, Expectation) and found.destructive
    )
    run = target.run(possible, destructive, progress)
    # What a scenario provoked is judged by 'dmasafe run'; here it counts only whether its messages were seen.
    if not audited.records:
        raise AuditError(f"no boot came to its end: {next(iter((*audited.incomplete, *run.notes)), 'none was made')}")
    return Outcome(merge(audited.records, audited.incomplete))


def _with_lines(outcome: Outcome, objects: _Objects) -> Outcome:
    symbols = objects.symbols()
    record = objects.named(with_lines(outcome.record, symbols))
    splats = map(objects.renamed, splats_with_lines(outcome.splats, symbols))
    return dataclasses.replace(outcome, record=record, splats=tuple(splats))
