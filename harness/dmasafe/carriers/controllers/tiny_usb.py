# SPDX-License-Identifier: GPL-2.0-or-later
"""i2c-tiny-usb (drivers/i2c/busses/i2c-tiny-usb.c)."""

from errno import ENXIO

from dmasafe.carriers.drivers import BridgeDriver
from dmasafe.carriers.usb_bridge import usb_bridge
from dmasafe.quirks import I2C_AQ_NO_ZERO_LEN_READ, I2cAdapterQuirks

DRIVER = BridgeDriver("i2c-tiny-usb", ENXIO, quirks=I2cAdapterQuirks(flags=I2C_AQ_NO_ZERO_LEN_READ))
CONTROLLERS = (usb_bridge("tiny-usb", "i2c-tiny-usb", "I2C_TINY_USB", DRIVER, reads_blocks=False),)
