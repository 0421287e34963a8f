# SPDX-License-Identifier: GPL-2.0-or-later
import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dmasafe.architecture import architecture_names
from dmasafe.qemu import QemuError, clock, process, versions
from dmasafe.qemu.machines import find_machine
from dmasafe.qemu.process import Extras, MachineConfig, QemuProcess, command_line
from dmasafe.qemu.versions import options_for, qemu_version


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "qemu_version", lambda *_: (7, 2))
    sockets = {"virtio": tmp_path / "a,b.sock", "dmasafe": tmp_path / "c.sock"}
    return MachineConfig(
        find_machine("x86_64"), "tcg", Path("vmlinux"), Path("initrd"), sockets, tmp_path / "c.log", tmp_path / "e.log"
    )


def test_every_i2c_device_goes_through_the_dma_api_on_a_slot_of_its_own(config):
    command = command_line(config, 3, 4, 5)
    devices = [word for word in command if word.startswith("vhost-user-i2c-pci")]
    assert len(devices) == 2
    assert all("iommu_platform=on" in device for device in devices)
    assert config.i2c_functions() == {"virtio": "0000:00:0a.0", "dmasafe": "0000:00:06.0"}
    assert "addr=0xa" in devices[0] and "addr=0x6" in devices[1]


def test_guest_memory_is_shared_and_commas_in_paths_are_doubled(config):
    command = command_line(config, 3, 4, 5)
    assert any("memory-backend-memfd" in word and "share=on" in word for word in command)
    assert any("a,,b.sock" in word for word in command)


def test_a_users_words_for_qemu_come_last(config):
    extras = replace(config.extras, arguments=("-smp", "2"))
    assert command_line(replace(config, extras=extras), 3, 4, 5)[-2:] == ["-smp", "2"]


@pytest.mark.parametrize(
    ("arch", "accelerator", "host", "told"),
    [
        ("x86_64", "tcg", "x86_64", True),
        ("i386", "tcg,thread=single", "x86_64", True),
        ("x86_64", "kvm", "x86_64", False),
        ("arm64", "tcg", "x86_64", False),
        ("x86_64", "tcg", "aarch64", False),
    ],
)
def test_an_emulated_x86_guest_is_told_how_fast_its_counter_is(config, monkeypatch, arch, accelerator, host, told):
    machine = find_machine(arch)
    if told and os.uname().machine != host:
        pytest.skip("this machine has another counter")
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine=host))
    rates = []
    for _ in range(2):
        clock.tsc_khz.cache_clear()
        command = command_line(replace(config, machine=machine, accelerator=accelerator), 3, 4, 5)
        rates += re.findall(r"\btsc_early_khz=(\d+)", command[command.index("-append") + 1])
    clock.tsc_khz.cache_clear()
    assert len(rates) == 2 * told
    if told:
        assert int(rates[0]) == pytest.approx(int(rates[1]), rel=0.01) and int(rates[0]) > 100_000


@pytest.mark.parametrize(
    ("arch", "accelerator", "spared"),
    [("x86_64", "tcg", True), ("i386", "tcg", True), ("x86_64", "kvm", False), ("arm64", "tcg", False)],
)
def test_an_emulated_x86_guest_measures_no_timer(config, arch, accelerator, spared):
    command = command_line(replace(config, machine=find_machine(arch), accelerator=accelerator), 3, 4, 5)
    words = command[command.index("-append") + 1].split()
    assert ("nolapic_timer" in words) is spared
    assert "initcall_blacklist=trace_eval_init" in words


def test_a_counter_that_may_not_be_read_is_left_to_the_guest(monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError

    monkeypatch.setattr("mmap.mmap", forbidden)
    clock.tsc_khz.cache_clear()
    assert clock.tsc_khz() is None
    clock.tsc_khz.cache_clear()


def test_nothing_listens_and_the_sandbox_is_on(config):
    command = command_line(config, 3, 4, 5)
    assert not any("server=on" in word or "tcp:" in word for word in command)
    assert command[command.index("-sandbox") + 1].startswith("on,")


def test_later_versions_end_with_their_parent():
    with_parent = ("-run-with", "exit-with-parent=on")
    assert with_parent[0] not in options_for((7, 2))
    assert [option for option in options_for((10, 2)) if option in with_parent] == list(with_parent)


@pytest.mark.parametrize("version", [(7, 2), (10, 2), (11, 0), (11, 1), (12, 0)])
def test_one_monitor_is_made_as_this_version_wants_it(version):
    old, new = ("-mon", "chardev=qmp,mode=control"), ("-object", "monitor-qmp,id=monitor,chardev=qmp")
    monitors = [option for option in options_for(version) if option in old + new]
    assert monitors == list(new if version >= (11, 1) else old)


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


@pytest.mark.parametrize("place", ["share/qemu", "elsewhere", None])
def test_qboot_is_taken_from_where_a_package_puts_it(tmp_path, place, monkeypatch):
    monkeypatch.setattr(versions, "FIRMWARE_DIRECTORIES", (str(tmp_path / "share/qboot"),))
    binary = tmp_path / "bin" / "qemu-fake"
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\n[ "$1 $2" = "-L help" ] && echo {tmp_path}/elsewhere\n')
    binary.chmod(0o755)
    if place:
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "qboot.rom").touch()
    found = versions.firmware_options(str(binary), "qboot.rom")
    assert found == (("-bios", str(tmp_path / place / "qboot.rom")) if place else ())
    assert versions.firmware_options(str(binary), None) == ()


@pytest.mark.parametrize(("accelerator", "gic"), [("tcg", "gic-version=2"), ("kvm", "gic-version=host")])
def test_an_arm64_guest_has_the_interrupt_controller_of_a_host_that_accelerates_it(config, accelerator, gic):
    arm = replace(config, machine=find_machine("arm64"), accelerator=accelerator)
    words = command_line(arm, 3, 4, 5)
    machine = words[words.index("-machine") + 1]
    # The last of several wins.
    assert [word for word in machine.split(",") if word.startswith("gic-version")][-1] == gic


def test_a_missing_qemu_names_the_package():
    with pytest.raises(QemuError, match="apt-get install qemu-system-x86"):
        qemu_version("qemu-system-none", "qemu-system-x86")


def test_the_guest_is_reached_at_loopback_only_and_reaches_nobody(config):
    command = command_line(replace(config, extras=Extras(ssh=True)), 3, 4, 5)
    (network,) = [word for word in command if word.startswith("user,")]
    options = network.split(",")
    assert "restrict=on" in options
    # Port 0: nobody can take the port between its choice and its use.
    assert [option for option in options if option.startswith("hostfwd=")] == ["hostfwd=tcp:127.0.0.1:0-:22"]
    assert command[command.index("-sandbox") + 1].startswith("on,")


def test_keys_are_handed_over_as_files_and_not_as_words(config, tmp_path):
    secret = tmp_path / "a,b"
    secret.write_text("very secret")
    command = command_line(replace(config, extras=Extras(handover={"host_key": secret})), 3, 4, 5)
    assert f"name=opt/dmasafe/host_key,file={tmp_path}/a,,b" in command
    assert not any("very secret" in word for word in command)


@pytest.mark.parametrize("arch", architecture_names())
def test_a_second_terminal_is_the_one_that_the_guest_is_told_of(config, arch):
    machine = find_machine(arch)
    plain = command_line(replace(config, machine=machine), 3, 4, 5)
    command = command_line(replace(config, machine=machine, extras=Extras(login=True)), 3, 4, 5)
    assert "pty,id=login" in command and "pty,id=login" not in plain
    assert sum("chardev:login" in word or "chardev=login" in word for word in command) == 1
    assert f"dmasafe.login={machine.login[0]}" in command[command.index("-append") + 1].split()
    assert "dmasafe.login" not in plain[plain.index("-append") + 1]


def test_a_debugger_connects_to_a_socket_and_not_to_a_port(config, tmp_path):
    command = command_line(replace(config, extras=Extras(gdb=tmp_path / "gdb.sock")), 3, 4, 5)
    assert command[command.index("-gdb") + 1] == "chardev:gdb"
    assert f"socket,id=gdb,path={tmp_path}/gdb.sock,server=on,wait=off" in command
    assert not any("tcp:" in word for word in command)


def test_only_a_guest_with_ssh_gets_another_processor(config):
    def cpu(extras):
        command = command_line(replace(config, extras=extras), 3, 4, 5)
        return command[command.index("-cpu") + 1]

    assert cpu(Extras()) == "qemu64"
    assert cpu(Extras(ssh=True)) == "qemu64,+rdrand"


def test_a_warning_of_qemus_ends_nothing(config):
    """QEMU 11.1 warns of -mon in every run: a guest that rebooted was an error of QEMU's."""
    warning = "qemu-system-x86_64: -mon chardev=qmp,mode=control: warning: '-mon' is deprecated\n"
    config.stderr_log.write_text(warning)
    assert QemuProcess(config).last_words() == ""
    config.stderr_log.write_text(warning + "qemu-system-x86_64: could not open disk image\n")
    assert QemuProcess(config).last_words() == "qemu-system-x86_64: could not open disk image"
