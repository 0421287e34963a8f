# SPDX-License-Identifier: GPL-2.0-or-later
"""Lies that the hardware can be told to tell, by the control channel's ``fault``: how the harness is put to the test.

A lie is told between the bus, which stays honest, and the driver. Nothing lies unless it is asked to.
"""

from __future__ import annotations

from typing import NamedTuple


class Lie(NamedTuple):
    """One way to lie.

    ``flip`` is xor'ed into every payload byte: of a read in guest memory, of a write in the trace. ``extra`` bytes are
    added to the used length. A request is completed ``times`` times, ``delay_s`` seconds late.
    """

    flip: int = 0
    extra: int = 0
    times: int = 1
    delay_s: float = 0.0


# dmasafe_controller waits 1 s for a message.
LIES: dict[str, Lie] = {
    "wrong-bytes": Lie(flip=0xFF),
    "wrong-length": Lie(extra=64),
    "twice": Lie(times=2),
    "never": Lie(times=0),
    "slow": Lie(delay_s=1.5),
}
