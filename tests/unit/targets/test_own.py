# SPDX-License-Identifier: GPL-2.0-or-later
"""A controller driver of the user's own: its scenarios, its function, its adapter."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dmasafe.carriers.own import OWN
from dmasafe.expect import expect
from dmasafe.facts import KernelFacts
from dmasafe.guest.hands import Hands
from dmasafe.outcome import Expectation, Outcome
from dmasafe.scenario import ScenarioError, parse_scenario, suite
from dmasafe.targets import own
from dmasafe.targets.errors import BootLost, TargetError
from dmasafe.targets.own import VIRTIO_I2C, OwnDriver, bind_own, device_of, give_back, own_suite
from dmasafe.targets.wire import settings

FACTS = KernelFacts("x86_64", (6, 12, 117), frozenset({"DMA_API_DEBUG", "VMAP_STACK", "MODULES"}))
FUNCTIONS = {"virtio": "0000:00:0a.0", "dmasafe": "0000:00:06.0", "own": "0000:00:12.0"}
IDS = {
    "0000:00:04.0": "1af4:1043",
    "0000:00:06.0": "1af4:1062",
    "0000:00:0a.0": "1af4:1062",
    "0000:00:12.0": "1b36:10f0",
}


class Guest:
    """A session's requests, by a sysfs of its own; ``adapters`` are those that binding a driver makes."""

    def __init__(self, drivers, adapters=None):
        self.drivers, self.adapters = drivers, adapters or {}
        self.asked, self.loaded, self.unloaded, self.written, self.sections = [], [], [], [], {}
        self.lists = {
            "/sys/bus/pci/devices": sorted(IDS),
            **{f"/sys/module/{n}/drivers": d for n, d in drivers.items()},
        }
        self.hands = Hands(self.request, self.lost)

    @staticmethod
    def lost(refused):
        return BootLost(str(refused))

    def read(self, path):
        if path in self.sections:
            return self.sections[path]
        *_, function, file = path.split("/")
        return f"0x{IDS[function].split(':')[file == 'device']}"

    def request(self, op, **arguments):
        if op == "list":
            names = self.lists.get(arguments["path"])
            return {"errno": 2} if names is None else {"errno": 0, "names": names}
        if op == "load":
            self.loaded.append(f"{arguments['path']} {arguments['params']}".strip())
        if op == "unload":
            self.unloaded.append(arguments["name"])
        if op == "write":
            self.written.append((arguments["path"], arguments["data"]))
        if op != "adapter":
            return {"errno": 0}
        self.asked.append(arguments)
        if "nr" in arguments:
            return {"errno": 0, "nr": arguments["nr"]}
        number = self.adapters.get(arguments["driver"])
        return {"errno": 0, "nr": number} if number is not None else {"errno": 110}


def driver(tmp_path, name="mine", **more):
    module = tmp_path / f"{name}.ko"
    module.write_bytes(b"module")
    return OwnDriver((module,), **more)


def test_a_pci_driver_gets_the_function_that_can_be_lent(tmp_path):
    guest = Guest({"mine": ["pci:mine-i2c"]}, {"mine-i2c": 3})
    assert bind_own(guest, driver(tmp_path), FUNCTIONS) == (3, "0000:00:0a.0")
    assert guest.loaded == ["/tmp/own-mine.ko"]
    assert guest.asked == [{"name": "own", "device": "0000:00:0a.0", "driver": "mine-i2c"}]


def test_a_function_of_the_users_is_his_drivers(tmp_path):
    guest = Guest({"mine": ["pci:mine-i2c"]}, {"mine-i2c": 3})
    mine = driver(tmp_path, device="demo_controller:DemoController")
    assert bind_own(guest, mine, FUNCTIONS) == (3, "0000:00:12.0")


def test_a_function_of_qemus_is_found_by_its_ids(tmp_path):
    guest = Guest({"mine": ["pci:mine-i2c"]}, {"mine-i2c": 3})
    assert bind_own(guest, driver(tmp_path, device="1b36:10f0"), FUNCTIONS)[1] == "0000:00:12.0"


def test_the_function_of_the_canaries_is_never_lent(tmp_path):
    guest = Guest({"mine": ["pci:mine-i2c"]}, {"mine-i2c": 3})
    with pytest.raises(BootLost, match="no PCI function 1b36:10f0 beside the one that the canaries need"):
        bind_own(guest, driver(tmp_path, device="1b36:10f0"), {"dmasafe": "0000:00:12.0"})


def test_once_only_warnings_come_again(tmp_path, monkeypatch):
    """images/hosts/dmasafe_once.c: brought once a boot, told where the warnings of the user's modules are kept."""
    monkeypatch.setattr(own, "once_section", lambda module: (".data..once", 9))
    once = tmp_path / "dmasafe_once.ko"
    once.write_bytes(b"once")
    guest = Guest({"mine": ["pci:mine-i2c"]}, {"mine-i2c": 3})
    guest.lists["/tmp"] = []
    guest.sections = {"/sys/module/mine/sections/.data..once": "0xffff1000"}
    bind_own(guest, driver(tmp_path, once=once), FUNCTIONS)
    assert guest.loaded == ["/tmp/own-mine.ko", "/tmp/own-dmasafe_once.ko ranges=0xffff1000,9"]
    give_back(guest, "0000:00:0a.0")
    assert guest.unloaded == ["dmasafe_once"]
    assert guest.written == [("/sys/bus/pci/devices/0000:00:0a.0/driver/unbind", "0000:00:0a.0")]


def test_a_virtio_driver_takes_the_device_of_the_function(tmp_path):
    """The agent binds it, so that it can do so again after an oops."""
    guest = Guest({"mine": ["virtio:i2c_mine"]}, {"i2c_mine": 4})
    guest.lists["/sys/bus/pci/devices/0000:00:0a.0"] = ["config", "virtio1"]
    assert bind_own(guest, driver(tmp_path), FUNCTIONS) == (4, "0000:00:0a.0")
    assert guest.asked == [{"name": "own", "bus": "virtio", "device": "virtio1", "driver": "i2c_mine"}]


def test_a_virtio_driver_of_another_function(tmp_path):
    guest = Guest({"mine": ["virtio:i2c_mine"]}, {"i2c_mine": 4})
    guest.lists["/sys/bus/pci/devices/0000:00:12.0"] = ["config"]
    with pytest.raises(BootLost, match=r"0000:00:12\.0 is no virtio device"):
        bind_own(guest, driver(tmp_path, device="1b36:10f0"), FUNCTIONS)


@pytest.mark.parametrize(
    ("drivers", "why"),
    [
        ({}, "of PCI or virtio drivers mine must have one; it has none"),
        ({"mine": ["platform:mine"]}, "it has platform:mine"),
        ({"mine": ["pci:mine"]}, "the driver mine made no I2C adapter of 0000:00:0a.0"),
    ],
)
def test_a_module_without_a_controllers_driver(tmp_path, drivers, why):
    with pytest.raises(BootLost, match=why):
        bind_own(Guest(drivers), driver(tmp_path), FUNCTIONS)


def test_a_device_is_ids_or_a_class_in_a_file(tmp_path):
    file = tmp_path / "demo_controller.py"
    file.write_text("")
    assert device_of("1AF4:1062") == (VIRTIO_I2C, ())
    assert device_of(f"{file}:Demo") == ("demo_controller:Demo", (str(tmp_path),))
    assert OwnDriver((), "1b36:10f0").function is None and OwnDriver((), "a:B").function == "a:B"
    with pytest.raises(TargetError, match="write its ids"):
        device_of("somewhere")
    with pytest.raises(TargetError, match="there is no file"):
        device_of("nowhere.py:Demo")


def test_a_suite_on_ones_own_controller_is_what_the_harness_does_with_its_own():
    found = own_suite("core", "trusting")
    assert len(found) > 500 and all((one.controller, one.policy) == ("own", "trusting") for one in found)
    core = {scenario.id for scenario in suite("core")}
    assert all(scenario.id.replace("/own:", "/dmasafe:") in core for scenario in found)
    # What a driver is free to refuse.
    assert not [
        one for one in found if one.option("protocol") in ("quick", "block_data") or "w0" in one.option("messages")
    ]
    assert all(scenario.length for scenario in found if not scenario.option("protocol"))
    few = own_suite("core", "bounce", ["stack/*/own:bounce/8"])
    assert few and all(scenario.buffer == "stack" for scenario in few)
    with pytest.raises(ScenarioError, match="no scenario of suite core on own:bounce matches"):
        own_suite("core", "bounce", ["nothing/*"])


@pytest.mark.parametrize("policy", ["bounce", "trusting", "flag-only", "pio"])
def test_a_promise_is_judged_as_the_policy_is(policy):
    mine, theirs = (expect(parse_scenario(f"stack/master_send/{who}:{policy}/8"), FACTS) for who in ("own", "dmasafe"))
    assert mine == theirs and isinstance(mine, Expectation)
    assert (mine.outcome is Outcome.CAUGHT) == (policy == "trusting")


def test_a_driver_on_the_virtio_core_is_judged_as_i2c_virtio_is():
    """It maps pages: dma-debug does not see whose they are."""
    mine = expect(parse_scenario("module-data/master_recv_dmasafe/own:virtio/8"), FACTS)
    assert mine == expect(parse_scenario("module-data/master_recv_dmasafe/virtio/8"), FACTS)
    assert {one.id.replace("own:virtio", "virtio") for one in own_suite("smoke", "virtio")} <= {
        s.id for s in suite("smoke")
    }


def test_a_promise_cannot_be_set_and_takes_no_seeded_fault():
    assert settings(parse_scenario("heap/master_send/own:bounce/8")) == ""
    with pytest.raises(ScenarioError, match="needs the driver of controller dmasafe"):
        parse_scenario("heap/master_send/own:bounce/8+fault=unmap-early")
    assert OWN.plug is None and not OWN.always


def test_what_the_boot_lends_is_nobody_elses(monkeypatch):
    from dmasafe.targets import boot as boots

    monkeypatch.setattr(boots, "bind_own", lambda session, own, functions: (7, "0000:00:0a.0"))
    boot = boots.Boot.__new__(boots.Boot)
    boot._functions, boot._lent = dict(FUNCTIONS), ""
    boot.adapters = {"virtio": 1, "dmasafe": 2}
    bound = []
    boot.image = SimpleNamespace(rows=[])
    boot.request = lambda *_, **arguments: bound.append(arguments) or {"errno": 0}
    assert boot.lend(OwnDriver(())) == 7
    assert boot.adapters == {"dmasafe": 2, "own": 7} and boot._lent == "0000:00:0a.0"
    boot.take_back()
    assert boot.adapters == {"dmasafe": 2} and boot._lent == ""
