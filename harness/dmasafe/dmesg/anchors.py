# SPDX-License-Identifier: GPL-2.0-or-later
"""Where in a log anything can matter: the first pass over clean text, at memory speed.

The anchors are those of headers.py and the beginnings of the class table's messages. One automaton looks for all at
once (Aho-Corasick, from the Rust crate of that name): 41 calls of bytes.find() read the text 41 times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ahocorasick_rs import BytesAhoCorasick, Implementation

from dmasafe.dmesg import headers
from dmasafe.dmesg.classes import SPLAT_CLASSES
from dmasafe.dmesg.formats import Prefix

# Messages whose "DMA-API: " somebody trimmed: two words, as of "device driver", are in the logs of healthy boots too.
_BEGINNING_WORDS = 3
_BEGINNINGS = {
    f"{' '.join(known.core.split()[:_BEGINNING_WORDS])} "
    for row in SPLAT_CLASSES.values()
    for known in row.formats
    if known.prefix is Prefix.DMA_API
}
_PLAIN = (*headers.ANCHORS, *sorted(_BEGINNINGS))
# Browsers, word processors and mailers put other spaces between words.
_SPACES = ("\u00a0", "&nbsp;", "&#160;")
ANCHORS = tuple(dict.fromkeys((*_PLAIN, *(re.sub(" +", space, plain) for space in _SPACES for plain in _PLAIN))))
# Not after a letter: "DEBUG: " is on every line of some logs.
WHOLE_WORDS = tuple(anchor for anchor in ANCHORS if anchor.startswith(("BUG", "RIP")))

# The automaton as a table costs a few kB here, and its speed does not depend on the text.
_AUTOMATON = BytesAhoCorasick([anchor.encode() for anchor in ANCHORS], implementation=Implementation.DFA)
_WHOLE = frozenset(number for number, anchor in enumerate(ANCHORS) if anchor in WHOLE_WORDS)
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


# "dmesg --color" ends in a letter right before the word.
_END_OF_COLOUR = ord("m")
_COLOURED = re.compile(rb"\x1b\[[\d;]{0,6}m$")


def anchor_positions(text: bytes) -> Iterator[int]:
    """Where the anchors stand in ``text``, in order."""
    for number, start, _ in _AUTOMATON.find_matches_as_indexes(text):
        before = text[start - 1] if number in _WHOLE and start else 0
        if before not in _LETTERS or (before == _END_OF_COLOUR and _COLOURED.search(text, start - 8, start)):
            yield start


def may_matter(line: str | bytes) -> bool:
    """Whether a line can change anything while no report is open."""
    raw = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
    raw = raw if raw.endswith(b"\n") else raw + b"\n"
    # Most lines hold none: no generator is made for them.
    return bool(_AUTOMATON.find_matches_as_indexes(raw)) and next(anchor_positions(raw), None) is not None
