# SPDX-License-Identifier: GPL-2.0-or-later
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Config, KernelDied, ModelError, ModelKernel
from harness.model.client import KINDS, Client, predicates
from harness.model.layout import LAYOUTS, PAGE_SIZE

X86 = ModelKernel()
HIGHMEM = Config(arch="i686", memory_bytes=1 << 30).enable("HIGHMEM").disable("VMAP_STACK")


def test_x86_64_addresses_are_those_of_a_kernel_without_randomisation():
    memory = X86.memory
    assert memory.pa(0xFFFF_8880_0200_0000) == 0x0200_0000
    assert memory.pa(0xFFFF_FFFF_8100_0000) == 0x0100_0000
    # Seen on a guest: a module's rodata becomes an address just over 512 MiB.
    assert memory.pa(0xFFFF_FFFF_A000_E0C0) == 0x2000_E0C0
    assert memory.pa(0xFFFF_C900_0000_0000) == 0x4080_0000_0000


def test_a_page_that_does_not_exist_still_has_an_address():
    memory = X86.memory
    stack = X86.task.stack
    assert memory.is_vmalloc_addr(stack)
    phys = memory.page_to_phys(memory.virt_to_page(stack))
    assert phys == memory.pa(stack) and not memory.is_ram(phys)
    assert memory.translate(stack) != phys and memory.is_ram(memory.translate(stack))


# is_vmalloc_addr, is_vmalloc_or_module_addr, virt_addr_valid, object_is_on_stack
TABLE = {
    "x86_64": {
        "heap": (0, 0, 1, 0),
        "stack": (1, 1, 0, 1),
        "vmalloc": (1, 1, 0, 0),
        "rodata": (0, 0, 1, 0),
        "data": (0, 0, 1, 0),
        "module-data": (0, 1, 0, 0),
        "module-rodata": (0, 1, 0, 0),
        "percpu": (0, 0, 1, 0),
        "coherent": (0, 0, 1, 0),
    },
    # The image is mapped in vmalloc space; coherent memory for a device that does not snoop is remapped there.
    "aarch64": {
        "heap": (0, 0, 1, 0),
        "stack": (1, 1, 0, 1),
        "rodata": (1, 1, 0, 0),
        "module-data": (0, 1, 0, 0),
        "coherent": (1, 1, 0, 0),
    },
    # The image is in the linear map, modules are in vmalloc space, VMAP_STACK does not exist.
    "i686": {"heap": (0, 0, 1, 0), "stack": (0, 0, 1, 1), "rodata": (0, 0, 1, 0), "module-data": (1, 1, 0, 0)},
    "armv7l": {"heap": (0, 0, 1, 0), "stack": (1, 1, 0, 1), "rodata": (0, 0, 1, 0), "module-data": (0, 1, 0, 0)},
}


@pytest.mark.parametrize(("arch", "kind"), [(arch, kind) for arch, kinds in TABLE.items() for kind in kinds])
def test_what_the_predicates_say_of_each_kind(arch, kind):
    answer = predicates(Client(ModelKernel(Config(arch=arch))), kind, 64)
    names = ("is_vmalloc_addr", "is_vmalloc_or_module_addr", "virt_addr_valid", "object_is_on_stack")
    assert tuple(answer[name] for name in names) == TABLE[arch][kind]


def test_without_vmap_stack_the_stack_is_in_the_linear_map():
    answer = predicates(Client(ModelKernel(Config().disable("VMAP_STACK"))), "stack", 8)
    assert (answer["is_vmalloc_addr"], answer["virt_addr_valid"], answer["object_is_on_stack"]) == (0, 1, 1)


def test_kmap_of_highmem_leaves_the_linear_map_and_of_lowmem_does_not():
    high = ModelKernel(HIGHMEM)
    answer = predicates(Client(high), "kmap", 8)
    assert answer["virt_addr_valid"] == 0 and answer["pa"] >= high.memory.lowmem_end
    low = predicates(Client(ModelKernel(Config(arch="i686").enable("HIGHMEM"))), "kmap", 8)
    assert low["virt_addr_valid"] == 1


@pytest.mark.parametrize("arch", [row.names[0] for row in LAYOUTS])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_memory_and_takes_it_back(arch, kind):
    kernel = ModelKernel(Config(arch=arch).enable("HIGHMEM"))
    client = Client(kernel)
    before = len(kernel.allocators.allocated)
    first = predicates(client, kind, 100)
    assert len(kernel.allocators.allocated) == before
    # Last in, first out: the same memory again, but for mappings, whose addresses are not used twice.
    if kind not in ("kmap", "coherent", "dma-pool"):
        kernel.memory.load(first["va"], 100)
        assert predicates(client, kind, 100) == first


@given(st.integers(0, 40_000))
def test_kmalloc_is_aligned_to_powers_of_two_and_never_overlaps(size):
    kernel = X86
    one, two = kernel.kmalloc(size), kernel.kmalloc(size)
    if size:
        room = kernel.allocators.kmalloc_size_roundup(size)
        assert room >= size and abs(one - two) >= room
        if size & (size - 1) == 0:
            assert one % min(size, PAGE_SIZE) == 0
    kernel.kfree(one)
    kernel.kfree(two)


def test_small_kmalloc_objects_share_a_cache_line_on_x86_and_not_on_a_machine_that_needs_lines_of_its_own():
    x86, arm = ModelKernel(), ModelKernel(Config(arch="armv7l"))
    assert x86.kmalloc(8) // 64 == x86.kmalloc(8) // 64
    assert arm.kmalloc(8) // 64 != arm.kmalloc(8) // 64


@pytest.mark.parametrize(
    ("version", "symbols", "swiotlb", "expected"),
    [
        ((6, 1), (), "on", 128),
        ((6, 12), (), "on", 64),
        ((6, 12), ("DMA_BOUNCE_UNALIGNED_KMALLOC",), "on", 8),
        ((6, 12), ("DMA_BOUNCE_UNALIGNED_KMALLOC",), "off", 64),
    ],
)
def test_the_smallest_kmalloc_of_arm64(version, symbols, swiotlb, expected):
    kernel = ModelKernel(Config(arch="aarch64", version=version, swiotlb=swiotlb).enable(*symbols))
    assert kernel.allocators.kmalloc_size_roundup(1) == expected


@pytest.mark.parametrize(
    ("arch", "version", "header"),
    [("x86_64", (5, 10), 24), ("x86_64", (6, 12), 40), ("aarch64", (6, 12), 128), ("armv7l", (6, 1), 64)],
)
def test_devm_memory_follows_a_header(arch, version, header):
    kernel = ModelKernel(Config(arch=arch, version=version))
    assert kernel.allocators.devm_header() == header
    address = kernel.devm_kmalloc(100)
    assert (address - header) in kernel.allocators.allocated
    kernel.devm_kfree(address)


def test_vmalloc_pages_are_not_neighbours_and_the_page_behind_is_a_guard():
    kernel = ModelKernel()
    address = kernel.vmalloc(3 * PAGE_SIZE)
    frames = [kernel.memory.translate(address + n * PAGE_SIZE) for n in range(3)]
    assert frames[1] != frames[0] + PAGE_SIZE
    data = bytes(range(256)) * 48
    kernel.store(address, data)
    assert kernel.load(address, len(data)) == data
    with pytest.raises(KernelDied):
        kernel.store(address + 3 * PAGE_SIZE - 1, b"ab")


@given(st.integers(0, 3 * PAGE_SIZE), st.binary(max_size=2 * PAGE_SIZE))
def test_memory_keeps_what_is_stored(offset, data):
    kernel = X86
    start = kernel.page_address(100) + offset
    kernel.store(start - 1, b"\x01")
    kernel.store(start + len(data), b"\x02")
    kernel.store(start, data)
    assert kernel.load(start - 1, len(data) + 2) == b"\x01" + data + b"\x02"


def test_read_only_memory_stops_the_processor_and_not_an_alias():
    kernel = ModelKernel()
    rodata = kernel.memory.start_rodata
    with pytest.raises(KernelDied, match="page fault"):
        kernel.store(rodata, b"x")
    kernel.memory.poke(rodata, b"x")
    assert kernel.load(rodata, 1) == b"x"


def test_kfree_of_anything_else_is_an_error():
    kernel = ModelKernel()
    address = kernel.kmalloc(8)
    kernel.kfree(address)
    kernel.kfree(0)
    with pytest.raises(ModelError, match="free already"):
        kernel.kfree(address)


def test_an_unknown_architecture_is_named():
    with pytest.raises(ModelError, match="riscv64"):
        ModelKernel(Config(arch="riscv64"))


def test_memory_above_4_gib_starts_where_the_pci_hole_ends():
    memory = ModelKernel(Config(memory_bytes=6 << 30)).memory
    assert memory.ram == ((0, 2 << 30), (4 << 30, 8 << 30))
    assert memory.is_ram(5 << 30) and not memory.is_ram(3 << 30)


def test_save_and_restore_undo_everything():
    kernel = ModelKernel()
    adap = kernel.adapter("dmasafe")
    state = kernel.save()
    address = kernel.kmalloc(100)
    kernel.store(address, b"dirt")
    dev = kernel.devices["dmasafe"]
    kernel.dma_map_single(dev, address, 4, 2)
    kernel.task.alloca(64)
    adap.locked = True
    kernel.restore(state)
    assert not adap.locked and kernel.dma_debug.entries == state.dma_debug.free[3]
    again = kernel.kmalloc(100)
    assert again == address and kernel.load(again, 4) == bytes(4)
