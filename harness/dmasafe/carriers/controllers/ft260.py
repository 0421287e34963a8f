# SPDX-License-Identifier: GPL-2.0-or-later
"""hid-ft260 (drivers/hid/hid-ft260.c)."""

from collections.abc import Sequence
from errno import EIO

from dmasafe.carriers.drivers import BridgeDriver, Message
from dmasafe.carriers.usb_bridge import usb_bridge
from dmasafe.quirks import I2C_AQ_COMB_WRITE_THEN_READ, I2C_M_RD, I2cAdapterQuirks


def _refuses(msgs: Sequence[Message]) -> str:
    """ft260_i2c_write(): -EINVAL for no bytes."""
    if any(not msg.len and not msg.flags & I2C_M_RD for msg in msgs):
        return "the driver writes one byte at least"
    return ""


QUIRKS = I2cAdapterQuirks(flags=I2C_AQ_COMB_WRITE_THEN_READ, max_comb_1st_msg_len=2)
DRIVER = BridgeDriver("FT260 usb-i2c bridge", EIO, quirks=QUIRKS, refuses=_refuses)
CONTROLLERS = (usb_bridge("ft260", "hid-ft260", "HID_FT260", DRIVER),)
