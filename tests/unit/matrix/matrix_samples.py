# SPDX-License-Identifier: GPL-2.0-or-later
"""Made-up runs that the tests of the matrix share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from dmasafe.facts import KernelInfo
from dmasafe.matrix.history import History
from dmasafe.matrix.record import Facts, NewRun, prepare, record
from dmasafe.outcome import Frame, Judgement, Outcome, Splat, Verdict
from dmasafe.report import json_report
from dmasafe.report.results import Results, Row
from dmasafe.scenario import parse_scenario

SEND = "heap/master_send/virtio/8"
RECEIVE = "heap/master_recv/virtio/8"
STACK = "stack/master_send_dmasafe/dmasafe:bounce/8"
HIGHMEM = "kmap/master_send/virtio/8"
IDS = (SEND, RECEIVE, STACK, HIGHMEM)
FIRST = datetime(2026, 11, 1, 2, tzinfo=UTC)


def splat(function: str = "payload_map", message: str = "rejecting DMA map of vmalloc memory") -> Splat:
    frames = (
        Frame("dma_map_page_attrs", 0x40, 0x120),
        Frame(function, 0x1F, 0x2A0, "dmasafe_controller", True, "controller_payload.c", 312),
    )
    return Splat("map-vmalloc-rejected", "0000:00:05.0", "dmasafe", message, {}, frames=frames)


def passed(outcome: Outcome = Outcome.SAFE, *splats: Splat) -> Judgement:
    return Judgement(Verdict.PASS, outcome, outcome, "as the source says", True, splats, 50.0)


def failed(outcome: Outcome = Outcome.SILENT, why: str = "damaged: guard-after", *splats: Splat) -> Judgement:
    return Judgement(Verdict.FAIL, outcome, Outcome.SAFE, why, None, splats, 50.0)


def lost(why: str = "log records were lost") -> Judgement:
    return Judgement(Verdict.INCONCLUSIVE, None, Outcome.SAFE, why)


def skipped(why: str = "x86_64 has no highmem") -> Judgement:
    return Judgement(Verdict.SKIP, None, None, why)


USUAL: dict[str, Judgement] = {
    SEND: passed(),
    RECEIVE: passed(),
    STACK: passed(Outcome.CAUGHT, splat()),
    HIGHMEM: skipped(),
}


def results(
    changes: Mapping[str, Judgement | None] | None = None,
    *,
    version: str = "6.12.117-1",
    config: str = "default",
    suite: str = "core",
    boot_s: float | None = 2.0,
    canary: bool = True,
    reason: str | None = None,
    source: str | None = None,
) -> Results:
    """A run of four scenarios, some otherwise than usual; None takes one away."""
    judgements = {**USUAL, **(changes or {})}
    rows = tuple(Row.of(parse_scenario(id_), one) for id_, one in judgements.items() if one is not None)
    release = version.partition("-")[0]
    kernel = KernelInfo(release, "x86_64", config, source or f"linux-source-6.12 {version}")
    return Results(suite, "qemu", kernel, "tcg", canary, rows, boot_s, 10.0, 14.0, reason=reason)


def run(
    night: int,
    changes: Mapping[str, Judgement | None] | None = None,
    *,
    hour: int = 0,
    revision: str | None = "1bc8f64",
    build_s: float | None = None,
    source_id: str | None = None,
    **more: object,
) -> NewRun:
    """The run of a night, counted from 0; every one has bytes of its own."""
    found = results(changes, **more)  # type: ignore[arg-type]
    data = f"{night} {hour} {json_report.render(found)}".encode()
    when = FIRST + timedelta(days=night, hours=hour)
    return prepare(found, data, Facts(when, None, revision, build_s, None, source_id), "results.json")


def history_of(database, *runs: NewRun):
    """Record the runs; a History on an open connection, to be used as a context manager."""
    record(database, runs)
    return reading(database)


class reading:
    """``with reading(database) as history``."""

    def __init__(self, database) -> None:
        self._context = database.reading()

    def __enter__(self) -> History:
        return History(self._context.__enter__())

    def __exit__(self, *error) -> None:
        self._context.__exit__(*error)
