# SPDX-License-Identifier: GPL-2.0-or-later
"""What the same scenario comes to on other architectures and machines; each was seen in a guest of 6.12."""

import pytest

from dmasafe.devices.bus import default_bus
from dmasafe.facts import KernelFacts
from dmasafe.model import predict
from dmasafe.model.config import DEFAULT_SYMBOLS
from dmasafe.outcome import Outcome, Skip
from dmasafe.scenario import parse_scenario

WIDE = DEFAULT_SYMBOLS | {"SWIOTLB"}
HIGH = (DEFAULT_SYMBOLS | {"HIGHMEM"}) - {"VMAP_STACK"}
PLAIN = KernelFacts("x86_64", (6, 12, 117), WIDE, True)
FORCED = KernelFacts("x86_64", (6, 12, 117), WIDE, True, swiotlb="force")
TRANSLATED = KernelFacts("x86_64", (6, 12, 117), WIDE, True, iommu=True)
I386 = KernelFacts("i386", (6, 12, 117), HIGH, True)
ARM = KernelFacts("arm", (6, 12, 117), HIGH | {"VMAP_STACK"}, True)


def outcome_on(facts, text):
    found = predict(parse_scenario(text), facts, default_bus)
    assert not isinstance(found, Skip), found.why
    return found.outcome, set(found.classes), found.direct


@pytest.mark.parametrize(
    ("facts", "scenario", "outcome", "classes"),
    [
        # What phys_to_virt() takes back is copied: the bounce buffer hides the bug.
        (PLAIN, "vmalloc/master_send_dmasafe/virtio/8", Outcome.SILENT, set()),
        (FORCED, "vmalloc/master_send_dmasafe/virtio/8", Outcome.SAFE, set()),
        # What it does not is read by the processor, which faults.
        (PLAIN, "module-data/master_send_dmasafe/virtio/8", Outcome.SILENT, set()),
        (FORCED, "module-data/master_send_dmasafe/virtio/8", Outcome.CAUGHT, {"other"}),
        # The image's alias in the linear map cannot be written, other than by a device.
        (PLAIN, "rodata/master_recv_dmasafe/dmasafe:bounce/8", Outcome.SILENT, set()),
        (FORCED, "rodata/master_recv_dmasafe/dmasafe:bounce/8", Outcome.CAUGHT, {"other"}),
        # On 32-bit x86 the image is in the linear map, and modules are in vmalloc space.
        (I386, "rodata/master_recv_dmasafe/dmasafe:bounce/8", Outcome.CAUGHT, {"map-text-or-rodata"}),
        (I386, "module-rodata/master_send_dmasafe/dmasafe:bounce/8", Outcome.CAUGHT, {"map-vmalloc-rejected"}),
        (I386, "stack/master_send_dmasafe/virtio/8", Outcome.CAUGHT, {"map-stack"}),
        # A kmap address has no struct page; dma-debug looks into it all the same.
        (I386, "kmap/master_send_dmasafe/virtio/8", Outcome.CAUGHT, {"other"}),
        (I386, "kmap/master_send_dmasafe/dmasafe:bounce/8", Outcome.CAUGHT, {"map-invalid-area", "other"}),
        # kmap() and modules lie below the linear map: their addresses become some below the first of memory.
        (ARM, "kmap/master_send_dmasafe/dmasafe:bounce/8", Outcome.CAUGHT, {"map-invalid-area", "addr-overflow"}),
        (ARM, "module-data/master_send_dmasafe/virtio/8", Outcome.CAUGHT, {"addr-overflow"}),
        (TRANSLATED, "coherent/master_recv_dmasafe/dmasafe:bounce/8", Outcome.CAUGHT, {"map-vmalloc-rejected"}),
    ],
)
def test_the_cell_decides_what_comes_of_it(facts, scenario, outcome, classes):
    assert outcome_on(facts, scenario)[:2] == (outcome, classes)


def test_forced_bouncing_keeps_the_device_off_the_callers_buffer():
    assert outcome_on(PLAIN, "heap/master_send_dmasafe/virtio/8")[2] is True
    assert outcome_on(FORCED, "heap/master_send_dmasafe/virtio/8")[2] is False
    assert outcome_on(TRANSLATED, "heap/master_send_dmasafe/virtio/8")[2] is True


def test_kasan_would_report_guards_outside_of_a_borrowed_object():
    facts = KernelFacts("x86_64", (6, 12, 117), WIDE | {"KASAN"}, True)
    assert outcome_on(facts, "data/master_send/virtio/32")[0] is Outcome.SAFE
    found = predict(parse_scenario("data/master_send/virtio/256"), facts, default_bus)
    assert isinstance(found, Skip) and "KASAN" in found.why


def test_an_oops_in_an_interrupt_is_a_panic_that_no_run_survives():
    found = predict(parse_scenario("rodata/master_recv_dmasafe/virtio/8"), FORCED, default_bus)
    assert isinstance(found, Skip) and "panic" in found.why
    # It leaves nothing behind.
    assert outcome_on(FORCED, "heap/master_recv_dmasafe/virtio/8")[0] is Outcome.SAFE
