# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: an SPI client's driver, bound to a device on a controller with DMA. ``spi_probe.py DRIVER``

The controller is that of dmasafe_buses.ko for which the SPI core maps; its chip takes whatever is written. Says one
line of JSON.
"""

import sys
from pathlib import Path

from guest import load, records, say

# bus-spi is the second row of dmasafe_buses.ko, each a platform device; its plain chip is on select 0.
CONTROLLER = "dmasafe_buses.1"
SELECT = ".0"


def main():
    driver = sys.argv[1]
    for module in ("dmasafe_controller", "dmasafe_client", "dmasafe_buses"):
        load(module)
    devices = Path("/sys/bus/spi/devices").iterdir()
    (device,) = (path for path in devices if CONTROLLER in path.resolve().parts and path.name.endswith(SELECT))
    (device / "driver_override").write_text(driver)
    Path("/sys/bus/spi/drivers", driver, "bind").write_text(device.name)
    say(bound=(device / "driver").resolve().name == driver, kmsg=records())


main()
