# SPDX-License-Identifier: GPL-2.0-or-later
"""Drivers made of policies: each way of a message's bytes, and what comes of it for each kind of memory."""

from errno import EAGAIN, EINVAL, EIO, ENOMEM, ENXIO

import pytest

from dmasafe.carriers import CONTROLLERS
from dmasafe.carriers.controller import Controller, Plug
from dmasafe.devices.bus import default_bus
from dmasafe.dmesg import parse_records
from dmasafe.facts import KernelFacts
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule
from dmasafe.model import predict
from dmasafe.model.config import Config
from dmasafe.model.predict import Lab
from dmasafe.outcome import Outcome, Skip
from dmasafe.scenario import parse_scenario

SYMBOLS = frozenset({"DMA_API_DEBUG", "VMAP_STACK", "KALLSYMS_ALL", "MODULES", "I2C_CHARDEV"})
NAK = (Ending(ENXIO, "gives up", "1"),)
RULES = (
    Rule(Path.REFUSED, "1", most=1, errno=ENOMEM),
    Rule(Path.PIO, "2", most=7),
    Rule(Path.HELPER, "3", most=31),
    Rule(Path.MAPS, "4", least=32, until=(7, 0)),
    Rule(Path.HELPER, "5", least=32, since=(7, 0)),
)


@pytest.fixture
def expect(monkeypatch):
    """What must come of a scenario on controller "toy", whose driver has this policy."""

    def ask(scenario, rules=RULES, version=(6, 12, 117), symbols=SYMBOLS, nak=NAK, **more):
        policy = HostPolicy("toy", rules, nak, NAK, NAK, 1.0, **more)
        row = Controller("toy", "a toy", model=policy, plug=Plug("vfio-user", 0, "toy"))
        monkeypatch.setitem(CONTROLLERS, "toy", row)
        facts = KernelFacts("x86_64", version, symbols | {f"TOY_{abs(hash((rules, nak, *more.items())))}"})
        return predict(parse_scenario(scenario), facts)

    return ask


@pytest.mark.parametrize(
    ("scenario", "outcome", "classes", "direct"),
    [
        ("heap/master_send/toy/1", Outcome.REFUSED, (), None),
        ("vmalloc/master_send_dmasafe/toy/7", Outcome.SAFE, (), None),
        ("stack/master_send/toy/8", Outcome.SAFE, (), False),
        ("heap/master_recv_dmasafe/toy/31", Outcome.SAFE, (), True),
        ("vmalloc/master_recv_dmasafe/toy/31", Outcome.CAUGHT, ("map-vmalloc-rejected",), None),
        ("vmalloc/master_recv/toy/31", Outcome.SAFE, (), False),
        ("heap/master_send/toy/32", Outcome.SAFE, (), True),
        ("stack/master_send/toy/32", Outcome.CAUGHT, ("map-vmalloc-rejected",), None),
        ("user/i2cdev_write/toy/8@77", Outcome.REFUSED, (), False),
    ],
)
def test_a_message_goes_the_way_of_the_first_rule_that_fits(expect, scenario, outcome, classes, direct):
    found = expect(scenario)
    assert (found.outcome, found.classes, found.direct) == (outcome, classes, direct)


def test_an_error_is_the_one_that_was_read(expect):
    later = (Ending(EIO, "gives up", "1", until=(6, 0)), Ending(EAGAIN, "gives up", "1", since=(6, 0)))
    for scenario, errno, nak in (
        ("heap/master_send/toy/1", ENOMEM, NAK),
        ("user/i2cdev_write/toy/7@77", ENXIO, NAK),
        ("user/i2cdev_write/toy/8@77", EAGAIN, later),
    ):
        found = expect(scenario, nak=nak)
        assert found.outcome is Outcome.REFUSED and f"returned -{errno}," in found.why, scenario


def test_a_mapping_is_undone_after_its_message(expect):
    again = expect("heap/master_recv_dmasafe/toy/32+then=R")
    assert (again.outcome, again.classes) == (Outcome.SAFE, ())


@pytest.mark.parametrize("more", [{}, {"pieces": 256, "together": True}])
def test_hardware_that_is_led_elsewhere_is_seen_where_nobody_reports(expect, more):
    rules = (Rule(Path.MAPS, "1"),)
    found = expect("module-data/master_send_dmasafe/toy/32", rules, symbols=SYMBOLS - {"DMA_API_DEBUG"}, **more)
    assert found.outcome is Outcome.SILENT and "stray DMA" in found.why


def test_a_symbol_that_only_later_kernels_need_is_missing_in_those(expect):
    assert expect("heap/master_send/toy/8", needs=(("PM_OPP", (7, 2)),)).outcome is Outcome.SAFE
    skip = expect("heap/master_send/toy/8", version=(7, 2, 13), needs=(("PM_OPP", (7, 2)),))
    assert isinstance(skip, Skip) and "CONFIG_PM_OPP" in skip.why
    assert expect("heap/master_send/toy/8", version=(7, 2, 13), needs=(("MODULES", (7, 2)),)).outcome is Outcome.SAFE


def test_a_rule_holds_in_its_versions(expect):
    assert expect("stack/master_send/toy/32", version=(7, 3, 4)).outcome is Outcome.SAFE


def test_a_buffer_that_cannot_be_mapped_is_an_error_or_goes_by_the_processor(expect):
    scenario = "vmalloc/master_send_dmasafe/toy/8"
    assert "the processor moves the bytes" in expect(scenario).why
    refused = expect(scenario, unmapped=EINVAL)
    assert refused.outcome is Outcome.CAUGHT and "the processor moves the bytes" not in refused.why


def test_what_the_processor_moves_around_the_mapped_part_is_right(expect):
    around = (Rule(Path.MAPS, "1", before=1, after=2),)
    for operation in ("master_send", "master_recv"):
        found = expect(f"heap/{operation}/toy/16", around)
        assert (found.outcome, found.direct) == (Outcome.SAFE, False)


def test_the_lengths_of_all_messages_count_where_they_go_together(expect):
    rules = (Rule(Path.PIO, "1", most=8), Rule(Path.PIO, "2", vmalloc=True), Rule(Path.MAPS, "3"))
    assert expect("heap/transfer/toy/8+dma_safe=1", rules).direct is None
    assert expect("heap/transfer/toy/8+dma_safe=1", rules, together=True).direct is True
    assert expect("vmalloc/transfer/toy/8+dma_safe=1", rules, together=True).outcome is Outcome.SAFE


PIECES = (Rule(Path.PIO, "1", most=8), Rule(Path.MAPS, "2"))


@pytest.mark.parametrize(
    ("scenario", "classes"),
    [
        ("heap/master_send/toy/300", ("free-sg-count",)),
        ("heap/master_recv/toy/16", ("free-sg-count", "free-unallocated")),
        ("heap/transfer/toy/16+dma_safe=1", ("free-sg-count", "free-unallocated")),
        ("heap/master_send/toy/8", ()),
    ],
)
def test_pieces_that_are_mapped_alone_and_unmapped_together_are_reported(expect, scenario, classes):
    found = expect(scenario, PIECES, together=True, pieces=256, leaves=("cacheline-overlap",), stale=("oops",))
    assert set(found.classes) - {"cacheline-overlap"} == set(classes)
    assert found.also == (("cacheline-overlap", "oops") if classes else ())
    assert found.outcome is (Outcome.CAUGHT if classes else Outcome.SAFE)


def test_a_driver_reads_as_many_bytes_as_the_slave_says_if_it_can(expect):
    scenario = "user/i2cdev_smbus/toy/8@40+command=16+protocol=block_data+rd=1"
    rules = (Rule(Path.PIO, "1"),)
    assert expect(scenario, rules).outcome is Outcome.SILENT
    assert expect(scenario, rules, blocks=True).outcome is Outcome.SAFE


def test_an_smbus_controller_has_no_transfers_and_every_common_protocol(expect):
    own = (Rule(Path.OWN, "1"),)
    assert expect("heap/master_send/toy/8", own, smbus=True).outcome is Outcome.REFUSED
    for protocol, rd, length in (
        ("quick", 0, 0), ("byte", 0, 1), ("byte", 1, 1), ("byte_data", 1, 1), ("word_data", 0, 2), ("word_data", 1, 2),
        ("proc_call", 1, 2), ("i2c_block_data", 0, 8), ("i2c_block_data", 1, 8),
    ):  # fmt: skip
        row = f"user/i2cdev_smbus/toy/{length}@20+command=16+protocol={protocol}+rd={rd}"
        assert expect(row, own, smbus=True).outcome is Outcome.SAFE, row
    for rd in (0, 1):
        row = f"user/i2cdev_smbus/toy/8@40+command=16+protocol=block_data+rd={rd}"
        assert expect(row, own, smbus=True).outcome is Outcome.SAFE, row


MAPS = (Rule(Path.MAPS, "1"),)
ALL_DMA = (Rule(Path.HELPER, "1"),)
ARM64 = SYMBOLS | {"SWIOTLB", "DMA_BOUNCE_UNALIGNED_KMALLOC"}


@pytest.fixture
def seen(monkeypatch):
    """What the hardware saw of a scenario on controller "toy", on arm64, and the observation."""

    def ask(scenario, rules, **more):
        row = Controller("toy", "a toy", model=HostPolicy("toy", rules, NAK, NAK, NAK, 1.0, **more), plug=Plug("v", 0))
        monkeypatch.setitem(CONTROLLERS, "toy", row)
        lab = Lab(Config.of(KernelFacts("arm64", (6, 12, 117), ARM64)), default_bus())
        lab.client.exact = True
        found, _records, _notes = lab.run(parse_scenario(scenario))
        return found

    return ask


def test_what_a_device_cannot_reach_is_bounced_and_may_be_right_by_that(seen):
    """virt_to_page() of no linear address, taken back by phys_to_virt(): drivers that map 32 bits get away with it."""
    scenario = "module-data/master_send_dmasafe/toy/32"
    assert seen(scenario, MAPS).bus[0].segments[0].stray
    bounced = seen(scenario, MAPS, mask_bits=32)
    assert bounced.bus[0].data == bounced.caller[0].data and not bounced.bus[0].segments[0].stray


def test_nobody_rejects_vmalloc_memory_in_a_scatterlist(seen):
    classes = [{splat.splat_class for splat in seen("vmalloc/master_send/toy/32", MAPS, **more).splats} for more in (
        {"mask_bits": 32}, {"mask_bits": 32, "scatterlists": True}
    )]  # fmt: skip
    assert classes == [{"map-vmalloc-rejected"}, set()]


def test_a_pair_is_mapped_before_it_is_begun(seen):
    scenario = "vmalloc/transfer/toy/8+dma_safe=1"
    assert [message.read for message in seen(scenario, ALL_DMA, unmapped=ENOMEM).bus] == [False]
    assert seen(scenario, ALL_DMA, unmapped=ENOMEM, pairs=True).bus == ()
    both = seen("heap/transfer/toy/8+dma_safe=1", ALL_DMA, pairs=True)
    assert [message.read for message in both.bus] == [False, True] and both.ret == 2
    assert seen("user/i2cdev_rdwr/toy/8@77+messages=w1,r8", ALL_DMA, pairs=True).ret == -ENXIO


def test_a_read_may_be_begun_before_its_buffer_is_mapped(seen):
    for begun, lengths in ((0, []), (1, [1])):
        found = seen("vmalloc/master_recv_dmasafe/toy/32", ALL_DMA, unmapped=EINVAL, begun=begun)
        assert found.ret == -EINVAL and [len(message.data) for message in found.bus] == lengths


def test_a_read_that_nobody_acknowledges_stores_nothing_unless_the_driver_reads_on(seen):
    scenario = "user/i2cdev_read/toy/32@77"
    assert not seen(scenario, ALL_DMA).bus[0].segments
    assert seen(scenario, ALL_DMA, reads_on=True).bus[0].segments[0].length == 32


def test_a_drivers_own_buffer_has_what_it_puts_before_the_bytes(seen):
    own = (Rule(Path.OWN, "1"),)
    more = {"header": 12, "word": 4}
    lengths = [seen(f"heap/{call}/toy/33", own, **more).bus[0].segments[0].length for call in
               ("master_send", "master_recv")]  # fmt: skip
    assert lengths == [48, 36]


def test_smbus_calls_of_a_drivers_own_are_no_messages_and_may_lack_an_answer(seen):
    rules = (Rule(Path.PIO, "1", most=21), Rule(Path.HELPER, "2"))
    scenario = "user/i2cdev_smbus/toy/2@20+command=18+protocol=proc_call+rd=1"
    native = seen(scenario, rules, native=("proc_call", "block_data"))
    assert native.caller[-1].data == native.bus[-1].data and native.caller[0].flagged is None
    silent = seen(scenario, rules, native=("proc_call",), unanswered=("proc_call",))
    assert silent.ret == 0 and silent.caller[-1].data != silent.bus[-1].data
    # Its own buffer goes by DMA from where messages do.
    for length, sizes in ((8, []), (32, [34])):
        block = f"user/i2cdev_smbus/toy/{length}@40+command=17+protocol=block_data+rd=0"
        found = seen(block, rules, native=("block_data",))
        assert [segment.length for segment in found.bus[0].segments] == sizes


def test_mappings_that_are_never_undone_may_be_remembered(monkeypatch):
    policy = HostPolicy("toy", PIECES, NAK, NAK, NAK, 1.0, pieces=256, together=True, leaves=("free-unallocated",))
    monkeypatch.setitem(CONTROLLERS, "toy", Controller("toy", "a toy", model=policy, plug=Plug("v", 0)))
    classes = []
    for remembers in (False, True):
        lab = Lab(Config.of(KernelFacts("arm64", (6, 12, 117), ARM64)), default_bus())
        lab.remembers = remembers
        # Of one cache line at most seven mappings overlap.
        for _ in range(9):
            _seen, records, _notes = lab.run(parse_scenario("heap/master_recv/toy/65"))
        classes.append({splat.splat_class for splat in parse_records(records)})
    assert "cacheline-overlap" in classes[1] - classes[0]


def test_a_refused_byte_may_be_another_error_than_a_refused_address(seen):
    other = (Ending(EIO, "gives up", "1"),)
    for scenario, errno in (("user/i2cdev_write/toy/8@60", EIO), ("user/i2cdev_write/toy/8@77", ENXIO)):
        assert seen(scenario, ALL_DMA, nak_data=other).ret == -errno
