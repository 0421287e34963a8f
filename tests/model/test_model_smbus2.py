# SPDX-License-Identifier: GPL-2.0-or-later
"""Code that knows nothing but smbus2 runs on the model's /dev/i2c-N."""

import errno
import os

import pytest

from harness.devices.bus import default_bus
from harness.model import ModelKernel

smbus2 = pytest.importorskip("smbus2")


@pytest.fixture
def kernel():
    kernel = ModelKernel(slaves=default_bus())
    kernel.adapter("dmasafe")
    with kernel.installed():
        yield kernel


# What follows up to the next comment could be any test suite written for real hardware.


def test_bytes_words_and_blocks(kernel):
    with smbus2.SMBus(0) as bus:
        bus.write_byte_data(0x20, 0x10, 0xAA)
        assert bus.read_byte_data(0x20, 0x10) == 0xAA
        bus.write_word_data(0x20, 0x20, 0xBEEF)
        assert bus.read_word_data(0x20, 0x20) == 0xBEEF
        bus.write_i2c_block_data(0x20, 0x30, [1, 2, 3])
        assert bus.read_i2c_block_data(0x20, 0x30, 3) == [1, 2, 3]
        bus.write_byte(0x20, 0x30)
        assert [bus.read_byte(0x20) for _ in range(3)] == [1, 2, 3]
        bus.write_quick(0x20)


def test_smbus_blocks_and_process_calls(kernel):
    with smbus2.SMBus("/dev/i2c-0") as bus:
        bus.write_block_data(0x40, 0x05, [9, 8, 7])
        assert bus.read_block_data(0x40, 0x05) == [9, 8, 7]
        assert bus.process_call(0x40, 0x85, 0x0F0F) == 0xF0F0
        assert bus.block_process_call(0x40, 0x05, [0, 1]) == [255, 254]
        bus.pec = 1
        assert bus.read_block_data(0x40, 0x05) == [9, 8, 7]


def test_messages(kernel):
    with smbus2.SMBus(0) as bus:
        write, read = smbus2.i2c_msg.write(0x51, [0x01, 0x00]), smbus2.i2c_msg.read(0x51, 4)
        bus.i2c_rdwr(smbus2.i2c_msg.write(0x51, [0x01, 0x00, *b"page"]))
        bus.i2c_rdwr(write, read)
        assert bytes(read) == b"page"


def test_errors_are_oserrors(kernel):
    with smbus2.SMBus(0) as bus:
        with pytest.raises(OSError) as nobody:
            bus.read_byte_data(0x77, 0)
        assert nobody.value.errno == errno.ENXIO
        with pytest.raises(OSError) as refused:
            bus.read_byte(0x80)
        assert refused.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError):
        smbus2.SMBus(77)


def test_functionality(kernel):
    with smbus2.SMBus(0) as bus:
        assert bus.funcs & smbus2.I2cFunc.I2C and bus.funcs & smbus2.I2cFunc.SMBUS_READ_BLOCK_DATA
        assert not bus.funcs & smbus2.I2cFunc.SLAVE


# What only the model can tell.


def test_the_kernels_view_of_it(kernel):
    kernel.adapter("dmasafe", "trusting")
    with smbus2.SMBus(0) as bus, pytest.raises(OSError) as failed:
        bus.write_byte_data(0x20, 0x10, 1)
    assert failed.value.errno == errno.EIO
    assert "rejecting DMA map of vmalloc memory" in kernel.dmesg()


def test_a_bound_driver_is_minded_unless_forced(kernel):
    kernel.adapter("dmasafe").bound.add(0x20)
    with smbus2.SMBus(0) as bus:
        with pytest.raises(OSError) as busy:
            bus.read_byte(0x20)
        assert busy.value.errno == errno.EBUSY
        bus.read_byte(0x20, force=True)


def test_the_door_closes_behind_it(tmp_path):
    module = smbus2.smbus2
    kernel = ModelKernel()
    before = (module.os, module.ioctl)
    with kernel.installed():
        assert module.os is not os
        fd = module.os.open(str(tmp_path / "f"), os.O_RDWR | os.O_CREAT)
        assert module.os.write(fd, b"real") == 4
        module.os.close(fd)
        assert module.os.path is os.path
    assert (module.os, module.ioctl) == before
    assert (tmp_path / "f").read_bytes() == b"real"
