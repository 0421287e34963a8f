# SPDX-License-Identifier: GPL-2.0-or-later
"""i2c-robotfuzz-osif (drivers/i2c/busses/i2c-robotfuzz-osif.c): gives msg->buf itself to USB."""

from errno import EREMOTEIO

from dmasafe.carriers.drivers import BridgeDriver
from dmasafe.carriers.usb_bridge import usb_bridge
from dmasafe.quirks import I2C_AQ_NO_ZERO_LEN_READ, I2cAdapterQuirks

DRIVER = BridgeDriver(
    "OSIF", EREMOTEIO, trusting=True, stops=True, quirks=I2cAdapterQuirks(flags=I2C_AQ_NO_ZERO_LEN_READ)
)
# Behind xHCI 8 is the most that goes out without DMA, 9 the least with it.
LENGTHS = (1, 8, 9, 32, 256)
CONTROLLERS = tuple(
    usb_bridge(
        name, "i2c-robotfuzz-osif", "I2C_ROBOTFUZZ_OSIF", DRIVER, "osif", hcd, lengths=LENGTHS, reads_blocks=False
    )
    for name, hcd in (("osif", "xhci"), ("osif-ehci", "ehci"))
)
