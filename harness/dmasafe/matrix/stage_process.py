# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens in the process of its own in which a worker has stages done (dmasafe/matrix/stage_main.py).

The worker writes the request, as JSON, to its standard input, and reads lines of JSON from its standard output:
progress, and what came of each stage. The process ends with its worker, and on SIGTERM, and leaves nothing running.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from dmasafe.errors import DmasafeError
from dmasafe.report.progress import ProgressDisplay

_PR_SET_PDEATHSIG = 1
_TELL_EVERY_S = 0.5
_SHOWN_FRAMES = 6

Arguments = dict[str, Any]
Result = dict[str, Any]


class Reporter(ProgressDisplay):
    """Progress as lines of JSON, at most a few a second."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._answers = stream
        self._told = 0.0

    def advance(self, done: float, total: float | None = None, text: str = "") -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            tell(self._answers, {"done": done, "total": total, "text": text})

    def _say(self, line: str) -> None:
        tell(self._answers, {"doing": line})


def tell(stream: TextIO, what: Result) -> None:
    stream.write(json.dumps(what) + "\n")
    stream.flush()


Stage = Callable[[Arguments, Reporter], Result]

_interrupted = False


def interrupted() -> bool:
    """Whether the process was told to end, for those who catch KeyboardInterrupt."""
    return _interrupted


def _stop(_signal: int, _frame: FrameType | None) -> None:
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


def end_with(parent: int) -> None:
    """Be stopped when the process ``parent`` ends, however it ends."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise KeyboardInterrupt


def perform(request: Arguments, answers: TextIO, stages: Mapping[str, Stage]) -> None:
    """Do the stages of a request, one after the other, and tell what came of each; the first failure ends it.

    What a stage finds out is known to those after it.
    """
    known = dict(request["known"])
    for stage in request["stages"]:
        started = time.monotonic()
        tell(answers, {"began": stage["name"]})
        reporter = Reporter(answers)
        arguments = {**stage["arguments"], "known": known, "name": stage["name"]}
        arguments |= {key: request[key] for key in ("run", "store")}
        result = stages[stage["kind"]](arguments, reporter)
        known |= result
        tell(answers, {"finished": stage["name"], "result": result, "seconds": time.monotonic() - started})


def main(stages: Callable[[], Mapping[str, Stage]]) -> None:
    """Do what standard input asks for. ``stages`` is called once the process ends with its worker."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever prints must not look like an answer.
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    # Nobody may be there any more to read it: no reason for a traceback.
    with contextlib.suppress(BrokenPipeError):
        try:
            end_with(request["parent"])
            # What results say of their origin is what the user typed.
            sys.argv[1:] = request["command"]
            perform(request, answers, stages())
        except DmasafeError as error:
            tell(answers, {"failed": str(error)})
        except KeyboardInterrupt:
            tell(answers, {"interrupted": True})
        except Exception as error:
            tell(answers, {"failed": _mistake(error)})
            raise


def _mistake(error: Exception) -> str:
    """An error that nobody foresaw, with the places it came through: the process's own words are not kept."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}()" for frame in frames]
    return f"an error in dmasafe: {type(error).__name__}: {error}, at {', called from '.join(places[:_SHOWN_FRAMES])}"
