# SPDX-License-Identifier: GPL-2.0-or-later
"""SMBus by I2C messages: which messages, from which memory, with which errno (drivers/i2c/i2c-core-smbus.c)."""

from errno import EAGAIN, EBADMSG, EINVAL, EIO, ENXIO, EOPNOTSUPP, EPROTO, ESHUTDOWN

import pytest

from dmasafe.devices.bus import Bus
from dmasafe.devices.slaves.recorder import Recorder
from dmasafe.devices.slaves.register_file import RegisterFile
from dmasafe.devices.slaves.smbus_block import crc8
from dmasafe.model import Config, ModelKernel, TaskHung
from dmasafe.model.controllers import NoSmbus
from dmasafe.model.i2c import (
    I2C_CLIENT_PEC,
    I2C_CLIENT_SCCB,
    I2C_FUNC_I2C,
    I2C_FUNC_SMBUS_EMUL,
    I2C_FUNC_SMBUS_READ_BYTE_DATA,
    I2C_FUNC_SMBUS_READ_I2C_BLOCK,
    I2C_FUNC_SMBUS_READ_WORD_DATA,
    I2C_M_DMA_SAFE,
    I2C_M_RD,
    I2C_M_RECV_LEN,
    I2C_M_TEN,
    I2cAdapter,
    SmbusData,
)
from dmasafe.model.smbus import (
    I2C_SMBUS_BLOCK_DATA,
    I2C_SMBUS_BLOCK_PROC_CALL,
    I2C_SMBUS_BYTE,
    I2C_SMBUS_BYTE_DATA,
    I2C_SMBUS_I2C_BLOCK_DATA,
    I2C_SMBUS_PROC_CALL,
    I2C_SMBUS_QUICK,
    I2C_SMBUS_READ,
    I2C_SMBUS_WORD_DATA,
    I2C_SMBUS_WRITE,
)

READ, WRITE = I2C_SMBUS_READ, I2C_SMBUS_WRITE
SAFE, RD, RECV = I2C_M_DMA_SAFE, I2C_M_RD, I2C_M_RECV_LEN
ADDRESS = 0x30


class Wire(NoSmbus):
    """An adapter that notes what each message writes, answers reads with ``answers``, and ends with ``ret``."""

    def __init__(self, kernel, answers=(), ret=None):
        self.kernel, self.answers, self.ret, self.written, self.buffers = kernel, list(answers), ret, [], []

    def functionality(self, adap):
        return I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL

    def master_xfer(self, adap, msgs):
        for msg in msgs:
            self.buffers.append(msg.buf)
            if not msg.flags & RD:
                self.written.append(self.kernel.load(msg.buf, msg.len) if msg.len else b"")
            elif self.answers:
                self.kernel.store(msg.buf, self.answers.pop(0))
        return len(msgs) if self.ret is None else self.ret


def on_wire(*answers, config=None, ret=None, flags=0):
    kernel = ModelKernel(config)
    kernel.i2c.trace = []
    wire = Wire(kernel, answers, ret)
    return kernel, wire, kernel.client(I2cAdapter(3, "wire", wire), ADDRESS, flags)


def xfer(kernel, client, way, protocol, data, command=0x12):
    return kernel.i2c_smbus_xfer(client.adapter, client.addr, client.flags, way, command, protocol, data)


BLOCK = b"\x02ab"
TABLE = [
    # way, protocol, what the caller has, messages as (flags, length), what is written, answer, what the caller gets
    (WRITE, I2C_SMBUS_QUICK, None, [(0, 0)], [b""], None, None),
    (READ, I2C_SMBUS_QUICK, None, [(RD, 0)], [], None, None),
    (WRITE, I2C_SMBUS_BYTE, None, [(0, 1)], [b"\x12"], None, None),
    (READ, I2C_SMBUS_BYTE, b".", [(RD, 1)], [], b"\x55", b"\x55"),
    (WRITE, I2C_SMBUS_BYTE_DATA, b"ab", [(0, 2)], [b"\x12a"], None, b"ab"),
    (READ, I2C_SMBUS_BYTE_DATA, b"..", [(0, 1), (RD, 1)], [b"\x12"], b"x", b"x."),
    (WRITE, I2C_SMBUS_WORD_DATA, b"abc", [(0, 3)], [b"\x12ab"], None, b"abc"),
    (READ, I2C_SMBUS_WORD_DATA, b"...", [(0, 1), (RD, 2)], [b"\x12"], b"xy", b"xy."),
    (WRITE, I2C_SMBUS_PROC_CALL, b"abc", [(0, 3), (RD, 2)], [b"\x12ab"], b"xy", b"xyc"),
    (WRITE, I2C_SMBUS_BLOCK_DATA, BLOCK, [(SAFE, 4)], [b"\x12\x02ab"], None, BLOCK),
    (READ, I2C_SMBUS_BLOCK_DATA, b"....", [(0, 1), (RD | RECV | SAFE, 1)], [b"\x12"], b"\x02xyz", b"\x02xy."),
    (WRITE, I2C_SMBUS_I2C_BLOCK_DATA, BLOCK, [(SAFE, 3)], [b"\x12ab"], None, BLOCK),
    (READ, I2C_SMBUS_I2C_BLOCK_DATA, b"\x02...", [(0, 1), (RD | SAFE, 2)], [b"\x12"], b"xyz", b"\x02xy."),
    (
        WRITE,
        I2C_SMBUS_BLOCK_PROC_CALL,
        BLOCK,
        [(SAFE, 4), (RD | RECV | SAFE, 1)],
        [b"\x12\x02ab"],
        b"\x01xy",
        b"\x01xb",
    ),
]


@pytest.mark.parametrize(("way", "protocol", "has", "messages", "written", "answer", "gets"), TABLE)
def test_each_protocol_has_its_messages_and_blocks_alone_are_kmalloced(
    way, protocol, has, messages, written, answer, gets
):
    kernel, wire, client = on_wire(*([] if answer is None else [answer]))
    data = None if has is None else SmbusData(has)
    pointer = kernel.task.stack_pointer
    assert xfer(kernel, client, way, protocol, data) == 0
    assert [(flags, length) for flags, length, _buf in kernel.i2c.trace] == messages and wire.written == written
    for flags, _length, buf in kernel.i2c.trace:
        assert kernel.object_is_on_stack(buf) is (flags & SAFE == 0)
    if gets is not None:
        assert bytes(data.block[: len(gets)]) == gets
    assert not kernel.allocators.allocated and kernel.task.stack_pointer == pointer and not client.adapter.locked


@pytest.mark.parametrize(("way", "protocol", "has", "messages", "written", "answer", "gets"), TABLE)
def test_a_packet_error_code_covers_both_messages(way, protocol, has, messages, written, answer, gets):
    """The code follows the last message; quick and I2C block transfers have none."""
    covered = protocol not in (I2C_SMBUS_QUICK, I2C_SMBUS_I2C_BLOCK_DATA)
    reads = messages[-1][0] & RD
    first = bytes((ADDRESS << 1, *written[0])) if written else b""
    good = b""
    if answer is not None:
        length = 1 + answer[0] if messages[-1][0] & RECV else messages[-1][1]
        good = answer[:length]
        if covered:
            good += bytes((crc8(first + bytes((ADDRESS << 1 | 1,)) + good),))

    class Counts(Wire):
        """Adds the length of a block, like every driver."""

        def master_xfer(self, adap, msgs):
            ret = super().master_xfer(adap, msgs)
            for msg in msgs:
                if msg.flags & RECV:
                    msg.len += self.kernel.load(msg.buf, 1)[0]
            return ret

    for wrong in (0, 1) if covered and reads else (0,):
        kernel, _wire, client = on_wire(flags=I2C_CLIENT_PEC)
        wire = client.adapter.algo = Counts(kernel, [good[:-1] + bytes((good[-1] ^ wrong,))] if good else [])
        data = None if has is None else SmbusData(has)
        assert xfer(kernel, client, way, protocol, data) == (-EBADMSG if wrong else 0)
        lengths = [length for _flags, length, _buf in kernel.i2c.trace]
        assert lengths == [*(length for _flags, length in messages[:-1]), messages[-1][1] + covered]
        assert all(flags & I2C_CLIENT_PEC for flags, _length, _buf in kernel.i2c.trace)
        if covered and not reads:
            assert wire.written == [written[0] + bytes((crc8(first),))]
        if gets is not None:
            assert bytes(data.block[: len(gets)]) == (has if wrong else gets)
        assert not kernel.allocators.allocated


@pytest.mark.parametrize(("ret", "status"), [(0, -EIO), (1, -EIO), (-ENXIO, -ENXIO), (-EAGAIN, -EAGAIN)])
def test_a_transfer_that_is_not_complete_fails(ret, status):
    kernel, _wire, client = on_wire(b"x", ret=ret)
    data = SmbusData(b"\x02..")
    assert xfer(kernel, client, READ, I2C_SMBUS_BYTE_DATA, data) == status and data.byte == 2
    assert xfer(kernel, client, WRITE, I2C_SMBUS_BLOCK_PROC_CALL, data) == status
    assert kernel.i2c_smbus_read_byte(client) == (0 if ret == 1 else status)
    assert not kernel.allocators.allocated
    if ret != 1:
        assert kernel.i2c_smbus_read_byte_data(client, 1) == kernel.i2c_smbus_read_word_data(client, 1) == status
        assert kernel.i2c_smbus_read_block_data(client, 1) == status
        assert kernel.i2c_smbus_read_i2c_block_data(client, 1, 2) == status
        assert kernel.i2c_smbus_write_byte(client, 1) == kernel.i2c_smbus_write_byte_data(client, 1, 1) == status


@pytest.mark.parametrize("ret", [0, 1, -ENXIO])
def test_the_code_of_a_transfer_that_failed_is_not_looked_at(ret):
    kernel, _wire, client = on_wire(b"xy", ret=ret, flags=I2C_CLIENT_PEC)
    assert kernel.i2c_smbus_read_byte_data(client, 1) == (-ENXIO if ret < 0 else -EIO)


@pytest.mark.parametrize(
    ("way", "protocol", "text"),
    [
        (WRITE, I2C_SMBUS_BLOCK_DATA, "Invalid block write size {}"),
        (WRITE, I2C_SMBUS_BLOCK_PROC_CALL, "Invalid block write size {}"),
        (WRITE, I2C_SMBUS_I2C_BLOCK_DATA, "Invalid block write size {}"),
        (READ, I2C_SMBUS_I2C_BLOCK_DATA, "Invalid block read size {}"),
    ],
)
@pytest.mark.parametrize("version", [(6, 1), (6, 1, 191), (6, 1, 192), (6, 12)])
def test_blocks_hold_32_bytes_and_newer_kernels_refuse_without_a_word(way, protocol, text, version):
    newer = version >= (6, 1, 192)
    for count, ret in ((33, -EINVAL), (0xFF, -EINVAL), (32, 0), (1, 0), (0, -EINVAL if newer else 0)):
        kernel, wire, client = on_wire(config=Config(version=version))
        pointer = kernel.task.stack_pointer
        assert xfer(kernel, client, way, protocol, SmbusData(bytes((count,)) + bytes(32))) == ret
        said = f"i2c i2c-3: {text.format(count)}"
        assert (said in kernel.dmesg()) is (ret != 0 and not newer) and bool(wire.buffers) is (ret == 0)
        assert not kernel.allocators.allocated and kernel.task.stack_pointer == pointer


@pytest.mark.parametrize(("count", "ret"), [(32, 0), (33, -EPROTO), (0xFF, -EPROTO), (0, 0)])
def test_a_block_that_is_read_holds_32_bytes(count, ret):
    kernel, _wire, client = on_wire(bytes((count,)) + bytes(range(33)))
    data = SmbusData()
    assert xfer(kernel, client, READ, I2C_SMBUS_BLOCK_DATA, data) == ret
    assert (f"i2c i2c-3: Invalid block size returned: {count}" in kernel.dmesg()) is (ret != 0)
    assert bytes(data.block[:34]) == (bytes((count,)) + bytes(range(count)) if ret == 0 else b"").ljust(34, b"\0")


def test_block_lengths_are_not_checked_where_the_slave_gives_them_or_there_are_none():
    kernel, _wire, client = on_wire(b"\x01x")
    assert xfer(kernel, client, READ, I2C_SMBUS_BLOCK_DATA, SmbusData(b"\xff")) == 0
    assert xfer(kernel, client, WRITE, I2C_SMBUS_BYTE_DATA, SmbusData(b"\xff")) == 0
    assert xfer(kernel, client, WRITE, I2C_SMBUS_WORD_DATA, SmbusData()) == 0


@pytest.mark.parametrize(("version", "byte"), [((6, 12), 0xAA), ((7, 2), 0)])
def test_a_byte_that_no_driver_delivered_is_stack_before_7_0_and_zero_since(version, byte):
    kernel, _wire, client = on_wire(config=Config(version=version))
    pointer = kernel.task.stack_pointer
    kernel.store(kernel.alloca(256), b"\xaa" * 256)
    kernel.task.stack_pointer = pointer
    assert kernel.i2c_smbus_read_byte_data(client, 1) == byte
    assert kernel.i2c_smbus_read_word_data(client, 1) == 0xAA00 | byte


def test_a_block_that_no_driver_delivered_is_empty():
    kernel, _wire, client = on_wire()
    assert kernel.i2c_smbus_read_block_data(client, 1) == b""
    data = SmbusData(b"\x01x")
    assert xfer(kernel, client, WRITE, I2C_SMBUS_BLOCK_PROC_CALL, data) == 0 and data.byte == 0


def test_an_unknown_protocol_says_so_and_leaves_the_stack():
    kernel, _wire, client = on_wire()
    pointer = kernel.task.stack_pointer
    assert xfer(kernel, client, READ, 9, SmbusData()) == -EOPNOTSUPP
    assert "i2c i2c-3: Unsupported transaction 9" in kernel.dmesg() and kernel.task.stack_pointer == pointer


def test_a_suspended_adapter_refuses_smbus_too_and_warns_once():
    kernel, wire, client = on_wire()
    client.adapter.suspended = True
    assert kernel.i2c_smbus_read_byte(client) == kernel.i2c_smbus_write_byte(client, 1) == -ESHUTDOWN
    assert kernel.dmesg().count("i2c i2c-3: Transfer while suspended") == 1 and not wire.buffers
    other = kernel.client(I2cAdapter(4, "other", Wire(kernel)), 1)
    other.adapter.suspended = True
    assert kernel.i2c_smbus_read_byte(other) == -ESHUTDOWN and len(kernel.log.reports()) == 2


def test_a_locked_bus_is_waited_for():
    kernel, _wire, client = on_wire()
    client.adapter.locked = True
    with pytest.raises(TaskHung, match="i2c-3"):
        kernel.i2c_smbus_read_byte(client)


# Native SMBus.


class Native(Wire):
    native_smbus = True

    def __init__(self, kernel, results, jiffies=0):
        super().__init__(kernel)
        self.results, self.jiffies, self.seen = list(results), jiffies, []

    def smbus_xfer(self, adap, addr, flags, read_write, command, size, data):
        self.seen.append((addr, flags, read_write, command, size))
        self.kernel.i2c.jiffies += self.jiffies
        return self.results.pop(0)


@pytest.mark.parametrize(
    ("results", "retries", "jiffies", "ret", "calls"),
    [
        ([0], 3, 0, 0, 1),
        ([-EIO], 3, 0, -EIO, 1),
        ([-EAGAIN, -EAGAIN, 0], 2, 0, 0, 3),
        ([-EAGAIN, -EAGAIN, 0], 1, 0, -EAGAIN, 2),
        ([-EAGAIN], 0, 0, -EAGAIN, 1),
        ([-EAGAIN] * 9, 9, 500, -EAGAIN, 3),
        ([-EAGAIN] * 9, 9, 501, -EAGAIN, 2),
    ],
)
def test_native_transfers_are_retried_within_the_timeout(results, retries, jiffies, ret, calls):
    kernel = ModelKernel()
    kernel.i2c.jiffies = 77
    algo = Native(kernel, results, jiffies)
    client = kernel.client(I2cAdapter(5, "native", algo, timeout=1000, retries=retries), ADDRESS)
    assert kernel.i2c_smbus_write_word_data(client, 1, 2) == ret and len(algo.seen) == calls and not algo.buffers


def test_a_native_driver_gets_three_flags_and_emulation_what_it_declines():
    kernel = ModelKernel()
    algo = Native(kernel, [0, -EOPNOTSUPP])
    client = kernel.client(I2cAdapter(5, "native", algo), ADDRESS, 0xFFFF)
    assert kernel.i2c_smbus_write_word_data(client, 1, 2) == 0 and not algo.buffers
    assert algo.seen == [(ADDRESS, I2C_M_TEN | I2C_CLIENT_PEC | I2C_CLIENT_SCCB, WRITE, 1, I2C_SMBUS_WORD_DATA)]
    client.flags = 0
    assert kernel.i2c_smbus_write_word_data(client, 1, 2) == 0 and algo.written == [b"\x01\x02\x00"]


def test_a_driver_without_native_smbus_has_nothing_to_say_to_it():
    kernel = ModelKernel()
    for name in ("virtio", "dmasafe"):
        adap = kernel.adapter(name)
        assert not adap.algo.native_smbus
        assert adap.algo.smbus_xfer(adap, 1, 0, READ, 0, I2C_SMBUS_BYTE, SmbusData()) == -EOPNOTSUPP


# The calls of client drivers.


def test_values_and_blocks_are_cut_to_what_the_protocol_carries():
    kernel, wire, client = on_wire(b"\x07")
    assert kernel.i2c_smbus_write_byte(client, 0x1FF) == kernel.i2c_smbus_write_byte_data(client, 1, 0x1FE) == 0
    assert kernel.i2c_smbus_write_word_data(client, 2, 0x5_1234) == 0
    assert kernel.i2c_smbus_write_block_data(client, 3, bytes(40)) == 0
    assert kernel.i2c_smbus_write_i2c_block_data(client, 4, bytes(40)) == 0
    wanted = [b"\xff", b"\x01\xfe", b"\x02\x34\x12", b"\x03\x20" + bytes(32), b"\x04" + bytes(32)]
    assert wire.written == wanted
    assert kernel.i2c_smbus_read_byte(client) == 7
    assert len(kernel.i2c_smbus_read_i2c_block_data(client, 5, 40)) == 32


@pytest.mark.parametrize(
    ("functions", "length", "reads"),
    [
        (I2C_FUNC_SMBUS_READ_I2C_BLOCK, 40, [32]),
        (I2C_FUNC_SMBUS_READ_BYTE_DATA | I2C_FUNC_SMBUS_READ_WORD_DATA, 5, [2, 2, 1]),
        (I2C_FUNC_SMBUS_READ_BYTE_DATA | I2C_FUNC_SMBUS_READ_WORD_DATA, 40, [2] * 16),
        (I2C_FUNC_SMBUS_READ_BYTE_DATA, 3, [1, 1, 1]),
        (I2C_FUNC_SMBUS_READ_WORD_DATA, 2, None),
    ],
)
def test_a_block_is_read_by_the_best_that_the_adapter_can(functions, length, reads):
    kernel = ModelKernel(slaves=Bus({0x20: RegisterFile()}))
    adap = kernel.adapter("dmasafe")
    adap.algo.functionality = lambda _adap: functions
    client = kernel.client(adap, 0x20)
    found = kernel.smbus.i2c_smbus_read_i2c_block_data_or_emulated(client, 0xF0, length)
    trace = kernel.hardware["dmasafe"].trace
    if reads is None:
        assert found == -EOPNOTSUPP and trace == []
        return
    assert found == bytes((0xF0 + n) & 0xFF for n in range(min(length, 32)))
    assert [len(seen.data) for seen in trace if seen.read] == reads
    kernel.bus.slaves.clear()
    assert kernel.smbus.i2c_smbus_read_i2c_block_data_or_emulated(client, 0xF0, length) == -ENXIO


def test_a_word_of_zeros_is_not_a_failure():
    slave = RegisterFile()
    slave.registers[:4] = bytes(4)
    kernel = ModelKernel(slaves=Bus({0x20: slave}))
    adap = kernel.adapter("dmasafe")
    adap.algo.functionality = lambda _adap: I2C_FUNC_SMBUS_READ_BYTE_DATA | I2C_FUNC_SMBUS_READ_WORD_DATA
    assert kernel.smbus.i2c_smbus_read_i2c_block_data_or_emulated(kernel.client(adap, 0x20), 0, 3) == bytes(3)


def test_an_emulated_block_fails_with_its_last_byte():
    class Shy(Recorder):
        def read(self, length):
            return None if length == 1 else super().read(length)

    kernel = ModelKernel(slaves=Bus({0x30: Shy()}))
    adap = kernel.adapter("dmasafe")
    adap.algo.functionality = lambda _adap: I2C_FUNC_SMBUS_READ_BYTE_DATA | I2C_FUNC_SMBUS_READ_WORD_DATA
    assert kernel.smbus.i2c_smbus_read_i2c_block_data_or_emulated(kernel.client(adap, 0x30), 0, 3) == -ENXIO


def test_the_union_of_smbus_data_is_34_bytes_that_overlap():
    data = SmbusData(b"\x01\x02\x03")
    assert (len(data.block), data.byte, data.word) == (34, 1, 0x0201)
    data.byte = 0x1FF
    assert bytes(data.block[:3]) == b"\xff\x02\x03"
    data.word = 0x9_ABCD
    assert bytes(data.block[:3]) == b"\xcd\xab\x03" and data.word == 0xABCD
