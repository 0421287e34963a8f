# SPDX-License-Identifier: GPL-2.0-or-later
"""i2c-viperboard (drivers/i2c/busses/i2c-viperboard.c)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from errno import EPROTO

from dmasafe.carriers.drivers import BridgeDriver
from dmasafe.carriers.suites import UPSTREAM_LIMITS
from dmasafe.carriers.usb_bridge import usb_bridge
from dmasafe.quirks import I2cAdapterQuirks
from dmasafe.vocabulary import Scenario

# Payload of one USB message, in bytes.
WRITE_BYTES = 503


def _pieces(length: int) -> Sequence[tuple[int, int]]:
    """vprbrd_i2c_write(): ``start`` has moved on when a full piece is copied from msg->buf + start."""
    pieces = []
    start, remain = 0, length
    while remain > 0:
        size = min(remain, WRITE_BYTES)
        if remain > WRITE_BYTES:
            start += size
        remain -= size
        pieces.append((start, size))
    return pieces


def _limits() -> Iterator[Scenario]:
    """Longer than one of its USB messages: the driver goes wrong there."""
    return (Scenario("heap", "master_send", "viperboard", None, n) for n in (WRITE_BYTES, WRITE_BYTES + 1))


DRIVER = BridgeDriver(
    "viperboard",
    EPROTO,
    stops=True,
    quirks=I2cAdapterQuirks(max_write_len=2048, max_read_len=2048),
    pieces=_pieces,
    wrongly="the driver copies each full piece from one piece further on in the buffer",
)
_ROW = usb_bridge("viperboard", "i2c-viperboard", "I2C_VIPERBOARD", DRIVER, sources=("drivers/mfd/viperboard.c",))
CONTROLLERS = (replace(_ROW, scenarios={**_ROW.scenarios, UPSTREAM_LIMITS: _limits}),)
