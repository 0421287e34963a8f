# SPDX-License-Identifier: GPL-2.0-or-later
"""A controller is one row: who adds one touches nothing else, and nobody asks what kind of controller it is."""

import errno
import re
from dataclasses import replace
from pathlib import Path

import pytest

import dmasafe
from dmasafe.carriers import BOARD, CONTROLLERS, Controller, Plug, Record, Where, controller_of
from dmasafe.carriers.drivers import BridgeDriver, PolicyDriver
from dmasafe.carriers.policy import DMASAFE
from dmasafe.carriers.suites import UPSTREAM
from dmasafe.carriers.usb_bridge import HCDS, usb_bridge
from dmasafe.expect import expect
from dmasafe.facts import KernelFacts
from dmasafe.model import Config, ModelKernel, predict
from dmasafe.outcome import BusMessage, Expectation, Outcome, Skip, outcome_of
from dmasafe.qemu import machines
from dmasafe.qemu.machines import find_machine
from dmasafe.qemu.process import command_line
from dmasafe.scenario import ScenarioError, parse_scenario, select, suite
from dmasafe.targets import boot
from dmasafe.targets.boot import GuestImage, machine_config, make_devices, plugged_for
from dmasafe.targets.runner import _run_message
from dmasafe.targets.wire import line, observation
from dmasafe.vocabulary import Scenario

SYMBOLS = frozenset({"DMA_API_DEBUG", "VMAP_STACK", "I2C_CHARDEV", "MODULES", "KALLSYMS_ALL", "I2C_VIRTIO"})
PACKAGE = Path(dmasafe.__file__).parent
MEMORY = (range(1 << 12, 256 << 20),)


def kernel(*symbols, machine=""):
    return KernelFacts("x86_64", (6, 12, 117), SYMBOLS.union(symbols), machine=machine)


# ---- nobody asks

# What such a condition looks like: a table of one kind, a controller's name, the attributes that once told the kinds.
ASKS = re.compile(
    r"\bin (?:BUSES|NO_BLOCK_READS)\b(?!\.)"
    r"|\.bridge is\b|\.on_board\b|\bBOARD\.name\b|\.front (?:==|!=)"
    rf"|(?:==|!=) [\"'](?:{'|'.join([*CONTROLLERS, BOARD.name])})[\"']"
    r"|isinstance\([^)]*\b(?:Bridge|Policy|Queue)Driver\b"
)
# Where one stands all the same, with the reason.
ALLOWED = {
    "vocabulary.py": "an operation's own property, from_user_space",
    "targets/board_session.py": "a board has these three controllers and no other",
}


def conditions():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if not name.startswith("carriers/"):
            for number, text in enumerate(path.read_text().splitlines(), 1):
                if ASKS.search(text):
                    yield name, f"{name}:{number}: {text.strip()}"


def test_nobody_outside_carriers_asks_what_kind_of_controller_it_is():
    assert [text for name, text in conditions() if name not in ALLOWED] == []
    assert {name for name, _text in conditions()} == set(ALLOWED), "an exception that is none any more"


@pytest.mark.parametrize(
    "text",
    [
        "if scenario.controller in BUSES:",
        "if CONTROLLERS[name].bridge is not None:",
        'if scenario.controller == "virtio" and ready:',
        "if controller == BOARD.name:",
        'if OPERATIONS[operation].front == "bus":',
        "return row.on_board is not None",
        "if isinstance(row.model, BridgeDriver):",
    ],
)
def test_the_search_finds_such_conditions(text):
    assert ASKS.search(text)


# ---- adding one

BRIDGE = usb_bridge(
    "dummy", "i2c-dummy", "I2C_DUMMY", BridgeDriver("dummy adapter", errno.ENXIO), device="tiny-usb", lengths=(8, 13)
)
# A kind that there is not yet: a PCI host of upstream's that maps whatever it is given and is plugged in on demand.
HOST = Controller(
    "dummy",
    "a PCI host",
    scenarios={UPSTREAM: lambda: [Scenario("stack", "master_send", "dummy", None, 13)]},
    needs=("I2C_DUMMY",),
    absent="this kernel has no i2c-dummy",
    model=PolicyDriver("dummy adapter", policy="trusting"),
    plug=Plug("vhost-user", 0xC),
    driver="i2c_dummy",
)
# Another: hardware that a module plays, of which a rule tells what must come.
PLAYED = Controller(
    "dummy",
    "played by a module",
    fronts=frozenset({"i2cdev"}),
    scenarios={UPSTREAM: lambda: [Scenario("user", "i2cdev_read", "dummy", None, 13)]},
    places=frozenset({Where.GUEST}),
    elsewhere="only a guest has the dummy",
    expects=lambda _scenario, facts, _predict: Expectation(Outcome.REFUSED, f"rule for {facts.arch}"),
    module="dmasafe_dummy",
    words=("play=dummy",),
    has_adapter=False,
    record=Record.NOBODY,
)


@pytest.fixture(params=[BRIDGE, HOST, PLAYED], ids=["usb-bridge", "pci-host", "played"])
def dummy(request, monkeypatch):
    monkeypatch.setitem(CONTROLLERS, "dummy", request.param)
    return request.param


class Devices:
    """Stands in for the device's process: what it would be told."""

    def __init__(self, directory, controllers, bridges, functions, path):
        self.directory, self.controllers, self.bridges = directory, controllers, bridges
        self.functions = functions

    def socket(self, name):
        assert name in (*self.controllers, *self.bridges, *self.functions)
        return self.directory / f"{name}.sock"


def booted(monkeypatch, *controllers):
    """(what the device's process is told, QEMU's options, names with PCI functions) of a guest with these."""
    monkeypatch.setattr(boot, "DeviceProcess", Devices)
    image = GuestImage(find_machine("x86_64"), Path("/k"), Path("/i"), "tcg", controllers=controllers)
    devices = make_devices(image, Path("/d"))
    config = machine_config(image, devices, Path("/l"))
    return devices, command_line(config, 3, 4, 5), config.i2c_functions(), image


def test_a_new_controllers_scenarios_are_in_ids_suites_and_patterns(dummy):
    mine = [s for s in suite("upstream") if s.controller == "dummy"]
    assert mine and any(s.length == 13 for s in mine)
    assert [parse_scenario(s.id) for s in mine] == mine == select(["*/*/dummy/*"])
    assert "dummy" not in {s.controller for s in suite("core")}
    with pytest.raises(ScenarioError, match="dummy has no spi_read"):
        parse_scenario("heap/spi_read/dummy/8")
    with pytest.raises(ScenarioError, match="has no policies"):
        parse_scenario("heap/master_send/dummy:bounce/8")


def test_a_new_bridge_is_plugged_in_where_it_is_asked_for(monkeypatch):
    monkeypatch.setitem(CONTROLLERS, "dummy", BRIDGE)
    devices, options, functions, _image = booted(monkeypatch, "dummy")
    assert devices.bridges == {"dummy": "tiny-usb"} and "dummy" not in functions
    assert "usb-redir,chardev=usb-dummy,bus=xhci.0" in options
    assert booted(monkeypatch)[0].bridges == {}


def test_a_new_pci_controller_is_plugged_in_where_it_is_asked_for(monkeypatch):
    monkeypatch.setitem(CONTROLLERS, "dummy", HOST)
    devices, options, functions, _image = booted(monkeypatch, "dummy")
    assert devices.controllers == ("virtio", "dmasafe", "dummy") and not devices.bridges
    assert functions["dummy"] == HOST.plug.function and "socket,id=i2c-dummy,path=/d/dummy.sock" in options
    assert "dummy" not in booted(monkeypatch)[2]


def test_a_controller_that_a_module_plays_is_nothing_to_qemu(monkeypatch):
    monkeypatch.setitem(CONTROLLERS, "dummy", PLAYED)
    devices, options, _functions, image = booted(monkeypatch, "dummy")
    assert not any("dummy" in option for option in options) and devices.controllers == ("virtio", "dmasafe")
    assert [row.module for row in image.rows if row.module] == ["dmasafe_dummy"]


def test_it_is_there_if_the_kernel_has_its_driver(dummy):
    assert plugged_for(["virtio", "dummy"], kernel("I2C_DUMMY")) == ("dummy",)
    assert plugged_for(["virtio"], kernel("I2C_DUMMY")) == ()
    assert plugged_for(["dummy"], kernel()) == (() if dummy.needs else ("dummy",))


def test_the_agents_line_names_its_adapter_or_has_its_words(dummy):
    scenario = next(s for s in suite("upstream") if s.controller == "dummy")
    message = _run_message(1, scenario)
    assert message["adapter"] == ("dummy" if dummy.has_adapter else "")
    assert line(scenario) == message["line"] and message["set"] == ""


def test_words_of_its_own_go_into_the_agents_line_of_kernel_calls(monkeypatch):
    monkeypatch.setitem(CONTROLLERS, "dummy", HOST)
    scenario = parse_scenario("stack/master_send/dummy/13")
    plain = line(scenario)
    monkeypatch.setitem(CONTROLLERS, "dummy", replace(HOST, words=("play=dummy",)))
    assert line(scenario) == f"{plain} play=dummy"


@pytest.mark.parametrize(
    ("row", "outcome", "classes", "absent"),
    [(BRIDGE, Outcome.SAFE, (), "CONFIG_I2C_DUMMY"), (HOST, Outcome.CAUGHT, ("map-vmalloc-rejected",), "i2c-dummy")],
    ids=["usb-bridge", "pci-host"],
)
def test_it_is_predicted_as_its_driver_is_described(monkeypatch, row, outcome, classes, absent):
    monkeypatch.setitem(CONTROLLERS, "dummy", row)
    # Models of its own: one that is kept has the controllers of its time.
    facts = kernel("I2C_DUMMY", f"TRY_{row.what}")
    scenario = parse_scenario("stack/master_send/dummy/13")
    found = expect(scenario, facts)
    assert (found.outcome, found.classes) == (outcome, classes)
    model = ModelKernel(Config.of(facts))
    assert model.adapter("dummy").name == "dummy adapter"
    assert (model.devices["dummy"].name, model.devices["dummy"].driver) == (row.plug.function, row.driver)
    found = expect(scenario, kernel(f"WITHOUT_{row.what}"))
    assert isinstance(found, Skip) and absent in found.why


def test_a_rule_of_its_own_goes_before_the_model(monkeypatch):
    monkeypatch.setitem(CONTROLLERS, "dummy", PLAYED)
    scenario = parse_scenario("user/i2cdev_read/dummy/13")
    assert expect(scenario, kernel()) == Expectation(Outcome.REFUSED, "rule for x86_64")
    found = predict(scenario, kernel("TRY_played"))
    assert isinstance(found, Skip) and found.why == "the model has no dummy"


def test_it_is_skipped_where_it_cannot_be(dummy):
    refused = {place: dummy.not_at(place) for place in Where}
    if dummy.elsewhere:
        assert refused == {Where.GUEST: None, Where.MODEL: dummy.elsewhere, Where.BOARD: dummy.elsewhere}
    else:
        assert set(refused.values()) == {None}


# ---- the rows that there are


@pytest.mark.parametrize("row", [*CONTROLLERS.values(), BOARD], ids=lambda row: row.name)
def test_every_row_is_whole(row):
    assert controller_of(row.name) is row and row.what
    # The model, a rule, or another controller's row says what must come of its scenarios.
    assert [row.model is not None, row.expects is not None, bool(row.like)].count(True) == 1
    assert row.model is None or row.plug is not None
    assert bool(row.elsewhere) == (row.places != frozenset(Where))
    assert row.driver or row.plug is None
    for name, make in row.scenarios.items():
        scenarios = list(make())
        assert scenarios and all(s.controller == row.name for s in scenarios), name
        assert all(parse_scenario(s.id) == s for s in scenarios)


def test_slots_are_those_that_qemu_is_given(monkeypatch):
    functions = booted(monkeypatch)[2]
    assert functions == {row.name: row.plug.function for row in CONTROLLERS.values() if row.always}
    for hcd, (_words, slot, _driver) in HCDS.items():
        assert machines.HCDS[hcd][0] == slot
    assert DMASAFE.driver == "dmasafe_controller"


def test_a_controller_of_the_machines_is_there_with_that_machine_only():
    machine = find_machine("x86_64", "smbus")
    rows = GuestImage(machine, Path("/k"), Path("/i"), "tcg").rows
    assert [row.name for row in rows] == ["virtio", "dmasafe", "i801"]
    plain = GuestImage(find_machine("x86_64"), Path("/k"), Path("/i"), "tcg").rows
    assert [row.name for row in plain] == ["virtio", "dmasafe"]


# ---- whose record counts


def answered(scenario, trace=(), **more):
    message = {"rd": 1, "data": "0102"}
    reply = {"re": "run", "seq": 1, "answer": {"ret": 2, "ns": 100, "transferred": True, "msgs": [message], **more}}
    return observation(parse_scenario(scenario), reply, [], trace, MEMORY)


def test_a_boards_own_bus_is_judged_by_the_caller_unless_somebody_watches_it():
    seen = answered("user/i2cdev_read/board/2@50")
    assert seen.bus is None and outcome_of(seen)[0] is Outcome.SAFE
    other = BusMessage(0x50, True, b"\x01\x03", True)
    assert outcome_of(answered("user/i2cdev_read/board/2@50", [other]))[0] is Outcome.SILENT


def test_an_emulated_device_that_saw_nothing_is_wrong_data():
    seen = answered("user/i2cdev_read/virtio/2@50")
    assert seen.bus == () and outcome_of(seen)[0] is Outcome.SILENT


def test_slaves_that_tell_nothing_leave_it_to_the_caller():
    assert answered("user/i2cdev_smbus/i801/1@50+protocol=byte+rd=1").bus is None


def test_hardware_in_the_guest_answers_for_itself():
    hardware = {"rd": 1, "data": "0102", "segments": [{"address": "0x5000", "length": 2, "stray": 0}]}
    seen = answered("heap/spi_read/bus-spi/2", bus=[hardware])
    assert [message.data for message in seen.bus] == [b"\x01\x02"] and outcome_of(seen)[0] is Outcome.SAFE
