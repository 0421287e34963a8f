# SPDX-License-Identifier: GPL-2.0-or-later
"""Subprocesses that leave a log and no orphans: each runs in a process group of its own, killed whole on any
exception (Ctrl-C included), and a failure shows the log's last lines and its path.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dmasafe.kernel.errors import BuildError, CacheFullError, KernelError

TAIL_LINES = 15
#: Time for make to delete its half-written targets after SIGTERM, before SIGKILL.
KILL_GRACE_S = 5.0
QUERY_TIMEOUT_S = 120.0

#: The caller's environment must not reach into a build: ``make test-qemu`` runs us below a make of its own.
_FOREIGN_VARIABLES = (
    *("ARCH", "CROSS_COMPILE", "LLVM", "LOCALVERSION", "INSTALL_MOD_PATH", "O", "V", "M", "W", "C"),
    *("KBUILD_OUTPUT", "KCONFIG_CONFIG", "KCONFIG_ALLCONFIG", "KCFLAGS", "KAFLAGS", "KCPPFLAGS"),
    *("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "GNUMAKEFLAGS"),
    *("CPATH", "C_INCLUDE_PATH", "LD_LIBRARY_PATH", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"),
)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment without what would change a kernel build, in the C locale, plus ``extra``."""
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN_VARIABLES}
    # PYTHONDONTWRITEBYTECODE: the kernel's Python scripts would leave __pycache__ in the user's source tree.
    environment.update(LC_ALL="C", PYTHONDONTWRITEBYTECODE="1")
    environment.update(extra or {})
    return environment


def run(
    argv: Sequence[str | Path],
    *,
    what: str,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    hold_fds: Sequence[int] = (),
    shown_as: Mapping[str, str] | None = None,
    error: type[KernelError] = BuildError,
) -> None:
    """Run ``argv`` and append its joined output to ``log``; ``on_line`` sees each line.

    ``what`` completes the sentence "... failed". ``hold_fds`` (locks) stay open in the children, so that a lock
    outlives us for as long as one of them lives. ``shown_as`` replaces texts (a copy's path by the original's) in
    the error. Raises ``error``, or CacheFullError when the output says that the disk is full.
    """
    with log.open("a", encoding="utf-8", errors="replace") as sink:
        sink.write(f"$ {' '.join(str(word) for word in argv)}\n")
        sink.flush()
        try:
            process = subprocess.Popen(
                [str(word) for word in argv],
                cwd=cwd,
                env=dict(env) if env is not None else clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
                pass_fds=tuple(hold_fds),
            )
        except FileNotFoundError as cause:
            raise error(f"{what} failed: {argv[0]} is not installed") from cause
        assert process.stdout is not None
        try:
            with process.stdout:
                for line in process.stdout:
                    sink.write(line)
                    if on_line is not None:
                        on_line(line.rstrip("\n"))
            status = process.wait()
        except BaseException:
            kill_group(process)
            raise
    if status != 0:
        raise _failure(what, status, log, shown_as or {}, error)


def kill_group(process: subprocess.Popen[str]) -> None:
    """End the process group led by ``process``: SIGTERM, then SIGKILL after KILL_GRACE_S; leaves no member."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(KILL_GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # The leader's end says nothing of its children; the group exists until the last of them is gone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def query(argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """The standard output of a short command; KernelError with its last error line if it fails."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=dict(env) if env is not None else clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=QUERY_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as cause:
        raise KernelError(f"{words[0]} is not installed") from cause
    except subprocess.TimeoutExpired as cause:
        raise KernelError(f"'{' '.join(words)}' did not end within {QUERY_TIMEOUT_S:.0f} s") from cause
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise KernelError(f"'{' '.join(words)}' failed: {last}")
    return done.stdout


def tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last ``lines`` lines of a log, without their newlines."""
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]


def _failure(what: str, status: int, log: Path, shown_as: Mapping[str, str], error: type[KernelError]) -> KernelError:
    last = "\n".join(f"    {line}" for line in tail(log))
    for found, shown in shown_as.items():
        last = last.replace(found, shown)
    if "No space left on device" in last or "Disk quota exceeded" in last:
        return CacheFullError(f"{what} failed because the disk is full: make room, or set DMASAFE_CACHE; log: {log}")
    ended = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return error(f"{what} failed ({ended}); its last lines are\n{last}\nand the whole log is {log}")
