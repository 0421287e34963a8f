# SPDX-License-Identifier: GPL-2.0-or-later
from errno import EBUSY, EINVAL, EIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmasafe.devices.bus import Bus
from dmasafe.devices.slaves.eeprom import Eeprom
from dmasafe.devices.slaves.recorder import Recorder
from dmasafe.devices.slaves.register_file import RegisterFile
from dmasafe.model import Config, ModelError, ModelKernel
from dmasafe.model.i2c import (
    I2C_FUNC_I2C,
    I2C_FUNC_NOSTART,
    I2C_FUNC_SMBUS_BYTE_DATA,
    I2C_FUNC_SMBUS_I2C_BLOCK,
    I2C_FUNC_SMBUS_WORD_DATA,
    I2C_M_NOSTART,
)
from dmasafe.model.regmap import REGCACHE_MAPLE, RegmapConfig


def boot(config=None, address=0x20, functions=None, kernel_config=None):
    kernel = ModelKernel(kernel_config, Bus({0x20: RegisterFile(), 0x30: Recorder(), 0x51: Eeprom.c32()}))
    adap = kernel.adapter("dmasafe", "bounce")
    if functions is not None:
        adap.algo.functionality = lambda _adap: functions
    kernel.i2c.trace = []
    return kernel, kernel.regmap_init_i2c(kernel.client(adap, address), config or RegmapConfig())


def buffers(kernel):
    return [buf for _flags, _length, buf in kernel.i2c.trace]


def wire(kernel):
    return [seen.data for seen in kernel.hardware["dmasafe"].trace]


def test_single_registers_travel_through_the_work_buffer_and_are_bounced():
    kernel, regmap = boot()
    assert regmap.regmap_write(0x10, 0xAB) == 0 and regmap.regmap_read(0x10) == (0, 0xAB)
    assert buffers(kernel) == [regmap.work_buf, regmap.work_buf, regmap.work_buf + 1]
    assert not any(flags & 0x200 for flags, _length, _buf in kernel.i2c.trace)


def test_raw_reads_hand_the_callers_buffer_to_the_bus_and_raw_writes_do_not():
    kernel, regmap = boot()
    buf = kernel.kmalloc(64)
    assert regmap.regmap_raw_read(0x10, buf, 4) == 0
    assert buffers(kernel)[1] == buf and kernel.load(buf, 4) == b"\x10\x11\x12\x13"
    kernel.i2c.trace.clear()
    kernel.store(buf, b"wxyz")
    assert regmap.regmap_raw_write(0x10, buf, 4) == 0
    assert buf not in buffers(kernel) and wire(kernel)[-1] == b"\x10wxyz"
    assert "linearises" in kernel.why()


def test_a_raw_read_into_the_stack_reaches_a_trusting_driver():
    kernel, regmap = boot()
    kernel.adapter("dmasafe", "trusting")
    assert regmap.regmap_raw_read(0x10, kernel.alloca(4), 4) == -EIO
    assert [r.splat_class for r in kernel.log.reports()] == ["map-vmalloc-rejected"]


def test_an_adapter_that_can_leave_out_the_start_gets_the_callers_buffer():
    kernel, regmap = boot(functions=I2C_FUNC_I2C | I2C_FUNC_NOSTART)
    buf = kernel.memdup_user(b"wxyz")
    assert regmap.regmap_raw_write(0x10, buf, 4) == 0
    assert buffers(kernel) == [regmap.work_buf, buf] and kernel.i2c.trace[1][0] == I2C_M_NOSTART


@pytest.mark.parametrize(
    ("config", "reg", "val", "message"),
    [
        (RegmapConfig(), 0x12, 0x34, "1234"),
        (RegmapConfig(8, 16), 0x12, 0x3456, "123456"),
        (RegmapConfig(8, 16, val_format_endian="little"), 0x12, 0x3456, "125634"),
        (RegmapConfig(16, 8), 0x1234, 0x56, "123456"),
        (RegmapConfig(16, 8, reg_format_endian="little"), 0x1234, 0x56, "341256"),
        (RegmapConfig(16, 32, val_format_endian="native"), 0x1, 0x11223344, "000144332211"),
        (RegmapConfig(24, 24), 0x123456, 0x789ABC, "123456789abc"),
        (RegmapConfig(32, 8), 0x12345678, 0x9A, "123456789a"),
        (RegmapConfig(8, 8, pad_bits=8), 0x12, 0x34, "120034"),
        (RegmapConfig(7, 9), 0x55, 0x1FF, "abff"),
        (RegmapConfig(4, 12), 0xA, 0xBCD, "abcd"),
        (RegmapConfig(2, 6), 0x2, 0x3F, "bf"),
        (RegmapConfig(10, 14), 0x3FF, 0x1234, "ffd234"),
        (RegmapConfig(8, 8, write_flag_mask=0x80), 0x12, 0x34, "9234"),
        (RegmapConfig(16, 8, write_flag_mask=0x8001), 0x0012, 0x34, "019234"),
    ],
)
def test_formats_on_the_wire(config, reg, val, message):
    kernel, regmap = boot(config, address=0x30)
    assert regmap.regmap_write(reg, val) == 0
    assert wire(kernel)[-1].hex() == message


def test_values_come_back_in_their_order():
    kernel, regmap = boot(RegmapConfig(8, 16))
    assert regmap.regmap_read(0x10) == (0, 0x1011)
    buf = kernel.kmalloc(8)
    assert regmap.regmap_bulk_read(0x10, buf, 2) == 0
    assert kernel.load(buf, 4) == b"\x11\x10\x13\x12"
    assert regmap.regmap_bulk_write(0x40, buf, 2) == 0
    assert wire(kernel)[-1] == b"\x40\x10\x11\x12\x13"
    assert buf not in buffers(kernel)[-1:]


def test_24_bit_values_have_no_bulk_access():
    kernel, regmap = boot(RegmapConfig(8, 24))
    assert regmap.regmap_bulk_read(0x10, kernel.kmalloc(8), 2) == -EINVAL


def test_long_accesses_are_cut_to_what_the_adapter_takes():
    kernel, regmap = boot(RegmapConfig(16, 8), address=0x51)
    assert (regmap.bus.max_raw_read, regmap.bus.max_raw_write) == (8192, 8190)
    regmap.bus.max_raw_read = regmap.bus.max_raw_write = 10
    buf = kernel.kmalloc(64)
    assert regmap.regmap_raw_read(0, buf, 25) == 0
    assert [len(data) for data in wire(kernel)] == [2, 10, 2, 10, 2, 5]
    kernel.hardware["dmasafe"].trace.clear()
    assert regmap.regmap_raw_write(0, buf, 25) == 0
    assert [(data[:2].hex(), len(data)) for data in wire(kernel)] == [("0000", 12), ("000a", 12), ("0014", 7)]


def test_5_10_does_not_ask_for_the_adapters_limits():
    _kernel, regmap = boot(kernel_config=Config(version=(5, 10)))
    assert (regmap.bus.max_raw_read, regmap.bus.max_raw_write) == (0, 0)


def test_single_accesses_if_the_device_wants_them():
    kernel, regmap = boot(RegmapConfig(use_single_read=True, use_single_write=True))
    buf = kernel.kmalloc(8)
    assert regmap.regmap_raw_read(0x10, buf, 3) == 0 and regmap.regmap_raw_write(0x10, buf, 3) == 0
    assert [len(data) for data in wire(kernel)] == [1, 1] * 3 + [2] * 3


def test_noinc_goes_straight_and_stays_at_its_register():
    fifo = RegmapConfig(volatile_reg=lambda reg: reg == 0x40, readable_noinc_reg=lambda reg: reg == 0x40)
    kernel, regmap = boot(fifo, address=0x30)
    regmap.bus.max_raw_read = 4
    buf = kernel.kmalloc(64)
    assert regmap.regmap_noinc_read(0x40, buf, 6) == 0
    assert [data.hex() if len(data) == 1 else len(data) for data in wire(kernel)] == ["40", 4, "40", 2]
    assert buffers(kernel)[1] == buf
    assert regmap.regmap_noinc_write(0x40, buf, 6) == 0 and wire(kernel)[-1][0] == 0x40
    for reg, length in ((0x41, 6), (0x40, 0)):
        assert regmap.regmap_noinc_read(reg, buf, length) == -EINVAL


def test_the_cache_answers_what_is_not_volatile_and_is_synced():
    config = RegmapConfig(cache_type=REGCACHE_MAPLE, volatile_reg=lambda reg: reg == 0x01, max_register=0x7F)
    kernel, regmap = boot(config)
    assert regmap.regmap_write(0x10, 5) == 0
    before = len(wire(kernel))
    assert regmap.regmap_read(0x10) == (0, 5) and len(wire(kernel)) == before
    regmap.regmap_read(0x01)
    assert len(wire(kernel)) == before + 2
    regmap.regcache_cache_only(True)
    assert regmap.regmap_write(0x11, 6) == 0 and regmap.regmap_read(0x01)[0] == -EBUSY
    assert len(wire(kernel)) == before + 2
    regmap.regcache_cache_only(False)
    assert regmap.regcache_sync() == 0
    assert wire(kernel)[before + 2 :] == [b"\x10\x05\x06"]
    assert regmap.regmap_read(0x80)[0] == regmap.regmap_write(0x80, 0) == -EIO
    buf = kernel.kmalloc(8)
    count = len(wire(kernel))
    assert regmap.regmap_raw_read(0x10, buf, 2) == 0
    assert kernel.load(buf, 2) == b"\x05\x06" and len(wire(kernel)) == count


def test_update_bits_writes_only_a_change():
    kernel, regmap = boot()
    assert regmap.regmap_update_bits(0x10, 0x0F, 0x05) == 0 and regmap.regmap_read(0x10) == (0, 0x15)
    count = len(wire(kernel))
    assert regmap.regmap_update_bits(0x10, 0x0F, 0x05) == 0 and len(wire(kernel)) == count + 2


def test_strides_and_lengths_are_checked():
    kernel, regmap = boot(RegmapConfig(8, 16, reg_stride=2))
    buf = kernel.kmalloc(8)
    assert regmap.regmap_write(0x11, 0) == regmap.regmap_read(0x11)[0] == -EINVAL
    assert regmap.regmap_raw_read(0x10, buf, 3) == regmap.regmap_raw_write(0x10, buf, 3) == -EINVAL
    assert regmap.regmap_bulk_read(0x10, buf, 0) == -EINVAL


@pytest.mark.parametrize(
    ("functions", "config", "name"),
    [
        (I2C_FUNC_SMBUS_I2C_BLOCK, RegmapConfig(8, 8), "SmbusBlockBus"),
        (I2C_FUNC_SMBUS_I2C_BLOCK, RegmapConfig(16, 8), "SmbusBlockReg16Bus"),
        (I2C_FUNC_SMBUS_WORD_DATA, RegmapConfig(8, 16), "SmbusRegisterBus"),
        (I2C_FUNC_SMBUS_BYTE_DATA, RegmapConfig(8, 8), "SmbusRegisterBus"),
    ],
)
def test_an_smbus_only_adapter_carries_registers_its_own_way(functions, config, name):
    address = 0x51 if config.reg_bits == 16 else 0x20
    _kernel, regmap = boot(config, address, functions)
    assert type(regmap.bus).__name__ == name
    value = 0x1234 if config.val_bits == 16 else 0x12
    assert regmap.regmap_write(0x10, value) == 0
    assert regmap.regmap_read(0x10) == (0, value)


def test_shapes_that_nothing_can_carry_are_refused():
    with pytest.raises(ModelError, match="ENOTSUPP"):
        boot(RegmapConfig(16, 16), functions=I2C_FUNC_SMBUS_WORD_DATA)
    with pytest.raises(ModelError, match="no format"):
        boot(RegmapConfig(5, 5))


@given(st.integers(0, 200), st.binary(min_size=1, max_size=50))
def test_what_is_written_raw_is_read_raw(reg, data):
    kernel, regmap = boot()
    out, back = kernel.memdup_user(data), kernel.kzalloc(len(data))
    assert regmap.regmap_raw_write(reg, out, len(data)) == 0
    assert regmap.regmap_raw_read(reg, back, len(data)) == 0
    assert kernel.load(back, len(data)) == data
