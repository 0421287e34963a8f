# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel said: lines of any log in, typed splats out.

lines.py, source.py and kmsg.py find the kernel's text, reports.py the reports in it, classes.py says what each means;
stream.py reads logs of any length. culprit.py and symbols.py say whose code it was, explain.py what to do about it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dmasafe.dmesg.anchors import may_matter
from dmasafe.dmesg.classes import SPLAT_CLASSES
from dmasafe.dmesg.lines import LONGEST_LINE_BYTES, read_line, record_lines
from dmasafe.dmesg.reports import Reader
from dmasafe.dmesg.source import Source
from dmasafe.dmesg.stream import Tally, follow, parse_path, parse_stream
from dmasafe.outcome import Splat

if TYPE_CHECKING:
    from dmasafe.dmesg.culprit import Blame, blame
    from dmasafe.dmesg.explain import Explanation, explanation
    from dmasafe.dmesg.symbols import Symbols, known_as

__all__ = [
    "SPLAT_CLASSES",
    "Blame",
    "Explanation",
    "Symbols",
    "Tally",
    "blame",
    "explanation",
    "follow",
    "known_as",
    "parse",
    "parse_path",
    "parse_records",
    "parse_stream",
]

# What only reading a log does not need, imported when it is used: most logs have no splat.
_LATER = {
    "Blame": "culprit", "blame": "culprit", "Explanation": "explain", "explanation": "explain", "Symbols": "symbols",
    "known_as": "symbols",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)


def parse(lines: Iterable[bytes | str]) -> Iterator[Splat]:
    """The splats of a log, in the order of their first lines; any iterator of lines will do.

    ``log_line`` counts the items of ``lines`` from 1. Memory is constant and no input raises.
    """
    reader = Reader()
    source = Source(lambda: reader.idle)
    for number, raw in enumerate(lines, 1):
        matters = not reader.idle or may_matter(raw[:LONGEST_LINE_BYTES])
        if not matters and source.idle:
            continue
        for begun, line in source.read(number, raw, matters):
            yield from reader.feed(begun, *line)
    for begun, line in source.close():
        yield from reader.feed(begun, *line)
    yield from reader.close()


def parse_records(records: Iterable[str]) -> list[Splat]:
    """The splats in raw /dev/kmsg records, one record with its dictionary lines an item, as the agent forwards them.

    ``log_line`` is the 1-based number of the record. A record without a header is read as plain text.
    """
    reader = Reader()
    splats: list[Splat] = []
    for number, record in enumerate(records, 1):
        if reader.idle and not may_matter(record):
            continue
        lines = record_lines(record)
        if lines is None:
            lines = [part for line in record.rstrip("\n").split("\n") for part in read_line(line)]
        for line in lines:
            splats += reader.feed(number, *line)
    return splats + reader.close()
