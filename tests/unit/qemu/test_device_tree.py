# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's own device tree, less a property."""

import shutil

import fdt
import pytest

from dmasafe.architecture import architecture_names
from dmasafe.qemu import QemuError
from dmasafe.qemu.device_tree import changed_tree
from dmasafe.qemu.machines import find_machine

EDITED = [arch for arch in ("arm", "arm64") if arch in architecture_names()]


def command_of(machine):
    return [machine.binary, "-cpu", machine.cpu, "-m", "256M", "-display", "none", "-machine", machine.machine]


@pytest.mark.parametrize("arch", EDITED)
def test_only_the_named_property_is_gone(arch, tmp_path):
    machine = find_machine(arch, "non-coherent")
    if shutil.which(machine.binary) is None:
        pytest.skip(f"{machine.binary} is not installed")
    (line,) = machine.without
    place, name = line.split()
    whole, edited = tmp_path / "whole.dtb", tmp_path / "edited,.dtb"
    changed_tree(command_of(machine), whole)
    changed_tree(command_of(machine), edited, machine.without)
    before, after = (fdt.parse_dtb(path.read_bytes()) for path in (whole, edited))
    assert before.get_node(place).exist_property(name)
    assert not after.get_node(place).exist_property(name)
    # Two more differ: QEMU makes up its random seeds anew.
    kept = {found.name for found in before.get_node(place).props} - {name}
    assert kept == {found.name for found in after.get_node(place).props}


def fake(tmp_path, script):
    binary = tmp_path / "qemu-fake"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    return [str(binary), "-machine", "virt"]


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo no such machine >&2; exit 1", "wrote no device tree: no such machine"),
        ("exit 0", "wrote no device tree that can be read"),
        ("echo nonsense > ${2#*dumpdtb=}", "wrote no device tree that can be read"),
    ],
)
def test_a_qemu_that_writes_none_is_said_in_one_sentence(tmp_path, script, sentence):
    with pytest.raises(QemuError, match=sentence):
        changed_tree(fake(tmp_path, script), tmp_path / "out.dtb", ("/a b",))


def test_a_property_that_is_not_there_is_no_success(tmp_path):
    tree = fdt.FDT(header=fdt.Header())
    tree.header.version = 17
    (tmp_path / "tree").write_bytes(tree.to_dtb(version=17))
    with pytest.raises(QemuError, match="no dma-coherent at /pcie"):
        changed_tree(
            fake(tmp_path, f"cp {tmp_path}/tree ${{2#*dumpdtb=}}"), tmp_path / "out.dtb", ("/pcie dma-coherent",)
        )
