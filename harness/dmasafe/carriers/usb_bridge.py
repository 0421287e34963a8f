# SPDX-License-Identifier: GPL-2.0-or-later
"""USB-to-I2C bridges with upstream's drivers, plugged in (by usbredir) only where a scenario asks for them.

One driver hands a message's own buffer to the USB host controller (i2c-robotfuzz-osif). The others copy payloads to and
from memory of their own, which is always mapped well. What a bridge's file says was read in its driver (6.12 and 7.2).
"""

from functools import partial

from dmasafe.carriers.controller import Controller, Plug
from dmasafe.carriers.drivers import BridgeDriver
from dmasafe.carriers.suites import COPYING_LENGTHS, UPSTREAM, upstream

#: USB host controllers: as people call them, PCI slot, driver.
HCDS = {"xhci": ("xHCI", 0x8, "xhci_hcd"), "ehci": ("EHCI", 0x9, "ehci-pci")}


def usb_bridge(
    name: str,
    driver: str,
    needs: str,
    model: BridgeDriver,
    device: str = "",
    hcd: str = "xhci",
    lengths: tuple[int, ...] = COPYING_LENGTHS,
    reads_blocks: bool = True,
    sources: tuple[str, ...] = (),
) -> Controller:
    """A bridge with upstream's ``driver`` (Kconfig symbol ``needs``); ``sources`` are files of it beside its own.

    ``device`` is what dmasafe/devices/usb plays, if that is not called ``name``; ``hcd`` is a key of HCDS.
    """
    words, slot, hcd_driver = HCDS[hcd]
    directory = "drivers/hid" if driver.startswith("hid-") else "drivers/i2c/busses"
    return Controller(
        name,
        f"upstream {driver} on USB, behind {words}",
        scenarios={UPSTREAM: partial(upstream, name, lengths, model.trusting)},
        needs=(needs,),
        absent="this kernel has no driver for the bridge: CONFIG_{symbol} is not set",
        model=model,
        plug=Plug("usbredir", slot, device or name, hcd),
        driver=hcd_driver,
        # These drivers wait 50 ms to 5 s for an answer.
        impatient=True,
        # USB unbinds a driver that cannot suspend, and the adapter goes with it.
        survives_suspend=False,
        reads_blocks=reads_blocks,
        sources=(f"{directory}/{driver}.c", *sources),
    )
