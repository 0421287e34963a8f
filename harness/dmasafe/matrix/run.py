# SPDX-License-Identifier: GPL-2.0-or-later
"""One run of many cells: its directory, which says what it is and what came of it, and the way through its plan.

``run.json`` has the cells; ``cells/CELL/SUITE/`` appears, whole, when a suite has been judged. Whatever is killed in
the middle, the same run goes on from there: finished stages are in the store, judged cells in the directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from dmasafe.atomic import publish
from dmasafe.decode import convert, read_json
from dmasafe.kernel import project_root
from dmasafe.matrix import agreement, bundle, record, tasks
from dmasafe.matrix.agreement import Agreement
from dmasafe.matrix.database import Database
from dmasafe.matrix.engine import Engine, Event
from dmasafe.matrix.errors import MatrixError, RunError
from dmasafe.matrix.plan import Job, Plan, StageKind, plan
from dmasafe.matrix.selections import PlannedCell
from dmasafe.matrix.store import Store
from dmasafe.outcome import Verdict
from dmasafe.report import ReportError, json_report
from dmasafe.report.directory import RESULTS_JSON
from dmasafe.report.files import failure, write_text
from dmasafe.report.results import Results, counts, exit_status
from dmasafe.targets.interrupt import interrupt_deferred

SCHEMA = 1
RUN_JSON = "run.json"
EXIT_UNSAID = 2
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


@dataclass(frozen=True)
class Run:
    """What a run is: fixed when it begins. ``store`` is a URL; ``night`` (ISO) and ``begun`` are in UTC."""

    id: str
    directory: Path
    selection: str
    store: str
    revision: str | None
    night: str
    begun: str
    cells: tuple[PlannedCell, ...]
    finished: str | None = None

    def place(self, job: Job) -> Path:
        """Where the results of a job are, once it has been judged."""
        return self.directory / "cells" / job.directory


@dataclass(frozen=True)
class Judged:
    """What came of one job: ``results`` and ``agreement`` (None for suites with faults), or why there are none."""

    job: Job
    results: Results | None = None
    agreement: Agreement | None = None
    error: str | None = None

    @property
    def status(self) -> int:
        return EXIT_UNSAID if self.results is None else exit_status(self.results)

    @property
    def counts(self) -> dict[Verdict, int]:
        return {} if self.results is None else counts(self.results)


class View(Protocol):
    """Who watches a run."""

    def event(self, event: Event) -> None: ...

    def judged(self, judged: Judged) -> None: ...


def begin(
    root: Path, id_: str | None, selection: str, cells: Sequence[PlannedCell], store: str, now: datetime | None = None
) -> Run:
    """A new run below ``root``. Raises RunError if there is one of this name."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    name = id_ or f"{selection}-{moment:%Y%m%dT%H%M%SZ}"
    if not _ID.fullmatch(name):
        raise RunError(f"'{name}' is no name for a run: use letters, digits and . _ + -")
    directory = root / name
    run = Run(
        name, directory, selection, store, revision(), moment.date().isoformat(), moment.isoformat(), tuple(cells)
    )
    try:
        directory.mkdir(parents=True)
    except FileExistsError as error:
        raise RunError(f"there is a run {name} already: resume it with --run {name}") from error
    except OSError as error:
        raise failure("make", directory, error) from error
    _write(run)
    return run


def load(directory: Path) -> Run:
    """A run that was begun. Raises RunError."""
    path = directory / RUN_JSON
    found = read_json(path, SCHEMA, RunError)
    return convert({**found, "directory": directory}, Run, str(path), RunError, extra=True)


def unfinished(root: Path, selection: str) -> Run:
    """The newest run of a selection that is not finished. Raises RunError if there is none."""
    found = []
    for path in root.glob(f"*/{RUN_JSON}"):
        with contextlib.suppress(RunError):
            found.append(load(path.parent))
    mine = [run for run in found if run.selection == selection and run.finished is None]
    if not mine:
        raise RunError(f"there is no unfinished run of {selection} below {root}: leave --resume away")
    return max(mine, key=lambda run: run.begun)


def _write(run: Run) -> None:
    rest = asdict(run)
    del rest["directory"]
    write_text(run.directory / RUN_JSON, json.dumps({"schema": SCHEMA, **rest}, indent=1) + "\n")


@contextlib.contextmanager
def held(run: Run) -> Iterator[None]:
    """Nobody else goes on with the run meanwhile. Raises RunError."""
    with (run.directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"the run {run.id} is under way in another process: wait for it") from error
        yield


def execute(run: Run, engine: Engine, view: View, database: Database | None) -> list[Judged]:
    """Go through the plan, or on with it; what came of each job, in the plan's order.

    Each judged job is in the run's directory and, if there is a database, in the history, before the next one is looked
    at. Raises MatrixError, RunError, StoreError; KeyboardInterrupt once all has been ended.
    """
    course = plan(run.cells)
    store = Store(run.store)
    judged: dict[str, Judged] = {}
    for job in course.jobs:
        if (run.place(job) / RESULTS_JSON).is_file():
            judged[job.name] = _judge(run, job, database)
            view.judged(judged[job.name])
    waiting = {job.boot: job for job in course.jobs if job.name not in judged}
    builds = _Builds(course)
    try:
        if waiting:
            engine.submit(course, frozenset(waiting))
        for event in engine.events() if waiting else ():
            if event is None:
                continue
            view.event(event)
            builds.take(event)
            for job in [waiting[name] for name in event.stages if name in waiting and event.kind not in _UNDER_WAY]:
                with interrupt_deferred():
                    found = _received(run, job, event, builds, store, database)
                judged[job.name] = found
                del waiting[job.boot]
                view.judged(found)
    except BaseException:
        with interrupt_deferred():
            engine.stop()
        raise
    found_all = [judged[job.name] for job in course.jobs]
    if all(one.error is None for one in found_all):
        _write(replace(run, finished=datetime.now(UTC).isoformat()))
        store.remove(f"runs/{run.id}")
    return found_all


_UNDER_WAY = frozenset({"began", "doing"})


class _Builds:
    """Which builds were made in this run, and how long they took."""

    def __init__(self, course: Plan) -> None:
        self._course = course
        self._seconds: dict[str, float] = {}

    def take(self, event: Event) -> None:
        for name in event.stages:
            stage = self._course.stages.get(name)
            if stage is not None and stage.kind is StageKind.BUILD and event.record is not None:
                self._seconds |= {name: event.record["seconds"]} if event.record["result"].get("made") else {}

    def seconds(self, job: Job) -> float | None:
        return next((self._seconds[name] for name in job.stages if name in self._seconds), None)


def _received(run: Run, job: Job, event: Event, builds: _Builds, store: Store, database: Database | None) -> Judged:
    if event.record is None:
        return Judged(job, error=event.text)
    try:
        _publish(run, job, event.record, builds.seconds(job), store)
    except MatrixError as error:
        return Judged(job, error=str(error))
    return _judge(run, job, database)


def _publish(run: Run, job: Job, found: Mapping[str, Any], build_s: float | None, store: Store) -> None:
    """Take a boot's results out of the store, into the run's directory. Raises RunError, StoreError, ReportError."""
    data = store.get(str(found["result"].get("archive")))
    if data is None:
        # So that resuming the run boots again.
        store.remove(tasks.record_name(run.id, job.boot))
        raise RunError(f"the results of {job.name} are gone from the store {run.store}: resume the run")
    place = run.place(job)
    sidecar = {
        "schema": record.SIDECAR_SCHEMA,
        "time": datetime.fromtimestamp(found["result"]["time"], UTC).isoformat(timespec="seconds"),
        "night": run.night,
        "revision": run.revision,
        "build_s": build_s,
    }
    try:
        with publish(place) as made:
            made.mkdir(parents=True)
            try:
                bundle.unpack(data, made)
            except (OSError, tarfile.TarError) as error:
                store.remove(tasks.record_name(run.id, job.boot))
                raise RunError(f"the results of {job.name} cannot be unpacked ({error}): resume the run") from error
            write_text(made / record.SIDECAR, json.dumps(sidecar, indent=1) + "\n")
    except OSError as error:
        raise failure("write", place, error) from error


def _judge(run: Run, job: Job, database: Database | None) -> Judged:
    """Read a job's results back, and write them into the history."""
    path = run.place(job) / RESULTS_JSON
    try:
        results = json_report.load(path)
        asked = (job.cell.arch, job.cell.config, job.suite)
        if (results.kernel.arch, results.kernel.config, results.suite) != asked:
            raise RunError(f"{path} is of another cell: remove it and resume the run")
        agreed = agreement.read(path.with_name(agreement.MODEL_JSON))
        new = record.read(path)
    except (MatrixError, ReportError) as error:
        return Judged(job, error=str(error))
    if database is not None:
        record.record(database, [new])
    return Judged(job, results, agreed)


def worst(found: Iterable[Judged]) -> int:
    """The exit status: 0 all as expected, 1 a FAIL, 2 something that cannot be said; 1 outweighs 2."""
    statuses = {one.status for one in found}
    return 1 if 1 in statuses else max(statuses, default=EXIT_UNSAID)


def revision() -> str | None:
    """What is checked out here: as the CI system says, or git; None where neither does."""
    known = os.environ.get("GITHUB_SHA") or os.environ.get("CI_COMMIT_SHA")
    if known:
        return known
    words = ["git", "-C", str(project_root()), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
