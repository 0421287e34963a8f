# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's allocators promise: alignment, room, whose turn it is, and what is nobody's."""

import pytest

from dmasafe.model import Config, ModelError, ModelKernel
from dmasafe.model.allocators import PCPU_MIN_UNIT_SIZE, ZERO_SIZE_PTR, KmemCache, Task, align, get_order

PAGE = 4096
MIB = 1 << 20
HIGHMEM = Config(arch="i686", memory_bytes=896 * MIB + 3 * PAGE).enable("HIGHMEM")


@pytest.mark.parametrize(("size", "order"), [(1, 0), (PAGE, 0), (PAGE + 1, 1), (2 * PAGE, 1), (2 * PAGE + 1, 2)])
def test_an_order_is_the_power_of_two_of_pages_that_holds_a_size(size, order):
    assert get_order(size) == order


@pytest.mark.parametrize(("value", "to", "aligned"), [(0, 8, 0), (1, 8, 8), (8, 8, 8), (9, 8, 16), (10, 3, 12)])
def test_alignment_goes_up(value, to, aligned):
    assert align(value, to) == aligned


# Pages.


def test_a_block_of_pages_is_aligned_to_its_size_and_freed_blocks_come_first():
    kernel = ModelKernel()
    kernel.alloc_pages(0)
    blocks = [(kernel.alloc_pages(order), order) for order in (3, 0, 1, 5)]
    taken = set()
    for page, order in blocks:
        assert page % (1 << order) == 0
        frames = set(range(page, page + (1 << order)))
        assert not frames & taken
        taken |= frames
    for page, order in blocks:
        kernel.free_pages(page, order)
    for page, order in reversed(blocks):
        assert kernel.alloc_pages(order) == page


def test_the_first_block_lies_behind_the_image_and_the_last_at_the_end_of_memory():
    kernel = ModelKernel()
    fresh = ModelKernel(Config().disable("VMAP_STACK"))
    # The task's stack is the first that anybody asks for: 16 KiB.
    assert fresh.task.stack == fresh.page_address(fresh.memory.first_free_phys >> 12)
    assert kernel.alloc_pages(0) == (kernel.memory.first_free_phys >> 12) + 4
    last = 0
    with pytest.raises(ModelError, match="out of memory: no block of 4194304 bytes"):
        while True:
            last = kernel.alloc_pages(10)
    assert (last << 12) + 4 * MIB == kernel.memory.lowmem_end


def test_highmem_is_handed_out_until_it_is_used_up():
    kernel = ModelKernel(HIGHMEM)
    allocators = kernel.allocators
    pages = [allocators.alloc_highpage() for _ in range(4)]
    assert [page - (896 * MIB >> 12) for page in pages[:3]] == [0, 1, 2]
    assert kernel.memory.page_is_highmem(pages[2]) and not kernel.memory.page_is_highmem(pages[3])
    for page in reversed(pages):
        allocators.free_highpage(page)
    assert kernel.alloc_pages(0) == pages[3]
    low = ModelKernel().allocators
    assert not low.memory.page_is_highmem(low.alloc_highpage())


# kmalloc().


@pytest.mark.parametrize(
    ("size", "room"),
    [
        *((0, 0), (1, 8), (8, 8), (9, 16), (64, 64), (65, 96), (96, 96), (97, 128), (129, 192), (192, 192), (193, 256)),
        *((257, 512), (4097, 8192), (8192, 8192), (8193, 16384), (16385, 32768)),
    ],
)
def test_kmalloc_gives_the_next_size_of_its_caches_and_pages_beyond_8_kib(size, room):
    kernel = ModelKernel()
    assert kernel.allocators.kmalloc_size_roundup(size) == room
    first, second = kernel.kmalloc(size), kernel.kmalloc(size)
    assert second - first == (room if room else 0)


def test_objects_of_a_slab_go_out_in_order_and_come_back_last_in_first_out():
    kernel = ModelKernel()
    first = kernel.kmalloc(2048)
    assert first % PAGE == 0 and kernel.kmalloc(2048) == first + 2048
    third = kernel.kmalloc(2048)
    assert third % PAGE == 0 and third != first
    kernel.kfree(first)
    kernel.kfree(third)
    assert (kernel.kmalloc(2048), kernel.kmalloc(2048)) == (third, first)
    large = kernel.kmalloc(5 * PAGE)
    assert large % (8 * PAGE) == 0
    kernel.kfree(large)
    assert kernel.alloc_pages(3) << 12 == kernel.memory.pa(large)


def test_an_empty_object_has_an_address_that_is_none_and_can_be_freed():
    kernel = ModelKernel()
    assert kernel.kmalloc(0) == kernel.kzalloc(0) == kernel.kmemdup(0, 0) == ZERO_SIZE_PTR == 16
    kernel.kfree(16)
    with pytest.raises(ModelError, match="kmalloc\\(\\) did not return"):
        kernel.kfree(17)
    assert kernel.allocators.allocated == {}


def test_kzalloc_clears_and_kmemdup_copies():
    kernel = ModelKernel()
    old = kernel.kmalloc(100)
    kernel.store(old, b"\xff" * 100)
    copy = kernel.kmemdup(old, 100)
    assert kernel.load(copy, 100) == b"\xff" * 100 and copy != old
    kernel.kfree(old)
    assert kernel.kzalloc(100) == old and kernel.load(old, 100) == bytes(100)


@pytest.mark.parametrize(
    ("arch", "version", "sizes"),
    [
        ("x86_64", (6, 12), [8, 16, 32, 64, 96, 128, 192, 256, 512]),
        ("aarch64", (6, 12), [64, 128, 192, 256, 512]),
        ("aarch64", (6, 4), [128, 256, 512]),
        ("aarch64", (6, 5), [64, 128, 192, 256, 512]),
        ("armv7l", (6, 12), [64, 128, 192, 256, 512]),
    ],
)
def test_the_caches_are_those_whose_size_the_smallest_alignment_divides(arch, version, sizes):
    kernel = ModelKernel(Config(arch=arch, version=version))
    assert [cache.size for cache in kernel.allocators.kmalloc_caches][: len(sizes)] == sizes


@pytest.mark.parametrize(
    ("arch", "size", "alignment", "distance"),
    [
        ("x86_64", 20, 0, 24),
        ("x86_64", 20, 64, 64),
        ("x86_64", 65, 64, 128),
        ("x86_64", 3000, 0, 3000),
        ("x86_64", 5000, 0, 5000),
        ("armv7l", 20, 0, 64),
    ],
)
def test_objects_of_a_cache_of_ones_own_are_as_far_apart_as_alignment_asks(arch, size, alignment, distance):
    kernel = ModelKernel(Config(arch=arch))
    cache = kernel.kmem_cache_create("mine", size, alignment)
    assert isinstance(cache, KmemCache) and cache.size == distance
    first = kernel.kmem_cache_alloc(cache)
    per_slab = (PAGE << get_order(distance)) // distance
    addresses = [kernel.kmem_cache_alloc(cache) for _ in range(per_slab)]
    assert addresses[: per_slab - 1] == [first + (n + 1) * distance for n in range(per_slab - 1)]
    # The next one is in another slab.
    assert addresses[-1] % PAGE == 0
    kernel.kfree(first)
    assert kernel.kmem_cache_alloc(cache) == first


# devres.


@pytest.mark.parametrize(
    ("arch", "version", "symbols", "header"),
    [
        ("i686", (6, 12), (), 24),
        ("i686", (5, 10), (), 16),
        ("x86_64", (5, 10), ("DEBUG_DEVRES",), 40),
        ("x86_64", (5, 19), (), 24),
        ("x86_64", (6, 0), (), 40),
        ("aarch64", (5, 10), (), 128),
    ],
)
def test_a_devres_header_is_three_or_five_pointers_and_aligned_for_dma(arch, version, symbols, header):
    kernel = ModelKernel(Config(arch=arch, version=version).enable(*symbols))
    data = kernel.devm_kmalloc(64)
    assert kernel.allocators.kmalloc_size_roundup(header + 64) == kernel.kmalloc(header + 64) - (data - header)
    kernel.devm_kfree(data)
    with pytest.raises(KeyError):
        kernel.devm_kfree(data)
    assert data - header not in kernel.allocators.allocated


# vmalloc(), vmap(), modules, kmap().


@pytest.mark.parametrize(("size", "pages"), [(1, 1), (PAGE, 1), (PAGE + 1, 2), (3 * PAGE, 3)])
def test_mappings_are_followed_by_one_page_of_nothing(size, pages):
    kernel = ModelKernel()
    for allocate in (kernel.vmalloc, kernel.allocators.module_alloc):
        first, second = allocate(size), allocate(size)
        assert second - first == (pages + 1) * PAGE
        assert kernel.memory.translate(first + pages * PAGE - 1) is not None
        assert kernel.memory.translate(first + pages * PAGE) is None


def test_a_freed_mapping_comes_back_to_who_wants_as_many_pages():
    kernel = ModelKernel()
    one, two = kernel.vmalloc(PAGE), kernel.vmalloc(2 * PAGE)
    kernel.vfree(one)
    kernel.vfree(two)
    assert kernel.vmalloc(PAGE + 1) == two and kernel.vmalloc(8) == one
    assert kernel.vmalloc(8) > two
    kernel.vfree(one)
    with pytest.raises(ModelError, match="vmalloc\\(\\) did not return"):
        kernel.vfree(one)
    assert kernel.vmalloc(8) == one
    kernel.vfree(one)


def test_vmap_maps_the_frames_as_they_come_and_vunmap_leaves_nothing():
    kernel = ModelKernel()
    memory, allocators = kernel.memory, kernel.allocators
    frames = [100, 300, 200]
    at = allocators.vmap(frames)
    assert [memory.vmalloc_to_page(at + n * PAGE) for n in range(4)] == [*frames, None]
    assert allocators.vmap([5]) - at == 4 * PAGE
    allocators.vunmap(at)
    assert [memory.vmalloc_to_page(at + n * PAGE) for n in range(3)] == [None] * 3
    with pytest.raises(KeyError):
        allocators.vunmap(at)


def test_vmalloc_space_of_arm64_begins_behind_the_image():
    kernel = ModelKernel(Config(arch="aarch64").disable("VMAP_STACK"))
    assert kernel.vmalloc(8) == kernel.memory.image_end
    x86 = ModelKernel(Config().disable("VMAP_STACK"))
    assert x86.vmalloc(8) == x86.memory.vmalloc_start


@pytest.mark.parametrize(("arch", "in_vmalloc"), [("x86_64", False), ("i686", True), ("armv7l", False)])
def test_modules_live_in_a_space_of_their_own_or_in_vmalloc_space(arch, in_vmalloc):
    kernel = ModelKernel(Config(arch=arch))
    before = kernel.vmalloc(8)
    first, second = (kernel.allocators.module_alloc(8) for _ in range(2))
    after = kernel.vmalloc(8)
    assert after - before == (6 if in_vmalloc else 2) * PAGE
    assert second - first == 2 * PAGE
    assert kernel.memory.is_vmalloc_addr(first) is in_vmalloc
    if not in_vmalloc:
        assert first == kernel.memory.modules_start


def test_kmap_gives_each_page_an_address_until_its_last_user_is_gone():
    kernel = ModelKernel(HIGHMEM)
    one, two, three = (kernel.allocators.alloc_highpage() for _ in range(3))
    addresses = [kernel.kmap(one), kernel.kmap(two)]
    assert addresses == [0xFF800000, 0xFF801000]
    assert [kernel.kmap(one) for _ in range(2)] == addresses[:1] * 2
    for _ in range(2):
        kernel.kunmap(one)
        assert kernel.memory.translate(addresses[0]) == one << 12
    kernel.kunmap(one)
    assert kernel.memory.translate(addresses[0]) is None
    # The other page keeps its address to itself.
    assert kernel.kmap(three) != addresses[1] and kernel.memory.translate(addresses[1]) == two << 12
    low = kernel.alloc_pages(0)
    assert kernel.kmap(low) == kernel.page_address(low)
    kernel.kunmap(low)
    assert kernel.memory.translate(kernel.page_address(low)) == low << 12


# Per-CPU memory.


@pytest.mark.parametrize(
    ("size", "alignment", "distance"), [(1, 8, 8), (8, 8, 8), (9, 8, 16), (4, 64, 64), (100, 1, 100)]
)
def test_per_cpu_objects_lie_side_by_side_as_alignment_allows(size, alignment, distance):
    kernel = ModelKernel()
    first, second = kernel.alloc_percpu(size, alignment), kernel.alloc_percpu(size, alignment)
    assert second - first == distance and first % PAGE == 0
    kernel.free_percpu(first)
    assert kernel.alloc_percpu(size, alignment) == first
    with pytest.raises(KeyError):
        kernel.free_percpu(first + 1)


def test_a_per_cpu_object_fits_into_a_chunk_of_32_kib_or_gets_the_next():
    kernel = ModelKernel()
    assert PCPU_MIN_UNIT_SIZE == 32768
    first = kernel.alloc_percpu(8)
    rest = kernel.alloc_percpu(PCPU_MIN_UNIT_SIZE - 8)
    assert rest == first + 8
    beyond = kernel.alloc_percpu(8)
    assert not first <= beyond < first + PCPU_MIN_UNIT_SIZE
    whole = kernel.alloc_percpu(PCPU_MIN_UNIT_SIZE)
    assert not beyond <= whole < beyond + PCPU_MIN_UNIT_SIZE
    with pytest.raises(ModelError, match="at most 32768"):
        kernel.alloc_percpu(PCPU_MIN_UNIT_SIZE + 1)


def test_a_per_cpu_object_that_comes_back_is_aligned_for_its_new_owner():
    kernel = ModelKernel()
    kernel.alloc_percpu(8)
    loose = kernel.alloc_percpu(64)
    kernel.free_percpu(loose)
    assert loose % 64 and kernel.alloc_percpu(64, 64) % 64 == 0
    assert kernel.alloc_percpu(64) == loose


# A task's stack.


@pytest.mark.parametrize(
    ("arch", "version", "symbol", "mapped", "size"),
    [
        ("x86_64", (6, 12), True, True, 16384),
        ("x86_64", (6, 12), False, False, 16384),
        ("i686", (6, 12), True, False, 8192),
        ("aarch64", (6, 12), True, True, 16384),
        ("armv7l", (5, 17), True, False, 8192),
        ("armv7l", (5, 18), True, True, 8192),
        ("x86_64", (4, 8), True, False, 16384),
        ("x86_64", (4, 9), True, True, 16384),
        ("aarch64", (4, 13), True, False, 16384),
        ("aarch64", (4, 14), True, True, 16384),
        ("riscv64", (5, 13), True, False, 16384),
        ("riscv64", (5, 14), True, True, 16384),
    ],
)
def test_a_stack_is_mapped_where_vmap_stack_exists(arch, version, symbol, mapped, size):
    config = Config(arch=arch, version=version)
    kernel = ModelKernel(config if symbol else config.disable("VMAP_STACK"))
    task = kernel.task
    assert task.stack_end - task.stack == size
    assert (task.stack_frames is not None) is mapped is kernel.is_vmalloc_addr(task.stack)
    assert task.stack % PAGE == 0 and (mapped or task.stack % size == 0)
    for address, on_stack in ((-1, False), (0, True), (size - 1, True), (size, False)):
        assert task.object_is_on_stack(task.stack + address) is on_stack
    kernel.store(task.stack, bytes(size))


def test_arrays_on_the_stack_grow_downwards_on_16_bytes_until_there_is_no_room():
    kernel = ModelKernel()
    task = kernel.task
    top = task.stack_pointer
    assert top == task.stack_end - 1024
    assert task.alloca(1) == top - 16
    assert task.alloca(16) == top - 32
    assert task.alloca(17) == top - 64
    room = task.stack_pointer - task.stack
    assert task.alloca(room) == task.stack
    with pytest.raises(ModelError, match="no room for an array of 1 bytes"):
        task.alloca(1)


def test_another_task_has_a_stack_and_a_name_of_its_own():
    kernel = ModelKernel()
    other = Task(kernel.config, kernel.memory, kernel.allocators, 36, "other")
    assert (other.pid, other.comm) == (36, "other") and other.stack >= kernel.task.stack_end
    assert (kernel.task.pid, kernel.task.comm) == (35, "agent")


# A kernel that is used again.

USES = {
    "kmalloc": lambda k: k.kmalloc(100),
    "kmalloc of pages": lambda k: k.kmalloc(20_000),
    "cache": lambda k: k.kmem_cache_alloc(k.kmem_cache_create("late", 40)),
    "pages": lambda k: k.alloc_pages(2),
    "highpage": lambda k: k.allocators.alloc_highpage(),
    "kmap": lambda k: k.kmap(k.allocators.alloc_highpage()),
    "vmalloc": lambda k: k.vmalloc(100),
    "module": lambda k: k.allocators.module_alloc(100),
    "percpu": lambda k: k.alloc_percpu(100),
    "devm": lambda k: k.devm_kmalloc(100),
    "alloca": lambda k: k.task.alloca(100),
}
FREES = {
    "kmalloc": lambda k, at: k.kfree(at),
    "pages": lambda k, at: k.free_pages(at, 2),
    "vmalloc": lambda k, at: k.vfree(at),
    "percpu": lambda k, at: k.free_percpu(at),
    "devm": lambda k, at: k.devm_kfree(at),
}


@pytest.mark.parametrize("arch", ["i686", "x86_64"])
def test_after_restore_the_same_calls_give_the_same_addresses(arch):
    kernel = ModelKernel(Config(arch=arch, memory_bytes=1 << 30).enable("HIGHMEM"))
    held = {name: use(kernel) for name, use in USES.items()}
    for name in FREES:
        FREES[name](kernel, USES[name](kernel))
    caches = len(kernel.allocators.caches)
    state = kernel.save()
    first = {name: [use(kernel) for _ in range(3)] for name, use in USES.items()}
    for name, free in FREES.items():
        free(kernel, held[name])
        for at in first[name]:
            free(kernel, at)
    kernel.restore(state)
    assert len(kernel.allocators.caches) == caches
    assert {name: [use(kernel) for _ in range(3)] for name, use in USES.items()} == first
    kernel.restore(state)
    for name, free in FREES.items():
        free(kernel, held[name])
