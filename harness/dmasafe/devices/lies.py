# SPDX-License-Identifier: GPL-2.0-or-later
"""Lies that the hardware can be told to tell, by the control channel's ``fault``: how the harness is put to the test.

A lie is told between the bus, which stays honest, and the driver. Nothing lies unless it is asked to.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Trespass(Enum):
    """What hardware does to memory that it must leave alone: of any message, of those it reads or writes, or later."""

    BEYOND = "one byte beyond the payload"
    READ = "reads what it is to fill"
    WRITE = "writes to what it is to send"
    LATE = "uses the payload again when the request is done"


class Lie(NamedTuple):
    """One way to lie.

    ``flip`` is xor'ed into every payload byte: of a read in guest memory, of a write in the trace. ``extra`` bytes are
    added to the used length. A request is completed ``times`` times, ``delay_s`` seconds late. ``trespass`` is done
    beside it, before the request is completed; LATE ``LATE_S`` seconds after that.
    """

    flip: int = 0
    extra: int = 0
    times: int = 1
    delay_s: float = 0.0
    trespass: Trespass | None = None


# The driver has unmapped by then.
LATE_S = 0.05
# dmasafe_controller waits so long for a message.
TIMEOUT_S = 1.0
LIES: dict[str, Lie] = {
    "wrong-bytes": Lie(flip=0xFF),
    "wrong-length": Lie(extra=64),
    "twice": Lie(times=2),
    "never": Lie(times=0),
    "slow": Lie(delay_s=1.5),
    "late": Lie(trespass=Trespass.LATE),
    "late-after-timeout": Lie(times=0, trespass=Trespass.LATE),
    "beyond": Lie(trespass=Trespass.BEYOND),
    "reads-receive-buffer": Lie(trespass=Trespass.READ),
    "writes-send-buffer": Lie(trespass=Trespass.WRITE),
}
