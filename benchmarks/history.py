# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a history of 1,000 nights x 100 cells x 1,500 scenarios takes to compare and to report, and how much memory.

Whole processes, start and imports included, against reading the same bytes: every run and every vector, in one
statement, without a look at them. SQLite, and PostgreSQL where there is one.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from sqlalchemy import func, insert, select

from benchmarks import postgres
from dmasafe.architecture import architecture_names
from dmasafe.dmesg import SPLAT_CLASSES
from dmasafe.matrix import schema, vectors, writer
from dmasafe.matrix.cells import Cell
from dmasafe.matrix.database import Database, open_history
from dmasafe.matrix.judgements import Signature, StoredJudgement
from dmasafe.matrix.record import packed
from dmasafe.outcome import Frame, Outcome, Splat, Verdict
from dmasafe.scenario import Scenario, core_suite

NIGHTS, CELLS, SCENARIOS = 1000, 100, 1500
SEED = 1
WANTED_S, WANTED_MB = 10, 1024
FIRST_NIGHT = date(2024, 1, 1)
# Scenarios a run that go otherwise than usual for that one night, on average: two runs in three have some.
FLAKES_A_RUN = 1.1
SOURCE_NIGHTS = 30
REGRESSION_NIGHTS = 50
UNTRUSTED_RUNS = 200
_SOURCES = ("5.10", "6.1", "6.12", "7.2")
_ARCHITECTURES = architecture_names()
_CONFIGURATIONS = ("default", "no-vmap-stack", "no-dma-debug", "debug-sg", "kasan")
_DAY_S = 86_400


@dataclass(frozen=True)
class World:
    """What the synthetic runs are made of; ids of the database."""

    scenarios: list[int]
    set_id: int
    usual: list[int]
    otherwise: list[int]
    failing: int
    untrusted: int
    signatures: list[int]


def fill(database: Database, nights: int, cells: int, count: int) -> None:
    """Write the history: stable verdicts, flaky ones, regressions that stay a while, new sources, untrusted runs."""
    source = random.Random(SEED)
    names = [
        Cell(f"linux-source-{_SOURCES[n % 4]}", _ARCHITECTURES[n // 4 % len(_ARCHITECTURES)],
             _CONFIGURATIONS[n // 20 % 5] + str(n // 100) if n >= 100 else _CONFIGURATIONS[n // 20 % 5], "qemu", "core")
        for n in range(cells)
    ]  # fmt: skip
    with database.writing() as connection:
        ids = writer.intern_cells(connection, names)
        world = _world(connection, count)
    for cell in names:
        with database.writing() as connection:
            _fill_cell(connection, source, ids[cell], world, nights)


def _world(connection, count: int) -> World:  # type: ignore[no-untyped-def]
    scenarios = core_suite()[:count]
    rows = sorted((_scenario(one) for one in scenarios), key=lambda row: row["name"])
    ids = writer.intern(connection, schema.scenario, ("name",), rows)
    classes = [slug for slug in SPLAT_CLASSES if slug != "other"][:20]
    signatures = [Signature(slug, f"dmasafe_transfer_{number}") for number, slug in enumerate(classes)]
    known = writer.intern_signatures(connection, signatures)
    safe = StoredJudgement(Verdict.PASS, Outcome.SAFE, Outcome.SAFE, True, (), "the buffer may be mapped")
    caught = [
        StoredJudgement(Verdict.PASS, Outcome.CAUGHT, Outcome.CAUGHT, None, (one,), "dma-debug reports it")
        for one in signatures
    ]
    skipped = StoredJudgement(Verdict.SKIP, None, None, None, (), "this kernel has no highmem")
    silent = StoredJudgement(
        Verdict.FAIL, Outcome.SILENT, Outcome.SAFE, None, (), "stray DMA to 0x... without a report"
    )
    refused = StoredJudgement(
        Verdict.FAIL, Outcome.REFUSED, Outcome.SAFE, None, (), "returned -5, nothing was transferred"
    )
    lost = StoredJudgement(Verdict.INCONCLUSIVE, None, None, None, (), "the canary did not splat")
    numbers = writer.intern_findings(connection, [safe, *caught, skipped, silent, refused, lost])
    by_buffer = {"kmap": skipped} | {
        kind: caught[number] for number, kind in enumerate(("stack", "vmalloc", "rodata", "module-data", "coherent"))
    }
    usual = [numbers[by_buffer.get(row["buffer"], safe)] for row in rows]
    set_id = writer.intern_set(connection, [ids[row["name"]] for row in rows])
    return World(
        [ids[row["name"]] for row in rows], set_id, usual, [numbers[silent], *(numbers[one] for one in caught)],
        numbers[refused], numbers[lost], list(known.values()),
    )  # fmt: skip


def _scenario(one: Scenario) -> dict[str, str]:
    place = f"{one.controller}:{one.policy}" if one.policy else one.controller
    return {"name": one.id, "buffer": one.buffer, "operation": one.operation, "place": place}


def _fill_cell(connection, source: random.Random, cell_id: int, world: World, nights: int) -> None:  # type: ignore[no-untyped-def]
    size = len(world.scenarios)
    base = list(world.usual)
    for _ in range(20):
        base[source.randrange(size)] = source.choice(world.otherwise)
    broken: list[int] = []
    found: list[tuple[int, bytes]] = []
    rows = []
    for night in range(nights):
        if night % REGRESSION_NIGHTS == source.randrange(REGRESSION_NIGHTS):
            broken = [source.randrange(size) for _ in range(3)] if not broken else []
        findings = base.copy()
        for place in broken:
            findings[place] = world.failing
        for _ in range(_poisson(source, FLAKES_A_RUN)):
            findings[source.randrange(size)] = source.choice(world.otherwise)
        if not source.randrange(UNTRUSTED_RUNS):
            findings = [world.untrusted] * size
        found.append((world.set_id, vectors.raw(findings)))
        day = FIRST_NIGHT + timedelta(days=night)
        moment = int((day - date(1970, 1, 1)).total_seconds()) + 3600 + cell_id
        built = night % SOURCE_NIGHTS == 0
        rows.append({
            "digest": vectors.digest(f"{cell_id}/{night}".encode()) * 2,
            "cell_id": cell_id, "time": moment, "night": day.isoformat(),
            "source_id": f"version {night // SOURCE_NIGHTS}", "release": f"6.12.{night // SOURCE_NIGHTS}",
            "revision": f"{night // 7:040x}", "accel": "tcg",
            "build_s": source.uniform(150, 240) if built else None,
            "boot_s": source.gauss(1.5, 0.1), "scenarios_s": source.gauss(20, 1),
        })  # fmt: skip
    ids = writer.intern_vectors(connection, found)
    for row, key in zip(rows, found, strict=True):
        row["vector_id"] = ids[key]
    connection.execute(insert(schema.run), rows)
    times = {"first_time": rows[0]["time"], "last_time": rows[-1]["time"]}
    example = packed(_splat().to_json())
    writer.see(connection, [
        {"cell_id": cell_id, "signature_id": one, **times, "source_id": "", "scenario_id": world.scenarios[0],
         "example": example} for one in world.signatures
    ])  # fmt: skip


def _poisson(source: random.Random, mean: float) -> int:
    count, left = 0, source.expovariate(1)
    while left < mean:
        count, left = count + 1, left + source.expovariate(1)
    return count


def _splat() -> Splat:
    frames = tuple(Frame(f"function_{number}", 0x10, 0x100) for number in range(20))
    return Splat("map-invalid-area", "0000:00:05.0", "dmasafe", "device driver maps memory from kernel text", {}, None,
                 None, None, frames)  # fmt: skip


def measure(place: str, cache: Path, *arguments: str) -> tuple[float, float, float, int]:
    """Seconds by the clock, seconds of the processor, peak memory in MB and exit status of a ``dmasafe`` command."""
    command = [sys.executable, "-m", "dmasafe.cli", "matrix", *arguments, "--db", place]
    # As for a user, the modules are compiled once, not in every process.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(cache)
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # Linux counts ru_maxrss in KiB.
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode


def scan(database: Database) -> float:
    """Seconds in which the database reads every run and every byte of the vectors, the faster of two."""
    seconds = []
    for _ in range(2):
        started = time.monotonic()
        with database.reading() as connection:
            connection.execute(select(func.count(schema.run.c.boot_s), func.max(schema.run.c.night))).one()
            # What is made of the bytes; their length alone stands in front of them.
            read = func.hex if database.is_sqlite else func.md5
            connection.execute(select(func.sum(func.length(read(schema.vector.c.findings))))).one()
        seconds.append(time.monotonic() - started)
    return min(seconds)


def _questions(out: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    first = FIRST_NIGHT.isoformat()
    yield "compare two nights", ("compare", "latest~1", "latest")
    yield "compare first and last night", ("compare", first, "latest")
    yield "regressions of a night", ("regressions", "--since", "latest")
    yield "regressions of the whole history", ("regressions", "--since", (FIRST_NIGHT + timedelta(days=1)).isoformat())
    yield "report", ("report", str(out))


def bench(name: str, place: str, nights: int, cells: int, count: int) -> None:
    """Fill a history, ask it, print."""
    started = time.monotonic()
    with open_history(place, create=True) as database:
        fill(database, nights, cells, count)
        filled = time.monotonic() - started
        baseline = scan(database)
        with database.reading() as connection:
            size = connection.execute(select(func.count()).select_from(schema.vector)).scalar_one()
    print(
        f"history: {name}: {nights:,} nights x {cells} cells x {count:,} scenarios ({size:,} different vectors) "
        f"written in {filled:.0f} s, reading its bytes takes {baseline:.2f} s", flush=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="dmasafe-bench-") as directory:
        out, cache = Path(directory) / "site", Path(directory) / "pycache"
        measure(place, cache, "report", str(out), "--nights", "1")
        for question, arguments in _questions(out):
            seconds, processor, megabytes, status = measure(place, cache, *arguments)
            fine = seconds <= WANTED_S and megabytes <= WANTED_MB and status in (0, 1)
            print(
                f"history: {name}: {question}: {seconds:.1f} s ({processor:.1f} s of CPU), {megabytes:.0f} MB, "
                f"{seconds / baseline:.1f} times reading the bytes{'' if fine else '  TOO MUCH'}", flush=True,
            )  # fmt: skip
        size = sum(path.stat().st_size for path in out.iterdir())
        print(f"history: {name}: the site has {size / 1e6:.1f} MB in {len(list(out.iterdir()))} files", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--nights", type=int, default=NIGHTS)
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--scenarios", type=int, default=SCENARIOS)
    # `make bench` hands its own words to benchmarks/__main__.py.
    options = parser.parse_args(sys.argv[1:] if __name__ == "__main__" else [])
    size = options.nights, options.cells, options.scenarios
    print(f"history: wanted: {WANTED_S} s and {WANTED_MB} MB for each", flush=True)
    with tempfile.TemporaryDirectory(prefix="dmasafe-bench-") as directory:
        file = Path(directory) / "history.sqlite3"
        bench("SQLite", str(file), *size)
        print(f"history: SQLite: the file has {file.stat().st_size / 1e6:.0f} MB", flush=True)
    if postgres.programs() is None:
        print("history: PostgreSQL is not installed (apt-get install postgresql): SQLite only")
    else:
        with postgres.cluster() as url:
            bench("PostgreSQL", url, *size)


if __name__ == "__main__":
    main()
