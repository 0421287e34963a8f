# SPDX-License-Identifier: GPL-2.0-or-later
"""The reading of a wrapped log is the reading of the log; a cut one keeps its class, or is truncated and of none.

Each recorded log is put through every wrapper (dmesg_wrappers.py): whole, head cut, tail cut, wrapped at 72 columns
and at other widths, between words and within. DMASAFE_SLOW does all of that; without, each wrapper gets one log.
"""

from __future__ import annotations

import collections
import os
import random
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from dmesg_wrappers import WRAPPERS, Text

from dmasafe.dmesg import SPLAT_CLASSES, blame, parse
from dmasafe.dmesg.lines import read_line
from dmasafe.outcome import Splat
from tests.slow import SLOW

FIXTURES = Path(__file__).parents[2] / "fixtures" / "dmesg"
SEED = int(os.environ.get("DMASAFE_SEED", "16"))
# Of the logs that a terminal broke within words, some lose the mark or the header that a report begins with.
PERCENT = {
    "whole": 99, "head cut": 95, "tail cut": 95, "wrapped at 72": 99, "wrapped at 72, device and blame": 95,
    "wrapped": 97, "wrapped, device and blame": 95, "broken": 90,
}  # fmt: skip
COLUMNS = (60, 66, 76, 78, 80, 100)
# What a report can be whose message is lost.
UNKNOWN = {"other", "dma-debug-cut"}


def kernel_lines(path: Path) -> Text:
    lines = path.read_text().splitlines()
    return [part.text for line in lines if not line.startswith("# ") for part in read_line(line)]


LOGS = {
    path.stem: lines
    for path in sorted(FIXTURES.glob("*.log"))
    if not path.stem.startswith("synthetic-paste") and any(parse(lines := kernel_lines(path)))
}


def read(log: str) -> list[Splat]:
    return list(parse(log.encode().split(b"\n")))


def who(splat: Splat) -> tuple[object, ...]:
    blamed = blame(splat)
    return splat.splat_class, splat.device, blamed and (blamed.function, blamed.module)


def wrapped(log: str, columns: int, hyphens: bool = False) -> str:
    """As mailers wrap: between words."""
    lines = (
        textwrap.wrap(line, columns, break_long_words=False, break_on_hyphens=hyphens) or [""]
        for line in log.split("\n")
    )
    return "\n".join(part for line in lines for part in line)


def broken(log: str, columns: int) -> str:
    """As terminals wrap: at the last column."""
    lines = log.split("\n")
    return "\n".join(line[at : at + columns] for line in lines for at in range(0, max(len(line), 1), columns))


def pairs() -> Iterator[tuple[str, str]]:
    names = list(LOGS)
    random.Random(SEED).shuffle(names)
    for number, wrapper in enumerate(WRAPPERS):
        for name in names if SLOW else [names[number % len(names)]]:
            yield name, wrapper


def test_there_are_wrappers_of_all_kinds() -> None:
    assert len(WRAPPERS) >= 60
    assert sum(name.startswith("made up") for name in WRAPPERS) >= 10


@pytest.mark.timeout(0 if SLOW else 300)
def test_a_wrapped_or_cut_log_is_read_as_the_log() -> None:
    right: collections.Counter[str] = collections.Counter()
    count = 0
    wrong: list[tuple[str, ...]] = []
    for name, wrapper in pairs():
        count += 1
        lines, wrap, source = LOGS[name], WRAPPERS[wrapper], random.Random(f"{SEED} {name} {wrapper}")
        expected = list(parse(lines))
        first = expected[0]
        told = next((n for n, line in enumerate(lines) if first.message[:25] in line), first.log_line - 1)
        late = lines[source.randint(first.log_line - 1, max(first.log_line - 1, told)) :]
        early = lines[: source.randint(told + 1, len(lines))]
        anywhere = lines[source.randrange(len(lines)) :]

        told_of = [who(splat) for splat in expected]
        columns = source.choice(COLUMNS)
        results = {"whole": [who(splat) for splat in read(wrap(lines))] == told_of}
        for cut, log in {
            "head cut": wrap(late),
            "tail cut": wrap(early),
            "wrapped at 72": wrapped(wrap(lines), 72),
            "wrapped": wrapped(wrap(lines), columns, hyphens=True),
            "broken": broken(wrap(lines), columns + 20),
        }.items():
            found = read(log)
            results[cut] = bool(found) and found[0].splat_class == first.splat_class
            if "wrapped" in cut:
                results[f"{cut}, device and blame"] = [who(splat) for splat in found] == told_of
            classes = {splat.splat_class for splat in expected} | UNKNOWN
            assert {splat.splat_class for splat in found} <= classes, (name, wrapper, cut)
            assert results[cut] or not found or found[0].splat_class in UNKNOWN, (name, wrapper, cut)
        for splat in read(wrap(anywhere)):
            assert splat.splat_class in {other.splat_class for other in expected} | UNKNOWN, (name, wrapper)
        for cut, same in results.items():
            right[cut] += same
            if not same:
                wrong.append((cut, name, wrapper))
    told_so = f"seed {SEED}: {dict(right)} of {count}; not: {wrong[:20]}"
    for cut, percent in PERCENT.items():
        assert right[cut] * 100 >= percent * count, (cut, told_so)
    print(told_so)


@pytest.mark.parametrize("width", [60, 66, 78, 80, 100])
def test_a_message_wrapped_at_any_width_keeps_class_and_values(width: int) -> None:
    lines = LOGS["synthetic-5.10-arm-free-size"]
    (expected,) = parse(lines)
    log = "\n".join(part for n, line in enumerate(lines) for part in textwrap.wrap(f"[{n:5}.000000] {line}", width))
    (found,) = read(log)
    assert (found.splat_class, found.device, found.fields) == (expected.splat_class, expected.device, expected.fields)


def test_the_unknown_classes_are_classes() -> None:
    assert set(SPLAT_CLASSES) >= UNKNOWN
