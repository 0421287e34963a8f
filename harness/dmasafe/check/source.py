# SPDX-License-Identifier: GPL-2.0-or-later
"""A C file in pieces: each ends with a closing brace in the first column, and is parsed only if it is asked for."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property

_END = re.compile(rb"\n\}(?![ \t]*(?:else|while)\b)[^\n]*\n")
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
# What is no C without the preprocessor, as blanks: columns and lines stay.
_ATTRIBUTE = re.compile(
    rb"\b(?:____\w+|__(?:packed|user|iomem|force|percpu|maybe_unused|unused|init|exit|initdata|initconst|initdata_or_module"
    rb"|devinit|ref|refdata|must_check|always_inline|always_unused|cold|hot|pure|rcu|sched|visible|used|weak|noreturn|kprobes"
    rb"|ro_after_init|read_mostly|nocast|bitwise|private|deprecated|malloc|no_kasan\w*|no_sanitize\w*|nonstring|kernel|safe"
    rb"|latent_entropy|randomize_layout|net_init|net_exit|net_initdata|meminit|cpuinit|releases|acquires"
    rb"|dma_from_device_group_(?:begin|end)|cacheline_group_(?:begin|end)\w*"
    rb"|aligned|attribute__|section|counted_by\w*|printf|scanf|acquires|releases|must_hold|cacheline_aligned|free)"
    rb"|noinline\w*|asmlinkage|fastcall|noinstr|notrace|randomized_struct_fields_\w+|cacheline_aligned\w*)\b"
    rb"(?:[ \t]*\((?:[^()\n]|\((?:[^()\n]|\([^()\n]{0,80}\)){0,80}\)){0,120}\))?;?"
)
_KEEP_SEMICOLON = re.compile(rb"\b__(?:dma_from_device|cacheline)_group_")
_DECLARE = re.compile(
    rb"\b(?:IIO_DECLARE_(?:DMA_)?(?:BUFFER_WITH_TS|QUATERNION)|DECLARE_FLEX_ARRAY)"
    rb"\(\s*([\w ]+?)\s*,\s*(\w+)\s*(?:,[^;\n]*)?\)"
)
# What a line that begins in the first column says before anything that ends a declarator, and its words.
_HEAD = re.compile(rb"(?m)^[A-Za-z_][^;(){}=\n]{0,400}")
_IDENTIFIER = re.compile(rb"[A-Za-z_]\w*")
_STATIC = rb"([^;(){}=\n]*?)\b%s\b[ \t]*(\[[^\n]*?|=|;|__[^\n]*)"
_MOST_HEADS = 8
MAX_BYTES = 32 << 20


class Source:
    """The bytes of a file, and where its pieces and lines begin."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in _END.finditer(self.data))]

    @cached_property
    def _lines(self) -> list[int]:
        return [match.start() for match in re.finditer(rb"\n", self.data)]

    @cached_property
    def _heads(self) -> dict[bytes, list[int]]:
        """Where lines begin that may declare a variable, by each word in them."""
        made: dict[bytes, list[int]] = {}
        for head in _HEAD.finditer(self.data):
            for word in set(_IDENTIFIER.findall(head[0])):
                found = made.setdefault(word, [])
                if len(found) < _MOST_HEADS:
                    found.append(head.start())
        return made

    def line(self, at: int) -> int:
        """The line, from 1, of the byte at ``at``."""
        return bisect_right(self._lines, at - 1) + 1 if at else 1

    def piece(self, at: int) -> int:
        """Where the piece begins that has the byte at ``at``."""
        return self._starts[bisect_right(self._starts, at) - 1]

    def text(self, start: int) -> bytes:
        """The piece that begins at ``start``."""
        number = bisect_right(self._starts, start)
        return self.data[start : self._starts[number] if number < len(self._starts) else len(self.data)]

    def pieces(self) -> Iterator[int]:
        """Where each piece begins."""
        yield from self._starts

    def places(self, found: Iterable[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
        """Of matches (number, begin, end): number and begin of those that are whole words."""
        data, size = self.data, len(self.data)
        for number, begin, end in found:
            if (begin == 0 or data[begin - 1] not in _WORD) and (end >= size or data[end] not in _WORD):
                yield number, begin

    def declared(self, name: str) -> tuple[int, str, str] | None:
        """Line, what is before the name and what is behind it, of a variable that begins in the first column."""
        wanted = name.encode()
        starts = self._heads.get(wanted, ())
        if not starts:
            return None
        pattern = re.compile(_STATIC % re.escape(wanted))
        match = next((found for start in starts if (found := pattern.match(self.data, start)) is not None), None)
        if match is None:
            return None
        return self.line(match.start(2)), match[1].decode(errors="replace"), match[2].decode(errors="replace")


def _blank(match: re.Match[bytes]) -> bytes:
    text = match[0]
    if text.endswith(b";") and not _KEEP_SEMICOLON.match(text):
        return _spaces(text[:-1]) + b";"
    return _spaces(text)


def _spaces(text: bytes) -> bytes:
    return re.sub(rb"[^\n]", b" ", text)


def _declare(match: re.Match[bytes]) -> bytes:
    made = match[1] + b" " + match[2] + b"[1]"
    return made + b" " * (len(match[0]) - len(made)) if len(made) <= len(match[0]) else match[0]


def cleaned(text: bytes) -> bytes:
    """``text``, as long as it was, without attributes and with the macros that declare arrays written as arrays."""
    if b"_DECLARE_" in text or b"DECLARE_FLEX" in text:
        text = _DECLARE.sub(_declare, text)
    return _ATTRIBUTE.sub(_blank, text)
