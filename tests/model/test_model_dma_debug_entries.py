# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/dma/debug.c: which entry a call is compared with, what is compared, and what overlaps what."""

import pytest

from dmasafe.model import Config, ModelKernel
from dmasafe.model.device import (
    DMA_ATTR_SKIP_CPU_SYNC,
    DMA_BIDIRECTIONAL,
    DMA_FROM_DEVICE,
    DMA_TO_DEVICE,
    Scatterlist,
)
from dmasafe.model.dma_debug import DIR2NAME

VERSIONS = ((5, 10), (6, 1), (6, 12), (7, 2))
BUCKET = 8192
LINE = 64
# A device address in RAM that nobody else uses, at the start of a bucket.
AT = 0x400_0000


def boot(version=(6, 12), *symbols, **options):
    kernel = ModelKernel(Config(version=version, **options).enable("DMA_API_DEBUG_SG", *symbols))
    return kernel, kernel.device("0000:00:05.0", "dmasafe_controller")


def said(kernel):
    return [entry.splat_class for entry in kernel.log.reports()]


def map_at(kernel, dev, phys, size=LINE, direction=DMA_TO_DEVICE, attrs=0, checked=True):
    dma = kernel.dma_map_page(dev, phys >> 12, phys & 4095, size, direction, attrs)
    if checked:
        kernel.dma_mapping_error(dev, dma)
    return dma


def segment(phys, size=LINE):
    sg = Scatterlist(phys, size)
    sg.dma_address = phys
    return sg


# hash_fn(): 2^14 buckets of 8 KiB, so bucket numbers come again after 128 MiB.


def test_leaks_are_listed_by_bucket_and_buckets_come_again_after_128_mib():
    kernel, dev = boot()
    map_at(kernel, dev, 0x800_0000 + BUCKET)
    map_at(kernel, dev, 4 * BUCKET, size=48)
    kernel.dma_debug.device_released(dev)
    assert "[count=2]" in kernel.dmesg() and "[device address=0x0000000000008000] [size=48 bytes]" in kernel.dmesg()


@pytest.mark.parametrize("at", [4 * BUCKET, 0x7FF_0000])
def test_leaks_of_one_bucket_are_listed_in_the_order_of_mapping(at):
    kernel, dev = boot()
    for size in (16, 32):
        map_at(kernel, dev, at, size)
    kernel.dma_debug.device_released(dev)
    assert "[size=32 bytes] [mapped with DMA_TO_DEVICE] [mapped as single]" in kernel.dmesg()


@pytest.mark.parametrize(("longest", "buckets"), [(65536, 8), (65535, 7), (16384, 2), (1, 0)])
def test_before_6_1_a_sync_looks_back_as_far_as_the_devices_longest_segment(longest, buckets):
    kernel, dev = boot((5, 10))
    dev.max_seg_size = longest
    dma = map_at(kernel, dev, AT, 16 * BUCKET)
    kernel.dma_sync_single_for_device(dev, dma + buckets * BUCKET + BUCKET - 8, 8, DMA_TO_DEVICE)
    assert said(kernel) == []
    kernel.dma_sync_single_for_device(dev, dma + (buckets + 1) * BUCKET, 8, DMA_TO_DEVICE)
    assert said(kernel) == ["sync-unallocated"]


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_since_6_1_a_sync_looks_back_as_far_as_the_hash_goes(version):
    kernel, dev = boot(version, memory_bytes=512 << 20)
    dma = map_at(kernel, dev, 0, 129 << 20)
    kernel.dma_sync_single_for_device(dev, dma + (128 << 20) - 8, 8, DMA_TO_DEVICE)
    assert said(kernel) == []


# __hash_bucket_find(): the device, the address (or the range around it), then the best fit.


@pytest.mark.parametrize(
    ("offset", "size", "found"),
    [(0, 64, True), (0, 63, True), (1, 63, True), (63, 1, True), (0, 65, False), (1, 64, False), (-1, 64, False)],
)
def test_a_sync_must_lie_within_one_mapping(offset, size, found):
    kernel, dev = boot()
    dma = map_at(kernel, dev, AT + 256)
    kernel.dma_sync_single_for_device(dev, dma + offset, size, DMA_TO_DEVICE)
    assert said(kernel) == ([] if found else ["sync-unallocated"])


def test_an_entry_is_its_devices_only():
    kernel, dev = boot()
    other = kernel.device("0000:00:04.0", "virtio-pci")
    dma = map_at(kernel, dev, AT, checked=False)
    assert kernel.dma_mapping_error(other, dma) == 0
    kernel.dma_unmap_single(other, dma, LINE, DMA_TO_DEVICE)
    kernel.dma_sync_single_for_device(other, dma, LINE, DMA_TO_DEVICE)
    assert said(kernel) == ["free-unallocated", "sync-unallocated"]
    # The other device's dma_mapping_error() was no check of this one's mapping.
    kernel.dma_unmap_single(dev, dma, LINE, DMA_TO_DEVICE)
    assert said(kernel)[2:] == ["map-error-unchecked"]
    assert kernel.dma_debug.entries == 0


def test_a_leak_is_its_devices_only():
    kernel, dev = boot()
    map_at(kernel, dev, AT)
    kernel.dma_debug.device_released(kernel.device("0000:00:04.0", "virtio-pci"))
    assert said(kernel) == []


def coherent_at(kernel, dev, phys, size):
    kernel.dma_debug.debug_dma_alloc_coherent(dev, size, phys, phys, 0)


def single(kernel, dev, size, direction):
    map_at(kernel, dev, AT, size, direction, DMA_ATTR_SKIP_CPU_SYNC)


def sg_list(kernel, dev, count, direction=DMA_BIDIRECTIONAL):
    sgl = [segment(AT + n * 4096) for n in range(count)]
    kernel.dma_map_sg(dev, sgl, direction, DMA_ATTR_SKIP_CPU_SYNC)


# Mappings of one address: each differs from the first in one thing that counts for the fit.
FITS = {
    "size": lambda kernel, dev: single(kernel, dev, 32, DMA_BIDIRECTIONAL),
    "direction": lambda kernel, dev: single(kernel, dev, 64, DMA_FROM_DEVICE),
    "type": lambda kernel, dev: coherent_at(kernel, dev, AT, 64),
}


@pytest.mark.parametrize("what", FITS)
@pytest.mark.parametrize("first", [True, False])
def test_the_perfect_fit_is_unmapped_wherever_it_stands(what, first):
    kernel, dev = boot((5, 10))
    if first:
        single(kernel, dev, 64, DMA_BIDIRECTIONAL)
    FITS[what](kernel, dev)
    if not first:
        single(kernel, dev, 64, DMA_BIDIRECTIONAL)
    kernel.dma_sync_single_for_cpu(dev, AT, 64, DMA_BIDIRECTIONAL)
    kernel.dma_unmap_page(dev, AT, 64, DMA_BIDIRECTIONAL)
    assert said(kernel) == []
    ((left,),) = kernel.dma_debug.hash.values()
    assert (left.size, left.direction, left.type) != (64, DMA_BIDIRECTIONAL, "single")


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_the_length_of_its_list_belongs_to_an_entrys_fit(order):
    kernel, dev = boot((5, 10))
    for count in order:
        sg_list(kernel, dev, count)
    kernel.dma_unmap_sg(dev, [segment(AT)], DMA_BIDIRECTIONAL)
    assert said(kernel) == []
    kernel.dma_unmap_sg(dev, [segment(AT), segment(AT + 4096)], DMA_BIDIRECTIONAL)
    assert said(kernel) == [] and kernel.dma_debug.entries == 0


@pytest.mark.parametrize(("version", "classes"), [((6, 12), []), ((7, 2), ["sync-unallocated"])])
def test_a_sync_of_one_of_two_mappings_has_no_perfect_fit_in_7_2(version, classes):
    """check_sync() is asked for type single there, and what is mapped by page is of type phy."""
    kernel, dev = boot(version)
    for size in (64, 128):
        map_at(kernel, dev, AT, size)
    kernel.dma_sync_single_for_device(dev, AT, 64, DMA_TO_DEVICE)
    assert said(kernel) == classes


def test_a_free_that_fits_nothing_counts_as_a_check_for_errors():
    """check_unmap() calls dma_mapping_error() to choose its words, which marks the first entry of that address."""
    kernel, dev = boot()
    for size in (64, 128):
        map_at(kernel, dev, AT, size, checked=False)
    kernel.dma_unmap_single(dev, AT, 32, DMA_TO_DEVICE)
    kernel.dma_unmap_single(dev, AT, 64, DMA_TO_DEVICE)
    assert said(kernel) == ["free-unallocated"]
    kernel.dma_unmap_single(dev, AT, 128, DMA_TO_DEVICE)
    assert said(kernel)[1:] == ["map-error-unchecked"]


def test_each_check_marks_one_mapping_of_the_address():
    kernel, dev = boot()
    other = map_at(kernel, dev, AT + 512, checked=False)
    for _ in range(2):
        map_at(kernel, dev, AT, checked=False)
    kernel.dma_mapping_error(dev, AT)
    kernel.dma_unmap_single(dev, AT, LINE, DMA_TO_DEVICE)
    assert said(kernel) == []
    kernel.dma_unmap_single(dev, AT, LINE, DMA_TO_DEVICE)
    kernel.dma_unmap_single(dev, other, LINE, DMA_TO_DEVICE)
    assert said(kernel) == ["map-error-unchecked"] * 2


@pytest.mark.parametrize("arch", ["x86_64", "i686"])
def test_an_invalid_address_is_all_ones(arch):
    kernel, dev = boot(arch=arch)
    ones = (1 << kernel.memory.layout.bits) - 1
    for address in (ones - 1, ones):
        kernel.dma_unmap_single(dev, address, 8, DMA_TO_DEVICE)
    assert said(kernel) == ["free-unallocated", "free-invalid-address"]


# check_unmap() and check_sync(): every wrong is reported by itself.


def test_all_that_is_wrong_with_an_unmap_is_said():
    kernel, dev = boot()
    map_at(kernel, dev, AT, checked=False)
    sgl = [segment(AT, 32)]
    kernel.dma_unmap_sg(dev, sgl, DMA_FROM_DEVICE)
    classes = ["free-size", "free-function", "free-sg-count", "free-direction", "map-error-unchecked"]
    assert said(kernel) == classes and kernel.dma_debug.entries == 0


def test_the_length_of_a_list_is_compared_for_lists_only():
    kernel, dev = boot()
    kernel.dma_map_sg(dev, [segment(AT)], DMA_TO_DEVICE)
    kernel.dma_sync_single_for_device(dev, AT, LINE, DMA_TO_DEVICE)
    assert said(kernel) == []
    kernel.dma_unmap_single(dev, AT, LINE, DMA_TO_DEVICE)
    assert said(kernel) == ["free-function"]


def test_a_cpu_address_is_compared_for_coherent_memory_only():
    kernel, dev = boot((6, 12))
    debug = kernel.dma_debug
    map_at(kernel, dev, AT)
    kernel.dma_unmap_page(dev, AT, LINE, DMA_TO_DEVICE)
    assert said(kernel) == []
    debug.debug_dma_alloc_pages(dev, AT, 4096, DMA_TO_DEVICE, AT)
    debug.debug_dma_free_pages(dev, AT + 4096, 4096, DMA_TO_DEVICE, AT)
    assert said(kernel) == ["free-cpu-address"]


@pytest.mark.parametrize(("version", "classes"), [((5, 10), 1), ((6, 1), 1), ((6, 12), 0), ((7, 2), 0)])
def test_dma_alloc_pages_was_a_mapping_that_wanted_a_check(version, classes):
    """debug_dma_map_page() stood in dma_alloc_pages() until it had an entry type of its own (read in 6.1, 6.12)."""
    kernel, dev = boot(version)
    page, dma = kernel.dma.dma_alloc_pages(dev, 100, DMA_FROM_DEVICE)
    kernel.dma.dma_free_pages(dev, 100, page, dma, DMA_FROM_DEVICE)
    assert said(kernel) == ["map-error-unchecked"] * classes


# NO_KERNEL_MAPPING, FORCE_CONTIGUOUS, PRIVILEGED, MMIO, REQUIRE_COHERENT, CC_SHARED.
UNMAP_VALID = (4, 6, 9, 10, 12, 13)


@pytest.mark.parametrize("bit", range(1, 15))
def test_in_7_2_some_attributes_must_be_the_same_at_unmap(bit):
    """DMA_ATTR_UNMAP_VALID of check_unmap(), by bit."""
    kernel, dev = boot((7, 2))
    dma = map_at(kernel, dev, AT)
    kernel.dma_unmap_page(dev, dma, LINE, DMA_TO_DEVICE, 1 << bit)
    sgl = [segment(AT)]
    kernel.dma_map_sg(dev, sgl, DMA_TO_DEVICE, 1 << bit)
    kernel.dma_unmap_sg(dev, sgl, DMA_TO_DEVICE)
    assert said(kernel) == ["free-attrs"] * 2 * (bit in UNMAP_VALID)


def test_attributes_that_are_the_same_at_unmap_are_right():
    kernel, dev = boot((7, 2))
    sgl = [segment(AT)]
    kernel.dma_map_sg(dev, sgl, DMA_TO_DEVICE, 1 << 9)
    kernel.dma_unmap_sg(dev, sgl, DMA_TO_DEVICE, 1 << 9)
    address, dma = kernel.dma_alloc_coherent(dev, 64, 1 << 6)
    kernel.dma_free_coherent(dev, 64, address, dma, 1 << 6)
    assert said(kernel) == [] and kernel.dma_debug.entries == 0


# What check_sync() says of (mapped with, synced with) for the cpu, and for the device.
D, C, W = "sync-direction", "sync-cpu-readonly", "sync-device-writeonly"
SYNCS = [
    (DMA_BIDIRECTIONAL, DMA_BIDIRECTIONAL, [], []),
    (DMA_BIDIRECTIONAL, DMA_TO_DEVICE, [], []),
    (DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, [], []),
    (DMA_TO_DEVICE, DMA_BIDIRECTIONAL, [D, C], [D]),
    (DMA_TO_DEVICE, DMA_TO_DEVICE, [], []),
    (DMA_TO_DEVICE, DMA_FROM_DEVICE, [D, C], [D]),
    (DMA_FROM_DEVICE, DMA_BIDIRECTIONAL, [D], [D, W]),
    (DMA_FROM_DEVICE, DMA_TO_DEVICE, [D], [D, W]),
    (DMA_FROM_DEVICE, DMA_FROM_DEVICE, [], []),
]


@pytest.mark.parametrize(("mapped", "synced", "for_cpu", "for_device"), SYNCS)
def test_a_sync_must_go_the_way_of_the_mapping(mapped, synced, for_cpu, for_device):
    for sync, wanted in (("dma_sync_single_for_cpu", for_cpu), ("dma_sync_single_for_device", for_device)):
        kernel, dev = boot()
        dma = map_at(kernel, dev, AT, direction=mapped)
        getattr(kernel, sync)(dev, dma, LINE, synced)
        assert said(kernel) == wanted, sync
        names = f"[mapped with {DIR2NAME[mapped]}] [synced with {DIR2NAME[synced]}]"
        assert kernel.dmesg().count(names) == len(wanted)


# Scatterlists.


def lists(*addresses):
    return [segment(AT + address) for address in addresses]


def test_every_entry_of_a_list_is_looked_at_for_the_stack():
    kernel, dev = boot()
    frame = kernel.memory.vmalloc_to_page(kernel.task.stack) << 12
    kernel.dma_map_sg(dev, [segment(AT), segment(frame), segment(frame + 4)], DMA_TO_DEVICE)
    assert said(kernel) == ["map-stack"] * 2


def test_every_entry_of_a_list_is_looked_at_for_rodata_where_the_image_is_in_the_linear_map():
    kernel, dev = boot(arch="i686")
    rodata = kernel.memory.translate(kernel.memory.start_rodata)
    kernel.dma_map_sg(dev, [segment(AT), segment(rodata)], DMA_TO_DEVICE)
    assert said(kernel) == ["map-text-or-rodata"]


@pytest.mark.parametrize(
    ("length", "longest", "classes"),
    [(4096, 4096, []), (4097, 4096, ["sg-too-long"]), (65536, 65536, []), (65537, 65536, ["sg-too-long"])],
)
def test_a_segment_may_be_as_long_as_the_device_says(length, longest, classes):
    kernel, dev = boot()
    dev.max_seg_size = longest
    kernel.dma_map_sg(dev, [segment(AT, length)], DMA_TO_DEVICE)
    assert said(kernel) == classes


@pytest.mark.parametrize(
    ("start", "length", "classes"),
    [(0, 65536, []), (0xFFF0, 16, []), (0xFFF0, 17, ["sg-boundary"]), (1, 65535, []), (1, 65536, ["sg-boundary"])],
)
def test_a_segment_must_not_cross_the_devices_boundary(start, length, classes):
    kernel, dev = boot()
    dev.seg_boundary = 0xFFFF
    kernel.dma_map_sg(dev, [segment(AT + start, length)], DMA_TO_DEVICE)
    assert said(kernel) == classes
    if classes:
        ends = f"[start=0x{AT + start:016x}] [end=0x{AT + start + length - 1:016x}] [boundary=0x000000000000ffff]"
        assert ends in kernel.dmesg()


@pytest.mark.parametrize("version", VERSIONS)
def test_segments_are_checked_with_a_symbol_of_their_own_before_7_2(version):
    kernel = ModelKernel(Config(version=version))
    kernel.dma_map_sg(kernel.device("a", "b"), [segment(AT, 65537)], DMA_TO_DEVICE)
    assert said(kernel) == (["sg-too-long"] if version == (7, 2) else [])


def test_of_a_list_that_is_unmapped_only_as_many_entries_are_looked_at_as_were_mapped():
    kernel, dev = boot()
    kernel.dma_map_sg(dev, lists(0, 4096), DMA_TO_DEVICE)
    kernel.dma_unmap_sg(dev, lists(0, 4096, 8192), DMA_TO_DEVICE)
    assert said(kernel) == ["free-sg-count"] * 2 and kernel.dma_debug.entries == 0
    kernel.dma_map_sg(dev, lists(0), DMA_TO_DEVICE)
    kernel.dma_unmap_sg(dev, lists(0, 4096), DMA_TO_DEVICE)
    assert said(kernel) == ["free-sg-count"] * 3
    kernel.dma_unmap_sg(dev, [], DMA_TO_DEVICE)
    kernel.dma.dma_sync_sg_for_cpu(dev, [], DMA_TO_DEVICE)
    assert len(said(kernel)) == 3


def test_of_a_list_that_was_not_mapped_every_unmap_is_reported_and_no_sync():
    kernel, dev = boot()
    kernel.dma.dma_sync_sg_for_cpu(dev, lists(0, 4096), DMA_FROM_DEVICE)
    kernel.dma.dma_sync_sg_for_device(dev, lists(0, 4096), DMA_TO_DEVICE)
    assert said(kernel) == []
    kernel.dma_unmap_sg(dev, lists(0, 4096), DMA_TO_DEVICE)
    assert said(kernel) == ["free-unallocated"] * 2


def test_of_a_list_that_is_synced_only_as_many_entries_are_looked_at_as_were_mapped():
    kernel, dev = boot()
    kernel.dma_map_sg(dev, lists(0, 4096), DMA_FROM_DEVICE)
    kernel.dma.dma_sync_sg_for_cpu(dev, lists(0, 4096), DMA_FROM_DEVICE)
    assert said(kernel) == []
    kernel.dma.dma_sync_sg_for_cpu(dev, lists(0, 4096, 8192), DMA_FROM_DEVICE)
    assert said(kernel) == ["sync-sg-count"] * 2
    kernel.dma.dma_sync_sg_for_device(dev, lists(0, 4096), DMA_FROM_DEVICE)
    assert len(said(kernel)) == 2
    kernel.dma.dma_sync_sg_for_device(dev, lists(0), DMA_FROM_DEVICE)
    assert said(kernel) == ["sync-sg-count"] * 3


def test_when_entries_run_out_in_the_middle_of_a_list_dma_debug_gives_up():
    kernel, dev = boot(dma_debug_entries=32)
    kernel.dma_debug.out_of_memory = True
    kernel.dma_map_sg(dev, [segment(AT + n * LINE) for n in range(33)], DMA_TO_DEVICE)
    assert kernel.dma_debug.global_disable and kernel.dma_debug.entries == 32


# The tracker of active cache lines.


@pytest.mark.parametrize(
    ("first", "second", "size", "overlaps"),
    [
        (0, 63, 1, True),
        (0, 64, 1, False),
        (63, 0, 1, True),
        (0, 4096, 1, False),
        (4096 + 128, 128, 1, False),
        (0x100_0000, 0x200_0000, 1, False),
        # Only a mapping's first line is tracked.
        (0, 64, 128, False),
        (0, 32, 128, True),
    ],
)
def test_two_mappings_overlap_if_they_begin_in_one_cache_line(first, second, size, overlaps):
    kernel, dev = boot()
    map_at(kernel, dev, AT + first, size, DMA_FROM_DEVICE)
    map_at(kernel, dev, AT + second, size, DMA_FROM_DEVICE)
    assert said(kernel) == ["cacheline-overlap"] * overlaps


@pytest.mark.parametrize(
    ("arch", "line"), [("i686", 32), ("x86_64", 64), ("armv7l", 64), ("aarch64", 64), ("riscv64", 64)]
)
def test_neighbours_overlap_as_far_as_a_cache_line_of_the_architecture_goes(arch, line):
    """L1_CACHE_SHIFT: 5 for X86's M686, 6 on all others."""
    for distance, overlaps in ((line - 1, True), (line, False)):
        kernel, dev = boot(arch=arch)
        first = kernel.memory.lowmem_end - 4096
        map_at(kernel, dev, first, 1, DMA_FROM_DEVICE)
        map_at(kernel, dev, first + distance, 1, DMA_FROM_DEVICE)
        assert said(kernel) == ["cacheline-overlap"] * overlaps


@pytest.mark.parametrize("count", [1, 2, 8])
def test_overlaps_are_counted_down_again(count):
    kernel, dev = boot()
    for _ in range(count):
        map_at(kernel, dev, AT, direction=DMA_FROM_DEVICE)
    assert len(said(kernel)) == count - 1
    for _ in range(count - 1):
        kernel.dma_unmap_single(dev, AT, LINE, DMA_FROM_DEVICE)
    map_at(kernel, dev, AT, direction=DMA_FROM_DEVICE)
    assert len(said(kernel)) == count
    for _ in range(2):
        kernel.dma_unmap_single(dev, AT, LINE, DMA_FROM_DEVICE)
    map_at(kernel, dev, AT, direction=DMA_FROM_DEVICE)
    assert len(said(kernel)) == count


@pytest.mark.parametrize("version", VERSIONS)
def test_the_ninth_mapping_of_a_line_is_more_than_can_be_counted(version):
    kernel, dev = boot(version)
    fourth = AT + 3 * LINE

    def excesses():
        return kernel.dmesg().count("exceeded 7 overlapping mappings of cacheline 0x0000000000100003")

    for _ in range(8):
        map_at(kernel, dev, fourth, direction=DMA_FROM_DEVICE)
    assert excesses() == 0
    for _ in range(2):
        map_at(kernel, dev, fourth, direction=DMA_FROM_DEVICE)
        assert excesses() == 1
    # The count stopped at 7, so the line is forgotten while mappings of it are left.
    kernel.log.take()
    for _ in range(8):
        kernel.dma_unmap_single(dev, fourth, LINE, DMA_FROM_DEVICE)
    map_at(kernel, dev, fourth, direction=DMA_FROM_DEVICE)
    assert said(kernel) == []


def test_what_the_device_only_reads_is_not_tracked():
    kernel, dev = boot()
    map_at(kernel, dev, AT, direction=DMA_FROM_DEVICE)
    map_at(kernel, dev, AT, direction=DMA_TO_DEVICE)
    kernel.dma_unmap_single(dev, AT, LINE, DMA_TO_DEVICE)
    map_at(kernel, dev, AT, direction=DMA_FROM_DEVICE)
    assert said(kernel) == ["cacheline-overlap"]


@pytest.mark.parametrize(("version", "count"), [((5, 14), 0), ((5, 15), 1), ((6, 19), 1), ((7, 0), 0)])
def test_where_devices_see_the_caches_overlaps_are_reported_from_5_15_to_6_19(version, count):
    kernel, dev = boot(version)
    for _ in range(2):
        map_at(kernel, dev, AT, direction=DMA_FROM_DEVICE)
    assert said(kernel) == ["cacheline-overlap"] * count


IGNORE_CACHELINES, REQUIRE_COHERENT = 1 << 11, 1 << 12


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        (0, 0, 1),
        (IGNORE_CACHELINES, 0, 1),
        (0, IGNORE_CACHELINES, 1),
        (IGNORE_CACHELINES, IGNORE_CACHELINES, 0),
        (REQUIRE_COHERENT, IGNORE_CACHELINES, 0),
        (IGNORE_CACHELINES, REQUIRE_COHERENT, 0),
        (1 << 10 | 1 << 13, IGNORE_CACHELINES, 1),
    ],
)
def test_in_7_2_two_mappings_may_agree_to_share_a_line(first, second, count):
    kernel = ModelKernel(Config(arch="aarch64", version=(7, 2)))
    dev = kernel.device("a", "b")
    at = 0x5000_0000
    for attrs in (first, second):
        sgl = [segment(at)]
        kernel.dma_map_sg(dev, sgl, DMA_FROM_DEVICE, attrs)
    assert said(kernel) == ["cacheline-overlap"] * count
    # What the first one agreed to is forgotten with it.
    for attrs in (first, second):
        kernel.dma_unmap_sg(dev, sgl, DMA_FROM_DEVICE, attrs)
    kernel.log.take()
    for attrs in (0, IGNORE_CACHELINES):
        kernel.dma_map_sg(dev, sgl, DMA_FROM_DEVICE, attrs)
    assert said(kernel) == ["cacheline-overlap"]


def test_in_7_2_mappings_that_share_by_agreement_are_not_counted_aloud():
    kernel = ModelKernel(Config(arch="aarch64", version=(7, 2)))
    dev = kernel.device("a", "b")
    for _ in range(10):
        kernel.dma_map_sg(dev, [segment(0x5000_0000)], DMA_FROM_DEVICE, IGNORE_CACHELINES)
    assert said(kernel) == []


@pytest.mark.parametrize(
    ("version", "symbol", "swiotlb", "count"),
    [
        ((6, 12), True, "on", 0),
        ((6, 12), True, "off", 1),
        ((6, 12), False, "on", 1),
        ((6, 1), True, "on", 1),
    ],
)
def test_overlaps_are_hidden_where_kmalloc_memory_may_be_bounced(version, symbol, swiotlb, count):
    kernel, dev = boot(version, *["DMA_BOUNCE_UNALIGNED_KMALLOC"] * symbol, swiotlb=swiotlb)
    for _ in range(2):
        map_at(kernel, dev, AT, direction=DMA_FROM_DEVICE)
    assert said(kernel) == ["cacheline-overlap"] * count


# check_for_stack() and check_for_illegal_area().


def test_a_stack_in_the_linear_map_is_recognised_by_its_addresses():
    kernel = ModelKernel(Config().disable("VMAP_STACK"))
    dev = kernel.device("a", "b")
    start = kernel.memory.translate(kernel.task.stack)
    for phys, count in ((start - 1, 0), (start, 1), (start + 16383, 2), (start + 16384, 2)):
        map_at(kernel, dev, phys, 1)
        assert said(kernel) == ["map-stack"] * count


def test_highmem_is_no_stack():
    config = Config(arch="i686", memory_bytes=1 << 30).enable("HIGHMEM").disable("VMAP_STACK")
    kernel = ModelKernel(config)
    dev = kernel.device("a", "b")
    # Its address in the linear map would wrap around and end up in the image, if it had one.
    kernel.dma_map_page(dev, (1 << 30) - 4096 >> 12, 0, 8, DMA_TO_DEVICE)
    kernel.dma_map_sg(dev, [segment((1 << 30) - 4096)], DMA_TO_DEVICE)
    assert said(kernel) == []
    # Low memory is looked at as ever.
    for address, wanted in ((kernel.task.stack, "map-stack"), (kernel.memory.stext, "map-text-or-rodata")):
        kernel.dma_map_single(dev, address, 8, DMA_TO_DEVICE)
        kernel.dma_map_sg(dev, [segment(kernel.memory.pa(address))], DMA_TO_DEVICE)
        assert [report.splat_class for report in kernel.log.reports()] == [wanted] * 2
        kernel.log.take()


def test_a_stack_in_vmalloc_space_is_recognised_by_its_pages():
    kernel, dev = boot(no_hash_pointers=True)
    for number in range(4):
        page = kernel.memory.vmalloc_to_page(kernel.task.stack + number * 4096)
        kernel.dma_map_page(dev, page, 24, 8, DMA_TO_DEVICE)
        assert f"[probable addr={kernel.task.stack + number * 4096 + 24:016x}]" in kernel.dmesg()


@pytest.mark.parametrize(
    ("name", "offset", "length", "count"),
    [
        ("stext", -8, 8, 0),
        ("stext", -8, 9, 1),
        ("stext", 0, 1, 1),
        ("etext", -1, 1, 1),
        ("end_rodata", -1, 1, 1),
        ("end_rodata", 0, 1, 0),
        ("stext", -64, 0x2000_0000, 1),
    ],
)
def test_text_and_rodata_end_where_the_image_says(name, offset, length, count):
    kernel, dev = boot(arch="i686")
    address = getattr(kernel.memory, name) + offset
    map_at(kernel, dev, kernel.memory.pa(address), length)
    assert said(kernel) == ["map-text-or-rodata"] * count


@pytest.mark.parametrize(
    ("version", "phys", "classes"),
    [((7, 2), AT, ["map-resource-ram"]), ((7, 2), 0xFEBC_0000, []), ((6, 12), AT, []), ((6, 12), 0xFEBC_0000, [])],
)
def test_in_7_2_memory_mapped_as_a_resource_is_reported(version, phys, classes):
    kernel, dev = boot(version)
    map_at(kernel, dev, phys, attrs=1 << 10)
    assert said(kernel) == classes


@pytest.mark.parametrize(("version", "classes"), [((7, 2), ["map-resource-ram"]), ((6, 12), ["map-stack"])])
def test_in_7_2_a_resource_is_not_looked_for_on_the_stack(version, classes):
    kernel, dev = boot(version)
    map_at(kernel, dev, kernel.memory.vmalloc_to_page(kernel.task.stack) << 12, attrs=1 << 10)
    assert said(kernel) == classes


# The pool of entries, the budget, the filter.


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pool_is_whole_pages_of_32_entries(version):
    """dma_debug_init() rounds up; an entry takes 128 bytes (dma_debug_create_entries() of four built kernels)."""
    totals = [boot(version, dma_debug_entries=n)[0].dma_debug.nr_total_entries for n in (1, 32, 33, 8192)]
    assert totals == [32, 32, 64, 8192]


def test_growth_is_announced_at_multiples_of_the_first_size():
    kernel, dev = boot(dma_debug_entries=64)
    for _ in range(64):
        map_at(kernel, dev, AT)
    assert kernel.dmesg() == ""
    map_at(kernel, dev, AT)
    debug = kernel.dma_debug
    assert (debug.nr_total_entries, debug.num_free_entries, debug.min_free_entries) == (96, 31, 0)
    assert kernel.dmesg() == ""
    for _ in range(32):
        map_at(kernel, dev, AT)
    assert "pool grown to 128 (200%)" in kernel.dmesg()


def test_the_lowest_number_of_free_entries_is_remembered():
    kernel, dev = boot(dma_debug_entries=64)
    debug = kernel.dma_debug
    assert debug.min_free_entries == 64
    for _ in range(3):
        map_at(kernel, dev, AT)
    for _ in range(2):
        kernel.dma_unmap_single(dev, AT, LINE, DMA_TO_DEVICE)
    assert (debug.num_free_entries, debug.min_free_entries, debug.entries) == (63, 61, 1)


def test_giving_up_is_for_good_and_silent_but_for_one_line():
    kernel, dev = boot(dma_debug_entries=32)
    debug = kernel.dma_debug
    debug.out_of_memory = True
    state = kernel.save()
    for _ in range(33):
        map_at(kernel, dev, AT)
    assert debug.global_disable and debug.entries == 32
    assert [line[0] for line in kernel.log.take()] == ["3"]
    kernel.restore(state)
    assert debug.global_disable


def calls(kernel, dev):
    """Every entry point of dma-debug, each with a mistake."""
    debug = kernel.dma_debug
    bad = kernel.allocators.module_alloc(64)
    yield "map-invalid-area", lambda: debug.debug_dma_map_single(dev, bad, 8)
    yield "map-vmalloc", lambda: debug.debug_dma_map_single(dev, kernel.memory.vmalloc_start, 8)
    stack = kernel.memory.vmalloc_to_page(kernel.task.stack) << 12
    yield "map-stack", lambda: debug.debug_dma_map_page(dev, stack, 8, DMA_TO_DEVICE, stack, 0)
    yield "map-stack", lambda: debug.debug_dma_map_sg(dev, [segment(stack)], 1, DMA_TO_DEVICE, 0)
    yield "free-unallocated", lambda: debug.debug_dma_unmap_page(dev, 0x100, 8, DMA_TO_DEVICE, 0)
    yield "free-unallocated", lambda: debug.debug_dma_unmap_sg(dev, [segment(0x100)], DMA_TO_DEVICE, 0)
    yield "free-unallocated", lambda: debug.debug_dma_free_coherent(dev, 8, 0x100, 0x100, 0)
    yield "free-unallocated", lambda: debug.debug_dma_free_pages(dev, 0x100, 8, DMA_TO_DEVICE, 0x100)
    yield "sync-unallocated", lambda: debug.debug_dma_sync_single(dev, 0x100, 8, DMA_TO_DEVICE, True)
    yield "leak-on-release", lambda: debug.device_released(dev)


def test_every_entry_point_reports_and_none_of_them_once_dma_debug_is_disabled():
    kernel, dev = boot((6, 1))
    debug = kernel.dma_debug
    for number, (wanted, call) in enumerate(calls(kernel, dev), 1):
        call()
        assert wanted in said(kernel)
        assert debug.error_count >= number, wanted
    kernel.log.take()
    before, entries = debug.error_count, debug.entries
    debug.global_disable = True
    for _wanted, call in calls(kernel, dev):
        call()
    debug.debug_dma_alloc_coherent(dev, 8, 0x100, 0x100, 0)
    debug.debug_dma_alloc_pages(dev, 0x100, 8, DMA_TO_DEVICE, 0x100)
    kernel.dma_map_sg(dev, [segment(AT)], DMA_FROM_DEVICE)
    kernel.dma.dma_sync_sg_for_cpu(dev, [segment(AT)], DMA_TO_DEVICE)
    assert (kernel.log.entries, debug.error_count, debug.entries) == ([], before, entries)


def test_a_disabled_dma_debug_does_not_note_checks_for_errors():
    kernel, dev = boot()
    dma = map_at(kernel, dev, AT, checked=False)
    kernel.dma_debug.global_disable = True
    kernel.dma_mapping_error(dev, dma)
    kernel.dma_debug.global_disable = False
    kernel.dma_unmap_single(dev, dma, LINE, DMA_TO_DEVICE)
    assert said(kernel) == ["map-error-unchecked"]


def test_the_budget_counts_down_to_silence_and_not_while_all_errors_are_shown():
    kernel, dev = boot(all_errors=False)
    debug = kernel.dma_debug
    debug.show_num_errors = 3
    for left in (2, 1, 0, 0):
        kernel.dma_unmap_single(dev, 0x100, 8, DMA_TO_DEVICE)
        assert debug.show_num_errors == left
    assert len(said(kernel)) == 3
    debug.show_all_errors, debug.show_num_errors = True, 5
    kernel.dma_unmap_single(dev, 0x100, 8, DMA_TO_DEVICE)
    assert debug.show_num_errors == 5 and len(said(kernel)) == 4


LONG = "d" * 70


@pytest.mark.parametrize(
    ("written", "driver", "shown"),
    [
        ("", None, True),
        ("e1000e", None, False),
        ("e1000e", "e1000", False),
        ("e1000e\n", "e1000e", True),
        ("\n", "e1000e", True),
        (" e1000e", "other", True),
        ("e-1000", "other", False),
        ("-", "other", True),
        # 63 characters count on both sides (NAME_MAX_LEN).
        (LONG, LONG, True),
        (LONG, LONG[:63], True),
        (LONG, LONG[:62], False),
        (LONG[:62], LONG, False),
    ],
)
def test_the_driver_filter_is_the_first_word_that_is_written(written, driver, shown):
    kernel, _dev = boot()
    debug = kernel.dma_debug
    debug.filter_write(written)
    kernel.dma_unmap_single(kernel.device("x", driver), 0x100, 8, DMA_TO_DEVICE)
    assert len(said(kernel)) == shown and debug.error_count == 1


def test_the_filter_says_what_it_does_and_that_it_is_off_only_if_it_was_on():
    kernel, _dev = boot()
    for text in ("\n", "abc def", "\n", "\n"):
        kernel.dma_debug.filter_write(text)
    texts = [record.split(";")[1] for record in kernel.log.take()]
    assert texts == [
        "DMA-API: enable driver filter for driver [abc]",
        "DMA-API: switching off dma-debug driver filter",
    ]


def test_a_device_without_driver_has_an_empty_drivers_name():
    kernel, _dev = boot()
    kernel.dma_unmap_single(kernel.device("x", None), 0x100, 8, DMA_TO_DEVICE)
    assert "DMA-API:  x: device driver tries" in kernel.dmesg()


@pytest.mark.parametrize(("arch", "digits"), [("x86_64", 16), ("i686", 8)])
def test_a_hashed_pointer_has_32_bits_and_is_the_same_for_the_same_address(arch, digits):
    debug = boot(arch=arch)[0].dma_debug
    one, again, other = (debug.pointer(0x8880_0000 + n) for n in (0, 0, 1))
    assert one == again != other
    assert len(one) == digits and int(one, 16) < 1 << 32
    plain = boot(arch=arch, no_hash_pointers=True)[0].dma_debug
    assert plain.pointer(0xABC) == "abc".rjust(digits, "0")


@pytest.mark.parametrize(
    ("version", "page", "name"),
    [
        ((5, 10), "debug_dma_map_page", "single"),
        ((6, 1), "debug_dma_map_page", "single"),
        ((6, 12), "debug_dma_map_page", "single"),
        ((7, 2), "debug_dma_map_phys", "phy"),
    ],
)
def test_a_report_says_where_the_mapping_was_made_and_as_what(version, page, name):
    makers = {
        page: lambda kernel, dev: map_at(kernel, dev, AT),
        "debug_dma_map_sg": lambda kernel, dev: kernel.dma_map_sg(dev, [segment(AT)], DMA_TO_DEVICE),
        "debug_dma_alloc_coherent": lambda kernel, dev: coherent_at(kernel, dev, AT, LINE),
    }
    if version >= (6, 12):
        makers["debug_dma_alloc_pages"] = lambda kernel, dev: kernel.dma.dma_alloc_pages(dev, 8, DMA_TO_DEVICE)
    for maker, make in makers.items():
        kernel, dev = boot(version)
        make(kernel, dev)
        kernel.dma_debug.device_released(dev)
        (report,) = kernel.log.reports()
        assert report.mapped_at[0].startswith(f"{maker}+")
        assert "DMA-API: Mapped at:" in kernel.dmesg()
        if maker == page:
            assert f"[mapped as {name}]" in kernel.dmesg()


def test_a_report_without_entry_does_not_say_where_a_mapping_was_made():
    kernel, dev = boot()
    kernel.dma_unmap_single(dev, 0x100, 8, DMA_TO_DEVICE)
    assert "Mapped at" not in kernel.dmesg() and "check_unmap" in kernel.dmesg()


# A kernel that is used again.


def test_restore_brings_back_mappings_lines_and_counters():
    kernel, dev = boot(dma_debug_entries=64)
    debug = kernel.dma_debug
    map_at(kernel, dev, AT, direction=DMA_FROM_DEVICE)
    state = kernel.save()
    for _round in range(2):
        map_at(kernel, dev, AT, direction=DMA_FROM_DEVICE)
        assert said(kernel) == ["cacheline-overlap"]
        for _ in range(80):
            map_at(kernel, dev, AT + 4096)
        debug.filter_write("other")
        debug.show_all_errors, debug.show_num_errors = False, 0
        kernel.restore(state)
        assert (debug.entries, debug.num_free_entries, debug.min_free_entries, debug.nr_total_entries) == (
            1,
            63,
            63,
            64,
        )
        assert (debug.error_count, debug.show_all_errors, debug.show_num_errors) == (0, True, 1)
        assert debug.current_driver_name == ""
        # The line is taken once, not twice.
        kernel.dma_unmap_single(dev, AT, LINE, DMA_FROM_DEVICE)
        map_at(kernel, dev, AT, direction=DMA_FROM_DEVICE)
        assert said(kernel) == []
        kernel.restore(state)


def test_restore_brings_back_what_a_line_was_agreed_to():
    kernel = ModelKernel(Config(arch="aarch64", version=(7, 2)))
    dev = kernel.device("a", "b")
    sgl = [segment(0x5000_0000)]
    kernel.dma_map_sg(dev, sgl, DMA_FROM_DEVICE, IGNORE_CACHELINES)
    state = kernel.save()
    for _round in range(2):
        kernel.dma_unmap_sg(dev, sgl, DMA_FROM_DEVICE, IGNORE_CACHELINES)
        kernel.restore(state)
        kernel.dma_map_sg(dev, sgl, DMA_FROM_DEVICE, IGNORE_CACHELINES)
        assert said(kernel) == []
        kernel.restore(state)


def test_dma_debug_that_was_switched_off_is_on_again_after_restore():
    kernel, _dev = boot()
    state = kernel.save()
    kernel.dma_debug.global_disable = True
    kernel.restore(state)
    assert not kernel.dma_debug.global_disable
    off, _dev = boot(dma_debug=False)
    off.restore(off.save())
    assert off.dma_debug.global_disable
