# SPDX-License-Identifier: GPL-2.0-or-later
"""Every class has an explanation that can be acted on, and what it refers to exists."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from dmesg_sources import SOURCES_VARIABLE, kernel_trees

from dmasafe.dmesg import SPLAT_CLASSES, Explanation, explain, explanation
from dmasafe.expect import expect
from dmasafe.facts import KernelFacts
from dmasafe.kernel.config import load_matrix
from dmasafe.outcome import Expectation
from dmasafe.scenario import parse_scenario

ALWAYS = ("DMA_API_DEBUG", "I2C_VIRTIO", "I2C_CHARDEV", "MODULES", "KALLSYMS_ALL")
SYMBOLS = {"default": ("VMAP_STACK",), "no-vmap-stack": (), "debug-sg": ("VMAP_STACK", "DEBUG_SG")}
ALL = [explanation(slug) for slug in SPLAT_CLASSES]


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.slug)
def test_every_class_is_explained(row: Explanation) -> None:
    assert row.means.endswith(".") and row.rule.endswith(".")
    assert row.causes and row.fixes and row.read


def test_only_classes_that_there_are_have_a_table() -> None:
    path = Path(explain.__file__).with_name("explain.toml")
    assert set(tomllib.loads(path.read_text())["splat"]) == set(SPLAT_CLASSES)


def test_an_unknown_class_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        explanation("map-nothing")


@pytest.mark.parametrize("tree", kernel_trees() or [None], ids=lambda tree: tree.name if tree else "none")
def test_the_documentation_to_read_is_in_the_kernel(tree: Path | None) -> None:
    if tree is None:
        pytest.skip(f"no kernel sources: set {SOURCES_VARIABLE} to a folder of trees, or let dmasafe fetch them")
    if not (tree / "Documentation/core-api/dma-api.rst").is_file():
        pytest.skip("it was unpacked without its documentation")
    newer = {"Documentation/core-api/swiotlb.rst", "Documentation/mm/vmalloced-kernel-stacks.rst"}
    for path in {path for row in ALL for path in row.read}:
        assert (tree / path).is_file() or (path in newer and tree.name != "linux-source-7.2"), path


@pytest.mark.parametrize("row", [row for row in ALL if row.provoked_by], ids=lambda row: row.slug)
def test_the_scenarios_that_provoke_a_class_are_expected_to(row: Explanation) -> None:
    assert row.configuration in load_matrix().configurations
    strict = row.configuration == "strict"
    symbols = SYMBOLS["default" if strict else row.configuration]
    kernel = KernelFacts("x86_64", (6, 12), frozenset({*ALWAYS, *symbols}), strict_line=64 if strict else 0)
    for text in row.provoked_by:
        scenario = parse_scenario(text)
        assert scenario.id == text
        expected = expect(scenario, kernel)
        assert isinstance(expected, Expectation)
        # dma-debug, and another rule, may have the same to tell.
        assert row.slug in expected.classes if strict else expected.classes == (row.slug,), text
