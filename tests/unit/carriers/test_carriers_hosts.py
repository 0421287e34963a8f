# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's own controllers as carriers: their scenarios."""

import pytest

from dmasafe.carriers import CONTROLLERS
from dmasafe.carriers.hosts import HOSTS, LEAVING, host_lengths
from dmasafe.devices.hosts import hosts
from dmasafe.scenario import OPERATIONS, ScenarioError, parse_scenario, select, suite


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


@pytest.mark.parametrize("name", [name for name, host in hosts().items() if not host.policy.smbus])
def test_what_fails_is_tried_before_a_driver_has_anything_to_undo(name):
    """Some drivers undo their last mapping once more when a message fails."""
    mine = [scenario for scenario in suite(HOSTS) if scenario.controller == name]
    rejected = [n for n, scenario in enumerate(mine) if scenario.buffer in ("vmalloc", "stack") and scenario.marked]
    refused = [n for n, scenario in enumerate(mine) if scenario.address == 0x60]
    mapped = [n for n, scenario in enumerate(mine) if scenario.buffer in ("heap", "module-data")]
    assert max(rejected) < min(refused) <= max(refused) < min(mapped)
    spoiling = [n for n, scenario in enumerate(mine) if scenario.address == 0x77 and scenario.reads]
    assert (spoiling == [len(mine) - 1]) is hosts()[name].policy.wedges


@pytest.mark.parametrize("name", [name for name, host in hosts().items() if host.function is not None])
def test_each_driver_is_unbound_beside_a_transfer_and_before_one(name):
    mine = [scenario for scenario in suite(LEAVING) if scenario.controller == name]
    assert {scenario.meanwhile for scenario in mine} == {"unbind", "unbound", "suspend"}
    asleep = [scenario for scenario in mine if scenario.meanwhile == "suspend"]
    by_kernel = {scenario.hardware for scenario in asleep if not OPERATIONS[scenario.operation].from_user_space}
    # What is under way has to last, but not longer than its driver waits.
    held = "busy" if name in ("at91", "amd-mp2", "imx", "tegra", "qup") else "slow"
    assert by_kernel == (set() if hosts()[name].policy.smbus else {held})
    assert all(scenario.hardware == held for scenario in mine if scenario.meanwhile == "unbind")
    assert asleep[0].operation.startswith("i2cdev_") is (not hosts()[name].policy.cut)
    few = {scenario.length for scenario in mine if scenario.operation == "i2cdev_read" and scenario.hardware}
    assert few <= ({8} if name in ("imx", "qup", "rcar", "stm32f4") else {22, 32, 33})
    by_user = 1 + hosts()[name].policy.smbus - hosts()[name].policy.cut
    assert len(asleep) == 2 * (not hosts()[name].policy.smbus) + by_user
    if hosts()[name].policy.cut:
        assert [scenario.meanwhile for scenario in mine].index("unbind") == len(mine) - 1
    assert [parse_scenario(scenario.id) for scenario in mine] == mine
    assert not any(scenario.meanwhile for scenario in suite(HOSTS))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("heap/master_send/virtio/8+meanwhile=unbind", "the driver stays"),
        ("heap/master_send/virtio/8+meanwhile=suspend", "the driver stays"),
        ("heap/master_send/at91/8+meanwhile=unbound", "only i2cdev_"),
        ("heap/master_send/at91/8+meanwhile=never", "is wrong"),
    ],
)
def test_a_driver_that_cannot_be_unbound_beside_a_call_is_refused(text, why):
    with pytest.raises(ScenarioError, match=why):
        parse_scenario(text)
