# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: a process that has a bus in its hands, and says what it gets. ``transfer.py BUS MILLISECONDS``

Writes "under way" and reads from the slow slave, which takes so long. With 0 it reads nothing, but keeps the file open
until RELEASE is there, and then uses it once more.
"""

import sys
import time
from fcntl import ioctl
from pathlib import Path

from smbus2 import SMBus

SLOW = 0x68
REGISTERS = 0x20
RELEASE = Path("/tmp/release")
POLL_S = 0.05
I2C_TIMEOUT = 0x0702
# For slow machines: more than dmasafe_controller's second.
PATIENCE_10MS = 1000


def attempt(what, call):
    try:
        print(f"{what}: {call():#x}", flush=True)
    except OSError as error:
        print(f"{what}: errno {error.errno}", flush=True)


def main():
    bus, milliseconds = SMBus(int(sys.argv[1])), int(sys.argv[2])
    if milliseconds:
        if milliseconds < PATIENCE_10MS * 10:
            ioctl(bus.fd, I2C_TIMEOUT, PATIENCE_10MS)
        # The pointer is left at register 2, which holds 2.
        bus.write_word_data(SLOW, 0, milliseconds)
        print("under way", flush=True)
        attempt("slow read", lambda: bus.read_byte(SLOW))
    else:
        print("under way", flush=True)
        while not RELEASE.exists():
            time.sleep(POLL_S)
        attempt("late read", lambda: bus.read_byte_data(REGISTERS, 0x33))
    bus.close()
    print("closed", flush=True)


main()
