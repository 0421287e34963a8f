# SPDX-License-Identifier: GPL-2.0-or-later
"""The strict machine on the model: each rule, by itself, and what keeps to all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dmasafe.dmesg import SPLAT_CLASSES
from dmasafe.model.config import Config
from dmasafe.model.device import (
    DMA_ATTR_SKIP_CPU_SYNC,
    DMA_BIDIRECTIONAL,
    DMA_FROM_DEVICE,
    DMA_TO_DEVICE,
    Device,
    Scatterlist,
)
from dmasafe.model.hardware import Hardware
from dmasafe.model.kernel import ModelKernel
from dmasafe.model.predict import Lab as PredictLab
from dmasafe.model.strict import Strict
from dmasafe.scenario import parse_scenario

IMAGES = Path(__file__).parents[2] / "images" / "strict"


class Lab:
    """A kernel on a strict machine, and a device that is attached; no dma-debug, which would say the same."""

    def __init__(self, line: int = 64) -> None:
        self.kernel = ModelKernel(Config(strict_line=line).disable("DMA_API_DEBUG"))
        assert self.kernel.dma.strict is not None
        self.strict: Strict = self.kernel.dma.strict
        self.dev: Device = self.kernel.device("0000:00:06.0", "foo")
        self.dev.strict = True

    def buffer(self, size: int, content: bytes = b"") -> int:
        address = self.kernel.kmalloc(size)
        self.kernel.store(address, content.ljust(size, b"\0"))
        return address

    def map(self, address: int, size: int, direction: int = DMA_FROM_DEVICE) -> int:
        dma = self.kernel.dma_map_single(self.dev, address, size, direction)
        assert self.kernel.dma_mapping_error(self.dev, dma) == 0
        return dma

    def unmap(self, dma: int, size: int, direction: int = DMA_FROM_DEVICE) -> None:
        self.kernel.dma_unmap_single(self.dev, dma, size, direction)

    def device_writes(self, dma: int, data: bytes) -> bool:
        if self.strict.reach(dma, len(data), True) is None:
            return False
        self.kernel.memory.ram_write(dma, data)
        return True

    def device_reads(self, dma: int, size: int) -> bytes | None:
        return None if self.strict.reach(dma, size, False) is None else self.kernel.memory.ram_read(dma, size)

    def reports(self) -> list[str]:
        self.strict.settle()
        found = [entry.splat_class or "" for entry in self.kernel.log.reports()]
        self.kernel.log.reset()
        return found


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_a_driver_that_keeps_the_rules_is_not_reported(lab: Lab) -> None:
    buf = lab.buffer(64, b"out")
    dma = lab.map(buf, 64, DMA_TO_DEVICE)
    assert lab.device_reads(dma, 3) == b"out"
    lab.unmap(dma, 64, DMA_TO_DEVICE)
    dma = lab.map(buf, 64)
    assert lab.device_writes(dma, b"in")
    lab.unmap(dma, 64)
    assert lab.kernel.load(buf, 4) == b"in" + b"t\0", "what the device did not write stays"
    lab.kernel.kfree(buf)
    assert lab.reports() == []


def test_no_address_is_used_again_soon(lab: Lab) -> None:
    buf = lab.buffer(64)
    seen = []
    for _ in range(20):
        seen.append(lab.map(buf, 64))
        lab.unmap(seen[-1], 64)
    assert len(set(seen)) == 20


def test_the_device_is_refused_what_is_not_mapped_now(lab: Lab) -> None:
    dma = lab.map(lab.buffer(64), 64)
    lab.unmap(dma, 64)
    assert not lab.device_writes(dma, b"late")
    assert lab.device_reads(lab.buffer(64), 1) is None
    assert lab.reports() == ["strict-unmapped", "strict-unmapped"]


def test_the_device_is_refused_one_byte_too_many(lab: Lab) -> None:
    dma = lab.map(lab.buffer(64), 63)
    assert lab.device_writes(dma, bytes(63)) and not lab.device_writes(dma, bytes(64))
    assert lab.reports() == ["strict-overrun"]


@pytest.mark.parametrize(("direction", "write"), [(DMA_TO_DEVICE, True), (DMA_FROM_DEVICE, False)])
def test_the_device_is_refused_the_other_direction(lab: Lab, direction: int, write: bool) -> None:
    dma = lab.map(lab.buffer(64), 64, direction)
    assert lab.strict.reach(dma, 8, write) is None and lab.strict.reach(dma, 8, not write) is not None
    assert lab.reports() == ["strict-direction"]


def test_the_cpu_sees_what_the_device_wrote_only_after_a_sync(lab: Lab) -> None:
    buf = lab.buffer(128)
    dma = lab.map(buf, 128)
    lab.device_writes(dma, b"\1" * 128)
    assert lab.kernel.load(buf, 1) == b"\0"
    lab.kernel.dma_sync_single_for_cpu(lab.dev, dma, 1, DMA_FROM_DEVICE)
    assert lab.kernel.load(buf, 128) == b"\1" * 64 + b"\0" * 64, "a line as a whole, and no more"
    lab.unmap(dma, 128)
    assert lab.kernel.load(buf, 128) == b"\1" * 128
    assert lab.reports() == []


def test_the_device_sees_what_the_cpu_wrote_only_after_a_sync(lab: Lab) -> None:
    buf = lab.buffer(64, b"old")
    dma = lab.map(buf, 64, DMA_TO_DEVICE)
    lab.kernel.store(buf, b"new")
    assert lab.device_reads(dma, 3) == b"old"
    lab.kernel.dma_sync_single_for_device(lab.dev, dma, 64, DMA_TO_DEVICE)
    assert lab.device_reads(dma, 3) == b"new"
    lab.unmap(dma, 64, DMA_TO_DEVICE)
    assert lab.reports() == []


@pytest.mark.parametrize("direction", [DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_BIDIRECTIONAL])
def test_what_the_cpu_writes_meanwhile_is_reported(lab: Lab, direction: int) -> None:
    buf = lab.buffer(64)
    dma = lab.map(buf, 64, direction)
    lab.kernel.store(buf + 5, b"!")
    lab.unmap(dma, 64, direction)
    assert lab.kernel.load(buf + 5, 1) == (b"!" if direction == DMA_TO_DEVICE else b"\0")
    assert lab.reports() == ["strict-cpu-write"]


@pytest.mark.parametrize(("line", "lost"), [(16, b"\0!"), (32, b"\0\0"), (64, b"\0\0")])
def test_what_is_written_beside_a_mapping_is_lost_with_its_line(line: int, lost: bytes) -> None:
    lab = Lab(line)
    buf = lab.buffer(64)
    dma = lab.map(buf, 8)
    lab.kernel.store(buf + 8, b"!")
    lab.kernel.store(buf + 20, b"!")
    lab.unmap(dma, 8)
    assert lab.kernel.load(buf + 8, 1) + lab.kernel.load(buf + 20, 1) == lost
    assert lab.reports() == ["strict-line-lost"]


@pytest.mark.parametrize(("offset", "seen"), [(0, b"\0!"), (64, b"!!"), (136, b"!\0")])
def test_a_sync_takes_only_the_edge_that_is_on_its_lines(lab: Lab, offset: int, seen: bytes) -> None:
    buf = lab.buffer(256)
    dma = lab.map(buf + 8, 144)
    lab.kernel.store(buf, b"!")
    lab.kernel.store(buf + 152, b"!")
    lab.kernel.dma_sync_single_for_cpu(lab.dev, dma + offset, 8, DMA_FROM_DEVICE)
    assert lab.kernel.load(buf, 1) + lab.kernel.load(buf + 152, 1) == seen
    assert len(lab.reports()) == (seen != b"!!")


def test_a_line_ends_with_its_object(lab: Lab) -> None:
    first, second = lab.buffer(8), lab.buffer(8)
    assert second - first == 8, "kmalloc-8 packs them"
    dma = lab.map(first, 8)
    lab.kernel.store(second, b"mine")
    lab.unmap(dma, 8)
    assert lab.kernel.load(second, 4) == b"mine" and lab.reports() == []


def test_what_was_written_back_meanwhile_is_not_lost(lab: Lab) -> None:
    buf = lab.buffer(64)
    dma = lab.map(buf, 8)
    lab.kernel.store(buf + 40, b"!")
    other = lab.map(buf + 32, 16, DMA_TO_DEVICE)
    lab.unmap(other, 16, DMA_TO_DEVICE)
    lab.unmap(dma, 8)
    assert lab.kernel.load(buf + 40, 1) == b"!" and lab.reports() == []


@pytest.mark.parametrize(
    ("line", "second", "reports"),
    [(64, DMA_FROM_DEVICE, ["strict-overlap"]), (64, DMA_TO_DEVICE, []), (32, DMA_FROM_DEVICE, [])],
)
def test_two_mappings_that_the_device_writes_to_share_no_line(line: int, second: int, reports: list[str]) -> None:
    lab = Lab(line)
    buf = lab.buffer(64)
    one, two = lab.map(buf, 32), lab.map(buf + 32, 32, second)
    lab.device_writes(one, b"\1" * 32)
    lab.device_writes(two, b"\2" * 32)
    lab.unmap(one, 32)
    lab.unmap(two, 32, second)
    refused = ["strict-direction"] if second == DMA_TO_DEVICE else []
    assert lab.reports() == [*reports, *refused]
    assert lab.kernel.load(buf, 32) == b"\1" * 32


@pytest.mark.parametrize("order", [1, -1])
def test_an_overlap_beyond_the_first_page_is_found_whichever_is_mapped_first(lab: Lab, order: int) -> None:
    pages = lab.kernel.memory.phys_to_virt(lab.kernel.allocators.alloc_pages(1) << 12)
    for address, size in ((pages, 4096 + 32), (pages + 4096 + 32, 32))[::order]:
        lab.map(address, size)
    assert lab.reports() == ["strict-overlap"]


def test_two_mappings_of_the_same_memory_are_one_memory(lab: Lab) -> None:
    buf = lab.buffer(64)
    one, two = lab.map(buf, 64), lab.map(buf, 64)
    lab.device_writes(two, b"\1" * 64)
    lab.unmap(two, 64)
    lab.unmap(one, 64)
    assert lab.kernel.load(buf, 64) == b"\1" * 64 and lab.reports() == ["strict-overlap"]


def test_memory_that_no_allocator_gave_is_refused(lab: Lab) -> None:
    kernel = lab.kernel
    for address in (
        kernel.memory.start_rodata,
        kernel.memory.sdata,
        kernel.alloc_percpu(64),
        kernel.memory.modules_start,
    ):
        dma = kernel.dma_map_single(lab.dev, address, 8, DMA_TO_DEVICE)
        assert kernel.dma_mapping_error(lab.dev, dma)
    stack = kernel.memory.vmalloc_to_page(kernel.alloca(64))
    assert stack is not None
    assert kernel.dma_mapping_error(lab.dev, kernel.dma_map_page(lab.dev, stack, 0, 8, DMA_TO_DEVICE))
    assert lab.reports() == ["strict-memory"] * 5


def test_memory_that_is_freed_while_it_is_mapped_is_left_alone(lab: Lab) -> None:
    buf = lab.buffer(64)
    dma = lab.map(buf, 64)
    lab.kernel.kfree(buf)
    again = lab.buffer(64, b"the next owner's")
    assert again == buf
    lab.device_writes(dma, b"\1" * 64)
    lab.unmap(dma, 64)
    assert lab.kernel.load(again, 16) == b"the next owner's"
    assert lab.reports() == ["strict-freed"]


def test_what_is_not_mapped_is_neither_unmapped_nor_synced(lab: Lab) -> None:
    buf = lab.buffer(64)
    dma = lab.map(buf, 32)
    other = lab.kernel.device("0000:00:07.0", "bar")
    other.strict = True
    lab.kernel.dma_unmap_single(other, dma, 32, DMA_FROM_DEVICE)
    lab.kernel.dma_sync_single_for_cpu(lab.dev, dma + 1, 32, DMA_FROM_DEVICE)
    lab.kernel.dma_sync_single_for_device(lab.dev, dma, 32, DMA_TO_DEVICE)
    lab.unmap(dma, 32)
    lab.unmap(dma, 32)
    assert lab.reports() == ["strict-unmap", "strict-sync", "strict-sync", "strict-unmap"]


def test_a_driver_that_syncs_by_itself_is_left_to_do_it(lab: Lab) -> None:
    buf = lab.buffer(64)
    dma = lab.map(buf, 64)
    lab.device_writes(dma, b"\1" * 64)
    lab.kernel.dma_unmap_page(lab.dev, dma, 64, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC)
    assert lab.kernel.load(buf, 1) == b"\0" and lab.reports() == []


def test_each_entry_of_a_list_is_a_mapping(lab: Lab) -> None:
    buf = lab.buffer(256, b"first".ljust(128) + b"second")
    phys = lab.kernel.memory.translate(buf)
    assert phys is not None
    sgl = [Scatterlist(phys, 64), Scatterlist(phys + 128, 64)]
    assert lab.kernel.dma_map_sg(lab.dev, sgl, DMA_TO_DEVICE) == 2
    assert lab.device_reads(sgl[1].dma_address, 6) == b"second"
    lab.kernel.dma_unmap_sg(lab.dev, sgl, DMA_TO_DEVICE)
    assert lab.reports() == [] and not lab.strict.live


def test_what_a_driver_leaves_behind_is_reported_when_it_goes(lab: Lab) -> None:
    lab.kernel.adapter("dmasafe")
    dev = lab.kernel.devices["dmasafe"]
    lab.kernel.dma_map_single(dev, lab.buffer(64), 64, DMA_TO_DEVICE)
    lab.kernel.unbind("dmasafe")
    assert lab.reports() == ["strict-leak"]


def test_coherent_memory_needs_no_sync_and_has_no_neighbours(lab: Lab) -> None:
    address, dma = lab.kernel.dma_alloc_coherent(lab.dev, 64)
    lab.kernel.store(address, b"both")
    assert lab.device_reads(dma, 4) == b"both"
    mapped = lab.map(address, 8)
    lab.kernel.store(address + 8, b"!")
    lab.unmap(mapped, 8)
    assert lab.kernel.load(address + 8, 1) == b"!"
    lab.kernel.dma_free_coherent(lab.dev, 64, address, dma)
    assert not lab.device_writes(dma, b"!")
    assert lab.reports() == ["strict-unmapped"]


def test_a_mapping_fails_when_no_address_is_left(lab: Lab) -> None:
    buf = lab.buffer(8192)
    dma = 0
    for _ in range(1000):
        dma = lab.kernel.dma_map_single(lab.dev, buf, 8192, DMA_TO_DEVICE)
        if lab.kernel.dma_mapping_error(lab.dev, dma):
            break
    assert lab.kernel.dma_mapping_error(lab.dev, dma)


def test_every_message_of_the_table_is_printed_by_the_module() -> None:
    """And no other: the table of classes has what images/strict/ says, word for word."""
    text = "".join(path.read_text() for path in IMAGES.glob("*.c"))
    printed = set()
    for told in re.findall(
        r'"((?:device|driver|the CPU|bytes|two|memory is|no bus)[^"]* (?:mapping|mapped|failed|\[)[^"]*)"', text
    ):
        words = ["wrote", "read"] if told.startswith("device %s") else [""]
        for word in words:
            told_so = told.replace(
                "device %s memory", "device wrote to memory" if word == "wrote" else "device read memory"
            )
            printed.add(re.sub(r"%0?\d*(?:ll|z)?[a-z]+", "%", told_so.replace("device %s", f"device {word}", 1)))
    known = {
        re.sub(r"%0?\d*(?:ll|z)?[a-z]+", "%", format.text)
        for slug, row in SPLAT_CLASSES.items()
        if slug.startswith("strict-")
        for format in row.formats
    }
    assert printed == known


def test_a_group_whose_last_message_was_refused_goes_on_in_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """i2c-virtio announced one more message: to the device the next read is of the same group."""
    happened: list[str] = []

    def telling(name: str) -> None:
        real = getattr(Hardware, name)

        def tells(self: Hardware, *arguments: object) -> object:
            happened.append(name)
            return real(self, *arguments)

        monkeypatch.setattr(Hardware, name, tells)

    telling("request")
    telling("end_group")
    lab = PredictLab(Config(strict_line=64), None)
    lab.perform(parse_scenario("module-data/transfer/virtio/2@40+dma_safe=1+then=r"))
    assert happened == ["end_group", "request", "request"]
