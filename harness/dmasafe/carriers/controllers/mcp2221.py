# SPDX-License-Identifier: GPL-2.0-or-later
"""hid-mcp2221 (drivers/hid/hid-mcp2221.c)."""

from errno import ENXIO

from dmasafe.carriers.drivers import BridgeDriver, two_at_most
from dmasafe.carriers.usb_bridge import usb_bridge

# mcp_i2c_xfer()
DRIVER = BridgeDriver("MCP2221 usb-i2c bridge", ENXIO, refuses=two_at_most)
CONTROLLERS = (usb_bridge("mcp2221", "hid-mcp2221", "HID_MCP2221", DRIVER),)
