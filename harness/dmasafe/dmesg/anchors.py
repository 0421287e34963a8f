# SPDX-License-Identifier: GPL-2.0-or-later
"""Where in a log anything can matter: the first pass over clean text, at memory speed.

All anchors of headers.py are looked for at once by one automaton (Aho-Corasick, from the Rust crate of that name):
41 calls of bytes.find() read the text 41 times.
"""

from __future__ import annotations

from collections.abc import Iterator

from ahocorasick_rs import BytesAhoCorasick, Implementation

from dmasafe.dmesg.headers import ANCHORS, WHOLE_WORDS

# The automaton as a table costs a few kB here, and its speed does not depend on the text.
_AUTOMATON = BytesAhoCorasick([anchor.encode() for anchor in ANCHORS], implementation=Implementation.DFA)
_WHOLE = frozenset(number for number, anchor in enumerate(ANCHORS) if anchor in WHOLE_WORDS)
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def anchor_positions(text: bytes) -> Iterator[int]:
    """Where the anchors stand in ``text``, in order."""
    for number, start, _ in _AUTOMATON.find_matches_as_indexes(text):
        if number not in _WHOLE or not start or text[start - 1] not in _LETTERS:
            yield start


def may_matter(line: str | bytes) -> bool:
    """Whether a line can change anything while no report is open."""
    raw = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
    return next(anchor_positions(raw), None) is not None
