# SPDX-License-Identifier: GPL-2.0-or-later
"""The I2C core: include/uapi/linux/i2c.h, include/linux/i2c.h, drivers/i2c/i2c-core-base.c.

Messages name their buffers by kernel address, as in the kernel; the bytes are in the modelled memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from errno import EAGAIN, EINVAL, EOPNOTSUPP, ESHUTDOWN
from typing import Final, Protocol

from dmasafe.model.allocators import Allocators
from dmasafe.model.errors import TaskHung
from dmasafe.model.log import KERN_ERR, KernelLog, Place, Report
from dmasafe.model.memory import Memory
from dmasafe.quirks import (
    I2C_AQ_COMB,
    I2C_AQ_COMB_READ_SECOND,
    I2C_AQ_COMB_SAME_ADDR,
    I2C_AQ_COMB_WRITE_FIRST,
    I2C_AQ_NO_ZERO_LEN_READ,
    I2C_AQ_NO_ZERO_LEN_WRITE,
    I2cAdapterQuirks,
)

# include/uapi/linux/i2c.h
I2C_M_RD: Final = 0x0001
I2C_M_TEN: Final = 0x0010
I2C_M_DMA_SAFE: Final = 0x0200
I2C_M_RECV_LEN: Final = 0x0400
I2C_M_NOSTART: Final = 0x4000

I2C_FUNC_I2C: Final = 0x00000001
I2C_FUNC_SMBUS_PEC: Final = 0x00000008
I2C_FUNC_NOSTART: Final = 0x00000010
I2C_FUNC_SMBUS_BLOCK_PROC_CALL: Final = 0x00008000
I2C_FUNC_SMBUS_QUICK: Final = 0x00010000
I2C_FUNC_SMBUS_READ_BYTE: Final = 0x00020000
I2C_FUNC_SMBUS_WRITE_BYTE: Final = 0x00040000
I2C_FUNC_SMBUS_READ_BYTE_DATA: Final = 0x00080000
I2C_FUNC_SMBUS_WRITE_BYTE_DATA: Final = 0x00100000
I2C_FUNC_SMBUS_READ_WORD_DATA: Final = 0x00200000
I2C_FUNC_SMBUS_WRITE_WORD_DATA: Final = 0x00400000
I2C_FUNC_SMBUS_PROC_CALL: Final = 0x00800000
I2C_FUNC_SMBUS_READ_BLOCK_DATA: Final = 0x01000000
I2C_FUNC_SMBUS_WRITE_BLOCK_DATA: Final = 0x02000000
I2C_FUNC_SMBUS_READ_I2C_BLOCK: Final = 0x04000000
I2C_FUNC_SMBUS_WRITE_I2C_BLOCK: Final = 0x08000000
I2C_FUNC_SMBUS_BYTE: Final = I2C_FUNC_SMBUS_READ_BYTE | I2C_FUNC_SMBUS_WRITE_BYTE
I2C_FUNC_SMBUS_BYTE_DATA: Final = I2C_FUNC_SMBUS_READ_BYTE_DATA | I2C_FUNC_SMBUS_WRITE_BYTE_DATA
I2C_FUNC_SMBUS_WORD_DATA: Final = I2C_FUNC_SMBUS_READ_WORD_DATA | I2C_FUNC_SMBUS_WRITE_WORD_DATA
I2C_FUNC_SMBUS_BLOCK_DATA: Final = I2C_FUNC_SMBUS_READ_BLOCK_DATA | I2C_FUNC_SMBUS_WRITE_BLOCK_DATA
I2C_FUNC_SMBUS_I2C_BLOCK: Final = I2C_FUNC_SMBUS_READ_I2C_BLOCK | I2C_FUNC_SMBUS_WRITE_I2C_BLOCK
I2C_FUNC_SMBUS_EMUL: Final = (
    I2C_FUNC_SMBUS_QUICK
    | I2C_FUNC_SMBUS_BYTE
    | I2C_FUNC_SMBUS_BYTE_DATA
    | I2C_FUNC_SMBUS_WORD_DATA
    | I2C_FUNC_SMBUS_PROC_CALL
    | I2C_FUNC_SMBUS_WRITE_BLOCK_DATA
    | I2C_FUNC_SMBUS_I2C_BLOCK
    | I2C_FUNC_SMBUS_PEC
)

I2C_CLIENT_PEC: Final = 0x04
I2C_CLIENT_TEN: Final = 0x10
I2C_CLIENT_SCCB: Final = 0x9000

# include/linux/errno.h: the kernel's own, which user space does not know.
ENOTSUPP: Final = 524

HZ: Final = 1000


class I2cMsg:
    """struct i2c_msg: ``buf`` is a kernel address."""

    __slots__ = ("addr", "buf", "flags", "len")

    def __init__(self, addr: int, flags: int, len: int, buf: int) -> None:
        self.addr = addr
        self.flags = flags
        self.len = len
        self.buf = buf

    def __repr__(self) -> str:
        return f"I2cMsg(addr={self.addr:#04x}, flags={self.flags:#06x}, len={self.len}, buf={self.buf:#x})"


class SmbusData:
    """union i2c_smbus_data: 34 bytes, seen as ``byte``, ``word`` or ``block`` (count first)."""

    __slots__ = ("block",)

    def __init__(self, block: bytes = b"") -> None:
        self.block = bytearray(34)
        self.block[: len(block)] = block

    @property
    def byte(self) -> int:
        return self.block[0]

    @byte.setter
    def byte(self, value: int) -> None:
        self.block[0] = value & 0xFF

    @property
    def word(self) -> int:
        return self.block[0] | self.block[1] << 8

    @word.setter
    def word(self, value: int) -> None:
        self.block[0] = value & 0xFF
        self.block[1] = value >> 8 & 0xFF


class I2cAlgorithm(Protocol):
    """struct i2c_algorithm; the driver's side of an adapter. ``native_smbus`` says that smbus_xfer() is there."""

    native_smbus: bool

    def master_xfer(self, adap: I2cAdapter, msgs: Sequence[I2cMsg]) -> int:
        """.master_xfer (.xfer since 6.11): the number of messages carried out, or a negative errno."""

    def functionality(self, adap: I2cAdapter) -> int: ...

    def smbus_xfer(
        self, adap: I2cAdapter, addr: int, flags: int, read_write: int, command: int, size: int, data: SmbusData | None
    ) -> int: ...


class I2cAdapter:
    """struct i2c_adapter. ``timeout`` is in jiffies (HZ is 1000). ``lock_owner`` names who holds the bus lock."""

    def __init__(
        self,
        nr: int,
        name: str,
        algo: I2cAlgorithm,
        quirks: I2cAdapterQuirks | None = None,
        timeout: int = HZ,
        retries: int = 0,
    ) -> None:
        self.nr = nr
        self.name = name
        self.algo = algo
        self.quirks = quirks
        self.timeout = timeout
        self.retries = retries
        self.locked = False
        self.suspended = False
        # Addresses that a driver is bound to: I2C_SLAVE answers EBUSY for them.
        self.bound: set[int] = set()

    @property
    def dev_name(self) -> str:
        return f"i2c-{self.nr}"


class I2cClient:
    """struct i2c_client."""

    __slots__ = ("adapter", "addr", "flags")

    def __init__(self, adapter: I2cAdapter, addr: int, flags: int = 0) -> None:
        self.adapter = adapter
        self.addr = addr
        self.flags = flags


def i2c_8bit_addr_from_msg(msg: I2cMsg) -> int:
    """include/linux/i2c.h i2c_8bit_addr_from_msg()."""
    return (msg.addr << 1 | (msg.flags & I2C_M_RD)) & 0xFF


class I2cCore:
    """drivers/i2c/i2c-core-base.c on one kernel's memory.

    ``trace`` collects (flags, len, buf) of each message that reaches an adapter, as the tracepoints i2c_write and
    i2c_read see them; None is tracing off. ``jiffies`` advances with what slaves hold the clock for.
    """

    def __init__(self, memory: Memory, allocators: Allocators, log: KernelLog, notes: list[str]) -> None:
        self.memory = memory
        self.allocators = allocators
        self.log = log
        self.notes = notes
        self.trace: list[tuple[int, int, int]] | None = None
        self.jiffies = 0

    def i2c_check_functionality(self, adap: I2cAdapter, func: int) -> bool:
        """include/linux/i2c.h i2c_check_functionality()."""
        return adap.algo.functionality(adap) & func == func

    def i2c_lock_bus(self, adap: I2cAdapter) -> None:
        if adap.locked:
            raise TaskHung(f"{adap.dev_name} is locked by a task that died: this one would wait for ever")
        adap.locked = True

    def i2c_unlock_bus(self, adap: I2cAdapter) -> None:
        adap.locked = False

    def _i2c_quirk_error(self, adap: I2cAdapter, msg: I2cMsg, text: str) -> bool:
        way = "read" if msg.flags & I2C_M_RD else "write"
        what = f"adapter quirk: {text} (addr 0x{msg.addr:04x}, size {msg.len}, {way})"
        self.log.printk(KERN_ERR, f"i2c {adap.dev_name}: {what}")
        return True

    def i2c_check_for_quirks(self, adap: I2cAdapter, msgs: Sequence[I2cMsg], q: I2cAdapterQuirks) -> bool:
        """i2c_check_for_quirks(): whether the adapter cannot do this."""
        max_num, lengths = q.max_num_msgs, True
        if q.flags & I2C_AQ_COMB:
            max_num = 2
            if len(msgs) == 2:
                first, second = msgs
                if q.flags & I2C_AQ_COMB_WRITE_FIRST and first.flags & I2C_M_RD:
                    return self._i2c_quirk_error(adap, first, "1st comb msg must be write")
                if q.flags & I2C_AQ_COMB_READ_SECOND and not second.flags & I2C_M_RD:
                    return self._i2c_quirk_error(adap, second, "2nd comb msg must be read")
                if q.flags & I2C_AQ_COMB_SAME_ADDR and first.addr != second.addr:
                    return self._i2c_quirk_error(adap, first, "comb msg only to same addr")
                if q.max_comb_1st_msg_len and first.len > q.max_comb_1st_msg_len:
                    return self._i2c_quirk_error(adap, first, "msg too long")
                if q.max_comb_2nd_msg_len and second.len > q.max_comb_2nd_msg_len:
                    return self._i2c_quirk_error(adap, second, "msg too long")
                lengths = False
        if max_num and len(msgs) > max_num:
            return self._i2c_quirk_error(adap, msgs[0], "too many messages")
        for msg in msgs:
            read = msg.flags & I2C_M_RD
            limit = q.max_read_len if read else q.max_write_len
            if lengths and limit and msg.len > limit:
                return self._i2c_quirk_error(adap, msg, "msg too long")
            no_zero = I2C_AQ_NO_ZERO_LEN_READ if read else I2C_AQ_NO_ZERO_LEN_WRITE
            if q.flags & no_zero and msg.len == 0:
                return self._i2c_quirk_error(adap, msg, "no zero length")
        return False

    def i2c_transfer_unlocked(self, adap: I2cAdapter, msgs: Sequence[I2cMsg]) -> int:
        """__i2c_transfer(): the number of messages carried out, or a negative errno. The bus lock is held.

        Its own name would be mangled by Python.
        """
        if not msgs:
            # WARN_ON() has no message of its own.
            place = Place("drivers/i2c/i2c-core-base.c", 0, "__i2c_transfer")
            self.log.warn(Report("other", None, None, "", (), place))
            return -EINVAL
        if adap.suspended:
            self._warn_suspended(adap)
            return -ESHUTDOWN
        if adap.quirks is not None and self.i2c_check_for_quirks(adap, msgs, adap.quirks):
            return -EOPNOTSUPP
        if self.trace is not None:
            for msg in msgs:
                self.trace.append((msg.flags, msg.len, msg.buf))
        end = self.jiffies + adap.timeout
        ret = adap.algo.master_xfer(adap, msgs)
        tries = adap.retries
        # Arbitration was lost: again, but not beyond the adapter's timeout.
        while ret == -EAGAIN and tries > 0 and self.jiffies <= end:
            tries -= 1
            ret = adap.algo.master_xfer(adap, msgs)
        return ret

    def _warn_suspended(self, adap: I2cAdapter) -> None:
        """drivers/i2c/i2c-core.h __i2c_check_suspended(): once for each adapter and suspend."""
        if self.log.first_time(("suspended", adap.nr)):
            place = Place("drivers/i2c/i2c-core.h", 0, "__i2c_transfer")
            text = "i2c %s: Transfer while suspended"
            self.log.warn(Report("other", adap.dev_name, "i2c", text, (adap.dev_name,), place))

    def i2c_transfer(self, adap: I2cAdapter, msgs: Sequence[I2cMsg]) -> int:
        """i2c_transfer(). A task that dies below it leaves the bus locked."""
        if adap.locked:
            self.i2c_lock_bus(adap)
        adap.locked = True
        ret = self.i2c_transfer_unlocked(adap, msgs)
        adap.locked = False
        return ret

    def i2c_transfer_buffer_flags(self, client: I2cClient, buf: int, count: int, flags: int) -> int:
        """i2c_transfer_buffer_flags(): ``count`` if one message went through, else what i2c_transfer() says.

        msg.len is 16 bits wide: a longer count is cut, and reported as transferred all the same.
        """
        msg = I2cMsg(client.addr, flags | (client.flags & I2C_M_TEN), count & 0xFFFF, buf)
        ret = self.i2c_transfer(client.adapter, (msg,))
        return count if ret == 1 else ret

    def i2c_master_send(self, client: I2cClient, buf: int, count: int) -> int:
        return self.i2c_transfer_buffer_flags(client, buf, count, 0)

    def i2c_master_recv(self, client: I2cClient, buf: int, count: int) -> int:
        return self.i2c_transfer_buffer_flags(client, buf, count, I2C_M_RD)

    def i2c_master_send_dmasafe(self, client: I2cClient, buf: int, count: int) -> int:
        return self.i2c_transfer_buffer_flags(client, buf, count, I2C_M_DMA_SAFE)

    def i2c_master_recv_dmasafe(self, client: I2cClient, buf: int, count: int) -> int:
        return self.i2c_transfer_buffer_flags(client, buf, count, I2C_M_RD | I2C_M_DMA_SAFE)

    def i2c_get_dma_safe_msg_buf(self, msg: I2cMsg, threshold: int) -> int | None:
        """i2c_get_dma_safe_msg_buf(): msg.buf itself, a bounce buffer, or None if DMA is not worth it."""
        if msg.len < threshold or msg.len == 0:
            self.notes.append("the message is shorter than the threshold: no DMA")
            return None
        if msg.flags & I2C_M_DMA_SAFE:
            self.notes.append("the message is marked I2C_M_DMA_SAFE: its own buffer is used")
            return msg.buf
        self.notes.append("the message is not marked I2C_M_DMA_SAFE: a kmalloc'ed bounce buffer is used")
        if msg.flags & I2C_M_RD:
            return self.allocators.kzalloc(msg.len)
        return self.allocators.kmemdup(msg.buf, msg.len)

    def i2c_put_dma_safe_msg_buf(self, buf: int | None, msg: I2cMsg, xferred: bool) -> None:
        """i2c_put_dma_safe_msg_buf(): copies what was read, and frees, if ``buf`` is a bounce buffer."""
        if not buf or buf == msg.buf:
            return
        if xferred and msg.flags & I2C_M_RD:
            self.memory.store(msg.buf, self.memory.load(buf, msg.len))
        self.allocators.kfree(buf)

    def i2c_release_dma_safe_msg_buf(self, msg: I2cMsg, buf: int | None) -> None:
        """The helper's first form (4.16 to 4.18): the message first, and read data is always copied back."""
        self.i2c_put_dma_safe_msg_buf(buf, msg, True)
