# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's drivers of USB-to-I2C bridges, made of what dmasafe/carriers/controllers says of each.

One hands a message's own buffer to the USB host controller; the others copy payloads to and from memory of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from errno import EOPNOTSUPP, EREMOTEIO

from dmasafe.carriers.drivers import BridgeDriver
from dmasafe.model.controllers import NoSmbus, Platform
from dmasafe.model.device import DMA_FROM_DEVICE, DMA_TO_DEVICE
from dmasafe.model.dma import line_of
from dmasafe.model.hardware import Seen
from dmasafe.model.i2c import I2C_FUNC_I2C, I2C_FUNC_SMBUS_EMUL, I2C_M_RD, I2cAdapter, I2cMsg
from dmasafe.model.log import Place, Report

# drivers/usb/host/xhci.h TRB_IDT_MAX_SIZE: so many bytes going out travel in the transfer descriptor itself.
TRB_IDT_MAX_SIZE = 8
# drivers/usb/core/hcd.c usb_hcd_map_urb_for_dma(), the warning about a transfer buffer.
_ON_STACK_LINES = {(5, 10): 1501, (6, 1): 1501, (6, 12): 1476, (7, 2): 1485}


class UsbBridge(NoSmbus):
    """A bridge's driver on one device."""

    def __init__(self, platform: Platform, bridge: BridgeDriver) -> None:
        self.bridge = bridge
        self.platform = platform
        self.name = bridge.adapter
        self.quirks = bridge.quirks

    def functionality(self, adap: I2cAdapter) -> int:
        return I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL

    def master_xfer(self, adap: I2cAdapter, msgs: Sequence[I2cMsg]) -> int:
        refusal = self.bridge.refuses(msgs)
        if refusal:
            self.platform.i2c.notes.append(refusal)
            return -EOPNOTSUPP
        last = len(msgs) - 1
        for number, msg in enumerate(msgs):
            end = self.bridge.stops or number == last
            ret = self._mapped(msg, end) if self.bridge.trusting else self._copied(msg, end)
            self.platform.wait()
            if ret:
                return ret
        return len(msgs)

    def _copied(self, msg: I2cMsg, last: bool) -> int:
        """Through memory of the driver's own; the processor touches msg->buf."""
        memory = self.platform.memory
        self.platform.i2c.notes.append("the driver copies the payload to memory of its own before USB sees it")
        if msg.flags & I2C_M_RD:
            data = self._on_bus(msg, msg.len, last)
            if data is None:
                return -self.bridge.nak
            if data:
                memory.store(msg.buf, data)
            return 0
        pieces = [piece for piece in self.bridge.pieces(msg.len) if piece[1]]
        if len(pieces) > 1:
            self.platform.i2c.notes.append(self.bridge.wrongly)
        payload = b"".join(memory.load(msg.buf + offset, size) for offset, size in pieces)
        return 0 if self._on_bus(msg, payload, last) is not None else -self.bridge.nak

    def _mapped(self, msg: I2cMsg, last: bool) -> int:
        """usb_control_msg() with msg->buf as the transfer buffer."""
        platform = self.platform
        notes, memory, dma, dev = platform.i2c.notes, platform.memory, platform.dma, platform.dev
        reads = bool(msg.flags & I2C_M_RD)
        if not msg.len or (self.platform.hcd == "xhci" and not reads and msg.len <= TRB_IDT_MAX_SIZE):
            notes.append(f"xHCI takes up to {TRB_IDT_MAX_SIZE} bytes going out into the descriptor itself: no DMA")
            payload = memory.load(msg.buf, msg.len) if msg.len else b""
            return 0 if self._on_bus(msg, payload, last) is not None else -self.bridge.nak
        notes.append("the driver gives msg->buf to USB whatever it is")
        if platform.on_stack(msg.buf):
            self._warn_on_stack()
            return -EREMOTEIO
        direction = DMA_FROM_DEVICE if reads else DMA_TO_DEVICE
        mapped = dma.dma_map_single(dev, msg.buf, msg.len, direction)
        if dma.dma_mapping_error(dev, mapped):
            return -EREMOTEIO
        ret = 0
        if not memory.is_ram(mapped, msg.len):
            notes.append("the host controller finds no memory at the address")
            ret = -EREMOTEIO
        else:
            payload_or_length = msg.len if reads else memory.ram_read(mapped, msg.len)
            data = self._on_bus(msg, payload_or_length, last)
            if data is None:
                # The bridge carries a refused message through on USB; its status tells.
                ret = -self.bridge.nak
                data = bytes(msg.len)
            if reads:
                memory.ram_write(mapped, data)
        dma.dma_unmap_single(dev, mapped, msg.len, direction)
        return ret

    def _warn_on_stack(self) -> None:
        log = self.platform.i2c.log
        if log.first_time("usb_hcd_map_urb_for_dma"):
            line = line_of(_ON_STACK_LINES, self.platform.config.version)
            place = Place("drivers/usb/core/hcd.c", line, "usb_hcd_map_urb_for_dma")
            frames = ("usb_control_msg+0x0/0x0", "osif_xfer+0x0/0x0", "__i2c_transfer+0x0/0x0")
            log.warn(Report("usb-buffer-on-stack", None, None, "transfer buffer is on stack", (), place, frames))

    def _on_bus(self, msg: I2cMsg, payload: bytes | int, last: bool) -> bytes | None:
        """What the bus carried, None if it was refused. The device sees no DMA addresses."""
        hardware = self.platform.hardware
        reads = bool(msg.flags & I2C_M_RD)
        result = hardware.bus.transfer(msg.addr & 0x7F, reads, payload, last)
        hardware.now_s += result.delay_s
        why = str(result.nak)
        hardware.trace.append(Seen(msg.addr, reads, result.data, why, None, msg.len, False))
        return None if why else result.data
