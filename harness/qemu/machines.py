# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines: one row per architecture says how QEMU shall look and what the kernel is told.

PCI addresses are fixed so that the guest's side can name the functions. Numbers and options were measured with
QEMU 7.2; what later versions need differently is in versions.py.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """One architecture's machine.

    ``pci`` is the PCI domain and bus on which devices sit; ``cmdline`` are the kernel's own words for this machine.
    ``uname`` is what a host of this architecture calls itself, ``random`` the feature that gives the emulated processor
    random numbers of its own, ``login`` a second terminal (its name in the guest and QEMU's option for it),
    ``memory_base`` the physical address at which memory starts.
    """

    arch: str
    uname: str
    binary: str
    machine: str
    cpu: str
    firmware: str | None
    debian_package: str
    login: tuple[str, tuple[str, ...]]
    random: str = ""
    memory_base: int = 0
    pci: str = "0000:00"
    cmdline: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


MACHINES: dict[str, Machine] = {
    machine.arch: machine
    for machine in (
        Machine(
            arch="x86_64",
            uname="x86_64",
            binary="qemu-system-x86_64",
            machine="q35,usb=off,vmport=off,smbus=off,sata=off,i8042=off,hpet=off,graphics=off",
            # TCG emulates qemu64 a little faster than max, and nothing here needs more.
            cpu="qemu64",
            # qboot starts an uncompressed vmlinux through its PVH entry, without SeaBIOS' device scan.
            firmware="qboot.rom",
            debian_package="qemu-system-x86",
            login=("ttyS1", ("-serial", "chardev:login")),
            # SSH would wait for the random number generator to be seeded by interrupts.
            random=",+rdrand",
            # TCG's TSC is stable; calibrating it against the PIT would cost 100 ms.
            cmdline=("console=ttyS0", "no_timer_check", "tsc=reliable", "mitigations=off", "nokaslr"),
        ),
        Machine(
            arch="arm64",
            uname="aarch64",
            binary="qemu-system-aarch64",
            # highmem=off keeps the PCI windows and ECAM below 4 GiB, as on boards with 32-bit DMA masters.
            machine="virt,gic-version=2,highmem=off,usb=off",
            # No pointer authentication, which TCG computes at length.
            cpu="cortex-a57",
            firmware=None,
            debian_package="qemu-system-arm",
            # The machine has one UART; hvc0 is a port of the agent's virtio-serial device.
            login=("hvc0", ("-device", "virtconsole,chardev=login,nr=0")),
            memory_base=1 << 30,
            cmdline=("console=ttyAMA0", "mitigations=off", "nokaslr"),
        ),
    )
}

# PCI slots on the root bus; 0x1f is q35's own LPC.
NETWORK_SLOT = 0x3
AGENT_SLOT = 0x4
FIRST_I2C_SLOT = 0x5
# USB host controllers, plugged in only where something is to sit behind them: slot and QEMU's device.
HCDS: dict[str, tuple[int, str]] = {
    "xhci": (0x8, "qemu-xhci,id=xhci,p2=15,p3=1"),
    "ehci": (0x9, "usb-ehci,id=ehci"),
}

# Every kernel is told these, whatever the machine: no console chatter (a serial line costs more than the rest of the
# boot under TCG), every /dev/kmsg write kept, a panic ends the machine, dma-debug's table sized for a small guest.
COMMON_CMDLINE = (
    "quiet",
    "printk.devkmsg=on",
    "panic=-1",
    "dma_debug_entries=8192",
    "random.trust_cpu=on",
    "rcupdate.rcu_expedited=1",
)


def pci_function(machine: Machine, slot: int) -> str:
    """The sysfs name of the PCI function in this slot: ``0000:00:05.0``."""
    return f"{machine.pci}:{slot:02x}.0"
