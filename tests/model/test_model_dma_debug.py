# SPDX-License-Identifier: GPL-2.0-or-later
import re

import pytest

from dmasafe.dmesg import parse_records
from dmasafe.model import Config, ModelKernel
from dmasafe.model.device import (
    DMA_ATTR_SKIP_CPU_SYNC,
    DMA_BIDIRECTIONAL,
    DMA_BIT_MASK,
    DMA_FROM_DEVICE,
    DMA_TO_DEVICE,
    Scatterlist,
)
from dmasafe.model.dma_debug import MESSAGES

VERSIONS = ((5, 10), (6, 1), (6, 12), (7, 2))
SG_CHECKS = "DMA_API_DEBUG_SG"


def boot(version=(6, 12), *symbols, **options):
    config = Config(version=version, no_hash_pointers=True, **options).enable(SG_CHECKS, *symbols)
    kernel = ModelKernel(config)
    return kernel, kernel.device("0000:00:05.0", "dmasafe_controller")


def mapped(kernel, dev, size=64, direction=DMA_TO_DEVICE, checked=True):
    dma = kernel.dma_map_single(dev, kernel.kmalloc(max(size, 64)), size, direction)
    if checked:
        kernel.dma_mapping_error(dev, dma)
    return dma


def map_stack(kernel, dev):
    page = kernel.memory.vmalloc_to_page(kernel.task.stack + 4096)
    kernel.dma_map_page(dev, page, 16, 8, DMA_TO_DEVICE)


def free_wrong_size(kernel, dev):
    kernel.dma_unmap_single(dev, mapped(kernel, dev), 32, DMA_TO_DEVICE)


def free_wrong_function(kernel, dev):
    dma = mapped(kernel, dev)
    sg = Scatterlist(dma, 64)
    sg.dma_address = dma
    kernel.dma_unmap_sg(dev, [sg], DMA_TO_DEVICE)


def free_wrong_direction(kernel, dev):
    kernel.dma_unmap_single(dev, mapped(kernel, dev), 64, DMA_FROM_DEVICE)


def free_unchecked(kernel, dev):
    kernel.dma_unmap_single(dev, mapped(kernel, dev, checked=False), 64, DMA_TO_DEVICE)


def free_unallocated(kernel, dev):
    kernel.dma_unmap_single(dev, 0x123000, 64, DMA_TO_DEVICE)


def free_invalid(kernel, dev):
    kernel.dma_unmap_single(dev, kernel.dma.error, 64, DMA_TO_DEVICE)


def free_wrong_cpu_address(kernel, dev):
    _address, dma = kernel.dma_alloc_coherent(dev, 64)
    other, _dma = kernel.dma_alloc_coherent(dev, 64)
    kernel.dma_free_coherent(dev, 64, other, dma)


def sg_of(kernel, *sizes):
    return [Scatterlist(kernel.memory.translate(kernel.kmalloc(max(size, 64))), size) for size in sizes]


def free_wrong_sg_count(kernel, dev):
    sgl = sg_of(kernel, 64, 64)
    kernel.dma_map_sg(dev, sgl, DMA_TO_DEVICE)
    kernel.dma_unmap_sg(dev, sgl[:1], DMA_TO_DEVICE)


def free_wrong_attrs(kernel, dev):
    dma = kernel.dma_map_page(dev, 0x4000, 0, 64, DMA_TO_DEVICE, 1 << 9)
    kernel.dma_mapping_error(dev, dma)
    kernel.dma_unmap_page(dev, dma, 64, DMA_TO_DEVICE)


def sync_unallocated(kernel, dev):
    kernel.dma_sync_single_for_cpu(dev, 0x123000, 8, DMA_FROM_DEVICE)


def sync_wrong_direction(kernel, dev):
    kernel.dma_sync_single_for_device(dev, mapped(kernel, dev), 64, DMA_FROM_DEVICE)


def sync_for_cpu_readonly(kernel, dev):
    kernel.dma_sync_single_for_cpu(dev, mapped(kernel, dev), 64, DMA_BIDIRECTIONAL)


def sync_for_device_writeonly(kernel, dev):
    dma = mapped(kernel, dev, direction=DMA_FROM_DEVICE)
    kernel.dma_sync_single_for_device(dev, dma, 64, DMA_BIDIRECTIONAL)


def sync_wrong_sg_count(kernel, dev):
    sgl = sg_of(kernel, 64, 64)
    kernel.dma_map_sg(dev, sgl, DMA_BIDIRECTIONAL)
    kernel.dma.dma_sync_sg_for_cpu(dev, sgl[:1], DMA_FROM_DEVICE)
    # A bidirectional mapping may be synced either way, and is not looked at further.
    assert not kernel.log.reports()
    sgl = sg_of(kernel, 64, 64)
    kernel.dma_map_sg(dev, sgl, DMA_FROM_DEVICE)
    kernel.dma.dma_sync_sg_for_cpu(dev, sgl[:1], DMA_FROM_DEVICE)


def sg_too_long(kernel, dev):
    kernel.dma_map_sg(dev, [Scatterlist(0x400_0000, 65537)], DMA_TO_DEVICE)


def sg_across_boundary(kernel, dev):
    dev.seg_boundary = DMA_BIT_MASK(16)
    kernel.dma_map_sg(dev, [Scatterlist(0x400_FFF0, 32)], DMA_TO_DEVICE)


def overlap(kernel, dev):
    buf = kernel.kmalloc(64)
    for offset in (0, 32):
        kernel.dma_map_single(dev, buf + offset, 32, DMA_FROM_DEVICE)


def leak(kernel, dev):
    mapped(kernel, dev)
    kernel.dma_debug.device_released(dev)


def map_invalid(kernel, dev):
    kernel.dma_map_single(dev, kernel.allocators.module_alloc(64), 8, DMA_TO_DEVICE)


def map_overflow(kernel, dev):
    dev.dma_mask = DMA_BIT_MASK(24)
    kernel.dma_map_page(dev, 0x4000, 0, 8, DMA_TO_DEVICE)


def map_rejected(kernel, dev):
    kernel.dma_map_single(dev, kernel.vmalloc(64), 8, DMA_TO_DEVICE)


def exceeded(kernel, dev):
    buf = kernel.kmalloc(64)
    for _ in range(9):
        kernel.dma_map_single(dev, buf, 8, DMA_FROM_DEVICE)


# What a driver does wrong: the classes that come of it, and since which of VERSIONS.
MISTAKES = [
    (map_stack, ["map-stack"], (5, 10)),
    (map_invalid, ["map-invalid-area"], (5, 10)),
    (map_rejected, ["map-vmalloc-rejected"], (5, 10)),
    (map_overflow, ["addr-overflow"], (5, 10)),
    (free_wrong_size, ["free-size"], (5, 10)),
    (free_wrong_function, ["free-function", "free-sg-count"], (5, 10)),
    (free_wrong_direction, ["free-direction"], (5, 10)),
    (free_unchecked, ["map-error-unchecked"], (5, 10)),
    (free_unallocated, ["free-unallocated"], (5, 10)),
    (free_invalid, ["free-invalid-address"], (5, 10)),
    (free_wrong_cpu_address, ["free-cpu-address"], (5, 10)),
    (free_wrong_sg_count, ["free-sg-count"], (5, 10)),
    (free_wrong_attrs, ["free-attrs"], (7, 2)),
    (sync_unallocated, ["sync-unallocated"], (5, 10)),
    (sync_wrong_direction, ["sync-direction"], (5, 10)),
    (sync_for_cpu_readonly, ["sync-direction", "sync-cpu-readonly"], (5, 10)),
    (sync_for_device_writeonly, ["sync-direction", "sync-device-writeonly"], (5, 10)),
    (sync_wrong_sg_count, ["sync-sg-count"], (5, 10)),
    (sg_too_long, ["sg-too-long"], (5, 10)),
    (sg_across_boundary, ["sg-boundary"], (5, 10)),
    (leak, ["leak-on-release"], (5, 10)),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("mistake", "classes", "since"), MISTAKES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_mistake_is_reported_in_words_that_the_parser_reads(version, mistake, classes, since):
    kernel, dev = boot(version)
    mistake(kernel, dev)
    wanted = classes if version >= since else []
    noted = [(r.splat_class, r.device, r.driver, r.place.line) for r in kernel.log.reports()]
    read = [(s.splat_class, s.device, s.driver, s.line) for s in parse_records(kernel.log.take())]
    assert [row[0] for row in noted] == wanted
    assert read == noted
    assert all(row[1:3] == ("0000:00:05.0", "dmasafe_controller") for row in read)


def test_free_wrong_sg_count_leaves_the_second_entry():
    kernel, dev = boot()
    free_wrong_sg_count(kernel, dev)
    assert kernel.dma_debug.entries == 1


@pytest.mark.parametrize(
    ("version", "classes"),
    [
        ((5, 10), []),
        ((5, 15), ["cacheline-overlap"]),
        ((6, 1), ["cacheline-overlap"]),
        ((6, 12), ["cacheline-overlap"]),
    ],
)
def test_overlapping_lines_are_reported_since_5_15(version, classes):
    kernel, dev = boot(version)
    overlap(kernel, dev)
    assert [s.splat_class for s in parse_records(kernel.log.take())] == classes


def test_in_7_2_an_overlap_counts_only_where_devices_cannot_see_the_caches():
    for arch, count in (("x86_64", 0), ("aarch64", 1)):
        kernel = ModelKernel(Config(arch=arch, version=(7, 2)))
        overlap(kernel, kernel.device("a", "b"))
        assert len(kernel.log.reports()) == count, arch


def test_an_overlap_that_the_device_only_reads_is_no_overlap():
    kernel, dev = boot()
    buf = kernel.kmalloc(64)
    for direction in (DMA_TO_DEVICE, DMA_TO_DEVICE, DMA_FROM_DEVICE):
        kernel.dma_map_single(dev, buf, 8, direction)
    kernel.dma_map_single(dev, buf, 8, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC)
    assert kernel.log.reports() == []


def test_swiotlb_with_bounced_kmalloc_hides_overlaps_since_6_5():
    kernel, dev = boot((6, 12), "DMA_BOUNCE_UNALIGNED_KMALLOC", swiotlb="on")
    overlap(kernel, dev)
    assert kernel.log.reports() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_more_overlaps_than_can_be_counted_are_one_warning_more(version):
    kernel, dev = boot(version)
    exceeded(kernel, dev)
    texts = [s.message for s in parse_records(kernel.log.take())]
    assert sum(text.startswith("exceeded 7 overlapping mappings") for text in texts) == 1
    repeats = {(5, 10): 0, (6, 1): 8, (6, 12): 8, (7, 2): 0}[version]
    assert len(texts) == repeats + 1


def test_fields_are_those_of_the_mistake():
    kernel, dev = boot()
    free_wrong_size(kernel, dev)
    (splat,) = parse_records(kernel.log.take())
    assert splat.fields["map_size"] == 64 and splat.fields["unmap_size"] == 32
    assert kernel.memory.is_ram(splat.fields["device_address"])
    assert splat.fields["mapped_at"].startswith("debug_dma_map_page+")


@pytest.mark.parametrize(("version", "text"), [((6, 1), "=0x0000"), ((6, 12), "=0x0x0000")])
def test_the_cpu_address_has_two_prefixes_since_it_is_printed_by_pa(version, text):
    kernel, dev = boot(version)
    free_wrong_cpu_address(kernel, dev)
    assert f"[cpu alloc address{text}" in kernel.dmesg()


@pytest.mark.parametrize(("version", "name"), [((6, 1), "scather-gather"), ((6, 12), "scatter-gather")])
def test_scatter_gather_was_misspelt(version, name):
    kernel, dev = boot(version)
    sgl = sg_of(kernel, 64)
    kernel.dma_map_sg(dev, sgl, DMA_TO_DEVICE)
    kernel.dma_unmap_single(dev, sgl[0].dma_address, 64, DMA_TO_DEVICE)
    assert f"[mapped as {name}]" in kernel.dmesg()


@pytest.mark.parametrize(("version", "name"), [((6, 12), "single"), ((7, 2), "phy")])
def test_what_is_mapped_by_page_is_called_phy_in_7_2(version, name):
    kernel, dev = boot(version)
    free_unchecked(kernel, dev)
    assert f"[mapped as {name}]" in kernel.dmesg()


@pytest.mark.parametrize(
    ("version", "pattern"),
    [
        ((5, 10), r"WARNING: CPU: 0 PID: 35 at kernel/dma/debug\.c:1205 debug_dma_map_single\+"),
        ((6, 12), r"WARNING: CPU: 0 PID: 35 at kernel/dma/debug\.c:1203 debug_dma_map_single\+"),
        ((7, 2), r"WARNING: kernel/dma/debug\.c:1252 at debug_dma_map_single\+\S+, CPU#0: agent/35"),
    ],
)
def test_the_warning_line_is_the_versions(version, pattern):
    kernel, dev = boot(version)
    map_invalid(kernel, dev)
    text = kernel.dmesg()
    assert re.search(pattern, text)
    assert text.index("cut here") < text.index("invalid area") < text.index("WARNING:") < text.index("end trace")


def test_records_are_numbered_without_gaps_and_time_goes_on():
    kernel, dev = boot()
    map_invalid(kernel, dev)
    first = kernel.log.take()
    map_stack(kernel, dev)
    records = first + kernel.log.take()
    numbers = [int(record.split(",")[1]) for record in records]
    times = [int(record.split(",")[2]) for record in records]
    assert numbers == list(range(len(records))) and times == sorted(times)
    assert all(re.match(r"[0-7],\d+,\d+,-;", record) for record in records)


def test_the_budget_is_one_error_unless_all_are_wanted():
    kernel, dev = boot(all_errors=False)
    for _ in range(3):
        map_stack(kernel, dev)
    debug = kernel.dma_debug
    assert (len(kernel.log.reports()), debug.error_count, debug.show_num_errors) == (1, 3, 0)
    debug.show_all_errors = True
    map_stack(kernel, dev)
    assert len(kernel.log.reports()) == 2


def test_the_driver_filter_hides_the_others_and_still_counts():
    kernel, dev = boot()
    debug = kernel.dma_debug
    debug.filter_write("e1000e rest\n")
    map_stack(kernel, dev)
    assert kernel.log.reports() == [] and debug.error_count == 1
    debug.filter_write("dmasafe_controller\n")
    map_stack(kernel, dev)
    assert len(kernel.log.reports()) == 1
    debug.filter_write("\n")
    map_stack(kernel, kernel.device("x", None))
    assert len(kernel.log.reports()) == 2
    assert "enable driver filter for driver [e1000e]" in kernel.dmesg()


def test_the_entries_grow_by_a_page_and_when_memory_is_out_dma_debug_gives_up():
    kernel, dev = boot(dma_debug_entries=32)
    debug = kernel.dma_debug
    assert debug.num_free_entries == 32
    for _ in range(33):
        mapped(kernel, dev)
    assert debug.nr_total_entries == 64 and debug.min_free_entries == 0
    assert "dma_debug_entry pool grown to 64 (200%)" in kernel.dmesg()
    debug.out_of_memory = True
    for _ in range(40):
        mapped(kernel, dev)
    assert debug.global_disable
    map_stack(kernel, dev)
    splats = parse_records(kernel.log.take())
    assert [s.splat_class for s in splats] == ["debug-disabled"]


def test_switched_off_it_says_nothing():
    kernel, dev = boot(dma_debug=False)
    map_stack(kernel, dev)
    free_unallocated(kernel, dev)
    assert kernel.log.reports() == []


def test_the_leak_names_how_many_and_one_of_them():
    kernel, dev = boot()
    other = kernel.device("0000:00:04.0", "virtio-pci")
    mapped(kernel, other)
    mapped(kernel, dev, size=100, direction=DMA_FROM_DEVICE)
    mapped(kernel, dev, size=8)
    kernel.dma_debug.device_released(dev)
    (splat,) = parse_records(kernel.log.take())
    assert splat.fields["count"] == 2 and splat.fields["mapped_as"] == "single"


def test_of_several_mappings_of_one_address_the_best_fit_is_freed():
    kernel, dev = boot()
    buf = kernel.kmalloc(256)
    for size in (64, 128):
        kernel.dma_mapping_error(dev, kernel.dma_map_single(dev, buf, size, DMA_TO_DEVICE))
    dma = kernel.memory.translate(buf)
    kernel.dma_unmap_single(dev, dma, 128, DMA_TO_DEVICE)
    assert kernel.log.reports() == [] and kernel.dma_debug.entries == 1
    kernel.dma_mapping_error(dev, kernel.dma_map_single(dev, buf, 128, DMA_TO_DEVICE))
    # Neither fits: dma-debug finds none at all.
    kernel.dma_unmap_single(dev, dma, 32, DMA_TO_DEVICE)
    assert [r.splat_class for r in kernel.log.reports()] == ["free-unallocated"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_sync_in_the_middle_of_a_mapping_finds_it_across_hash_buckets(version):
    kernel, dev = boot(version)
    buf = kernel.page_address(kernel.alloc_pages(3))
    dma = kernel.dma_map_single(dev, buf, 8 * 4096, DMA_FROM_DEVICE)
    kernel.dma_sync_single_for_cpu(dev, dma + 7 * 4096, 64, DMA_FROM_DEVICE)
    assert kernel.log.reports() == []
    kernel.dma_sync_single_for_cpu(dev, dma + 8 * 4096 - 32, 64, DMA_FROM_DEVICE)
    assert [r.splat_class for r in kernel.log.reports()] == ["sync-unallocated"]


def test_pointers_are_hashed_unless_asked_otherwise():
    kernel = ModelKernel(Config())
    map_invalid(kernel, kernel.device("a", "b"))
    assert "ffffffffa0" not in kernel.dmesg()
    shown, dev = boot()
    map_invalid(shown, dev)
    assert "[addr=ffffffffa0000000]" in shown.dmesg()


def test_dma_alloc_pages_is_of_a_type_of_its_own():
    kernel, dev = boot()
    page, dma = kernel.dma.dma_alloc_pages(dev, 100, DMA_FROM_DEVICE)
    kernel.dma.dma_free_pages(dev, 100, page, dma, DMA_FROM_DEVICE)
    assert kernel.log.reports() == [] and kernel.dma_debug.entries == 0
    page, dma = kernel.dma.dma_alloc_pages(dev, 100, DMA_FROM_DEVICE)
    kernel.dma_unmap_page(dev, dma, 4096, DMA_FROM_DEVICE)
    assert "[mapped as noncoherent] [unmapped as single]" in kernel.dmesg()


def test_every_message_can_be_provoked_or_is_known_to_be_out_of_reach():
    provoked = {name for _mistake, classes, _since in MISTAKES for name in classes} | {"cacheline-overlap"}
    # dma_map_single() rejects vmalloc memory first; text is only met on 32 bits (test_model_dma.py); dma_map_resource()
    # is not modelled; a containing match is never smaller than what is synced.
    out_of_reach = {"map-vmalloc", "map-text-or-rodata", "map-resource-ram", "sync-out-of-range"}
    assert set(MESSAGES) - provoked == out_of_reach
