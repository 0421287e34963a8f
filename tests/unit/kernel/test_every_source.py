# SPDX-License-Identifier: GPL-2.0-or-later
"""Every configuration over tinyconfig and allnoconfig of every source in the cache: is there a kernel, or a reason?

The kernel's own conf decides, started without make, in 3 s of processor time each. Nothing is compiled. linux-next and
others take part where they are: in the cache, or in DMASAFE_SOURCES=DIR:DIR. A machine without any source has recorded
answers: fixtures/kconfig-*.json, each written by ``python tests/unit/kernel/fast_make.py TREE``.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from pathlib import Path

import pytest
from fast_make import ARCH, BASES, CONFIGURATION, FastMake

from dmasafe.architecture import architecture_names
from dmasafe.kernel import build, open_cache
from dmasafe.kernel.config import (
    check,
    enable_missed,
    explain_absent,
    find_architecture,
    load_matrix,
    parse_config,
    resolve,
)
from dmasafe.kernel.kconfig import Kconfig, _Definition
from dmasafe.kernel.source import SourceTree
from dmasafe.kernel.tree import tree_version
from dmasafe.progress import SILENT
from tests.slow import slow

MATRIX = load_matrix()
FIXTURES = Path(__file__).parent / "fixtures"
# What has to be enabled beside a recorded tree's own fragments.
EXPECTED: dict[str, dict[str, list[str]]] = {"6.12": {}, "7.2": {}, "7.3": {"EEPROM_AT24": ["NVMEM", "NVMEM_SYSFS"]}}


def trees() -> list[Path]:
    """The clean trees at hand."""
    found = {path for path in open_cache().path("sources").glob("*/tree") if (path / "Kconfig").is_file()}
    return sorted(found | {Path(name) for name in os.environ.get("DMASAFE_SOURCES", "").split(":") if name})


def cells(version: str) -> list[tuple[str, str]]:
    """Every configuration on one architecture, and on the others what only they have."""
    rows = [row for row in MATRIX.configurations.values() if not row.kernel]
    return [
        (arch, row.name)
        for arch in architecture_names()
        if find_architecture(arch).makes_sense(version)
        for row in rows
        if row.makes_sense(version, arch)
        and (arch == ARCH or row.name == "default" or ARCH not in row.architectures != ())
    ]


@slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("arch", architecture_names())
@pytest.mark.parametrize("tree", trees() or [None], ids=lambda tree: tree.parent.name[:60] if tree else "none")
def test_every_configuration_gives_a_kernel_with_all_that_is_required(
    tree: Path | None, arch: str, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tree is None:
        pytest.skip("no kernel source is in the cache: dmasafe kernel build fetches one")
    version = tree_version(tree)
    if shutil.which(f"{find_architecture(arch).cross_compile}gcc") is None:
        pytest.skip(f"no compiler for {arch}, which Kconfig asks: DMASAFE_ARCH={arch} scripts/install-packages")
    todo = [configuration for where, configuration in cells(version) if where == arch]
    if not todo:
        pytest.skip(f"{arch} needs another version than {version}")
    objects = tmp_path / "objects"
    objects.mkdir()
    fast = FastMake(tree, objects, base, arch)
    monkeypatch.setattr(build, "run", fast)
    monkeypatch.setattr(build, "read_kconfig", functools.cache(build.read_kconfig))
    cache = open_cache(tmp_path / "cache")
    source = SourceTree(tree, "none", version, str(tree), tree.parent)
    for configuration in todo:
        request = resolve(MATRIX, configuration, arch, version)
        make = build.Make(source, request.architecture, objects, cache, 0, 1)
        # ConfigError: something that is required did not take.
        merged = build._merge(make, request, MATRIX, f"{configuration}-{arch}", cache, SILENT)
        taken = parse_config(merged.text)
        lost = [line.symbol for line in request.wanted if taken.get(line.symbol, "n") != line.value]
        said = " ".join((*merged.notes, *merged.absences))
        assert [name for name in lost if name not in said] == []
    assert fast.runs >= len(todo)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", [path.stem.rpartition("-")[2] for path in sorted(FIXTURES.glob("kconfig-*.json"))])
def test_what_recorded_trees_did_not_take_is_enabled_or_explained(name: str, base: str) -> None:
    recorded = json.loads((FIXTURES / f"kconfig-{name}.json").read_text())
    version, values, rows = recorded["version"], recorded["values"][base], recorded["definitions"]
    kconfig = Kconfig({symbol: [_Definition(**row) for row in found] for symbol, found in rows.items()})
    request = resolve(MATRIX, CONFIGURATION, ARCH, version)
    asked = tuple(line for line in request.wanted if line.symbol in recorded["asked"])
    checked = check(asked, values, version, MATRIX.absences, ARCH)
    ways = enable_missed(checked.missed, asked, values, kconfig)
    lacking = [line for line in checked.missed if line.symbol not in ways]
    assert [str(line) for line in lacking if line.required] == []
    assert ways == {symbol: tuple(names) for symbol, names in EXPECTED[name].items()}
    for note in explain_absent(lacking, values, version, kconfig):
        assert "this tree's Kconfig does not have it" in note or "it depends on" in note or "it has no prompt" in note
