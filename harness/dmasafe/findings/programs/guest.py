# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: what the programs have in common."""

import json
import os
import subprocess
import time
from pathlib import Path

CLIENTS = Path("/sys/kernel/debug/dmasafe_clients")
PATIENCE_S = 20.0
LOOK_S = 0.05


def say(**facts):
    """Facts for the host, one line of JSON."""
    print(json.dumps(facts), flush=True)


def load(module, *parameters):
    subprocess.run(["insmod", f"/modules/{module}.ko", *parameters], check=True)


def records():
    """The kernel's log."""
    found = []
    stream = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    while True:
        try:
            found.append(os.read(stream, 8192).decode(errors="replace"))
        except BlockingIOError:
            os.close(stream)
            return found
        except BrokenPipeError:
            continue


def mute_console():
    """Nobody reads it once the guest is up: under TCG an oops would take minutes to be printed, character by character.

    At level 0 console_verbose() leaves the level alone (kernel/panic.c).
    """
    Path("/proc/sys/kernel/printk").write_text("0")


def wait_for(what, look, seconds=PATIENCE_S):
    """The first true answer of ``look``. Raises TimeoutError."""
    until = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > until:
            raise TimeoutError(f"{what} did not come within {seconds:g} s")
        time.sleep(LOOK_S)
    return found


def bind(function, driver="virtio-pci"):
    """Bind the PCI function of an I2C controller to a driver; with virtio-pci upstream's i2c-virtio follows.

    Returns its adapter's number.
    """
    device = Path("/sys/bus/pci/devices", function)
    (device / "driver_override").write_text(driver)
    if (device / "driver").exists():
        (device / "driver/unbind").write_text(function)
    Path("/sys/bus/pci/drivers", driver, "bind").write_text(function)
    adapters = [*device.glob("i2c-*"), *device.glob("virtio*/i2c-*")]
    return int(adapters[0].name.rpartition("-")[2])


class Client:
    """An I2C client made by dmasafe_clients.ko. ``words`` as its file `new` takes them."""

    def __init__(self, bus, address, words):
        self.place = f"{bus} {address:#04x}"
        self.name = f"{bus}-{address:04x}"
        self.directory = Path("/sys/bus/i2c/devices", self.name)
        (CLIENTS / "new").write_text(f"{self.place} {words}")

    def interrupt(self):
        (CLIENTS / "interrupt").write_text(self.place)

    def bind(self, driver, bound):
        """Bind it to its driver, or unbind it."""
        Path("/sys/bus/i2c/drivers", driver, "bind" if bound else "unbind").write_text(self.name)

    def input(self, interrupts=True):
        """The input device, once the driver has made it; with ``interrupts`` for a driver that waits for one."""

        def look():
            if interrupts:
                self.interrupt()
            # devtmpfs has it a moment after sysfs.
            nodes = [Path("/dev/input", event.name) for event in self.directory.glob("**/input/input*/event*")]
            return next((node for node in nodes if node.exists()), None)

        return wait_for(f"the input device of {self.name}", look)
