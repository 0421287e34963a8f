# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/dma/{mapping,direct,swiotlb}.c and mm/dmapool.c: masks, copies, cache maintenance, blocks."""

import pytest

from dmasafe.model import Config, ModelError, ModelKernel, device
from dmasafe.model.device import (
    DMA_ATTR_SKIP_CPU_SYNC,
    DMA_BIDIRECTIONAL,
    DMA_BIT_MASK,
    DMA_FROM_DEVICE,
    DMA_TO_DEVICE,
    Device,
    Scatterlist,
)
from dmasafe.model.dma import IO_TLB_SIZE, SG_BUG_LINES, line_of

PAGE = 4096
AT = 0x400_0000
GIB = 1 << 30


def boot(*symbols, arch="x86_64", **options):
    kernel = ModelKernel(Config(arch=arch, **options).enable(*symbols))
    return kernel, kernel.device("0000:00:05.0", "dmasafe_controller")


def said(kernel):
    return [entry.splat_class for entry in kernel.log.reports()]


def map_at(kernel, dev, phys, size=64, direction=DMA_TO_DEVICE, attrs=0):
    return kernel.dma_map_page(dev, phys >> 12, phys & 4095, size, direction, attrs)


def test_constants_are_those_of_dma_direction_h_and_dma_mapping_h():
    """Read in 6.12."""
    directions = {"BIDIRECTIONAL": 0, "TO_DEVICE": 1, "FROM_DEVICE": 2, "NONE": 3}
    bits = {
        "WEAK_ORDERING": 1,
        "NO_KERNEL_MAPPING": 4,
        "SKIP_CPU_SYNC": 5,
        "FORCE_CONTIGUOUS": 6,
        "NO_WARN": 8,
        "PRIVILEGED": 9,
    }
    assert {name: getattr(device, f"DMA_{name}") for name in directions} == directions
    assert {name: getattr(device, f"DMA_ATTR_{name}") for name in bits} == {n: 1 << bit for n, bit in bits.items()}
    assert device.DMA_MAPPING_ERROR == 0xFFFFFFFFFFFFFFFF
    assert (DMA_BIT_MASK(1), DMA_BIT_MASK(24)) == (1, 0xFFFFFF)


def test_a_new_device_has_the_limits_of_struct_device_without_parameters():
    dev = Device("a", None)
    assert (dev.dma_mask, dev.coherent_dma_mask) == (0xFFFFFFFFFFFFFFFF, 0xFFFFFFFF)
    assert (dev.max_seg_size, dev.seg_boundary) == (65536, 0xFFFFFFFF)
    assert dev.dma_coherent and dev.bus_dma_limit == 0


@pytest.mark.parametrize(
    ("mask", "bus", "limit"), [(100, 0, 100), (100, 50, 50), (50, 100, 50), (0, 70, 70), (None, 70, 70), (None, 0, 0)]
)
def test_the_limit_is_the_smaller_of_mask_and_bus_that_is_not_zero(mask, bus, limit):
    dev = Device("a", None, dma_mask=mask, bus_dma_limit=bus)
    assert dev.dma_limit == limit


@pytest.mark.parametrize(
    ("version", "line"), [((4, 19), 143), ((5, 10), 143), ((5, 15), 143), ((6, 1), 163), ((6, 12), 187), ((7, 3), 210)]
)
def test_a_line_is_that_of_the_newest_version_read_that_is_not_newer(version, line):
    assert line_of(SG_BUG_LINES, version) == line


# What can be mapped.


@pytest.mark.parametrize(("size", "fits"), [(1, True), (16, True), (17, False)])
def test_the_last_byte_must_be_within_the_mask(size, fits):
    kernel, dev = boot()
    dev.dma_mask = AT + 15
    dma = map_at(kernel, dev, AT, size)
    assert kernel.dma_mapping_error(dev, dma) == (0 if fits else -12)
    sgl = [Scatterlist(AT, size)]
    assert kernel.dma_map_sg(dev, sgl, DMA_TO_DEVICE) == fits
    assert said(kernel) == ["addr-overflow"] * (not fits)


def test_a_device_without_a_mask_can_map_nothing_and_nobody_warns():
    kernel, dev = boot()
    dev.dma_mask = None
    assert kernel.dma_mapping_error(dev, map_at(kernel, dev, AT))
    assert kernel.dma_map_sg(dev, [Scatterlist(AT, 8)], DMA_TO_DEVICE) == 0
    assert said(kernel) == []


@pytest.mark.parametrize(("version", "function"), [((6, 18), "dma_map_page_attrs"), ((6, 19), "dma_map_phys")])
def test_the_overflow_is_warned_of_once_and_names_mask_and_limit(version, function):
    kernel, dev = boot(version=version)
    dev.dma_mask, dev.bus_dma_limit = 0xFFFFFF, 0xFFFFF
    for _ in range(2):
        map_at(kernel, dev, AT)
    assert said(kernel) == ["addr-overflow"]
    assert "DMA addr 0x0000000004000000+64 overflow (mask ffffff, bus limit fffff)." in kernel.dmesg()
    assert f"{function}+0x0/0x0" in kernel.dmesg()
    kernel.log.clear_warn_once()
    map_at(kernel, dev, AT)
    assert len(said(kernel)) == 2


@pytest.mark.parametrize(("arch", "bits"), [("x86_64", 64), ("i686", 32), ("aarch64", 64), ("armv7l", 32)])
def test_the_error_is_all_ones_of_a_dma_addr_t(arch, bits):
    kernel, dev = boot(arch=arch)
    dev.dma_mask = None
    assert map_at(kernel, dev, AT) == (1 << bits) - 1


@pytest.mark.parametrize(("offset", "rejected"), [(-1, False), (0, True), (1 << 30, True)])
def test_vmalloc_space_is_what_dma_map_single_rejects(offset, rejected):
    kernel, dev = boot()
    kernel.dma_map_single(dev, kernel.memory.vmalloc_start + offset, 1, DMA_TO_DEVICE)
    assert ("map-vmalloc-rejected" in said(kernel)) is rejected
    assert ("map-vmalloc-rejected" in said(kernel)) is not ("map-invalid-area" in said(kernel))


def test_the_end_of_vmalloc_space_is_not_rejected():
    kernel, dev = boot(arch="aarch64")
    kernel.dma_map_single(dev, kernel.memory.vmalloc_end, 1, DMA_TO_DEVICE)
    assert said(kernel) == ["map-invalid-area"]


def test_a_rejection_is_said_once_for_each_caller_and_names_it():
    kernel, dev = boot()
    buf = kernel.vmalloc(8)
    other = kernel.device("b", "other")
    for who in (dev, dev, other):
        kernel.dma_map_single(who, buf, 8, DMA_TO_DEVICE)
    kernel.dma.call_site = ("usb_hcd_map_urb_for_dma", None)
    kernel.dma_map_single(dev, buf, 8, DMA_TO_DEVICE)
    places = [(r.driver, r.place.function, r.place.module) for r in kernel.log.reports()]
    assert places == [
        ("dmasafe_controller", "right_map", "dmasafe_controller"),
        ("other", "right_map", "other"),
        ("dmasafe_controller", "usb_hcd_map_urb_for_dma", None),
    ]
    assert kernel.why() == "dma_map_single() rejects vmalloc addresses with a warning"


def test_without_dma_debug_the_same_calls_work_and_say_nothing():
    kernel = ModelKernel(Config().disable("DMA_API_DEBUG"))
    dev = kernel.device("a", "b")
    dma = kernel.dma_map_single(dev, kernel.allocators.module_alloc(8), 8, DMA_TO_DEVICE)
    assert kernel.dma_mapping_error(dev, dma) == 0
    kernel.dma_unmap_single(dev, 0x100, 8, DMA_TO_DEVICE)
    sgl = [Scatterlist(AT, 8)]
    assert kernel.dma_map_sg(dev, sgl, DMA_TO_DEVICE) == 1
    for sync in (kernel.dma.dma_sync_sg_for_cpu, kernel.dma.dma_sync_sg_for_device):
        sync(dev, sgl, DMA_FROM_DEVICE)
    for sync in (kernel.dma_sync_single_for_cpu, kernel.dma_sync_single_for_device):
        sync(dev, AT, 8, DMA_FROM_DEVICE)
    kernel.dma_unmap_sg(dev, sgl, DMA_TO_DEVICE)
    address, dma = kernel.dma_alloc_coherent(dev, 8)
    kernel.dma_free_coherent(dev, 8, address, dma)
    page, dma = kernel.dma.dma_alloc_pages(dev, 8, DMA_TO_DEVICE)
    kernel.dma.dma_free_pages(dev, 8, page, dma, DMA_TO_DEVICE)
    dev.dma_mask = 1
    assert kernel.dma_mapping_error(dev, map_at(kernel, dev, AT)) == -12
    assert said(kernel) == ["addr-overflow"]


@pytest.mark.parametrize(
    ("arch", "mask", "supported"),
    [
        ("x86_64", DMA_BIT_MASK(24), True),
        ("x86_64", DMA_BIT_MASK(24) - 1, False),
        ("i686", DMA_BIT_MASK(24), True),
        ("aarch64", DMA_BIT_MASK(32), True),
        ("aarch64", DMA_BIT_MASK(32) - 1, False),
        ("armv7l", DMA_BIT_MASK(24), False),
    ],
)
def test_a_mask_must_reach_the_zone_for_dma(arch, mask, supported):
    kernel, dev = boot(arch=arch)
    for set_mask in (kernel.dma_set_mask, kernel.dma.dma_set_coherent_mask, kernel.dma_set_mask_and_coherent):
        dev.dma_mask = dev.coherent_dma_mask = 7
        assert set_mask(dev, mask) == (0 if supported else -5)
        changed = {dev.dma_mask, dev.coherent_dma_mask} - {7}
        assert changed == ({mask} if supported else set())
    assert (dev.dma_mask == dev.coherent_dma_mask == mask) is supported


# swiotlb.


def all_slots(kernel, dev):
    """Maps what is left of the pool: the addresses."""
    found = set()
    while not kernel.dma_mapping_error(dev, dma := map_at(kernel, dev, AT, 1)):
        found.add(dma)
    return found


def test_the_slots_are_2_kib_apart_and_the_search_goes_on_where_it_ended():
    kernel, dev = boot(swiotlb="force")
    pool = kernel.dma.swiotlb
    first = map_at(kernel, dev, AT, IO_TLB_SIZE)
    assert IO_TLB_SIZE == 2048 and first == pool.start
    assert map_at(kernel, dev, AT, 1) == first + 2048
    assert map_at(kernel, dev, AT, 2049) == first + 2 * 2048
    assert map_at(kernel, dev, AT, 1) == first + 4 * 2048
    kernel.dma_unmap_page(dev, first + 2048, 1, DMA_TO_DEVICE)
    assert map_at(kernel, dev, AT, 2048) == first + 5 * 2048
    for slot in range(first + 6 * 2048, pool.end, 2048):
        assert map_at(kernel, dev, AT, 1) == slot
    # One slot is free: too little for two, enough for one.
    assert kernel.dma_mapping_error(dev, map_at(kernel, dev, AT, 2049)) == -12
    assert map_at(kernel, dev, AT, 2048) == first + 2048


def test_a_mapping_of_256_kib_is_the_largest_that_bounces():
    kernel, dev = boot(swiotlb="force")
    assert kernel.dma_mapping_error(dev, map_at(kernel, dev, AT, 256 << 10)) == 0
    assert kernel.dma_mapping_error(dev, map_at(kernel, dev, AT, (256 << 10) + 1)) == -12


def test_a_mapping_must_fit_into_the_rest_of_the_pool():
    kernel, dev = boot(swiotlb="force")
    pool = kernel.dma.swiotlb
    for _ in range((pool.end - pool.start >> 18) - 1):
        assert kernel.dma_mapping_error(dev, map_at(kernel, dev, AT, 256 << 10)) == 0
    map_at(kernel, dev, AT, 2048)
    assert kernel.dma_mapping_error(dev, map_at(kernel, dev, AT, 256 << 10)) == -12
    assert kernel.dma_mapping_error(dev, map_at(kernel, dev, AT, (256 << 10) - 2048)) == 0
    assert kernel.dma_mapping_error(dev, map_at(kernel, dev, AT, 1)) == -12


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("direction", "back"), [(DMA_TO_DEVICE, False), (DMA_FROM_DEVICE, True), (DMA_BIDIRECTIONAL, True)]
)
def test_a_slot_is_filled_at_map_in_any_direction_and_copied_back_if_the_device_may_write(arch, direction, back):
    kernel, dev = boot(arch=arch, swiotlb="force")
    buf = kernel.kmalloc(256)
    kernel.store(buf, b"a" * 256)
    dma = kernel.dma_map_single(dev, buf, 100, direction)
    read = kernel.memory.ram_read(dma, 101)
    assert read[:100] == b"a" * 100
    kernel.memory.ram_write(dma, b"b" * 128)
    kernel.dma_unmap_single(dev, dma, 100, direction)
    assert kernel.load(buf, 256) == (b"b" if back else b"a") * 100 + b"a" * 156


@pytest.mark.parametrize("single", [True, False])
def test_what_is_unmapped_without_sync_is_not_copied_back(single):
    kernel, dev = boot(swiotlb="force")
    if single:
        dma = map_at(kernel, dev, AT, 8, DMA_FROM_DEVICE)
        kernel.memory.ram_write(dma, b"received")
        kernel.dma_unmap_page(dev, dma, 8, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC)
    else:
        sgl = [Scatterlist(AT, 8)]
        kernel.dma_map_sg(dev, sgl, DMA_FROM_DEVICE)
        dma = sgl[0].dma_address
        kernel.memory.ram_write(dma, b"received")
        kernel.dma_unmap_sg(dev, sgl, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC)
    assert kernel.memory.ram_read(AT, 8) == bytes(8)
    # The slot is free again all the same.
    assert dma in all_slots(kernel, dev)


def test_a_list_is_copied_back_and_its_slots_are_freed():
    kernel, dev = boot(swiotlb="force")
    sgl = [Scatterlist(AT, 4), Scatterlist(AT + PAGE, 4)]
    kernel.dma_map_sg(dev, sgl, DMA_FROM_DEVICE)
    for number, sg in enumerate(sgl):
        kernel.memory.ram_write(sg.dma_address, bytes([number + 1]) * 4)
    kernel.dma.dma_sync_sg_for_cpu(dev, sgl, DMA_FROM_DEVICE)
    assert kernel.memory.ram_read(AT, 4) == b"\1" * 4 and kernel.memory.ram_read(AT + PAGE, 4) == b"\2" * 4
    kernel.memory.ram_write(AT, b"back")
    kernel.dma.dma_sync_sg_for_device(dev, sgl, DMA_TO_DEVICE)
    assert kernel.memory.ram_read(sgl[0].dma_address, 4) == b"back"
    kernel.memory.ram_write(sgl[1].dma_address, b"last")
    kernel.dma_unmap_sg(dev, sgl, DMA_FROM_DEVICE)
    assert kernel.memory.ram_read(AT + PAGE, 4) == b"last"
    assert {sg.dma_address for sg in sgl} <= all_slots(kernel, dev)


def test_a_list_that_fails_in_the_middle_frees_the_slots_it_had():
    kernel, dev = boot(swiotlb="force")
    sgl = [Scatterlist(AT, 4), Scatterlist(AT, (256 << 10) + 1)]
    assert kernel.dma_map_sg(dev, sgl, DMA_TO_DEVICE) == 0
    assert kernel.dma.swiotlb.start in all_slots(kernel, dev)


# (offset, size) synced of a mapping of 16 bytes -> which of them are copied.
@pytest.mark.parametrize(
    ("offset", "size", "copied"),
    [(0, 16, range(16)), (4, 4, range(4, 8)), (12, 100, range(12, 16)), (15, 1, range(15, 16)), (16, 4, range(0))],
)
def test_a_sync_copies_the_part_that_is_named_and_never_beyond_the_mapping(offset, size, copied):
    kernel, dev = boot(swiotlb="force")
    buf = AT + 0x100
    # Slots in use before and behind, which the copy must not be confused with.
    map_at(kernel, dev, AT + PAGE, 2048, DMA_FROM_DEVICE)
    dma = map_at(kernel, dev, buf, 16, DMA_FROM_DEVICE)
    map_at(kernel, dev, AT + 2 * PAGE, 2048, DMA_FROM_DEVICE)
    kernel.memory.ram_write(dma, b"d" * 32)
    kernel.dma_sync_single_for_cpu(dev, dma + offset, size, DMA_FROM_DEVICE)
    assert [n for n in range(32) if kernel.memory.ram_read(buf + n, 1) == b"d"] == list(copied)
    kernel.memory.ram_write(buf, b"c" * 32)
    kernel.dma_sync_single_for_device(dev, dma + offset, size, DMA_TO_DEVICE)
    assert [n for n in range(32) if kernel.memory.ram_read(dma + n, 1) == b"c"] == list(copied)


@pytest.mark.parametrize(("direction", "cpu", "dev_side"), [(DMA_TO_DEVICE, 0, 1), (DMA_FROM_DEVICE, 1, 0)])
def test_a_sync_copies_only_the_way_that_the_direction_allows(direction, cpu, dev_side):
    kernel, dev = boot(swiotlb="force")
    dma = map_at(kernel, dev, AT, 8, DMA_BIDIRECTIONAL)
    kernel.memory.ram_write(dma, b"device..")
    kernel.dma_sync_single_for_cpu(dev, dma, 8, direction)
    assert (kernel.memory.ram_read(AT, 8) == b"device..") == cpu
    kernel.memory.ram_write(AT, b"cpu.....")
    kernel.dma_sync_single_for_device(dev, dma, 8, direction)
    assert (kernel.memory.ram_read(dma, 8) == b"cpu.....") == dev_side


def test_memory_that_the_device_reaches_does_not_bounce_where_a_pool_exists():
    kernel, dev = boot(swiotlb="on")
    dma = map_at(kernel, dev, AT, 8, DMA_BIDIRECTIONAL)
    assert dma == AT and kernel.why() == ""
    kernel.memory.ram_write(AT, b"received")
    kernel.dma_sync_single_for_cpu(dev, dma, 8, DMA_FROM_DEVICE)
    kernel.dma_unmap_page(dev, dma, 8, DMA_BIDIRECTIONAL)
    assert kernel.memory.ram_read(AT, 8) == b"received"


@pytest.mark.parametrize(
    ("symbol", "version", "coherent", "direction", "size", "bounced"),
    [
        (True, (6, 12), False, DMA_FROM_DEVICE, 16, True),
        (True, (6, 5), False, DMA_FROM_DEVICE, 16, True),
        (True, (6, 4), False, DMA_FROM_DEVICE, 16, False),
        (False, (6, 12), False, DMA_FROM_DEVICE, 16, False),
        (True, (6, 12), True, DMA_FROM_DEVICE, 16, False),
        (True, (6, 12), False, DMA_TO_DEVICE, 16, False),
        (True, (6, 12), False, DMA_BIDIRECTIONAL, 16, True),
        # kmalloc_size_roundup() to a multiple of 64 is aligned; from 2 * ARCH_DMA_MINALIGN on everything is.
        (True, (6, 12), False, DMA_FROM_DEVICE, 64, False),
        (True, (6, 12), False, DMA_FROM_DEVICE, 65, True),
        (True, (6, 12), False, DMA_FROM_DEVICE, 97, False),
        (True, (6, 12), False, DMA_FROM_DEVICE, 255, False),
        (True, (6, 12), False, DMA_FROM_DEVICE, 256, False),
    ],
)
def test_kmalloc_memory_bounces_where_it_may_share_a_line(symbol, version, coherent, direction, size, bounced):
    """include/linux/dma-map-ops.h dma_kmalloc_needs_bounce()."""
    names = ["DMA_BOUNCE_UNALIGNED_KMALLOC"] * symbol
    kernel, dev = boot(*names, arch="aarch64", version=version, swiotlb="on")
    dev.dma_coherent = coherent
    phys = (1 << 30) + AT
    assert (map_at(kernel, dev, phys, size, direction) != phys) is bounced
    assert kernel.why() == ("swiotlb bounces the mapping: kmalloc() memory shares its cache line" if bounced else "")


def test_arm_bounces_below_twice_its_own_alignment_if_at_all():
    """ARCH_DMA_MINALIGN is 64 and the smallest kmalloc() as large: nothing is ever unaligned."""
    kernel, dev = boot("DMA_BOUNCE_UNALIGNED_KMALLOC", arch="armv7l", swiotlb="on")
    for size in (1, 65, 127, 128, 129):
        assert map_at(kernel, dev, GIB + AT, size, DMA_FROM_DEVICE) == GIB + AT


# Cache maintenance, on a machine whose devices do not look into the caches.


@pytest.mark.parametrize(
    ("arch", "version", "direction", "lost"),
    [
        ("aarch64", (5, 18), DMA_FROM_DEVICE, True),
        ("aarch64", (5, 19), DMA_FROM_DEVICE, False),
        ("aarch64", (5, 10), DMA_TO_DEVICE, False),
        ("aarch64", (5, 10), DMA_BIDIRECTIONAL, False),
        ("armv7l", (6, 12), DMA_FROM_DEVICE, True),
        ("armv7l", (6, 12), DMA_BIDIRECTIONAL, False),
    ],
)
def test_what_the_processor_wrote_before_a_map_from_device_is_lost_on_arm_and_on_arm64_before_5_19(
    arch, version, direction, lost
):
    kernel, dev = boot(arch=arch, version=version)
    buf = kernel.kmalloc(128)
    kernel.store(buf, b"w" * 128)
    dma = kernel.dma_map_single(dev, buf, 128, direction)
    assert kernel.memory.ram_read(dma, 128) == (bytes(128) if lost else b"w" * 128)


@pytest.mark.parametrize(
    ("direction", "seen"), [(DMA_TO_DEVICE, False), (DMA_FROM_DEVICE, True), (DMA_BIDIRECTIONAL, True)]
)
@pytest.mark.parametrize("how", ["unmap", "unmap_sg", "sync", "sync_sg", "skip"])
def test_the_processor_sees_what_the_device_wrote_after_unmap_or_sync(direction, seen, how):
    kernel, dev = boot(arch="aarch64")
    buf = kernel.kmalloc(128)
    kernel.load(buf, 128)
    sg = Scatterlist(kernel.memory.translate(buf), 128)
    kernel.dma_map_sg(dev, [sg], direction)
    kernel.load(buf, 128)
    kernel.memory.ram_write(sg.dma_address, b"d" * 128)
    {
        "unmap": lambda: kernel.dma_unmap_single(dev, sg.dma_address, 128, direction),
        "unmap_sg": lambda: kernel.dma_unmap_sg(dev, [sg], direction),
        "sync": lambda: kernel.dma_sync_single_for_cpu(dev, sg.dma_address, 128, direction),
        "sync_sg": lambda: kernel.dma.dma_sync_sg_for_cpu(dev, [sg], direction),
        "skip": lambda: kernel.dma_unmap_sg(dev, [sg], direction, DMA_ATTR_SKIP_CPU_SYNC),
    }[how]()
    assert (kernel.load(buf, 128) == b"d" * 128) is (seen and how != "skip")


@pytest.mark.parametrize("how", ["single", "sg", "coherent device", "skip"])
def test_the_device_sees_what_the_processor_wrote_after_a_sync_for_it(how):
    kernel, dev = boot(arch="aarch64")
    buf = kernel.kmalloc(128)
    sg = Scatterlist(kernel.memory.translate(buf), 128)
    attrs = DMA_ATTR_SKIP_CPU_SYNC if how == "skip" else 0
    kernel.store(buf, b"1" * 128)
    kernel.dma_map_sg(dev, [sg], DMA_TO_DEVICE, attrs)
    assert kernel.memory.ram_read(sg.phys, 128) == (bytes(128) if how == "skip" else b"1" * 128)
    kernel.store(buf, b"2" * 128)
    dev.dma_coherent = how == "coherent device"
    if how == "single":
        kernel.dma_sync_single_for_device(dev, sg.phys, 128, DMA_TO_DEVICE)
    else:
        kernel.dma.dma_sync_sg_for_device(dev, [sg], DMA_TO_DEVICE)
    # A device that looks into the caches needs no maintenance, and gets none.
    assert (kernel.memory.ram_read(sg.phys, 128) == b"2" * 128) is (how != "coherent device")


def test_a_stray_range_has_no_cache_lines():
    kernel, dev = boot(arch="aarch64")
    beyond = kernel.memory.ram[-1][1]
    dma = map_at(kernel, dev, beyond - 8, 16, DMA_FROM_DEVICE)
    kernel.dma_unmap_page(dev, dma, 16, DMA_FROM_DEVICE)
    kernel.memory.cache.store(beyond - 64, b"x" * 64)
    map_at(kernel, dev, beyond - 64, 65, DMA_TO_DEVICE)
    kernel.dma_sync_single_for_cpu(dev, beyond - 64, 65, DMA_FROM_DEVICE)
    assert kernel.memory.cache.load(beyond - 64, 64) == b"x" * 64
    assert kernel.memory.ram_read(beyond - 64, 64) == bytes(64)


def test_a_bounced_mapping_of_such_a_device_is_maintained_in_its_slot():
    kernel, dev = boot(arch="aarch64", swiotlb="force")
    buf = kernel.kmalloc(128)
    kernel.store(buf, b"1" * 128)
    dma = kernel.dma_map_single(dev, buf, 128, DMA_BIDIRECTIONAL)
    assert kernel.memory.ram_read(dma, 128) == b"1" * 128
    kernel.store(buf, b"2" * 128)
    kernel.dma_sync_single_for_device(dev, dma, 128, DMA_BIDIRECTIONAL)
    assert kernel.memory.ram_read(dma, 128) == b"2" * 128
    kernel.memory.ram_write(dma, b"3" * 128)
    kernel.dma_sync_single_for_cpu(dev, dma, 128, DMA_BIDIRECTIONAL)
    assert kernel.load(buf, 128) == b"3" * 128
    assert kernel.dma_mapping_error(dev, dma) == 0
    skipped = kernel.dma_map_single(dev, buf, 128, DMA_TO_DEVICE) and map_at(
        kernel, dev, kernel.memory.translate(buf), 128, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC
    )
    assert kernel.memory.ram_read(skipped, 128) == bytes(128)


# Coherent memory.


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize(("size", "pages"), [(1, 1), (PAGE, 1), (PAGE + 1, 2), (3 * PAGE, 4)])
def test_coherent_memory_is_zeroed_whole_pages_in_one_block(arch, size, pages):
    kernel, dev = boot(arch=arch)
    page = kernel.alloc_pages(2)
    kernel.memory.ram_write(page << 12, b"x" * 4 * PAGE)
    kernel.memory.cache and kernel.memory.cache.store(page << 12, b"y" * 4 * PAGE)
    for number in range(0, 4, pages):
        kernel.free_pages(page + number, (pages - 1).bit_length())
    address, dma = kernel.dma_alloc_coherent(dev, size)
    whole = -(-size // PAGE) * PAGE
    assert page << 12 <= dma < (page + 4) << 12 and dma % (pages * PAGE) == 0
    assert kernel.load(address, whole) == bytes(whole) == kernel.memory.ram_read(dma, whole)
    kernel.dma_free_coherent(dev, size, address, dma)
    again, dma_again = kernel.dma_alloc_coherent(dev, size)
    assert dma_again == dma and kernel.memory.translate(again) == dma
    if kernel.memory.cache:
        assert kernel.memory.translate(address) is None
        # What the lines held before is not written over it later.
        kernel.memory.cache.evict()
        assert kernel.memory.ram_read(dma, whole) == bytes(whole)


@pytest.mark.parametrize(("mask", "bus", "fits"), [(15, 0, True), (14, 0, False), (64, 15, True), (64, 14, False)])
def test_coherent_memory_must_end_within_mask_and_bus(mask, bus, fits):
    kernel, dev = boot()
    page = kernel.alloc_pages(0)
    kernel.free_pages(page, 0)
    dev.coherent_dma_mask = (page << 12) + mask
    dev.bus_dma_limit = (page << 12) + bus if bus else 0
    if fits:
        assert kernel.dma_alloc_coherent(dev, 16)[1] == page << 12
    else:
        with pytest.raises(ModelError, match="no coherent memory below"):
            kernel.dma_alloc_coherent(dev, 16)


def test_pages_for_syncing_by_hand_are_zeroed_whole_pages():
    kernel, dev = boot(version=(6, 12))
    page = kernel.alloc_pages(1)
    kernel.memory.ram_write(page << 12, b"x" * 2 * PAGE)
    kernel.free_pages(page, 1)
    got, dma = kernel.dma.dma_alloc_pages(dev, PAGE + 1, DMA_FROM_DEVICE)
    assert (got, dma) == (page, page << 12) and kernel.memory.ram_read(dma, 2 * PAGE) == bytes(2 * PAGE)
    kernel.dma_sync_single_for_cpu(dev, dma, 2 * PAGE, DMA_FROM_DEVICE)
    kernel.dma.dma_free_pages(dev, PAGE + 1, got, dma, DMA_FROM_DEVICE)
    assert said(kernel) == [] and kernel.alloc_pages(1) == page


# dma_pool.


@pytest.mark.parametrize(
    ("arch", "version", "size", "alignment", "distance"),
    [
        ("x86_64", (6, 12), 1, 1, 16),
        ("x86_64", (6, 3), 1, 1, 16),
        ("x86_64", (6, 2), 1, 1, 4),
        ("i686", (6, 12), 1, 1, 8),
        ("x86_64", (6, 12), 17, 1, 17),
        ("x86_64", (6, 12), 17, 0, 17),
        ("x86_64", (6, 12), 17, 8, 24),
        ("x86_64", (6, 12), 100, 128, 128),
    ],
)
def test_blocks_of_a_pool_are_as_far_apart_as_struct_dma_block_and_alignment_ask(
    arch, version, size, alignment, distance
):
    kernel, dev = boot(arch=arch, version=version)
    pool = kernel.dma_pool_create("pool", dev, size, alignment)
    one, two = pool.alloc(), pool.alloc()
    assert two[1] - one[1] == distance == two[0] - one[0] and one[1] % PAGE == 0


@pytest.mark.parametrize(
    ("size", "boundary", "offsets"),
    [
        (1024, 0, [0, 1024, 2048, 3072]),
        (1500, 0, [0, 1500]),
        (1500, 2048, [0, 2048]),
        (768, 1024, [0, 1024, 2048, 3072]),
        (512, 1024, [0, 512, 1024, 1536, 2048, 2560, 3072, 3584]),
        (4096, 1 << 20, [0]),
        (5000, 0, [0]),
        (5000, 8192, [0]),
    ],
)
def test_a_page_is_cut_into_blocks_that_do_not_cross_the_boundary(size, boundary, offsets):
    """mm/dmapool.c pool_initialise_page()."""
    kernel, dev = boot()
    pool = kernel.dma_pool_create("pool", dev, size, 1, boundary)
    _address, base = pool.alloc()
    rest = [pool.alloc()[1] - base for _ in offsets[1:]]
    assert [0, *rest] == offsets
    beyond = pool.alloc()[1]
    assert not base <= beyond < base + max(size, PAGE)


def test_a_freed_block_is_the_next_and_a_busy_pools_pages_are_leaked():
    kernel, dev = boot()
    pool = kernel.dma_pool_create("pool", dev, 2048)
    one, two = pool.alloc(), pool.alloc()
    pool.free(*one)
    assert pool.alloc() == one and pool.nr_active == 2
    pool.free(*two)
    pool.destroy()
    assert kernel.dma_debug.entries == 1
    pool.free(*one)
    pool.destroy()
    # Its pages were forgotten with the first dma_pool_destroy().
    assert kernel.dma_debug.entries == 1 and said(kernel) == []
