# SPDX-License-Identifier: GPL-2.0-or-later
"""A slave that keeps every message byte for byte and serves reads that nobody can guess by accident.

The scenarios' default slave: what it saw is compared with what the caller meant.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from dmasafe.devices.slaves.quick import Quick

_MASK = (1 << 64) - 1
# splitmix64 (Steele, Lea, Flood 2014): increment and the two multipliers of its finaliser.
_GAMMA = 0x9E3779B97F4A7C15
_MIX1 = 0xBF58476D1CE4E5B9
_MIX2 = 0x94D049BB133111EB


class Message(NamedTuple):
    """One message that the recorder took part in."""

    read: bool
    data: bytes


class Recorder(Quick):
    """Accepts anything. ``messages`` holds the newest messages, at most ``keep_bytes`` and ``keep_messages`` of them.

    ``dropped`` counts the older ones that had to go. Read number N of a seed always has the same bytes; its first byte
    differs from those of the 255 reads before it.
    """

    def __init__(self, seed: int = 0x30, keep_bytes: int = 1 << 20, keep_messages: int = 4096) -> None:
        self.seed = seed
        self.messages: deque[Message] = deque()
        self.dropped = 0
        self._keep_bytes = keep_bytes
        self._keep_messages = keep_messages
        self._bytes = 0
        self._reads = 0

    def write(self, data: bytes) -> int:
        self._keep(Message(False, data))
        return len(data)

    def read(self, length: int) -> bytes:
        data = pattern(self.seed, self._reads, length)
        self._reads += 1
        self._keep(Message(True, data))
        return data

    def __deepcopy__(self, memo: object) -> Recorder:
        """It will say the same, but remembers nothing: controllers copy a slave to ask what it would answer."""
        twin = Recorder(self.seed, self._keep_bytes, self._keep_messages)
        twin._reads = self._reads
        return twin

    def _keep(self, message: Message) -> None:
        self.messages.append(message)
        self._bytes += len(message.data)
        while self._bytes > self._keep_bytes or len(self.messages) > self._keep_messages:
            self._bytes -= len(self.messages.popleft().data)
            self.dropped += 1


def pattern(seed: int, number: int, length: int) -> bytes:
    """The ``length`` bytes that a recorder with ``seed`` serves for its read ``number`` (from 0)."""
    if length <= 0:
        return b""
    state = (seed * _MIX1 + number * _MIX2) & _MASK
    # An odd step modulo 256: 256 reads in a row begin with 256 different bytes.
    parts = [bytes((seed + 0x9D * number & 0xFF,))]
    for _ in range((length + 6) // 8):
        state = (state + _GAMMA) & _MASK
        value = ((state ^ (state >> 30)) * _MIX1) & _MASK
        value = ((value ^ (value >> 27)) * _MIX2) & _MASK
        parts.append((value ^ (value >> 31)).to_bytes(8, "little"))
    return b"".join(parts)[:length]
