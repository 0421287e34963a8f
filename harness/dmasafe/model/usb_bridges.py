# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's drivers of USB-to-I2C bridges: which of them hand a message's own buffer to the USB host controller.

One does (i2c-robotfuzz-osif); the others copy payloads to and from memory of their own, which is always mapped well. A
bridge is a row of BRIDGES; what a row says was read in its driver (6.12 and 7.2 alike).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dmasafe.model.controllers import NoSmbus, Platform
from dmasafe.model.device import DMA_FROM_DEVICE, DMA_TO_DEVICE
from dmasafe.model.dma import line_of
from dmasafe.model.hardware import Seen
from dmasafe.model.i2c import (
    EIO,
    ENXIO,
    EOPNOTSUPP,
    EPROTO,
    EREMOTEIO,
    ETIMEDOUT,
    I2C_AQ_COMB_WRITE_THEN_READ,
    I2C_AQ_NO_REP_START,
    I2C_AQ_NO_ZERO_LEN,
    I2C_AQ_NO_ZERO_LEN_READ,
    I2C_FUNC_I2C,
    I2C_FUNC_SMBUS_EMUL,
    I2C_M_RD,
    I2cAdapter,
    I2cAdapterQuirks,
    I2cMsg,
)
from dmasafe.model.log import Place, Report

# drivers/usb/host/xhci.h TRB_IDT_MAX_SIZE: so many bytes going out travel in the transfer descriptor itself.
TRB_IDT_MAX_SIZE = 8
# drivers/usb/core/hcd.c usb_hcd_map_urb_for_dma(), the warning about a transfer buffer.
_ON_STACK_LINES = {(5, 10): 1501, (6, 1): 1501, (6, 12): 1476, (7, 2): 1485}
# drivers/i2c/busses/i2c-viperboard.c vprbrd_i2c_write(): payload of one USB message.
VIPERBOARD_WRITE_BYTES = 503


@dataclass(frozen=True)
class Bridge:
    """One driver. Called with a Platform, it makes the adapter's algorithm, as the classes of controllers.py do.

    ``hcd`` is the USB host controller: ``xhci`` or ``ehci``; ``driver`` its driver, whose device does the DMA. ``nak``
    is the errno for a slave that does not acknowledge. ``stops``: a stop after every message. ``refuses`` says why the
    driver itself will not do a transfer (empty: it will), ``garbles`` what it sends in place of a write's payload.
    """

    title: str
    hcd: str
    nak: int
    driver: str = "xhci_hcd"
    trusting: bool = False
    stops: bool = False
    quirks: I2cAdapterQuirks | None = None
    refuses: Callable[[Sequence[I2cMsg]], str] = lambda _msgs: ""
    garbles: Callable[[Platform, I2cMsg], bytes] | None = None

    def __call__(self, platform: Platform) -> UsbBridge:
        return UsbBridge(self, platform)


class UsbBridge(NoSmbus):
    """A bridge's driver on one device."""

    def __init__(self, bridge: Bridge, platform: Platform) -> None:
        self.bridge = bridge
        self.platform = platform
        self.name = bridge.title
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
        if self.bridge.garbles is not None:
            payload = self.bridge.garbles(self.platform, msg)
        else:
            payload = memory.load(msg.buf, msg.len) if msg.len else b""
        return 0 if self._on_bus(msg, payload, last) is not None else -self.bridge.nak

    def _mapped(self, msg: I2cMsg, last: bool) -> int:
        """usb_control_msg() with msg->buf as the transfer buffer."""
        platform = self.platform
        notes, memory, dma, dev = platform.i2c.notes, platform.memory, platform.dma, platform.dev
        reads = bool(msg.flags & I2C_M_RD)
        if not msg.len or (self.bridge.hcd == "xhci" and not reads and msg.len <= TRB_IDT_MAX_SIZE):
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


def _two_at_most(msgs: Sequence[I2cMsg]) -> str:
    """hid-mcp2221.c mcp_i2c_xfer(), hid-cp2112.c cp2112_i2c_xfer()."""
    if len(msgs) == 1:
        return ""
    if len(msgs) == 2:
        first, second = msgs
        if first.addr == second.addr and not first.flags & I2C_M_RD and second.flags & I2C_M_RD:
            return ""
    return "the driver does one message, or a write and a read of the same slave"


def _cp2112(msgs: Sequence[I2cMsg]) -> str:
    """hid-cp2112.c cp2112_i2c_write_req(), cp2112_i2c_write_read_req(), cp2112_read_req()."""
    refusal = _two_at_most(msgs)
    if refusal:
        return refusal
    limits = [512 if msg.flags & I2C_M_RD else (61 if len(msgs) == 1 else 16) for msg in msgs]
    if any(msg.len > limit for msg, limit in zip(msgs, limits, strict=True)):
        return "the message does not fit into the chip's reports"
    return ""


def _ft260(msgs: Sequence[I2cMsg]) -> str:
    """hid-ft260.c ft260_i2c_write(): -EINVAL for no bytes."""
    if any(not msg.len and not msg.flags & I2C_M_RD for msg in msgs):
        return "the driver writes one byte at least"
    return ""


def _viperboard_write(platform: Platform, msg: I2cMsg) -> bytes:
    """i2c-viperboard.c vprbrd_i2c_write(): ``start`` has moved on when a full piece is copied from msg->buf + start."""
    memory = platform.memory
    if msg.len > VIPERBOARD_WRITE_BYTES:
        platform.i2c.notes.append("the driver copies each full piece from one piece further on in the buffer")
    sent = b""
    start, remain = 0, msg.len
    while remain > 0:
        if remain > VIPERBOARD_WRITE_BYTES:
            size = VIPERBOARD_WRITE_BYTES
            start += size
        else:
            size = remain
        remain -= size
        sent += memory.load(msg.buf + start, size)
    return sent


_TINY_USB = I2cAdapterQuirks(flags=I2C_AQ_NO_ZERO_LEN_READ)
_CP2615 = I2cAdapterQuirks(
    flags=I2C_AQ_COMB_WRITE_THEN_READ | I2C_AQ_NO_ZERO_LEN | I2C_AQ_NO_REP_START,
    max_write_len=54,
    max_read_len=54,
    max_comb_1st_msg_len=54,
    max_comb_2nd_msg_len=54,
)
_DLN2 = I2cAdapterQuirks(max_write_len=256, max_read_len=256)
_FT260 = I2cAdapterQuirks(flags=I2C_AQ_COMB_WRITE_THEN_READ, max_comb_1st_msg_len=2)

#: By the names of dmasafe/scenario.py.
BRIDGES: Mapping[str, Bridge] = {
    "tiny-usb": Bridge("i2c-tiny-usb", "xhci", ENXIO, quirks=_TINY_USB),
    "osif": Bridge("OSIF", "xhci", EREMOTEIO, trusting=True, stops=True, quirks=_TINY_USB),
    "osif-ehci": Bridge("OSIF", "ehci", EREMOTEIO, "ehci-pci", trusting=True, stops=True, quirks=_TINY_USB),
    "diolan-u2c": Bridge("i2c-diolan-u2c", "xhci", ENXIO),
    "viperboard": Bridge(
        "viperboard", "xhci", EPROTO, stops=True, quirks=I2cAdapterQuirks(max_write_len=2048, max_read_len=2048),
        garbles=_viperboard_write,
    ),
    "cp2615": Bridge("cp2615", "xhci", ENXIO, stops=True, quirks=_CP2615),
    "dln2": Bridge("dln2-i2c", "xhci", EPROTO, stops=True, quirks=_DLN2),
    "mcp2221": Bridge("MCP2221 usb-i2c bridge", "xhci", ENXIO, refuses=_two_at_most),
    "cp2112": Bridge("CP2112 SMBus Bridge", "xhci", ETIMEDOUT, refuses=_cp2112),
    "ft260": Bridge("FT260 usb-i2c bridge", "xhci", EIO, quirks=_FT260, refuses=_ft260),
}  # fmt: skip
__all__ = ["BRIDGES", "Bridge", "UsbBridge"]
