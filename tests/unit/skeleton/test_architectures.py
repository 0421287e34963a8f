# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between architectures stands in their files: no code asks for one by name."""

import ast
import platform
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from dmasafe.architecture import REFERENCE_ARCH, architecture_names, host_arch, read_architecture
from dmasafe.cli import doctor_command, kernel_command, run_command
from dmasafe.kernel.config import find_architecture
from dmasafe.kernel.tools import cross_prefix
from dmasafe.pytest_plugin.settings import Settings
from dmasafe.targets.prepare import DEFAULT_ARCH, KernelChoice

ROOT = Path(__file__).parents[3]
# File: the texts in it that may name an architecture, and why.
ALLOWED = {
    "harness/dmasafe/architecture.py": ({REFERENCE_ARCH}, "the architecture of the guests unless another one is named"),
    "harness/dmasafe/dmesg/culprit.py": (
        {
            *("x86_swiotlb_", "__arm64_sys_", "__riscv_sys_"),
            *("arm_dma_", "__arm_dma_", "arm_iommu_", "arm_coherent_dma_", "arm_coherent_iommu_", "arm_nommu_dma_"),
            "^(?:__)?arm_(?:nommu_|coherent_|iommu_)?(?:dma|iommu)_|^dma_(?:free|alloc|unmap|map)_",
        },
        "names of functions in any kernel's logs, whether there are guests of its architecture or not",
    ),
}


# The same in C: (file, symbol): why no other macro of the kernel's tells.
ALLOWED_IN_C = {
    (
        "images/audit/audit_memory.c",
        "CONFIG_X86_64",
    ): "the image has a mapping of its own, with x86's names for its ends",
    ("images/common/compat.h", "CONFIG_RISCV"): "modules cannot name what MODULES_VADDR is reckoned from there",
    ("images/modules/controller_engine_memory.c", "CONFIG_ARM"): "before 6.0 it has DMA operations of its own",
}
ASKED_IN_C = re.compile(
    r"\b(?:CONFIG_(?:ARM|ARM64|X86|X86_32|X86_64|RISCV|MIPS|PPC|PPC64|S390|LOONGARCH)"
    r"|__(?:x86_64|i386|arm|aarch64|riscv|mips|powerpc)(?:__)?)\b"
)


def names_of(arch: str) -> set[str]:
    data = read_architecture(arch)
    triplet = data.kernel["cross_compile"].partition("-")[0]
    found = {arch, data.uname, data.debian, data.elf, data.kernel["make_arch"], triplet}
    return found | {pattern.strip("*?") for pattern in data.names}


NAMES = set().union(*map(names_of, architecture_names())) | {"x86"}
# An underscore is no letter: __arm64_sys_ names one too.
NAMED = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(sorted(map(re.escape, NAMES)))})(?![a-z0-9])", re.IGNORECASE)


def naming(path: Path) -> list[tuple[int, str]]:
    """(line, text) of each word in a Python file that names an architecture; sentences (help, docstrings) may."""
    tree = ast.parse(path.read_text())
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if NAMED.search(node.value) and not re.search(r"\s", node.value)
    ]


def test_no_code_asks_for_an_architecture_by_name():
    found = []
    for path in sorted([*ROOT.glob("harness/**/*.py"), *ROOT.glob("benchmarks/*.py"), ROOT / "setup.py"]):
        file = str(path.relative_to(ROOT))
        # On which architectures a driver's hardware is found is part of what it is.
        allowed = ALLOWED.get(file, (NAMES if "/devices/hosts/" in file else (), ""))[0]
        found += [f"{file}:{line}: {text!r}" for line, text in naming(path) if text not in allowed]
    assert found == [], "make it a key of kernel-configs/arch/NAME.toml"


def test_c_asks_for_one_only_where_the_kernel_has_no_better_name():
    files = list((ROOT / "images").rglob("*.[ch]"))
    found = {(str(path.relative_to(ROOT)), name) for path in files for name in ASKED_IN_C.findall(path.read_text())}
    assert found == ALLOWED_IN_C.keys()


@pytest.mark.parametrize("file", ALLOWED)
def test_what_may_name_one_still_does(file):
    assert ALLOWED[file][0] == {text for _line, text in naming(ROOT / file)}


@pytest.mark.parametrize(
    "code",
    ['arch == "arm64"', 'arch in ("x86_64", "vax")', 'arch.startswith("arm")', 'f"x86-{arch}"', '"__riscv_sys_"'],
)
def test_a_question_for_one_is_noticed(tmp_path, code):
    path = tmp_path / "x.py"
    path.write_text(f'"""On arm64."""\nif {code}: pass\n')
    assert naming(path)


def test_the_page_of_cells_says_what_is_special_about_each():
    page = (ROOT / "docs" / "cells.md").read_text()
    assert [arch for arch in architecture_names() if f"\n| `{arch}` | " not in page] == []


@pytest.mark.parametrize(
    ("machine", "arch", "prefixes"),
    [
        ("x86_64", "x86_64", {"x86_64": "", "arm64": "aarch64-linux-gnu-"}),
        ("aarch64", "arm64", {"arm64": "", "x86_64": "x86_64-linux-gnu-"}),
        ("riscv64", "riscv64", {"riscv64": "", "arm64": "aarch64-linux-gnu-"}),
        ("pdp11", REFERENCE_ARCH, {"x86_64": "x86_64-linux-gnu-"}),
    ],
)
def test_without_arch_a_guest_is_of_this_machines_architecture(machine, arch, prefixes, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert host_arch() == arch
    assert {name: cross_prefix(find_architecture(name)) for name in prefixes} == prefixes
    ini = SimpleNamespace(getoption=lambda name: None, getini=lambda name: "")
    assert Settings.of(ini).arch == arch


def test_every_command_that_boots_takes_it():
    assert KernelChoice().arch == DEFAULT_ARCH == host_arch()
    defaults = {
        parameter.default
        for command in (run_command.command, kernel_command.build, doctor_command.command)
        for parameter in command.params
        if parameter.name == "arch"
    }
    assert defaults == {DEFAULT_ARCH}
