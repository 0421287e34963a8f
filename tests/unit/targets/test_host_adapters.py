# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's own controllers in a guest: their drivers loaded, their adapters found."""

from types import SimpleNamespace

import pytest

from dmasafe.guest.hands import Hands
from dmasafe.qemu.machines import find_machine
from dmasafe.targets import hosts
from dmasafe.targets.errors import BootLost
from dmasafe.targets.hosts import DriverFile, host_adapters

PCI = "/sys/bus/pci/devices/0000:00:10.0"
RESOURCE = "0x0000000010000000 0x000000001000ffff 0x0000000000040200\n0x0 0x0 0x0"


class Guest:
    """A guest whose adapters are those of ``paths``, from the second look on."""

    def __init__(self, *paths, files=None):
        self.paths = [(), paths]
        self.files = {f"{PCI}/resource": RESOURCE, **(files or {})}
        self.asked = []
        self.hands = Hands(self.request)

    def read(self, path):
        return self.files.get(path)

    def request(self, op, **words):
        self.asked.append((op, *words.values()))
        reply = {"re": op, "errno": 0}
        if op == "command":
            paths = self.paths.pop(0) if len(self.paths) > 1 else self.paths[0]
            reply |= {"status": 0, "output": "".join(f"{path}\n" for path in paths)}
        return reply

    def did(self, op):
        return [words[1:] for words in self.asked if words[0] == op]


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(hosts, "APPEAR_TIMEOUT_S", 0.2)
    monkeypatch.setattr(hosts, "time", SimpleNamespace(monotonic=hosts.time.monotonic, sleep=lambda _: None))


def found(guest, name, arch, *drivers):
    return host_adapters(guest, find_machine(arch), {name: "0000:00:10.0"}, {name: drivers})


def test_a_host_of_a_device_tree_answers_before_its_driver_is_loaded():
    guest = Guest("/sys/devices/pci0000:00/0000:00:0a.0/virtio1/i2c-0", "/sys/devices/platform/10000000.i2c/i2c-2")
    assert found(guest, "mt65xx", "arm64", DriverFile("a.ko"), DriverFile("i2c-mt65xx.ko")) == {"mt65xx": 2}
    assert [words for words in guest.asked if words[0] in ("write", "load")] == [
        ("write", f"{PCI}/enable", "1"), ("load", "/modules/a.ko", ""), ("load", "/modules/i2c-mt65xx.ko", ""),
    ]  # fmt: skip
    assert guest.did("adapter") == [("mt65xx", 2)]


def test_memory_that_is_elsewhere_than_the_tree_says_costs_the_boot():
    guest = Guest(files={f"{PCI}/resource": "0x10010000 0x1001ffff 0x40200"})
    with pytest.raises(BootLost, match="memory of mt65xx at 0x10010000, the device tree says 0x10000000"):
        found(guest, "mt65xx", "arm64")
    assert guest.did("load") == []


def test_a_host_that_is_a_pci_function_is_found_below_it():
    guest = Guest("/sys/devices/pci0000:00/0000:00:11.0/i2c-1", "/sys/devices/pci0000:00/0000:00:10.0/i2c-4")
    assert found(guest, "ismt", "x86_64") == {"ismt": 4}
    assert guest.did("write") == []


def test_a_host_whose_driver_does_not_bind_is_left_out():
    assert found(Guest("/sys/devices/platform/20000000.i2c/i2c-2"), "mt65xx", "arm64") == {}


def test_once_only_warnings_of_drivers_are_re_armed_where_the_guest_says_where_they_are():
    sections = {"/sys/module/i2c_ismt/sections/.data..once": "0xffffffffa0001000"}
    guest = Guest("/sys/devices/pci0000:00/0000:00:10.0/i2c-4", files=sections)
    found(guest, "ismt", "x86_64", DriverFile("i2c-smbus.ko"), DriverFile("i2c-ismt.ko", ".data..once", 2))
    assert guest.did("load")[-1] == (f"/modules/{hosts.ONCE_MODULE}", "ranges=0xffffffffa0001000,2")


def test_a_boot_whose_drivers_may_have_warned_before_proves_nothing():
    """A warning that has been given does not come again: the next scenario would be a false pass."""
    with pytest.raises(BootLost, match="does not say where i2c_ismt keeps which once-only warnings it has given"):
        found(Guest(), "ismt", "x86_64", DriverFile("i2c-smbus.ko"), DriverFile("i2c-ismt.ko", ".data..once", 2))
