# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's drivers of USB bridges on real kernels: the suite `upstream`, in which the model must be right."""

import json

import pytest

from dmasafe.scenario import CONTROLLERS, suite
from tests.qemu.built import versions

BRIDGES = [name for name, row in CONTROLLERS.items() if row.plug and row.plug.hcd]
RUN_TIMEOUT_S = 900
pytestmark = pytest.mark.timeout(3000)


@pytest.fixture(scope="module", params=versions("upstream"))
def upstream(request, tmp_path_factory, dmasafe):
    """results.json of the suite on one kernel, by scenario id."""
    out = tmp_path_factory.mktemp("upstream")
    dmasafe(
        "run", "--kernel", request.param, "--config", "upstream", "--suite", "upstream", "--out", out,
        check=0, timeout=RUN_TIMEOUT_S,
    )  # fmt: skip
    results = json.loads((out / "latest" / "results.json").read_text())
    return results, {row["id"]: row for row in results["scenarios"]}


def test_everything_happens_as_the_model_of_the_driver_says(upstream):
    results, rows = upstream
    assert set(rows) == {scenario.id for scenario in suite("upstream")}
    assert results["canary"]["splatted"] is True
    assert results["counts"]["fail"] == results["counts"]["inconclusive"] == results["counts"]["error"] == 0


@pytest.mark.parametrize("name", BRIDGES)
def test_each_bridge_carries_data_both_ways_and_claims_nothing_about_dma(upstream, name):
    _results, rows = upstream
    for operation in ("master_send", "master_recv"):
        row = rows[f"heap/{operation}/{name}/32"]
        assert (row["outcome"], row["verdict"], row["direct"]) == ("SAFE", "PASS", None)


@pytest.mark.parametrize("name", [name for name in BRIDGES if not name.startswith("osif")])
def test_a_driver_that_copies_takes_a_stack_buffer(upstream, name):
    _results, rows = upstream
    assert rows[f"stack/master_recv/{name}/32"]["outcome"] == "SAFE"
    assert rows[f"stack/master_send/{name}/32"]["outcome"] == "SAFE"


@pytest.mark.parametrize(
    ("text", "outcome", "classes"),
    [
        ("stack/master_recv/osif/8", "CAUGHT", ["usb-buffer-on-stack"]),
        ("stack/master_recv_dmasafe/osif/8", "CAUGHT", ["usb-buffer-on-stack"]),
        ("stack/master_send/osif/8", "SAFE", []),
        ("stack/master_send/osif/9", "CAUGHT", ["usb-buffer-on-stack"]),
        ("stack/master_send/osif-ehci/8", "CAUGHT", ["usb-buffer-on-stack"]),
        ("vmalloc/master_recv/osif/8", "CAUGHT", ["map-vmalloc-rejected"]),
        ("user/i2cdev_smbus/osif/1@20+command=17+protocol=byte_data+rd=1", "CAUGHT", ["usb-buffer-on-stack"]),
    ],
)
def test_osif_hands_its_callers_memory_to_usb(upstream, text, outcome, classes):
    _results, rows = upstream
    assert rows[text]["outcome"] == outcome
    assert [splat["class"] for splat in rows[text]["splats"]] == classes


def test_a_report_names_the_line_in_usb_core(upstream):
    _results, rows = upstream
    (splat,) = rows["stack/master_recv/osif/8"]["splats"]
    assert splat["file"] == "drivers/usb/core/hcd.c" and splat["line"] > 0
    assert splat["function"] == "usb_hcd_map_urb_for_dma"
    assert "osif_xfer" in [frame["function"] for frame in splat["frames"]]


def test_viperboard_sends_other_bytes_than_it_was_given_in_a_long_write(upstream):
    _results, rows = upstream
    assert rows["heap/master_send/viperboard/503"]["outcome"] == "SAFE"
    assert rows["heap/master_send/viperboard/504"]["outcome"] == "SILENT"
