# SPDX-License-Identifier: GPL-2.0-or-later
"""A slave that refuses: it acknowledges its address and some data bytes, then no more."""

from __future__ import annotations

from dmasafe.devices.slaves.quick import Quick


class NakSlave(Quick):
    """Acknowledges ``accepts`` data bytes of each write. Reads, which a slave cannot refuse, give 0xff."""

    def __init__(self, accepts: int = 1) -> None:
        self.accepts = accepts

    def write(self, data: bytes) -> int:
        return min(len(data), self.accepts)

    def read(self, length: int) -> bytes:
        return b"\xff" * length
