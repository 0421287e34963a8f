# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's own modules: their files, what they need, what re-arms their warnings."""

from __future__ import annotations

import gzip
import lzma
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dmasafe.kernel.modules import load_order, once_section, own_modules


@pytest.fixture
def kernel(tmp_path: Path) -> Any:
    """Objects in which plat needs pci and core, pci needs core, and lost needs what is not there."""
    needs = {"i2c-plat": "i2c-pci,i2c_core", "i2c-pci": "i2c-core", "i2c-core": "", "lost": "gone"}
    for name, depends in needs.items():
        (tmp_path / f"{name}.ko").write_bytes(f"\x7fELF\0license=GPL\0depends={depends}\0name=x\0".encode())
    (tmp_path / "modules.order").write_text("".join(f"{name}.o\n" for name in (*needs, "never-built")))
    return SimpleNamespace(build_dir=tmp_path)


def test_what_a_module_needs_is_loaded_before_it(kernel: Any) -> None:
    own = own_modules(kernel)
    assert set(own) == {"i2c_plat", "i2c_pci", "i2c_core", "lost"}
    assert [path.name for path in load_order("i2c-plat", own)] == ["i2c-core.ko", "i2c-pci.ko", "i2c-plat.ko"]
    assert load_order("lost", own) == load_order("not-a-module", own) == ()


@pytest.mark.parametrize(("end", "pack"), [(".xz", lzma.compress), (".gz", gzip.compress)])
def test_what_a_distribution_has_packed_is_unpacked_where_it_is_asked_for(kernel: Any, end: str, pack: Any) -> None:
    plain = {path.name: path.read_bytes() for path in kernel.build_dir.glob("*.ko")}
    for name, data in plain.items():
        (kernel.build_dir / f"{name}{end}").write_bytes(pack(data))
        (kernel.build_dir / name).unlink()
    own = own_modules(kernel)
    assert len(own) == 4 and not list(kernel.build_dir.glob("*.ko"))
    chain = load_order("i2c-pci", own)
    assert [path.name for path in chain] == ["i2c-core.ko", "i2c-pci.ko"]
    assert [path.read_bytes() for path in chain] == [plain["i2c-core.ko"], plain["i2c-pci.ko"]]
    assert {path.name for path in kernel.build_dir.glob("*.ko")} == {"i2c-core.ko", "i2c-pci.ko"}


def test_a_kernel_without_modules_has_none(tmp_path: Path) -> None:
    assert own_modules(SimpleNamespace(build_dir=tmp_path)) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [".data..once", ".data.once"])
def test_the_section_of_once_only_warnings_is_found_by_either_name(tmp_path: Path, name: str) -> None:
    source = f'__attribute__((section("{name}"))) char warned[3] = {{1}};\nint x;\n'
    subprocess.run(["gcc", "-c", "-x", "c", "-o", tmp_path / "m.ko", "-"], input=source, text=True, check=True)
    assert once_section(tmp_path / "m.ko") == (name, 3)
    subprocess.run(["gcc", "-c", "-x", "c", "-o", tmp_path / "n.ko", "-"], input="int x;", text=True, check=True)
    assert once_section(tmp_path / "n.ko") == ("", 0)
