# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: a signal ends one transfer early; what do the reads after it give? ``interrupted.py BUS MILLISECONDS``

The slow slave's registers hold their own numbers, and its pointer moves on with each byte read.
"""

import signal
import sys

from smbus2 import SMBus

SLOW = 0x68
INTERRUPTED_S = 0.3
FIRST = 0x55
READS = 5


def main():
    signal.signal(signal.SIGALRM, lambda *_: None)
    bus = SMBus(int(sys.argv[1]))
    bus.write_word_data(SLOW, 0, int(sys.argv[2]))
    bus.write_byte(SLOW, FIRST)
    signal.setitimer(signal.ITIMER_REAL, INTERRUPTED_S)
    for register in range(FIRST, FIRST + READS):
        try:
            print(f"{register:#x}: {bus.read_byte(SLOW):#x}")
        except OSError as error:
            print(f"{register:#x}: errno {error.errno}")


main()
