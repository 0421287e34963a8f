# SPDX-License-Identifier: GPL-2.0-or-later
"""What must come of calls on other buses."""

import re
from dataclasses import replace

import pytest

from dmasafe.architecture import project_root
from dmasafe.buses import BUS_CALLS
from dmasafe.carriers import CONTROLLERS
from dmasafe.carriers.other_bus import BUSES, NEEDS
from dmasafe.expect import expect
from dmasafe.facts import KernelFacts
from dmasafe.outcome import Outcome, Skip
from dmasafe.scenario import ScenarioError, buses_suite, parse_scenario, select

SYMBOLS = frozenset({"DMA_API_DEBUG", "VMAP_STACK", "KALLSYMS_ALL", "MODULES", *NEEDS})


def kernel(*more, without=()):
    return KernelFacts("x86_64", (7, 2, 13), SYMBOLS.union(more).difference(without))


@pytest.mark.parametrize(
    ("text", "outcome", "classes", "direct"),
    [
        ("heap/regmap_raw_write/bus-spi/8", "SAFE", (), True),
        ("heap/regmap_raw_write/bus-spi/1", "SAFE", (), False),
        ("stack/regmap_raw_write/bus-spi/1", "SAFE", (), False),
        ("stack/regmap_raw_write/bus-spi/8", "CAUGHT", ("map-stack",), True),
        ("vmalloc/regmap_raw_write/bus-spi/8", "SAFE", (), True),
        ("vmalloc/regmap_raw_write/bus-spi-own/8", "CAUGHT", ("map-vmalloc-rejected",), None),
        ("module-data/spi_read/bus-spi/8", "REFUSED", (), None),
        ("module-data/spi_read/bus-spi-own/8", "CAUGHT", ("map-invalid-area",), None),
        ("stack/regmap_raw_read/bus-spi/8", "SAFE", (), False),
        ("stack/regmap_raw_write/bus-i2c/8", "SAFE", (), False),
        ("stack/regmap_bulk_read/bus-i2c/8", "CAUGHT", ("map-vmalloc-rejected",), None),
        ("heap/regmap_write/bus-spmi-base/1", "CAUGHT", ("map-vmalloc-rejected",), False),
        ("heap/slim_readb/bus-slimbus/1", "CAUGHT", ("map-vmalloc-rejected",), False),
        ("heap/regmap_write/bus-w1/1", "SAFE", (), None),
        ("heap/regmap_write/bus-w1-pair/1", "CAUGHT", ("map-vmalloc-rejected",), False),
        ("heap/regmap_raw_read/bus-w1/8", "REFUSED", (), None),
        ("vmalloc/mtd_read/bus-spi-mem/256", "SAFE", (), False),
        ("struct-embedded/mtd_read/bus-spi-own/256", "SAFE", (), True),
        ("heap/ubifs_write/bus-spi/8192", "SAFE", (), None),
    ],
)
def test_the_subsystems_rules(text, outcome, classes, direct):
    found = expect(parse_scenario(text), kernel())
    assert not isinstance(found, Skip)
    assert (found.outcome, found.classes, found.direct) == (Outcome(outcome), classes, direct)


def test_on_the_strict_machine_no_controller_is_given_a_stack():
    strict = replace(kernel(without=["DMA_API_DEBUG"]), strict_line=64)
    for bus in ("bus-spi", "bus-spi-mem"):
        assert CONTROLLERS[bus].maps_on is not None
    assert expect(parse_scenario("stack/spi_write/bus-spi/8"), strict).classes == ("strict-memory",)
    assert expect(parse_scenario("heap/spi_write/bus-spi/8"), strict).outcome is Outcome.SAFE


def test_the_strict_machine_is_told_the_modules_own_devices():
    source = (project_root() / "images" / "modules" / "buses" / "buses_main.c").read_text()
    names = re.findall(r'\.name = "(bus-[^"]+)"', source)
    assert {name: f"dmasafe_buses.{n}" for n, name in enumerate(names)} == {
        bus: CONTROLLERS[bus].maps_on for bus in BUSES
    }


def test_without_dma_debug_a_stack_is_mapped_unnoticed():
    found = expect(parse_scenario("stack/spi_write/bus-spi/8"), kernel(without=["DMA_API_DEBUG"]))
    assert found.outcome is Outcome.SAFE and found.direct is True


def test_a_stack_in_the_linear_map_is_caught_by_dma_debug_alone():
    without = kernel(without=["VMAP_STACK"])
    assert expect(parse_scenario("heap/slim_writeb/bus-slimbus/1"), without).classes == ("map-stack",)
    assert expect(parse_scenario("stack/mtd_read/bus-spi/32"), without).outcome is Outcome.SAFE


def test_the_spi_core_maps_past_dma_debugs_tracking_of_cache_lines():
    old = replace(kernel(), version=(6, 12, 117))
    assert expect(parse_scenario("coherent/spi_read/bus-spi-own/8"), old).classes == ("cacheline-overlap",)
    assert expect(parse_scenario("coherent/mtd_read/bus-spi-mem/32"), old).classes == ("cacheline-overlap",)
    found = expect(parse_scenario("coherent/spi_read/bus-spi/8"), old)
    assert (found.outcome, found.direct) == (Outcome.SAFE, True)


def test_a_kernel_that_lacks_a_bus_is_skipped_by_the_symbols_name():
    found = expect(parse_scenario("heap/spi_read/bus-spi/8"), kernel(without=["REGMAP_SPMI"]))
    assert isinstance(found, Skip) and "CONFIG_REGMAP_SPMI" in found.why
    found = expect(parse_scenario("kmap/spi_read/bus-spi/8"), kernel())
    assert isinstance(found, Skip) and "CONFIG_HIGHMEM" in found.why


def test_every_call_of_every_bus_has_a_way_and_a_source():
    assert {call for bus in BUSES.values() for call in bus.ways} == set(BUS_CALLS)
    assert {bus.name: set(CONTROLLERS[bus.name].calls) for bus in BUSES.values()} == {
        bus.name: set(bus.ways) for bus in BUSES.values()
    }
    assert all(way.source for bus in BUSES.values() for way in bus.ways.values())


def test_the_suite_can_be_read_back_and_expected():
    scenarios = buses_suite()
    assert len({scenario.id for scenario in scenarios}) == len(scenarios)
    for scenario in scenarios:
        assert parse_scenario(scenario.id) == scenario
        found = expect(scenario, kernel("HIGHMEM"))
        assert found.why


def test_the_suite_reads_into_nothing_that_is_read_only_and_writes_from_everything():
    mtd = [s for s in buses_suite() if s.controller == "bus-spi" and s.operation in ("mtd_read", "mtd_write")]
    reads, writes = ({s.buffer for s in mtd if s.operation == name} for name in ("mtd_read", "mtd_write"))
    assert {"rodata", "module-rodata"} <= writes
    assert reads == writes - {"rodata", "module-rodata"} and "heap" in reads


def test_a_pattern_finds_the_buses_suite():
    found = select(["stack/*/bus-w1/*"])
    assert found == [s for s in buses_suite() if s.buffer == "stack" and s.controller == "bus-w1"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("heap/master_send/bus-spi/8", "bus-spi has no master_send"),
        ("heap/regmap_raw_write/virtio/8", "virtio has no regmap_raw_write"),
        ("heap/spi_read/bus-spmi/8", "no call on bus-spmi 'spi_read'"),
        ("heap/regmap_write/bus-spi/2", "the length must be 1"),
        ("heap/slim_read/bus-slimbus/17", "the length must be 1 to 16"),
        ("heap/spi_read/bus-spi/0", "the length must be 1 to 8192"),
        ("user/spi_read/bus-spi/8", "'user'"),
    ],
)
def test_what_no_bus_can_do_is_refused(text, why):
    with pytest.raises(ScenarioError, match=why):
        parse_scenario(text)
