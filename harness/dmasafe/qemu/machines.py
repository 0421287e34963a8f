# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines: how QEMU shall look for an architecture, and what the kernel is told. The rows: kernel-configs/arch/.

PCI addresses are fixed so that the guest's side can name the functions. Numbers and options were measured with
QEMU 7.2; what later versions need differently is in versions.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from dmasafe.architecture import ArchitectureError, architecture_path, read_architecture
from dmasafe.decode import convert


@dataclass(frozen=True)
class Machine:
    """One architecture's machine: the table ``[machine]`` of its file.

    ``pci`` is the PCI domain and bus on which devices sit; ``cmdline`` are the kernel's own words for this machine.
    ``uname`` is what a host of this architecture calls itself, ``hardware`` what a hardware accelerator wants besides,
    ``firmware`` the image that starts the kernel, where QEMU's own default is slower, ``random`` the feature that gives
    the emulated processor random numbers of its own, ``login`` a second terminal (its name in the guest, then QEMU's
    options for it), ``without`` are properties taken out
    of QEMU's device tree (device_tree.py), ``coherent`` says whether its PCI bridge is told to the kernel as coherent,
    ``iommu`` whether DMA addresses are translated, ``hotplug`` whether a root port announces what is plugged in.
    ``host_window`` is where the kernel puts the largest PCI memory, ``host_line`` the first of the bus's four
    interrupts at the interrupt controller: for nodes of host controllers (hosts.py); 0 where no tree describes it.
    ``variation`` is the name of what was changed, ``proof`` how a guest shows it: "FILE WORD", where the file must hold
    the word, or "FILE -", where there must be no such file.
    """

    arch: str
    uname: str
    binary: str
    machine: str
    cpu: str
    debian_package: str
    login: tuple[str, ...]
    firmware: str | None = None
    hardware: str = ""
    random: str = ""
    pci: str = "0000:00"
    cmdline: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    coherent: bool = True
    iommu: bool = False
    hotplug: bool = False
    host_window: int = 0
    host_line: int = 0
    variation: str = ""
    proof: tuple[str, ...] = ()

    def words(self, accelerator: str) -> str:
        """The value of QEMU's -machine with this accelerator."""
        return self.machine + (self.hardware if accelerator != "tcg" else "")


@dataclass(frozen=True)
class Variation:
    """What a table ``[variation.NAME]`` adds to its architecture's machine, and why it is of use."""

    why: str
    proof: tuple[str, ...]
    machine: str = ""
    cmdline: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    coherent: bool = True
    iommu: bool = False


@cache
def find_machine(arch: str, variation: str = "") -> Machine:
    """The machine of an architecture, plain or in a named variation. Raises ArchitectureError."""
    data = read_architecture(arch)
    place = architecture_path(arch)
    values = {**data.machine, "arch": arch, "uname": data.uname}
    machine = convert(values, Machine, f"{place}: machine", ArchitectureError)
    if not variation:
        return machine
    if variation not in data.variation:
        known = ", ".join(data.variation) or "none"
        raise ArchitectureError(f"{arch} has no machine '{variation}': the variations in {place} are: {known}")
    row = convert(data.variation[variation], Variation, f"{place}: variation.{variation}", ArchitectureError)
    return replace(
        machine,
        machine=machine.machine + row.machine,
        cmdline=machine.cmdline + row.cmdline,
        options=machine.options + row.options,
        without=row.without,
        coherent=row.coherent,
        iommu=row.iommu,
        variation=variation,
        proof=row.proof,
    )


# PCI slots on the root bus; 0x1f is q35's own LPC.
NETWORK_SLOT = 0x3
AGENT_SLOT = 0x4
SHARE_SLOT = 0x1D
# In the order of the controllers. i2c-virtio has an interrupt line only, as QEMU's function has too few MSI-X vectors.
# On q35, qboot names the right line for even slots: it takes the first of them, q35 the fifth, in steps of a quarter.
I2C_SLOTS = (0xA, 0x6, 0xC, 0xE)
# Upstream's own controllers. A platform driver shares its interrupt with nobody: these have another line each, and none
# has that of I2C_SLOTS.
HOST_SLOTS = (0x10, 0x11, 0x13)
# PCI functions in Python of the user's own.
FUNCTION_SLOTS = (0x12, 0x14, 0x16)
# USB host controllers, plugged in only where something is to sit behind them: slot and QEMU's device.
HCDS: dict[str, tuple[int, str]] = {
    "xhci": (0x8, "qemu-xhci,id=xhci,p2=15,p3=1"),
    "ehci": (0x9, "usb-ehci,id=ehci"),
}

# Every kernel is told these, whatever the machine: no console chatter (a serial line costs more than the rest of the
# boot under TCG), and none more after an oops, of which a run has dozens (the parameter is newer than 5.10);
# every /dev/kmsg write kept, a panic ends the machine, dma-debug's table sized for a small guest. The initcall writes
# the names of enumerators into formats below /sys/kernel/tracing, for a tenth of the boot (5.10 has no such initcall).
COMMON_CMDLINE = (
    "quiet",
    "printk.console_no_auto_verbose=1",
    "printk.devkmsg=on",
    "panic=-1",
    "dma_debug_entries=8192",
    "random.trust_cpu=on",
    "rcupdate.rcu_expedited=1",
    "initcall_blacklist=trace_eval_init",
)


def pci_function(machine: Machine, slot: int) -> str:
    """The sysfs name of the PCI function in this slot: ``0000:00:06.0``."""
    return f"{machine.pci}:{slot:02x}.0"
