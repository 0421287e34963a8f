# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: each USB device's serial number and the number of its I2C adapter, as JSON. ``bridges.py COUNT``

Waits until there are so many.
"""

import json
import sys
import time
from pathlib import Path

PATIENCE_S = 30


def adapter_of(device):
    """Its number, by where it lies or (i2c-robotfuzz-osif's has no parent) by its name."""
    bus, number = (int((device / name).read_text()) for name in ("busnum", "devnum"))
    for adapter in Path("/sys/bus/i2c/devices").glob("i2c-*"):
        named = (adapter / "name").read_text().strip().endswith(f"bus {bus:03} device {number:03}")
        if named or device.resolve() in adapter.resolve().parents:
            return int(adapter.name.partition("-")[2])
    return None


def found():
    """Those that are there now."""
    serials = Path("/sys/bus/usb/devices").glob("[0-9]*-[0-9]*/serial")
    numbers = {path.read_text().strip(): adapter_of(path.parent) for path in serials}
    return {name: number for name, number in numbers.items() if number is not None}


def main():
    end = time.monotonic() + PATIENCE_S
    while len(found()) < int(sys.argv[1]) and time.monotonic() < end:
        time.sleep(0.2)
    print(json.dumps(found()))


main()
