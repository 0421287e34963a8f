# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding bridges and their adapters in a guest's sysfs, which may hold anything."""

import pytest

from dmasafe.facts import KernelFacts
from dmasafe.scenario import CONTROLLERS, suite
from dmasafe.targets import usb
from dmasafe.targets.boot import plugged_for
from dmasafe.targets.usb import bridge_adapters

# What the guest's sysfs showed: a hub, a bridge with its adapter below the interface, an MFD cell, a HID device.
FOUND = {
    "/sys/bus/usb/devices": ["usb1", "1-0:1.0", "1-1", "1-1:1.0", "1-2", "1-2:1.0", "1-3", "1-3:1.0", "1-4", "1-5"],
    "/sys/bus/usb/devices/1-5": ["1-5:1.0"],
    "/sys/bus/usb/devices/1-5/1-5:1.0": ["driver", "power"],
    "/sys/bus/i2c/devices": ["i2c-0", "i2c-6", "i2c-7", "0-0048"],
    "/sys/bus/usb/devices/1-1": ["1-1:1.0", "ep_00", "power"],
    "/sys/bus/usb/devices/1-1/1-1:1.0": ["i2c-3", "driver", "power"],
    "/sys/bus/usb/devices/1-2": ["1-2:1.0"],
    "/sys/bus/usb/devices/1-2/1-2:1.0": ["dln2-gpio.0.auto", "dln2-i2c.1.auto", "power"],
    "/sys/bus/usb/devices/1-2/1-2:1.0/dln2-gpio.0.auto": ["driver_override"],
    "/sys/bus/usb/devices/1-2/1-2:1.0/dln2-i2c.1.auto": ["i2c-4"],
    "/sys/bus/usb/devices/1-3": ["1-3:1.0", "1-3:1.1"],
    "/sys/bus/usb/devices/1-3/1-3:1.0": ["0003:04D8:00DD.0001", "power"],
    "/sys/bus/usb/devices/1-3/1-3:1.0/0003:04D8:00DD.0001": ["gpiochip0", "i2c-12"],
}
SERIALS = {"usb1": "0000:00:08.0", "1-1": "tiny-usb", "1-2": "dln2", "1-3": "mcp2221", "1-4": "ft260", "1-5": "osif"}
FILES = {
    "/sys/bus/usb/devices/1-5/busnum": "1",
    "/sys/bus/usb/devices/1-5/devnum": "12",
    "/sys/bus/i2c/devices/i2c-0/name": "virtio_i2c",
    "/sys/bus/i2c/devices/i2c-6/name": "OSIF at bus 001 device 002",
    "/sys/bus/i2c/devices/i2c-7/name": "OSIF at bus 001 device 012",
}


class Guest:
    """Answers list and read from tables; ``late`` lists are shown from the second look on."""

    def __init__(self, lists=FOUND, serials=SERIALS, late=(), refuses=()):
        self.lists, self.serials, self.late, self.refuses = lists, serials, set(late), refuses
        self.adapters = {}

    def request(self, op, **words):
        if op == "adapter":
            if words["name"] in self.refuses:
                return {"re": "adapter", "errno": 2}
            self.adapters[words["name"]] = words["nr"]
            return {"re": "adapter", "errno": 0, "nr": words["nr"]}
        path = words["path"]
        if path in self.late:
            self.late.discard(path)
            return {"re": "list", "errno": 2}
        if path not in self.lists:
            return {"re": "list", "errno": 2}
        return {"re": "list", "errno": 0, "names": self.lists[path]}

    def read(self, path):
        return self.serials.get(path.split("/")[-2]) if path.endswith("/serial") else FILES.get(path)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(usb, "APPEAR_TIMEOUT_S", 0.2)
    monkeypatch.setattr(usb, "_POLL_S", 0.001)


def test_an_adapter_is_found_below_its_interface_its_cell_or_its_hid_device():
    guest = Guest()
    wanted = {"tiny-usb": 3, "dln2": 4, "mcp2221": 12}
    assert bridge_adapters(guest, tuple(wanted)) == wanted
    assert guest.adapters == wanted


def test_an_adapter_without_a_parent_is_known_by_its_name():
    assert bridge_adapters(Guest(), ("osif",)) == {"osif": 7}


def test_a_bridge_that_comes_late_is_waited_for_and_one_that_does_not_come_is_left_out():
    guest = Guest(late=["/sys/bus/usb/devices/1-1/1-1:1.0"])
    assert bridge_adapters(guest, ("tiny-usb", "ft260")) == {"tiny-usb": 3}


def test_an_adapter_that_the_agent_refuses_is_left_out():
    assert bridge_adapters(Guest(refuses=("dln2",)), ("tiny-usb", "dln2")) == {"tiny-usb": 3}


@pytest.mark.parametrize("names", [None, "i2c-3", 7, [{}, 3, None, "i2c-x", "i2c-" + "9" * 5000], ["x"] * 10000])
def test_a_guest_that_plays_tricks_brings_no_adapter_and_no_exception(names):
    guest = Guest(lists={**FOUND, "/sys/bus/usb/devices/1-1/1-1:1.0": names})
    assert bridge_adapters(guest, ("tiny-usb",)) == {}


def test_nothing_is_asked_where_nothing_is_plugged_in():
    assert bridge_adapters(None, ()) == {}


def test_bridges_are_those_that_are_asked_for_and_have_a_driver():
    facts = KernelFacts("x86_64", (6, 12, 0), frozenset({"I2C_ROBOTFUZZ_OSIF", "I2C_TINY_USB"}))
    assert plugged_for(("virtio", "osif", "ft260", "osif-ehci"), facts) == ("osif", "osif-ehci")


def test_the_core_suite_has_no_bridges_and_the_upstream_suite_has_all():
    bridges = {name for name, row in CONTROLLERS.items() if row.plug and row.plug.hcd}
    assert not bridges & {scenario.controller for scenario in suite("core")}
    assert {scenario.controller for scenario in suite("upstream")} == bridges | {"virtio", "i801"}
