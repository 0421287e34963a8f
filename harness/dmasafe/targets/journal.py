# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run measures, on the disk as it comes: where SIGKILL ended a run, the next one saves its results.

The files are in the run's scratch directory, and go with it if the run ends in any other way. They hold what was seen,
not verdicts: what was to be expected is known only when the machine has told about itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from dmasafe import scratch
from dmasafe.errors import DmasafeError
from dmasafe.expect import expect
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.guest.agent import Message
from dmasafe.outcome import BusMessage, Skip
from dmasafe.progress import SILENT
from dmasafe.report import directory
from dmasafe.report.files import write_bytes
from dmasafe.report.provenance import Provenance, provenance
from dmasafe.report.results import Results
from dmasafe.scenario import Scenario, parse_scenario
from dmasafe.targets.base import Target, TargetRun, unchecked
from dmasafe.targets.boot import CONSOLE_LOG
from dmasafe.targets.judged import judged
from dmasafe.targets.session import KMSG_LOG
from dmasafe.targets.wire import observation

_Kind = TypeVar("_Kind")
_KILLED = "the run was killed"
_MACHINE = "machine.json"
_SEEN = "seen.jsonl"


@dataclass(frozen=True)
class _Run:
    """What was asked for, and where the results would have gone. ``cannot`` says why scenarios are skipped."""

    out: str
    suite: str
    target: str
    scenarios: tuple[str, ...]
    cannot: dict[str, str]
    provenance: Provenance


@dataclass(frozen=True)
class Machine:
    """What it runs on."""

    kernel: KernelInfo
    facts: KernelFacts
    accel: str | None
    qemu: str | None
    canary_splatted: bool


@dataclass(frozen=True)
class Seen:
    """One scenario, as dmasafe.targets.wire.observation() wants it; ``doubt`` is why it cannot be trusted."""

    id: str
    reply: Message
    records: Sequence[str]
    trace: Sequence[BusMessage]
    doubt: str | None


def begin(logs: Path, out: Path, target: Target, scenarios: Sequence[Scenario], suite: str) -> None:
    """Have what will be seen in this run outlive it; ``logs`` is its scratch directory. Raises ReportError."""
    cannot = {scenario.id: why for scenario in scenarios if (why := target.cannot(scenario)) is not None}
    ids = tuple(scenario.id for scenario in scenarios)
    run = _Run(str(out.absolute()), suite, target.name, ids, cannot, provenance(None, None))
    write_bytes(logs / scratch.UNFINISHED, _encode(run))


class Journal:
    """For who performs a run whose scratch directory is ``logs``; does nothing unless begin() was called for it."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs if (logs / scratch.UNFINISHED).exists() else None
        self._machine: Machine | None = None

    def keep(self, machine: Machine, seen: Sequence[Seen]) -> None:
        """Write it behind what is there."""
        if self._logs is None or not seen:
            return
        try:
            if machine != self._machine:
                (self._logs / _MACHINE).write_bytes(_encode(machine))
                self._machine = machine
            with (self._logs / _SEEN).open("ab") as file:
                file.write(b"".join(_encode(one) + b"\n" for one in seen))
        except OSError:
            # Where there is little room, the logs and results have it: a run that is not killed needs nothing of this.
            for name in (scratch.UNFINISHED, _SEEN):
                (self._logs / name).unlink(missing_ok=True)
            self._logs = None


def save_killed() -> Iterator[str]:
    """Publish the results of runs that were killed; a sentence for each. What cannot be saved stays, and is said."""
    for logs in scratch.stale():
        if not (logs / scratch.UNFINISHED).exists():
            continue
        try:
            said = _save(logs)
        except (DmasafeError, OSError, KeyError, msgspec.MsgspecError) as error:
            yield f"a run was killed, and what it had measured cannot be saved: {error}; see {logs}/, or remove it"
            continue
        scratch.remove(logs)
        if said is not None:
            yield said


def _save(logs: Path) -> str | None:
    run = _decode((logs / scratch.UNFINISHED).read_bytes(), _Run)
    if not (logs / _SEEN).exists():
        return None
    machine = _decode((logs / _MACHINE).read_bytes(), Machine)
    # The last line may have been under way.
    *lines, _ = (logs / _SEEN).read_bytes().split(b"\n")
    ended = (logs / _SEEN).stat().st_mtime
    took_s = ended - (logs / scratch.UNFINISHED).stat().st_mtime
    # What is said of one later counts.
    seen = {one.id: one for one in (_decode(line, Seen) for line in lines)}
    results = _results(run, machine, list(seen.values()), took_s)
    published = directory.publish(
        results, Path(run.out), logs / CONSOLE_LOG, logs / KMSG_LOG, datetime.fromtimestamp(ended, UTC)
    )
    count = f"{len(seen):,} of {len(run.scenarios):,} scenarios"
    return f"a run was killed after {count}: what it had measured is in {published}/"


def _results(run: _Run, machine: Machine, seen: Sequence[Seen], took_s: float) -> Results:
    scenarios = [parse_scenario(id_) for id_ in run.scenarios]
    by_id = {scenario.id: scenario for scenario in scenarios}
    memory = machine.facts.running.memory
    expectations = {
        id_: Skip(run.cannot[id_]) if id_ in run.cannot else expect(scenario, machine.facts)
        for id_, scenario in by_id.items()
    }
    doubts = {one.id: one.doubt for one in seen if one.doubt is not None}
    possible = {id_ for id_, expectation in expectations.items() if not isinstance(expectation, Skip)}
    missing = possible - {one.id for one in seen}
    performed = TargetRun(
        kernel=machine.kernel,
        accel=machine.accel,
        canary_splatted=machine.canary_splatted,
        observations={one.id: observation(by_id[one.id], one.reply, one.records, one.trace, memory) for one in seen},
        untrusted=dict.fromkeys(missing, f"not reached: {_KILLED}") | doubts,
        notes=(_KILLED,),
        qemu=machine.qemu,
        doubts=unchecked((one.id for one in seen), _KILLED),
    )
    started = time.monotonic() - took_s
    results = judged(run.target, performed, scenarios, expectations, run.suite, SILENT, started)
    host = replace(run.provenance.host, accelerator=machine.accel)
    return replace(
        results, boot_s=None, scenarios_s=None, provenance=replace(run.provenance, qemu=machine.qemu, host=host)
    )


def _encode(what: object) -> bytes:
    return msgspec.json.encode(what, enc_hook=lambda part: [part.start, part.stop])


def _decode(text: bytes, kind: type[_Kind]) -> _Kind:
    """The way back; a range of memory is the only type that msgspec does not know."""
    return msgspec.json.decode(text, type=kind, dec_hook=lambda _, part: range(*part))
