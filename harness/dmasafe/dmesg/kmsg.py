# SPDX-License-Identifier: GPL-2.0-or-later
"""One /dev/kmsg record at a time: header, text, dictionary; and which sequence numbers are missing.

The record's form is Documentation/ABI/testing/dev-kmsg, printed by kernel/printk/printk.c
info_print_ext_header(), msg_add_ext_text() and msg_add_dict_text().
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

HEADER = re.compile(r"(\d{1,10}),(\d{1,20}),(\d{1,20}),([^,;]{0,8})((?:,[^;]{0,200})?);")
_CALLER = re.compile(r",caller=([TC]\d{1,10})")
_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})")


@dataclass(frozen=True)
class Record:
    """One record. ``us`` is the time since boot in microseconds; ``flags`` is ``-``, or ``c`` for a fragment.

    ``text`` is unescaped and may hold several lines. ``caller`` is the task (``T35``) or processor (``C1``)
    that printed it, empty without CONFIG_PRINTK_CALLER.
    """

    level: int
    facility: int
    sequence: int
    us: int
    flags: str
    text: str
    dictionary: Mapping[str, str] = field(default_factory=dict)
    caller: str = ""


def unescape(text: str) -> str:
    r"""Undo the kernel's ``\xNN`` (bytes below 0x20, above 0x7e, and the backslash), then read UTF-8.

    The agent forwards a byte above 0x7f as the code point of the same number; it is read as that byte.
    """
    if "\\x" in text:
        text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:  # was decoded already: it holds code points above 0xff
        return text


def parse_record(record: str | bytes) -> Record | None:
    """Read one record with its dictionary lines (`` KEY=value``); None if it has no record header."""
    if isinstance(record, bytes):
        record = record.decode("latin-1")
    first, *rest = record.rstrip("\r\n").split("\n")
    match = HEADER.match(first)
    if match is None:
        return None
    prefix, sequence, us, flags, extra = match.groups()
    pairs = (unescape(line[1:].rstrip("\r")).partition("=") for line in rest if line.startswith(" "))
    return Record(
        level=int(prefix) & 7,
        facility=int(prefix) >> 3,
        sequence=int(sequence),
        us=int(us),
        flags=flags,
        text=unescape(first[match.end() :].rstrip("\r")),
        dictionary={key: value for key, equals, value in pairs if equals},
        caller=_caller(extra),
    )


def caller_and_text(record: str) -> tuple[str, str] | None:
    """Those two of parse_record()'s, for who needs no more of thousands of records; None if it has no record header."""
    first = record.partition("\n")[0]
    match = HEADER.match(first)
    return None if match is None else (_caller(match[5]), unescape(first[match.end() :].rstrip("\r")))


def _caller(extra: str) -> str:
    match = _CALLER.search(extra) if extra else None
    return match[1] if match else ""


def gaps(sequences: Iterable[int]) -> list[range]:
    """The runs of sequence numbers that are missing between the first and the last one seen.

    Numbers may repeat (two readers of one log); they count once. An empty list says that nothing was lost.
    """
    missing: list[range] = []
    highest: int | None = None
    for sequence in sequences:
        if highest is not None and sequence > highest + 1:
            missing.append(range(highest + 1, sequence))
        highest = sequence if highest is None else max(highest, sequence)
    return missing
