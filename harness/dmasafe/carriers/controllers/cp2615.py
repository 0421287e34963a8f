# SPDX-License-Identifier: GPL-2.0-or-later
"""i2c-cp2615 (drivers/i2c/busses/i2c-cp2615.c)."""

from errno import ENXIO

from dmasafe.carriers.drivers import BridgeDriver
from dmasafe.carriers.usb_bridge import usb_bridge
from dmasafe.quirks import I2C_AQ_COMB_WRITE_THEN_READ, I2C_AQ_NO_REP_START, I2C_AQ_NO_ZERO_LEN, I2cAdapterQuirks

QUIRKS = I2cAdapterQuirks(
    flags=I2C_AQ_COMB_WRITE_THEN_READ | I2C_AQ_NO_ZERO_LEN | I2C_AQ_NO_REP_START,
    max_write_len=54,
    max_read_len=54,
    max_comb_1st_msg_len=54,
    max_comb_2nd_msg_len=54,
)
DRIVER = BridgeDriver("cp2615", ENXIO, stops=True, quirks=QUIRKS)
CONTROLLERS = (usb_bridge("cp2615", "i2c-cp2615", "I2C_CP2615", DRIVER),)
