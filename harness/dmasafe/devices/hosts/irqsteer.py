# SPDX-License-Identifier: GPL-2.0-or-later
"""An interrupt multiplexer for hosts with more than one interrupt, for a PCI function has one line: irq-imx-irqsteer.

Its driver is built in, and must not be bound before the function's memory is there: its node names a reset line that
comes with a module (dmaengine.py), which the kernel waits for (drivers/of/property.c).
"""

from __future__ import annotations

from collections.abc import Callable

from dmasafe.devices.hosts.declaration import DMA_WINDOW, DeviceTree, Window
from dmasafe.devices.hosts.nodes import clock, engine
from dmasafe.devices.pci import Access, Register, RegisterBlock

#: Where it is in BAR 0.
IRQ_WINDOW = Window(0xE000, 0x100)
#: What kernels need for it, whatever the host needs besides.
SYMBOL = "IMX_IRQSTEER"


def with_irqs(node: str, *windows: Window) -> DeviceTree:
    """A host whose registers are ``windows``, and whose ``node`` has its interrupts from ``{label}_irqs``."""
    irqs = f"""
        {{label}}_irqs: interrupt-controller@{{base}} {{{{
            compatible = "fsl,imx-irqsteer";
            reg = <{{reg{len(windows)}}}>;
            interrupts = <{{interrupt}}>;
            clocks = <&{{label}}_irqs_clk>;
            clock-names = "ipg";
            resets = <&{{label}}_dma 0>;
            fsl,channel = <0>;
            fsl,num-irqs = <32>;
            interrupt-controller;
            #interrupt-cells = <1>;
        }}}};"""
    nodes = (clock(50_000_000, "_irqs"), engine(len(windows) + 1), irqs, node)
    return DeviceTree("".join(nodes), windows=(*windows, IRQ_WINDOW, DMA_WINDOW))


class Irqsteer(RegisterBlock):
    """32 inputs, one output: ``level(high)`` is called when that may have changed. irq-imx-irqsteer.c 18-23."""

    CHANCTRL = Register("CHANCTRL", 0x00)
    CHANMASK = Register("CHANMASK", 0x04, on_write="_update")
    CHANSET = Register("CHANSET", 0x08)
    CHANSTATUS = Register("CHANSTATUS", 0x0C, access=Access.RO, on_read="_status")
    CHAN_MINTDIS = Register("CHAN_MINTDIS", 0x10)
    CHAN_MASTRSTAT = Register("CHAN_MASTRSTAT", 0x14, access=Access.RO)

    def __init__(self, level: Callable[[bool], None]) -> None:
        super().__init__(IRQ_WINDOW.offset)
        self._level = level

    def set(self, number: int, high: bool) -> None:
        """Input ``number`` has this level."""
        bit = 1 << number
        self.CHANSTATUS = self.CHANSTATUS | bit if high else self.CHANSTATUS & ~bit
        self._update()

    def _status(self) -> int:
        return self.CHANSTATUS & self.CHANMASK

    def _update(self, _value: int = 0) -> None:
        self._level(bool(self._status()))
