# SPDX-License-Identifier: GPL-2.0-or-later
"""i2c-diolan-u2c (drivers/i2c/busses/i2c-diolan-u2c.c)."""

from errno import ENXIO

from dmasafe.carriers.drivers import BridgeDriver
from dmasafe.carriers.usb_bridge import usb_bridge

DRIVER = BridgeDriver("i2c-diolan-u2c", ENXIO)
CONTROLLERS = (usb_bridge("diolan-u2c", "i2c-diolan-u2c", "I2C_DIOLAN_U2C", DRIVER),)
