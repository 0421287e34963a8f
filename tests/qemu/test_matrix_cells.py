# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix run`` with real cells: a kernel booted in two ways, a worker killed in mid-boot, the client too."""

import json
import os
import shlex
import subprocess
import sys
import time

import psutil
import pytest
from sqlalchemy import func, select

from dmasafe.matrix import agreement, schema
from dmasafe.matrix.database import open_history
from tests.slow import slow

pytestmark = slow

CELLS = ("6.12 x86_64 default", "6.12 x86_64 swiotlb-force")
BOUND_S = 240


def wait_for(what, client):
    until = time.monotonic() + BOUND_S
    while time.monotonic() < until:
        if found := what():
            return found
        assert client.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05)
    raise AssertionError(f"it did not happen within {BOUND_S} s")


def guests(client):
    """The QEMUs of a run, each with the worker that has it: client > worker > stage > QEMU."""
    found = {}
    for process in client.children(recursive=True):
        try:
            if process.name().startswith("qemu-system"):
                found[process] = process.parent().parent()
        except (psutil.NoSuchProcess, AttributeError):
            continue
    return found


@pytest.mark.usefixtures("guest")
def test_killed_workers_and_clients_lose_nothing_and_double_nothing(tmp_path):
    environment = {**os.environ, "CI": "1", "DMASAFE_HISTORY": str(tmp_path / "history.sqlite3")}
    command = [sys.executable, "-m", "dmasafe.cli", "matrix", "run", "--run", "one", "--out", tmp_path / "runs"]
    chosen = [word for cell in CELLS for word in ("--cell", cell)]

    def begin(*more):
        return psutil.Popen(
            [*command, *more], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    with begin(*chosen, "--store", tmp_path / "store", "--workers", "1") as client:
        machine, worker = next(iter(wait_for(lambda: guests(client), client).items()))
        worker.kill()
        machine.wait(30)
        # The stage is done again by the worker's successor.
        wait_for(lambda: [one for one in guests(client) if one != machine], client)
        left = [*guests(client), *client.children(recursive=True)]
        client.kill()
        psutil.wait_procs(left, timeout=60)
        assert not [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]

    again = ["--workers", "1"]
    with begin(*again) as client:
        output, _ = client.communicate(timeout=BOUND_S)
    assert client.returncode == 0, output
    assert "build-6.12-x86_64-default: done" in output
    places = sorted((tmp_path / "runs" / "one" / "cells").glob("*/core"))
    assert [place.parent.name for place in places] == ["6.12-x86_64-default", "6.12-x86_64-swiotlb-force"]
    for place in places:
        found = json.loads((place / "results.json").read_text())
        assert found["provenance"]["command"] == "dmasafe matrix run " + shlex.join([*map(str, command[5:]), *again])
        counts = found["counts"]
        assert (counts["fail"], counts["inconclusive"], counts["error"]) == (0, 0, 0)
        found = agreement.read(place / "model.json")
        assert (found.compared, found.differing) == (counts["pass"], 0), found.differences[:3]
    with open_history(environment["DMASAFE_HISTORY"]) as database, database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(schema.run)).scalar() == len(CELLS)
