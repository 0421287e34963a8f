# SPDX-License-Identifier: GPL-2.0-or-later
from errno import EBUSY, EINVAL, ENOTTY, ENXIO, EOPNOTSUPP

import pytest

from dmasafe.devices.bus import default_bus
from dmasafe.model import ModelKernel
from dmasafe.model.controllers import NoSmbus
from dmasafe.model.i2c import (
    I2C_CLIENT_PEC,
    I2C_FUNC_I2C,
    I2C_FUNC_SMBUS_EMUL,
    I2C_M_RD,
    I2C_M_RECV_LEN,
    I2C_M_TEN,
    I2cAdapter,
    SmbusData,
)
from dmasafe.model.i2cdev import (
    I2C_FUNCS,
    I2C_PEC,
    I2C_RETRIES,
    I2C_SLAVE,
    I2C_SLAVE_FORCE,
    I2C_TENBIT,
    I2C_TIMEOUT,
    INT_MAX,
    UserMsg,
)
from dmasafe.model.smbus import (
    I2C_SMBUS_BLOCK_PROC_CALL,
    I2C_SMBUS_BYTE,
    I2C_SMBUS_I2C_BLOCK_BROKEN,
    I2C_SMBUS_QUICK,
    I2C_SMBUS_READ,
    I2C_SMBUS_WORD_DATA,
    I2C_SMBUS_WRITE,
)


def boot(controller="dmasafe", policy=None):
    kernel = ModelKernel(slaves=default_bus())
    kernel.adapter(controller, policy)
    return kernel, kernel.open(0)


def trace(kernel):
    return kernel.hardware["dmasafe"].trace


def test_read_and_write_are_not_marked_and_so_bounced_once_more():
    kernel, file = boot(policy="bounce")
    kernel.i2c.trace = []
    assert file.ioctl(I2C_SLAVE, 0x30) == 0
    assert file.write(b"12345678") == 8 and len(file.read(4)) == 4
    assert [(flags & 0x200, length) for flags, length, _buf in kernel.i2c.trace] == [(0, 8), (0, 4)]
    addresses = [kernel.memory.translate(buf) for _flags, _length, buf in kernel.i2c.trace]
    assert not {seen.dma for seen in trace(kernel)} & set(addresses)
    assert "not marked" in kernel.why()


def test_rdwr_is_marked_and_goes_straight():
    kernel, file = boot(policy="bounce")
    kernel.i2c.trace = []
    msgs = [UserMsg(0x20, 0, b"\x10"), UserMsg(0x20, I2C_M_RD, 3)]
    assert file.rdwr(msgs) == 2 and bytes(msgs[1].data) == b"\x10\x11\x12"
    addresses = [kernel.memory.translate(buf) for _flags, _length, buf in kernel.i2c.trace]
    assert [seen.dma for seen in trace(kernel)] == addresses


def test_read_and_write_are_cut_at_8192_and_rdwr_refuses_more():
    kernel, file = boot()
    file.ioctl(I2C_SLAVE, 0x30)
    assert file.write(bytes(8193)) == 8192 and len(file.read(8193)) == 8192
    assert file.rdwr([UserMsg(0x30, 0, bytes(8193))]) == -EINVAL
    assert file.rdwr([UserMsg(0x30, 0, bytes(8192))]) == 1
    assert kernel.allocators.allocated == {} or len(kernel.allocators.allocated) == 0


@pytest.mark.parametrize(("count", "res"), [(0, -EINVAL), (1, 1), (42, 42), (43, -EINVAL)])
def test_rdwr_takes_42_messages(count, res):
    _kernel, file = boot()
    assert file.rdwr([UserMsg(0x30, 0, b"x")] * count) == res


def test_a_failure_gives_the_errno_and_leaves_user_memory_alone():
    kernel, file = boot()
    msg = UserMsg(0x77, I2C_M_RD, b"kept")
    assert file.rdwr([msg]) == -ENXIO and bytes(msg.data) == b"kept"
    file.ioctl(I2C_SLAVE, 0x77)
    assert file.read(4) == -ENXIO and file.write(b"x") == -ENXIO
    assert not kernel.allocators.allocated


@pytest.mark.parametrize(
    ("flags", "data", "res"),
    [
        (I2C_M_RD | I2C_M_RECV_LEN, b"\x01" + bytes(32), 1),
        (I2C_M_RD | I2C_M_RECV_LEN, b"\x01" + bytes(31), -EINVAL),
        (I2C_M_RD | I2C_M_RECV_LEN, bytes(33), -EINVAL),
        (I2C_M_RD | I2C_M_RECV_LEN, b"\x02" + bytes(32), -EINVAL),
        (I2C_M_RECV_LEN, b"\x01" + bytes(32), -EINVAL),
        (I2C_M_RD | I2C_M_RECV_LEN, b"", -EINVAL),
    ],
)
def test_a_length_from_the_slave_needs_room_for_a_block(flags, data, res):
    kernel, file = boot()
    command, block = UserMsg(0x40, 0, b"\x10"), UserMsg(0x40, flags, data)
    assert file.rdwr([command, block]) == (2 if res == 1 else res)
    if res == 1:
        assert block.len == 9 and bytes(block.data[:9]) == b"\x08" + bytes(range(0x10, 0x18))
    assert not kernel.allocators.allocated


def test_addresses_have_the_kernels_limits():
    kernel, file = boot()
    assert file.ioctl(I2C_SLAVE, 0x80) == -EINVAL
    assert file.ioctl(I2C_TENBIT, 1) == 0 and file.client.flags == I2C_M_TEN
    assert file.ioctl(I2C_SLAVE, 0x3FF) == 0 and file.ioctl(I2C_SLAVE, 0x400) == -EINVAL
    assert file.ioctl(I2C_TENBIT, 0) == 0 and file.client.flags == 0
    file.adapter.bound.add(0x50)
    assert file.ioctl(I2C_SLAVE, 0x50) == -EBUSY
    assert file.ioctl(I2C_SLAVE_FORCE, 0x50) == 0 and file.client.addr == 0x50
    assert kernel.open(0).client.addr == 0


def test_the_other_requests():
    _kernel, file = boot()
    assert file.ioctl(I2C_FUNCS) & (I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL) == I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL
    assert file.ioctl(I2C_PEC, 1) == 0 and file.client.flags == I2C_CLIENT_PEC
    assert file.ioctl(I2C_PEC, 0) == 0 and file.client.flags == 0
    assert file.ioctl(I2C_RETRIES, 3) == 0 and file.adapter.retries == 3
    assert file.ioctl(I2C_RETRIES, INT_MAX + 1) == -EINVAL
    assert file.ioctl(I2C_TIMEOUT, 7) == 0 and file.adapter.timeout == 70
    assert file.ioctl(I2C_TIMEOUT, INT_MAX // 10 + 1) == -EINVAL
    assert file.ioctl(0x0799) == -ENOTTY


def test_smbus_requests_are_checked_before_the_bus_is_asked():
    kernel, file = boot()
    file.ioctl(I2C_SLAVE, 0x20)
    assert file.smbus(I2C_SMBUS_READ, 0, 99, SmbusData()) == -EINVAL
    assert file.smbus(2, 0, I2C_SMBUS_QUICK, None) == -EINVAL
    assert file.smbus(I2C_SMBUS_READ, 0, I2C_SMBUS_BYTE, None) == -EINVAL
    assert trace(kernel) == []
    assert file.smbus(I2C_SMBUS_WRITE, 5, I2C_SMBUS_BYTE, None) == 0
    data = SmbusData()
    assert file.smbus(I2C_SMBUS_READ, 0, I2C_SMBUS_BYTE, data) == 0 and data.byte == 5


def test_the_broken_block_read_asks_for_32_bytes():
    _kernel, file = boot()
    file.ioctl(I2C_SLAVE, 0x20)
    data = SmbusData()
    assert file.smbus(I2C_SMBUS_READ, 0x40, I2C_SMBUS_I2C_BLOCK_BROKEN, data) == 0
    assert bytes(data.block[:33]) == b"\x20" + bytes(range(0x40, 0x60))


def test_only_what_belongs_to_the_protocol_is_copied():
    _kernel, file = boot()
    file.ioctl(I2C_SLAVE, 0x20)
    data = SmbusData(b"\xaa" * 34)
    assert file.smbus(I2C_SMBUS_READ, 0x10, I2C_SMBUS_WORD_DATA, data) == 0
    assert bytes(data.block[:3]) == b"\x10\x11\xaa"
    file.ioctl(I2C_SLAVE, 0x40)
    call = SmbusData(b"\x02\x0f\xf0")
    assert file.smbus(I2C_SMBUS_WRITE, 1, I2C_SMBUS_BLOCK_PROC_CALL, call) == 0
    assert bytes(call.block[:3]) == b"\x02\xf0\x0f"


def test_an_smbus_only_adapter_has_no_plain_i2c():
    class SmbusOnly(NoSmbus):
        def functionality(self, adap):
            return I2C_FUNC_SMBUS_EMUL

        def master_xfer(self, adap, msgs):
            raise AssertionError

    kernel = ModelKernel()
    kernel.add_adapter("smbus", I2cAdapter(4, "smbus only", SmbusOnly()))
    file = kernel.open(4)
    assert file.read(1) == file.write(b"x") == file.rdwr([UserMsg(0x30, 0, b"x")]) == -EOPNOTSUPP
