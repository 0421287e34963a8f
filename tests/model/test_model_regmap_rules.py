# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits, errnos, formats and the cache of regmap, each row a rule read in drivers/base/regmap of Linux 5.10 to 7.2."""

from errno import EBUSY, EINVAL, EIO, ENXIO

import pytest
from test_model_regmap import boot, buffers, wire

from dmasafe.devices.bus import Bus
from dmasafe.devices.slaves.recorder import Recorder
from dmasafe.model import Config, ModelError, ModelKernel
from dmasafe.model.i2c import (
    ENOTSUPP,
    I2C_FUNC_I2C,
    I2C_FUNC_NOSTART,
    I2C_FUNC_SMBUS_BYTE_DATA,
    I2C_FUNC_SMBUS_I2C_BLOCK,
    I2C_FUNC_SMBUS_WORD_DATA,
    I2C_M_RD,
)
from dmasafe.model.regmap import REGCACHE_MAPLE, RegmapConfig
from dmasafe.quirks import I2cAdapterQuirks

NOBODY = 0x77
BLOCK = I2C_FUNC_SMBUS_I2C_BLOCK
NOSTART = I2C_FUNC_I2C | I2C_FUNC_NOSTART


def hexes(kernel):
    return [data.hex() for data in wire(kernel)]


def flags(kernel):
    return [flags for flags, _length, _buf in kernel.i2c.trace]


def cached(**more):
    return RegmapConfig(cache_type=REGCACHE_MAPLE, **more)


# Which errno a failed transfer becomes.


@pytest.mark.parametrize(("controller", "errno"), [("dmasafe", -ENXIO), ("virtio", -EIO)])
@pytest.mark.parametrize("functions", [I2C_FUNC_I2C, NOSTART])
def test_an_incomplete_transfer_is_an_io_error(controller, errno, functions):
    kernel = ModelKernel(slaves=Bus({}))
    adap = kernel.adapter(controller)
    adap.algo.functionality = lambda _adap: functions
    regmap = kernel.regmap_init_i2c(kernel.client(adap, NOBODY), RegmapConfig())
    buf = kernel.kmalloc(4)
    assert regmap.regmap_write(1, 2) == errno and regmap.regmap_read(1) == (errno, 0)
    assert regmap.regmap_raw_write(1, buf, 4) == errno and regmap.regmap_raw_read(1, buf, 4) == errno
    assert regmap.regmap_bulk_read(1, buf, 4) == regmap.regmap_bulk_write(1, buf, 4) == errno
    assert regmap.regmap_noinc_read(1, buf, 4) == regmap.regmap_noinc_write(1, buf, 4) == errno
    assert regmap.regmap_update_bits(1, 1, 1) == errno


def test_a_read_is_two_messages_and_its_register_comes_from_the_work_buffer():
    kernel, regmap = boot(RegmapConfig(16, 16), address=0x30)
    buf = kernel.kmalloc(4)
    assert regmap.regmap_raw_read(0x1234, buf, 4) == 0
    assert kernel.i2c.trace == [(0, 2, regmap.work_buf), (I2C_M_RD, 4, buf)] and hexes(kernel)[0] == "1234"
    assert "caller's buffer" in kernel.why()
    assert regmap.regmap_read(0x1234)[0] == 0
    assert kernel.i2c.trace[2:] == [(0, 2, regmap.work_buf), (I2C_M_RD, 2, regmap.work_buf + 2)]
    assert "work buffer" in kernel.why()


@pytest.mark.parametrize(
    ("functions", "length", "told"),
    [
        (I2C_FUNC_I2C, 1, "work buffer"),
        (NOSTART, 1, "work buffer"),
        (I2C_FUNC_I2C, 2, "linearises"),
        (NOSTART, 2, "gather write"),
    ],
)
def test_only_several_registers_leave_the_work_buffer(functions, length, told):
    kernel, regmap = boot(functions=functions)
    buf = kernel.memdup_user(b"wx")
    before = set(kernel.allocators.allocated)
    assert regmap.regmap_raw_write(0x10, buf, length) == 0
    assert told in kernel.why() and b"".join(wire(kernel)) == b"\x10" + b"wx"[:length]
    assert (buffers(kernel)[0] == regmap.work_buf) is (told != "linearises")
    assert ("gather" in told) is (buf in buffers(kernel)) and set(kernel.allocators.allocated) == before


def test_what_a_map_allocates_goes_back():
    kernel, regmap = boot()
    buf = kernel.memdup_user(b"wxyz")
    assert regmap.regmap_bulk_write(0x10, buf, 4) == 0
    regmap.regmap_exit()
    assert set(kernel.allocators.allocated) == {buf}


# Adapters without plain I2C.


def test_an_i2c_block_has_a_command_and_at_least_one_value():
    kernel, regmap = boot(functions=BLOCK, kernel_config=Config(version=(6, 1)))
    bus, buf = regmap.bus, kernel.memdup_user(b"\x10abc")
    assert bus.write(buf, 0) == -EINVAL and bus.write(buf, 1) == bus.write(buf, 4) == 0
    assert bus.read(buf, 1, buf + 1, 0) == bus.read(buf, 2, buf + 1, 1) == -EINVAL
    assert bus.read(buf, 1, buf + 1, 3) == 0 and kernel.load(buf, 4) == b"\x10abc"
    assert bus.gather_write(buf, 1, buf + 1, 3) == -ENOTSUPP
    assert bus.reg_read(0) == (-ENOTSUPP, 0) and bus.reg_write(0, 0) == -ENOTSUPP
    assert hexes(kernel) == ["10", "10616263", "10", "616263"]


def test_an_i2c_block_that_comes_back_short_is_an_io_error():
    kernel, regmap = boot(functions=BLOCK)
    buf = kernel.kzalloc(64)
    assert regmap.bus.read(buf, 1, buf + 1, 32) == 0 and regmap.bus.read(buf, 1, buf + 1, 33) == -EIO


def test_a_block_of_8_bit_registers_holds_31_bytes():
    kernel, regmap = boot(functions=BLOCK)
    buf = kernel.kzalloc(40)
    assert regmap.regmap_raw_read(0, buf, 40) == 0 and kernel.load(buf, 40) == bytes(range(40))
    assert regmap.regmap_raw_write(0, buf, 40) == 0
    assert [len(data) for data in wire(kernel)] == [1, 31, 1, 9, 32, 10]
    kernel.bus.slaves.clear()
    assert regmap.regmap_read(0) == (-ENXIO, 0) and regmap.regmap_write(0, 0) == -ENXIO


class Shy(Recorder):
    """Answers two reads and no more."""

    def read(self, length):
        return super().read(length) if self._reads < 2 else None


def test_a_16_bit_register_is_set_by_a_byte_write_and_read_byte_by_byte():
    kernel, regmap = boot(RegmapConfig(16, 8), 0x30, BLOCK)
    bus, buf = regmap.bus, kernel.memdup_user(b"\x12\x34ab....")
    assert regmap.regmap_raw_read(0x1234, buf + 4, 2) == 0
    assert hexes(kernel)[0] == "1234" and wire(kernel)[1] + wire(kernel)[2] == kernel.load(buf + 4, 2)
    assert regmap.regmap_raw_write(0x1234, buf + 2, 2) == 0 and hexes(kernel)[3:] == ["12346162"]
    assert bus.write(buf, 1) == bus.read(buf, 1, buf, 1) == bus.read(buf, 3, buf, 1) == -EINVAL
    assert bus.gather_write(buf, 2, buf, 1) == -ENOTSUPP and bus.write(buf, 2) == 0
    assert (bus.max_raw_read, bus.max_raw_write) == (30, 30)
    kernel.bus.slaves[0x30] = Shy()
    kernel.store(buf, b"\x12\x34....")
    assert bus.read(buf, 2, buf + 2, 4) == -ENXIO
    assert kernel.load(buf, 6) == b"\x12\x34" + b"".join(wire(kernel)[-3:-1]) + b".."
    del kernel.bus.slaves[0x30]
    assert bus.read(buf, 2, buf, 1) == -ENXIO


@pytest.mark.parametrize(
    ("config", "val", "sent"),
    [
        (RegmapConfig(8, 8), 0xFF, "10ff"),
        (RegmapConfig(8, 16), 0x1234, "101234"),
        (RegmapConfig(8, 16, val_format_endian="big"), 0xFFFF, "10ffff"),
        (RegmapConfig(8, 16, val_format_endian="little"), 0x1234, "103412"),
    ],
)
def test_smbus_registers_are_single_bytes_and_words(config, val, sent):
    kernel, regmap = boot(config, functions=I2C_FUNC_SMBUS_WORD_DATA | I2C_FUNC_SMBUS_BYTE_DATA)
    assert regmap.regmap_write(0x10, val) == 0 and regmap.regmap_read(0x10) == (0, val)
    assert hexes(kernel) == [sent, "10", sent[2:]]
    assert regmap.regmap_write(0x10, val + 0x1_0000) == -EINVAL
    assert regmap.regmap_write(0xFF, val) == 0 and regmap.regmap_write(0x100, val) == -EINVAL
    assert regmap.regmap_read(0xFF)[0] == 0 and regmap.regmap_read(0x100) == (-EINVAL, 0)
    assert len(wire(kernel)) == 6
    kernel.bus.slaves.clear()
    assert regmap.regmap_read(0x10) == (-ENXIO, 0)


def test_smbus_registers_have_no_raw_access_and_bulk_goes_one_by_one():
    kernel, regmap = boot(RegmapConfig(8, 16), functions=I2C_FUNC_SMBUS_WORD_DATA)
    buf = kernel.memdup_user(b"\x01\x02\x03\x04")
    assert regmap.regmap_raw_write(0x10, buf, 4) == regmap.regmap_noinc_write(0x10, buf, 4) == -EINVAL
    assert regmap.regmap_raw_read(0x10, buf, 4) == regmap.regmap_noinc_read(0x10, buf, 4) == -ENOTSUPP
    assert hexes(kernel) == []
    assert regmap.regmap_bulk_write(0x10, buf, 2) == 0 and hexes(kernel) == ["100201", "110403"]
    kernel.store(buf, bytes(4))
    assert regmap.regmap_bulk_read(0x10, buf, 2) == 0 and kernel.load(buf, 4)[2:] == b"\x03\x04"


def test_an_smbus_word_has_no_native_order():
    with pytest.raises(ModelError, match="ENOTSUPP"):
        boot(RegmapConfig(8, 16, val_format_endian="native"), functions=I2C_FUNC_SMBUS_WORD_DATA)


@pytest.mark.parametrize("shape", [(8, 8), (16, 8), (8, 16)])
def test_plain_i2c_is_preferred_and_every_shape_needs_its_function(shape):
    needed = I2C_FUNC_SMBUS_WORD_DATA if shape == (8, 16) else BLOCK
    _kernel, regmap = boot(RegmapConfig(*shape), functions=I2C_FUNC_I2C | needed)
    assert type(regmap.bus).__name__ == "RegmapBus"
    with pytest.raises(ModelError, match="ENOTSUPP"):
        boot(RegmapConfig(*shape), functions=(I2C_FUNC_SMBUS_WORD_DATA | BLOCK) & ~needed)


@pytest.mark.parametrize(
    ("config", "functions", "quirks", "limits"),
    [
        (RegmapConfig(), I2C_FUNC_I2C, {}, (0, 0)),
        (RegmapConfig(), I2C_FUNC_I2C, {"max_read_len": 64}, (64, 0)),
        (RegmapConfig(), I2C_FUNC_I2C, {"max_write_len": 64}, (0, 63)),
        (RegmapConfig(16, 8, pad_bits=8), I2C_FUNC_I2C, {"max_read_len": 64, "max_write_len": 64}, (64, 61)),
        # What is not below the bus's own limit lifts it if the other is.
        (RegmapConfig(), BLOCK, {"max_read_len": 31, "max_write_len": 31}, (31, 31)),
        (RegmapConfig(), BLOCK, {"max_read_len": 30}, (30, 0)),
        (RegmapConfig(), BLOCK, {"max_write_len": 30}, (0, 29)),
        (RegmapConfig(), BLOCK, {"max_read_len": 32, "max_write_len": 64}, (31, 31)),
        (RegmapConfig(16, 8), BLOCK, {"max_read_len": 29, "max_write_len": 29}, (29, 27)),
    ],
)
def test_an_adapters_limits_become_the_maps(config, functions, quirks, limits):
    kernel = ModelKernel(slaves=Bus({}))
    adap = kernel.adapter("dmasafe")
    adap.algo.functionality = lambda _adap: functions
    adap.quirks = I2cAdapterQuirks(**quirks)
    bus = kernel.regmap_init_i2c(kernel.client(adap, 0x20), config).bus
    assert (bus.max_raw_read, bus.max_raw_write) == limits


# Formats.


@pytest.mark.parametrize(
    ("config", "reg", "val", "message"),
    [
        (RegmapConfig(7, 8, pad_bits=1), 0x55, 0x34, "aa34"),
        (RegmapConfig(6, 8, pad_bits=10), 0x15, 0x34, "540034"),
        (RegmapConfig(6, 9, pad_bits=1), 0x15, 0x134, "2b34"),
        (RegmapConfig(7, 9, pad_bits=8), 0x55, 0x1FF, "abff34"),
        (RegmapConfig(7, 17), 0x55, 0x12345, "ab2345"),
        (RegmapConfig(12, 20), 0xABC, 0xDEF01, "abcdef01"),
        (RegmapConfig(2, 6), 0x7, 0x3F, "ff"),
        (RegmapConfig(), 0x112, 0x1FF, "12ff"),
        (RegmapConfig(16, 16, reg_format_endian="native", val_format_endian="native"), 0x1234, 0x5678, "34127856"),
        (RegmapConfig(16, 16, reg_format_endian="big", val_format_endian="big"), 0x1234, 0x5678, "12345678"),
        (RegmapConfig(32, 32, reg_format_endian="little", val_format_endian="little"), 1, 2, "0100000002000000"),
        (RegmapConfig(24, 8), 0x123456, 0x78, "12345678"),
        (RegmapConfig(8, 8, reg_format_endian="little", val_format_endian="little"), 0x12, 0x34, "1234"),
    ],
)
def test_registers_and_values_are_packed_as_the_kernel_packs_them(config, reg, val, message):
    kernel, regmap = boot(config, address=0x30)
    # What lies in the work buffer beyond the word is sent too.
    kernel.store(regmap.work_buf, (b"\x34" if config.pad_bits == 8 else b"\0") * regmap.buf_size)
    assert regmap.regmap_write(reg, val) == 0 and hexes(kernel) == [message]
    assert buffers(kernel) == [regmap.work_buf] and len(message) == 2 * regmap.buf_size


@pytest.mark.parametrize(
    "config",
    [
        RegmapConfig(24, 8, reg_format_endian="little"),
        RegmapConfig(24, 8, reg_format_endian="native"),
        RegmapConfig(8, 24, val_format_endian="little"),
        RegmapConfig(8, 24, val_format_endian="native"),
        RegmapConfig(7, 9, reg_format_endian="little"),
        RegmapConfig(7, 9, val_format_endian="little"),
        RegmapConfig(7, 9, pad_bits=1),
        RegmapConfig(8, 12),
        RegmapConfig(12, 8),
        RegmapConfig(40, 8),
    ],
)
def test_shapes_without_a_format_are_refused(config):
    with pytest.raises(ModelError, match="no format"):
        boot(config)


def test_smbus_registers_need_no_format():
    assert boot(RegmapConfig(8, 16), functions=I2C_FUNC_SMBUS_WORD_DATA)[1].regmap_read(0x10) == (0, 0x1011)


def test_flags_are_set_in_the_register_of_reads_and_of_writes():
    kernel, regmap = boot(RegmapConfig(16, 8, read_flag_mask=0x8001, write_flag_mask=0x40), 0x30)
    assert regmap.regmap_read(0x0204)[0] == 0 and regmap.regmap_write(0x0204, 0x55) == 0
    assert [hexes(kernel)[0], hexes(kernel)[2]] == ["0384", "420455"]


@pytest.mark.parametrize(
    ("bits", "endian", "memory"),
    [
        (8, "big", "10"),
        (16, "big", "1110"),
        (16, "little", "1011"),
        (16, "native", "1011"),
        (32, "big", "13121110"),
        (32, "little", "10111213"),
    ],
)
def test_bulk_values_are_native_in_memory_and_the_bus_has_its_order(bits, endian, memory):
    config = RegmapConfig(8, bits, val_format_endian=endian)
    kernel, regmap = boot(config)
    buf = kernel.kzalloc(16)
    assert regmap.regmap_bulk_read(0x10, buf, 2) == 0
    size = bits // 8
    assert kernel.load(buf, size).hex() == memory and buffers(kernel)[1] == buf
    assert regmap.regmap_read(0x10) == (0, int.from_bytes(kernel.load(buf, size), "little"))
    assert regmap.regmap_bulk_write(0x10, buf, 2) == 0 and wire(kernel)[-1] == bytes(
        (0x10, *range(0x10, 0x10 + 2 * size))
    )
    assert kernel.load(buf, size).hex() == memory


def test_24_bit_bulk_fails_after_the_first_register_was_read_and_before_one_is_written():
    kernel, regmap = boot(RegmapConfig(8, 24))
    buf = kernel.memdup_user(b"......")
    assert regmap.regmap_bulk_write(0x10, buf, 2) == -EINVAL and hexes(kernel) == []
    assert regmap.regmap_bulk_read(0x10, buf, 2) == -EINVAL and hexes(kernel) == ["10", "101112"]
    assert regmap.regmap_read(0x10) == (0, 0x101112) and kernel.load(buf, 6) == b"......"


def test_a_formatted_map_is_written_and_never_read():
    kernel, regmap = boot(RegmapConfig(4, 12), 0x30)
    buf = kernel.memdup_user(b"\x34\x02\x56\x07")
    assert regmap.regmap_read(1) == (-EIO, 0) and regmap.regmap_raw_write(1, buf, 2) == -EINVAL
    assert regmap.regmap_update_bits(1, 1, 1) == -EIO
    assert regmap.regmap_bulk_write(1, buf, 2) == 0 and hexes(kernel) == ["1234", "2756"]
    kernel.bus.slaves.clear()
    assert regmap.regmap_write(1, 1) == regmap.regmap_bulk_write(1, buf, 2) == -ENXIO


# Registers: strides, predicates, lengths.


def test_strides_are_minded_by_all_but_raw_writes_and_update_bits():
    kernel, regmap = boot(RegmapConfig(8, 16, reg_stride=2))
    buf = kernel.kmalloc(8)
    for call in (regmap.regmap_raw_read, regmap.regmap_noinc_read, regmap.regmap_noinc_write):
        assert call(0x11, buf, 2) == -EINVAL
    assert regmap.regmap_bulk_read(0x11, buf, 1) == regmap.regmap_bulk_write(0x11, buf, 1) == -EINVAL
    assert hexes(kernel) == []
    assert regmap.regmap_raw_write(0x11, buf, 2) == regmap.regmap_update_bits(0x11, 1, 0) == 0


def test_long_accesses_advance_by_whole_registers_in_strides():
    kernel, regmap = boot(RegmapConfig(8, 16, reg_stride=2))
    regmap.bus.max_raw_read = regmap.bus.max_raw_write = 5
    buf = kernel.kzalloc(16)
    assert regmap.regmap_raw_read(0x10, buf, 6) == regmap.regmap_raw_write(0x20, buf, 6) == 0
    assert [data.hex() for data in wire(kernel)] == ["10", "10111213", "14", "1415", "2010111213", "241415"]
    wire_before = len(wire(kernel))
    regmap.bus.max_raw_read = regmap.bus.max_raw_write = 6
    assert regmap.regmap_raw_read(0x10, buf, 6) == regmap.regmap_raw_write(0x20, buf, 6) == 0
    assert len(wire(kernel)) == wire_before + 3


@pytest.mark.parametrize("single", [False, True])
def test_single_accesses_advance_too(single):
    kernel, regmap = boot(RegmapConfig(8, 16, reg_stride=2, use_single_read=single, use_single_write=single))
    buf = kernel.kzalloc(4)
    assert regmap.regmap_raw_read(0x10, buf, 4) == regmap.regmap_raw_write(0x20, buf, 4) == 0
    wanted = ["10", "1011", "12", "1213", "201011", "221213"] if single else ["10", "10111213", "2010111213"]
    assert hexes(kernel) == wanted


def test_lengths_are_whole_registers_and_not_none():
    kernel, regmap = boot(RegmapConfig(8, 16))
    buf = kernel.kmalloc(8)
    for length in (0, 1, 3):
        assert regmap.regmap_raw_write(0x10, buf, length) == regmap.regmap_raw_read(0x10, buf, length) == -EINVAL
        assert regmap.regmap_noinc_write(0x10, buf, length) == regmap.regmap_noinc_read(0x10, buf, length) == -EINVAL
    assert regmap.regmap_bulk_read(0x10, buf, 0) == regmap.regmap_bulk_write(0x10, buf, 0) == -EINVAL
    assert hexes(kernel) == []


def test_predicates_and_the_last_register_bound_single_accesses():
    config = RegmapConfig(
        max_register=0x20, writeable_reg=lambda reg: reg != 0x11, readable_reg=lambda reg: reg not in (0x12, 0x13)
    )
    kernel, regmap = boot(config)
    assert regmap.regmap_write(0x20, 1) == 0 and regmap.regmap_read(0x20) == (0, 1)
    assert regmap.regmap_write(0x21, 1) == -EIO and regmap.regmap_read(0x21) == (-EIO, 0)
    assert regmap.regmap_write(0x11, 1) == -EIO and regmap.regmap_read(0x11) == (0, 0x11)
    assert regmap.regmap_write(0x12, 1) == 0 and regmap.regmap_read(0x12) == (-EIO, 0)
    # Raw accesses ask only whether a register is one that takes several values.
    buf = kernel.kmalloc(4)
    assert regmap.regmap_raw_write(0x10, buf, 4) == regmap.regmap_raw_read(0x10, buf, 4) == 0


@pytest.mark.parametrize(
    ("reg", "length", "ret"),
    [
        (0x10, 2, 0),
        (0x10, 3, -EINVAL),
        (0x0F, 2, 0),
        (0x40, 2, 0),
        (0x3F, 2, -EINVAL),
        (0x3F, 1, 0),
        (0x12, 1, -EINVAL),
    ],
)
def test_a_raw_write_from_an_ordinary_register_must_not_reach_another_kind(reg, length, ret):
    config = RegmapConfig(writeable_reg=lambda reg: reg != 0x12, writeable_noinc_reg=lambda reg: reg == 0x40)
    kernel, regmap = boot(config)
    assert regmap.regmap_raw_write(reg, kernel.kmalloc(4), length) == ret
    assert bool(wire(kernel)) is (ret == 0)


def test_a_fifo_must_be_volatile_and_allowed():
    config = cached(
        volatile_reg=lambda reg: reg in (0x40, 0x41),
        readable_noinc_reg=lambda reg: reg in (0x40, 0x42),
        writeable_noinc_reg=lambda reg: reg in (0x41, 0x42),
    )
    kernel, regmap = boot(config, 0x30)
    buf = kernel.kmalloc(8)
    assert [regmap.regmap_noinc_read(reg, buf, 2) for reg in (0x40, 0x41, 0x42)] == [0, -EINVAL, -EINVAL]
    assert [regmap.regmap_noinc_write(reg, buf, 2) for reg in (0x40, 0x41, 0x42)] == [-EINVAL, 0, -EINVAL]
    assert hexes(kernel)[0] == "40" and hexes(kernel)[2][:2] == "41" and regmap.cache == {}


def test_a_fifo_is_cut_to_what_the_bus_takes_and_its_register_stays():
    kernel, regmap = boot(address=0x30)
    regmap.bus.max_raw_read = regmap.bus.max_raw_write = 4
    buf = kernel.memdup_user(b"abcdefghi")
    assert regmap.regmap_noinc_write(0x40, buf, 9) == regmap.regmap_noinc_read(0x40, buf, 4) == 0
    assert wire(kernel)[:4] == [b"@abcd", b"@efgh", b"@i", b"@"] and len(wire(kernel)) == 5
    assert regmap.regmap_noinc_read(0x40, buf, 9) == 0
    assert [len(data) for data in wire(kernel)[5:]] == [1, 4, 1, 4, 1, 1]
    assert kernel.load(buf, 9) == b"".join(wire(kernel)[6::2])


def test_a_fifo_of_a_map_with_single_writes_moves_on():
    # _regmap_raw_write() adds the stride whatever it writes to.
    kernel, regmap = boot(RegmapConfig(use_single_write=True), 0x30)
    assert regmap.regmap_noinc_write(0x40, kernel.memdup_user(b"ab"), 2) == 0
    assert wire(kernel) == [b"@a", b"Ab"]


# The cache.


def test_what_was_written_or_read_is_not_asked_for_again():
    kernel, regmap = boot(cached(volatile_reg=lambda reg: reg == 0x11))
    buf = kernel.memdup_user(b"abc")
    assert regmap.regmap_raw_write(0x10, buf, 3) == 0 and regmap.cache == {0x10: 0x61, 0x12: 0x63}
    assert regmap.regmap_read(0x20) == (0, 0x20) and regmap.cache[0x20] == 0x20
    count = len(wire(kernel))
    assert [regmap.regmap_read(reg) for reg in (0x10, 0x12, 0x20)] == [(0, 0x61), (0, 0x63), (0, 0x20)]
    assert len(wire(kernel)) == count
    assert regmap.regmap_read(0x11) == (0, 0x62) and len(wire(kernel)) == count + 2 and 0x11 not in regmap.cache
    # A raw read is made of single ones as soon as one register of it is cached.
    assert regmap.regmap_raw_read(0x10, buf, 3) == 0 and kernel.load(buf, 3) == b"abc"
    assert len(wire(kernel)) == count + 4 and buffers(kernel)[-1] == regmap.work_buf + 1


@pytest.mark.parametrize(("config", "volatile"), [(RegmapConfig(), True), (cached(), False)])
def test_without_a_predicate_a_register_is_volatile_if_there_is_no_cache(config, volatile):
    assert boot(config)[1].regmap_volatile(0x10) is volatile


def test_what_cannot_be_read_is_not_volatile_unless_it_is_formatted():
    everything = {"volatile_reg": lambda reg: True, "readable_reg": lambda reg: reg == 0x10}
    _kernel, regmap = boot(RegmapConfig(**everything))
    assert regmap.regmap_volatile(0x10) and not regmap.regmap_volatile(0x11)
    assert boot(RegmapConfig(7, 9, **everything))[1].regmap_volatile(0x11)


def test_a_register_that_became_volatile_is_read_anew():
    turned = set()
    kernel, regmap = boot(cached(volatile_reg=lambda reg: reg in turned))
    assert regmap.regmap_write(0x10, 5) == 0
    kernel.bus.slaves[0x20].registers[0x10] = 6
    assert regmap.regmap_read(0x10) == (0, 5)
    turned.add(0x10)
    assert regmap.regmap_read(0x10) == (0, 6)


def test_wide_cached_values_are_in_the_buss_order_in_raw_reads_and_native_in_bulk_ones():
    kernel, regmap = boot(cached(val_bits=16, reg_stride=2))
    buf = kernel.memdup_user(b"\x12\x34\x56\x78")
    assert regmap.regmap_raw_write(0x10, buf, 4) == 0 and regmap.cache == {0x10: 0x1234, 0x12: 0x5678}
    count = len(wire(kernel))
    kernel.store(buf, bytes(4))
    assert regmap.regmap_raw_read(0x10, buf, 4) == 0 and kernel.load(buf, 4) == b"\x12\x34\x56\x78"
    assert regmap.regmap_bulk_read(0x10, buf, 2) == 0 and kernel.load(buf, 4) == b"\x34\x12\x78\x56"
    assert len(wire(kernel)) == count


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("functions", [I2C_FUNC_I2C, I2C_FUNC_SMBUS_BYTE_DATA | I2C_FUNC_SMBUS_WORD_DATA])
def test_bulk_reads_of_cached_registers_store_values_of_each_width(bits, functions):
    if bits == 32 and functions != I2C_FUNC_I2C:
        pytest.skip("SMBus has no registers of 32 bits")
    kernel, regmap = boot(cached(val_bits=bits, reg_stride=4), functions=functions)
    size = bits // 8
    data = bytes(range(1, 2 * size + 1))
    buf, back = kernel.memdup_user(data), kernel.kzalloc(2 * size)
    assert regmap.regmap_bulk_write(0x10, buf, 2) == 0
    count = len(wire(kernel))
    assert regmap.regmap_bulk_read(0x10, back, 2) == 0 and kernel.load(back, 2 * size) == data
    assert len(wire(kernel)) == count


@pytest.mark.parametrize(("volatile", "transfers"), [(range(0x10, 0x13), 1), (range(0x10, 0x12), 3)])
def test_a_bulk_read_is_one_transfer_if_all_of_it_is_volatile(volatile, transfers):
    kernel, regmap = boot(cached(volatile_reg=lambda reg: reg in volatile))
    assert regmap.regmap_bulk_read(0x10, kernel.kmalloc(4), 3) == 0 and len(wire(kernel)) == 2 * transfers


def test_a_failed_read_of_several_registers_ends_at_the_first():
    kernel, regmap = boot(cached(readable_reg=lambda reg: reg != 0x11))
    buf = kernel.memdup_user(b"...")
    assert regmap.regmap_raw_read(0x10, buf, 3) == regmap.regmap_bulk_read(0x10, buf, 3) == -EIO
    assert kernel.load(buf, 3) == b"\x10.." and set(regmap.cache) == {0x10}


def test_while_only_the_cache_is_used_nothing_reaches_the_bus():
    for config, functions in (
        (cached(), None),
        (cached(), I2C_FUNC_SMBUS_BYTE_DATA),
        (cached(reg_bits=7, val_bits=9), None),
    ):
        kernel, regmap = boot(config, functions=functions)
        regmap.regcache_cache_only(True)
        assert not regmap.cache_dirty
        assert regmap.regmap_write(0x10, 5) == 0 and regmap.cache == {0x10: 5} and regmap.cache_dirty
        assert regmap.regmap_read(0x10) == (0, 5) and regmap.regmap_read(0x11) == (-EBUSY, 0)
        assert hexes(kernel) == []
        regmap.regcache_cache_only(False)
        assert regmap.regcache_sync() == 0 and len(wire(kernel)) == 1 and not regmap.cache_dirty


@pytest.mark.parametrize(("version", "ret"), [((6, 1), 0), ((6, 12), -EBUSY), ((7, 2), -EBUSY)])
def test_raw_reads_of_a_map_that_may_use_only_its_cache(version, ret):
    config = cached(volatile_reg=lambda reg: True)
    kernel, regmap = boot(config, kernel_config=Config(version=version))
    buf = kernel.kmalloc(4)
    regmap.regcache_cache_only(True)
    assert regmap.regmap_raw_read(0x10, buf, 2) == regmap.regmap_noinc_read(0x10, buf, 2) == ret
    assert bool(wire(kernel)) is (ret == 0)


def test_a_map_without_a_cache_reads_raw_whatever_cache_only_says():
    kernel, regmap = boot()
    regmap.regcache_cache_only(True)
    assert regmap.regmap_raw_read(0x10, kernel.kmalloc(4), 2) == 0 and regmap.regmap_read(0x10) == (-EBUSY, 0)


@pytest.mark.parametrize(("functions", "left"), [(NOSTART, {9, 12}), (I2C_FUNC_I2C, {9, 10, 11, 12})])
def test_a_failed_write_drops_two_registers_unless_it_was_linearised(functions, left):
    kernel, regmap = boot(cached(), functions=functions)
    buf = kernel.kmalloc(4)
    kernel.bus.slaves.clear()
    regmap.cache.update(dict.fromkeys((9, 10, 11, 12), 0))
    assert regmap.regmap_raw_write(10, buf, 2) == -ENXIO and set(regmap.cache) == left


def test_a_failed_single_write_drops_it_too():
    kernel, regmap = boot(cached())
    kernel.bus.slaves.clear()
    assert regmap.regmap_write(0x10, 1) == -ENXIO and regmap.cache == {}


def test_sync_writes_what_can_be_written_neighbours_together():
    config = cached(val_bits=16, writeable_reg=lambda reg: reg != 0x12)
    kernel, regmap = boot(config)
    regmap.regcache_cache_only(True)
    before = set(kernel.allocators.allocated)
    for reg in (0x20, 0x13, 0x11, 0x10):
        assert regmap.regmap_write(reg, reg << 8 | 1) == 0
    regmap.cache[0x12] = 7
    regmap.regcache_cache_only(False)
    assert regmap.regcache_sync() == 0
    assert hexes(kernel) == ["1010011101", "131301", "202001"]
    assert set(kernel.allocators.allocated) == before and buffers(kernel)[1] == regmap.work_buf
    assert regmap.regcache_sync() == 0 and len(wire(kernel)) == 3
    # What the cache holds is still there, and used.
    assert regmap.regmap_read(0x10) == (0, 0x1001) and len(wire(kernel)) == 3


def test_sync_of_a_formatted_map_goes_one_by_one():
    kernel, regmap = boot(cached(reg_bits=4, val_bits=12), 0x30)
    regmap.regcache_cache_only(True)
    assert regmap.regmap_write(1, 0x234) == regmap.regmap_write(2, 0x345) == 0
    regmap.regcache_cache_only(False)
    assert regmap.regcache_sync() == 0 and hexes(kernel) == ["1234", "2345"]


@pytest.mark.parametrize("functions", [I2C_FUNC_I2C, I2C_FUNC_SMBUS_BYTE_DATA])
def test_a_failed_sync_can_be_repeated(functions):
    kernel, regmap = boot(cached(), functions=functions)
    regmap.regcache_cache_only(True)
    assert regmap.regmap_write(0x10, 1) == regmap.regmap_write(0x11, 2) == regmap.regmap_write(0x20, 3) == 0
    regmap.regcache_cache_only(False)
    slave = kernel.bus.slaves.pop(0x20)
    assert regmap.regcache_sync() == -ENXIO and len(wire(kernel)) == 1 and set(regmap.cache) == {0x10, 0x11, 0x20}
    kernel.bus.slaves[0x20] = slave
    assert regmap.regmap_read(0x10) == (0, 1) and len(wire(kernel)) == 1
    assert regmap.regcache_sync() == 0 and slave.registers[0x10:0x12] == b"\x01\x02" and slave.registers[0x20] == 3


def test_a_map_without_a_cache_cannot_be_synced():
    assert boot()[1].regcache_sync() == -EINVAL


def test_update_bits_keeps_what_the_mask_leaves_out():
    _kernel, regmap = boot()
    assert regmap.regmap_update_bits(0x5A, 0x0F, 0xFF) == 0 and regmap.regmap_read(0x5A) == (0, 0x5F)
    assert regmap.regmap_update_bits(0x5A, 0xF0, 0x0F) == 0 and regmap.regmap_read(0x5A) == (0, 0x0F)
    _kernel, regmap = boot(RegmapConfig(writeable_reg=lambda reg: False))
    assert regmap.regmap_update_bits(0x10, 1, 1) == -EIO and regmap.regmap_update_bits(0x10, 1, 0) == 0
