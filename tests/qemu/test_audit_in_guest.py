# SPDX-License-Identifier: GPL-2.0-or-later
"""The audit on real kernels: a wrong mark is found at its line where there is no DMA, a clean driver passes."""

import json
from pathlib import Path

import pytest
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog

from tests.qemu.built import needs

ROOT = Path(__file__).parents[2]
EXAMPLES = "docs/examples"
BUS = "/sys/bus/i2c/devices/i2c-$DMASAFE_BUS"
READ = f"echo thermo 0x30 > {BUS}/new_device && cat {BUS}/$DMASAFE_BUS-0030/temperature"


def line_of(example, text):
    lines = (ROOT / EXAMPLES / example / "thermo.c").read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if text in line]
    return number


def audited(dmasafe, *arguments, check):
    return json.loads(dmasafe("audit", "--format", "json", *arguments, check=check).stdout)


def test_a_wrong_mark_is_found_at_its_line_on_a_controller_without_dma(dmasafe, tmp_path):
    sarif = tmp_path / "audit.sarif"
    options = ("--policy", "pio", "--module", f"{EXAMPLES}/buggy", "--sarif", sarif)
    found = audited(dmasafe, *options, "--", READ, check=1)
    (finding,) = found["findings"]
    kind = found["messages"][finding["message"]]
    assert (finding["rule"], kind["memory_class"], kind["client_driver"]) == ("flagged-unsafe", "stack", "thermo")
    assert kind["adapter_driver"] == "dmasafe_controller" and kind["mapped"] == 0 and found["splats"] == []
    document = json.loads(sarif.read_text())
    SarifLog.model_validate(document)
    place = document["runs"][0]["results"][0]["locations"][0]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == f"{EXAMPLES}/buggy/thermo.c"
    assert place["physicalLocation"]["region"]["startLine"] == line_of("buggy", "i2c_master_recv_dmasafe")
    assert place["logicalLocations"][0]["name"] == "thermo_measure"


def test_a_clean_driver_passes(dmasafe):
    found = audited(dmasafe, "--policy", "pio", "--module", f"{EXAMPLES}/fixed", "--", READ, check=0)
    assert found["distrust"] == found["splats"] == found["findings"] == [] and found["counts"]["messages"] == 2


def test_an_audit_of_nothing_is_inconclusive_and_one_that_overflows_says_so(dmasafe):
    assert "no I2C message" in audited(dmasafe, "--", "true", check=2)["distrust"][0]
    # Its canaries are errors, which outweigh what was lost.
    lost = audited(dmasafe, "--rows", "8", "--suite", "smoke", check=1)
    assert lost["counts"]["lost"] > 0 and "found no room" in lost["distrust"][0]


UNSAFE = {"stack", "vmalloc", "rodata", "data", "module-data", "module-rodata", "percpu"}
EVERY_BUFFER = ("*/master_*/dmasafe:trusting/8", "*/master_recv*/virtio/8", "heap/master_send/dmasafe:bounce/0")


def on(version, arch="x86_64", configuration="default"):
    """A test's kernel, skipped where it is not built."""
    mark = needs(configuration, arch, f"apt:linux-source-{version}")
    return pytest.param(version, arch, marks=mark, id=f"{version}-{arch}")


@pytest.mark.parametrize(
    ("version", "arch"), [on("5.10"), on("6.1"), on("6.12"), on("7.2"), on("6.12", "arm64"), on("6.12", "riscv64")]
)
def test_every_kind_of_buffer_is_classified_on_every_kernel(dmasafe, version, arch):
    chosen = (word for pattern in EVERY_BUFFER for word in ("--scenario", pattern))
    found = audited(dmasafe, "--kernel", f"apt:linux-source-{version}", "--arch", arch, *chosen, check=1)
    assert found["distrust"] == [] and found["counts"]["lost"] == 0
    assert {kind["memory_class"] for kind in found["messages"]} == UNSAFE | {"slab", "pages", "none"}
    flagged = {
        found["messages"][finding["message"]]["memory_class"]
        for finding in found["findings"]
        if finding["rule"] == "flagged-unsafe"
    }
    assert flagged == UNSAFE
    mapped = [finding for finding in found["findings"] if finding["rule"] == "maps-unflagged"]
    if version in ("5.10", "6.1"):
        assert not mapped and any("no tracepoints for DMA mappings" in note for note in found["notes"])
    else:
        # Policy trusting, and nobody else: i2c-virtio uses the helpers.
        drivers = {found["messages"][finding["message"]]["adapter_driver"] for finding in mapped}
        assert drivers == {"dmasafe_controller"}


def documented(version):
    """docs/audit.md's table of upstream client drivers: (file, direction, class) -> lengths."""
    rows = [line.strip("| ").split(" | ") for line in (ROOT / "docs/audit.md").read_text().splitlines()]
    return {
        (driver, direction, memory_class): lengths
        for driver, direction, lengths, memory_class, *versions in (
            row for row in rows if row[0].startswith("drivers/")
        )
        if version in versions[0]
    }


@pytest.mark.parametrize(("version", "arch"), [on("7.2", configuration="upstream")])
def test_what_upstream_client_drivers_send_is_what_the_documentation_says(dmasafe, version, arch):
    work = (ROOT / "docs/examples/upstream-clients.sh").read_text()
    options = ("--kernel", f"apt:linux-source-{version}", "--arch", arch, "--config", "upstream", "--policy", "pio")
    found = audited(dmasafe, *options, "--", work, check=0)
    assert found["distrust"] == found["splats"] == []
    lengths = {}
    for kind in found["messages"]:
        assert not kind["dma_safe"]
        key = (kind["frames"][kind["caller"]]["file"], "read" if kind["read"] else "write", kind["memory_class"])
        lengths.setdefault(key, []).extend((kind["min_bytes"], kind["max_bytes"]))
    spoken = {key: " to ".join(map(str, sorted({min(of), max(of)}))) for key, of in lengths.items()}
    assert spoken == documented(version)
