# SPDX-License-Identifier: GPL-2.0-or-later
"""What Dask hands to a worker: some stages in a row, done in a process of their own (dmasafe/matrix/stage_main.py).

A finished stage is written down in the store before anything else learns of it, so that whoever is killed next, it
is not done again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import dmasafe
from dmasafe.matrix.errors import MatrixError, StoreError
from dmasafe.matrix.store import Store

# A stage's process has so long to end QEMU and make, once it is told to.
STOP_GRACE_S = 15.0
COMMAND = (sys.executable, "-m", "dmasafe.matrix.stage_main")
_LAST_WORDS = 2000

Tell = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class StageRequest:
    """Stages (their ``kind``, ``name`` and ``arguments``) to do in this order, for a run and its store (a URL).

    ``command`` are the words with which the user asked for the run.
    """

    run: str
    store: str
    stages: tuple[Mapping[str, Any], ...]
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """What came of a request: the record of each finished stage by name; ``error`` is why the others were not done.

    ``blocked``: the error is that of an earlier task.
    """

    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    error: str | None = None
    blocked: bool = False


def record_name(run: str, stage: str) -> str:
    """Where the store has what came of a stage."""
    return f"runs/{run}/{stage}.json"


def read_record(store: Store, run: str, stage: str) -> Mapping[str, Any] | None:
    """What came of a finished stage: ``result``, ``seconds``, ``host``. Raises StoreError."""
    data = store.get(record_name(run, stage))
    if data is None:
        return None
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("result"), dict):
        raise StoreError(f"{record_name(run, stage)} in the store {store.url} is damaged: remove it")
    return found


def perform(request: StageRequest, *needs: Done) -> Done:
    """The task itself. A user error, or the failure of a task before, is an error in the Done."""
    return carry_out(request, needs, _tell_scheduler(request.run))


def carry_out(request: StageRequest, needs: Sequence[Done], tell: Tell) -> Done:
    """perform() for those who are not on a worker of Dask's."""
    for need in needs:
        if need.error is not None:
            return Done(error=need.error, blocked=True)
    known: dict[str, Any] = {}
    for need in needs:
        known |= _found(need.records)
    records: dict[str, Mapping[str, Any]] = {}
    try:
        store = Store(request.store)
        for stage in request.stages:
            record = read_record(store, request.run, stage["name"])
            if record is None:
                break
            records[stage["name"]] = record
        left = request.stages[len(records) :]
        if not left:
            return Done(records)
        error = _in_process(request, left, known | _found(records), records, store, tell)
    except MatrixError as failure:
        error = str(failure)
    return Done(records, error)


def _found(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for record in records.values():
        found |= record["result"]
    return found


def _in_process(
    request: StageRequest,
    stages: Sequence[Mapping[str, Any]],
    known: Mapping[str, Any],
    records: dict[str, Mapping[str, Any]],
    store: Store,
    tell: Tell,
) -> str | None:
    """Have the stages done, and add a record for each that is; why one could not be done, if so."""
    words = {"run": request.run, "store": request.store, "stages": list(stages), "known": dict(known)}
    words["command"] = list(request.command)
    with tempfile.TemporaryFile() as errors, _process(request.run, errors) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps({**words, "parent": os.getpid()}))
        current = ""
        for line in process.stdout:
            answer = json.loads(line)
            current = answer.get("began", current)
            if "finished" in answer:
                name = answer["finished"]
                record = {"result": answer["result"], "seconds": answer["seconds"], "host": os.uname().nodename}
                record["end"] = time.time()
                store.put(record_name(request.run, name), json.dumps(record).encode())
                # Whoever wrote it first: a stage has one result.
                records[name] = read_record(store, request.run, name) or record
            elif "failed" in answer:
                return str(answer["failed"])
            elif "interrupted" in answer:
                return "interrupted"
            tell({**answer, "stage": current})
        status = process.wait()
        if len(records) == len(request.stages):
            return None
        errors.seek(0)
        last = errors.read().decode(errors="replace")[-_LAST_WORDS:].strip().splitlines()
    ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"the process of a stage {ended}: {last[-1] if last else 'it said nothing'}"


# ---- processes

_running: dict[int, tuple[str, subprocess.Popen[str]]] = {}
_stopped: set[str] = set()
_guard = threading.Lock()


@contextlib.contextmanager
def _process(run: str, errors: IO[bytes]) -> Any:
    """The process of a request; it is gone afterwards."""
    with _guard:
        if run in _stopped:
            raise MatrixError("interrupted")
        process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (_root(), os.environ.get("PYTHONPATH"))))},
        )
        _running[process.pid] = run, process
    try:
        with process:
            try:
                yield process
            finally:
                if process.poll() is None and sys.exc_info()[0] is not None:
                    _end(process)
    finally:
        with _guard:
            _running.pop(process.pid, None)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stop(run: str) -> int:
    """End what this worker does for a run, and do nothing more for it; how many processes that were."""
    with _guard:
        _stopped.add(run)
        mine = [process for name, process in _running.values() if name == run]
    for process in mine:
        process.terminate()
    for process in mine:
        _end(process)
    return len(mine)


def dask_setup(_worker: object) -> None:
    """For Dask's --preload. A terminal's Ctrl-C reaches workers too; the client ends what must end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def resume(run: str) -> None:
    """Take back stop()."""
    with _guard:
        _stopped.discard(run)


def describe() -> dict[str, str]:
    """What a client wants to know of a worker's machine."""
    return {"host": os.uname().nodename, "package": _root()}


def _root() -> str:
    return str(Path(dmasafe.__file__).resolve().parents[1])


def _tell_scheduler(run: str) -> Tell:
    from distributed import get_worker

    worker = get_worker()

    def tell(answer: Mapping[str, Any]) -> None:
        worker.log_event(topic(run), dict(answer))

    return tell


def topic(run: str) -> str:
    """Dask's topic for the events of a run."""
    return f"dmasafe-{run}"
