# SPDX-License-Identifier: GPL-2.0-or-later
"""USB host controllers and devices on QEMU's command line: only where they are asked for."""

import itertools
from pathlib import Path

from dmasafe.qemu.machines import find_machine
from dmasafe.qemu.process import MachineConfig, UsbDevice, command_line


def options(usb):
    config = MachineConfig(
        find_machine("x86_64"), "tcg", Path("vmlinux"), Path("initrd"), {}, Path("console"), Path("stderr"), usb=usb
    )
    command = command_line(config, 3, 4, 5)
    return [value for word, value in itertools.pairwise(command) if word in ("-device", "-chardev")]


def test_a_machine_without_usb_devices_has_no_host_controller():
    assert not [option for option in options({}) if "usb" in option or "hci" in option]


def test_each_device_sits_behind_its_host_controller_which_comes_before_it():
    found = options({"osif": UsbDevice("xhci", Path("/run/a,b.sock")), "osif-ehci": UsbDevice("ehci", Path("/run/e"))})
    usb = [option for option in found if "usb" in option or "hci" in option]
    assert [option.split(",")[0] for option in usb] == [
        "qemu-xhci", "usb-ehci", "socket", "usb-redir", "socket", "usb-redir",
    ]  # fmt: skip
    assert "socket,id=usb-osif,path=/run/a,,b.sock" in usb
    assert "usb-redir,chardev=usb-osif-ehci,bus=ehci.0" in usb
    slots = [option.split("addr=")[1].split(",")[0] for option in found if "addr=" in option]
    assert len(set(slots)) == len(slots)


def test_only_the_host_controllers_that_are_needed_are_there():
    assert not [option for option in options({"osif": UsbDevice("ehci", Path("/run/e"))}) if "xhci" in option]
