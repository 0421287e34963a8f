# SPDX-License-Identifier: GPL-2.0-or-later
"""A PostgreSQL server of one's own, on a socket in a temporary directory: for the benchmark and the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
_PACKAGED = Path("/usr/lib/postgresql")
# PostgreSQL refuses to run as root; its package brings the first of these.
_USERS = ("postgres", "nobody")


def programs() -> Path | None:
    """The directory of initdb and postgres, None where the server is not installed."""
    found = sorted(_PACKAGED.glob("*/bin/initdb"), key=lambda path: [int(n) for n in path.parts[-3].split(".")])
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).resolve().parent if there else None


@contextmanager
def cluster() -> Iterator[str]:
    """Start a server; yields its URL, and leaves nothing behind. RuntimeError if it does not come up."""
    where = programs()
    if where is None:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    user = _user()
    with tempfile.TemporaryDirectory(prefix="dmasafe-pg-") as name:
        directory = Path(name)
        if user is not None:
            shutil.chown(directory, user)
        data, log = directory / "data", directory / "log"
        initialised = subprocess.run(
            [where / "initdb", "-D", data, "-U", "dmasafe", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            user=user, cwd=name, capture_output=True, text=True,
        )  # fmt: skip
        if initialised.returncode:
            raise RuntimeError(f"initdb failed: {initialised.stderr[-500:]}")
        with log.open("wb") as stream:
            server = subprocess.Popen(
                [where / "postgres", "-D", data, "-k", name, "-c", "listen_addresses=", "-c", "fsync=off"],
                user=user, cwd=name, stdout=stream, stderr=subprocess.STDOUT,
            )  # fmt: skip
            try:
                _wait(server, where, name, log)
                yield f"postgresql://dmasafe@/postgres?host={name}"
            finally:
                # SIGINT: a fast shutdown, which does not wait for clients.
                server.send_signal(2)
                try:
                    server.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    server.kill()
                    server.wait()


def _wait(server: subprocess.Popen[bytes], where: Path, socket: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while subprocess.run([where / "pg_isready", "-q", "-h", socket, "-U", "dmasafe"]).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"postgres does not come up: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.1)


def _user() -> str | None:
    if os.geteuid():
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in _USERS if name in known), None)
