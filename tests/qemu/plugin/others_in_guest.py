# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of other people's, which test_plugin.py copies away, beside docs/examples, and runs on one kernel in order."""

import errno
from functools import partial

import pytest
from test_thermo import Thermometer

from dmasafe.devices.slaves.eeprom import Eeprom


class Dead(Thermometer):
    def read(self, length):
        raise ValueError("dead")


def thermo(load, driver, **options):
    return load(driver, device="thermo", address=0x48, **options)


def test_files_modules_and_commands(dmasafe_guest, dmasafe_target):
    guest = dmasafe_guest
    assert guest.release == dmasafe_target.kernel.release == guest.read("/proc/sys/kernel/osrelease")
    assert {"dmasafe", "virtio"} <= set(guest.adapters)
    data = bytes(range(256)) * 400
    guest.upload(data, "/tmp/data")
    assert guest.read_bytes("/tmp/data") == data
    assert "data" in guest.listdir("/tmp")
    assert guest.run("wc -c < /tmp/data; exit 3").output.strip() == str(len(data))
    assert guest.run("exit 3").status == 3
    with pytest.raises(OSError) as refused:
        guest.write("/proc/no-such-file", "1")
    assert refused.value.errno == errno.ENOENT


def test_what_the_device_saw(dmasafe_bus, dmasafe_module, dmasafe_dmesg):
    chip, eeprom = Thermometer(), Eeprom.c02()
    eeprom.memory[0] = 0x7F
    dmasafe_bus.plug({0x48: chip, 0x50: eeprom, 0x51: partial(Eeprom, 256, 8, 1)})
    assert thermo(dmasafe_module, "fixed").read("temperature") == "21500"
    command, answer = dmasafe_bus.messages
    assert (command.address, command.read, command.data) == (0x48, False, b"\x00")
    assert (answer.read, answer.data, answer.ok) == (True, b"\x15\x80", True)
    assert len({message.segments[0].address for message in (command, answer)}) == 1, "the driver's own buffer, twice"
    dmasafe_bus.update()
    assert eeprom.memory[0] == 0x7F
    dmasafe_dmesg.assert_clean()


def test_scenario(dmasafe_target, dmasafe_dmesg):
    assert dmasafe_target.run("stack/master_send_dmasafe/dmasafe:bounce/8").outcome == "CAUGHT"
    dmasafe_dmesg.assert_clean()


def test_unexpected(dmasafe_bus, dmasafe_module):
    dmasafe_bus.plug({0x48: Thermometer})
    with pytest.raises(OSError):
        thermo(dmasafe_module, "buggy").read("temperature")


def test_astray(dmasafe_bus, dmasafe_module):
    dmasafe_bus.plug({0x48: Thermometer})
    thermo(dmasafe_module, "buggy", adapter="virtio").read("temperature")


def test_slave_raises(dmasafe_bus, dmasafe_module):
    dmasafe_bus.plug({0x48: Dead})
    with pytest.raises(OSError):
        thermo(dmasafe_module, "fixed").read("temperature")


def test_errno(dmasafe_bus, dmasafe_module):
    dmasafe_bus.plug({0x48: Thermometer})
    thermo(dmasafe_module, "buggy").read("temperature")


def test_slave_raises_and_the_driver_fails(dmasafe_bus, dmasafe_module):
    dmasafe_bus.plug({0x48: Dead})
    thermo(dmasafe_module, "fixed").read("temperature")


def test_embedded(dmasafe_bus, dmasafe_module, dmasafe_dmesg):
    dmasafe_bus.plug({0x48: Thermometer})
    assert thermo(dmasafe_module, "embedded").read("temperature") == "21500"
    dmasafe_dmesg.assert_clean()
    assert [finding.rule for finding in dmasafe_bus.findings] == ["shared-line"]


def test_wrong_buffers_of_scenarios(dmasafe_target, dmasafe_bus):
    dmasafe_target.run("struct-embedded/master_recv_dmasafe/dmasafe:bounce/8")
    assert not dmasafe_bus.findings


def test_another_finding(dmasafe_bus, dmasafe_module):
    dmasafe_bus.plug({0x48: Thermometer})
    thermo(dmasafe_module, "fixed").read("temperature")
    dmasafe_bus.expect_finding("flagged-unsafe")


def test_two_clients(dmasafe_bus, dmasafe_module):
    dmasafe_bus.plug({0x48: Thermometer, 0x49: Thermometer})
    module = thermo(dmasafe_module, "fixed")
    assert module.add_client(0x49).read("temperature") == module.read("temperature") == "21500"
    assert {message.address for message in dmasafe_bus.messages} == {0x48, 0x49}


def test_loaded_twice(dmasafe_module):
    dmasafe_module("fixed")
    dmasafe_module("fixed")


def test_a_module_that_needs_another(dmasafe_bus, dmasafe_module, dmasafe_guest):
    dmasafe_bus.plug({0x48: Thermometer})
    dmasafe_module("several", name="thermo_core", params='offset=500 label="two words"')
    assert dmasafe_guest.read("/sys/module/thermo_core/parameters/label") == "two words"
    assert dmasafe_module("several", name="thermo", address=0x48).read("temperature") == "22000"


def test_no_such_module(dmasafe_module):
    dmasafe_module("no-such-directory")


def test_does_not_compile(dmasafe_module):
    dmasafe_module("broken")


def test_nobody_takes_it(dmasafe_module):
    dmasafe_module("fixed", device="other", address=0x48)


def test_same_boot(dmasafe_guest):
    assert dmasafe_guest.run("cat /tmp/boot").status != 0
    dmasafe_guest.upload(b"first", "/tmp/boot")


def test_dma_debug_filtered(dmasafe_guest):
    assert dmasafe_guest.read("/tmp/boot") == "first"
    dmasafe_guest.write("/sys/kernel/debug/dma-api/driver_filter", "nobody")


@pytest.mark.xfail
def test_panic(dmasafe_guest):
    assert dmasafe_guest.run("cat /tmp/boot").status != 0, "a boot that cannot be trusted is not used again"
    with pytest.raises(BaseException, match="INCONCLUSIVE"):
        dmasafe_guest.write("/proc/sysrq-trigger", "c")


def test_after_the_panic(dmasafe_bus, dmasafe_module, dmasafe_dmesg):
    dmasafe_bus.plug({0x48: Thermometer})
    assert thermo(dmasafe_module, "fixed").read("temperature") == "21500"
    dmasafe_dmesg.assert_clean()
