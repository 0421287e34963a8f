# SPDX-License-Identifier: GPL-2.0-or-later
"""A slave that stretches the clock: registers like any other, but each message takes its time.

It does not sleep; it says how long it would have held the clock, and whoever carries the bus waits.
"""

from __future__ import annotations

from dmasafe.devices.slaves.register_file import RegisterFile

DEFAULT_STRETCH_MS = 20


class SlowSlave:
    """Registers 0 and 1 (little-endian) are the milliseconds that each further message takes.

    So the guest can set it (``i2cset -y N 0x68 0 250``), and so can the harness through ``stretch_ms``, 0 to 65535.
    """

    def __init__(self, stretch_ms: int = DEFAULT_STRETCH_MS) -> None:
        self._registers = RegisterFile()
        self.stretch_ms = stretch_ms

    @property
    def stretch_ms(self) -> int:
        return int.from_bytes(self._registers.registers[:2], "little")

    @stretch_ms.setter
    def stretch_ms(self, value: int) -> None:
        self._registers.registers[:2] = value.to_bytes(2, "little")

    @property
    def stretch_s(self) -> float:
        return self.stretch_ms / 1000

    def write(self, data: bytes) -> int:
        return self._registers.write(data)

    def read(self, length: int) -> bytes:
        return self._registers.read(length)

    def stop(self) -> None:
        """Nothing happens at a stop."""
