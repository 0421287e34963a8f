# SPDX-License-Identifier: GPL-2.0-or-later
"""/dev/i2c-N as a file: drivers/i2c/i2c-dev.c. Calls return what the system call does, or a negative errno.

User memory is Python's: what the kernel copies from and to user space are the arguments and the fields of UserMsg.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from errno import EBUSY, EINVAL, ENOTTY, EOPNOTSUPP
from typing import Final

from dmasafe.model import smbus
from dmasafe.model.i2c import (
    HZ,
    I2C_CLIENT_PEC,
    I2C_FUNC_I2C,
    I2C_M_DMA_SAFE,
    I2C_M_RD,
    I2C_M_RECV_LEN,
    I2C_M_TEN,
    I2cAdapter,
    I2cClient,
    I2cMsg,
    SmbusData,
)
from dmasafe.model.parts import Parts

# include/uapi/linux/i2c-dev.h
I2C_RETRIES: Final = 0x0701
I2C_TIMEOUT: Final = 0x0702
I2C_SLAVE: Final = 0x0703
I2C_TENBIT: Final = 0x0704
I2C_FUNCS: Final = 0x0705
I2C_SLAVE_FORCE: Final = 0x0706
I2C_RDWR: Final = 0x0707
I2C_PEC: Final = 0x0708
I2C_SMBUS: Final = 0x0720
I2C_RDWR_IOCTL_MAX_MSGS: Final = 42

I2CDEV_MAX_BYTES: Final = 8192
INT_MAX: Final = (1 << 31) - 1
ULONG_MAX: Final = (1 << 64) - 1
_TIMEOUT_UNIT_MS = 10

# Every size that there is.
_SIZES = range(smbus.I2C_SMBUS_QUICK, smbus.I2C_SMBUS_I2C_BLOCK_DATA + 1)
# sizeof(data->byte), sizeof(data->word), else sizeof(data->block).
_DATA_SIZES = {
    smbus.I2C_SMBUS_BYTE: 1,
    smbus.I2C_SMBUS_BYTE_DATA: 1,
    smbus.I2C_SMBUS_WORD_DATA: 2,
    smbus.I2C_SMBUS_PROC_CALL: 2,
}
_BLOCK_SIZE = smbus.I2C_SMBUS_BLOCK_MAX + 2


class UserMsg:
    """struct i2c_msg in user space: ``data`` is the user's buffer, ``len`` the length that the message claims."""

    __slots__ = ("addr", "data", "flags", "len")

    def __init__(self, addr: int, flags: int, data: bytes | bytearray | int, length: int | None = None) -> None:
        self.addr = addr
        self.flags = flags
        self.data = bytearray(data)
        self.len = len(self.data) if length is None else length


class I2cDevFile:
    """An open /dev/i2c-N. ``copied`` is called with the kernel's messages before they are freed."""

    def __init__(self, kernel: Parts, adapter: I2cAdapter) -> None:
        self.kernel = kernel
        self.client = I2cClient(adapter, 0)
        self.copied: Callable[[Sequence[I2cMsg]], None] | None = None

    @property
    def adapter(self) -> I2cAdapter:
        return self.client.adapter

    def read(self, count: int) -> int | bytes:
        """i2cdev_read(): the bytes, or a negative errno. The kernel's buffer is kmalloc'ed, but not marked."""
        kernel = self.kernel
        if not kernel.i2c.i2c_check_functionality(self.adapter, I2C_FUNC_I2C):
            return -EOPNOTSUPP
        count = min(count, I2CDEV_MAX_BYTES)
        tmp = kernel.allocators.kzalloc(count)
        ret = kernel.i2c.i2c_master_recv(self.client, tmp, count)
        data = kernel.memory.load(tmp, ret) if ret > 0 else b""
        kernel.allocators.kfree(tmp)
        return ret if ret < 0 else data

    def write(self, data: bytes) -> int:
        """i2cdev_write(): how many bytes, or a negative errno. The kernel's copy is kmalloc'ed, but not marked."""
        kernel = self.kernel
        if not kernel.i2c.i2c_check_functionality(self.adapter, I2C_FUNC_I2C):
            return -EOPNOTSUPP
        tmp = kernel.memdup_user(data[:I2CDEV_MAX_BYTES])
        ret = kernel.i2c.i2c_master_send(self.client, tmp, min(len(data), I2CDEV_MAX_BYTES))
        kernel.allocators.kfree(tmp)
        return ret

    # ioctl(), one method a request.

    def slave(self, address: int, force: bool = False) -> int:
        """I2C_SLAVE, I2C_SLAVE_FORCE: only the former minds a driver that is bound to the address."""
        if address > 0x3FF or (not self.client.flags & I2C_M_TEN and address > 0x7F):
            return -EINVAL
        if not force and address in self.adapter.bound:
            return -EBUSY
        self.client.addr = address
        return 0

    def tenbit(self, on: int) -> int:
        self.client.flags = self.client.flags | I2C_M_TEN if on else self.client.flags & ~I2C_M_TEN
        return 0

    def pec(self, on: int) -> int:
        self.client.flags = self.client.flags | I2C_CLIENT_PEC if on else self.client.flags & ~I2C_CLIENT_PEC
        return 0

    def funcs(self) -> int:
        """I2C_FUNCS: the adapter's functionality (what put_user() would store)."""
        return self.adapter.algo.functionality(self.adapter)

    def retries(self, count: int) -> int:
        if count > INT_MAX:
            return -EINVAL
        self.adapter.retries = count
        return 0

    def timeout(self, tens_of_ms: int) -> int:
        """I2C_TIMEOUT: in units of 10 ms."""
        if tens_of_ms > INT_MAX // _TIMEOUT_UNIT_MS:
            return -EINVAL
        self.adapter.timeout = tens_of_ms * _TIMEOUT_UNIT_MS * HZ // 1000
        return 0

    def rdwr(self, msgs: Sequence[UserMsg]) -> int:
        """I2C_RDWR: i2cdev_ioctl() and i2cdev_ioctl_rdwr(). Copies to kmalloc'ed memory and marks it I2C_M_DMA_SAFE."""
        if not 0 < len(msgs) <= I2C_RDWR_IOCTL_MAX_MSGS:
            return -EINVAL
        kernel = self.kernel
        if not kernel.i2c.i2c_check_functionality(self.adapter, I2C_FUNC_I2C):
            return -EOPNOTSUPP
        copies: list[I2cMsg] = []
        res = 0
        for msg in msgs:
            if msg.len > I2CDEV_MAX_BYTES:
                res = -EINVAL
                break
            data = bytes(msg.data[: msg.len]).ljust(msg.len, b"\0")
            copy = I2cMsg(msg.addr, msg.flags | I2C_M_DMA_SAFE, msg.len, kernel.memdup_user(data))
            copies.append(copy)
            if msg.flags & I2C_M_RECV_LEN:
                extra = data[0] if data else 0
                if not msg.flags & I2C_M_RD or extra < 1 or msg.len < extra + smbus.I2C_SMBUS_BLOCK_MAX:
                    res = -EINVAL
                    break
                copy.len = extra
        if res == 0:
            res = kernel.i2c.i2c_transfer(self.adapter, copies)
            if self.copied is not None:
                self.copied(copies)
            if res >= 0:
                for msg, copy in zip(msgs, copies, strict=True):
                    if copy.flags & I2C_M_RD:
                        msg.data[: copy.len] = kernel.memory.load(copy.buf, copy.len) if copy.len else b""
                        msg.len = copy.len
        for copy in copies:
            kernel.allocators.kfree(copy.buf)
        return res

    def smbus(self, read_write: int, command: int, size: int, data: SmbusData | None) -> int:
        """I2C_SMBUS: i2cdev_ioctl_smbus()."""
        if size not in _SIZES or read_write not in (smbus.I2C_SMBUS_READ, smbus.I2C_SMBUS_WRITE):
            return -EINVAL
        client = self.client
        xfer = self.kernel.smbus.i2c_smbus_xfer
        if size == smbus.I2C_SMBUS_QUICK or (size == smbus.I2C_SMBUS_BYTE and read_write == smbus.I2C_SMBUS_WRITE):
            return xfer(client.adapter, client.addr, client.flags, read_write, command, size, None)
        if data is None:
            return -EINVAL
        datasize = _DATA_SIZES.get(size, _BLOCK_SIZE)
        temp = SmbusData()
        calls = size in (smbus.I2C_SMBUS_PROC_CALL, smbus.I2C_SMBUS_BLOCK_PROC_CALL)
        if calls or size == smbus.I2C_SMBUS_I2C_BLOCK_DATA or read_write == smbus.I2C_SMBUS_WRITE:
            temp.block[:datasize] = data.block[:datasize]
        if size == smbus.I2C_SMBUS_I2C_BLOCK_BROKEN:
            size = smbus.I2C_SMBUS_I2C_BLOCK_DATA
            if read_write == smbus.I2C_SMBUS_READ:
                temp.block[0] = smbus.I2C_SMBUS_BLOCK_MAX
        res = xfer(client.adapter, client.addr, client.flags, read_write, command, size, temp)
        if res == 0 and (calls or read_write == smbus.I2C_SMBUS_READ):
            data.block[:datasize] = temp.block[:datasize]
        return res

    def ioctl(self, cmd: int, arg: int = 0) -> int:
        """The requests whose argument is a number; I2C_FUNCS gives its answer as the result. -ENOTTY if unknown."""
        arg &= ULONG_MAX
        match cmd:
            case 0x0703 | 0x0706:
                return self.slave(arg, force=cmd == I2C_SLAVE_FORCE)
            case 0x0704:
                return self.tenbit(arg)
            case 0x0708:
                return self.pec(arg)
            case 0x0705:
                return self.funcs()
            case 0x0701:
                return self.retries(arg)
            case 0x0702:
                return self.timeout(arg)
        return -ENOTTY
