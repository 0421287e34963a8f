# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: the caps lock lights of two keyboards over I2C, switched on and off. ``hid_lights.py FUNCTION``

FUNCTION is the PCI function of the virtio device. The reports of one keyboard have a number, those of the other have
none; each is asked for the state of its lights. Says lines of JSON.
"""

import sys
import time

from guest import LOOK_S, Client, bind, load, say
from keyboard import ADDRESS, WORDS, switch
from smbus2 import SMBus, i2c_msg

KEYBOARDS = {"numbered": ADDRESS, "unnumbered": ADDRESS + 1}
CAPS_LOCK = 0x02
# GET_REPORT of an output report (HID over I2C 1.0, 7.2.2): command register, number and kind, opcode, data register.
COMMAND, DATA = bytes((0x05, 0x00)), bytes((0x06, 0x00))
OUTPUT, GET_REPORT = 0x20, 0x02
# What a work item may take to send the report.
SETTLE_S = 2.0


def lights(bus, address, number):
    """What the keyboard itself says of its caps lock light."""
    ask = i2c_msg.write(address, COMMAND + bytes((OUTPUT | number, GET_REPORT)) + DATA)
    answer = i2c_msg.read(address, 4 if number else 3)
    with SMBus(bus) as adapter:
        adapter.i2c_rdwr(ask, answer)
    return bool(list(answer)[-1] & CAPS_LOCK)


def settled(bus, address, number, wanted):
    """The same, given time to become what is wanted."""
    until = time.monotonic() + SETTLE_S
    while (seen := lights(bus, address, number)) != wanted and time.monotonic() < until:
        time.sleep(LOOK_S)
    return seen


def main():
    load("dmasafe_clients")
    bus = bind(sys.argv[1])
    for name, address in KEYBOARDS.items():
        device = Client(bus, address, WORDS).input()
        for switched, value in (("on", True), ("off", False)):
            switch(device, value)
            lit = settled(bus, address, name == "numbered", value)
            say(**{f"{name}_lit_after_switching_it_{switched}": lit})


main()
