# SPDX-License-Identifier: GPL-2.0-or-later
"""PCI functions in Python: declare registers as a table, say what they do, plug the class into a guest.

docs/pci.md is the manual; devices/vfio_user.py carries a function to QEMU.
"""

from dmasafe.devices.pci.dma import Dma, DmaAccess
from dmasafe.devices.pci.function import Machine, PciFunction
from dmasafe.devices.pci.i2c import I2cBus
from dmasafe.devices.pci.registers import Access, Bar, Register, RegisterBlock, Window

__all__ = [
    "Access",
    "Bar",
    "Dma",
    "DmaAccess",
    "I2cBus",
    "Machine",
    "PciFunction",
    "Register",
    "RegisterBlock",
    "Window",
]
