# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's own controllers in a machine: slots, addresses, device-tree nodes."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import fdt
import pytest

from dmasafe.carriers.hosts import ROOM
from dmasafe.devices.hosts import DeviceTree, hosts
from dmasafe.devices.hosts.declaration import BAR_BYTES, DMA_WINDOW
from dmasafe.qemu import QemuError, process
from dmasafe.qemu import hosts as in_machine
from dmasafe.qemu.device_tree import _parsed, changed_tree
from dmasafe.qemu.machines import HOST_SLOTS, I2C_SLOTS, find_machine
from dmasafe.qemu.process import MachineConfig, command_line

TREE = [name for name, host in hosts().items() if isinstance(host.place, DeviceTree)]


def test_every_host_of_a_boot_has_an_interrupt_line_of_its_own():
    assert len(HOST_SLOTS) == ROOM
    assert len({slot % 4 for slot in (I2C_SLOTS[0], *HOST_SLOTS)}) == 1 + len(HOST_SLOTS)


@pytest.mark.parametrize("name", TREE)
def test_a_host_s_node_says_where_the_machine_has_it(name):
    machine = find_machine("arm64")
    tree = _parsed(in_machine.nodes(machine, [name]))
    place = hosts()[name].place
    assert tree.root.exist_property("dma-coherent")
    first = [0, machine.host_window + place.windows[0].offset, 0, place.windows[0].size]
    regs = [node.get_property("reg").data for node in tree.root.nodes if node.exist_property("reg")]
    assert any(reg[:4] == first for reg in regs)
    channels = [0, machine.host_window + DMA_WINDOW.offset, 0, DMA_WINDOW.size]
    engines = [node for node in tree.root.nodes if node.get_property("compatible").value == "dmasafe,dmaengine"]
    assert [node.get_property("reg").data for node in engines] == [channels] * hosts()[name].dmaengine
    function = hosts()[name].function()
    function.plug(SimpleNamespace(dma=None, bus=None, undeclared=lambda *words: None))
    assert function.bars[0].size == BAR_BYTES


def test_several_hosts_are_in_one_tree_one_behind_the_other(tmp_path):
    machine = find_machine("arm64")
    expected = {name: 0x10000000 + number * BAR_BYTES for number, name in enumerate(TREE[:2])}
    assert in_machine.addresses(machine, TREE[:2]) == expected
    if shutil.which(machine.binary) is None:
        pytest.skip(f"{machine.binary} is not installed")
    command = [machine.binary, "-nodefaults", "-cpu", machine.cpu, "-m", "256M", "-display", "none", "-machine"]
    changed_tree([*command, machine.machine], tmp_path / "dtb", nodes=in_machine.nodes(machine, TREE[:2]))
    names = [node.name for node in fdt.parse_dtb((tmp_path / "dtb").read_bytes()).root.nodes]
    for address in expected.values():
        assert any(name.endswith(f"@{address:x}") and not name.startswith("pcie") for name in names)


def test_a_machine_that_no_tree_describes_gets_no_nodes():
    assert in_machine.nodes(find_machine("x86_64"), ["ismt"]) == ""


def test_a_host_is_a_vfio_user_function_in_its_slot(monkeypatch):
    monkeypatch.setattr(process, "qemu_version", lambda *_: (11, 1))
    paths = [Path(word) for word in ("vmlinux", "initrd")]
    config = MachineConfig(
        find_machine("x86_64"), "tcg", *paths, {}, Path("c"), Path("e"), hosts={"ismt": Path("/s/ismt.sock")}
    )
    words = [word for word in command_line(config, 3, 4, 5) if "vfio-user-pci" in word]
    socket = {"type": "unix", "path": "/s/ismt.sock"}
    assert [json.loads(word) for word in words] == [{"driver": "vfio-user-pci", "socket": socket, "addr": "10.0"}]
    assert config.i2c_functions() == {"ismt": "0000:00:10.0"}


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ("a { b = <&c>; };", "refer to c"),
        ("x: a { }; x: b { };", "one label of two nodes"),
        ("a { b = <z>; };", "cannot be read"),
    ],
)
def test_a_node_that_cannot_be_is_said_in_one_sentence(nodes, says):
    with pytest.raises(QemuError, match=says):
        _parsed(nodes)


def test_labels_become_phandles():
    tree = _parsed('one: a { #clock-cells = <0>; }; two: b@1 { clocks = <&one>, <&two 3>; names = "x", "y"; };')
    a, b = (tree.get_node(f"/{name}").get_property("phandle").value for name in ("a", "b@1"))
    assert a != b and tree.get_node("/b@1").get_property("clocks").data == [a, b, 3]
    assert tree.get_node("/b@1").get_property("names").data == ["x", "y"]
