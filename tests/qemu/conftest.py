# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures on the real thing: a kernel from the cache (built if it is not there) in a real QEMU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from dmasafe.kernel import DEFAULT_SOURCE
from dmasafe.progress import SILENT
from dmasafe.targets.prepare import DEFAULT_ARCH, build_kernel, prepare

ROOT = Path(__file__).parents[2]
RUN_TIMEOUT_S = 240
BUILD_TIMEOUT_S = 3000


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.qemu)
            # The first test that needs a configuration may have to build its kernel.
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(BUILD_TIMEOUT_S))


def run_dmasafe(*arguments, check=None, timeout=RUN_TIMEOUT_S, **environment):
    """Run the command as a user would; ``check`` is the exit status that is expected."""
    done = subprocess.run(
        [sys.executable, "-m", "dmasafe.cli", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if check is not None:
        assert done.returncode == check, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="session")
def dmasafe():
    """The command as a function of its arguments."""
    return run_dmasafe


@pytest.fixture(scope="session")
def kernel_of():
    """The kernel of a configuration, built if it is not: what then uses it has its own time limit for itself."""
    return lambda configuration: build_kernel(DEFAULT_SOURCE, configuration, DEFAULT_ARCH, SILENT)


@pytest.fixture(scope="session")
def guest():
    """The default kernel with its image, ready to boot."""
    return prepare(DEFAULT_SOURCE, "default", DEFAULT_ARCH, None, SILENT)


@pytest.fixture(scope="session")
def core(guest, tmp_path_factory):
    """results.json of one core run and the directory it lies in."""
    out = tmp_path_factory.mktemp("core")
    run_dmasafe("run", "--suite", "core", "--out", out, check=0)
    latest = out / "latest"
    return json.loads((latest / "results.json").read_text()), latest


def ours():
    """Processes of ours that a run could leave behind."""
    words = ("qemu-system", "dmasafe.devices")
    return {p for p in psutil.process_iter(["cmdline"]) if any(w in " ".join(p.info["cmdline"] or ()) for w in words)}


@pytest.fixture
def nothing_left(tmp_path, monkeypatch):
    """Whatever the test starts is gone afterwards: processes and temporary directories."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = ours()
    yield
    left = ours() - before
    assert not left, [p.cmdline() for p in left]
    assert list(temporary.iterdir()) == []
