# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of a controller's driver, on a controller in Python: docs/pci.md explains them. Copied anywhere, they run."""

import pytest
from demo_controller import DemoController

pytestmark = pytest.mark.dmasafe_pci(function=DemoController)


class Thermometer:
    def write(self, data):
        return len(data)

    def read(self, length):
        return b"\x15\x80"[:length]


def test_the_driver_keeps_what_it_promises(dmasafe_pci):
    driver = dmasafe_pci("fixed", policy="bounce")
    assert driver.failures("smoke") == {}
    assert driver.undeclared == []


def test_a_buffer_on_the_stack_is_bounced(dmasafe_pci):
    judgement = dmasafe_pci("fixed").run("stack/master_recv/8")
    assert (judgement.verdict, judgement.outcome, judgement.direct) == ("PASS", "SAFE", False)


def test_a_client_of_the_adapter(dmasafe_pci, dmasafe_bus, dmasafe_module, dmasafe_dmesg):
    dmasafe_bus.plug({0x48: Thermometer})
    dmasafe_pci("fixed", adapter="demo")
    assert dmasafe_module("../fixed", device="thermo", address=0x48, adapter="demo").read("temperature") == "21500"
    (_register, answer) = dmasafe_bus.messages
    assert answer.data == b"\x15\x80" and len(answer.segments) == 1
    dmasafe_dmesg.assert_clean()


def test_the_drivers_mistake_is_found(dmasafe_pci):
    driver = dmasafe_pci("buggy")
    judgement = driver.run("stack/master_recv/8")
    assert judgement.verdict == "FAIL" and "map-vmalloc-rejected" in judgement.why
