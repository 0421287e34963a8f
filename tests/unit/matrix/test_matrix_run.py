# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix run`` with real processes and stages that take no time: whoever is killed, nothing is lost."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from sqlalchemy import func, select

from dmasafe.matrix import schema
from dmasafe.matrix.database import open_history
from tests.slow import slow

ROOT = Path(__file__).parents[3]
CELLS = ("6.12 x86_64 default", "6.12 x86_64 swiotlb-force", "7.2 x86_64 default")
BOOTS = tuple(f"boot-{cell.replace(' ', '-')}-core" for cell in CELLS)
KERNELS = ("6.12-x86_64-default", "7.2-x86_64-default")
STAGES = {
    *("fetch-6.12", "fetch-7.2"),
    *(f"{kind}-{kernel}" for kind in ("configure", "build", "image") for kernel in KERNELS),
    *BOOTS,
}
# Nothing here takes a second; a machine that builds kernels beside it may need minutes.
BOUND_S = 300

pytestmark = pytest.mark.timeout(4 * BOUND_S)


def wait_until(what, *about):
    until = time.monotonic() + BOUND_S
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError(f"it did not happen within {BOUND_S} s: {about}")


class Arena:
    """A place for runs of a few cells, and what their stages wrote down."""

    def __init__(self, home):
        self.home, self.cells = home, CELLS
        (home / "stand-in").mkdir()
        self.environment = {
            **os.environ,
            "CI": "1",
            "STAND_IN": str(home / "stand-in"),
            "DASK_DISTRIBUTED__WORKER__PRELOAD": "['stand_in_stages']",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(Path(__file__).parent))),
            "DMASAFE_HISTORY": str(home / "history.sqlite3"),
        }
        self.started = []

    def command(self, *more):
        cells = [word for cell in self.cells for word in ("--cell", cell)]
        new = not (self.home / "runs" / "one" / "run.json").exists()
        return [
            *(sys.executable, "-m", "dmasafe.cli", "matrix", "run", "--run", "one", "--out", self.home / "runs"),
            *((*cells, "--store", self.home / "store") if new else ()),
            *more,
        ]

    def begin(self, *more):
        process = subprocess.Popen(
            self.command(*more), env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *more):
        """Exit status and output."""
        process = self.begin(*more)
        output, _ = process.communicate(timeout=2 * BOUND_S)
        return process.returncode, output

    def lines(self, word="begin"):
        log = self.home / "stand-in" / "log"
        found = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        return [line for line in found if line[0] == word]

    def begun(self):
        return Counter(line[1] for line in self.lines())

    def running(self, stage):
        """The process of a stage that is held, and its worker's."""
        line = wait_until(lambda: [line for line in self.lines() if line[1] == stage], stage, self.lines())[-1]
        return int(line[2]), int(line[3])

    def mark(self, word, stage):
        (self.home / "stand-in" / f"{word}-{stage}").touch()

    def unmark(self, word, stage):
        (self.home / "stand-in" / f"{word}-{stage}").unlink()

    def recorded(self):
        """How many runs the history has of each configuration and source."""
        with open_history(str(self.home / "history.sqlite3")) as database, database.reading() as connection:
            return connection.execute(select(func.count()).select_from(schema.run)).scalar()

    def judged(self):
        return len(list((self.home / "runs" / "one" / "cells").glob("*/core/results.json")))

    def nobody_left(self):
        pids = {int(line[2]) for line in self.lines()}
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "processes of stages are left")


@pytest.fixture
def arena(tmp_path):
    made = Arena(tmp_path)
    yield made
    for process in made.started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_shared_stages_are_done_once_and_each_cell_is_recorded(arena):
    status, output = arena.run()
    assert status == 0, output
    assert arena.begun() == Counter(STAGES)
    assert (arena.judged(), arena.recorded()) == (3, 3)
    assert "3 suites in 3 cells: 0 FAIL, 0 without a result" in output
    assert not (arena.home / "store" / "runs" / "one").exists()
    again, output = arena.run()
    assert again == 0, output
    assert arena.begun() == Counter(STAGES)
    assert arena.recorded() == 3


def test_a_killed_worker_is_replaced_and_only_its_stage_done_again(arena):
    arena.mark("hold", BOOTS[1])
    client = arena.begin()
    stage, worker = arena.running(BOOTS[1])
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(stage), "the stage outlives its worker")
    arena.unmark("hold", BOOTS[1])
    output, _ = client.communicate(timeout=BOUND_S)
    assert client.returncode == 0, output
    assert arena.begun() == Counter(STAGES) + Counter([BOOTS[1]])
    assert (arena.judged(), arena.recorded()) == (3, 3)


def test_a_killed_client_takes_all_with_it_and_its_run_goes_on(arena):
    arena.mark("hold", BOOTS[2])
    client = arena.begin()
    arena.running(BOOTS[2])
    wait_until(lambda: arena.judged() == 2, arena.lines())
    client.kill()
    arena.nobody_left()
    arena.unmark("hold", BOOTS[2])
    status, output = arena.run()
    assert status == 0, output
    assert arena.begun() == Counter(STAGES) + Counter([BOOTS[2]])
    assert (arena.judged(), arena.recorded()) == (3, 3)


def test_ctrl_c_ends_everything_and_keeps_what_was_judged(arena):
    arena.mark("hold", BOOTS[2])
    client = arena.begin()
    arena.running(BOOTS[2])
    wait_until(lambda: arena.judged() == 2, arena.lines())
    # As a terminal does it: to the whole group.
    os.killpg(client.pid, signal.SIGINT)
    output, _ = client.communicate(timeout=BOUND_S)
    assert client.returncode == 130, output
    assert "--run one" in output
    assert "Traceback" not in output
    arena.nobody_left()
    assert (arena.judged(), arena.recorded()) == (2, 2)
    arena.unmark("hold", BOOTS[2])
    assert arena.run()[0] == 0
    assert arena.begun() == Counter(STAGES) + Counter([BOOTS[2]])
    assert arena.recorded() == 3


# How the stage "build" of a kernel comes to nothing, and what its cells' rows say then.
FAILURES = {
    "7.2": ("fail", "build-7.2-x86_64-default was told to fail"),
    "6.1": ("err", "an error in dmasafe: IndexError: nobody foresaw this, at stand_in_stages.py:"),
    "5.10": ("die", "the process of a stage ended with status 9"),
}


def test_one_kernels_failure_is_not_anothers(arena):
    arena.cells = (*CELLS[:2], *(f"{version} x86_64 default" for version in FAILURES))
    failing = {version: f"build-{version}-x86_64-default" for version in FAILURES}
    for version, (how, _) in FAILURES.items():
        arena.mark(how, failing[version])
    status, output = arena.run()
    assert status == 2, output
    assert (arena.judged(), arena.recorded()) == (2, 2)
    for version, (_, words) in FAILURES.items():
        assert f"{version} x86_64 default core: NO RESULT: {words}" in output
    first = arena.begun()
    for version, (how, _) in FAILURES.items():
        arena.unmark(how, failing[version])
    status, output = arena.run()
    assert status == 0, output
    again = {f"{kind}-{version}-x86_64-default" for version in FAILURES for kind in ("build", "image")}
    assert arena.begun() - first == Counter(again | {f"boot-{version}-x86_64-default-core" for version in FAILURES})
    assert arena.recorded() == 5


@slow
def test_two_clients_do_not_go_on_with_one_run(arena):
    arena.mark("hold", BOOTS[0])
    first = arena.begin()
    arena.running(BOOTS[0])
    status, output = arena.run()
    assert (status, "under way in another process" in output) == (2, True), output
    arena.unmark("hold", BOOTS[0])
    assert first.wait(BOUND_S) == 0


class Cluster:
    """A scheduler and a worker that somebody else started."""

    def __init__(self, arena):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.arena = arena

    def start(self, *words):
        log = (self.arena.home / f"{words[0]}.log").open("a")
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]],
            env=self.arena.environment, cwd=self.arena.home, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
        self.arena.started.append(process)
        return process

    def scheduler(self):
        address = self.address.removeprefix("tcp://").partition(":")
        return self.start("scheduler", "--host", address[0], "--port", address[2], "--no-dashboard")

    def worker(self):
        return self.start("worker", self.address, "--nthreads", "3", "--resources", "build=1 boot=2", "--no-dashboard")


@slow
def test_a_killed_scheduler_is_noticed_and_its_run_goes_on(arena):
    cluster = Cluster(arena)
    scheduler = cluster.scheduler()
    worker = cluster.worker()
    arena.mark("hold", BOOTS[2])
    client = arena.begin("--scheduler", cluster.address)
    arena.running(BOOTS[2])
    wait_until(lambda: arena.judged() == 2, arena.lines())
    scheduler.kill()
    output, _ = client.communicate(timeout=BOUND_S)
    assert client.returncode == 2, output
    assert "the scheduler is gone" in output
    assert "Traceback" not in output
    os.killpg(worker.pid, signal.SIGKILL)
    arena.nobody_left()
    arena.unmark("hold", BOOTS[2])
    cluster.scheduler()
    cluster.worker()
    status, output = arena.run("--scheduler", cluster.address)
    assert status == 0, output
    assert arena.begun() == Counter(STAGES) + Counter([BOOTS[2]])
    assert (arena.judged(), arena.recorded()) == (3, 3)


def test_a_client_killed_beside_its_cluster_finds_what_the_workers_finished(arena):
    cluster = Cluster(arena)
    cluster.scheduler()
    cluster.worker()
    arena.mark("hold", BOOTS[2])
    client = arena.begin("--scheduler", cluster.address)
    arena.running(BOOTS[2])
    wait_until(lambda: arena.judged() == 2, arena.lines())
    client.kill()
    client.wait()
    arena.unmark("hold", BOOTS[2])
    # Its worker goes on, and writes down what it did.
    record = arena.home / "store" / "runs" / "one" / f"{BOOTS[2]}.json"
    wait_until(record.exists, "the worker did not finish")
    status, output = arena.run("--scheduler", cluster.address)
    assert status == 0, output
    assert arena.begun() == Counter(STAGES)
    assert (arena.judged(), arena.recorded()) == (3, 3)


@slow
def test_nobody_at_the_address_is_one_sentence(arena):
    cluster = Cluster(arena)
    status, output = arena.run("--scheduler", cluster.address)
    assert (status, "no scheduler answers" in output, "Traceback" in output) == (2, True, False), output
