# SPDX-License-Identifier: GPL-2.0-or-later
"""Expectations know the slaves that scenarios meet."""

import pytest

from dmasafe.expect import expect
from dmasafe.facts import KernelFacts
from dmasafe.outcome import Expectation, Outcome
from dmasafe.scenario import parse_scenario

FACTS = KernelFacts("x86_64", (6, 12, 117), frozenset({"I2C_CHARDEV", "MODULES", "VMAP_STACK"}))


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("user/i2cdev_write/dmasafe:pio/8@0x30", Outcome.SAFE),
        # The SMBus block slave compares a write with the count in its second byte.
        ("user/i2cdev_write/dmasafe:pio/8@0x40", Outcome.REFUSED),
        ("user/i2cdev_smbus/dmasafe:pio/1@0x40+protocol=byte_data+rd=0+command=16", Outcome.REFUSED),
    ],
)
def test_a_slave_that_refuses_is_foreseen(text, outcome):
    found = expect(parse_scenario(text), FACTS)
    assert isinstance(found, Expectation)
    assert found.outcome is outcome
