# SPDX-License-Identifier: GPL-2.0-or-later
"""The host controllers' drivers: upstream i2c-virtio, and the harness's own dmasafe controller with its policies.

After drivers/i2c/busses/i2c-virtio.c and images/modules/controller_payload.c. Of which driver a controller is, and with
which settings, is in dmasafe/carriers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from errno import EIO, ENXIO, EOPNOTSUPP, EPROTO, ETIMEDOUT
from typing import NamedTuple

from dmasafe.carriers.drivers import PolicyDriver, QueueDriver
from dmasafe.carriers.policy import MAX_LEN
from dmasafe.model.allocators import Allocators
from dmasafe.model.config import Config
from dmasafe.model.device import DMA_FROM_DEVICE, DMA_TO_DEVICE, Device
from dmasafe.model.dma import SG_BUG_LINES, Dma, line_of
from dmasafe.model.hardware import Hardware
from dmasafe.model.i2c import (
    HZ,
    I2C_FUNC_I2C,
    I2C_FUNC_SMBUS_BLOCK_PROC_CALL,
    I2C_FUNC_SMBUS_EMUL,
    I2C_FUNC_SMBUS_READ_BLOCK_DATA,
    I2C_M_DMA_SAFE,
    I2C_M_RD,
    I2C_M_RECV_LEN,
    I2C_M_TEN,
    I2cAdapter,
    I2cCore,
    I2cMsg,
    SmbusData,
)
from dmasafe.model.layout import PAGE_MASK
from dmasafe.model.memory import Memory
from dmasafe.model.oops import Oops

I2C_SMBUS_BLOCK_MAX = 32


class Platform(NamedTuple):
    """What a driver works with: the kernel's parts, its device, the hardware, the USB host controller it is behind."""

    config: Config
    memory: Memory
    allocators: Allocators
    dma: Dma
    i2c: I2cCore
    oops: Oops
    dev: Device
    hardware: Hardware
    on_stack: Callable[[int], bool]
    hcd: str = ""

    def wait(self) -> int:
        """Jiffies that slaves held the clock for since the last call; they pass."""
        elapsed = int(self.hardware.now_s * HZ)
        self.hardware.now_s = 0.0
        self.i2c.jiffies += elapsed
        return elapsed


class NoSmbus:
    """The part of struct i2c_algorithm that drivers without native SMBus leave NULL."""

    native_smbus = False

    def smbus_xfer(
        self, adap: I2cAdapter, addr: int, flags: int, read_write: int, command: int, size: int, data: SmbusData | None
    ) -> int:
        return -EOPNOTSUPP


class VirtioI2c(NoSmbus):
    """drivers/i2c/busses/i2c-virtio.c on a device behind the DMA API (VIRTIO_F_ACCESS_PLATFORM)."""

    def __init__(self, platform: Platform, row: QueueDriver) -> None:
        self.platform = platform
        self.name = row.adapter
        self.quirks = row.quirks
        self._debug_sg = platform.config.has("DEBUG_SG")

    def functionality(self, adap: I2cAdapter) -> int:
        return I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL

    def _sg_init_one(self, address: int) -> int:
        """sg_init_one(), sg_set_buf(): the page that virt_to_page() computes, checked under CONFIG_DEBUG_SG only."""
        memory = self.platform.memory
        if self._debug_sg and not memory.virt_addr_valid(address):
            line = line_of(SG_BUG_LINES, self.platform.config.version)
            self.platform.oops.bug("sg-virt-invalid", "include/linux/scatterlist.h", line, "sg_init_one")
        return memory.virt_to_page(address)

    def master_xfer(self, adap: I2cAdapter, msgs: Sequence[I2cMsg]) -> int:
        """virtio_i2c_xfer(): the messages that fitted into the queue and succeeded; never an errno."""
        platform = self.platform
        core, dma, dev = platform.i2c, platform.dma, platform.dev
        queued: list[tuple[I2cMsg, int | None, int | None]] = []
        for msg in msgs:
            if len(queued) == platform.config.queue_entries:
                # virtqueue_add_sgs() says -ENOSPC.
                core.notes.append(f"i2c-virtio queues {len(queued)} messages and drops the rest")
                break
            buf = mapped = None
            if msg.len:
                buf = core.i2c_get_dma_safe_msg_buf(msg, 1)
                if buf is None:
                    break
                page = self._sg_init_one(buf)
                # drivers/virtio/virtio_ring.c vring_map_one_sg(). Headers are kmalloc'ed and have lines of their own.
                direction = DMA_FROM_DEVICE if msg.flags & I2C_M_RD else DMA_TO_DEVICE
                mapped = dma.dma_map_page(dev, page, buf & PAGE_MASK, msg.len, direction)
                if dma.dma_mapping_error(dev, mapped):
                    core.i2c_put_dma_safe_msg_buf(buf, msg, False)
                    break
            queued.append((msg, buf, mapped))
        last = len(msgs) - 1
        results = []
        for number, (msg, _buf, mapped) in enumerate(queued):
            # FAIL_NEXT is set on every message but the caller's last, queued or not.
            read = bool(msg.flags & I2C_M_RD)
            ok = platform.hardware.request(msg.addr, read, mapped, msg.len, number == last)
            results.append(ok)
        # Where the last one was not queued the group stays open: the scenario's next call goes on in it.
        platform.wait()
        failed = False
        count = 0
        for (msg, buf, mapped), ok in zip(queued, results, strict=True):
            if mapped is not None:
                direction = DMA_FROM_DEVICE if msg.flags & I2C_M_RD else DMA_TO_DEVICE
                # virtio_i2c_msg_done() takes the buffer back.
                with platform.oops.interrupt():
                    dma.dma_unmap_page(dev, mapped, msg.len, direction)
            failed = failed or not ok
            if not failed:
                count += 1
            core.i2c_put_dma_safe_msg_buf(buf, msg, not failed)
        return count


class DmasafeController(NoSmbus):
    """images/modules/controller_*.c: ``policy`` and ``threshold`` are the driver's sysfs attributes."""

    def __init__(self, platform: Platform, row: PolicyDriver) -> None:
        self.platform = platform
        self.name = row.adapter
        self.quirks = row.quirks
        self.threshold = row.threshold
        self.policy = row.policy
        # dmam_alloc_coherent(): programmed I/O goes through memory that the device may always touch.
        self.fifo, self.fifo_dma = platform.dma.dma_alloc_coherent(platform.dev, MAX_LEN + I2C_SMBUS_BLOCK_MAX)

    def functionality(self, adap: I2cAdapter) -> int:
        return I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL | I2C_FUNC_SMBUS_READ_BLOCK_DATA | I2C_FUNC_SMBUS_BLOCK_PROC_CALL

    def master_xfer(self, adap: I2cAdapter, msgs: Sequence[I2cMsg]) -> int:
        """controller_main.c controller_xfer()."""
        last = len(msgs) - 1
        if any(msg.flags & I2C_M_TEN for msg in msgs):
            return -EOPNOTSUPP
        for number, msg in enumerate(msgs):
            ret = self._transfer(adap, msg, number == last)
            if ret:
                self.platform.hardware.end_group()
                return ret
        return len(msgs)

    def _transfer(self, adap: I2cAdapter, msg: I2cMsg, last: bool) -> int:
        """controller_payload.c controller_transfer()."""
        length = msg.len
        if msg.flags & I2C_M_RECV_LEN:
            length += I2C_SMBUS_BLOCK_MAX
        if not length:
            return self._ring_send(adap, msg, last, None, 0)
        buf = POLICIES[self.policy](self, msg)
        if buf is None:
            return self._by_pio(adap, msg, last, length)
        platform = self.platform
        dma, dev = platform.dma, platform.dev
        direction = DMA_FROM_DEVICE if msg.flags & I2C_M_RD else DMA_TO_DEVICE
        mapped = dma.dma_map_single(dev, buf, length, direction)
        if dma.dma_mapping_error(dev, mapped):
            ret = -EIO
        else:
            ret = self._ring_send(adap, msg, last, mapped, length)
            dma.dma_unmap_single(dev, mapped, length, direction)
            if not ret:
                ret = self._received(msg, buf)
        if buf != msg.buf:
            platform.i2c.i2c_put_dma_safe_msg_buf(buf, msg, not ret)
        return ret

    def _by_pio(self, adap: I2cAdapter, msg: I2cMsg, last: bool, length: int) -> int:
        """payload_by_pio(): through the FIFO, by the processor."""
        memory = self.platform.memory
        self.platform.i2c.notes.append("the payload is copied by the CPU through the controller's own buffer")
        if not msg.flags & I2C_M_RD:
            memory.store(self.fifo, memory.load(msg.buf, length))
            return self._ring_send(adap, msg, last, self.fifo_dma, length)
        ret = self._ring_send(adap, msg, last, self.fifo_dma, length) or self._received(msg, self.fifo)
        if not ret:
            memory.store(msg.buf, memory.load(self.fifo, msg.len))
        return ret

    def _received(self, msg: I2cMsg, buf: int) -> int:
        """payload_received(): the length of a message whose length the slave gave."""
        if msg.flags & I2C_M_RECV_LEN:
            (count,) = self.platform.memory.load(buf, 1)
            if not 0 < count <= I2C_SMBUS_BLOCK_MAX:
                return -EPROTO
            msg.len += count
        return 0

    def _ring_send(self, adap: I2cAdapter, msg: I2cMsg, last: bool, dma: int | None, length: int) -> int:
        """controller_ring.c controller_ring_send()."""
        platform = self.platform
        ok = platform.hardware.request(msg.addr, bool(msg.flags & I2C_M_RD), dma, length, last)
        if platform.hardware.now_s and platform.wait() > adap.timeout:
            return -ETIMEDOUT
        return 0 if ok else -ENXIO

    # Policies: the buffer to hand to the hardware, or None for programmed I/O.

    def _bounce(self, msg: I2cMsg) -> int | None:
        if msg.flags & (I2C_M_RECV_LEN | I2C_M_DMA_SAFE) == I2C_M_RECV_LEN:
            # payload_unsuited(): a bounce buffer of the helpers' would be too short.
            self.platform.i2c.notes.append("the length of an I2C_M_RECV_LEN message is not known: no DMA")
            return None
        return self.platform.i2c.i2c_get_dma_safe_msg_buf(msg, self.threshold)

    def _flag_only(self, msg: I2cMsg) -> int | None:
        if not msg.flags & I2C_M_DMA_SAFE or msg.len < self.threshold:
            return None
        self.platform.i2c.notes.append("the message is marked I2C_M_DMA_SAFE: its own buffer is used")
        return msg.buf

    def _trusting(self, msg: I2cMsg) -> int | None:
        self.platform.i2c.notes.append("the driver maps msg->buf whatever it is")
        return msg.buf

    def _pio(self, msg: I2cMsg) -> int | None:
        return None


POLICIES: dict[str, Callable[[DmasafeController, I2cMsg], int | None]] = {
    "bounce": DmasafeController._bounce,
    "flag-only": DmasafeController._flag_only,
    "trusting": DmasafeController._trusting,
    "pio": DmasafeController._pio,
}
__all__ = ["POLICIES", "DmasafeController", "Platform", "VirtioI2c"]
