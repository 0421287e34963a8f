# SPDX-License-Identifier: GPL-2.0-or-later
"""Where text for people goes: colours and columns of a terminal, plain text off one. It knows nothing of results."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

PLAIN_WIDTH = 100
_ANY_WIDTH = 10_000


def console_for(stream: TextIO | None = None) -> Console:
    """A console on ``stream`` (standard output): colours on a terminal; plain, 100 columns, off one and under CI."""
    stream = stream or sys.stdout
    if is_live(stream):
        return Console(file=stream, highlight=False)
    return Console(file=stream, highlight=False, width=PLAIN_WIDTH, color_system=None, force_terminal=False)


def is_live(stream: TextIO) -> bool:
    """Whether a person watches ``stream``: a terminal that can move its cursor, and no CI."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and os.environ.get("CI", "") in ("", "0", "false")


def fitted(table: Table, console: Console) -> Table:
    """``table`` in columns that break no word; where there is no room for that, turned: a paragraph for each row."""
    options = console.options.update(width=_ANY_WIDTH)
    parts = [[Measurement.get(console, options, cell) for cell in (one.header, *one.cells)] for one in table.columns]
    least = [max(part.minimum for part in column) for column in parts]
    widths = [max(part.maximum for part in column) for column in parts]
    room = console.width - (Measurement.get(console, options, table).maximum - sum(widths))
    if sum(least) <= room:
        while sum(widths) > room:
            widest = max((width, number) for number, width in enumerate(widths) if width > least[number])[1]
            widths[widest] -= 1
        for column, width in zip(table.columns, widths, strict=True):
            column.width = width
        return table
    turned = Table.grid("", Column(overflow="fold"), padding=(0, 2, 0, 0))
    turned.title, turned.title_justify, turned.title_style = table.title, table.title_justify, table.title_style
    headings = [str(column.header).replace("_\n", "_").replace("\n", " ") for column in table.columns]
    for number, row in enumerate(zip(*(column.cells for column in table.columns), strict=True)):
        if number:
            turned.add_row()
        for heading, cell in zip(headings, row, strict=True):
            if cell:
                turned.add_row(Text(heading, "bold"), cell)
    return turned
