# SPDX-License-Identifier: GPL-2.0-or-later
"""Every message of the kernel's has a row, and what the kernel prints from its format is read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from dmesg_sources import SOURCES_VARIABLE, err_printk_formats, kernel_trees, message, printed, values_for
from hypothesis import given
from hypothesis import strategies as st

from dmasafe.dmesg import parse
from dmasafe.dmesg.classes import FIELDS, SPLAT_CLASSES, SplatClass, read_message
from dmasafe.dmesg.formats import Format, Prefix

# DESIGN.md, "Splat classes".
SLUGS = [
    "map-stack",
    "map-vmalloc",
    "map-invalid-area",
    "map-text-or-rodata",
    "map-error-unchecked",
    "free-invalid-address",
    "free-unallocated",
    "free-size",
    "free-function",
    "free-cpu-address",
    "free-sg-count",
    "free-direction",
    "free-attrs",
    "sync-unallocated",
    "sync-out-of-range",
    "sync-direction",
    "sync-cpu-readonly",
    "sync-device-writeonly",
    "sync-sg-count",
    "sg-too-long",
    "sg-boundary",
    "cacheline-overlap",
    "leak-on-release",
    "map-resource-ram",
    "cacheline-touched",
    "map-vmalloc-rejected",
    "addr-overflow",
    "swiotlb-full",
    "swiotlb-out-of-range",
    "usb-buffer-on-stack",
    "usb-buffer-not-dma-capable",
    "sg-virt-invalid",
    "debug-disabled",
    "strict-unmapped",
    "strict-overrun",
    "strict-direction",
    "strict-cpu-write",
    "strict-line-lost",
    "strict-overlap",
    "strict-memory",
    "strict-segment",
    "strict-unmap",
    "strict-sync",
    "strict-freed",
    "strict-leak",
    "strict-full",
    "dma-debug-cut",
    "other",
]

FORMATS = [(row, known) for row in SPLAT_CLASSES.values() for known in row.formats]
FORMAT_IDS = [f"{row.slug}-{known.text[:30]}" for row, known in FORMATS]


def test_there_is_a_row_for_every_class_of_the_design() -> None:
    assert sorted(SPLAT_CLASSES) == sorted(SLUGS)


def test_every_value_has_a_name_and_every_name_a_meaning() -> None:
    for row in SPLAT_CLASSES.values():
        for known in (*row.formats, *row.details):
            assert len(known.names) == len(known.conversions), known.text
            assert set(known.names) <= set(FIELDS), known.text


@pytest.mark.parametrize(("row", "known"), FORMATS, ids=FORMAT_IDS)
@given(data=st.data())
def test_a_printed_message_is_read_back(row: SplatClass, known: Format, data: st.DataObject) -> None:
    values = data.draw(values_for(known))
    found = read_message(message(known, printed(known.text, values)))
    assert found is not None
    assert found.splat_class == row.slug
    wanted = dict(zip(known.names, values, strict=True))
    device = wanted.pop("device", None)
    assert found.fields == wanted
    named = known.prefix in (Prefix.DMA_API, Prefix.DEVICE, Prefix.STRICT)
    assert (found.driver, found.device) == (("dmasafe", "0000:00:05.0") if named else (None, device))
    assert found.text == printed(known.text, values)


def test_a_missing_device_is_none() -> None:
    found = read_message("DMA-API: NULL NULL: device driver tries to free an invalid DMA memory address")
    assert found is not None
    assert (found.driver, found.device) == (None, None)


def test_the_device_may_stand_before_the_prefix() -> None:
    found = read_message(
        "omap_i2c 48070000.i2c: DMA-API: device driver frees DMA sg list with different entry count "
        "[map count=2] [unmap count=1]"
    )
    assert found is not None
    assert (found.driver, found.device) == ("omap_i2c", "48070000.i2c")
    assert found.fields == {"map_count": 2, "unmap_count": 1}


def test_a_cut_message_keeps_its_class_and_whole_values() -> None:
    found = read_message(
        "DMA-API: a b: device driver frees DMA memory with different size "
        "[device address=0x0000000012345678] [map size=12"
    )
    assert found is not None
    assert found.splat_class == "free-size"
    assert found.fields == {"device_address": 0x12345678}


def test_a_withheld_pointer_is_left_out() -> None:
    found = read_message("DMA-API: a b: device driver maps memory from vmalloc area [addr=(____ptrval____)] [len=8]")
    assert found is not None
    assert found.fields == {"length": 8}


@pytest.mark.parametrize(
    "line",
    [
        "DMA-API: preallocated 65536 debug entries",
        "DMA-API: debugging enabled by kernel config",
        "DMA-API: debugging disabled on kernel command line",
        "DMA-API: dma_debug_entry pool grown to 131072 (200%)",
        "DMA-API: enable driver filter for driver [e1000e]",
        "DMA32    [mem 0x0000000001000000-0x000000000fffffff]",
        "a test says: device driver maps memory from stack [addr=0000000012345678]",
        "i2c i2c-0: DMA addr of the channel",
    ],
)
def test_lines_that_only_talk_about_dma_are_no_splat(line: str) -> None:
    assert read_message(line) is None
    assert list(parse([f"[    0.1] {line}\n"])) == []


@pytest.mark.parametrize("tree", kernel_trees() or [None], ids=lambda tree: tree.name if tree else "none")
def test_every_err_printk_of_the_kernel_has_a_row(tree: Path | None) -> None:
    if tree is None:
        pytest.skip(f"no kernel sources: set {SOURCES_VARIABLE} to a folder of trees, or let dmasafe fetch them")
    formats = err_printk_formats(tree)
    source = (tree / "kernel/dma/debug.c").read_text()
    assert len(formats) == source.count("err_printk(") - 1 > 20
    rows = {known.text: row for row in SPLAT_CLASSES.values() for known in row.formats}
    details = {known.text for row in SPLAT_CLASSES.values() for known in row.details}
    for text in formats:
        first, *rest = text.strip().split("\n")
        assert first.strip() in rows, first
        assert all(line.strip() in {detail.strip() for detail in details} for line in rest), rest


@pytest.mark.parametrize("tree", kernel_trees() or [None], ids=lambda tree: tree.name if tree else "none")
@pytest.mark.parametrize(
    ("file", "slug"),
    [
        ("include/linux/dma-mapping.h", "map-vmalloc-rejected"),
        ("kernel/dma/direct.[hc]", "addr-overflow"),
        ("kernel/dma/swiotlb.c", "addr-overflow"),
        ("drivers/usb/core/hcd.c", "usb-buffer-on-stack"),
        ("kernel/dma/debug.c", "debug-disabled"),
    ],
)
def test_the_messages_beside_dma_debug_are_the_kernels(tree: Path | None, file: str, slug: str) -> None:
    if tree is None:
        pytest.skip(f"no kernel sources: set {SOURCES_VARIABLE} to a folder of trees, or let dmasafe fetch them")
    # direct.h to 7.2, direct.c in 7.3.
    source = "".join(path.read_text(errors="replace") for path in tree.glob(file))
    texts = [known.text for known in SPLAT_CLASSES[slug].formats if not known.versions]
    assert any(f'"{text}' in source for text in texts)
