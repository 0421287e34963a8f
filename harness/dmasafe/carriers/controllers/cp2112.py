# SPDX-License-Identifier: GPL-2.0-or-later
"""hid-cp2112 (drivers/hid/hid-cp2112.c)."""

from collections.abc import Sequence
from errno import ETIMEDOUT

from dmasafe.carriers.drivers import BridgeDriver, Message, two_at_most
from dmasafe.carriers.usb_bridge import usb_bridge
from dmasafe.quirks import I2C_M_RD


def _refuses(msgs: Sequence[Message]) -> str:
    """cp2112_i2c_xfer(), cp2112_i2c_write_req(), cp2112_i2c_write_read_req(), cp2112_read_req()."""
    refusal = two_at_most(msgs)
    if refusal:
        return refusal
    limits = [512 if msg.flags & I2C_M_RD else (61 if len(msgs) == 1 else 16) for msg in msgs]
    if any(msg.len > limit for msg, limit in zip(msgs, limits, strict=True)):
        return "the message does not fit into the chip's reports"
    return ""


DRIVER = BridgeDriver("CP2112 SMBus Bridge", ETIMEDOUT, refuses=_refuses)
CONTROLLERS = (usb_bridge("cp2112", "hid-cp2112", "HID_CP2112", DRIVER),)
