# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of other people's, which test_plugin_model.py copies away and runs."""

import pytest


class Chip:
    def __init__(self):
        self.seen = []

    def write(self, data):
        self.seen.append(data)
        return len(data)

    def read(self, length):
        return b"\x07" * length


class Dead(Chip):
    def read(self, length):
        raise ValueError("dead")


def client(kernel, address=0x48, adapter="dmasafe"):
    return kernel.client(kernel.adapter(adapter), address)


def send_stack(kernel, adapter="dmasafe"):
    return kernel.i2c_master_send_dmasafe(client(kernel, 0x30, adapter), kernel.alloca(8), 8)


def test_heap(dmasafe_bus, dmasafe_model, dmasafe_dmesg, dmasafe_target):
    chip = Chip()
    dmasafe_bus.plug({0x48: chip})
    buffer = dmasafe_model.memdup_user(b"hello")
    assert dmasafe_model.i2c_master_send_dmasafe(client(dmasafe_model), buffer, 5) == 5
    assert chip.seen == [b"hello"]
    (message,) = dmasafe_bus.messages
    assert (message.address, message.read, message.data, message.ok) == (0x48, False, b"hello", True)
    assert message.segments[0].length == 5
    assert not dmasafe_bus.strays
    assert dmasafe_dmesg.splats == []
    assert dmasafe_dmesg.text == ""
    dmasafe_dmesg.assert_clean()
    assert dmasafe_target.name == "model"
    assert dmasafe_target.facts.has("DMA_API_DEBUG")


class Busy(Chip):
    """Something happens in the kernel while the device has the buffer."""

    def __init__(self, kernel, beside):
        super().__init__()
        self.kernel, self.beside = kernel, beside

    def read(self, length):
        self.kernel.store(self.beside, b"!")
        return super().read(length)


def test_beside(dmasafe_bus, dmasafe_model):
    struct = dmasafe_model.memdup_user(bytes(64))
    dmasafe_bus.plug({0x48: Busy(dmasafe_model, struct)})
    assert dmasafe_model.i2c_master_recv_dmasafe(client(dmasafe_model), struct + 8, 8) == 8


def test_expected(dmasafe_model, dmasafe_dmesg):
    assert send_stack(dmasafe_model) == -5
    assert dmasafe_dmesg.expect("map-stack", "map-vmalloc-rejected").driver == "dmasafe_controller"
    dmasafe_dmesg.assert_clean()


def test_unexpected(dmasafe_model, dmasafe_dmesg):
    send_stack(dmasafe_model)
    dmasafe_dmesg.assert_clean()


def test_forgotten(dmasafe_model):
    send_stack(dmasafe_model)


def test_missing(dmasafe_model, dmasafe_dmesg):
    dmasafe_dmesg.expect("map-stack")


def test_blames_somebody_else(dmasafe_model, dmasafe_dmesg):
    send_stack(dmasafe_model)
    dmasafe_dmesg.expect("map-vmalloc-rejected", function="thermo_measure")


def test_no_such_class(dmasafe_model, dmasafe_dmesg):
    dmasafe_dmesg.expect("map-stacks")


def test_astray(dmasafe_model):
    # i2c-virtio maps pages without looking at the address.
    send_stack(dmasafe_model, "virtio")


def test_astray_as_expected(dmasafe_model, dmasafe_bus):
    send_stack(dmasafe_model, "virtio")
    assert dmasafe_bus.expect_stray() in dmasafe_bus.strays


def test_not_astray(dmasafe_bus):
    dmasafe_bus.expect_stray()


@pytest.mark.parametrize("time", [1, 2])
def test_fresh(dmasafe_model, dmasafe_bus, time):
    kernel = dmasafe_model
    assert dmasafe_bus.messages == []
    assert kernel.adapters == {}
    assert kernel.i2c_master_send(client(kernel, 0x30), kernel.memdup_user(b"x"), 1) == 1
    dmasafe_bus.plug({0x48: Chip})
    assert kernel.i2c_master_send(client(kernel, 0x30), kernel.memdup_user(b"x"), 1) == -6


def test_slave_raises(dmasafe_model, dmasafe_bus):
    dmasafe_bus.plug({0x48: Dead()})
    assert dmasafe_model.i2c_master_recv(client(dmasafe_model), dmasafe_model.kzalloc(4), 4) < 0


def test_errno_of_a_splat(dmasafe_model):
    if send_stack(dmasafe_model) < 0:
        raise OSError(5, "Input/output error")


def test_errno_of_a_slave(dmasafe_model, dmasafe_bus):
    dmasafe_bus.plug({0x48: Dead()})
    assert dmasafe_model.i2c_master_recv(client(dmasafe_model), dmasafe_model.kzalloc(4), 4) == 4


@pytest.fixture
def broken(dmasafe_model):
    assert send_stack(dmasafe_model) == 8


def test_setup(broken):
    raise AssertionError


def test_finding_without_an_audit(dmasafe_bus):
    assert dmasafe_bus.findings == ()
    dmasafe_bus.expect_finding("shared-line")


def test_no_slave(dmasafe_bus):
    dmasafe_bus.plug({0x48: object()})


def test_scenario(dmasafe_target):
    judged = dmasafe_target.run("stack/master_send_dmasafe/dmasafe:bounce/8")
    assert judged.outcome == "CAUGHT"
    assert judged.verdict == "PASS"
    assert judged.splats


def test_impossible_scenario(dmasafe_target):
    dmasafe_target.run("heap/master_send_dmasafe/dmasafe:bounce/32+fault=map-text-or-rodata")


def test_guest(dmasafe_guest):
    raise AssertionError


def test_module(dmasafe_module):
    raise AssertionError


def test_swallowed(dmasafe_model, dmasafe_dmesg):
    with pytest.raises(pytest.fail.Exception):
        dmasafe_dmesg.expect("map-stack")


@pytest.mark.xfail
def test_xfail(dmasafe_model, dmasafe_dmesg):
    send_stack(dmasafe_model)
    dmasafe_dmesg.assert_clean()


def test_without_the_log(dmasafe_bus):
    assert dmasafe_bus.messages == []
