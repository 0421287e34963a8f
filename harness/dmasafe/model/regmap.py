# SPDX-License-Identifier: GPL-2.0-or-later
"""regmap on I2C: drivers/base/regmap/{regmap,regmap-i2c}.c, with an eye on which buffer reaches the bus.

Values travel through the map's kmalloc'ed work buffer, a copy of regmap's own, or the caller's buffer itself; no
message of regmap's is marked I2C_M_DMA_SAFE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from errno import EBUSY, EINVAL, EIO
from typing import Final, Literal

from dmasafe.model.errors import ModelError
from dmasafe.model.i2c import (
    ENOTSUPP,
    I2C_FUNC_I2C,
    I2C_FUNC_NOSTART,
    I2C_FUNC_SMBUS_BYTE_DATA,
    I2C_FUNC_SMBUS_I2C_BLOCK,
    I2C_FUNC_SMBUS_WORD_DATA,
    I2C_M_NOSTART,
    I2C_M_RD,
    I2cClient,
    I2cMsg,
)
from dmasafe.model.parts import Parts
from dmasafe.model.smbus import I2C_SMBUS_BLOCK_MAX

# include/linux/regmap.h
REGCACHE_NONE: Final = "none"
REGCACHE_MAPLE: Final = "maple"
REGMAP_ENDIAN_DEFAULT: Final = "default"
REGMAP_ENDIAN_BIG: Final = "big"
REGMAP_ENDIAN_NATIVE: Final = "native"
# regmap_get_i2c_bus() looks at the adapter's quirks since 5.11 or so (read in 6.1, not in 5.10).
_QUIRKS_SINCE = (5, 11)
# regmap_raw_read() and regmap_noinc_read() mind cache_only (read in 6.12, not in 6.1).
_BUSY_SINCE = (6, 12)

_RegisterPredicate = Callable[[int], bool]


@dataclass(frozen=True)
class RegmapConfig:
    """struct regmap_config: widths in bits, predicates over registers (None: all registers)."""

    reg_bits: int = 8
    val_bits: int = 8
    pad_bits: int = 0
    reg_stride: int = 1
    max_register: int | None = None
    reg_format_endian: str = REGMAP_ENDIAN_DEFAULT
    val_format_endian: str = REGMAP_ENDIAN_DEFAULT
    read_flag_mask: int = 0
    write_flag_mask: int = 0
    use_single_read: bool = False
    use_single_write: bool = False
    cache_type: str = REGCACHE_NONE
    writeable_reg: _RegisterPredicate | None = None
    readable_reg: _RegisterPredicate | None = None
    volatile_reg: _RegisterPredicate | None = None
    writeable_noinc_reg: _RegisterPredicate | None = None
    readable_noinc_reg: _RegisterPredicate | None = None


class RegmapBus:
    """struct regmap_bus over I2C messages: regmap-i2c.c regmap_i2c. Limits of 0 are none."""

    raw = True

    def __init__(self, kernel: Parts, client: I2cClient) -> None:
        self.kernel = kernel
        self.client = client
        self.max_raw_read = 0
        self.max_raw_write = 0

    def write(self, data: int, count: int) -> int:
        """regmap_i2c_write(): one message."""
        ret = self.kernel.i2c.i2c_master_send(self.client, data, count)
        return 0 if ret == count else ret if ret < 0 else -EIO

    def gather_write(self, reg: int, reg_size: int, val: int, val_size: int) -> int:
        """regmap_i2c_gather_write(): two messages without a start between them, where the adapter can."""
        kernel, client = self.kernel, self.client
        if not kernel.i2c.i2c_check_functionality(client.adapter, I2C_FUNC_NOSTART):
            return -ENOTSUPP
        msgs = (I2cMsg(client.addr, 0, reg_size, reg), I2cMsg(client.addr, I2C_M_NOSTART, val_size, val))
        ret = kernel.i2c.i2c_transfer(client.adapter, msgs)
        return 0 if ret == 2 else ret if ret < 0 else -EIO

    def read(self, reg: int, reg_size: int, val: int, val_size: int) -> int:
        """regmap_i2c_read(): the register out, the value in."""
        kernel, client = self.kernel, self.client
        msgs = (I2cMsg(client.addr, 0, reg_size, reg), I2cMsg(client.addr, I2C_M_RD, val_size, val))
        ret = kernel.i2c.i2c_transfer(client.adapter, msgs)
        return 0 if ret == 2 else ret if ret < 0 else -EIO

    def reg_read(self, reg: int) -> tuple[int, int]:
        return -ENOTSUPP, 0

    def reg_write(self, reg: int, val: int) -> int:
        return -ENOTSUPP


class SmbusBlockBus(RegmapBus):
    """regmap_i2c_smbus_i2c_block: the block is copied once more, into SMBus's own buffer."""

    # Bytes of a write that has anything in it.
    least = 1

    def write(self, data: int, count: int) -> int:
        if count < self.least:
            return -EINVAL
        octets = self.kernel.memory.load(data, count)
        return self.kernel.smbus.i2c_smbus_write_i2c_block_data(self.client, octets[0], octets[1:])

    def gather_write(self, reg: int, reg_size: int, val: int, val_size: int) -> int:
        return -ENOTSUPP

    def read(self, reg: int, reg_size: int, val: int, val_size: int) -> int:
        if reg_size != 1 or val_size < 1:
            return -EINVAL
        command = self.kernel.memory.load(reg, 1)[0]
        answer = self.kernel.smbus.i2c_smbus_read_i2c_block_data(self.client, command, val_size)
        if isinstance(answer, int):
            return answer
        self.kernel.memory.store(val, answer)
        return 0 if len(answer) == val_size else -EIO


class SmbusBlockReg16Bus(SmbusBlockBus):
    """regmap_i2c_smbus_i2c_block_reg16: 16-bit registers by a byte write, then byte by byte."""

    least = 2

    def read(self, reg: int, reg_size: int, val: int, val_size: int) -> int:
        if reg_size != 2:
            return -EINVAL
        low, high = self.kernel.memory.load(reg, 2)
        ret = self.kernel.smbus.i2c_smbus_write_byte_data(self.client, low, high)
        if ret < 0:
            return ret
        for n in range(val_size):
            ret = self.kernel.smbus.i2c_smbus_read_byte(self.client)
            if ret < 0:
                return ret
            self.kernel.memory.store_byte(val + n, ret)
        return 0


class SmbusRegisterBus(RegmapBus):
    """regmap_smbus_byte, regmap_smbus_word, regmap_smbus_word_swapped: single registers only."""

    raw = False

    def __init__(self, kernel: Parts, client: I2cClient, width: int, swapped: bool = False) -> None:
        super().__init__(kernel, client)
        self._width = width
        self._swapped = swapped

    def _swap(self, value: int) -> int:
        return int.from_bytes(value.to_bytes(2, "little"), "big") if self._swapped else value

    def reg_read(self, reg: int) -> tuple[int, int]:
        if reg > 0xFF:
            return -EINVAL, 0
        smbus = self.kernel.smbus
        read = smbus.i2c_smbus_read_byte_data if self._width == 1 else smbus.i2c_smbus_read_word_data
        ret = read(self.client, reg)
        return min(ret, 0), self._swap(max(ret, 0))

    def reg_write(self, reg: int, val: int) -> int:
        if val >> 8 * self._width or reg > 0xFF:
            return -EINVAL
        smbus = self.kernel.smbus
        write = smbus.i2c_smbus_write_byte_data if self._width == 1 else smbus.i2c_smbus_write_word_data
        return write(self.client, reg, self._swap(val))


def regmap_get_i2c_bus(kernel: Parts, client: I2cClient, config: RegmapConfig) -> RegmapBus:
    """regmap_get_i2c_bus(): by what the adapter can, within its quirks. Raises ModelError for -ENOTSUPP."""

    def has(func: int) -> bool:
        return kernel.i2c.i2c_check_functionality(client.adapter, func)

    widths = (config.reg_bits, config.val_bits)
    bus: RegmapBus | None = None
    if has(I2C_FUNC_I2C):
        bus = RegmapBus(kernel, client)
    elif widths == (8, 8) and has(I2C_FUNC_SMBUS_I2C_BLOCK):
        bus = SmbusBlockBus(kernel, client)
        bus.max_raw_read = bus.max_raw_write = I2C_SMBUS_BLOCK_MAX - 1
    elif widths == (16, 8) and has(I2C_FUNC_SMBUS_I2C_BLOCK):
        bus = SmbusBlockReg16Bus(kernel, client)
        bus.max_raw_read = bus.max_raw_write = I2C_SMBUS_BLOCK_MAX - 2
    elif widths == (8, 16) and has(I2C_FUNC_SMBUS_WORD_DATA):
        endian = _endian(config.val_format_endian)
        if endian != REGMAP_ENDIAN_NATIVE:
            bus = SmbusRegisterBus(kernel, client, 2, endian == REGMAP_ENDIAN_BIG)
    elif widths == (8, 8) and has(I2C_FUNC_SMBUS_BYTE_DATA):
        bus = SmbusRegisterBus(kernel, client, 1)
    if bus is None:
        raise ModelError("regmap_init_i2c() says -ENOTSUPP: the adapter can carry no register of this shape")
    quirks = client.adapter.quirks
    if quirks is not None and kernel.config.version >= _QUIRKS_SINCE:
        max_read = max_write = 0
        if quirks.max_read_len and (bus.max_raw_read == 0 or bus.max_raw_read > quirks.max_read_len):
            max_read = quirks.max_read_len
        if quirks.max_write_len and (bus.max_raw_write == 0 or bus.max_raw_write > quirks.max_write_len):
            max_write = quirks.max_write_len - (config.reg_bits + config.pad_bits) // 8
        if max_read or max_write:
            bus.max_raw_read, bus.max_raw_write = max_read, max_write
    return bus


def _endian(configured: str) -> str:
    """regmap_get_reg_endian(), regmap_get_val_endian(): every bus here is big-endian by default."""
    return REGMAP_ENDIAN_BIG if configured == REGMAP_ENDIAN_DEFAULT else configured


def _byte_order(endian: str) -> Literal["little", "big"]:
    """Native is little on every architecture of the model."""
    return "big" if endian == REGMAP_ENDIAN_BIG else "little"


def _has_format(bits: int, endian: str) -> bool:
    """__regmap_init(): which widths a register or a value may have by itself."""
    return bits in (8, 16, 32) or (bits == 24 and endian == REGMAP_ENDIAN_BIG)


# The widths of register and value that share one word, always big-endian: regmap_format_*_write().
_FORMATTED = {(2, 6), (4, 12), (7, 9), (7, 17), (10, 14), (12, 20)}

# What bulk accesses of single registers can store: u8, u16, u32.
_NATIVE_WIDTHS = (1, 2, 4)


class Regmap:
    """struct regmap. ``work_buf`` is kmalloc'ed: register, padding and one value."""

    def __init__(self, kernel: Parts, bus: RegmapBus, config: RegmapConfig) -> None:
        self.kernel = kernel
        self.bus = bus
        self.config = config
        self.reg_bytes = -(-config.reg_bits // 8)
        self.pad_bytes = config.pad_bits // 8
        self.val_bytes = -(-config.val_bits // 8)
        self.reg_shift = config.pad_bits % 8
        reg_endian, val_endian = _endian(config.reg_format_endian), _endian(config.val_format_endian)
        self._reg_order, self._val_order = _byte_order(reg_endian), _byte_order(val_endian)
        width = config.reg_bits + self.reg_shift
        self.formatted = (width, config.val_bits) in _FORMATTED
        if self.formatted:
            fits = reg_endian == val_endian == REGMAP_ENDIAN_BIG
        else:
            fits = _has_format(width, reg_endian) and _has_format(config.val_bits, val_endian)
        if bus.raw and not fits:
            raise ModelError(f"regmap knows no format for {config.reg_bits}-bit registers of {config.val_bits} bits")
        # parse_inplace is there: else bulk accesses go register by register.
        self._in_place = bus.raw and config.val_bits in (8, 16, 32)
        self.buf_size = -(-(config.reg_bits + config.val_bits + config.pad_bits) // 8)
        self.work_buf = kernel.allocators.kzalloc(self.buf_size)
        self.cache: dict[int, int] = {}
        self.cached = config.cache_type != REGCACHE_NONE
        self.cache_bypass = not self.cached
        self.cache_only = False
        self.cache_dirty = False

    def regmap_exit(self) -> None:
        self.kernel.allocators.kfree(self.work_buf)

    # Predicates.

    def _known(self, reg: int) -> bool:
        return self.config.max_register is None or reg <= self.config.max_register

    def regmap_writeable(self, reg: int) -> bool:
        known = self._known(reg)
        return known and (self.config.writeable_reg is None or self.config.writeable_reg(reg))

    def regmap_readable(self, reg: int) -> bool:
        known = self._known(reg) and not self.formatted
        return known and (self.config.readable_reg is None or self.config.readable_reg(reg))

    def regmap_volatile(self, reg: int) -> bool:
        if not self.formatted and not self.regmap_readable(reg):
            return False
        if self.config.volatile_reg is not None:
            return self.config.volatile_reg(reg)
        return not self.cached

    def _writeable_noinc(self, reg: int) -> bool:
        return self.config.writeable_noinc_reg is None or self.config.writeable_noinc_reg(reg)

    def _readable_noinc(self, reg: int) -> bool:
        return self.config.readable_noinc_reg is None or self.config.readable_noinc_reg(reg)

    def _volatile_range(self, reg: int, count: int) -> bool:
        return all(self.regmap_volatile(reg + n * self.config.reg_stride) for n in range(count))

    # Formats.

    def _format_reg(self, reg: int, flag_mask: int) -> None:
        value = (reg << self.reg_shift) & ((1 << 8 * self.reg_bytes) - 1)
        octets = bytearray(value.to_bytes(self.reg_bytes, self._reg_order))
        # regmap_set_work_buf_flag_mask()
        for n in range(self.reg_bytes):
            octets[n] |= flag_mask >> 8 * n & 0xFF
        self.kernel.memory.store(self.work_buf, bytes(octets))

    def _format_val(self, val: int) -> bytes:
        masked = val & ((1 << 8 * self.val_bytes) - 1)
        return masked.to_bytes(self.val_bytes, self._val_order)

    def _parse_val(self, octets: bytes) -> int:
        return int.from_bytes(octets, self._val_order)

    @property
    def _work_val(self) -> int:
        return self.work_buf + self.reg_bytes + self.pad_bytes

    # Raw transfers.

    def _raw_write_impl(self, reg: int, val: int, val_len: int, noinc: bool) -> int:
        """_regmap_raw_write_impl(): from the work buffer, as a gather, or linearised into a copy."""
        kernel = self.kernel
        memory = kernel.memory
        stride = self.config.reg_stride
        registers = range(reg, reg + val_len // self.val_bytes * stride, stride)
        unfit = (one for one in registers if not self.regmap_writeable(one) or self._writeable_noinc(one))
        if not self._writeable_noinc(reg) and any(True for _one in unfit):
            return -EINVAL
        if not self.cache_bypass:
            # A register that takes them all is volatile: nothing of it is cached.
            for n, one in enumerate(() if noinc else registers):
                self._cache_write(one, self._parse_val(memory.load(val + n * self.val_bytes, self.val_bytes)))
            if self.cache_only:
                self.cache_dirty = True
                return 0
        head = self.reg_bytes + self.pad_bytes
        work_val = self._work_val
        self._format_reg(reg, self.config.write_flag_mask)
        if val != work_val and val_len == self.val_bytes:
            memory.store(work_val, memory.load(val, val_len))
            val = work_val
        if val == work_val:
            kernel.notes.append("regmap sends from its work buffer, which is kmalloc'ed but not marked")
            ret = self.bus.write(self.work_buf, head + val_len)
        else:
            ret = self.bus.gather_write(self.work_buf, head, val, val_len)
        if ret == -ENOTSUPP:
            kernel.notes.append("regmap linearises register and values into a kmalloc'ed copy, which is not marked")
            copy = kernel.allocators.kzalloc(head + val_len)
            memory.store(copy, memory.load(self.work_buf, self.reg_bytes))
            memory.store(copy + head, memory.load(val, val_len))
            ret = self.bus.write(copy, head + val_len)
            kernel.allocators.kfree(copy)
        else:
            if val != work_val:
                kernel.notes.append("regmap hands the caller's buffer to the bus, unmarked (gather write)")
            if ret and not self.cache_bypass:
                self._cache_drop(reg, reg + 1)
        return ret

    def _raw_write(self, reg: int, val: int, val_len: int, noinc: bool) -> int:
        """_regmap_raw_write(): the register advances from chunk to chunk, even for regmap_noinc_write()."""

        def write(reg: int, val: int, size: int) -> int:
            return self._raw_write_impl(reg, val, size, noinc)

        return self._by_chunks(write, self.config.use_single_write, self.bus.max_raw_write, reg, val, val_len)

    def _by_chunks(
        self, transfer: Callable[[int, int, int], int], single: bool, limit: int, reg: int, val: int, val_len: int
    ) -> int:
        """As many registers at once as map and bus take, until one transfer fails."""
        chunk = self.val_bytes if single else (limit or val_len) // self.val_bytes * self.val_bytes
        for done in range(0, val_len, chunk):
            at = reg + done // self.val_bytes * self.config.reg_stride
            ret = transfer(at, val + done, min(chunk, val_len - done))
            if ret:
                return ret
        return 0

    def _raw_read(self, reg: int, val: int, val_len: int) -> int:
        """_regmap_raw_read(): the register from the work buffer, the values straight to ``val``."""
        self._format_reg(reg, self.config.read_flag_mask)
        if val == self._work_val:
            self.kernel.notes.append("regmap reads into its work buffer, which is kmalloc'ed but not marked")
        else:
            self.kernel.notes.append("regmap hands the caller's buffer to the bus, unmarked")
        return self.bus.read(self.work_buf, self.reg_bytes + self.pad_bytes, val, val_len)

    def _aligned(self, reg: int) -> bool:
        return reg % self.config.reg_stride == 0

    # The cache: one value a register; what volatile_reg says is never cached.

    def _cache_write(self, reg: int, value: int) -> None:
        if not self.regmap_volatile(reg):
            self.cache[reg] = value

    def _cache_drop(self, first: int, last: int) -> None:
        """regcache_maple_drop()."""
        for reg in range(first, last + 1):
            self.cache.pop(reg, None)

    # The calls of drivers: 0 or a negative errno.

    def regmap_write(self, reg: int, val: int) -> int:
        """regmap_write()."""
        return self._write(reg, val) if self._aligned(reg) else -EINVAL

    def _write(self, reg: int, val: int) -> int:
        """_regmap_write()."""
        if not self.regmap_writeable(reg):
            return -EIO
        if self.bus.raw and not self.formatted:
            # defer_caching: _regmap_raw_write_impl() does it.
            self.kernel.memory.store(self._work_val, self._format_val(val))
            return self._raw_write_impl(reg, self._work_val, self.val_bytes, False)
        if not self.cache_bypass:
            self._cache_write(reg, val)
            if self.cache_only:
                self.cache_dirty = True
                return 0
        return self._formatted_write(reg, val) if self.formatted else self.bus.reg_write(reg, val)

    def _formatted_write(self, reg: int, val: int) -> int:
        """_regmap_bus_formatted_write(): register and value in one word of the work buffer."""
        width = (self.config.reg_bits + self.reg_shift + self.config.val_bits) // 8
        word = ((reg << self.config.val_bits) | val) & ((1 << 8 * width) - 1)
        self.kernel.memory.store(self.work_buf, word.to_bytes(width, "big"))
        return self.bus.write(self.work_buf, self.buf_size)

    def regmap_read(self, reg: int) -> tuple[int, int]:
        """regmap_read(): (0 or a negative errno, value)."""
        return self._read(reg) if self._aligned(reg) else (-EINVAL, 0)

    def _read(self, reg: int) -> tuple[int, int]:
        """_regmap_read()."""
        if not self.cache_bypass and not self.regmap_volatile(reg) and reg in self.cache:
            return 0, self.cache[reg]
        if self.cache_only:
            return -EBUSY, 0
        if not self.regmap_readable(reg):
            return -EIO, 0
        if not self.bus.raw:
            ret, value = self.bus.reg_read(reg)
        else:
            ret = self._raw_read(reg, self._work_val, self.val_bytes)
            value = self._parse_val(self.kernel.memory.load(self._work_val, self.val_bytes)) if ret == 0 else 0
        if ret == 0 and not self.cache_bypass:
            self._cache_write(reg, value)
        return ret, value

    def regmap_update_bits(self, reg: int, mask: int, val: int) -> int:
        """regmap_update_bits(): nothing is written if nothing changes. The stride is not minded."""
        ret, orig = self._read(reg)
        if ret:
            return ret
        wanted = orig & ~mask | val & mask
        return 0 if wanted == orig else self._write(reg, wanted)

    def regmap_raw_write(self, reg: int, val: int, val_len: int) -> int:
        """regmap_raw_write(): bytes as they are; several registers at once may go straight from ``val``."""
        if not self.bus.raw or self.formatted or val_len % self.val_bytes or val_len == 0:
            return -EINVAL
        return self._raw_write(reg, val, val_len, False)

    def regmap_raw_read(self, reg: int, val: int, val_len: int) -> int:
        """regmap_raw_read(): into ``val`` itself, unless the cache has the values."""
        count = val_len // self.val_bytes
        if val_len % self.val_bytes or not self._aligned(reg) or count == 0:
            return -EINVAL
        if not (self.cache_bypass or self._volatile_range(reg, count)):
            for n in range(count):
                ret, value = self._read(reg + n * self.config.reg_stride)
                if ret:
                    return ret
                self.kernel.memory.store(val + n * self.val_bytes, self._format_val(value))
            return 0
        if self._is_busy():
            return -EBUSY
        if not self.bus.raw:
            return -ENOTSUPP
        return self._by_chunks(self._raw_read, self.config.use_single_read, self.bus.max_raw_read, reg, val, val_len)

    def _is_busy(self) -> bool:
        return self.cache_only and not self.cache_bypass and self.kernel.config.version >= _BUSY_SINCE

    def regmap_bulk_write(self, reg: int, val: int, val_count: int) -> int:
        """regmap_bulk_write(): values in native order, converted in a kmemdup()'ed copy."""
        if not self._aligned(reg):
            return -EINVAL
        memory, allocators = self.kernel.memory, self.kernel.allocators
        width = self.val_bytes
        if not self._in_place:
            for n in range(val_count):
                if width not in _NATIVE_WIDTHS:
                    return -EINVAL
                value = int.from_bytes(memory.load(val + n * width, width), "little")
                ret = self._write(reg + n * self.config.reg_stride, value)
                if ret:
                    return ret
            return 0
        copy = allocators.kmemdup(val, width * val_count)
        memory.store(copy, self._reordered(memory.load(copy, width * val_count)))
        ret = self.regmap_raw_write(reg, copy, width * val_count)
        allocators.kfree(copy)
        return ret

    def regmap_bulk_read(self, reg: int, val: int, val_count: int) -> int:
        """regmap_bulk_read(): into ``val`` itself, then converted there to native order."""
        if not self._aligned(reg) or val_count == 0:
            return -EINVAL
        memory = self.kernel.memory
        width = self.val_bytes
        if self._in_place and (not self.cached or self._volatile_range(reg, val_count)):
            ret = self.regmap_raw_read(reg, val, width * val_count)
            if ret == 0:
                memory.store(val, self._reordered(memory.load(val, width * val_count)))
            return ret
        for n in range(val_count):
            ret, value = self._read(reg + n * self.config.reg_stride)
            if ret:
                return ret
            if width not in _NATIVE_WIDTHS:
                return -EINVAL
            memory.store(val + n * width, value.to_bytes(width, "little"))
        return 0

    def _reordered(self, octets: bytes) -> bytes:
        """parse_inplace() over every value: between the bus's order and the processor's (little)."""
        width = self.val_bytes
        if self._val_order == "little":
            return octets
        return b"".join(octets[n : n + width][::-1] for n in range(0, len(octets), width))

    def _fits_noinc(self, reg: int, val_len: int) -> bool:
        whole = val_len > 0 and val_len % self.val_bytes == 0
        return whole and self._aligned(reg) and self.regmap_volatile(reg)

    def regmap_noinc_write(self, reg: int, val: int, val_len: int) -> int:
        """regmap_noinc_write(): a FIFO register; the address does not advance."""
        if not self.bus.raw or not self._fits_noinc(reg, val_len) or not self._writeable_noinc(reg):
            return -EINVAL
        step = self.bus.max_raw_write or val_len
        for done in range(0, val_len, step):
            ret = self._raw_write(reg, val + done, min(step, val_len - done), True)
            if ret:
                return ret
        return 0

    def regmap_noinc_read(self, reg: int, val: int, val_len: int) -> int:
        """regmap_noinc_read(): a FIFO register, straight into ``val``."""
        if not self.bus.raw:
            return -ENOTSUPP
        if not self._fits_noinc(reg, val_len) or not self._readable_noinc(reg):
            return -EINVAL
        if self._is_busy():
            return -EBUSY
        step = self.bus.max_raw_read or val_len
        for done in range(0, val_len, step):
            ret = self._raw_read(reg, val + done, min(step, val_len - done))
            if ret:
                return ret
        return 0

    def regcache_cache_only(self, enable: bool) -> None:
        self.cache_only = enable

    def regcache_sync(self) -> int:
        """regcache_sync(): what was written while cache_only, and all else that is cached, goes to the device."""
        if not self.cached:
            return -EINVAL
        if not self.cache_dirty:
            return 0
        self.cache_bypass = True
        ret = next((ret for block in self._cached_blocks() if (ret := self._sync_block(block))), 0)
        self.cache_bypass = False
        self.cache_dirty = ret != 0
        return ret

    def _cached_blocks(self) -> list[list[int]]:
        """regcache_maple_sync(): the cached registers that can be written, neighbours together."""
        blocks: list[list[int]] = []
        for reg in sorted(filter(self.regmap_writeable, self.cache)):
            if blocks and reg == blocks[-1][-1] + 1:
                blocks[-1].append(reg)
            else:
                blocks.append([reg])
        return blocks

    def _sync_block(self, block: list[int]) -> int:
        """regcache_maple_sync_block(): several registers in one raw write, where the map can."""
        if len(block) == 1 or not self.bus.raw or self.formatted:
            return next((ret for reg in block if (ret := self._write(reg, self.cache[reg]))), 0)
        allocators = self.kernel.allocators
        size = len(block) * self.val_bytes
        buf = allocators.kmalloc(size)
        self.kernel.memory.store(buf, b"".join(self._format_val(self.cache[reg]) for reg in block))
        ret = self._raw_write(block[0], buf, size, False)
        allocators.kfree(buf)
        return ret


def regmap_init_i2c(kernel: Parts, client: I2cClient, config: RegmapConfig) -> Regmap:
    """regmap_init_i2c()."""
    return Regmap(kernel, regmap_get_i2c_bus(kernel, client, config), config)
