# SPDX-License-Identifier: GPL-2.0-or-later
"""Code that knows nothing but smbus2 runs on the model's /dev/i2c-N: the suite of tests/smbus2, and what only a model
can show.
"""

import errno
import os

import pytest

from dmasafe.devices.bus import default_bus
from dmasafe.model import ModelKernel

smbus2 = pytest.importorskip("smbus2")

from tests.smbus2.model_system import run_on_model  # noqa: E402
from tests.smbus2.smbus2_suite.run import all_cases, case_name  # noqa: E402

ADAPTERS = ("dmasafe", "virtio")
CASES = [case_name(case) for case in all_cases(None)]


@pytest.fixture(scope="module")
def results():
    return {adapter: run_on_model(adapter) for adapter in ADAPTERS}


def test_the_suite_has_as_many_cases_as_it_claims():
    assert len(CASES) == len(set(CASES)) >= 170


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("case", CASES)
def test_on_the_model(results, adapter, case):
    result = results[adapter][case]
    assert result["passed"], result["why"]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_same_again(results, adapter):
    assert run_on_model(adapter) == results[adapter]


def test_kernels_differ_where_they_should(results):
    # Linux 5.10.223 still takes an empty block write (harness/dmasafe/model/smbus.py).
    old, new = run_on_model("dmasafe", version=(5, 10, 223)), results["dmasafe"]
    differ = {name for name, result in old.items() if result["saw"] != new[name]["saw"]}
    assert differ == {
        "calls.BlockData.test_no_bytes_are_refused",
        "calls.BlockProcessCall.test_no_bytes_are_refused",
        "calls.I2cBlockData.test_reading_no_bytes_is_refused",
        "calls.I2cBlockData.test_writing_no_bytes_is_refused",
    }
    assert all("EINVAL" in new[name]["saw"][-1] and "EINVAL" not in old[name]["saw"][-1] for name in differ)


# What only the model can tell.


@pytest.fixture
def kernel():
    kernel = ModelKernel(slaves=default_bus())
    kernel.adapter("dmasafe")
    with kernel.installed():
        yield kernel


def test_the_kernels_view_of_it(kernel):
    kernel.adapter("dmasafe", "trusting")
    with smbus2.SMBus(0) as bus, pytest.raises(OSError) as failed:
        bus.write_byte_data(0x20, 0x10, 1)
    assert failed.value.errno == errno.EIO
    assert "rejecting DMA map of vmalloc memory" in kernel.dmesg()


def test_a_stretched_clock_costs_jiffies(kernel):
    before = kernel.i2c.jiffies
    with smbus2.SMBus(0) as bus:
        bus.write_byte(0x68, 0)
    assert kernel.i2c.jiffies - before == 20


def test_the_hardware_refuses_what_is_no_seven_bit_address(kernel):
    with smbus2.SMBus(0) as bus, pytest.raises(OSError):
        bus.i2c_rdwr(smbus2.i2c_msg.read(0x120, 1))
    assert "no 7-bit address" in kernel.hardware["dmasafe"].trace[-1].why


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
