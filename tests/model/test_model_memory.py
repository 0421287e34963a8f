# SPDX-License-Identifier: GPL-2.0-or-later
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmasafe.architecture import architecture_names
from dmasafe.facts import NOT_ASKED, KernelFacts, MachineFacts
from dmasafe.model import Config, KernelDied, ModelError, ModelKernel
from dmasafe.model.client import KINDS, Client, predicates
from dmasafe.model.layout import PAGE_SIZE, dma_get_cache_alignment, kmalloc_minalign, layout_of, same_machine

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
    # As on x86_64: an image of its own, whose frames exist.
    "riscv64": {
        "heap": (0, 0, 1, 0),
        "stack": (1, 1, 0, 1),
        "rodata": (0, 0, 1, 0),
        "data": (0, 0, 1, 0),
        "module-data": (0, 1, 0, 0),
        "coherent": (0, 0, 1, 0),
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
    assert answer["pa"] >= high.memory.lowmem_end
    # i386 looks at the frame only, which exists from 1016 MiB on (arch/x86/mm/physaddr.c); arm ends at high_memory.
    assert answer["virt_addr_valid"] == 1
    arm = ModelKernel(Config(arch="armv7l", memory_bytes=1 << 30).enable("HIGHMEM"))
    answer = predicates(Client(arm), "kmap", 8)
    # arch/arm/include/asm/highmem.h: PKMAP_BASE is 2 MiB below PAGE_OFFSET.
    assert answer["virt_addr_valid"] == 0
    assert arm.kmap(arm.allocators.alloc_highpage()) == 0xBFE00000
    low = predicates(Client(ModelKernel(Config(arch="i686").enable("HIGHMEM"))), "kmap", 8)
    assert low["virt_addr_valid"] == 1


@pytest.mark.parametrize("arch", architecture_names())
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
    with pytest.raises(ModelError, match="loongarch64"):
        ModelKernel(Config(arch="loongarch64"))


def test_memory_above_4_gib_starts_where_the_pci_hole_ends():
    memory = ModelKernel(Config(memory_bytes=6 << 30)).memory
    assert memory.ram == ((0, 2 << 30), (4 << 30, 8 << 30))
    assert memory.is_ram(5 << 30) and not memory.is_ram(3 << 30)


def test_without_pae_memory_ends_where_the_pci_hole_begins():
    """arch/x86/kernel/e820.c e820__end_of_ram_pfn(): MAX_ARCH_PFN is 4 GiB, and above it is all that did not fit."""
    memory = ModelKernel(Config(arch="i686", memory_bytes=3 << 30).enable("HIGHMEM")).memory
    assert memory.ram == ((0, 2 << 30),)
    assert memory.is_ram((2 << 30) - 1) and not memory.is_ram(2 << 30) and not memory.is_ram(4 << 30)
    assert memory.page_is_highmem((2 << 30) - 1 >> 12) and not memory.pfn_valid(2 << 30 >> 12)


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


# arch/*/include/asm: PAGE_OFFSET, VMALLOC_START, VMALLOC_END, MODULES_VADDR, MODULES_END.
SPACES = {
    "x86_64": (0xFFFF888000000000, 0xFFFFC90000000000, 0xFFFFE8FFFFFFFFFF, 0xFFFFFFFFA0000000, 0xFFFFFFFFFF000000),
    "i686": (0xC0000000, 0xD0800000, 0xFF7FE000, 0xD0800000, 0xFF7FE000),
    "aarch64": (0xFFFF000000000000, 0xFFFF800080000000, 0xFFFFFDFFBF800000, 0xFFFF800000000000, 0xFFFF800080000000),
    "armv7l": (0xC0000000, 0xD0800000, 0xFF800000, 0xBF000000, 0xBFE00000),
    "riscv64": (0xFFFFFFD600000000, 0xFFFFFFC600000000, 0xFFFFFFD600000000, 0xFFFFFFFF02000000, 0xFFFFFFFF80000000),
}
RAM_START = {"x86_64": 0, "i686": 0, "aarch64": 1 << 30, "armv7l": 1 << 30, "riscv64": 2 << 30}
MIB = 1 << 20


@pytest.mark.parametrize("arch", SPACES)
def test_the_spaces_of_an_architecture_begin_and_end_where_its_headers_say(arch):
    memory = ModelKernel(Config(arch=arch)).memory
    linear, vmalloc, vmalloc_end, modules, modules_end = SPACES[arch]
    for start, end, holds in (
        (vmalloc, vmalloc_end, memory.is_vmalloc_addr),
        (modules, modules_end, memory.is_vmalloc_or_module_addr),
    ):
        assert holds(start) and holds(end - 1)
        assert not holds(end) or end == vmalloc
    assert not memory.is_vmalloc_addr(vmalloc - 1) and not memory.is_vmalloc_addr(vmalloc_end)
    assert not memory.is_vmalloc_or_module_addr(min(modules, vmalloc) - 1)
    assert memory.pa(linear) == memory.translate(linear) == RAM_START[arch]
    assert memory.ram == ((RAM_START[arch], RAM_START[arch] + 256 * MIB),)
    # Devices look into the caches on x86, and not as arm's device trees have it.
    assert ModelKernel(Config(arch=arch)).dma_coherent is (arch in ("x86_64", "i686", "riscv64"))


@pytest.mark.parametrize("arch", SPACES)
def test_the_image_is_linked_at_16_mib_and_its_sections_begin_on_2_mib(arch):
    """As mark_rodata_ro() wants them. What is free begins behind the image."""
    memory = ModelKernel(Config(arch=arch)).memory
    borders = [memory.stext, memory.etext, memory.start_rodata, memory.end_rodata, memory.sdata, memory.edata]
    assert borders == sorted(borders) and all(border % (2 * MIB) == 0 for border in borders)
    # riscv64's firmware keeps the first 2 MiB.
    start = RAM_START[arch] + (18 if arch == "riscv64" else 16) * MIB
    assert memory.translate(memory.stext) == start == memory.pa(memory.stext)
    assert memory.translate(memory.edata - 1) == start + 16 * MIB - 1
    assert memory.first_free_phys == start + 16 * MIB


@pytest.mark.parametrize("coherent", [True, False])
@pytest.mark.parametrize("arch", SPACES)
def test_text_and_rodata_are_read_only_and_data_is_not(arch, coherent):
    kernel = ModelKernel(Config(arch=arch, coherent=coherent))
    memory = kernel.memory
    for address, writable in (
        (memory.stext, False),
        (memory.end_rodata - 1, False),
        (memory.sdata, True),
        (memory.edata - 1, True),
    ):
        if writable:
            kernel.store(address, b"x")
            assert kernel.load(address, 1) == b"x"
        else:
            with pytest.raises(KernelDied):
                kernel.store(address, b"x")


# virt_addr_valid() at the borders of what it accepts, as (offset from PAGE_OFFSET, answer), with 256 MiB of memory.
@pytest.mark.parametrize(
    ("arch", "offset", "valid"),
    [
        *(
            (arch, offset, valid)
            for arch in SPACES
            for offset, valid in ((0, True), (-1, False), (256 * MIB - 1, True))
        ),
        ("x86_64", 256 * MIB, False),
        ("i686", 256 * MIB, False),
        ("aarch64", 256 * MIB, False),
        ("armv7l", 256 * MIB, False),
        ("riscv64", 256 * MIB, False),
        ("aarch64", 1 << 47, False),
        # The image: its frames are right, whatever mapping they were reckoned from.
        ("riscv64", 0x29_8000_0000, True),
        ("x86_64", -(1 << 40), False),
    ],
)
def test_the_borders_of_virt_addr_valid(arch, offset, valid):
    memory = ModelKernel(Config(arch=arch)).memory
    assert memory.virt_addr_valid(SPACES[arch][0] + offset) is valid


@pytest.mark.parametrize(
    ("memory_mib", "offset_mib", "valid"),
    [(256, 0, True), (256, 255, True), (256, 256, False), (1024, 511, True), (1024, 512, False)],
)
def test_the_image_of_x86_64_is_valid_for_512_mib_if_there_is_as_much(memory_mib, offset_mib, valid):
    memory = ModelKernel(Config(memory_bytes=memory_mib * MIB)).memory
    assert memory.virt_addr_valid(0xFFFFFFFF80000000 + offset_mib * MIB) is valid
    assert memory.virt_addr_valid(0xFFFFFFFF7FFFFFFF) is False


@pytest.mark.parametrize(
    ("arch", "last"),
    [
        ("x86_64", 384 * MIB),
        ("i686", 258 * MIB),
        ("armv7l", (1 << 30) + 258 * MIB),
        ("aarch64", (1 << 30) + 384 * MIB),
        ("riscv64", (2 << 30) + 384 * MIB),
    ],
)
def test_frames_exist_by_whole_sections_where_memory_is_sparse(arch, last):
    """SECTION_SIZE_BITS is 27 on x86_64, arm64 and riscv64; i386 and arm are flat."""
    memory = ModelKernel(Config(arch=arch, memory_bytes=258 * MIB)).memory
    assert memory.pfn_valid((last >> 12) - 1) and not memory.pfn_valid(last >> 12)
    first = RAM_START[arch] >> 12
    assert memory.pfn_valid(first) and not memory.pfn_valid(first - 1)


def test_arm64_calls_an_address_valid_where_there_is_memory_and_not_where_there_is_but_a_frame():
    """arch/arm64/mm/init.c pfn_is_map_memory()."""
    memory = ModelKernel(Config(arch="aarch64", memory_bytes=130 * MIB)).memory
    beyond = memory.layout.page_offset + 130 * MIB
    assert memory.virt_addr_valid(beyond - 1) and not memory.virt_addr_valid(beyond)
    assert memory.pfn_valid(memory.pa(beyond) >> 12)


def test_the_pci_hole_has_no_frames():
    memory = ModelKernel(Config(memory_bytes=6 << 30)).memory
    at = {gib: memory.pfn_valid((gib << 30) >> 12) for gib in (0, 2, 4, 8)}
    assert at == {0: True, 2: False, 4: True, 8: False}
    assert ModelKernel(Config(memory_bytes=2 << 30)).memory.ram == ((0, 2 << 30),)
    assert memory.is_ram((2 << 30) - 8, 8) and not memory.is_ram((2 << 30) - 8, 9)
    assert memory.is_ram(4 << 30) and not memory.is_ram((4 << 30) - 1, 2) and not memory.is_ram(-1)


def test_linear_memory_of_32_bits_is_limited_and_the_rest_is_highmem():
    low = ModelKernel(Config(arch="i686", memory_bytes=1 << 30)).memory
    high = ModelKernel(HIGHMEM).memory
    for memory in (low, high):
        assert memory.lowmem_end == 896 * MIB and memory.high_memory == 0xF8000000
    assert (low.page_is_highmem(896 * MIB >> 12), high.page_is_highmem(896 * MIB >> 12)) == (False, True)
    assert not high.page_is_highmem((896 * MIB >> 12) - 1)
    arm = ModelKernel(Config(arch="armv7l", memory_bytes=1 << 30).enable("HIGHMEM")).memory
    assert arm.lowmem_end == (1 << 30) + 760 * MIB
    # HIGHMEM is no option of 64 bits.
    for arch in ("x86_64", "aarch64"):
        assert not ModelKernel(Config(arch=arch, memory_bytes=1 << 30).enable("HIGHMEM")).memory.highmem
    # Of i386's vmalloc space the frames exist, if memory is large enough; virt_addr_valid() asks for the space first.
    assert not high.virt_addr_valid(high.vmalloc_start) and high.pfn_valid(high.pa(high.vmalloc_start) >> 12)


@pytest.mark.parametrize(("arch", "start"), [("i686", 0xCFA00000 + 8 * MIB), ("armv7l", 0xD0000000)])
def test_vmalloc_space_begins_8_mib_behind_memory_and_on_arm_at_a_multiple_of_that(arch, start):
    assert ModelKernel(Config(arch=arch, memory_bytes=250 * MIB)).memory.vmalloc_start == start


def test_page_arithmetic_of_arm64_counts_from_page_offset_whatever_the_address_is():
    memory = ModelKernel(Config(arch="aarch64")).memory
    assert memory.virt_to_page(0xFFFF000000001000) == (1 << 30 >> 12) + 1
    # VMALLOC_START: 2^47 + 2 GiB above PAGE_OFFSET.
    assert memory.virt_to_page(0xFFFF800080000000) == (1 << 35) + (3 << 30 >> 12)
    # Below PAGE_OFFSET the difference wraps at 64 bits, then is divided.
    assert memory.virt_to_page(0xFFFEFFFFFFFFF000) == (1 << 52) - 1 + (1 << 30 >> 12)
    assert memory.pa(0xFFFF800080001000) == (1 << 30) + 0x1000
    assert memory.pa(0xFFFF7FFFFFFFFFFF) == (1 << 30) + (1 << 47) - 1
    # From the end of the linear map on it is the image's mapping that counts, 2 GiB further.
    assert memory.pa(0xFFFF800000000000) == (1 << 64) - (1 << 30)


def test_what_is_not_in_the_linear_map_of_riscv64_is_taken_for_the_images():
    memory = ModelKernel(Config(arch="riscv64")).memory
    assert memory.pa(0xFFFFFFD600001000) == (2 << 30) + 0x1000
    assert memory.pa(0xFFFFFFFF80000000) == (2 << 30) + 2 * MIB
    # VMALLOC_START is 230 GiB below the image; modules come out below the first of memory.
    assert memory.pa(0xFFFFFFC600000000) == (1 << 64) + (2 << 30) + 2 * MIB - (0x39_8000_0000)
    assert memory.pa(0xFFFFFFFF02000000) == 2 * MIB + 32 * MIB
    assert memory.virt_to_page(0xFFFFFFFF02000000) == 34 * MIB >> 12
    # The last address that counts as the linear map's, and the first that does not.
    assert memory.pa(0xFFFFFFF5FFFFFFFF) == (2 << 30) + (1 << 37) - 1
    assert memory.pa(0xFFFFFFF600000000) == (1 << 64) + (2 << 30) + 2 * MIB - 0x9_8000_0000


@pytest.mark.parametrize(
    ("arch", "page", "address"),
    [("x86_64", 2, 0xFFFF888000002000), ("i686", 0x40001, 0x1000), ("armv7l", 0x40001, 0xC0001000)],
)
def test_a_frames_address_in_the_linear_map_wraps_at_the_width_of_an_address(arch, page, address):
    memory = ModelKernel(Config(arch=arch)).memory
    assert memory.page_to_virt(page) == memory.phys_to_virt(page << 12) == address
    assert memory.page_to_phys(page) == page << 12


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "riscv64"])
def test_an_address_leads_to_a_mapping_or_nowhere(arch):
    kernel = ModelKernel(Config(arch=arch))
    memory = kernel.memory
    at = kernel.vmalloc(2 * PAGE_SIZE)
    first, second = (memory.vmalloc_to_page(at + n * PAGE_SIZE) for n in range(2))
    assert memory.translate(at + 5) == (first << 12) + 5 and memory.translate(at + 4096) == second << 12
    assert memory.vmalloc_to_page(at + 2 * PAGE_SIZE) is None
    for nowhere in (0, 4096, at + 2 * PAGE_SIZE, memory.high_memory, memory.layout.page_offset - 1):
        assert memory.translate(nowhere) is None
        with pytest.raises(KernelDied):
            kernel.load(nowhere, 1)
    assert memory.translate(memory.high_memory - 1) == memory.ram[-1][1] - 1


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize("start", [0, 1, 4095, 4096])
@pytest.mark.parametrize("length", [1, 4095, 4096, 4097, 8000])
def test_what_crosses_pages_of_a_mapping_lands_in_each_of_them(arch, start, length):
    kernel = ModelKernel(Config(arch=arch))
    at = kernel.vmalloc(4 * PAGE_SIZE)
    data = bytes(n % 251 + 1 for n in range(length))
    for write in (kernel.store, kernel.memory.poke):
        kernel.store(at, bytes(4 * PAGE_SIZE))
        if kernel.memory.cache:
            kernel.memory.cache.evict()
        write(at + start, data)
        if kernel.memory.cache:
            kernel.memory.cache.evict()
        pages = [kernel.memory.ram_read(kernel.memory.translate(at + n * PAGE_SIZE), PAGE_SIZE) for n in range(4)]
        assert b"".join(pages) == bytes(start) + data + bytes(4 * PAGE_SIZE - start - length)
        assert kernel.load(at + start, length) == data


def test_a_store_stops_at_the_read_only_page():
    kernel = ModelKernel()
    at = kernel.allocators.module_alloc(PAGE_SIZE, read_only=True)
    memory = kernel.memory
    memory.mapped[(at >> 12) - 1] = type(memory.mapped[at >> 12])(memory.vmalloc_to_page(kernel.vmalloc(8)))
    with pytest.raises(KernelDied, match=f"{at:016x}"):
        kernel.store(at - 2, b"abcd")
    assert kernel.load(at - 2, 4) == b"ab" + bytes(2)
    memory.poke(at - 2, b"efgh")
    assert kernel.load(at - 2, 4) == b"efgh"


def test_physical_memory_that_nobody_wrote_is_zero_on_both_sides_of_a_page_border():
    memory = ModelKernel().memory
    at = (64 << 20) - 3
    assert memory.ram_read(at, 8) == bytes(8)
    memory.ram_write(at, b"12345678")
    assert memory.ram_read(at - 1, 10) == b"\0" + b"12345678" + b"\0"
    assert memory.ram_read(at + 3, 5) == b"45678" and memory.ram_read((64 << 20) - 4096, 3) == bytes(3)


def test_a_byte_is_stored_without_what_is_above_it():
    kernel = ModelKernel()
    at = kernel.kmalloc(8)
    kernel.memory.store_byte(at, 0x1FE)
    assert kernel.load(at, 2) == b"\xfe\0"


def test_after_restore_nothing_is_mapped_or_cached_that_was_not():
    kernel = ModelKernel(Config(arch="aarch64"))
    buf = kernel.kmalloc(64)
    kernel.store(buf, b"kept")
    kernel.memory.cache.evict()
    old = kernel.vmalloc(64)
    state = kernel.save()
    new = kernel.vmalloc(64)
    kernel.store(buf, b"lost")
    kernel.store(new, b"lost")
    kernel.restore(state)
    assert kernel.memory.translate(new) is None and kernel.memory.translate(old) is not None
    assert kernel.load(buf, 4) == b"kept"


def test_this_machine_is_what_the_harness_emulates():
    config = Config()
    assert (config.memory_bytes, config.dma_debug_entries) == (256 << 20, 65536)
    assert config.dma_debug and config.all_errors and not config.no_hash_pointers
    assert not config.disable("VMAP_STACK").has("VMAP_STACK") and config.enable("HIGHMEM").has("HIGHMEM")
    facts = KernelFacts("aarch64", (5, 10), frozenset({"A"}))
    assert Config.of(facts) == Config(arch="aarch64", version=(5, 10), symbols=frozenset({"A"}))


@pytest.mark.parametrize(
    ("arch", "version", "symbol", "alignment", "smallest"),
    [
        ("x86_64", (6, 12), False, 1, 8),
        ("i686", (6, 12), True, 1, 8),
        ("aarch64", (6, 4), True, 128, 128),
        ("aarch64", (6, 5), False, 64, 64),
        ("aarch64", (6, 5), True, 64, 8),
        ("armv7l", (6, 4), False, 64, 64),
        ("armv7l", (6, 12), True, 64, 64),
    ],
)
def test_what_dma_aligns_to_and_what_kmalloc_aligns_to(arch, version, symbol, alignment, smallest):
    """dma_get_cache_alignment() and arch_kmalloc_minalign(), which 6.5 told apart."""
    config = Config(arch=arch, version=version, swiotlb="on").enable(*["DMA_BOUNCE_UNALIGNED_KMALLOC"] * symbol)
    layout = layout_of(config)
    assert (dma_get_cache_alignment(config, layout), kmalloc_minalign(config, layout)) == (alignment, smallest)


@pytest.mark.parametrize(
    ("arch", "symbols", "swiotlb"),
    [
        ("arm64", {"DMA_BOUNCE_UNALIGNED_KMALLOC", "SWIOTLB"}, "on"),
        ("aarch64", {"DMA_BOUNCE_UNALIGNED_KMALLOC", "SWIOTLB"}, "on"),
        ("arm64", {"SWIOTLB"}, "off"),
        ("x86_64", {"DMA_BOUNCE_UNALIGNED_KMALLOC", "SWIOTLB"}, "off"),
    ],
)
def test_arm64_has_a_pool_for_small_buffers_whatever_its_memory(arch, symbols, swiotlb):
    config = Config.of(KernelFacts(arch, (6, 12, 117), frozenset(symbols), coherent=True))
    assert (config.swiotlb, config.coherent) == (swiotlb, True)


def test_memory_lies_where_the_machine_has_told_and_caches_have_the_lines_it_told():
    told = MachineFacts(memory=(range(0x4000_0000, 0x4800_0000), range(0x1_0000_0000, 0x1_0800_0000)), dma_alignment=32)
    facts = KernelFacts("aarch64", (6, 12), frozenset(), running=told)
    memory = ModelKernel(Config.of(facts)).memory
    assert memory.ram == ((0x4000_0000, 0x4800_0000), (0x1_0000_0000, 0x1_0800_0000))
    assert memory.is_ram(0x1_0000_0000, 16) and not memory.is_ram(0x4800_0000)
    assert dma_get_cache_alignment(Config.of(facts), memory.layout) == 32
    assert dma_get_cache_alignment(Config.of(replace(facts, running=NOT_ASKED)), memory.layout) == 64


@pytest.mark.parametrize(
    ("arch", "told", "same"),
    [
        ("x86_64", MachineFacts(), True),
        ("x86_64", MachineFacts(4, (range(0x1000, 0x9FC00), range(1 << 20, 256 << 20)), 1), True),
        ("x86_64", MachineFacts(4, (range(0x1000, 0x9FC00), range(1 << 20, 255 << 20)), 1), False),
        ("x86_64", MachineFacts(64), False),
        ("aarch64", MachineFacts(4, (range(1 << 30, (1 << 30) + (256 << 20)),), 64), True),
        ("aarch64", MachineFacts(4, (range(1 << 30, (1 << 30) + (256 << 20)),), 128), False),
        ("aarch64", MachineFacts(4, (range(2 << 30, (2 << 30) + (256 << 20)),), 64), False),
    ],
)
def test_predictions_are_made_again_for_a_machine_that_is_another(arch: str, told: MachineFacts, same: bool) -> None:
    facts = KernelFacts(arch, (6, 12), frozenset())
    assert same_machine(facts, replace(facts, running=told)) is same
