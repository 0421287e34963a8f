# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between architectures stands in their files: no code asks for one by name."""

import ast
import re
from pathlib import Path

import pytest

from dmasafe.architecture import DEFAULT_ARCH, architecture_names, read_architecture
from dmasafe.pytest_plugin.options import OPTIONS

ROOT = Path(__file__).parents[3]
# File: the texts in it that may name an architecture, and why.
ALLOWED = {
    "harness/dmasafe/architecture.py": ({DEFAULT_ARCH}, "the architecture of the guests unless another one is named"),
    "harness/dmasafe/pytest_plugin/options.py": (
        {DEFAULT_ARCH},
        "every pytest run reads this file, which therefore imports nothing; the last test compares the two",
    ),
    "harness/dmasafe/dmesg/culprit.py": (
        {"arm_dma_", "x86_swiotlb_", "__arm64_sys_", "__riscv_sys_"},
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
        allowed = ALLOWED.get(file, ((), ""))[0]
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


def test_the_plugins_default_architecture_is_everybodys():
    (option,) = (option for option in OPTIONS if option.flag == "--dmasafe-arch")
    assert option.default == DEFAULT_ARCH
