# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's own controllers as carriers: their scenarios."""

import pytest

from dmasafe.carriers import CONTROLLERS
from dmasafe.carriers.hosts import HOSTS, host_lengths
from dmasafe.devices.hosts import hosts
from dmasafe.scenario import select, suite


@pytest.mark.parametrize("name", [name for name, host in hosts().items() if not host.policy.smbus])
def test_both_sides_of_every_threshold_are_tried(name):
    host = hosts()[name]
    mine = [scenario for scenario in suite(HOSTS) if scenario.controller == name]
    for version in ((6, 12), (7, 3)):
        for start in host.policy.thresholds(version):
            wanted = {length for length in (start - 1, start) if length}
            assert wanted <= {scenario.length for scenario in mine if scenario.buffer == "heap"}
    assert {scenario.operation for scenario in mine} >= {"master_send", "transfer", "i2cdev_rdwr", "i2cdev_smbus"}
    assert select([f"heap/*/{name}/*"]) == [scenario for scenario in mine if scenario.buffer == "heap"]
    assert CONTROLLERS[name].room and max(host_lengths(host)) <= 0xFFFF
