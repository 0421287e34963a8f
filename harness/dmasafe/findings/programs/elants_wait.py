# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: a touchscreen's calibration given up while the device has the driver's buffer. ``... FUNCTION LINE``

FUNCTION is the PCI function of the virtio device, on whose bus is a screen that takes its time to say that it is
calibrated. LINE are the bytes of a cache line of the strict machine. Says one line of JSON.
"""

import subprocess
import sys
import time

from guest import Client, bind, load, records, say, wait_for

SCREEN = 0x10
WORDS = "elants_i2c irq"
# The screen holds the clock for 4 s.
MEANWHILE_S = 1.5
SETTLE_S = 6.0


def main():
    function, line = sys.argv[1:]
    load("dmasafe_strict", f"devices={function}", f"line={line}")
    load("dmasafe_clients")
    screen = Client(bind(function), SCREEN, WORDS)
    calibrate = screen.directory / "calibrate"
    wait_for("the driver", calibrate.exists)
    waiting = subprocess.Popen(["sh", "-c", f"echo 1 > {calibrate}"], stderr=subprocess.DEVNULL)
    time.sleep(MEANWHILE_S)
    screen.interrupt()
    time.sleep(MEANWHILE_S)
    waiting.terminate()
    given_up = waiting.wait()
    time.sleep(SETTLE_S)
    say(calibration_given_up=given_up != 0, kmsg=records())


main()
