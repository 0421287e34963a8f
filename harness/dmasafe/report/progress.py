# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens now, while a kernel builds or a suite runs: a moving bar on a terminal, sparse lines elsewhere.

It goes to standard error, so that standard output holds results only. It is a
dmasafe.progress.Progress, by which packages below know it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Column
from rich.text import Text

from dmasafe.progress import Stage
from dmasafe.report.console import is_live
from dmasafe.report.text import one_line

# Off a terminal: often enough that no CI server takes a build for hung, seldom enough to read the log.
PLAIN_INTERVAL_S = 15.0
# On a terminal: a refresh costs the guest time on a machine with two cores.
LIVE_INTERVAL_S = 0.1
LIVE_REFRESHES_PER_S = 5
BAR_COLUMNS = 16


class ProgressDisplay:
    """Stages one after the other, each with its time; use it as a context manager.

    ``stream`` is standard error if None. ``clock`` gives seconds; tests hand in their own.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._live = is_live(self._stream)
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._name: str | None = None
        self._text = ""
        self._began = self._said = clock()
        self._seconds: dict[str, float] = {}

    def __enter__(self) -> ProgressDisplay:
        if self._live:
            self._bar = Bar(
                SpinnerColumn(),
                # Only the text yields where the screen is narrow.
                BarColumn(BAR_COLUMNS, table_column=Column(min_width=BAR_COLUMNS, no_wrap=True)),
                TextColumn("{task.fields[amount]}", markup=False),
                TimeElapsedColumn(),
                TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
                expand=True,
                console=Console(file=self._stream, highlight=False),
                transient=True,
                refresh_per_second=LIVE_REFRESHES_PER_S,
            )
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._finish(completed=kind is None)
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def stage(self, text: str) -> None:
        """End the stage before and begin one. What stands before the first colon of ``text`` is its name.

        ``stage("kernel: building 6.12.117")`` is named ``kernel``; stages of one name count together.
        """
        self._finish(completed=True)
        self._text = one_line(text)
        self._name = self._text.partition(":")[0]
        self._began = self._said = self._clock()
        if self._bar is not None:
            self._task = self._bar.add_task(self._text, total=None, amount="")
        else:
            self._say(self._text)

    def advance(self, done: float, total: float | None = None, text: str = "") -> None:
        """Say how far the stage is: ``done`` of ``total`` (None: nobody knows), and in ``text`` at what."""
        now = self._clock()
        if self._bar is not None and self._task is not None:
            if now - self._said >= LIVE_INTERVAL_S or done == total:
                self._said = now
                shown = "  ".join(part for part in (self._text, one_line(text)) if part)
                amount = _amount(done, total)
                self._bar.update(self._task, completed=done, total=total, amount=amount, description=shown)
        elif now - self._said >= PLAIN_INTERVAL_S:
            self._said = now
            said = [part for part in (_amount(done, total), one_line(text)) if part]
            self._say(f"{self._name or 'working'}: {', '.join((*said, f'{now - self._began:.0f} s'))}")

    def note(self, text: str) -> None:
        """Say something that stays on the screen."""
        self._say(one_line(text))

    def stages(self) -> tuple[Stage, ...]:
        """Every stage so far with its seconds, the one under way included."""
        seconds = dict(self._seconds)
        if self._name is not None:
            seconds[self._name] = seconds.get(self._name, 0.0) + self._clock() - self._began
        return tuple(Stage(name, count) for name, count in seconds.items())

    def _finish(self, completed: bool) -> None:
        if self._name is None:
            return
        spent = self._clock() - self._began
        self._seconds[self._name] = self._seconds.get(self._name, 0.0) + spent
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
            # A stage that took no time was said for its words.
            took = f", {spent:.1f} s" if round(spent, 1) else ""
            self._say(f"{self._text}{took}" if completed else f"{self._text}: stopped after {spent:.1f} s")
        self._name = None

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(Text(line), soft_wrap=True)
        else:
            print(line, file=self._stream, flush=True)


def _amount(done: float, total: float | None) -> str:
    """``412 of 1,830``, ``412``, or nothing before anything is done."""
    if total:
        return f"{done:,.0f} of {total:,.0f}"
    return f"{done:,.0f}" if done else ""
