# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: suspends while the light of a keyboard over I2C is lit. ``hid_suspend.py FUNCTION DRIVER``

FUNCTION is the PCI function of an I2C controller, DRIVER what drives it. It takes some suspends until the work item
that switches the light off comes too late. Says one line of JSON.
"""

import sys
from pathlib import Path

from guest import Client, bind, load, records, say
from keyboard import ADDRESS, WORDS, switch

# Usually 4 to 20 are enough.
SUSPENDS = 200
POWER = Path("/sys/power")
DELAY = Path("/sys/module/suspend/parameters/pm_test_delay")
WARNING = "Transfer while suspended"


def suspend():
    """Every driver's suspend and resume, nothing more."""
    DELAY.write_text("0")
    (POWER / "pm_test").write_text("devices")
    (POWER / "state").write_text("freeze")


def warned():
    return any(WARNING in record for record in records())


def main():
    function, driver = sys.argv[1:]
    load("dmasafe_controller")
    load("dmasafe_clients")
    device = Client(bind(function, driver), ADDRESS, WORDS).input()
    suspends = 0
    while suspends < SUSPENDS and not warned():
        switch(device, True)
        suspend()
        suspends += 1
    say(warned=warned(), suspends=suspends, kmsg=records())


main()
