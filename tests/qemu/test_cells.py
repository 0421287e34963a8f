# SPDX-License-Identifier: GPL-2.0-or-later
"""Other architectures, machines and configurations: the smoke suite happens as foretold wherever a kernel is built."""

import json
import shutil
from dataclasses import replace

import pytest

from dmasafe.architecture import architecture_names
from dmasafe.kernel import (
    DEFAULT_SOURCE,
    fetch,
    find_kernel,
    list_kernels,
    load_matrix,
    missing_packages,
    open_cache,
    parse_source,
)
from dmasafe.kernel.config import find_architecture
from dmasafe.kernel.errors import MissingToolError
from dmasafe.progress import SILENT
from dmasafe.qemu.machines import find_machine
from dmasafe.targets.boot import Boot
from dmasafe.targets.errors import BootLost
from dmasafe.targets.prepare import prepare
from tests.slow import slow

pytestmark = slow
# These have tests of their own, or change nothing that this suite shows.
LEFT_OUT = {"default on x86_64", "board", "upstream"}
CELLS = [
    (row.name, arch)
    for row in load_matrix().configurations.values()
    for arch in row.architectures or architecture_names()
    if not {row.name, f"{row.name} on {arch}"} & LEFT_OUT
]


def require_built(configuration, arch):
    """Building costs minutes, which only whoever works on this cell spends."""
    machine = find_machine(arch)
    missing = [*missing_packages(find_architecture(arch))]
    missing += [] if shutil.which(machine.binary) else [machine.debian_package]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)} (DMASAFE_ARCH={arch} scripts/install-packages)")
    cache = open_cache()
    first = f"first: dmasafe kernel build --arch {arch} --config {configuration}"
    if not any(kernel.arch == arch for kernel in list_kernels(cache)):
        pytest.skip(first)
    try:
        tree = fetch(parse_source(DEFAULT_SOURCE), cache)
        if not load_matrix().configurations[configuration].makes_sense(tree.version, arch):
            pytest.skip(f"{configuration} is not for Linux {tree.version}")
        if find_kernel(tree, configuration, arch, cache) is None:
            pytest.skip(first)
    except MissingToolError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("configuration", "arch"), CELLS)
def test_the_smoke_suite_happens_as_foretold(configuration, arch, dmasafe, tmp_path):
    require_built(configuration, arch)
    arguments = ("run", "--suite", "smoke", "--arch", arch, "--config", configuration, "--out", tmp_path)
    done = dmasafe(*arguments, timeout=900)
    results = json.loads((tmp_path / "latest" / "results.json").read_text())
    assert (results["kernel"]["arch"], results["kernel"]["config"]) == (arch, configuration)
    assert results["canary"]["splatted"] is True
    wrong = [
        (row["id"], row["outcome"], row["expected"], row["why"])
        for row in results["scenarios"]
        if row["verdict"] not in ("PASS", "SKIP")
    ]
    assert wrong == [], done.stderr[-2000:]
    assert results["counts"]["pass"] > 20


@pytest.mark.parametrize("arch", ["i386", "arm"])
def test_a_kmap_buffer_lies_in_high_memory(arch, dmasafe):
    require_built("default", arch)
    done = dmasafe("predicates", "--arch", arch, "--format", "json", check=0, timeout=900)
    said = {row["buffer"]: row["predicates"] for row in json.loads(done.stdout)}
    assert said["heap"]["virt_addr_valid"] and not said["kmap"]["virt_addr_valid"]
    assert not said["kmap"]["is_vmalloc_addr"]


def test_a_guest_on_another_machine_than_its_configuration_names_is_not_believed(tmp_path):
    require_built("non-coherent", "arm64")
    image = prepare(DEFAULT_SOURCE, "non-coherent", "arm64", None, SILENT).image
    # Everything but the device tree is as it should be.
    coherent = replace(image, machine=replace(image.machine, without=()))
    lie = pytest.raises(BootLost, match="does not run on the machine 'non-coherent'")
    with (tmp_path / "kmsg.log").open("wb") as log, Boot(coherent, tmp_path, log) as boot, lie:
        boot.prepare()
