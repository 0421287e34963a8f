# SPDX-License-Identifier: GPL-2.0-or-later
"""What every host declares: found by its file, a policy without holes, a place that its machine can make."""

from __future__ import annotations

from itertools import product

import pytest
from host_bench import Bench

from dmasafe.devices.hosts import DeviceTree, HostModel, hosts
from dmasafe.devices.hosts.base import Carried, I2cHost, Wire
from dmasafe.devices.hosts.irqsteer import Irqsteer
from dmasafe.devices.pci import Bar
from dmasafe.host_policy import HostPolicy, Path, Rule
from tests.pci_client import PciClient

VERSIONS = ((6, 12), (7, 3))


def test_each_file_with_a_host_is_one() -> None:
    assert {"ismt", "mt65xx"} <= set(hosts())
    assert all(host.name == name for name, host in hosts().items())


@pytest.mark.parametrize("host", hosts().values(), ids=hosts())
def test_a_policy_says_the_way_of_every_message(host: HostModel) -> None:
    for version in VERSIONS:
        edges = {0, 1, 0xFFFF}
        for start in host.policy.thresholds(version):
            edges |= {start - 1, start, start + 1}
        for length, reads, marked, vmalloc in product(sorted(edges), *[(False, True)] * 3):
            rule = host.policy.rule(version, length, reads, marked, vmalloc)
            assert rule.line
            assert (rule.path is Path.REFUSED) == bool(rule.errno)


@pytest.mark.parametrize("host", hosts().values(), ids=hosts())
def test_a_device_tree_node_takes_its_addresses(host: HostModel) -> None:
    if not isinstance(host.place, DeviceTree):
        pytest.skip("not in a device tree")
    cells = {
        f"reg{number}": f"0 {window.offset:#x} 0 {window.size:#x}" for number, window in enumerate(host.place.windows)
    }
    text = host.place.node.format(
        base="10000000", reg=" ".join(cells.values()), interrupt="0 3 4", name="a-b", label="a_b", **cells
    )
    assert text.count("{") == text.count("}")
    assert "compatible" in text


def test_a_rule_holds_in_its_versions_only() -> None:
    rules = (
        Rule(Path.MAPS, "old", until=(7, 0)),
        Rule(Path.HELPER, "new", least=8, since=(7, 0)),
        Rule(Path.PIO, "new"),
    )
    policy = HostPolicy("x", rules, (), (), (), 1.0)
    assert policy.rule((6, 12), 4, True, False, False).path is Path.MAPS
    assert policy.rule((7, 3), 8, True, False, False).path is Path.HELPER
    assert policy.rule((7, 3), 7, True, False, False).path is Path.PIO
    assert policy.thresholds((7, 3)) == (8,)
    with pytest.raises(LookupError, match="no rule"):
        HostPolicy("x", (), (), (), (), 1.0).rule((7, 3), 1, True, False, False)


class Controller(I2cHost):
    bars = (Bar(0, 0x100),)


def test_dma_after_an_address_that_nobody_acknowledged_is_of_no_message() -> None:
    with PciClient(Controller()) as client:
        client.function.fail("nak-0")
        wire = Wire(client.function)
        wire.start(0x20 << 1)
        assert not wire.end()
        client.function.dma.read(1 << 40, 4)
        client.settle()
        (record,) = client.records
        assert record.why.startswith("stray DMA")


def test_a_message_that_a_host_ends_late_is_of_the_scenario_in_which_it_began() -> None:
    """Its driver has given up meanwhile, and the next scenario is under way."""
    with PciClient(Controller()) as client:
        seq = [1]
        client.bus._seq = lambda: seq[0]
        wire = Wire(client.function)
        wire.start(0x20 << 1)
        client.function.dma.read(0x5000, 1)
        wire.put(0)
        client.settle()
        seq[0] = 2
        wire.end()
        client.settle()
        (record,) = client.records
        assert (record.seq, [segment.address for segment in record.segments]) == (1, [0x5000])


@pytest.mark.parametrize("name", [name for name, host in hosts().items() if host.function is not None])
def test_a_reset_leaves_nothing_of_a_message(name: str) -> None:
    bench = Bench(name)
    host = bench.host
    done: list[Carried] = []
    wire = getattr(host, "wire", None)
    own = {key: value for key, value in vars(host).items() if key.startswith("_") and key != "_job"}
    state = {key: value for key, value in own.items() if isinstance(value, bool | int)}
    for key, value in state.items():
        setattr(host, key, not value if isinstance(value, bool) else value + 1)
    if wire is not None:
        wire.start(0x30 << 1)
    host.carry(0x30, False, b"a", True, done.append)
    host.reset()
    bench.run(1.0)
    assert {key: getattr(host, key) for key in state} == state
    assert done == [] and (wire is None or not wire.active)


def test_irqs_come_through_the_multiplexer_as_they_are_unmasked() -> None:
    lines: list[bool] = []
    steer = Irqsteer(lines.append)
    steer.set(3, True)
    assert lines == [False]
    steer.CHANMASK = 1 << 3
    steer.set(4, True)
    assert lines[-1] and steer._status() == 1 << 3
    steer.set(3, False)
    assert not lines[-1]
