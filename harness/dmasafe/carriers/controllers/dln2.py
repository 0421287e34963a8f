# SPDX-License-Identifier: GPL-2.0-or-later
"""i2c-dln2 (drivers/i2c/busses/i2c-dln2.c)."""

from errno import EPROTO

from dmasafe.carriers.drivers import BridgeDriver
from dmasafe.carriers.usb_bridge import usb_bridge
from dmasafe.quirks import I2cAdapterQuirks

DRIVER = BridgeDriver("dln2-i2c", EPROTO, stops=True, quirks=I2cAdapterQuirks(max_write_len=256, max_read_len=256))
CONTROLLERS = (usb_bridge("dln2", "i2c-dln2", "I2C_DLN2", DRIVER, sources=("drivers/mfd/dln2.c",)),)
