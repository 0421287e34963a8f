# SPDX-License-Identifier: GPL-2.0-or-later
"""The ways in which the emulated hardware of upstream's controllers can fail."""

from __future__ import annotations

from typing import NamedTuple


class HardwareFault(NamedTuple):
    """One way in which a controller fails.

    It is done ``delay_s`` late; it sends ``interrupts`` for one event; what it read is in memory only ``store_after_s``
    after it says so, and ``again_after_s`` after it is written once more, inverted; byte number ``nak_at`` (0 is the
    address) of each message is not acknowledged; it loses the arbitration; its DMA engine stops with an error; what it
    is late with it does when it is about to be reset.
    """

    delay_s: float = 0.0
    interrupts: int = 1
    store_after_s: float = 0.0
    nak_at: int | None = None
    arbitration_lost: bool = False
    dma_error: bool = False
    last_moment: bool = False
    again_after_s: float = 0.0


SOUND = HardwareFault()
# Beyond the time-out of every driver that has a host: the longest waits two seconds.
LATE_S = 2.5
# Beyond the shortest, those of i2c-at91 (0.1 s) and i2c-amd-mp2 (0.25 s): the next message is under way by then.
SLOW_S = 0.4
# When its driver has been told and has let the buffer go.
AFTER_S = 0.2
# Within the time-out of every driver: the transfer goes well, and something may happen beside it.
BUSY_S = 0.03
FAULTS: dict[str, HardwareFault] = {
    "late": HardwareFault(delay_s=LATE_S),
    "busy": HardwareFault(delay_s=BUSY_S),
    "slow": HardwareFault(delay_s=SLOW_S),
    # A slave that holds the clock until its master has given up, and is about to be reset.
    "last-moment": HardwareFault(delay_s=LATE_S, last_moment=True),
    "interrupt-lost": HardwareFault(interrupts=0),
    "interrupt-twice": HardwareFault(interrupts=2),
    "interrupt-early": HardwareFault(store_after_s=0.05),
    "arbitration-lost": HardwareFault(arbitration_lost=True),
    "writes-after": HardwareFault(again_after_s=AFTER_S),
    "dma-error": HardwareFault(dma_error=True),
    **{f"nak-{byte}": HardwareFault(nak_at=byte) for byte in (0, 1, 2, 8, 31, 32)},
}
