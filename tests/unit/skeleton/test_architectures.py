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


def test_the_plugins_default_architecture_is_everybodys():
    (option,) = (option for option in OPTIONS if option.flag == "--dmasafe-arch")
    assert option.default == DEFAULT_ARCH
