# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe targets`` on hosts made of paper."""

import json
from types import SimpleNamespace

from click.testing import CliRunner

from dmasafe.cli import group, targets_command
from dmasafe.cli.targets_command import lines
from dmasafe.targets.host import USB_BRIDGES, look


def device(name, parent=None, driver=None, node=None, links=(), attributes=None, children=(), **properties):
    return SimpleNamespace(
        sys_name=name,
        parent=parent,
        driver=driver,
        device_node=node,
        device_links=links,
        attributes={key: value.encode() for key, value in (attributes or {}).items()},
        children=children,
        properties=properties,
    )


class Context:
    def __init__(self, **devices):
        self._devices = devices

    def list_devices(self, subsystem, **_match):
        return self._devices.get(subsystem, [])


USB = device("1-1", driver="usb")
FTDI = device(
    "ttyUSB0",
    device("1-1:1.0", USB, "ftdi_sio"),
    node="/dev/ttyUSB0",
    links=("/dev/serial/by-path/x", "/dev/serial/by-id/usb-FTDI_A-if00"),
    ID_VENDOR="FTDI",
    ID_MODEL="Board\x1b[2J",
)
HOST = Context(
    tty=[
        FTDI,
        device("tty0", node="/dev/tty0"),
        device("ttyS3", device("serial8250"), node="/dev/ttyS3", attributes={"type": "0"}),
    ],
    i2c=[
        device("i2c-1", device("80860f41", driver="i2c_designware"), attributes={"name": "Synopsys adapter"}),
        device("1-0050", attributes={"name": "24c02"}),
    ],
    usb=[
        device("1-2", attributes={"idVendor": "1964", "idProduct": "0001", "product": "OSIF"}),
        device("1-3", attributes={"idVendor": "dead", "idProduct": "beef"}),
        device("1-4", attributes={}),
    ],
)


def test_serial_adapters_have_their_stable_names_and_drivers():
    (port,) = look(HOST).serial
    assert (port.device, port.stable, port.driver) == ("/dev/ttyUSB0", "/dev/serial/by-id/usb-FTDI_A-if00", "ftdi_sio")


def test_i2c_adapters_have_the_driver_of_what_they_belong_to_and_clients_are_none():
    (adapter,) = look(HOST).i2c
    assert (adapter.number, adapter.name, adapter.driver) == (1, "Synopsys adapter", "i2c_designware")


def test_usb_bridges_are_known_by_their_ids():
    (bridge,) = look(HOST).usb_bridges
    assert (bridge.driver, bridge.bound) == ("i2c-robotfuzz-osif", False)
    assert "modprobe i2c-robotfuzz-osif" in "\n".join(lines(look(HOST)))


def test_a_host_without_anything_says_so_and_how_to_go_on():
    text = "\n".join(lines(look(Context())))
    assert text.count("  none") == 3 and "--target ssh:" in text


def test_what_devices_say_of_themselves_moves_no_cursor(monkeypatch):
    monkeypatch.setattr("pyudev.Context", lambda: HOST)
    text = CliRunner().invoke(group, ["targets"]).output
    assert "\x1b" not in text and "serial:/dev/serial/by-id/usb-FTDI_A-if00" in text
    found = json.loads(CliRunner().invoke(group, ["targets", "--json"]).output)
    assert found["serial"][0]["stable"].endswith("A-if00") and found["usage"] == list(targets_command.USAGE)


def test_every_bridge_names_a_driver():
    assert all(name and name == name.strip() for name in USB_BRIDGES.values()) and len(USB_BRIDGES) >= 10
