# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's client drivers, unmodified, on the emulated controllers: a few of each kind, on two kernels."""

import json

import pytest

from dmasafe.kernel import fetch, open_cache, parse_source
from dmasafe.kernel.build import find_kernel
from dmasafe.progress import SILENT
from tests.slow import slow

# One that is marked and right, one that reads into its stack, one with an interrupt, one that descends into HID.
CLIENTS = ("ad5110", "ds1307", "st1232", "i2c_hid_of")
RUN_TIMEOUT_S = 900
pytestmark = [slow, pytest.mark.timeout(2000)]


@pytest.fixture(scope="module", params=["6.12", "7.2"])
def source(request):
    """A kernel that is built: building this configuration takes a quarter of an hour."""
    source = f"apt:linux-source-{request.param}"
    cache = open_cache()
    if find_kernel(fetch(parse_source(source), cache, SILENT), "upstream", "x86_64", cache) is None:
        pytest.skip(f"not built: dmasafe kernel build --config upstream {source}")
    return source


@pytest.fixture(scope="module")
def ran(source, dmasafe, tmp_path_factory):
    """results.json and the audit's record of one run."""
    out = tmp_path_factory.mktemp("clients")
    places = [word for place in ("dmasafe:bounce", "dmasafe:trusting", "virtio") for word in ("--place", place)]
    dmasafe(
        "clients", "--kernel", source, *CLIENTS, *places, "--out", out, "--audit", out / "audit.json",
        check=0, timeout=RUN_TIMEOUT_S,
    )  # fmt: skip
    results = json.loads((out / "latest" / "results.json").read_text())
    return {row["id"]: row for row in results["scenarios"]}, json.loads((out / "audit.json").read_text())


def test_every_phase_is_as_the_drivers_source_says(ran):
    rows, _audit = ran
    assert len(rows) == len(CLIENTS) * 3 * 6
    assert {row["verdict"] for row in rows.values()} == {"PASS", "SKIP"}
    for phase in ("probe", "use", "suspend", "unbind", "remove", "messages"):
        assert rows[f"ad5110/{phase}/dmasafe:trusting"]["outcome"] == "SAFE"


def test_a_buffer_on_the_stack_costs_the_probe_where_the_controller_trusts(ran):
    rows, _audit = ran
    row = rows["ds1307/probe/dmasafe:trusting"]
    assert row["outcome"] == "CAUGHT" and [splat["class"] for splat in row["splats"]] == ["map-vmalloc-rejected"]
    assert rows["ds1307/use/dmasafe:trusting"]["verdict"] == "SKIP"
    assert rows["ds1307/use/dmasafe:bounce"]["outcome"] == "SAFE"


def test_the_hid_descriptor_is_marked_in_the_middle_of_its_struct(ran):
    _rows, audit = ran
    shared = [audit["messages"][f["message"]] for f in audit["findings"] if f["rule"] == "shared-line"]
    assert any(kind["address"] == 0x2C and kind["min_bytes"] == 30 and kind["before"] for kind in shared)


def test_a_kernel_without_the_drivers_is_told_what_to_do(dmasafe, tmp_path):
    done = dmasafe("clients", "ad5110", "--config", "default", "--place", "virtio", "--out", tmp_path, check=2)
    assert "CONFIG_AD5110" in done.stdout and "--config upstream" in done.stdout
