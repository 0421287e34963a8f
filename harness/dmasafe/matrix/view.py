# SPDX-License-Identifier: GPL-2.0-or-later
"""A run while it runs: a table that changes on a terminal, sparse lines elsewhere, and the summary at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dmasafe.closing import Closing
from dmasafe.matrix.engine import Event
from dmasafe.matrix.plan import Plan
from dmasafe.matrix.run import Judged
from dmasafe.outcome import Verdict
from dmasafe.report.console import is_live
from dmasafe.report.text import one_line, plural

PLAIN_INTERVAL_S = 15.0
_REFRESHES_PER_S = 2
# Lines of a terminal that are not rows of the table.
_AROUND = 8
_STYLE = {0: "green", 1: "bold red", 2: "bold yellow"}
_WORDS = {0: "PASS", 1: "FAIL", 2: "INCONCLUSIVE"}


@dataclass
class _Row:
    """A job: the newest of its stages, what that does, since when."""

    stage: str = ""
    text: str = "waiting"
    since: float = 0.0
    judged: Judged | None = None


class Watch(Closing):
    """Use it as a context manager; ``stream`` is standard error if None."""

    def __init__(self, plan: Plan, dashboard: str | None = None, stream: TextIO | None = None) -> None:
        self._plan = plan
        self._stream = stream or sys.stderr
        self._rows = {job.name: _Row() for job in plan.jobs}
        self._jobs = {name: [job.name for job in plan.jobs if name in job.stages] for name in plan.stages}
        self._said: dict[str, float] = {}
        self._started = time.monotonic()
        self._dashboard = dashboard
        self._live: Live | None = None

    def _start(self) -> None:
        if is_live(self._stream):
            console = Console(file=self._stream, highlight=False)
            self._live = Live(
                console=console, get_renderable=self._table, refresh_per_second=_REFRESHES_PER_S, transient=True
            )
            self._live.start()
        if self._dashboard:
            self._say(f"Dask's dashboard: {self._dashboard}")

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def event(self, event: Event) -> None:
        now = time.monotonic()
        text = one_line(event.text)
        for name in event.stages:
            for job in self._jobs.get(name, []):
                row = self._rows[job]
                if row.judged is None:
                    row.stage, row.text = name, {"began": "", "finished": "done"}.get(event.kind, text)
                    row.since = now if event.kind == "began" else row.since
            self._tell(name, event, text, now)

    def _tell(self, name: str, event: Event, text: str, now: float) -> None:
        if event.kind == "finished":
            assert event.record is not None
            self._say(f"{name}: done, {event.record['seconds']:.1f} s")
        elif event.kind == "failed":
            self._say(f"{name}: FAILED: {text}")
        elif (
            event.kind == "doing"
            and self._live is None
            and now - self._said.get(name, self._started) >= PLAIN_INTERVAL_S
        ):
            self._said[name] = now
            self._say(f"{name}: {text}")

    def judged(self, judged: Judged) -> None:
        self._rows[judged.job.name].judged = judged
        self._say(f"{judged.job.name}: {told(judged)}")

    def _say(self, line: str) -> None:
        text = f"{time.monotonic() - self._started:6.1f} s  {line}"
        if self._live is not None:
            self._live.console.print(Text(text), soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)

    def _table(self) -> Table:
        """What is under way first; what does not fit on the screen is counted."""
        assert self._live is not None
        table = Table(box=None, pad_edge=False)
        for heading in ("cell and suite", "stage", "", "seconds"):
            table.add_column(heading, no_wrap=True, justify="right" if heading == "seconds" else "left")
        now = time.monotonic()
        open_rows = [(name, row) for name, row in self._rows.items() if row.judged is None]
        open_rows.sort(key=lambda one: not one[1].since)
        room = max(3, self._live.console.height - _AROUND)
        for name, row in open_rows[:room]:
            stage = self._plan.stages[row.stage].kind.value if row.stage else ""
            table.add_row(name, stage, row.text, f"{now - row.since:.0f}" if row.since else "")
        done = len(self._rows) - len(open_rows)
        more = len(open_rows) - room
        rest = f"{plural(more, 'more')} waiting, " if more > 0 else ""
        table.add_row(f"{rest}{done} of {len(self._rows)} judged", "", "", f"{now - self._started:.0f}", style="dim")
        return table


def told(judged: Judged) -> str:
    """What came of a job, in one line."""
    if judged.results is None:
        return f"NO RESULT: {one_line(judged.error or '')}"
    numbers = ", ".join(f"{count:,} {verdict}" for verdict, count in judged.counts.items() if count)
    percent = judged.agreement.percent if judged.agreement is not None else None
    agreed = f"; the model agrees in {percent:.2f} %" if percent is not None else ""
    return f"{_WORDS[judged.status]}: {numbers}{agreed}"


def to_json(judged: Judged) -> dict[str, Any]:
    """What came of a job, for machines; ``error`` says why there is no result."""
    percent = judged.agreement.percent if judged.agreement is not None else None
    counts = {verdict.lower(): count for verdict, count in judged.counts.items()}
    named = {"job": judged.job.name, "cell": judged.job.cell.name, "suite": judged.job.suite, "status": judged.status}
    return named | {"counts": counts, "agreement_percent": percent, "error": judged.error}


def summary(found: Sequence[Judged]) -> Iterator[Text]:
    """The end of a run: a line for each job, then the rows on which model and kernel disagree."""
    width = max((len(one.job.name) for one in found), default=0)
    for one in found:
        yield Text.assemble(f"{one.job.name:<{width}}  ", (told(one), _STYLE[one.status]))
    for one in found:
        yield from _disagreements(one)
    failed = sum(one.counts.get(Verdict.FAIL, 0) for one in found)
    none = sum(one.results is None for one in found)
    cells = len({one.job.cell for one in found})
    yield Text(f"{plural(len(found), 'suite')} in {plural(cells, 'cell')}: {failed:,} FAIL, {none} without a result")


def _disagreements(one: Judged, shown: int = 5) -> Iterator[Text]:
    if one.agreement is None or not one.agreement.differing:
        return
    yield Text(f"model-kernel disagreement in {one.job.name}: {plural(one.agreement.differing, 'row')}", "bold")
    for row in one.agreement.differences[:shown]:
        why = f" (known: {row.known})" if row.known else ""
        yield Text(f"  {one_line(row.scenario)}: {', '.join(row.fields)}{why}")
    if one.agreement.differing > shown:
        yield Text(f"  and {one.agreement.differing - shown:,} more: see model.json")
