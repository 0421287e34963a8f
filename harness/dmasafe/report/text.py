# SPDX-License-Identifier: GPL-2.0-or-later
"""Text of the guest made harmless for each format, and the few phrases that several formats share.

A kernel log is untrusted input: it may hold escape sequences, NUL bytes, lone surrogates and markup.
"""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# XML 1.0, section 2.2 (Char): these cannot be written in XML at all, not even escaped.
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

_ADDRESS = re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.-])\d{3,}(?![\w.-])")


def visible(text: str) -> str:
    """``text`` with control characters and lone surrogates spelled out (``\\x1b``); newlines and tabs stay."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    """``text`` as one line of visible characters; each run of white space becomes one space."""
    return visible(" ".join(text.split()))


def xml_text(text: str) -> str:
    """``text`` with every character that XML 1.0 cannot hold spelled out."""
    return _NOT_XML.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def general(text: str) -> str:
    """``text`` without the numbers that only one run or scenario has, so that the same reason is the same text."""
    return _NUMBER.sub("N", _ADDRESS.sub("0x...", text))


def plural(count: int, noun: str) -> str:
    """``1 splat``, ``2,612 scenarios``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
