# SPDX-License-Identifier: GPL-2.0-or-later
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmasafe.model import Config, ModelKernel
from dmasafe.model.caches import DataCache
from dmasafe.model.device import DMA_BIDIRECTIONAL, DMA_BIT_MASK, DMA_FROM_DEVICE, DMA_TO_DEVICE, Scatterlist

ARM64 = Config(arch="aarch64")


def boot(config=None):
    kernel = ModelKernel(config)
    return kernel, kernel.device("0000:00:05.0", "dmasafe_controller")


def splats(kernel):
    return [entry.splat_class for entry in kernel.log.reports()]


def test_a_mapping_is_the_physical_address():
    kernel, dev = boot()
    buf = kernel.kmalloc(64)
    dma = kernel.dma_map_single(dev, buf, 64, DMA_TO_DEVICE)
    assert dma == kernel.memory.translate(buf) and kernel.dma_mapping_error(dev, dma) == 0
    kernel.dma_unmap_single(dev, dma, 64, DMA_TO_DEVICE)
    assert kernel.dma_debug.entries == 0 and splats(kernel) == []


def test_vmalloc_memory_is_rejected_once_per_driver_until_rearmed():
    kernel, dev = boot()
    buf = kernel.vmalloc(64)
    for _ in range(2):
        dma = kernel.dma_map_single(dev, buf, 64, DMA_TO_DEVICE)
        assert kernel.dma_mapping_error(dev, dma) < 0
    assert splats(kernel) == ["map-vmalloc-rejected"]
    kernel.log.clear_warn_once()
    kernel.dma_map_single(dev, buf, 64, DMA_TO_DEVICE)
    assert len(splats(kernel)) == 2


def test_the_page_path_maps_a_vmalloced_page_and_recognises_a_stack():
    kernel, dev = boot()
    for buf, classes in ((kernel.vmalloc(64), []), (kernel.task.alloca(64), ["map-stack"])):
        page = kernel.memory.vmalloc_to_page(buf)
        dma = kernel.dma_map_page(dev, page, buf & 4095, 64, DMA_TO_DEVICE)
        assert kernel.memory.is_ram(dma) and splats(kernel) == classes


def test_rodata_is_recognised_where_the_image_is_in_the_linear_map():
    for arch, classes in (("x86_64", []), ("i686", ["map-text-or-rodata"])):
        kernel, dev = boot(Config(arch=arch))
        kernel.dma_map_single(dev, kernel.memory.start_rodata + 64, 8, DMA_TO_DEVICE)
        assert splats(kernel) == classes, arch


HIGH = Config(memory_bytes=6 << 30)


def high_page(kernel):
    return (5 << 30) >> 12


def test_an_address_beyond_the_mask_is_refused_with_a_warning():
    kernel, dev = boot(HIGH)
    dev.dma_mask = DMA_BIT_MASK(32)
    dma = kernel.dma_map_page(dev, high_page(kernel), 0, 16, DMA_FROM_DEVICE)
    assert kernel.dma_mapping_error(dev, dma) == -12
    assert splats(kernel) == ["addr-overflow"]
    assert "DMA addr 0x0000000140000000+16 overflow (mask ffffffff, bus limit 0)." in kernel.dmesg()


def test_a_bus_limit_counts_like_a_mask():
    kernel, dev = boot(HIGH)
    dev.bus_dma_limit = DMA_BIT_MASK(30)
    assert kernel.dma_mapping_error(dev, kernel.dma_map_page(dev, 1 << 19, 0, 16, DMA_TO_DEVICE))


def test_swiotlb_copies_in_and_out():
    kernel, dev = boot(Config(memory_bytes=6 << 30, swiotlb="on"))
    dev.dma_mask = DMA_BIT_MASK(32)
    phys = high_page(kernel) << 12
    kernel.memory.ram_write(phys, b"question")
    dma = kernel.dma_map_page(dev, high_page(kernel), 0, 8, DMA_BIDIRECTIONAL)
    assert dma < 4 << 30 and kernel.memory.ram_read(dma, 8) == b"question"
    kernel.memory.ram_write(dma, b"answer!!")
    assert kernel.memory.ram_read(phys, 8) == b"question"
    kernel.dma_sync_single_for_cpu(dev, dma, 8, DMA_BIDIRECTIONAL)
    assert kernel.memory.ram_read(phys, 8) == b"answer!!"
    kernel.memory.ram_write(phys, b"resynced")
    kernel.dma_sync_single_for_device(dev, dma, 8, DMA_BIDIRECTIONAL)
    assert kernel.memory.ram_read(dma, 8) == b"resynced"
    kernel.memory.ram_write(dma, b"and done")
    kernel.dma_mapping_error(dev, dma)
    kernel.dma_unmap_page(dev, dma, 8, DMA_BIDIRECTIONAL)
    assert kernel.memory.ram_read(phys, 8) == b"and done"
    assert "swiotlb" in kernel.why() and splats(kernel) == []


def test_swiotlb_force_bounces_everything_and_frees_its_slots():
    kernel, dev = boot(Config(swiotlb="force"))
    buf = kernel.kmalloc(3000)
    first = kernel.dma_map_single(dev, buf, 3000, DMA_TO_DEVICE)
    second = kernel.dma_map_single(dev, buf, 8, DMA_TO_DEVICE)
    assert first != kernel.memory.translate(buf) and second >= first + 3000
    kernel.dma_unmap_single(dev, first, 3000, DMA_TO_DEVICE)
    # swiotlb_search_pool_area() goes on behind what it found last, and comes round.
    places = [kernel.dma_map_single(dev, buf, 100, DMA_TO_DEVICE)]
    while places[-1] != first:
        kernel.dma_unmap_single(dev, places[-1], 100, DMA_TO_DEVICE)
        places.append(kernel.dma_map_single(dev, buf, 100, DMA_TO_DEVICE))
        assert len(places) < 1024
    assert places[0] > second and second not in places
    huge = kernel.dma_map_page(dev, 0x3000, 0, (256 << 10) + 1, DMA_TO_DEVICE)
    assert kernel.dma_mapping_error(dev, huge)


def test_masks_that_reach_nothing_are_refused():
    kernel, dev = boot()
    assert kernel.dma_set_mask_and_coherent(dev, DMA_BIT_MASK(32)) == 0
    assert dev.dma_mask == dev.coherent_dma_mask == DMA_BIT_MASK(32)
    assert kernel.dma_set_mask(dev, DMA_BIT_MASK(20)) == -5


def test_a_scatterlist_is_mapped_as_a_whole_or_not_at_all():
    kernel, dev = boot(HIGH)
    dev.dma_mask = DMA_BIT_MASK(32)
    low = Scatterlist(kernel.memory.translate(kernel.kmalloc(64)), 64)
    assert kernel.dma_map_sg(dev, [low, Scatterlist(5 << 30, 64)], DMA_TO_DEVICE) == 0
    assert kernel.dma_debug.entries == 0
    assert kernel.dma_map_sg(dev, [low, low], DMA_TO_DEVICE) == 2
    kernel.dma_unmap_sg(dev, [low, low], DMA_TO_DEVICE)
    assert kernel.dma_debug.entries == 0


def test_pool_blocks_are_cut_from_one_coherent_page():
    kernel, dev = boot()
    pool = kernel.dma_pool_create("pool", dev, 100, 64)
    blocks = [pool.alloc() for _ in range(33)]
    assert [dma - blocks[0][1] for _address, dma in blocks[:32]] == [128 * n for n in range(32)]
    assert all(kernel.memory.translate(address) == dma for address, dma in blocks)
    for block in blocks:
        pool.free(*block)
    pool.destroy()
    assert kernel.dma_debug.entries == 0


def test_blocks_do_not_cross_a_pools_boundary():
    kernel, dev = boot()
    pool = kernel.dma_pool_create("pool", dev, 96, 32, boundary=256)
    for _ in range(20):
        _address, dma = pool.alloc()
        assert dma // 256 == (dma + 95) // 256


# Machines whose devices do not look into the caches.


def test_a_device_reads_stale_memory_without_a_mapping():
    kernel, dev = boot(ARM64)
    buf = kernel.kmalloc(128)
    kernel.store(buf, b"new")
    phys = kernel.memory.translate(buf)
    assert kernel.memory.ram_read(phys, 3) == bytes(3)
    dma = kernel.dma_map_single(dev, buf, 3, DMA_TO_DEVICE)
    assert kernel.memory.ram_read(dma, 3) == b"new"


def test_the_processor_reads_stale_bytes_until_the_mapping_ends():
    kernel, dev = boot(ARM64)
    buf = kernel.kmalloc(128)
    kernel.store(buf, b"old")
    dma = kernel.dma_map_single(dev, buf, 128, DMA_FROM_DEVICE)
    kernel.memory.ram_write(dma, b"new")
    assert kernel.load(buf, 3) == b"old"
    kernel.dma_unmap_single(dev, dma, 128, DMA_FROM_DEVICE)
    assert kernel.load(buf, 3) == b"new"


def test_a_neighbour_in_the_cache_line_destroys_what_the_device_wrote():
    kernel, dev = boot(ARM64)
    struct = kernel.kmalloc(64)
    buf, neighbour = struct + 8, struct
    kernel.store(struct, b"\x11" * 64)
    dma = kernel.dma_map_single(dev, buf, 8, DMA_FROM_DEVICE)
    kernel.memory.ram_write(dma, b"received")
    kernel.store(neighbour, b"touched!")
    kernel.dma_unmap_single(dev, dma, 8, DMA_FROM_DEVICE)
    # The line was dirty and is written back before it is invalidated: the neighbour wins.
    assert kernel.load(neighbour, 8) == b"touched!" and kernel.load(buf, 8) == b"\x11" * 8


def test_a_whole_line_of_its_own_survives_a_busy_neighbour():
    kernel, dev = boot(ARM64)
    struct = kernel.kmalloc(256)
    kernel.store(struct, bytes(256))
    dma = kernel.dma_map_single(dev, struct + 64, 64, DMA_FROM_DEVICE)
    kernel.memory.ram_write(dma, b"r" * 64)
    kernel.store(struct, b"before")
    kernel.store(struct + 128, b"behind")
    kernel.dma_unmap_single(dev, dma, 64, DMA_FROM_DEVICE)
    assert kernel.load(struct + 64, 64) == b"r" * 64
    assert kernel.load(struct, 6) == b"before" and kernel.load(struct + 128, 6) == b"behind"


def test_coherent_memory_of_a_device_that_does_not_snoop_is_uncached_and_in_vmalloc_space():
    kernel, dev = boot(ARM64)
    address, dma = kernel.dma_alloc_coherent(dev, 100)
    assert kernel.is_vmalloc_addr(address)
    kernel.store(address, b"seen")
    assert kernel.memory.ram_read(dma, 4) == b"seen"
    kernel.memory.ram_write(dma, b"told")
    assert kernel.load(address, 4) == b"told"
    assert kernel.dma_mapping_error(dev, kernel.dma_map_single(dev, address, 8, DMA_TO_DEVICE))
    kernel.dma_free_coherent(dev, 100, address, dma)
    assert kernel.dma_debug.entries == 0


def test_small_kmalloc_memory_is_bounced_where_it_may_share_a_line():
    config = Config(arch="aarch64", swiotlb="on").enable("DMA_BOUNCE_UNALIGNED_KMALLOC")
    kernel, dev = boot(config)
    small, large = kernel.kmalloc(16), kernel.kmalloc(256)
    bounced = kernel.dma_map_single(dev, small, 16, DMA_FROM_DEVICE)
    assert bounced != kernel.memory.translate(small)
    assert kernel.dma_map_single(dev, small, 16, DMA_TO_DEVICE) == kernel.memory.translate(small)
    assert kernel.dma_map_single(dev, large, 256, DMA_FROM_DEVICE) == kernel.memory.translate(large)


@given(
    st.lists(st.tuples(st.sampled_from("lswcie"), st.integers(0, 200), st.binary(min_size=1, max_size=80)), max_size=30)
)
def test_a_cache_that_is_cleaned_before_it_is_dropped_loses_nothing(steps):
    """Against plain memory: as long as every line is cleaned before it is invalidated, loads see all stores."""
    ram = bytearray(512)

    def write(phys, data):
        ram[phys : phys + len(data)] = data

    cache = DataCache(64, lambda phys, length: bytes(ram[phys : phys + length]), write)
    wanted = bytearray(512)
    for step, at, data in steps:
        if step in "sw":
            cache.store(at, data)
            wanted[at : at + len(data)] = data
        elif step == "l":
            assert cache.load(at, len(data)) == wanted[at : at + len(data)]
        elif step == "c":
            cache.clean(at, len(data))
        elif step == "i":
            cache.clean(at, len(data))
            cache.invalidate(at, len(data))
        else:
            cache.evict()
    cache.evict()
    assert ram == wanted


@pytest.mark.parametrize("direction", [DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_BIDIRECTIONAL])
@given(sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=8))
def test_mappings_that_are_undone_leave_nothing_behind(direction, sizes):
    kernel, dev = boot()
    maps = []
    for size in sizes:
        buf = kernel.kmalloc(max(size, 64))
        dma = kernel.dma_map_single(dev, buf, size, direction)
        assert kernel.dma_mapping_error(dev, dma) == 0
        maps.append((dma, size))
    for dma, size in reversed(maps):
        kernel.dma_unmap_single(dev, dma, size, direction)
    debug = kernel.dma_debug
    assert (debug.entries, debug.hash, debug.active_cacheline) == (0, {}, {})
    assert debug.num_free_entries == debug.nr_total_entries and debug.error_count == 0
