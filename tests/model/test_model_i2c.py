# SPDX-License-Identifier: GPL-2.0-or-later
from errno import EAGAIN, EBADMSG, EINVAL, EIO, ENXIO, EOPNOTSUPP, EPROTO, ESHUTDOWN, ETIMEDOUT

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmasafe.devices.bus import Bus, default_bus
from dmasafe.devices.slaves.recorder import Recorder
from dmasafe.devices.slaves.slow import SlowSlave
from dmasafe.devices.slaves.smbus_block import crc8
from dmasafe.model import Config, KernelDied, ModelError, ModelKernel, TaskHung
from dmasafe.model.controllers import NoSmbus
from dmasafe.model.i2c import (
    I2C_CLIENT_PEC,
    I2C_FUNC_I2C,
    I2C_FUNC_SMBUS_EMUL,
    I2C_M_DMA_SAFE,
    I2C_M_RD,
    I2C_M_TEN,
    I2cAdapter,
    I2cMsg,
    SmbusData,
)
from dmasafe.model.smbus import (
    I2C_SMBUS_BLOCK_DATA,
    I2C_SMBUS_BLOCK_PROC_CALL,
    I2C_SMBUS_BYTE_DATA,
    I2C_SMBUS_PROC_CALL,
    I2C_SMBUS_QUICK,
    I2C_SMBUS_READ,
    I2C_SMBUS_WRITE,
    i2c_smbus_pec,
)
from dmasafe.quirks import I2C_AQ_COMB_WRITE_THEN_READ, I2C_AQ_NO_ZERO_LEN, I2cAdapterQuirks

CONTROLLERS = [("dmasafe", policy) for policy in ("bounce", "flag-only", "trusting", "pio")] + [("virtio", None)]


def boot(controller="dmasafe", policy=None, config=None, bus=None, **slaves):
    kernel = ModelKernel(config, bus or default_bus())
    return kernel, kernel.adapter(controller, policy)


def buffer(kernel, data):
    return kernel.memdup_user(data)


@pytest.mark.parametrize(("controller", "policy"), CONTROLLERS)
def test_what_is_sent_arrives_and_what_is_read_comes_back(controller, policy):
    kernel, adap = boot(controller, policy)
    client = kernel.client(adap, 0x30)
    recorder = kernel.bus.slaves[0x30]
    for send, recv in (
        (kernel.i2c_master_send, kernel.i2c_master_recv),
        (kernel.i2c_master_send_dmasafe, kernel.i2c_master_recv_dmasafe),
    ):
        buf = buffer(kernel, b"outgoing")
        assert send(client, buf, 8) == 8
        assert recorder.messages[-1] == (False, b"outgoing")
        assert recv(client, buf, 8) == 8
        assert recorder.messages[-1] == (True, kernel.load(buf, 8))
    assert kernel.log.entries == []


@pytest.mark.parametrize(
    ("policy", "marked", "threshold", "direct"),
    [
        ("bounce", True, 1, True),
        ("bounce", False, 1, False),
        ("bounce", True, 9, False),
        ("flag-only", True, 1, True),
        ("flag-only", False, 1, False),
        ("flag-only", True, 9, False),
        ("trusting", False, 9, True),
        ("pio", True, 1, False),
    ],
)
def test_each_policy_sends_the_buffer_its_own_way(policy, marked, threshold, direct):
    kernel, adap = boot()
    kernel.adapter("dmasafe", policy, threshold)
    buf = buffer(kernel, b"12345678")
    kernel.i2c_transfer(adap, [I2cMsg(0x30, I2C_M_DMA_SAFE if marked else 0, 8, buf)])
    (seen,) = kernel.hardware["dmasafe"].trace
    assert (seen.dma == kernel.memory.translate(buf)) is direct


def test_the_helpers_own_the_bounce_buffer():
    kernel, _adap = boot()
    for flags, same in ((I2C_M_RD, False), (I2C_M_RD | I2C_M_DMA_SAFE, True)):
        msg = I2cMsg(0x30, flags, 4, buffer(kernel, b"old!"))
        buf = kernel.i2c_get_dma_safe_msg_buf(msg, 1)
        assert (buf == msg.buf) is same
        kernel.store(buf, b"new!")
        kernel.i2c_put_dma_safe_msg_buf(buf, msg, False)
        assert kernel.load(msg.buf, 4) == (b"new!" if same else b"old!")
    for msg, threshold in ((I2cMsg(0x30, 0, 4, 0), 5), (I2cMsg(0x30, 0, 0, 0), 0)):
        assert kernel.i2c_get_dma_safe_msg_buf(msg, threshold) is None
        kernel.i2c_put_dma_safe_msg_buf(None, msg, True)


def test_the_old_release_copies_what_was_read_whatever_happened():
    kernel, _adap = boot()
    msg = I2cMsg(0x30, I2C_M_RD, 4, buffer(kernel, b"old!"))
    buf = kernel.i2c_get_dma_safe_msg_buf(msg, 1)
    kernel.store(buf, b"new!")
    kernel.i2c_release_dma_safe_msg_buf(msg, buf)
    assert kernel.load(msg.buf, 4) == b"new!" and buf not in kernel.allocators.allocated


def test_a_bounced_write_is_a_copy_and_is_freed():
    kernel, adap = boot(policy="bounce")
    before = len(kernel.allocators.allocated)
    buf = buffer(kernel, b"12345678")
    kernel.i2c_master_send(kernel.client(adap, 0x30), buf, 8)
    kernel.i2c_master_recv(kernel.client(adap, 0x30), buf, 8)
    assert len(kernel.allocators.allocated) == before + 1


@pytest.mark.parametrize(("controller", "ret"), [("dmasafe", -ENXIO), ("virtio", 0)])
def test_nobody_there_is_an_errno_or_for_virtio_no_message_done(controller, ret):
    kernel, adap = boot(controller)
    assert kernel.i2c_transfer(adap, [I2cMsg(0x77, 0, 1, buffer(kernel, b"x"))]) == ret


def test_virtio_says_how_many_messages_were_done():
    kernel, adap = boot("virtio")
    msgs = [I2cMsg(addr, 0, 1, buffer(kernel, b"x")) for addr in (0x30, 0x30, 0x77, 0x30)]
    assert kernel.i2c_transfer(adap, msgs) == 2
    assert [seen.why for seen in kernel.hardware["virtio"].trace][3] == "an earlier message of the group failed"
    assert kernel.i2c_transfer(adap, msgs[:1]) == 1


@pytest.mark.parametrize(("entries", "sent"), [(4, 4), (64, 6)])
def test_virtio_queues_as_many_messages_as_its_queue_is_long_and_drops_the_rest(entries, sent):
    kernel, adap = boot("virtio", config=Config(queue_entries=entries))
    assert kernel.i2c_transfer(adap, [I2cMsg(0x30, 0, 1, buffer(kernel, b"x")) for _ in range(6)]) == sent
    assert len(kernel.hardware["virtio"].trace) == sent
    assert kernel.allocators.allocated.keys() >= set() and kernel.dma_debug.entries == 0


def test_a_failed_message_ends_a_transfer_of_the_dmasafe_controller_and_not_the_next():
    kernel, adap = boot()
    good, bad = (I2cMsg(addr, 0, 1, buffer(kernel, b"x")) for addr in (0x30, 0x77))
    assert kernel.i2c_transfer(adap, [bad, good]) == -ENXIO
    assert len(kernel.hardware["dmasafe"].trace) == 1
    assert kernel.i2c_transfer(adap, [good, good]) == 2


def test_ten_bit_addresses_are_refused_by_the_controller():
    kernel, adap = boot()
    assert kernel.i2c_master_send(kernel.client(adap, 0x130, I2C_M_TEN), buffer(kernel, b"x"), 1) == -EOPNOTSUPP


@pytest.mark.parametrize(
    ("quirks", "msgs", "text"),
    [
        ({"max_num_msgs": 1}, [(0, 1), (0, 1)], "too many messages"),
        ({"max_write_len": 2}, [(0, 3)], "msg too long"),
        ({"max_read_len": 2}, [(I2C_M_RD, 3)], "msg too long"),
        ({"flags": I2C_AQ_NO_ZERO_LEN}, [(0, 0)], "no zero length"),
        ({"flags": I2C_AQ_NO_ZERO_LEN}, [(I2C_M_RD, 0)], "no zero length"),
        ({"flags": I2C_AQ_COMB_WRITE_THEN_READ}, [(I2C_M_RD, 1), (I2C_M_RD, 1)], "1st comb msg must be write"),
        ({"flags": I2C_AQ_COMB_WRITE_THEN_READ}, [(0, 1), (0, 1)], "2nd comb msg must be read"),
        ({"flags": I2C_AQ_COMB_WRITE_THEN_READ}, [(0, 1), (I2C_M_RD, 1, 0x31)], "comb msg only to same addr"),
        ({"flags": I2C_AQ_COMB_WRITE_THEN_READ, "max_comb_1st_msg_len": 1}, [(0, 2), (I2C_M_RD, 1)], "msg too long"),
        ({"flags": I2C_AQ_COMB_WRITE_THEN_READ, "max_comb_2nd_msg_len": 1}, [(0, 1), (I2C_M_RD, 2)], "msg too long"),
        ({"flags": I2C_AQ_COMB_WRITE_THEN_READ}, [(0, 1)] * 3, "too many messages"),
    ],
)
def test_what_an_adapter_cannot_do_is_refused_before_it_is_asked(quirks, msgs, text):
    kernel, adap = boot()
    adap.quirks = I2cAdapterQuirks(**quirks)
    made = [I2cMsg(row[2] if len(row) > 2 else 0x30, row[0], row[1], buffer(kernel, b"abc")) for row in msgs]
    assert kernel.i2c_transfer(adap, made) == -EOPNOTSUPP
    assert f"adapter quirk: {text} (addr 0x00" in kernel.dmesg() and kernel.hardware["dmasafe"].trace == []


def test_the_two_lengths_of_a_combined_message_are_not_held_against_the_single_limits():
    kernel, adap = boot()
    adap.quirks = I2cAdapterQuirks(I2C_AQ_COMB_WRITE_THEN_READ, max_write_len=1, max_read_len=1)
    buf = buffer(kernel, b"abc")
    assert kernel.i2c_transfer(adap, [I2cMsg(0x30, 0, 3, buf), I2cMsg(0x30, I2C_M_RD, 3, buf)]) == 2
    assert kernel.i2c_transfer(adap, [I2cMsg(0x30, 0, 3, buf)]) == -EOPNOTSUPP


class Arbitrator(NoSmbus):
    """Loses arbitration so many times; every attempt takes ``jiffies``."""

    def __init__(self, kernel, losses, jiffies=0):
        self.kernel, self.losses, self.jiffies, self.calls = kernel, losses, jiffies, 0

    def functionality(self, adap):
        return I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL

    def master_xfer(self, adap, msgs):
        self.calls += 1
        self.kernel.i2c.jiffies += self.jiffies
        return -EAGAIN if self.calls <= self.losses else len(msgs)


@pytest.mark.parametrize(
    ("losses", "retries", "jiffies", "ret", "calls"),
    [(0, 3, 0, 1, 1), (2, 3, 0, 1, 3), (4, 3, 0, -EAGAIN, 4), (1, 0, 0, -EAGAIN, 1), (9, 9, 400, -EAGAIN, 3)],
)
def test_lost_arbitration_is_retried_within_the_timeout(losses, retries, jiffies, ret, calls):
    kernel = ModelKernel()
    algo = Arbitrator(kernel, losses, jiffies)
    adap = I2cAdapter(7, "arbitrator", algo, timeout=1000, retries=retries)
    assert kernel.i2c_transfer(adap, [I2cMsg(0x30, 0, 0, 0)]) == ret and algo.calls == calls


def test_a_slave_that_holds_the_clock_too_long_is_a_timeout():
    slow = SlowSlave(stretch_ms=30)
    kernel, adap = boot(bus=Bus({0x68: slow}))
    buf = buffer(kernel, b"\x00")
    assert kernel.i2c_master_send(kernel.client(adap, 0x68), buf, 1) == 1
    adap.timeout = 20
    assert kernel.i2c_master_send(kernel.client(adap, 0x68), buf, 1) == -ETIMEDOUT
    assert kernel.i2c.jiffies == 60


def test_a_suspended_adapter_warns_once_and_refuses():
    kernel, adap = boot()
    adap.suspended = True
    for _ in range(2):
        assert kernel.i2c_transfer(adap, [I2cMsg(0x30, 0, 0, 0)]) == -ESHUTDOWN
    assert len(kernel.log.reports()) == 1


def test_no_message_is_no_transfer():
    kernel, adap = boot()
    assert kernel.i2c_transfer(adap, []) == -EINVAL and kernel.log.reports()[0].splat_class == "other"


def test_a_count_beyond_16_bits_is_cut_and_reported_in_full():
    kernel, adap = boot()
    buf = kernel.kmalloc(8)
    assert kernel.i2c_master_send(kernel.client(adap, 0x30), buf, 0x10001) == 0x10001
    assert kernel.hardware["dmasafe"].trace[0].length == 1


def test_a_task_that_dies_leaves_the_bus_locked():
    kernel, adap = boot("virtio", config=Config().enable("DEBUG_SG"))
    with pytest.raises(KernelDied, match=r"scatterlist\.h:187"):
        kernel.i2c_master_send_dmasafe(kernel.client(adap, 0x30), kernel.alloca(8), 8)
    assert adap.locked
    with pytest.raises(TaskHung, match="wait for ever"):
        kernel.i2c_master_send(kernel.client(adap, 0x30), kernel.kmalloc(8), 8)


def test_a_stray_transfer_fails_and_never_reaches_the_bus():
    kernel, adap = boot("virtio")
    assert kernel.i2c_master_send_dmasafe(kernel.client(adap, 0x30), kernel.alloca(8), 8) == 0
    (seen,) = kernel.hardware["virtio"].trace
    assert seen.stray and seen.data == b"" and not kernel.bus.slaves[0x30].messages


def test_unbinding_a_controller_shows_what_it_left_mapped():
    kernel, _adap = boot()
    kernel.unbind("dmasafe")
    # The FIFO is devres-managed in the real driver; here it is what dma-debug finds.
    assert [r.splat_class for r in kernel.log.reports()] == ["leak-on-release"]


def test_unknown_controllers_and_settings_are_named():
    kernel = ModelKernel()
    with pytest.raises(ModelError, match="'i801'"):
        kernel.adapter("i801")
    with pytest.raises(ModelError, match="virtio has no policy"):
        kernel.adapter("virtio", "bounce")
    with pytest.raises(ModelError, match="/dev/i2c-3"):
        kernel.open(3)


# SMBus.


@pytest.mark.parametrize(("controller", "policy"), [row for row in CONTROLLERS if row[1] != "trusting"])
def test_every_emulated_protocol_on_the_devices_own_slave(controller, policy):
    kernel, adap = boot(controller, policy)
    client = kernel.client(adap, 0x40)
    slave = kernel.bus.slaves[0x40]
    assert kernel.i2c_smbus_write_byte_data(client, 0x41, 0x5A) == 0 and slave.values[0x41] == b"\x5a"
    assert kernel.i2c_smbus_read_byte_data(client, 0x41) == 0x5A
    assert kernel.i2c_smbus_write_word_data(client, 0x81, 0x1234) == 0 and slave.values[0x81] == b"\x34\x12"
    assert kernel.i2c_smbus_read_word_data(client, 0x81) == 0x1234
    assert kernel.i2c_smbus_write_block_data(client, 0x01, b"block") == 0 and slave.values[0x01] == b"block"
    assert kernel.i2c_smbus_write_i2c_block_data(client, 0xC1, b"raw") == 0 and slave.values[0xC1] == b"raw"
    assert kernel.i2c_smbus_read_i2c_block_data(client, 0xC1, 3) == b"raw"
    assert kernel.i2c_smbus_write_byte(client, 0x41) == 0
    assert kernel.i2c_smbus_read_byte(client) == 0x41
    data = SmbusData()
    data.word = 0x00FF
    assert kernel.i2c_smbus_xfer(adap, 0x40, 0, I2C_SMBUS_WRITE, 0x81, I2C_SMBUS_PROC_CALL, data) == 0
    assert data.word == 0xFF00
    assert kernel.i2c_smbus_xfer(adap, 0x40, 0, I2C_SMBUS_WRITE, 0, I2C_SMBUS_QUICK, None) == 0


@pytest.mark.parametrize("policy", ["bounce", "flag-only", "pio"])
def test_blocks_whose_length_the_slave_gives(policy):
    kernel, adap = boot("dmasafe", policy)
    client = kernel.client(adap, 0x40)
    kernel.i2c_smbus_write_block_data(client, 0x02, bytes(range(1, 33)))
    assert kernel.i2c_smbus_read_block_data(client, 0x02) == bytes(range(1, 33))
    data = SmbusData(b"\x03abc")
    assert kernel.i2c_smbus_xfer(adap, 0x40, 0, I2C_SMBUS_WRITE, 0x02, I2C_SMBUS_BLOCK_PROC_CALL, data) == 0
    assert bytes(data.block[:4]) == b"\x03" + bytes(value ^ 0xFF for value in b"abc")


def test_virtio_reads_a_block_that_nobody_sent():
    kernel, adap = boot("virtio")
    client = kernel.client(adap, 0x40)
    kernel.i2c_smbus_write_block_data(client, 0x02, b"\x07\x08\x09")
    assert kernel.i2c_smbus_read_block_data(client, 0x02) == bytes(3)


@pytest.mark.parametrize("count", [0, 33])
def test_a_slave_that_gives_a_bad_length_is_a_protocol_error(count):
    class Liar(Recorder):
        def read(self, length):
            return bytes((count,)) * length

    kernel, adap = boot("dmasafe", "bounce", bus=Bus({0x30: Liar()}))
    assert kernel.i2c_smbus_read_block_data(kernel.client(adap, 0x30), 0) == -EPROTO
    adap.locked = False
    virtio = kernel.adapter("virtio")
    wanted = -EPROTO if count > 32 else b""
    assert kernel.i2c_smbus_read_block_data(kernel.client(virtio, 0x30), 0) == wanted


@pytest.mark.parametrize(("version", "length", "res"), [((6, 1), 0, 0), ((6, 12), 0, -EINVAL), ((6, 1), 33, -EINVAL)])
def test_block_lengths_are_checked(version, length, res):
    kernel, adap = boot(config=Config(version=version))
    data = SmbusData(bytes((length,)))
    before = len(kernel.allocators.allocated)
    assert kernel.i2c_smbus_xfer(adap, 0x40, 0, I2C_SMBUS_WRITE, 1, I2C_SMBUS_BLOCK_DATA, data) == res
    assert len(kernel.allocators.allocated) == before and not adap.locked


def test_packet_error_codes_are_sent_checked_and_hidden():
    kernel, adap = boot()
    client = kernel.client(adap, 0x40, I2C_CLIENT_PEC)
    slave = kernel.bus.slaves[0x40]
    assert kernel.i2c_smbus_write_byte_data(client, 0x41, 0x5A) == 0
    wire = kernel.hardware["dmasafe"].trace[-1].data
    assert wire == b"\x41\x5a" + bytes((crc8(b"\x80\x41\x5a"),))
    assert kernel.i2c_smbus_read_byte_data(client, 0x41) == 0x5A
    kernel.i2c_smbus_write_block_data(client, 0x02, b"checked")
    assert kernel.i2c_smbus_read_block_data(client, 0x02) == b"checked"
    genuine = slave.read
    slave.read = lambda length: genuine(length)[:-1] + b"\x00"
    assert kernel.i2c_smbus_read_word_data(client, 0x81) == -EBADMSG


@given(st.integers(0, 255), st.binary(max_size=40))
def test_the_kernels_crc_is_the_devices_crc(start, data):
    assert i2c_smbus_pec(0, data) == crc8(data)
    assert i2c_smbus_pec(i2c_smbus_pec(0, bytes((start,))), data) == crc8(bytes((start,)) + data)


def test_byte_and_word_messages_lie_on_the_stack_and_blocks_do_not():
    kernel, adap = boot("dmasafe", "trusting")
    client = kernel.client(adap, 0x40)
    pointer = kernel.task.stack_pointer
    assert kernel.i2c_smbus_write_byte_data(client, 0x41, 1) == -EIO
    assert [r.splat_class for r in kernel.log.reports()] == ["map-vmalloc-rejected"]
    assert kernel.i2c_smbus_write_block_data(client, 0x01, b"x") == 0
    assert kernel.task.stack_pointer == pointer


class Native(NoSmbus):
    """Knows byte data by itself and nothing else."""

    native_smbus = True

    def __init__(self):
        self.calls = 0

    def functionality(self, adap):
        return 0

    def master_xfer(self, adap, msgs):
        return len(msgs)

    def smbus_xfer(self, adap, addr, flags, read_write, command, size, data):
        self.calls += 1
        if size != I2C_SMBUS_BYTE_DATA:
            return -EOPNOTSUPP
        if self.calls == 1:
            return -EAGAIN
        data.byte = command
        return 0


def test_native_smbus_is_asked_first_and_retried_and_emulation_fills_in():
    kernel = ModelKernel()
    algo = Native()
    client = kernel.client(I2cAdapter(9, "native", algo, retries=1), 0x10)
    assert kernel.i2c_smbus_read_byte_data(client, 0x77) == 0x77 and algo.calls == 2
    assert kernel.i2c_smbus_write_word_data(client, 1, 2) == 0 and algo.calls == 3


def test_blocks_are_emulated_by_words_and_bytes_where_there_are_none():
    kernel, adap = boot()
    client = kernel.client(adap, 0x20)
    wanted = bytes(range(0x10, 0x15))
    assert kernel.smbus.i2c_smbus_read_i2c_block_data_or_emulated(client, 0x10, 5) == wanted
    without = I2C_FUNC_SMBUS_EMUL & ~0x0C000000
    adap.algo.functionality = lambda _adap: without
    assert kernel.smbus.i2c_smbus_read_i2c_block_data_or_emulated(client, 0x10, 5) == wanted
    assert [len(seen.data) for seen in kernel.hardware["dmasafe"].trace if seen.read] == [5, 2, 2, 1]


def test_an_unknown_transaction_is_refused():
    kernel, adap = boot()
    assert kernel.i2c_smbus_xfer(adap, 0x20, 0, I2C_SMBUS_READ, 0, 99, SmbusData()) == -EOPNOTSUPP
