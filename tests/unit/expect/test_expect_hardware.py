# SPDX-License-Identifier: GPL-2.0-or-later
"""What must come of hardware that fails, and that only emulated controllers can be told to."""

from dataclasses import replace

import pytest

from dmasafe.devices.hosts.faults import FAULTS
from dmasafe.expect import expect
from dmasafe.expect.hardware import expect_unbound
from dmasafe.facts import KernelFacts
from dmasafe.outcome import Expectation, Outcome, Skip
from dmasafe.scenario import ScenarioError, parse_scenario
from dmasafe.targets.wire import line

TEGRA = ("I2C_TEGRA", "TEGRA20_APB_DMA")
OTHERS = ("I2C_AT91", "I2C_RCAR", "I2C_QUP", "DMADEVICES", "I2C_AMD_MP2", "I2C_ISMT", "ACPI", "I2C_CHARDEV", *TEGRA)
KERNEL = KernelFacts("arm64", (6, 12, 117), frozenset({"DMA_API_DEBUG", "VMAP_STACK", "MODULES", *OTHERS}))


@pytest.mark.parametrize(
    ("scenario", "outcome", "why"),
    [
        ("heap/master_send/at91/32+hardware=late", Outcome.REFUSED, "has to say so"),
        ("heap/master_send/at91/32+hardware=slow", Outcome.REFUSED, "has to say so"),
        ("heap/master_send/rcar/32+hardware=slow", Outcome.SAFE, ""),
        ("heap/master_send/rcar/32+hardware=late", Outcome.REFUSED, "has to say so"),
        ("heap/master_send/at91/32+hardware=arbitration-lost", Outcome.REFUSED, ""),
        ("heap/master_send/at91/32+hardware=interrupt-lost", Outcome.REFUSED, "has to say so"),
        ("heap/master_send/tegra/32+hardware=interrupt-lost", Outcome.SAFE, "asks the hardware"),
        ("heap/master_send/at91/32+hardware=interrupt-twice", Outcome.SAFE, ""),
        ("heap/master_send/at91/32+hardware=nak-32", Outcome.REFUSED, ""),
        ("heap/master_send/at91/31+hardware=nak-32", Outcome.SAFE, "no slave has a byte 32"),
        ("heap/master_recv/at91/32+hardware=nak-1", Outcome.SAFE, "no slave has a byte 1"),
        ("heap/master_recv/at91/32+hardware=nak-0", Outcome.REFUSED, ""),
        ("heap/transfer/at91/32+dma_safe=1+hardware=nak-1", Outcome.REFUSED, ""),
        ("heap/transfer/at91/32+dma_safe=1+hardware=nak-2", Outcome.SAFE, ""),
        ("heap/master_send/at91/32+hardware=dma-error", Outcome.REFUSED, ""),
        ("heap/master_send/at91/8+hardware=dma-error", Outcome.SAFE, "no DMA engine is asked"),
        ("heap/master_recv/at91/32+hardware=interrupt-early", Outcome.SILENT, "before the data"),
        ("heap/master_send/at91/32+hardware=interrupt-early", Outcome.SAFE, ""),
        ("heap/master_recv/at91/32+hardware=writes-after", Outcome.SAFE, "no scenario sees"),
        ("heap/master_send/at91/32+hardware=busy", Outcome.SAFE, ""),
        ("heap/master_send/at91/32+hardware=busy+meanwhile=unbind", Outcome.SAFE, "i2c_del_adapter() waits"),
        ("user/i2cdev_write/at91/8+meanwhile=unbound", Outcome.SAFE, "i2c_del_adapter() waits"),
        ("user/i2cdev_write/amd-mp2/8+hardware=busy+meanwhile=unbind", Outcome.SAFE, "waits for the transfer"),
        ("user/i2cdev_write/amd-mp2/8+meanwhile=unbound", Outcome.REFUSED, "errno 22"),
        ("user/i2cdev_write/qup/8+hardware=busy+meanwhile=unbind", Outcome.REFUSED, "errno 110"),
        ("user/i2cdev_write/qup/8@77+meanwhile=unbound", Outcome.REFUSED, "i2c_del_adapter()"),
        # What is refused on sound hardware is refused on any.
        ("user/i2cdev_write/at91/8@77+hardware=interrupt-early", Outcome.REFUSED, ""),
    ],
)
def test_a_driver_has_to_say_what_failed_and_only_that(scenario, outcome, why):
    expectation = expect(parse_scenario(scenario), KERNEL)
    assert isinstance(expectation, Expectation)
    assert expectation.outcome is outcome and why in expectation.why
    # Who is cut off may be so before it has begun.
    assert expectation.instead == ((Outcome.SAFE,) if "/qup/" in scenario and "=unbind" in scenario else ())


def test_a_driver_that_does_not_survive_its_unbinding_is_unbound_once():
    symbols = KERNEL.symbols | {"I2C_IMX"}
    leaving = parse_scenario("user/i2cdev_write/imx/8+meanwhile=unbound")
    old = expect(leaving, replace(KERNEL, symbols=symbols))
    assert isinstance(old, Expectation) and (old.outcome, old.destructive) == (Outcome.CAUGHT, True)
    again = expect(parse_scenario("user/i2cdev_read/imx/8+meanwhile=unbound"), replace(KERNEL, symbols=symbols))
    assert isinstance(again, Skip) and "freed by i2c_del_adapter()" in again.why
    new = expect(leaving, replace(KERNEL, symbols=symbols, version=(7, 3, 4)))
    assert isinstance(new, Expectation) and new.outcome is Outcome.SAFE


@pytest.mark.parametrize(("operation", "direct"), [("master_send_dmasafe", True), ("master_recv", False)])
def test_a_strict_machines_trace_has_the_memory_behind_its_addresses(operation, direct):
    strict = replace(KERNEL, arch="x86_64", strict_line=64)
    found = expect(parse_scenario(f"heap/{operation}/amd-mp2/33"), strict)
    assert isinstance(found, Expectation) and (found.outcome, found.direct) == (Outcome.SAFE, direct)
    own = expect(parse_scenario("user/i2cdev_smbus/ismt/8@20+protocol=i2c_block_data+rd=1+command=32"), strict)
    assert isinstance(own, Skip) or own.outcome is Outcome.SAFE


def test_a_driver_that_is_reported_whenever_it_is_unbound_lives_on():
    for way in ("unbound", "unbind+hardware=busy"):
        found = expect_unbound(
            parse_scenario(f"user/i2cdev_read/stm32f4/8+meanwhile={way}"), Expectation(Outcome.SAFE, ""), (7, 3, 4)
        )
        assert isinstance(found, Expectation)
        assert (found.outcome, found.classes, found.destructive) == (Outcome.CAUGHT, ("other",), False)


@pytest.mark.parametrize(
    ("scenario", "version", "outcome", "sleeps"),
    [
        # User space is frozen first.
        ("user/i2cdev_read/at91/8+hardware=busy", (6, 12), Outcome.SAFE, False),
        ("user/i2cdev_read/at91/8@77", (6, 12), Outcome.REFUSED, False),
        # It takes the bus lock, and so waits.
        ("heap/master_recv_dmasafe/tegra/33+hardware=slow", (6, 12), Outcome.SAFE, False),
        # It does not look.
        ("heap/master_recv_dmasafe/at91/32+hardware=slow", (6, 12), Outcome.SAFE, True),
        ("heap/master_recv_dmasafe/imx-lpi2c/32+hardware=slow", (6, 12), Outcome.SAFE, True),
        ("heap/master_recv_dmasafe/imx-lpi2c/32+hardware=slow", (7, 3), Outcome.SAFE, False),
        # Its own lock has the same effect.
        ("heap/master_recv_dmasafe/amd-mp2/33+hardware=busy", (6, 12), Outcome.SAFE, False),
    ],
)
def test_when_the_system_sleeps_a_driver_waits_for_whom_the_freezer_leaves_alone(scenario, version, outcome, sleeps):
    asleep = parse_scenario(f"{scenario}+meanwhile=suspend")
    symbols = KERNEL.symbols | {"I2C_IMX_LPI2C"}
    without = replace(KERNEL, symbols=symbols, version=(*version, 0))
    skipped = expect(asleep, without)
    assert isinstance(skipped, Skip) and "PM_SLEEP_DEBUG" in skipped.why
    found = expect(asleep, replace(without, symbols=symbols | {"PM_SLEEP_DEBUG"}))
    assert isinstance(found, Expectation) and (found.outcome, found.sleeps) == (outcome, sleeps)
    # Whether its patience or the transfer ends first is a matter of time.
    either = set() if asleep.operation.startswith("i2cdev") else {Outcome.SAFE, Outcome.REFUSED}
    # What it is reported for after any transfer that fails.
    known = "/at91/" in scenario and either
    assert set(found.instead) == either | ({Outcome.CAUGHT} if known else set())
    assert found.also == (("free-unallocated",) if known else ())


def test_what_the_kernel_does_not_have_fails_in_no_way():
    facts = KernelFacts("arm64", (6, 12, 117), frozenset({"MODULES"}))
    assert isinstance(expect(parse_scenario("heap/master_send/at91/8+hardware=late"), facts), Skip)


def test_the_agent_hears_nothing_of_it():
    sound, broken = (line(parse_scenario(f"heap/master_send/at91/8{how}")) for how in ("", "+hardware=late"))
    assert "hardware" not in broken and broken.split()[:2] == sound.split()[:2]


def test_only_emulated_controllers_of_upstream_can_fail_and_only_in_known_ways():
    with pytest.raises(ScenarioError, match="the hardware cannot fail: only that of suite hosts can"):
        parse_scenario("heap/master_send/virtio/8+hardware=late")
    with pytest.raises(ScenarioError, match=r"the option '\+hardware=rust' is wrong"):
        parse_scenario("heap/master_send/at91/8+hardware=rust")
    assert {parse_scenario(f"heap/master_send/at91/8+hardware={name}").hardware for name in FAULTS} == set(FAULTS)
