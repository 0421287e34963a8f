# SPDX-License-Identifier: GPL-2.0-or-later
"""What this host sees that scenarios could run on: serial lines, I2C adapters, USB bridges."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmasafe.errors import to_install
from dmasafe.targets.errors import TargetError

# USB-to-I2C bridges with a driver in the kernel's tree: (vendor, product) -> its module. From the drivers' tables of
# ids in drivers/i2c/busses, drivers/hid, drivers/mfd and drivers/usb/misc (6.12).
USB_BRIDGES: dict[tuple[int, int], str] = {
    (0x0403, 0xC631): "i2c-tiny-usb",
    (0x1C40, 0x0534): "i2c-tiny-usb",
    (0x1964, 0x0001): "i2c-robotfuzz-osif",
    (0x0ABF, 0x3370): "i2c-diolan-u2c",
    (0x10C4, 0xEAC1): "i2c-cp2615",
    (0x10C4, 0xEA90): "hid-cp2112",
    (0x04D8, 0x00DD): "hid-mcp2221",
    (0x0403, 0x6030): "hid-ft260",
    (0x2058, 0x1005): "i2c-viperboard",
    (0xA257, 0x2013): "i2c-dln2",
    (0x8086, 0x0B63): "i2c-ljca",
}


@dataclass(frozen=True)
class SerialAdapter:
    """A serial port with a device behind it; ``stable`` is its name in /dev/serial/by-id, if it has one."""

    device: str
    stable: str | None
    what: str
    driver: str | None


@dataclass(frozen=True)
class I2cAdapter:
    """One /dev/i2c-N; ``driver`` is that of the device that the adapter belongs to."""

    number: int
    name: str
    driver: str | None
    has_device_file: bool


@dataclass(frozen=True)
class UsbBridge:
    """A USB device that the kernel has an I2C driver for; ``bound`` if a driver has it."""

    vendor: str
    product: str
    what: str
    driver: str
    bound: bool


@dataclass(frozen=True)
class Seen:
    """Everything that this host sees."""

    serial: tuple[SerialAdapter, ...]
    i2c: tuple[I2cAdapter, ...]
    usb_bridges: tuple[UsbBridge, ...]


def look(context: Any = None) -> Seen:
    """What a pyudev.Context has; None: that of this host. Raises TargetError without libudev."""
    if context is None:
        try:
            pyudev: Any = importlib.import_module("pyudev")
        except ImportError as error:
            raise TargetError(f"dmasafe targets needs libudev: {to_install('libudev1')}") from error
        context = pyudev.Context()
    return Seen(_serial(context), _i2c(context), _bridges(context))


def _serial(context: Any) -> tuple[SerialAdapter, ...]:
    found = []
    for device in context.list_devices(subsystem="tty"):
        # Virtual terminals have no parent; a 8250 without hardware behind it is of type 0 (PORT_UNKNOWN).
        if device.device_node is None or device.parent is None or _attribute(device, "type") == "0":
            continue
        links = sorted(str(link) for link in device.device_links)
        stable = next((link for link in links if "/serial/by-id/" in link), None)
        words = (device.properties.get("ID_VENDOR", ""), device.properties.get("ID_MODEL", ""))
        what = " ".join(word for word in words if word) or str(device.parent.sys_name)
        found.append(SerialAdapter(str(device.device_node), stable, what, _driver(device)))
    return tuple(sorted(found, key=lambda each: each.device))


def _i2c(context: Any) -> tuple[I2cAdapter, ...]:
    found = []
    for device in context.list_devices(subsystem="i2c"):
        number = str(device.sys_name).removeprefix("i2c-")
        if number.isdecimal():
            present = Path(f"/dev/i2c-{number}").exists()
            found.append(I2cAdapter(int(number), _attribute(device, "name") or "", _driver(device), present))
    return tuple(sorted(found, key=lambda each: each.number))


def _bridges(context: Any) -> tuple[UsbBridge, ...]:
    found = []
    for device in context.list_devices(subsystem="usb", DEVTYPE="usb_device"):
        vendor, product = _attribute(device, "idVendor") or "", _attribute(device, "idProduct") or ""
        try:
            driver = USB_BRIDGES.get((int(vendor, 16), int(product, 16)))
        except ValueError:
            continue
        if driver is None:
            continue
        words = (_attribute(device, "manufacturer"), _attribute(device, "product"))
        bound = any(child.driver is not None for child in device.children)
        found.append(UsbBridge(vendor, product, " ".join(word for word in words if word), driver, bound))
    return tuple(found)


def _driver(device: Any) -> str | None:
    """The driver of the nearest device above that has one."""
    while device is not None:
        if device.driver is not None:
            return str(device.driver)
        device = device.parent
    return None


def _attribute(device: Any, name: str) -> str | None:
    """A sysfs attribute; devices say in them what they like."""
    try:
        value = device.attributes.get(name)
    except (KeyError, OSError, UnicodeError):
        return None
    return None if value is None else value.decode("utf-8", "replace").strip()
