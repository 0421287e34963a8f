# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: a keyboard over I2C and its caps lock light."""

import struct

ADDRESS = 0x2C
# As dmasafe_clients.ko takes them.
WORDS = "hid-over-i2c irq hid-descr-addr=1"
_EVENT = struct.Struct("<16xHHi")
_EV_LED, _LED_CAPSL = 0x11, 0x01


def switch(device, lit):
    """Switch the light, as a console or a desktop does: by an event to the input device."""
    device.write_bytes(_EVENT.pack(_EV_LED, _LED_CAPSL, lit))
