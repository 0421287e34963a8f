# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: st1232 unbound while fingers are on the screen, and bound again. ``st1232_unbind.py FUNCTION``

FUNCTION is the PCI function of the virtio device, on whose bus are screens with fingers on them. Says lines of JSON.
"""

import sys

from guest import Client, bind, load, mute_console, records, say, wait_for

SCREEN = 0x55
# Somebody among them gets the freed memory, wherever the allocator keeps it: 6.12 gives it to the next, 7.2 does not.
OTHERS = range(0x40, 0x4E)
DRIVER = "st1232-ts"
WORDS = "st1633-ts irq"
SETTLE_S = 2.0


def report():
    return any("Call Trace" in record for record in records())


def reported():
    """Whether the kernel reports something, given the time that an interrupt's thread takes."""
    try:
        return wait_for("a report", report, SETTLE_S)
    except TimeoutError:
        return False


def main():
    mute_console()
    load("dmasafe_clients")
    bus = bind(sys.argv[1])
    screen = Client(bus, SCREEN, WORDS)
    screen.input()
    screen.interrupt()
    say(report_before_unbinding=reported())
    screen.bind(DRIVER, False)
    for address in OTHERS:
        Client(bus, address, WORDS).input(interrupts=False)
    screen.bind(DRIVER, True)
    screen.interrupt()
    say(report_afterwards=reported(), kmsg=records())


main()
