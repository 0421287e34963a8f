# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe targets``: what this host sees that scenarios could run on, and how to name it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from dmasafe.cli.output import Output, output_options
from dmasafe.errors import DmasafeError
from dmasafe.report.text import visible

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
USAGE = (
    "dmasafe run --target ssh:[USER@]HOST[:PORT] --kdir PATH",
    "dmasafe run --target serial:DEVICE[@BAUD] --kdir PATH",
    "dmasafe run --target local --suite board --bus N --address 0xNN     (as root)",
)


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


def look(context: Any) -> Seen:
    """What a pyudev.Context has."""
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


def lines(seen: Seen) -> Iterable[str]:
    """For people."""
    yield "serial adapters:"
    for port in seen.serial:
        yield f"  serial:{port.stable or port.device}  {port.what} ({port.device}, driver {port.driver or 'none'})"
    yield from () if seen.serial else ("  none",)
    yield "I2C adapters of this machine (target local):"
    for adapter in seen.i2c:
        missing = "" if adapter.has_device_file else "; modprobe i2c-dev"
        yield f"  --bus {adapter.number}  {adapter.name} (driver {adapter.driver or 'none'}{missing})"
    yield from () if seen.i2c else ("  none",)
    yield "USB I2C bridges:"
    for bridge in seen.usb_bridges:
        state = "bound" if bridge.bound else f"no driver has it; modprobe {bridge.driver}"
        yield f"  {bridge.vendor}:{bridge.product}  {bridge.what} (driver {bridge.driver}, {state})"
    yield from () if seen.usb_bridges else ("  none",)
    yield "to run scenarios there (docs/targets.md):"
    for line in USAGE:
        yield f"  {line}"


@click.command(name="targets", epilog="Example: dmasafe targets --format json")
@output_options("table", "json", flags={"--json": "json"})
def command(output: Output) -> None:
    """List serial adapters with stable names, I2C adapters with their drivers, and USB I2C bridges."""
    try:
        pyudev: Any = importlib.import_module("pyudev")
    except ImportError as error:
        raise DmasafeError("dmasafe targets needs libudev: apt-get install libudev1") from error
    seen = look(pyudev.Context())
    output.show(
        table=lambda: (visible(" ".join(line.split("\n"))) for line in lines(seen)),
        json=lambda: asdict(seen) | {"usage": list(USAGE)},
    )
