# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: st1232 unbound while a finger is on the screen, and bound again. ``st1232_unbind.py FUNCTION``

FUNCTION is the PCI function of the virtio device, on whose bus is an ST1633 with fingers on it. Says lines of JSON.
"""

import sys

from guest import Client, bind, load, mute_console, records, say, wait_for

ADDRESS = 0x55
DRIVER = "st1232-ts"


def oops():
    return any("Call Trace" in record for record in records())


def main():
    mute_console()
    load("dmasafe_clients")
    screen = Client(bind(sys.argv[1]), ADDRESS, "st1633-ts irq")
    screen.input()
    screen.interrupt()
    say(report_before_unbinding=oops())
    screen.bind(DRIVER, False)
    screen.bind(DRIVER, True)

    def look():
        screen.interrupt()
        return oops()

    wait_for("a report", look)
    say(kmsg=records())


main()
