# SPDX-License-Identifier: GPL-2.0-or-later
"""Around every command: standard streams that can be trusted, signals that interrupt, and one exit status for each end.

0 and 1 are a command's own, and so is 2, which is a user's mistake and this machine's trouble too. 3 is a bug of ours.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click

import dmasafe
from dmasafe.errors import DmasafeError, os_sentence
from dmasafe.scratch import PREFIX
from dmasafe.targets.interrupt import SIGNALS

EXIT_TROUBLE = 2
EXIT_BUG = 3
# As a shell says of a program that a signal ended: 130 is Ctrl-C.
EXIT_SIGNAL = 128
_OUTPUT = "standard output"
# What a file without a name, a process or a thread may meet where this machine runs out of something.
_EXHAUSTED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN})
# An OSError about a path elsewhere is about what a user named, or about this machine.
_OURS = (str(Path(dmasafe.__file__).parent), "/proc/", "/sys/")


class _ReaderGone(Exception):
    """Nobody reads standard output any more (| head). No OSError: click and rich would make status 1 of that."""


class _Output(io.FileIO):
    """Standard output, which says so if it cannot be written."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise _ReaderGone from error
        except OSError as error:
            error.filename = _OUTPUT
            raise


class _Errors(io.FileIO):
    """Standard error: where it cannot be written, there is nobody to tell, and no reason to stop."""

    def write(self, data: Any, /) -> int:
        with contextlib.suppress(OSError):
            super().write(data)
        return len(data)


def guard_streams() -> None:
    """Replace standard output and standard error; a closed stream's number is not to become another file's."""
    for number, closed in enumerate((sys.stdin is None, sys.stdout is None, sys.stderr is None)):
        if closed:
            # The wrong way round, so that its use is an error.
            os.open(os.devnull, os.O_RDONLY if number == 1 else os.O_WRONLY)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    # Whoever calls a command in his own process may have put something else there.
    if sys.stdout is sys.__stdout__:
        sys.stdout = _wrapped(_Output(1, "w", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _wrapped(_Errors(2, "w", closefd=False), sys.stderr)


def _wrapped(raw: io.FileIO, old: Any) -> io.TextIOWrapper:
    if old is None:
        return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace")
    return io.TextIOWrapper(io.BufferedWriter(raw), old.encoding, old.errors, line_buffering=old.line_buffering)


def hear_signals() -> None:
    """Make SIGTERM, SIGHUP and SIGQUIT do what Ctrl-C does, unless they are ignored, as nohup does."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(*([] if number == signal.SIGINT else [signal.Signals(number).name]))


def status_of(command: Callable[[], object]) -> int:
    """Carry out ``command``; the exit status, with the reason on standard error for each end but its own."""
    try:
        status = command()
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except DmasafeError as error:
        return _say(str(error))
    except (KeyboardInterrupt, click.Abort) as error:
        # click makes an Abort of a KeyboardInterrupt.
        name = str(error.__cause__ if isinstance(error.__cause__, KeyboardInterrupt) else error)
        _say(f"interrupted by {name}" if name else "interrupted")
        return EXIT_SIGNAL + (signal.Signals[name] if name else signal.SIGINT)
    except _ReaderGone:
        _discard_output()
        return EXIT_SIGNAL + signal.SIGPIPE
    except OSError as error:
        if error.filename == _OUTPUT:
            _discard_output()
            return _say(os_sentence("write", _OUTPUT, error))
        if error.filename is None and error.errno in _EXHAUSTED:
            return _say(f"this machine has not enough of something: {error.strerror}")
        if isinstance(error.filename, str) and not error.filename.startswith(_OURS):
            return _say(os_sentence("use", error.filename, error, "name another place"))
        return _bug(error)
    except Exception as error:
        return _bug(error)


def _say(text: str) -> int:
    click.echo(f"dmasafe: {text}", err=True)
    return EXIT_TROUBLE


def _discard_output() -> None:
    """What is still in the buffer must not fail a second time when Python ends."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _bug(error: Exception) -> int:
    """Keep the traceback for a report; where it cannot be kept it is printed."""
    told = "".join(traceback.format_exception(error))
    where = "below"
    try:
        with tempfile.NamedTemporaryFile("w", prefix=f"{PREFIX}error-", suffix=".txt", delete=False) as file:
            file.write(f"{sys.argv}\n{told}")
            where, told = f"in {file.name}", ""
    except OSError:
        pass
    kind = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    _say(f"internal error, a bug of dmasafe's: {kind}; please report it, with the traceback {where}")
    click.echo(told, err=True, nl=False)
    return EXIT_BUG
