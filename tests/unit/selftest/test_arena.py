# SPDX-License-Identifier: GPL-2.0-or-later
"""What a sabotaged run's time is: since its start, or since it was interrupted."""

import subprocess
import threading
from types import SimpleNamespace

import pytest

from dmasafe.selftest import arena as arenas


@pytest.fixture
def clock(monkeypatch):
    found = SimpleNamespace(now=100.0)
    monkeypatch.setattr(arenas.time, "monotonic", lambda: found.now)
    return found


def test_a_run_that_is_interrupted_has_its_bound_from_then_on(clock):
    with arenas.Arena((), 10.0, 60.0, threading.Event()) as arena:
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        arena._children.append(child)
        clock.now += 50
        # It was slow to get there, which is allowed.
        arena.until("the middle", lambda: True)
        assert arena.took_s == 50
        arena.interrupt()
        assert arena.wait() == [-2]
        clock.now += 9
        assert arena.took_s == 9


def test_a_run_that_goes_on_after_its_bound_has_not_ended(clock):
    with arenas.Arena((), 10.0, 60.0, threading.Event()) as arena:
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        arena._children.append(child)
        clock.now += 61
        with pytest.raises(arenas.SelftestError, match="did not get to the middle in time"):
            arena.until("the middle", lambda: False)
        assert arena.wait() is None and arena.took_s == 61
        child.kill()
