# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines come from the architectures' files, plain or in a variation."""

import pytest

from dmasafe.architecture import ArchitectureError, architecture_names, find_layout, read_architecture
from dmasafe.kernel.config import load_matrix
from dmasafe.model.config import DEFAULT_MEMORY_BYTES
from dmasafe.qemu.machines import find_machine


@pytest.mark.parametrize("arch", architecture_names())
def test_every_machine_and_every_variation_can_be_made(arch):
    plain = find_machine(arch)
    assert plain.arch == arch and plain.coherent and plain.variation == ""
    for name in read_architecture(arch).variation:
        machine = find_machine(arch, name)
        assert machine.variation == name and machine != plain
        assert machine.cmdline[: len(plain.cmdline)] == plain.cmdline


def test_every_configuration_finds_its_machine_where_it_makes_sense():
    matrix = load_matrix()
    for row in matrix.configurations.values():
        for arch in row.architectures or matrix.architectures:
            assert find_machine(arch, row.machine).variation == row.machine


def test_an_unknown_machine_lists_the_variations():
    with pytest.raises(ArchitectureError, match=r"x86_64 has no machine 'steam': the variations in .*x86_64.toml are"):
        find_machine("x86_64", "steam")


@pytest.mark.parametrize("arch", [arch for arch in architecture_names() if find_layout(arch).highmem_bytes])
def test_the_command_line_keeps_as_much_memory_high_as_the_layout_says(arch):
    layout = find_layout(arch)
    words = dict(word.partition("=")[::2] for word in find_machine(arch).cmdline)
    sizes = {word: int(words[word].removesuffix("M")) << 20 for word in ("highmem", "vmalloc") if word in words}
    if "vmalloc" in sizes:
        # What vmalloc space leaves to the linear map: arch/arm/mm/mmu.c adjust_lowmem_bounds().
        low = layout.vmalloc_end - layout.page_offset - sizes["vmalloc"] - layout.vmalloc_gap
        sizes["highmem"] = DEFAULT_MEMORY_BYTES - low
    assert sizes["highmem"] == layout.highmem_bytes
