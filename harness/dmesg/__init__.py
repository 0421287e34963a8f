# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel said: lines of any log in, typed splats out.

kmsg.py and lines.py find the kernel's text, reports.py finds the reports in it, classes.py says what each means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.dmesg.classes import FIELDS, SPLAT_CLASSES, SplatClass
from harness.dmesg.headers import ANCHORS
from harness.dmesg.lines import read_line
from harness.dmesg.reports import Reader
from harness.outcome import Splat

__all__ = ["FIELDS", "SPLAT_CLASSES", "SplatClass", "parse", "parse_records"]


def parse(lines: Iterable[bytes | str]) -> Iterator[Splat]:
    """The splats of a log, in the order of their first lines; any iterator of lines will do.

    ``log_line`` counts the items of ``lines`` from 1. Memory is constant and no input raises.
    """
    reader = Reader()
    for number, raw in enumerate(lines, 1):
        line = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
        if reader.idle and not any(anchor in line for anchor in ANCHORS):
            continue
        for caller, text in read_line(line):
            yield from reader.feed(number, caller, text)
    yield from reader.close()


def parse_records(records: Iterable[str]) -> list[Splat]:
    """The splats in raw /dev/kmsg records, one record with its dictionary lines an item, as the agent forwards them.

    ``log_line`` is the 1-based number of the record. A record without a header is read as plain text.
    """
    reader = Reader()
    splats: list[Splat] = []
    for number, record in enumerate(records, 1):
        for line in record.rstrip("\n").split("\n"):
            for caller, text in read_line(line):
                splats += reader.feed(number, caller, text)
    return splats + reader.close()
