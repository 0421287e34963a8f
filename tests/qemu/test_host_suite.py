# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's own controllers on real kernels: unmodified drivers on emulated hardware, by every way to find it."""

import json

import pytest

from dmasafe.kernel import list_kernels, open_cache
from tests.qemu.built import needs
from tests.slow import SLOW

RUN_TIMEOUT_S = 900
pytestmark = pytest.mark.timeout(3000)

# A PCI function, one beside an ACPI device; a device tree, with DMA of its own and by dmaengine.
FOUND = [
    pytest.param("x86_64", ("ismt", "amd-mp2"), marks=needs("hosts", "x86_64"), id="x86_64"),
    pytest.param("arm64", ("mt65xx", "qcom-geni", "sh-mobile"), marks=needs("hosts", "arm64"), id="arm64"),
]


@pytest.mark.parametrize(("arch", "names"), FOUND)
def test_drivers_find_their_hardware_and_do_with_buffers_what_their_source_says(arch, names, tmp_path, dmasafe):
    kinds = ("vmalloc", "module-data", "user")
    wanted = [f"{kind}/*/{name}/*" for name in names for kind in kinds if name != "ismt" or kind == "user"]
    dmasafe("run", "--config", "hosts", "--arch", arch, "--results", tmp_path, *wanted, timeout=RUN_TIMEOUT_S)
    results = json.loads((tmp_path / "latest" / "results.json").read_text())
    assert results["counts"]["fail"] == results["counts"]["error"] == 0
    passed = [row for row in results["scenarios"] if row["verdict"] == "PASS"]
    assert {row["controller"] for row in passed} == set(names)
    # The driver's once-only warnings come again.
    rejected = [row for row in passed if any(s["class"] == "map-vmalloc-rejected" for s in row["splats"])]
    assert len(rejected) > 1


def is_fetched(arch):
    return SLOW and any(
        kernel.arch == arch and kernel.source.startswith("deb:") for kernel in list_kernels(open_cache())
    )


@pytest.mark.parametrize(
    ("arch", "names"),
    [
        pytest.param(arch, names, marks=pytest.mark.skipif(not is_fetched(arch), reason=f"first: {command}"), id=arch)
        for arch, names, command in (
            ("x86_64", ("amd-mp2", "ismt"), "DMASAFE_SLOW=1, dmasafe run --kernel deb:linux-image-amd64"),
            (
                "arm64",
                ("mt65xx", "qcom-geni"),
                "DMASAFE_SLOW=1, dmasafe run --kernel deb:linux-image-arm64 --arch arm64",
            ),
        )
    ],
)
def test_a_distributions_kernel_runs_untouched(arch, names, tmp_path, dmasafe):
    package = {"x86_64": "amd64"}.get(arch, arch)
    wanted = [f"user/*/{name}/*" for name in names]
    words = ("--kernel", f"deb:linux-image-{package}", "--arch", arch, "--results", tmp_path, *wanted)
    dmasafe("run", *words, check=0, timeout=RUN_TIMEOUT_S)
    results = json.loads((tmp_path / "latest" / "results.json").read_text())
    assert results["canary"]["splatted"] and results["kernel"]["config"] == "distribution"
    assert {row["controller"] for row in results["scenarios"] if row["verdict"] == "PASS"} == set(names)
    assert "dmasafe" not in "".join(
        line for line in (tmp_path / "latest" / "kmsg.log").read_text().splitlines() if "Modules linked in" in line
    )


@pytest.mark.parametrize(
    ("arch", "names"),
    [
        pytest.param("x86_64", ("ismt", "amd-mp2"), marks=needs("hosts", "x86_64"), id="x86_64"),
        pytest.param("arm64", ("mt65xx", "sh-mobile"), marks=needs("hosts", "arm64"), id="arm64"),
    ],
)
def test_a_driver_is_unbound_beside_a_call_and_comes_back(arch, names, tmp_path, dmasafe):
    wanted = [f"*/{name}/*+meanwhile=*" for name in names]
    dmasafe("run", "--config", "hosts", "--arch", arch, "--results", tmp_path, *wanted, timeout=RUN_TIMEOUT_S)
    rows = json.loads((tmp_path / "latest" / "results.json").read_text())["scenarios"]
    # On a busy machine some transfers are over too soon, or too late.
    assert not [row for row in rows if row["verdict"] in ("FAIL", "ERROR")]
    passed = [row["id"] for row in rows if row["verdict"] == "PASS"]
    assert any("unbound" in one for one in passed) and any("unbind" in one for one in passed)


@pytest.mark.parametrize(
    ("configuration", "arch", "names"),
    [
        pytest.param(
            "hosts+clients", "x86_64", ("ismt", "amd-mp2"), marks=needs("hosts+clients", "x86_64"), id="x86_64"
        ),
        pytest.param("hosts+sleep", "arm64", ("mt65xx", "at91"), marks=needs("hosts+sleep", "arm64"), id="arm64"),
    ],
)
def test_the_system_sleeps_beside_a_call(configuration, arch, names, tmp_path, dmasafe):
    wanted = [f"*/{name}/*meanwhile=suspend*" for name in names]
    dmasafe("run", "--config", configuration, "--arch", arch, "--results", tmp_path, *wanted, timeout=RUN_TIMEOUT_S)
    rows = json.loads((tmp_path / "latest" / "results.json").read_text())["scenarios"]
    assert not [row for row in rows if row["verdict"] in ("FAIL", "ERROR")]
    assert {row["controller"] for row in rows if row["verdict"] == "PASS"} == set(names)
    log = (tmp_path / "latest" / "kmsg.log").read_text()
    assert log.count("suspend debug: Waiting for 0 second(s)") >= len(names)
