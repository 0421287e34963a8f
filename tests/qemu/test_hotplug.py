# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated controller comes and goes while the guest runs: idle, in mid-transfer, with files open, with leaks."""

import contextlib
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dmasafe.devices.client import DeviceProcess
from dmasafe.progress import SILENT
from dmasafe.qemu.machines import find_machine
from dmasafe.targets.errors import TargetError
from dmasafe.targets.hotplug import HotplugPort, with_root_port
from dmasafe.targets.machine import BoardGuest, board_image
from tests.smbus2.board import Board

CONTROLLER = "plugged"
# Python alone takes 2 s to start in an emulated guest, and ten times that where ten processes share two cores.
APPEAR_S = 120
# A slave that holds the clock: long enough to pull the controller out meanwhile, even on a slow machine.
SLOW_MS = 6000
ENDLESS_MS = 60000
_FUNCTIONS = "cd /sys/bus/pci/devices; for f in *; do read -r id < $f/device; [ $id != 0x1062 ] || echo $f; done"


class Bench:
    """A board with a root port, the device behind it, and what pyudev sees."""

    def __init__(self, guest, board):
        self.guest, self.board = guest, board
        self.port = HotplugPort(guest.qemu)
        self.known = set(guest.functions.values())
        board.start("python3 monitor.py", "/tmp/events")
        self.wait("the monitor", lambda: "ready" in board.run("cat /tmp/events"))

    def wait(self, what, condition, timeout_s=APPEAR_S):
        """What ``condition`` returns once it is true."""
        begun = time.monotonic()
        while not (answer := condition()):
            asked = time.monotonic()
            assert asked < begun + timeout_s, f"{what} did not come"
            # A slow guest is to do more than to answer.
            time.sleep(min(1.0, max(0.1, asked - begun)))
        return answer

    def events(self):
        """What pyudev has seen so far."""
        return [json.loads(line) for line in self.board.run("cat /tmp/events").splitlines()][1:]

    def plug(self, driver=None):
        """Plug the controller in; its PCI function and its adapter's number, with upstream's driver or ``driver``."""
        self.port.plug(self.device.socket(CONTROLLER))
        self.function = self.wait("the function", lambda: set(self.board.run(_FUNCTIONS).split()) - self.known).pop()
        self.bus = self.wait("the adapter", lambda: str(self.board.bus_of(self.function) or ""))
        if driver is not None:
            self.bus = str(self.board.bind(self.function, driver))
        return self.function, self.bus

    def transfer(self, milliseconds):
        """Have a process in the guest start a transfer of so many milliseconds, or only hold the bus; its number."""
        self.board.run("rm -f /tmp/release")
        process = self.board.start(f"python3 transfer.py {self.bus} {milliseconds}", "/tmp/transfer")
        self.wait("the transfer", lambda: "under way" in self.said())
        return process

    def read_in_vain(self):
        """Have a process read from a device that does not answer; its number, once the device was asked."""
        self.device.receive()
        process = self.board.start(f"/usr/sbin/i2cget -y {self.bus} 0x20 5", "/tmp/transfer")
        self.wait("the request", lambda: any(event["ev"] == "message" for event in self.device.receive()))
        return process

    def said(self):
        """What the process has said so far."""
        return self.board.run("cat /tmp/transfer").splitlines()

    def finished(self):
        """What the process has said when it has closed the bus."""
        return self.wait("its end", lambda: "closed" in self.said() and self.said())

    def free_entries(self):
        """How much of dma-debug's table is free: less after each leak."""
        return self.board.debug("num_free_entries")

    def classes_after(self, record):
        """What the kernel reported after that record; a report of no class of dma-debug's by its message."""
        splats = self.board.splats_after(record)
        return [splat.message if splat.splat_class == "other" else splat.splat_class for splat in splats]


@pytest.fixture(scope="module")
def image():
    return with_root_port(board_image(SILENT))


@contextlib.contextmanager
def booted(image, logs):
    with BoardGuest(image, logs) as guest, Board(guest) as board:
        yield Bench(guest, board)


@pytest.fixture
def device():
    """A device of the test's own: its slaves are new."""
    with (
        tempfile.TemporaryDirectory(prefix="dmasafe-") as directory,
        DeviceProcess(Path(directory), (CONTROLLER,)) as device,
    ):
        device.wait_ready()
        yield device


@pytest.fixture(scope="module")
def shared(image, tmp_path_factory):
    with booted(image, tmp_path_factory.mktemp("hotplug")) as bench:
        yield bench


@pytest.fixture
def bench(shared, device):
    """The shared guest, its port empty before and after, and nothing leaked or reported in between."""
    shared.device = device
    free, record = shared.free_entries(), shared.board.last_record()
    yield shared
    if shared.port.plugged:
        shared.board.run("touch /tmp/release")
        if shared.port.occupied:
            shared.port.ask()
        shared.port.wait_empty()
    assert shared.classes_after(record) == []
    assert shared.free_entries() == free


@pytest.fixture
def spoilt(image, device, tmp_path):
    """A guest for one test: what leaks stays in dma-debug's table, and later mappings may meet it."""
    with booted(image, tmp_path) as bench:
        bench.device = device
        yield bench


def test_adapter_and_node_come_and_go_in_order(bench):
    before = len(bench.events())
    function, bus = bench.plug()
    name = f"i2c-{bus}"
    bench.wait("the node's event", lambda: any(e["subsystem"] == "i2c-dev" for e in bench.events()[before:]))
    assert bench.board.run(f"python3 -c 'import smbus2; print(smbus2.SMBus({bus}).read_byte_data(0x20, 7))'") == "7\n"
    bench.port.unplug()

    def seen():
        return [event for event in bench.events()[before:] if event["name"] in (function, name)]

    bench.wait("the last event", lambda: ("remove", "pci") in [(e["action"], e["subsystem"]) for e in seen()])
    order = [(e["action"], e["subsystem"]) for e in seen() if e["action"] in ("add", "remove")]
    assert order == [
        ("add", "pci"),
        # i2c-dev hears of the adapter (BUS_NOTIFY_ADD_DEVICE) before user space does.
        ("add", "i2c-dev"),
        ("add", "i2c"),
        ("remove", "i2c-dev"),
        ("remove", "i2c"),
        ("remove", "pci"),
    ]
    nodes = [(e["node"], e["there"]) for e in seen() if e["subsystem"] == "i2c-dev"]
    assert nodes == [(f"/dev/{name}", True), (f"/dev/{name}", False)]
    assert bench.board.attempt(f"ls /dev/{name} /sys/bus/i2c/devices/{name}")[0] != 0


def test_again_and_again_without_a_leak(bench):
    for round_ in range(5):
        _, bus = bench.plug()
        script = f"import smbus2; b = smbus2.SMBus({bus}); print(b.read_byte_data(0x20, 9)); "
        script += f"b.write_byte_data(0x20, 9, {round_ + 100})"
        # The slaves outlive the controller's absence.
        assert int(bench.board.run(f"python3 -c '{script}'")) == (round_ + 99 if round_ else 9)
        bench.port.unplug()


def test_a_transfer_under_way_is_waited_for(bench):
    bench.plug()
    bench.transfer(SLOW_MS)
    bench.port.ask()
    bench.wait("the node's end", lambda: bench.board.attempt(f"ls /dev/i2c-{bench.bus}")[0] != 0)
    assert bench.port.occupied and "slow read: 0x2" not in bench.said()
    bench.port.wait_empty()
    assert bench.finished() == ["under way", "slow read: 0x2", "closed"]


def test_an_open_file_works_on_and_is_waited_for(bench):
    """i2c_del_adapter() waits for the last user, who is not told."""
    bench.plug()
    bench.transfer(0)
    bench.port.ask()
    bench.wait("the node's end", lambda: bench.board.attempt(f"ls /dev/i2c-{bench.bus}")[0] != 0)
    with pytest.raises(TargetError, match="did not let go"):
        bench.port.wait_empty(2)
    bench.board.run("touch /tmp/release")
    bench.port.wait_empty()
    assert bench.finished() == ["under way", "late read: 0x33", "closed"]


def test_our_own_driver_goes_when_idle(bench):
    bench.plug("dmasafe_controller")
    assert bench.board.run(f"python3 -c 'import smbus2; print(smbus2.SMBus({bench.bus}).read_byte_data(0x20, 5))'") == (
        "5\n"
    )
    bench.port.unplug()


def test_our_own_driver_finishes_its_transfer(bench):
    bench.plug("dmasafe_controller")
    bench.transfer(SLOW_MS)
    bench.port.unplug()
    assert bench.finished() == ["under way", "slow read: 0x2", "closed"]


def test_our_own_driver_loses_nothing_with_a_process_that_is_killed(bench):
    bench.plug("dmasafe_controller")
    process = bench.transfer(ENDLESS_MS)
    bench.board.run(f"kill -9 {process}")
    bench.port.unplug()


def test_our_own_driver_gives_up_a_device_that_does_not_answer(bench):
    bench.plug("dmasafe_controller")
    bench.device.set_fault(CONTROLLER, "never")
    try:
        bench.read_in_vain()
        bench.port.unplug()
        bench.wait("its end", lambda: bench.said() == ["Error: Read failed"])
    finally:
        bench.device.set_fault(CONTROLLER, None)


def test_a_driver_that_leaks_is_caught(spoilt):
    function, bus = spoilt.plug("dmasafe_controller")
    spoilt.board.run(f"echo leak-on-release > /sys/bus/pci/devices/{function}/fault")
    spoilt.board.run(f"python3 -c 'import smbus2; smbus2.SMBus({bus}).read_byte(0x20)'")
    record = spoilt.board.last_record()
    spoilt.port.unplug()
    (splat,) = spoilt.board.splats_after(record)
    assert (splat.splat_class, splat.device) == ("leak-on-release", function)


def test_upstreams_driver_leaks_what_a_killed_process_has_asked_for(spoilt):
    """virtio_i2c_complete_reqs() returns on a signal, with the requests still in the queue."""
    function, _ = spoilt.plug()
    process = spoilt.transfer(ENDLESS_MS)
    record = spoilt.board.last_record()
    spoilt.board.run(f"kill -9 {process}")
    spoilt.port.unplug()
    (splat,) = spoilt.board.splats_after(record)
    assert (splat.splat_class, splat.device) == ("leak-on-release", function)
    assert splat.fields["count"] >= 3


def test_upstreams_driver_waits_for_ever_for_a_device_that_does_not_answer(spoilt):
    spoilt.plug()
    spoilt.device.set_fault(CONTROLLER, "never")
    process = spoilt.read_in_vain()
    record = spoilt.board.last_record()
    spoilt.port.ask()
    with pytest.raises(TargetError, match="did not let go"):
        spoilt.port.wait_empty(3)
    spoilt.board.run(f"kill -9 {process}")
    spoilt.port.wait_empty()
    assert spoilt.classes_after(record) == ["leak-on-release"]


def test_a_machine_without_hotplug_is_one_sentence(image):
    arm64 = replace(image, image=replace(image.image, machine=find_machine("arm64")))
    with pytest.raises(TargetError, match="guests of arm64 have no root port for hotplug"):
        with_root_port(arm64)
