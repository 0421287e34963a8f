# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel printf format, read backwards: from the printed line to typed values.

The class table keeps formats as the kernel's source has them; this turns each into one linear-time pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import NamedTuple

# A shorter beginning could be the beginning of anything: then only the whole message counts.
TELLING_HEAD_CHARS = 20

_CONVERSION = re.compile(r"%0?\d*(?:ll|l|z|h)?([diuxs]|p[A-Za-z]*)")

_HEX = r"(?:0x){0,2}([0-9a-fA-F]{1,16})"
# %p of NULL was "(null)" before 4.15; until the hash key is ready it is "(____ptrval____)" or "(ptrval)".
_POINTER = r"(?:0x){0,2}([0-9a-fA-F]{1,16}|\([a-z_]{1,20}\))"
_PATTERNS = {
    "d": r"(-?\d{1,20})",
    "i": r"(-?\d{1,20})",
    "u": r"(\d{1,20})",
    "x": _HEX,
    "s": r"([^\[\]\n]{0,80})",
    "p": _POINTER,
    "pa": _HEX,
    "pad": _HEX,
}


class Prefix(Enum):
    """What the kernel prints before the format."""

    DMA_API = "DMA-API: <driver> <device>: "  # err_printk(); the two swapped before 4.20
    DMA_API_BARE = "DMA-API: "  # pr_fmt() alone
    STRICT = "dmasafe-strict: BUG: <driver> <device>: "  # images/strict/strict_report.c
    DEVICE = "<driver> <device>: "  # dev_WARN(), dev_err()
    NONE = ""


class Reading(NamedTuple):
    """A format found in a line: where it starts and ends there, its values, whether the line holds all of them."""

    start: int
    end: int
    values: dict[str, int | str]
    complete: bool
    text: str


@dataclass(frozen=True)
class Format:
    """One message of the kernel's.

    ``text`` is the printf format of one line; ``names`` names its conversions in order. ``warns`` is False for a
    message that comes alone, without a WARNING around it. ``versions`` says which kernels print it in this form
    (read in 5.10, 6.1, 6.12 and 7.2); empty for all that the table covers.
    """

    text: str
    names: tuple[str, ...] = ()
    prefix: Prefix = Prefix.DMA_API
    warns: bool = True
    versions: str = ""

    @cached_property
    def head(self) -> str:
        """The literal text before the first conversion."""
        return _CONVERSION.split(self.text, maxsplit=1)[0]

    @cached_property
    def core(self) -> str:
        """What tells the message from others: the text before its first value, without the bracket around that."""
        return self.head.partition("[")[0].strip()

    @cached_property
    def conversions(self) -> tuple[str, ...]:
        """The conversion letters in order: d i u x s p pa pad."""
        return tuple(_CONVERSION.findall(self.text))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts = _CONVERSION.split(self.text)
        literals, conversions = parts[0::2], parts[1::2]
        # A line that was cut keeps the values before the cut: each value is optional with all that follow it.
        tail = ""
        for conversion, literal in zip(reversed(conversions), reversed(literals[1:]), strict=True):
            optional = "?" if len(literals[0]) >= TELLING_HEAD_CHARS else ""
            tail = f"(?:{_PATTERNS[conversion]}{_literal(literal)}{tail}){optional}"
        return re.compile(_literal(literals[0]) + tail)

    def read(self, line: str) -> Reading | None:
        """Find the message in one line; None if it is not there.

        Values that the line does not hold, because it was cut or the kernel hid a pointer, are left out.
        """
        start = line.find(self.head)
        match = self._pattern.match(line, start) if start >= 0 else None
        if match is None:
            return None
        values: dict[str, int | str] = {}
        complete = True
        for name, conversion, value in zip(self.names, self.conversions, match.groups(), strict=True):
            if value is None:
                complete = False
                break
            typed = _typed(conversion, value)
            if typed is not None:
                values[name] = typed
        return Reading(start, match.end(), values, complete, line[start:].strip())


def _literal(text: str) -> str:
    return re.escape(text)


def _typed(conversion: str, value: str) -> int | str | None:
    if conversion == "s":
        return value
    if conversion in "diu":
        return int(value)
    if value.startswith("("):
        return 0 if value == "(null)" else None
    return int(value, 16)
