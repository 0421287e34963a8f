# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits, flags and errnos of the I2C core, i2c-dev, the controllers and the emulated hardware, as rows."""

from errno import EAGAIN, EBUSY, EINVAL, EIO, ENXIO, EOPNOTSUPP, EPROTO, ESHUTDOWN, ETIMEDOUT

import pytest

from dmasafe import quirks
from dmasafe.devices.bus import Bus, default_bus
from dmasafe.devices.slaves.recorder import Recorder
from dmasafe.devices.slaves.slow import SlowSlave
from dmasafe.model import Config, ModelError, ModelKernel, TaskHung, i2c
from dmasafe.model.bus import SlaveBus
from dmasafe.model.hardware import Hardware
from dmasafe.model.i2c import (
    I2C_CLIENT_TEN,
    I2C_FUNC_I2C,
    I2C_FUNC_SMBUS_BLOCK_PROC_CALL,
    I2C_FUNC_SMBUS_EMUL,
    I2C_FUNC_SMBUS_READ_BLOCK_DATA,
    I2C_M_DMA_SAFE,
    I2C_M_RD,
    I2C_M_RECV_LEN,
    I2C_M_TEN,
    I2cAdapter,
    I2cMsg,
    SmbusData,
    i2c_8bit_addr_from_msg,
)
from dmasafe.model.i2cdev import I2C_TIMEOUT, INT_MAX, I2cDevFile, UserMsg
from dmasafe.model.smbus import I2C_SMBUS_PROC_CALL, I2C_SMBUS_READ, I2C_SMBUS_WRITE
from dmasafe.quirks import (
    I2C_AQ_COMB,
    I2C_AQ_COMB_READ_SECOND,
    I2C_AQ_COMB_SAME_ADDR,
    I2C_AQ_COMB_WRITE_FIRST,
    I2C_AQ_COMB_WRITE_THEN_READ,
    I2C_AQ_NO_ZERO_LEN_READ,
    I2C_AQ_NO_ZERO_LEN_WRITE,
    I2cAdapterQuirks,
)

RD, SAFE = I2C_M_RD, I2C_M_DMA_SAFE
W, R = 0, RD


def boot(controller="dmasafe", policy=None, threshold=None, config=None, **slaves):
    kernel = ModelKernel(config, Bus({0x30: Recorder(), **{int(key[1:], 16): slave for key, slave in slaves.items()}}))
    return kernel, kernel.adapter(controller, policy, threshold)


def trace(kernel, controller="dmasafe"):
    return kernel.hardware[controller].trace


def test_constants_that_no_header_of_user_space_has():
    """include/linux/i2c.h, include/linux/errno.h."""
    wanted = {
        "I2C_AQ_COMB": 1,
        "I2C_AQ_COMB_WRITE_FIRST": 2,
        "I2C_AQ_COMB_READ_SECOND": 4,
        "I2C_AQ_COMB_SAME_ADDR": 8,
        "I2C_AQ_COMB_WRITE_THEN_READ": 15,
        "I2C_AQ_NO_CLK_STRETCH": 16,
        "I2C_AQ_NO_ZERO_LEN_READ": 32,
        "I2C_AQ_NO_ZERO_LEN_WRITE": 64,
        "I2C_AQ_NO_ZERO_LEN": 96,
        "I2C_AQ_NO_REP_START": 128,
        "I2C_CLIENT_PEC": 0x04,
        "I2C_CLIENT_TEN": 0x10,
        "I2C_CLIENT_SCCB": 0x9000,
        "ENOTSUPP": 524,
        "I2C_FUNC_SMBUS_BYTE": 0x60000,
        "I2C_FUNC_SMBUS_BYTE_DATA": 0x180000,
        "I2C_FUNC_SMBUS_WORD_DATA": 0x600000,
        "I2C_FUNC_SMBUS_BLOCK_DATA": 0x3000000,
        "I2C_FUNC_SMBUS_I2C_BLOCK": 0xC000000,
    }
    assert {name: getattr(quirks if "_AQ_" in name else i2c, name) for name in wanted} == wanted


def test_a_message_is_shown_as_what_it_is():
    assert repr(I2cMsg(0x30, 0x200, 8, 0x1000)) == "I2cMsg(addr=0x30, flags=0x0200, len=8, buf=0x1000)"


@pytest.mark.parametrize(
    ("addr", "flags", "octet"), [(0x30, 0, 0x60), (0x30, RD, 0x61), (0x30, 0xFFFE, 0x60), (0xFF, 1, 0xFF)]
)
def test_an_address_octet_ends_in_the_direction(addr, flags, octet):
    assert i2c_8bit_addr_from_msg(I2cMsg(addr, flags, 0, 0)) == octet


# i2c_check_for_quirks(). Rows: the adapter's limits, messages as (flags, length[, address]), what it says or None.

WTR = I2C_AQ_COMB_WRITE_THEN_READ
QUIRKS = [
    ({}, [(W, 65535)] * 9, None),
    ({"max_num_msgs": 2}, [(W, 1)] * 2, None),
    ({"max_num_msgs": 2}, [(W, 1), (W, 2), (W, 2)], "too many messages (addr 0x0030, size 1, write)"),
    ({"max_write_len": 3}, [(W, 3), (R, 4)], None),
    ({"max_write_len": 3}, [(W, 3), (W, 4)], "msg too long (addr 0x0030, size 4, write)"),
    ({"max_read_len": 3}, [(R, 3), (W, 4)], None),
    ({"max_read_len": 3}, [(R, 4, 0x31)], "msg too long (addr 0x0031, size 4, read)"),
    ({"flags": I2C_AQ_NO_ZERO_LEN_READ}, [(W, 0), (R, 1)], None),
    ({"flags": I2C_AQ_NO_ZERO_LEN_READ}, [(R, 0)], "no zero length (addr 0x0030, size 0, read)"),
    ({"flags": I2C_AQ_NO_ZERO_LEN_WRITE}, [(R, 0), (W, 1)], None),
    ({"flags": I2C_AQ_NO_ZERO_LEN_WRITE}, [(W, 0)], "no zero length (addr 0x0030, size 0, write)"),
    ({"flags": I2C_AQ_COMB}, [(W, 1)], None),
    ({"flags": I2C_AQ_COMB}, [(R, 1), (W, 1, 0x31)], None),
    ({"flags": I2C_AQ_COMB}, [(R, 1)] * 3, "too many messages (addr 0x0030, size 1, read)"),
    ({"flags": I2C_AQ_COMB, "max_num_msgs": 9}, [(R, 1)] * 3, "too many messages (addr 0x0030, size 1, read)"),
    (
        {"flags": I2C_AQ_COMB_WRITE_FIRST | I2C_AQ_COMB_READ_SECOND | I2C_AQ_COMB_SAME_ADDR},
        [(R, 1), (W, 1, 0x31)],
        None,
    ),
    ({"flags": I2C_AQ_COMB | I2C_AQ_COMB_WRITE_FIRST}, [(W, 1), (W, 1, 0x31)], None),
    (
        {"flags": I2C_AQ_COMB | I2C_AQ_COMB_WRITE_FIRST},
        [(R, 1), (R, 2)],
        "1st comb msg must be write (addr 0x0030, size 1",
    ),
    ({"flags": I2C_AQ_COMB | I2C_AQ_COMB_READ_SECOND}, [(R, 1), (R, 1, 0x31)], None),
    (
        {"flags": I2C_AQ_COMB | I2C_AQ_COMB_READ_SECOND},
        [(W, 1), (W, 2)],
        "2nd comb msg must be read (addr 0x0030, size 2",
    ),
    ({"flags": I2C_AQ_COMB | I2C_AQ_COMB_SAME_ADDR}, [(R, 1), (W, 1)], None),
    (
        {"flags": I2C_AQ_COMB | I2C_AQ_COMB_SAME_ADDR},
        [(W, 1), (W, 2, 0x31)],
        "comb msg only to same addr (addr 0x0030, size 1",
    ),
    ({"flags": WTR, "max_comb_1st_msg_len": 2}, [(W, 2), (R, 3)], None),
    ({"flags": WTR, "max_comb_1st_msg_len": 2}, [(W, 3), (R, 3)], "msg too long (addr 0x0030, size 3, write)"),
    ({"flags": WTR, "max_comb_2nd_msg_len": 2}, [(W, 3), (R, 2)], None),
    ({"flags": WTR, "max_comb_2nd_msg_len": 2}, [(W, 3), (R, 3)], "msg too long (addr 0x0030, size 3, read)"),
    ({"flags": WTR, "max_comb_1st_msg_len": 1, "max_write_len": 2}, [(W, 2)], None),
    ({"flags": WTR, "max_write_len": 1, "max_read_len": 1}, [(W, 2), (R, 2)], None),
    ({"flags": WTR, "max_write_len": 1}, [(W, 2)], "msg too long (addr 0x0030, size 2, write)"),
    ({"flags": WTR | I2C_AQ_NO_ZERO_LEN_READ}, [(W, 0), (R, 0)], "no zero length (addr 0x0030, size 0, read)"),
]


@pytest.mark.parametrize(("quirks", "msgs", "said"), QUIRKS)
def test_an_adapters_limits(quirks, msgs, said):
    kernel = ModelKernel()
    adap = I2cAdapter(2, "limited", None, I2cAdapterQuirks(**quirks))
    made = [I2cMsg((*row, 0x30)[2], row[0], row[1], 0) for row in msgs]
    assert kernel.i2c.i2c_check_for_quirks(adap, made, adap.quirks) is (said is not None)
    assert kernel.log.entries == [] if said is None else f"i2c i2c-2: adapter quirk: {said}" in kernel.dmesg()


class Arbitrator:
    native_smbus = False

    def __init__(self, kernel, losses, jiffies):
        self.kernel, self.losses, self.jiffies, self.calls = kernel, losses, jiffies, 0

    def functionality(self, adap):
        return 0

    def master_xfer(self, adap, msgs):
        self.calls += 1
        self.kernel.i2c.jiffies += self.jiffies
        return -EAGAIN if self.calls <= self.losses else len(msgs)


@pytest.mark.parametrize(
    ("losses", "retries", "jiffies", "ret", "calls"),
    [(1, 1, 0, 1, 2), (2, 1, 0, -EAGAIN, 2), (9, 9, 500, -EAGAIN, 3), (9, 9, 501, -EAGAIN, 2), (2, 9, 500, 1, 3)],
)
def test_a_retry_may_begin_at_the_last_jiffy_of_the_timeout(losses, retries, jiffies, ret, calls):
    kernel = ModelKernel()
    kernel.i2c.jiffies = 5000
    algo = Arbitrator(kernel, losses, jiffies)
    adap = I2cAdapter(7, "arbitrator", algo, timeout=1000, retries=retries)
    assert kernel.i2c_transfer(adap, [I2cMsg(0x30, 0, 0, 0)]) == ret and algo.calls == calls


def test_an_adapter_is_patient_for_a_second_and_tries_once():
    adap = I2cAdapter(1, "new", None)
    assert (adap.timeout, adap.retries, adap.locked, adap.suspended, adap.quirks) == (1000, 0, False, False, None)


def test_suspended_adapters_warn_once_each():
    kernel, adap = boot()
    other = I2cAdapter(9, "other", Arbitrator(kernel, 0, 0))
    for one in (adap, other, adap):
        one.suspended = True
        assert kernel.i2c_transfer(one, [I2cMsg(0x30, 0, 0, 0)]) == -ESHUTDOWN and not one.locked
    reports = kernel.log.reports()
    assert [report.device for report in reports] == ["i2c-0", "i2c-9"]
    assert "i2c i2c-9: Transfer while suspended" in kernel.dmesg()


def test_a_locked_bus_is_waited_for_and_a_transfer_unlocks_it():
    kernel, adap = boot()
    kernel.i2c.i2c_lock_bus(adap)
    with pytest.raises(TaskHung, match="i2c-0"):
        kernel.i2c.i2c_lock_bus(adap)
    kernel.i2c.i2c_unlock_bus(adap)
    assert kernel.i2c_transfer(adap, [I2cMsg(0x77, 0, 0, 0)]) == -ENXIO and not adap.locked


def test_a_client_adds_its_ten_bit_flag_and_nothing_else():
    kernel, adap = boot()
    kernel.i2c.trace = []
    client = kernel.client(adap, 0x30, 0xFFFF)
    assert kernel.i2c_master_recv_dmasafe(client, kernel.kmalloc(8), 8) == -EOPNOTSUPP
    assert kernel.i2c.trace[0][:2] == (RD | SAFE | I2C_M_TEN, 8)
    assert I2C_CLIENT_TEN == I2C_M_TEN
    client.flags = 0
    for call, flags in (
        (kernel.i2c_master_send, 0),
        (kernel.i2c_master_recv, RD),
        (kernel.i2c_master_send_dmasafe, SAFE),
        (kernel.i2c_master_recv_dmasafe, RD | SAFE),
    ):
        buf = kernel.kmalloc(8)
        assert call(client, buf, 3) == 3 and kernel.i2c.trace[-1] == (flags, 3, buf)


@pytest.mark.parametrize(
    ("length", "threshold", "own"),
    [(4, 4, True), (3, 4, None), (1, 0, True), (0, 0, None), (1, 1, True)],
)
@pytest.mark.parametrize("flags", [0, RD, SAFE, SAFE | RD])
def test_a_bounce_buffer_is_for_unmarked_messages_from_the_threshold_on(length, threshold, own, flags):
    kernel, _adap = boot()
    msg = I2cMsg(0x30, flags, length, kernel.memdup_user(b"abcd"))
    got = kernel.i2c_get_dma_safe_msg_buf(msg, threshold)
    if own is None:
        assert got is None and "shorter than the threshold" in kernel.why()
        return
    assert (got == msg.buf) is bool(flags & SAFE)
    assert ("not marked" in kernel.why()) is not bool(flags & SAFE)
    assert kernel.load(got, length) == (bytes(length) if flags == RD else b"abcd"[:length])


@pytest.mark.parametrize(("flags", "xferred", "copied"), [(0, True, False), (RD, True, True), (RD, False, False)])
def test_only_what_was_read_is_copied_back_and_only_its_length(flags, xferred, copied):
    kernel, _adap = boot()
    msg = I2cMsg(0x30, flags, 3, kernel.memdup_user(b"abcd"))
    bounce = kernel.memdup_user(b"wxyz")
    kernel.i2c_put_dma_safe_msg_buf(bounce, msg, xferred)
    assert kernel.load(msg.buf, 4) == (b"wxyd" if copied else b"abcd")
    assert bounce not in kernel.allocators.allocated and msg.buf in kernel.allocators.allocated


# i2c-dev.


def test_what_rdwr_copied_can_be_looked_at_before_it_is_freed():
    kernel, adap = boot()
    file, seen = I2cDevFile(kernel, adap), []
    file.copied = lambda msgs: seen.extend((m.flags, m.len, m.buf in kernel.allocators.allocated) for m in msgs)
    assert file.rdwr([UserMsg(0x30, 0, b"ab"), UserMsg(0x30, RD, 3)]) == 2
    assert seen == [(SAFE, 2, True), (RD | SAFE, 3, True)] and not kernel.allocators.allocated


def test_a_message_may_claim_more_than_its_buffer_and_is_read_up_to_its_claim():
    kernel, adap = boot()
    short, long = UserMsg(0x30, 0, b"ab", 4), UserMsg(0x30, RD, b"......", 4)
    assert I2cDevFile(kernel, adap).rdwr([short, long]) == 2
    assert trace(kernel)[0].data == b"ab\0\0" and bytes(short.data) == b"ab"
    assert bytes(long.data) == trace(kernel)[1].data + b".."


def test_files_read_and_write_up_to_8192_bytes():
    kernel, adap = boot()
    file = I2cDevFile(kernel, adap)
    file.client.addr = 0x30
    for count, moved in ((8191, 8191), (8192, 8192), (8193, 8192), (1, 1), (0, 0)):
        data = bytes(n * 7 & 0xFF for n in range(count))
        assert file.write(data) == moved and trace(kernel)[-1].data == data[:moved]
        assert file.read(count) == trace(kernel)[-1].data and len(trace(kernel)[-1].data) == moved
    assert not kernel.allocators.allocated


@pytest.mark.parametrize(
    ("address", "ten", "bound", "ret"),
    [
        (0x7F, False, False, 0),
        (0x80, False, False, -EINVAL),
        (0x80, True, False, 0),
        (0x3FF, True, False, 0),
        (0x400, True, False, -EINVAL),
        (0x400, False, False, -EINVAL),
        (0x30, False, True, -EBUSY),
    ],
)
def test_which_slave_addresses_a_file_may_have(address, ten, bound, ret):
    kernel, adap = boot()
    file = I2cDevFile(kernel, adap)
    assert file.tenbit(ten) == 0
    if bound:
        adap.bound.add(address)
    assert file.slave(address) == ret and file.client.addr == (0 if ret else address)
    assert file.slave(address, force=True) == (0 if bound else ret)


@pytest.mark.parametrize(("tens", "jiffies"), [(0, 0), (1, 10), (100, 1000), (214748364, 2147483640)])
def test_timeouts_are_given_in_units_of_ten_milliseconds(tens, jiffies):
    kernel, adap = boot()
    file = I2cDevFile(kernel, adap)
    assert file.ioctl(I2C_TIMEOUT, tens) == 0 and adap.timeout == jiffies
    assert file.ioctl(I2C_TIMEOUT, 214748365) == -EINVAL and adap.timeout == jiffies


def test_retries_are_an_int_and_process_calls_copy_both_ways_whatever_they_are_called():
    kernel = ModelKernel(slaves=default_bus())
    file = I2cDevFile(kernel, kernel.adapter("dmasafe"))
    assert (file.retries(INT_MAX), file.retries(INT_MAX + 1)) == (0, -EINVAL) and file.adapter.retries == INT_MAX
    file.client.addr = 0x40
    for way in (I2C_SMBUS_READ, I2C_SMBUS_WRITE):
        data = SmbusData(b"\x0f\xf0")
        assert file.smbus(way, 0x81, I2C_SMBUS_PROC_CALL, data) == 0 and bytes(data.block[:2]) == b"\xf0\x0f"


# The controllers' drivers.


def test_what_the_controllers_can():
    kernel, adap = boot()
    emulated = I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL
    assert kernel.adapter("virtio").algo.functionality(adap) == emulated
    more = I2C_FUNC_SMBUS_READ_BLOCK_DATA | I2C_FUNC_SMBUS_BLOCK_PROC_CALL
    assert adap.algo.functionality(adap) == emulated | more
    assert (adap.nr, adap.dev_name, kernel.adapter("virtio").nr, adap.quirks.max_read_len) == (0, "i2c-0", 1, 8192)
    # controller.h: the longest message and a block whose length the slave gives.
    fifo = range(adap.algo.fifo, adap.algo.fifo + 8192 + 32)
    assert kernel.dma_alloc_coherent(kernel.devices["dmasafe"], 8)[0] not in fifo
    assert kernel.adapter("virtio").quirks is None and adap.quirks.max_write_len == 8192


@pytest.mark.parametrize("flags", [0, RD])
@pytest.mark.parametrize(("controller", "ret"), [("virtio", 0), ("dmasafe", -EIO)])
def test_what_cannot_be_mapped_is_not_transferred_and_its_bounce_buffer_goes_back(controller, ret, flags):
    kernel, adap = boot(controller)
    kernel.devices[controller].dma_mask = 0xFFFF
    buf = kernel.memdup_user(b"kept")
    before = set(kernel.allocators.allocated)
    assert kernel.i2c_transfer(adap, [I2cMsg(0x30, flags, 4, buf)] * 2) == ret
    assert kernel.load(buf, 4) == b"kept" and set(kernel.allocators.allocated) == before
    assert trace(kernel, controller) == [] and not kernel.bus.slaves[0x30].messages


def test_a_message_that_the_queue_has_no_room_for_is_as_it_was():
    kernel, adap = boot("virtio")
    bufs = [kernel.memdup_user(b"kept") for _ in range(6)]
    before = set(kernel.allocators.allocated)
    assert kernel.i2c_transfer(adap, [I2cMsg(0x30, RD, 4, buf) for buf in bufs]) == 4
    assert [kernel.load(buf, 4) == b"kept" for buf in bufs] == [False] * 4 + [True] * 2
    assert set(kernel.allocators.allocated) == before and "queues 4 messages" in kernel.why()
    assert kernel.dma_debug.entries == 0
    # FAIL_NEXT is still set on the last that was queued; an empty message needs no memory.
    assert kernel.i2c_transfer(adap, [I2cMsg(0x30, 0, 0, 0)] * 5) == 4


def test_virtio_copies_nothing_back_from_the_first_failure_on():
    kernel, adap = boot("virtio")
    bufs = [kernel.memdup_user(b"kept") for _ in range(3)]
    msgs = [I2cMsg(addr, RD, 4, buf) for addr, buf in zip((0x30, 0x77, 0x30), bufs, strict=True)]
    assert kernel.i2c_transfer(adap, msgs) == 1
    assert [kernel.load(buf, 4) == b"kept" for buf in bufs] == [False, True, True]
    assert kernel.i2c_transfer(adap, msgs[:1]) == 1


@pytest.mark.parametrize(("stretch_ms", "ret"), [(20, 1), (21, -ETIMEDOUT)])
def test_a_transfer_may_take_the_whole_timeout(stretch_ms, ret):
    kernel, adap = boot(x68=SlowSlave(stretch_ms=stretch_ms))
    adap.timeout = 20
    assert kernel.i2c_transfer(adap, [I2cMsg(0x68, 0, 1, kernel.memdup_user(b"\0"))]) == ret
    assert kernel.i2c.jiffies == stretch_ms and kernel.hardware["dmasafe"].now_s == 0


def test_virtio_waits_without_a_limit():
    kernel = ModelKernel(slaves=Bus({0x68: SlowSlave(stretch_ms=50)}))
    adap = kernel.adapter("virtio")
    adap.timeout = 20
    assert kernel.i2c_transfer(adap, [I2cMsg(0x68, 0, 1, kernel.memdup_user(b"\0"))]) == 1
    assert kernel.i2c.jiffies == 50


class Blocks(Recorder):
    def __init__(self, count):
        super().__init__()
        self.count = count

    def read(self, length):
        return bytes((self.count,)) + bytes(range(1, length))


@pytest.mark.parametrize(("count", "ret"), [(0, -EPROTO), (1, 1), (32, 1), (33, -EPROTO)])
@pytest.mark.parametrize("policy", ["bounce", "flag-only", "trusting", "pio"])
@pytest.mark.parametrize("flags", [RD | I2C_M_RECV_LEN, RD | I2C_M_RECV_LEN | SAFE])
def test_a_length_from_the_slave_is_added_up_to_32(count, ret, policy, flags):
    kernel, adap = boot("dmasafe", policy, x31=Blocks(count))
    buf = kernel.memdup_user(b"." * 33 + b"kept")
    before = set(kernel.allocators.allocated)
    msg = I2cMsg(0x31, flags, 1, buf)
    assert kernel.i2c_transfer(adap, [msg]) == ret
    (seen,) = trace(kernel)
    assert seen.length == 33 and kernel.load(buf + 33, 4) == b"kept" and set(kernel.allocators.allocated) == before
    direct = policy == "trusting" or (policy != "pio" and bool(flags & SAFE))
    # The helpers' bounce buffer would have one byte: without the mark it goes through the FIFO.
    assert seen.dma == (kernel.memory.translate(buf) if direct else adap.algo.fifo_dma)
    if ret == 1:
        assert msg.len == 1 + count and kernel.load(buf, msg.len) == bytes((count, *range(1, count + 1)))
    else:
        assert msg.len == 1


@pytest.mark.parametrize("policy", ["bounce", "pio"])
def test_a_failed_read_leaves_the_callers_buffer_alone(policy):
    kernel, adap = boot("dmasafe", policy)
    buf = kernel.memdup_user(b"kept")
    assert kernel.i2c_transfer(adap, [I2cMsg(0x77, RD, 4, buf)]) == -ENXIO and kernel.load(buf, 4) == b"kept"


def test_a_policy_and_a_threshold_are_settings_of_the_one_controller_that_has_them():
    kernel, adap = boot("dmasafe", "flag-only", 5)
    assert (adap.algo.policy, adap.algo.threshold) == ("flag-only", 5)
    kernel.adapter("dmasafe", threshold=7)
    kernel.adapter("dmasafe", policy="bounce")
    assert (adap.algo.policy, adap.algo.threshold) == ("bounce", 7)
    for settings in ({"policy": "bounce"}, {"threshold": 1}):
        with pytest.raises(ModelError, match="virtio has no policy"):
            kernel.adapter("virtio", **settings)
    with pytest.raises(ModelError, match="'fast'"):
        kernel.adapter("dmasafe", "fast")
    assert adap.algo.policy == "bounce"


@pytest.mark.parametrize("controller", ["virtio", "dmasafe"])
def test_the_address_field_has_sixteen_bits_of_which_the_hardware_takes_seven(controller):
    kernel, adap = boot(controller)
    assert kernel.i2c_transfer(adap, [I2cMsg(0x8030, 0, 0, 0)]) == 1
    for address, field in ((0x80, "0x0100"), (0xB0, "0x0160"), (0x7FFF, "0xfffe")):
        assert kernel.i2c_transfer(adap, [I2cMsg(address, 0, 0, 0)]) <= 0
        assert trace(kernel, controller)[-1].why == f"the address field {field} is no 7-bit address"
    assert kernel.i2c_transfer(adap, [I2cMsg(0x7F, 0, 0, 0)]) <= 0
    assert trace(kernel, controller)[-1].why == "nobody acknowledged the address"
    assert len(kernel.bus.slaves[0x30].messages) == 1


# The emulated hardware.


class Probe:
    """A bus that notes what it is told; messages to address 0 are not acknowledged."""

    def __init__(self):
        self.told = []

    def transfer(self, address, read, payload, last=True):
        from dmasafe.model.bus import Fate

        self.told.append((address, read, payload, last))
        return Fate("" if address else "nobody", b"\x5a" * payload if read else payload, 0.5)

    def stop(self):
        self.told.append("stop")


def test_a_stray_payload_fails_before_the_bus_and_fails_the_rest_of_its_group():
    memory = ModelKernel(Config(memory_bytes=256 << 20)).memory
    bus = Probe()
    hardware = Hardware(memory, bus)
    assert not hardware.request(5, False, 1 << 40, 4, last=False)
    assert not hardware.request(5, True, 0x1000, 4, last=False)
    assert not hardware.request(5, True, 1 << 40, 4, last=True)
    assert bus.told == ["stop"] and hardware.now_s == 0
    strays = [(seen.stray, seen.why.split(" at ")[0]) for seen in hardware.trace]
    assert strays == [
        (True, "stray DMA: 4 bytes"),
        (False, "an earlier message of the group failed"),
        (True, "stray DMA: 4 bytes"),
    ]
    assert hardware.request(5, True, 0x1000, 4, last=True) and memory.ram_read(0x1000, 4) == b"\x5a" * 4
    assert hardware.request(5, False, 0x1000, 2, last=True) and hardware.request(5, False, None, 0, last=True)
    assert bus.told[1:] == [(5, True, 4, True), (5, False, b"\x5a\x5a", True), (5, False, b"", True)]
    assert hardware.now_s == 1.5 and [seen.length for seen in hardware.trace[3:]] == [4, 2, 0]


def test_a_group_ends_with_its_last_message_or_by_force():
    hardware = Hardware(ModelKernel().memory, bus := Probe())
    assert not hardware.request(0, False, None, 0, last=False) and not hardware.request(5, False, None, 0, last=False)
    hardware.end_group()
    assert bus.told == [(0, False, b"", False), "stop", "stop"]
    assert hardware.request(5, False, None, 0, last=False) and bus.told[-1] == (5, False, b"", False)
    assert not hardware.request(0, True, 0x1000, 1, last=True) and bus.told[-1] == "stop"
    assert hardware.request(5, False, None, 0, last=True)
    assert not hardware.request(0, False, None, 0, last=False)
    bus.told.clear()
    hardware.reset()
    assert (hardware.trace, hardware.now_s, bus.told) == ([], 0.0, ["stop"])
    assert hardware.request(5, False, None, 0, last=True)


def test_a_refused_message_stops_the_transaction_and_the_next_begins_one():
    class Slave(Recorder):
        stops = 0

        def stop(self):
            self.stops += 1

    first, second = Slave(), Slave()
    bus = SlaveBus({1: first, 2: second})
    bus.transfer(1, False, b"a", last=False)
    bus.transfer(1, True, 1, last=False)
    assert first.stops == 0
    bus.transfer(2, False, b"b", last=False)
    assert (first.stops, second.stops) == (1, 0)
    bus.transfer(3, False, b"c", last=False)
    assert (first.stops, second.stops) == (1, 1)
    bus.stop()
    bus.transfer(2, True, 1)
    assert (first.stops, second.stops) == (1, 2)
