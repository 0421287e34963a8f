# SPDX-License-Identifier: GPL-2.0-or-later
import pytest


class Thermometer:
    def write(self, data):
        return len(data)

    def read(self, length):
        return b"\x15\x80"[:length]


def test_the_fixed_driver_reads_the_temperature(dmasafe_bus, dmasafe_module, dmasafe_dmesg):
    dmasafe_bus.plug({0x48: Thermometer})
    assert dmasafe_module("fixed", device="thermo", address=0x48).read("temperature") == "21500"
    dmasafe_dmesg.assert_clean()


def test_the_buggy_driver_is_caught(dmasafe_bus, dmasafe_module, dmasafe_dmesg):
    dmasafe_bus.plug({0x48: Thermometer})
    with pytest.raises(OSError):
        dmasafe_module("buggy", device="thermo", address=0x48).read("temperature")
    dmasafe_dmesg.expect("map-vmalloc-rejected", "map-stack", function="thermo_measure")


def test_the_buffer_inside_a_struct_is_caught(dmasafe_bus, dmasafe_module):
    dmasafe_bus.plug({0x48: Thermometer})
    assert dmasafe_module("embedded", device="thermo", address=0x48).read("temperature") == "21500"
    dmasafe_bus.expect_finding("shared-line", function="thermo_measure")
