# SPDX-License-Identifier: GPL-2.0-or-later
"""The AD5622 digital-to-analogue converter: two bytes, the value and above it the power-down mode."""

from __future__ import annotations

from dmasafe.devices.slaves.quick import Quick

_WORD_BYTES = 2
VALUE_BITS = 12


class Ad5622(Quick):
    """``word`` is the input register: 2 bits that mean nothing, 2 of power-down mode, 12 of value. Drivers: ad5446."""

    def __init__(self) -> None:
        self.word = 0

    @property
    def value(self) -> int:
        return self.word & (1 << VALUE_BITS) - 1

    @property
    def power_down(self) -> int:
        """0: on; 1, 2, 3: off with 1 kOhm, 100 kOhm or nothing to ground."""
        return self.word >> VALUE_BITS & 3

    def write(self, data: bytes) -> int:
        # Each pair of bytes updates the converter; the last whole one stays.
        whole = len(data) - len(data) % _WORD_BYTES
        if whole:
            self.word = int.from_bytes(data[whole - _WORD_BYTES : whole], "big")
        return len(data)

    def read(self, length: int) -> bytes:
        word = self.word.to_bytes(_WORD_BYTES, "big")
        return (word * (length // _WORD_BYTES + 1))[:length]


CHIPS = {"ad5622": Ad5622}
