# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan on Dask: an embedded cluster of this machine's size, or somebody's scheduler.

Workers that offer the resource ``build`` take kernels, one at a time, each with all processors of its machine; those
that offer ``boot`` take guests. What nobody offers, nobody needs. A worker that dies is replaced, and what it did is
done again.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import queue
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask
from distributed import Client, Future, Nanny, Scheduler, SpecCluster

from dmasafe.kernel import open_cache
from dmasafe.kernel.cache import staging
from dmasafe.matrix import tasks
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.plan import Plan, Stage, StageKind

# What of a worker's resources the tasks need, by the kind of their first stage.
RESOURCES = {StageKind.CONFIGURE: "build", StageKind.BOOT: "boot"}
CONNECT_TIMEOUT_S = 20
FIRST_WORKER_TIMEOUT_S = 60
# Without a word from the scheduler for so long, it is taken for gone.
SCHEDULER_SILENT_S = 10.0
_LOOK_S = 0.5
_STOP_TIMEOUT_S = tasks.STOP_GRACE_S + 15
# A stage whose worker died so often is not tried once more.
_ALLOWED_DEATHS = 3
# What is built first lets others boot meanwhile.
_PRIORITY = {StageKind.FETCH: 20, StageKind.CONFIGURE: 10, StageKind.BOOT: 0}
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Event:
    """Something that happened to the stages of a task; ``stages`` are those that it concerns.

    ``kind``: ``began``, ``doing`` (with ``text``), ``finished`` (with ``record``), ``failed`` (with ``text``) or
    ``blocked`` (with ``text``: why an earlier stage failed).
    """

    kind: str
    stages: tuple[str, ...]
    text: str = ""
    record: Mapping[str, Any] | None = None


@contextlib.contextmanager
def open_client(scheduler: str | None, workers: int | None = None) -> Iterator[Client]:
    """A client of the scheduler at this address, or of a cluster of our own that ends with it. Raises MatrixError.

    ``workers``: how many guests may run at a time, one for each processor if None.
    """
    with contextlib.ExitStack() as stack:
        # Dask's own logs are about its insides; user errors are in the Done of a task.
        stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": _ALLOWED_DEATHS}))
        for name in ("distributed", "distributed.nanny", "distributed.client", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        place: str | SpecCluster | None = scheduler
        if scheduler is None:
            place = stack.enter_context(_own_cluster(workers or len(os.sched_getaffinity(0))))
        try:
            client = Client(place, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise MatrixError(f"no scheduler answers at {scheduler}: is it there? ({error})") from error
        stack.callback(_close, client)
        _look_at_workers(client, scheduler)
        yield client


@contextlib.contextmanager
def _own_cluster(workers: int) -> Iterator[SpecCluster]:
    # In the cache, where what a killed run left is found and pruned.
    with staging(open_cache()) as directory:
        options = {
            "nthreads": 1,
            # Kernels are built and booted in processes of which Dask knows nothing.
            "memory_limit": 0,
            "local_directory": str(directory),
            "preload": [tasks.__name__, *dask.config.get("distributed.worker.preload", ())],
            "silence_logs": logging.CRITICAL,
        }
        specs = {
            number: {"cls": Nanny, "options": {**options, "resources": {resource: 1}}}
            for number, resource in enumerate(["build", *["boot"] * workers])
        }
        scheduler = {
            "cls": Scheduler,
            "options": {
                "host": _LOOPBACK,
                "port": 0,
                "dashboard": importlib.util.find_spec("bokeh") is not None,
                "dashboard_address": f"{_LOOPBACK}:0",
            },
        }
        with SpecCluster(workers=specs, scheduler=scheduler, silence_logs=logging.CRITICAL) as cluster:
            yield cluster


def _close(client: Client) -> None:
    # A scheduler that is gone cannot be taken leave of.
    with contextlib.suppress(OSError, TimeoutError):
        client.close(timeout=5)


def _look_at_workers(client: Client, scheduler: str | None) -> None:
    try:
        client.wait_for_workers(1, timeout=FIRST_WORKER_TIMEOUT_S)
        found = client.run(tasks.describe)
    except TimeoutError as error:
        raise MatrixError(f"the scheduler {scheduler} has no workers: start some ('dask worker ADDRESS')") from error
    except ImportError as error:
        raise MatrixError(f"the workers of {scheduler} have no dmasafe: install the same version there") from error
    if not found:
        raise MatrixError(f"the scheduler {scheduler} has no workers: start some ('dask worker ADDRESS')")


def dashboard(client: Client) -> str | None:
    """Where Dask shows what it does, None if nothing of it can be seen (it needs bokeh)."""
    if importlib.util.find_spec("bokeh") is None:
        return None
    link: str | None = client.dashboard_link
    return link


class Engine:
    """One run's stages on a client; what happens comes out of events()."""

    def __init__(self, client: Client, run: str, store: str) -> None:
        self._client = client
        self._run = run
        self._store = store
        self._events: queue.Queue[Event] = queue.Queue()
        self._futures: dict[str, Future[tasks.Done]] = {}
        self._tasks: dict[str, tuple[str, ...]] = {}
        self._open: set[str] = set()
        # Another attempt must not be given what an earlier one has left on the scheduler.
        self._attempt = secrets.token_hex(4)

    def submit(self, plan: Plan, wanted: frozenset[str]) -> None:
        """Begin: the tasks without which the ``wanted`` stages cannot be. Raises MatrixError."""
        self._client.run(tasks.resume, self._run)
        self._client.subscribe_topic(tasks.topic(self._run), self._heard)
        offered = self._offered()
        task_of: dict[str, str] = {}
        for task, stages in _needed(grouped(plan), wanted).items():
            needs = dict.fromkeys(task_of[need] for stage in stages for need in stage.needs if need in task_of)
            request = tasks.StageRequest(
                self._run,
                self._store,
                tuple({"kind": stage.kind.value, "name": stage.name, "arguments": stage.arguments} for stage in stages),
                tuple(sys.argv[1:]),
            )
            kind = stages[0].kind
            future = self._client.submit(
                tasks.perform,
                request,
                *(self._futures[need] for need in needs),
                key=f"{self._run}-{self._attempt}-{task}",
                pure=False,
                priority=_PRIORITY[kind],
                resources={RESOURCES[kind]: 1} if RESOURCES.get(kind) in offered else None,
            )
            self._futures[task] = future
            self._tasks[task] = tuple(stage.name for stage in stages)
            task_of |= dict.fromkeys(self._tasks[task], task)
            self._open.add(task)
        for task, future in self._futures.items():
            future.add_done_callback(lambda _, task=task: self._events.put(Event("done", (task,))))

    def events(self, every_s: float = _LOOK_S) -> Iterator[Event | None]:
        """What happens, until all is done; None now and then, so that time passes. Raises MatrixError."""
        heard = time.monotonic()
        while self._open:
            try:
                event = self._events.get(timeout=every_s)
            except queue.Empty:
                event = None
            if self._client.status == "running":
                heard = time.monotonic()
            elif time.monotonic() - heard > SCHEDULER_SILENT_S:
                raise MatrixError("the scheduler is gone; what was finished is kept: resume the run when it is back")
            if event is not None and event.kind == "done":
                yield from self._done(event.stages[0])
            else:
                yield event

    def stop(self) -> None:
        """End whatever is under way, on all workers, and wait until it has ended."""
        with contextlib.suppress(Exception):
            self._client.cancel(list(self._futures.values()), force=True)
        # A worker that is gone has nothing left to end.
        with contextlib.suppress(Exception):
            self._client.run(tasks.stop, self._run, on_error="ignore", nanny=False)

    def _offered(self) -> set[str]:
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return {name for worker in workers for name in worker.get("resources", {})}

    def _heard(self, message: Any) -> None:
        # (when, what) of a worker's log_event(); it comes from the network.
        answer = message[1] if isinstance(message, (tuple, list)) and len(message) == 2 else None
        if not isinstance(answer, dict):
            return
        if "began" in answer:
            self._events.put(Event("began", (str(answer["began"]),)))
        elif "doing" in answer or "text" in answer:
            self._events.put(Event("doing", (str(answer.get("stage", "")),), _words(answer)))

    def _done(self, task: str) -> Iterator[Event]:
        """What a task that ended has to say, for each of its stages."""
        if task not in self._open:
            return
        future, stages = self._futures[task], self._tasks[task]
        if future.status in ("cancelled", "lost"):
            # Those that need it go the same way; the scheduler's silence is noticed in events().
            return
        self._open.discard(task)
        if future.status == "error":
            yield Event("failed", stages, _explained(future.exception()))
            return
        done: tasks.Done = future.result()
        for name, record in done.records.items():
            yield Event("finished", (name,), record=record)
        left = tuple(name for name in stages if name not in done.records)
        if left:
            yield Event("blocked" if done.blocked else "failed", left, done.error or "it was not done")


def grouped(plan: Plan) -> dict[str, tuple[Stage, ...]]:
    """Tasks: a kernel is configured, built and packed on one machine, in one go."""
    found: dict[str, list[Stage]] = {}
    task_of: dict[str, str] = {}
    for stage in plan.stages.values():
        task = task_of[stage.needs[0]] if stage.kind in (StageKind.BUILD, StageKind.IMAGE) else stage.name
        found.setdefault(task, []).append(stage)
        task_of[stage.name] = task
    return {task: tuple(stages) for task, stages in found.items()}


def _needed(groups: Mapping[str, Sequence[Stage]], wanted: frozenset[str]) -> dict[str, tuple[Stage, ...]]:
    """The tasks that lead to the wanted stages, in the order of the plan."""
    owner = {stage.name: task for task, stages in groups.items() for stage in stages}
    needed: set[str] = set()
    pending = [owner[name] for name in wanted]
    while pending:
        task = pending.pop()
        if task not in needed:
            needed.add(task)
            pending += [owner[need] for stage in groups[task] for need in stage.needs]
    return {task: tuple(stages) for task, stages in groups.items() if task in needed}


def _words(answer: Mapping[str, Any]) -> str:
    if "doing" in answer:
        return str(answer["doing"])
    done, total = answer.get("done"), answer.get("total")
    if isinstance(done, (int, float)) and isinstance(total, (int, float)) and total:
        return f"{done:,.0f} of {total:,.0f}"
    return str(answer.get("text", ""))


def _explained(error: BaseException | None) -> str:
    name = type(error).__name__
    if name == "KilledWorker":
        return f"its worker was killed {_ALLOWED_DEATHS + 1} times"
    return f"{name}: {error}" if error is not None else "nobody knows why"
