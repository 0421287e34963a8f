# SPDX-License-Identifier: GPL-2.0-or-later
"""A PCI function of one's own, driven as a driver would."""

from __future__ import annotations

from dmasafe.devices.pci import Bar, PciFunction, Register
from tests.pci_client import INTX, MSI, MSIX, PciClient

DONE, FAILED, READ = 1, 2, 1 << 31


class Controller(PciFunction):
    """An I2C controller: address, length, where the bytes are, go."""

    vendor_id, device_id, revision, class_code = 0x1AF4, 0x10F0, 3, 0x0C0500
    bars = (Bar(0, 0x1000),)
    msi, msix = 1, 2

    TARGET = Register("TARGET", 0x00)
    LENGTH = Register("LENGTH", 0x04, width=2)
    MEMORY = Register("MEMORY", 0x08, width=8)
    GO = Register("GO", 0x10, access="wo", on_write="go")
    STATUS = Register("STATUS", 0x14, access="w1c", on_write="acknowledge")

    def go(self, value: int) -> None:
        read = bool(value & READ)
        if read:
            result = self.bus.transfer(self.TARGET, True, self.LENGTH)
            if result.ok:
                self.dma.write(self.MEMORY, result.data)
        else:
            result = self.bus.transfer(self.TARGET, False, self.dma.read(self.MEMORY, self.LENGTH))
        self.later(0.001, lambda: self.finish(DONE if result.ok else FAILED))

    def finish(self, status: int) -> None:
        self.STATUS |= status
        self.set_irq(True)

    def acknowledge(self, _value: int) -> None:
        self.set_irq(bool(self.STATUS))


def test_a_message_goes_out_by_dma_and_is_interrupted_when_it_is_done():
    with PciClient(Controller()) as client:
        client.enable(INTX)
        client.ram[0x5000:0x5003] = b"\x00ab"
        client.write(0x00, 0x20)
        client.write(0x04, 3, 2)
        client.write(0x08, 0x5000, 8)
        client.write(0x10, 1)
        assert client.interrupts() == 0
        client.settle()
        assert client.interrupts() == 1
        assert client.read(0x14) == DONE
        client.write(0x14, DONE)
        client.unmask()
        assert client.read(0x14) == 0 and client.interrupts() == 0
        (record,) = client.records
        assert (record.address, record.read, record.data, record.ok) == (0x20, False, b"\x00ab", True)
        assert [(s.address, s.length, s.stray) for s in record.segments] == [(0x5000, 3, False)]
        assert not client.complaints


def test_each_kind_of_interrupt():
    for kind in (INTX, MSI, MSIX):
        with PciClient(Controller()) as client:
            client.enable(kind)
            client.write(0x00, 0x20)
            client.write(0x04, 2, 2)
            client.write(0x10, 1 | READ)
            client.settle()
            assert client.interrupts() == 1
