# SPDX-License-Identifier: GPL-2.0-or-later
from pathlib import Path

import pytest

from harness.qemu import process, versions
from harness.qemu.errors import QemuError
from harness.qemu.machines import MACHINES
from harness.qemu.process import MachineConfig, command_line
from harness.qemu.versions import options_for, qemu_version


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "qemu_version", lambda *_: (7, 2))
    sockets = {"virtio": tmp_path / "a,b.sock", "dmasafe": tmp_path / "c.sock"}
    return MachineConfig(
        MACHINES["x86_64"], "tcg", Path("vmlinux"), Path("initrd"), sockets, tmp_path / "c.log", tmp_path / "e.log"
    )


def test_every_i2c_device_goes_through_the_dma_api_on_a_slot_of_its_own(config):
    command = command_line(config, 3, 4, 5)
    devices = [word for word in command if word.startswith("vhost-user-i2c-pci")]
    assert len(devices) == 2
    assert all("iommu_platform=on" in device for device in devices)
    assert config.i2c_functions() == {"virtio": "0000:00:05.0", "dmasafe": "0000:00:06.0"}
    assert "addr=0x5" in devices[0] and "addr=0x6" in devices[1]


def test_guest_memory_is_shared_and_commas_in_paths_are_doubled(config):
    command = command_line(config, 3, 4, 5)
    assert any("memory-backend-memfd" in word and "share=on" in word for word in command)
    assert any("a,,b.sock" in word for word in command)


def test_nothing_listens_and_the_sandbox_is_on(config):
    command = command_line(config, 3, 4, 5)
    assert not any("server=on" in word or "tcp:" in word for word in command)
    assert command[command.index("-sandbox") + 1].startswith("on,")


def test_later_versions_end_with_their_parent():
    assert options_for((7, 2)) == ()
    assert options_for((10, 2)) == ("-run-with", "exit-with-parent=on")


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo 'QEMU emulator version 6.0.0'", "needs 7.2"),
        ("echo nonsense", "printed no version"),
        ("exit 1", "printed no version"),
    ],
)
def test_an_unusable_qemu_is_said_in_one_sentence(tmp_path, script, sentence):
    binary = tmp_path / "qemu-fake"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    versions.qemu_version.cache_clear()
    with pytest.raises(QemuError) as caught:
        qemu_version(str(binary), "qemu-system-x86")
    assert sentence in str(caught.value)


def test_a_missing_qemu_names_the_package():
    with pytest.raises(QemuError, match="apt-get install qemu-system-x86"):
        qemu_version("qemu-system-none", "qemu-system-x86")
