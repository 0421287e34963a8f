# SPDX-License-Identifier: GPL-2.0-or-later
"""An I2C controller as a PCI function: it does one message at a time, by DMA, and says when it is done."""

from dmasafe.devices.pci import Bar, PciFunction, Register

WRITE, READ, LAST, ABORT = 1, 2, 4, 8
DONE, NAK, BUS_ERROR = 1, 2, 4


class DemoController(PciFunction):
    """Target, length and memory address are written, then the command; an interrupt comes while STATUS is not zero."""

    vendor_id, device_id = 0x1B36, 0x10F0
    class_code = 0x0C0500
    bars = (Bar(0, 0x1000),)
    msi = 1

    TARGET = Register("TARGET", 0x00)
    LENGTH = Register("LENGTH", 0x04, width=2)
    MEMORY = Register("MEMORY", 0x08, width=8)
    COMMAND = Register("COMMAND", 0x10, access="wo", on_write="command")
    STATUS = Register("STATUS", 0x14, access="w1c", on_write="update_interrupt")

    message = 0

    def command(self, command: int) -> None:
        self.message += 1
        if command & ABORT:
            return
        if not self.dma.reaches(self.MEMORY, self.LENGTH, write=bool(command & READ)):
            self.finish(BUS_ERROR)
            return
        payload = self.LENGTH if command & READ else self.dma.read(self.MEMORY, self.LENGTH)
        result = self.bus.transfer(self.TARGET, bool(command & READ), payload, bool(command & LAST))
        self.later(result.delay_s, lambda number=self.message: self.store(number, command, result))

    def store(self, number: int, command: int, result) -> None:
        """The last bit was on the bus, unless the driver has aborted the message or begun another one."""
        if number == self.message:
            if result.ok and command & READ:
                self.dma.write(self.MEMORY, result.data)
            self.finish(DONE if result.ok else NAK)

    def finish(self, status: int) -> None:
        self.STATUS |= status
        self.update_interrupt()

    def update_interrupt(self, _written: int = 0) -> None:
        self.set_irq(bool(self.STATUS))

    def reset(self) -> None:
        self.message += 1
