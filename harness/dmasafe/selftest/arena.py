# SPDX-License-Identifier: GPL-2.0-or-later
"""Where ``dmasafe selftest`` has one run wrecked: a directory of its own, the command as a user would start it, and the
search for what it left behind.

Nothing is found by name: every process of the run carries the arena's mark in its environment.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from dmasafe import scratch
from dmasafe.closing import Closing
from dmasafe.errors import DmasafeError

# A process that was told to end may take a moment; whoever needs more is left behind.
LEAVE_S = 3.0
POLL_S = 0.01
_MARK = "DMASAFE_SELFTEST"
# More scenarios than are under way at once (32), so that a run has a middle.
SCENARIOS = tuple(f"{kind}/*/dmasafe:bounce/*" for kind in ("heap", "pages", "devm"))


class SelftestError(DmasafeError):
    """A sabotage that could not be carried out: it says nothing about the harness."""


class Arena(Closing):
    """One wrecked run; a context manager. ``options`` choose the kernel, as on the command line.

    The run has ``reach_s`` to get to the moment at which it is interrupted, and ``bound_s`` to end after that; one that
    is not interrupted has ``bound_s`` for all. Once ``stop`` is set, every wait ends with a SelftestError.
    """

    def __init__(self, options: Sequence[str], bound_s: float, reach_s: float, stop: threading.Event) -> None:
        self._options = tuple(options)
        self._bound_s = bound_s
        self._stop = stop
        self._mark = secrets.token_hex(8)
        self._began = time.monotonic()
        self._deadline = self._began + max(bound_s, reach_s)
        self._stack = contextlib.ExitStack()
        self._children: list[subprocess.Popen[bytes]] = []

    def _start(self) -> None:
        self.directory = self._stack.enter_context(scratch.directory("selftest-"))
        self.temporary = self.directory / "tmp"
        self.temporary.mkdir()
        self.out = self.directory / "out"

    def close(self) -> None:
        for pid in self._marked():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for child in self._children:
            child.wait()
        self._stack.close()

    def run(
        self,
        *arguments: str,
        wrapper: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        scenarios: Sequence[str] = SCENARIOS,
    ) -> subprocess.Popen[bytes]:
        """Start ``dmasafe run`` in a process group of its own, as a terminal would; ``wrapper`` is a command before it.

        Its output is collected in ``stdout`` and ``stderr`` (``stdout-2`` for a second one, ...) of the directory.
        """
        number = f"-{len(self._children) + 1}" if self._children else ""
        command = [*wrapper, sys.executable, "-m", "dmasafe.cli", "run", *scenarios, "--results", str(self.out)]
        marked = {**os.environ, "TMPDIR": str(self.temporary), _MARK: self._mark, **(environment or {})}
        with (
            (self.directory / f"stdout{number}").open("wb") as out,
            (self.directory / f"stderr{number}").open("wb") as err,
        ):
            child = subprocess.Popen(
                [*command, *self._options, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=marked,
                start_new_session=True,
            )
        self._children.append(child)
        return child

    def text(self, name: str) -> str:
        """What a file of the directory holds, "" if it does not exist."""
        try:
            return (self.directory / name).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def until(self, what: str, reached: Callable[[], object], poll_s: float = POLL_S) -> None:
        """Wait for a moment of the run. Raises SelftestError if it ends, or its time, before that."""
        while not reached():
            if time.monotonic() > self._deadline:
                raise SelftestError(f"the run did not get to {what} in time")
            if self._children and self._children[0].poll() is not None and not reached():
                raise SelftestError(f"the run ended before {what}: {self.text('stderr')[-300:]}")
            self._rest(poll_s)

    def until_stage(self, name: str) -> None:
        """Wait until the run says on standard error that a stage begins."""
        self.until(f"'{name}'", lambda: any(line.startswith(name) for line in self.text("stderr").splitlines()))

    def interrupt(self) -> None:
        """Ctrl-C: the signal goes to the whole group in the foreground."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._children[0].pid, signal.SIGINT)
        self._began = time.monotonic()
        self._deadline = self._began + self._bound_s

    @property
    def took_s(self) -> float:
        """Seconds since the run began or, if it was interrupted, since then: what its bound is for."""
        return time.monotonic() - self._began

    def wait(self) -> list[int] | None:
        """The exit statuses, or None if one run did not end within the bound."""
        while any(child.poll() is None for child in self._children):
            if time.monotonic() > self._deadline:
                return None
            self._rest(POLL_S)
        return [child.returncode for child in self._children]

    def _rest(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise SelftestError("interrupted")

    def left_behind(self) -> list[str]:
        """Processes, sockets, temporary files and unfinished results that should be gone, in words."""
        deadline = time.monotonic() + LEAVE_S
        while (pids := list(self._marked())) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        found = [f"process {pid} ({_command(pid)})" for pid in pids]
        found += [f"{path.name} in TMPDIR" for path in self.temporary.iterdir()]
        if self.out.is_dir():
            found += [f"{path.name} in the results" for path in self.out.iterdir() if path.name.startswith(".")]
        return found

    def _marked(self) -> Iterator[int]:
        mark = f"{_MARK}={self._mark}".encode()
        for path in Path("/proc").glob("[0-9]*/environ"):
            # Gone in the meantime, or somebody else's.
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    yield int(path.parent.name)


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80]
    return "gone"
