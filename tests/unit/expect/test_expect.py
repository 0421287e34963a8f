# SPDX-License-Identifier: GPL-2.0-or-later
import pytest

from dmasafe.expect import expect
from dmasafe.facts import KernelFacts
from dmasafe.outcome import Outcome, Skip
from dmasafe.scenario import core_suite, parse_scenario

DEFAULT = frozenset({"DMA_API_DEBUG", "VMAP_STACK", "KALLSYMS_ALL", "MODULES", "I2C_VIRTIO", "I2C_CHARDEV"})


def kernel(*more, without=(), version=(6, 12, 117)):
    return KernelFacts("x86_64", version, DEFAULT.union(more).difference(without))


@pytest.mark.parametrize(
    ("scenario", "facts", "outcome", "classes", "straight"),
    [
        ("stack/master_send_dmasafe/dmasafe:bounce/8", kernel(), "CAUGHT", ("map-vmalloc-rejected",), None),
        ("stack/master_send_dmasafe/dmasafe:bounce/8", kernel(without=["VMAP_STACK"]), "CAUGHT", ("map-stack",), True),
        ("stack/master_send/dmasafe:bounce/8", kernel(), "SAFE", (), False),
        ("heap/master_send_dmasafe/dmasafe:bounce/8", kernel(), "SAFE", (), True),
        ("heap/master_send_dmasafe/dmasafe:bounce/8+threshold=32", kernel(), "SAFE", (), False),
        ("module-rodata/master_send_dmasafe/dmasafe:bounce/8", kernel(), "CAUGHT", ("map-invalid-area",), None),
        ("module-rodata/master_send_dmasafe/dmasafe:bounce/8", kernel(without=["DMA_API_DEBUG"]), "SILENT", (), None),
        ("stack/master_send_dmasafe/virtio/8", kernel(), "SILENT", (), None),
        ("stack/master_send_dmasafe/virtio/8", kernel("DEBUG_SG"), "CAUGHT", ("sg-virt-invalid",), None),
        ("stack/master_send/virtio/8", kernel("DEBUG_SG"), "SAFE", (), False),
        ("rodata/master_recv_dmasafe/dmasafe:bounce/8", kernel(), "SILENT", (), True),
        ("rodata/master_recv/dmasafe:bounce/8", kernel(), "CAUGHT", ("other",), None),
        ("user/i2cdev_rdwr/dmasafe:bounce/8+messages=w8", kernel(), "SAFE", (), True),
        ("user/i2cdev_write/dmasafe:bounce/8", kernel(), "SAFE", (), False),
        ("user/i2cdev_read/dmasafe:bounce/8", kernel(), "SAFE", (), False),
        ("user/i2cdev_write/dmasafe:bounce/8@77", kernel(), "REFUSED", (), False),
    ],
)
def test_the_rules_of_the_talk(scenario, facts, outcome, classes, straight):
    found = expect(parse_scenario(scenario), facts)
    assert not isinstance(found, Skip)
    assert (found.outcome, found.classes, found.direct) == (Outcome(outcome), classes, straight)


def test_kmap_cannot_exist_without_highmem():
    found = expect(parse_scenario("kmap/master_send/virtio/8"), kernel())
    assert isinstance(found, Skip) and "CONFIG_HIGHMEM" in found.why


def test_without_dma_debug_only_the_kernels_own_checks_catch_anything():
    classes = {
        c
        for s in core_suite()
        if not isinstance(found := expect(s, kernel(without=["DMA_API_DEBUG"])), Skip)
        for c in found.classes
    }
    assert classes == {"map-vmalloc-rejected", "other"}


def test_each_outcome_occurs_in_core():
    found = [expect(s, kernel()) for s in core_suite()]
    assert {e.outcome for e in found if not isinstance(e, Skip)} == set(Outcome)


@pytest.mark.parametrize(
    ("scenario", "version", "outcome"),
    [
        # add_dma_entry() reports overlaps since 5.15, and on x86 no longer in 7.2.
        ("coherent/master_recv_dmasafe/dmasafe:bounce/8", (5, 10, 223), "SAFE"),
        ("coherent/master_recv_dmasafe/dmasafe:bounce/8", (6, 12, 117), "CAUGHT"),
        ("coherent/master_recv_dmasafe/dmasafe:bounce/8", (7, 2, 13), "SAFE"),
        # Empty SMBus blocks came to be refused in stable updates.
        ("user/i2cdev_smbus/dmasafe:bounce/0@40+protocol=block_data+rd=0", (6, 1, 176), "SAFE"),
        ("user/i2cdev_smbus/dmasafe:bounce/0@40+protocol=block_data+rd=0", (6, 1, 192), "REFUSED"),
    ],
)
def test_what_changed_between_kernel_versions(scenario, version, outcome):
    found = expect(parse_scenario(scenario), kernel(version=version))
    assert not isinstance(found, Skip) and found.outcome is Outcome(outcome)


def test_i2c_virtio_is_skipped_before_it_existed():
    found = expect(parse_scenario("heap/master_send/virtio/8"), kernel(without=["I2C_VIRTIO"], version=(5, 10, 223)))
    assert isinstance(found, Skip) and "5.15" in found.why


def on_q35(machine="smbus", symbols=("I2C_I801", "I2C_CHARDEV")):
    return KernelFacts("x86_64", (6, 12, 117), frozenset(symbols), machine=machine)


SMBUS = "user/i2cdev_smbus/i801/1@50+protocol=byte_data"


@pytest.mark.parametrize(
    ("scenario", "facts", "found"),
    [
        (SMBUS, on_q35(), Outcome.SAFE),
        ("user/i2cdev_rdwr/i801/8@50+messages=w8", on_q35(), Outcome.REFUSED),
        ("heap/master_send/i801/8@50", on_q35(), Outcome.REFUSED),
        (SMBUS, on_q35(machine=""), "i801 is there with --config i801 only"),
        (SMBUS, on_q35(symbols=["I2C_CHARDEV"]), "i801 is there with --config i801 only"),
        (SMBUS, on_q35(symbols=["I2C_I801"]), "user needs CONFIG_I2C_CHARDEV, which this kernel does not have"),
        ("kmap/master_send/i801/8@50", on_q35(), "kmap needs CONFIG_HIGHMEM, which this kernel does not have"),
        ("kmap/master_send/i801/8@50", on_q35(symbols=["I2C_I801", "HIGHMEM"]), Outcome.REFUSED),
        ("heap/get_put/i801/8@50", on_q35(), "get_put maps for the controller that is named, and this one has no DMA"),
    ],
)
def test_a_controller_of_the_machines_own_carries_smbus_calls_only(scenario, facts, found):
    expected = expect(parse_scenario(scenario), facts)
    assert (expected.outcome if isinstance(found, Outcome) else expected.why) == found
    assert isinstance(expected, Skip) is not isinstance(found, Outcome)


@pytest.mark.parametrize(
    ("symbols", "found"),
    [
        (["I2C_CHARDEV"], Outcome.SAFE),
        ([], "user needs CONFIG_I2C_CHARDEV, which this kernel does not have"),
    ],
)
def test_a_boards_own_bus_is_expected_to_work(symbols, found):
    expected = expect(parse_scenario("user/i2cdev_read/board/8@50"), on_q35("", symbols))
    assert (expected.outcome if isinstance(found, Outcome) else expected.why) == found
