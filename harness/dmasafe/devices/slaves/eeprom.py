# SPDX-License-Identifier: GPL-2.0-or-later
"""The 24Cxx family of EEPROMs: pages on write, the whole memory on read."""

from __future__ import annotations

ERASED = 0xFF


class Eeprom:
    """``size`` and ``page_size`` in bytes, ``address_bytes`` 1 or 2 (big-endian word address).

    A write wraps within its page and is committed by the stop; a start in its place discards it, as the chips do.
    A read wraps over the whole memory. There is no write cycle time: the chip always acknowledges its address.
    """

    stretch_s = 0.0

    def __init__(self, size: int, page_size: int, address_bytes: int) -> None:
        self.memory = bytearray([ERASED]) * size
        self.page_size = page_size
        self.address_bytes = address_bytes
        self.pointer = 0
        self._latched: dict[int, int] = {}

    @classmethod
    def c02(cls) -> Eeprom:
        """24C02: 256 bytes, pages of 8, one address byte."""
        return cls(256, 8, 1)

    @classmethod
    def c32(cls) -> Eeprom:
        """24C32: 4096 bytes, pages of 32, two address bytes."""
        return cls(4096, 32, 2)

    def write(self, data: bytes) -> int:
        self._latched.clear()
        if len(data) >= self.address_bytes:
            self.pointer = int.from_bytes(data[: self.address_bytes], "big") % len(self.memory)
            page = self.pointer - self.pointer % self.page_size
            for value in data[self.address_bytes :]:
                self._latched[self.pointer] = value
                self.pointer = page + (self.pointer + 1) % self.page_size
        return len(data)

    def read(self, length: int) -> bytes:
        self._latched.clear()
        size = len(self.memory)
        start = self.pointer
        self.pointer = (start + length) % size
        whole = self.memory[start:] + self.memory[:start]
        return bytes((whole * (length // size + 1))[:length])

    def stop(self) -> None:
        for address, value in self._latched.items():
            self.memory[address] = value
        self._latched.clear()


CHIPS = {"24c02": Eeprom.c02, "24c32": Eeprom.c32}
