# SPDX-License-Identifier: GPL-2.0-or-later
"""SMBus on the I2C core: drivers/i2c/i2c-core-smbus.c, native or emulated by I2C messages."""

from __future__ import annotations

from errno import EAGAIN, EBADMSG, EINVAL, EIO, EOPNOTSUPP, EPROTO, ESHUTDOWN
from typing import Final

from dmasafe.model.allocators import Allocators, Task
from dmasafe.model.config import Config
from dmasafe.model.i2c import (
    I2C_CLIENT_PEC,
    I2C_CLIENT_SCCB,
    I2C_FUNC_SMBUS_READ_BYTE_DATA,
    I2C_FUNC_SMBUS_READ_I2C_BLOCK,
    I2C_FUNC_SMBUS_READ_WORD_DATA,
    I2C_M_DMA_SAFE,
    I2C_M_RD,
    I2C_M_RECV_LEN,
    I2C_M_TEN,
    I2cAdapter,
    I2cClient,
    I2cCore,
    I2cMsg,
    SmbusData,
    i2c_8bit_addr_from_msg,
)
from dmasafe.model.log import KERN_ERR, KernelLog
from dmasafe.model.memory import Memory

# include/uapi/linux/i2c.h
I2C_SMBUS_READ: Final = 1
I2C_SMBUS_WRITE: Final = 0
I2C_SMBUS_QUICK: Final = 0
I2C_SMBUS_BYTE: Final = 1
I2C_SMBUS_BYTE_DATA: Final = 2
I2C_SMBUS_WORD_DATA: Final = 3
I2C_SMBUS_PROC_CALL: Final = 4
I2C_SMBUS_BLOCK_DATA: Final = 5
I2C_SMBUS_I2C_BLOCK_BROKEN: Final = 6
I2C_SMBUS_BLOCK_PROC_CALL: Final = 7
I2C_SMBUS_I2C_BLOCK_DATA: Final = 8
I2C_SMBUS_BLOCK_MAX: Final = 32
# By their names in scenarios.
SMBUS_SIZES: Final = {
    "quick": I2C_SMBUS_QUICK,
    "byte": I2C_SMBUS_BYTE,
    "byte_data": I2C_SMBUS_BYTE_DATA,
    "word_data": I2C_SMBUS_WORD_DATA,
    "proc_call": I2C_SMBUS_PROC_CALL,
    "block_data": I2C_SMBUS_BLOCK_DATA,
    "i2c_block_data": I2C_SMBUS_I2C_BLOCK_DATA,
    "block_proc_call": I2C_SMBUS_BLOCK_PROC_CALL,
}

# __i2c_smbus_xfer() rejects block lengths of 0 and above 32 up front: a fix that is in stable kernels too (read in
# 6.1.192, 6.12.117 and 7.2.13, not in 6.1.176, 6.12.107 and 5.10.223).
LENGTH_CHECK_SINCE = (6, 1, 192)
_NO_LENGTH_CHECK = ((6, 12, 0), (6, 12, 108))
# i2c_smbus_xfer_emulated() clears the first byte of the second buffer (read in 7.2, not in 6.12).
_CLEARED_SINCE = (7, 0)


def checks_length(version: tuple[int, ...]) -> bool:
    """Whether a kernel refuses blocks of no bytes by itself, whatever its adapter would do."""
    return version >= LENGTH_CHECK_SINCE and not _NO_LENGTH_CHECK[0] <= version < _NO_LENGTH_CHECK[1]


def _crc8_row(value: int) -> int:
    """i2c-core-smbus.c crc8(): polynomial x^8 + x^2 + x + 1."""
    data = value << 8
    for _ in range(8):
        if data & 0x8000:
            data ^= 0x1070 << 3
        data = data << 1 & 0xFFFF
    return data >> 8


_CRC8 = bytes(_crc8_row(value) for value in range(256))


def i2c_smbus_pec(crc: int, data: bytes) -> int:
    """i2c_smbus_pec(): the packet error code over more bytes."""
    for value in data:
        crc = _CRC8[crc ^ value]
    return crc


class Smbus:
    """The SMBus functions of one kernel."""

    def __init__(
        self, config: Config, memory: Memory, allocators: Allocators, task: Task, log: KernelLog, core: I2cCore
    ) -> None:
        self.allocators = allocators
        self.task = task
        self.log = log
        self.core = core
        self.memory = memory
        self._checks_length = checks_length(config.version)
        self._clears = config.version >= _CLEARED_SINCE

    # Packet error codes.

    def _msg_pec(self, pec: int, msg: I2cMsg) -> int:
        pec = _CRC8[pec ^ i2c_8bit_addr_from_msg(msg)]
        return i2c_smbus_pec(pec, self.memory.load(msg.buf, msg.len))

    def _add_pec(self, msg: I2cMsg) -> None:
        self.memory.store_byte(msg.buf + msg.len, self._msg_pec(0, msg))
        msg.len += 1

    def _check_pec(self, cpec: int, msg: I2cMsg) -> int:
        msg.len -= 1
        rpec = self.memory.load(msg.buf + msg.len, 1)[0]
        return 0 if rpec == self._msg_pec(cpec, msg) else -EBADMSG

    # The core.

    def _try_get_dmabuf(self, msg: I2cMsg, init_val: int) -> None:
        """i2c_smbus_try_get_dmabuf(): a kmalloc'ed buffer, and so the message is marked."""
        msg.buf = self.allocators.kzalloc(I2C_SMBUS_BLOCK_MAX + (2 if msg.flags & I2C_M_RD else 3))
        msg.flags |= I2C_M_DMA_SAFE
        if init_val:
            self.memory.store_byte(msg.buf, init_val)

    def i2c_smbus_xfer_emulated(
        self, adap: I2cAdapter, addr: int, flags: int, read_write: int, command: int, size: int, data: SmbusData | None
    ) -> int:
        """i2c_smbus_xfer_emulated(): byte and word messages from two arrays on the stack, blocks from kmalloc()."""
        task = self.task
        stack_pointer = task.stack_pointer
        memory = self.memory
        msgbuf0 = task.alloca(I2C_SMBUS_BLOCK_MAX + 3)
        msgbuf1 = task.alloca(I2C_SMBUS_BLOCK_MAX + 2)
        reads = read_write == I2C_SMBUS_READ
        nmsgs = 2 if reads else 1
        partial_pec = 0
        msgs = [I2cMsg(addr, flags, 1, msgbuf0), I2cMsg(addr, flags | I2C_M_RD, 0, msgbuf1)]
        first, second = msgs
        wants_pec = flags & I2C_CLIENT_PEC and size not in (I2C_SMBUS_QUICK, I2C_SMBUS_I2C_BLOCK_DATA)
        memory.store_byte(msgbuf0, command)
        if self._clears:
            memory.store_byte(msgbuf1, 0)
        data = SmbusData() if data is None else data
        block = data.block
        if size == I2C_SMBUS_QUICK:
            first.len = 0
            first.flags = flags | (I2C_M_RD if reads else 0)
            nmsgs = 1
        elif size == I2C_SMBUS_BYTE:
            if reads:
                first.flags = I2C_M_RD | flags
                nmsgs = 1
        elif size in (I2C_SMBUS_BYTE_DATA, I2C_SMBUS_WORD_DATA):
            width = 1 if size == I2C_SMBUS_BYTE_DATA else 2
            if reads:
                second.len = width
            else:
                first.len = 1 + width
                memory.store(msgbuf0 + 1, bytes(block[:width]))
        elif size == I2C_SMBUS_PROC_CALL:
            nmsgs = 2
            reads = True
            first.len = 3
            second.len = 2
            memory.store(msgbuf0 + 1, bytes(block[:2]))
        elif size == I2C_SMBUS_BLOCK_DATA:
            if reads:
                second.flags |= I2C_M_RECV_LEN
                second.len = 1
                self._try_get_dmabuf(second, 0)
            else:
                first.len = block[0] + 2
                if first.len > I2C_SMBUS_BLOCK_MAX + 2:
                    return self._invalid(adap, f"Invalid block write size {block[0]}", stack_pointer)
                self._try_get_dmabuf(first, command)
                memory.store(first.buf + 1, bytes(block[: first.len - 1]))
        elif size == I2C_SMBUS_BLOCK_PROC_CALL:
            nmsgs = 2
            reads = True
            if block[0] > I2C_SMBUS_BLOCK_MAX:
                return self._invalid(adap, f"Invalid block write size {block[0]}", stack_pointer)
            first.len = block[0] + 2
            self._try_get_dmabuf(first, command)
            memory.store(first.buf + 1, bytes(block[: first.len - 1]))
            second.flags |= I2C_M_RECV_LEN
            second.len = 1
            self._try_get_dmabuf(second, 0)
        elif size == I2C_SMBUS_I2C_BLOCK_DATA:
            if block[0] > I2C_SMBUS_BLOCK_MAX:
                way = "read" if reads else "write"
                return self._invalid(adap, f"Invalid block {way} size {block[0]}", stack_pointer)
            if reads:
                second.len = block[0]
                self._try_get_dmabuf(second, 0)
            else:
                first.len = block[0] + 1
                self._try_get_dmabuf(first, command)
                memory.store(first.buf + 1, bytes(block[1 : block[0] + 1]))
        else:
            self._invalid(adap, f"Unsupported transaction {size}", stack_pointer)
            return -EOPNOTSUPP
        last = msgs[nmsgs - 1]
        if wants_pec:
            if not first.flags & I2C_M_RD:
                if nmsgs == 1:
                    self._add_pec(first)
                else:
                    partial_pec = self._msg_pec(0, first)
            if last.flags & I2C_M_RD:
                last.len += 1
        status = self.core.i2c_transfer_unlocked(adap, msgs[:nmsgs])
        if status >= 0:
            status = 0 if status == nmsgs else -EIO
        if status == 0 and wants_pec and last.flags & I2C_M_RD:
            status = self._check_pec(partial_pec, last)
        if status == 0 and reads:
            status = self._collect(adap, size, data, first, second)
        for msg in msgs:
            if msg.flags & I2C_M_DMA_SAFE:
                self.allocators.kfree(msg.buf)
        task.stack_pointer = stack_pointer
        return status

    def _collect(self, adap: I2cAdapter, size: int, data: SmbusData, first: I2cMsg, second: I2cMsg) -> int:
        """The bytes that were read, from where each protocol's message has them."""
        load = self.memory.load
        if size == I2C_SMBUS_BYTE:
            data.block[0] = load(first.buf, 1)[0]
        elif size == I2C_SMBUS_BYTE_DATA:
            data.block[0] = load(second.buf, 1)[0]
        elif size in (I2C_SMBUS_WORD_DATA, I2C_SMBUS_PROC_CALL):
            data.block[:2] = load(second.buf, 2)
        elif size == I2C_SMBUS_I2C_BLOCK_DATA:
            count = data.block[0]
            data.block[1 : count + 1] = load(second.buf, count)
        elif size in (I2C_SMBUS_BLOCK_DATA, I2C_SMBUS_BLOCK_PROC_CALL):
            count = load(second.buf, 1)[0]
            if count > I2C_SMBUS_BLOCK_MAX:
                self.log.printk(KERN_ERR, f"i2c {adap.dev_name}: Invalid block size returned: {count}")
                return -EPROTO
            data.block[: count + 1] = load(second.buf, count + 1)
        return 0

    def _invalid(self, adap: I2cAdapter, text: str, stack_pointer: int) -> int:
        self.log.printk(KERN_ERR, f"i2c {adap.dev_name}: {text}")
        self.task.stack_pointer = stack_pointer
        return -EINVAL

    def i2c_smbus_xfer_unlocked(
        self,
        adap: I2cAdapter,
        addr: int,
        flags: int,
        read_write: int,
        command: int,
        protocol: int,
        data: SmbusData | None,
    ) -> int:
        """__i2c_smbus_xfer(): native if the adapter can, else by I2C messages."""
        if adap.suspended:
            self.core._warn_suspended(adap)
            return -ESHUTDOWN
        if self._checks_length and data is not None:
            counted = protocol in (I2C_SMBUS_I2C_BLOCK_DATA, I2C_SMBUS_BLOCK_PROC_CALL) or (
                protocol == I2C_SMBUS_BLOCK_DATA and read_write == I2C_SMBUS_WRITE
            )
            if counted and not 0 < data.block[0] <= I2C_SMBUS_BLOCK_MAX:
                return -EINVAL
        flags &= I2C_M_TEN | I2C_CLIENT_PEC | I2C_CLIENT_SCCB
        if adap.algo.native_smbus:
            end = self.core.jiffies + adap.timeout
            res = 0
            for _ in range(adap.retries + 1):
                res = adap.algo.smbus_xfer(adap, addr, flags, read_write, command, protocol, data)
                if res != -EAGAIN or self.core.jiffies > end:
                    break
            if res != -EOPNOTSUPP:
                return res
        return self.i2c_smbus_xfer_emulated(adap, addr, flags, read_write, command, protocol, data)

    def i2c_smbus_xfer(
        self,
        adap: I2cAdapter,
        addr: int,
        flags: int,
        read_write: int,
        command: int,
        protocol: int,
        data: SmbusData | None,
    ) -> int:
        """i2c_smbus_xfer(): 0 or a negative errno."""
        self.core.i2c_lock_bus(adap)
        res = self.i2c_smbus_xfer_unlocked(adap, addr, flags, read_write, command, protocol, data)
        self.core.i2c_unlock_bus(adap)
        return res

    # The calls of client drivers: a value or a negative errno.

    def _call(self, client: I2cClient, read_write: int, command: int, protocol: int, data: SmbusData | None) -> int:
        return self.i2c_smbus_xfer(client.adapter, client.addr, client.flags, read_write, command, protocol, data)

    def i2c_smbus_read_byte(self, client: I2cClient) -> int:
        data = SmbusData()
        status = self._call(client, I2C_SMBUS_READ, 0, I2C_SMBUS_BYTE, data)
        return status if status < 0 else data.byte

    def i2c_smbus_write_byte(self, client: I2cClient, value: int) -> int:
        return self._call(client, I2C_SMBUS_WRITE, value & 0xFF, I2C_SMBUS_BYTE, None)

    def i2c_smbus_read_byte_data(self, client: I2cClient, command: int) -> int:
        data = SmbusData()
        status = self._call(client, I2C_SMBUS_READ, command, I2C_SMBUS_BYTE_DATA, data)
        return status if status < 0 else data.byte

    def i2c_smbus_write_byte_data(self, client: I2cClient, command: int, value: int) -> int:
        data = SmbusData()
        data.byte = value
        return self._call(client, I2C_SMBUS_WRITE, command, I2C_SMBUS_BYTE_DATA, data)

    def i2c_smbus_read_word_data(self, client: I2cClient, command: int) -> int:
        data = SmbusData()
        status = self._call(client, I2C_SMBUS_READ, command, I2C_SMBUS_WORD_DATA, data)
        return status if status < 0 else data.word

    def i2c_smbus_write_word_data(self, client: I2cClient, command: int, value: int) -> int:
        data = SmbusData()
        data.word = value
        return self._call(client, I2C_SMBUS_WRITE, command, I2C_SMBUS_WORD_DATA, data)

    def i2c_smbus_read_block_data(self, client: I2cClient, command: int) -> int | bytes:
        """The block, or a negative errno. (The kernel fills ``values`` and returns the count.)"""
        data = SmbusData()
        status = self._call(client, I2C_SMBUS_READ, command, I2C_SMBUS_BLOCK_DATA, data)
        return status or bytes(data.block[1 : data.block[0] + 1])

    def i2c_smbus_write_block_data(self, client: I2cClient, command: int, values: bytes) -> int:
        values = values[:I2C_SMBUS_BLOCK_MAX]
        data = SmbusData(bytes((len(values),)) + values)
        return self._call(client, I2C_SMBUS_WRITE, command, I2C_SMBUS_BLOCK_DATA, data)

    def i2c_smbus_read_i2c_block_data(self, client: I2cClient, command: int, length: int) -> int | bytes:
        data = SmbusData(bytes((min(length, I2C_SMBUS_BLOCK_MAX),)))
        status = self._call(client, I2C_SMBUS_READ, command, I2C_SMBUS_I2C_BLOCK_DATA, data)
        return status if status < 0 else bytes(data.block[1 : data.block[0] + 1])

    def i2c_smbus_write_i2c_block_data(self, client: I2cClient, command: int, values: bytes) -> int:
        values = values[:I2C_SMBUS_BLOCK_MAX]
        data = SmbusData(bytes((len(values),)) + values)
        return self._call(client, I2C_SMBUS_WRITE, command, I2C_SMBUS_I2C_BLOCK_DATA, data)

    def i2c_smbus_read_i2c_block_data_or_emulated(self, client: I2cClient, command: int, length: int) -> int | bytes:
        length = min(length, I2C_SMBUS_BLOCK_MAX)
        has = self.core.i2c_check_functionality
        if has(client.adapter, I2C_FUNC_SMBUS_READ_I2C_BLOCK):
            return self.i2c_smbus_read_i2c_block_data(client, command, length)
        if not has(client.adapter, I2C_FUNC_SMBUS_READ_BYTE_DATA):
            return -EOPNOTSUPP
        values = bytearray()
        if has(client.adapter, I2C_FUNC_SMBUS_READ_WORD_DATA):
            while len(values) + 2 <= length:
                status = self.i2c_smbus_read_word_data(client, command + len(values))
                if status < 0:
                    return status
                values += status.to_bytes(2, "little")
        while len(values) < length:
            status = self.i2c_smbus_read_byte_data(client, command + len(values))
            if status < 0:
                return status
            values.append(status)
        return bytes(values)
