# SPDX-License-Identifier: GPL-2.0-or-later
"""regmap and MTD on other buses, on real kernels: suite `buses`, in which each row of its table must be right."""

import json
import re

import pytest

from dmasafe.report import json_report
from dmasafe.report.buses import expected, measured, table
from dmasafe.scenario import suite
from dmasafe.targets.prepare import model_kernel
from tests.qemu.built import versions

RUN_TIMEOUT_S = 900
pytestmark = pytest.mark.timeout(3000)


@pytest.fixture(scope="module", params=versions("upstream"))
def buses(request, tmp_path_factory, dmasafe):
    """The directory with the results of the suite on one kernel."""
    out = tmp_path_factory.mktemp("buses")
    dmasafe(
        "run", "--kernel", request.param, "--config", "upstream", "--suite", "buses", "--out", out,
        check=0, timeout=RUN_TIMEOUT_S,
    )  # fmt: skip
    return out / "latest"


@pytest.fixture(scope="module")
def rows(buses):
    """Rows of results.json by scenario id."""
    return {row["id"]: row for row in json.loads((buses / "results.json").read_text())["scenarios"]}


def test_everything_happens_as_the_subsystems_source_says(buses, rows):
    results = json.loads((buses / "results.json").read_text())
    assert set(rows) == {scenario.id for scenario in suite("buses")}
    assert results["canary"]["splatted"] is True
    assert results["counts"]["fail"] == results["counts"]["inconclusive"] == results["counts"]["error"] == 0


def test_what_was_measured_is_the_table_that_dmasafe_buses_prints(buses):
    results = json_report.load(buses / "results.json")
    version = ".".join(results.kernel.release.split(".")[:2])
    facts, _info = model_kernel(f"apt:linux-source-{version}", "upstream", "x86_64")
    assert list(table(measured(results))) == list(table(expected(facts)))


def test_wherever_the_caller_or_a_copy_was_mapped_the_hardware_says_which(rows):
    bare = ("regmap_write", "regmap_read", "regmap_bulk_write", "regmap_bulk_read")
    for text, row in rows.items():
        by_value = row["controller"] == "bus-w1" and row["operation"] in bare
        files = row["operation"].startswith(("jffs2", "ubifs"))
        if row["outcome"] == "SAFE":
            assert (row["direct"] is None) == (by_value or files), text


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("heap/spmi_register_write/bus-spmi-base/1", "spmi_register_write"),
        ("heap/slim_readb/bus-slimbus/1", "slim_readb"),
        ("heap/regmap_write/bus-w1-pair/1", "w1_reset_select_slave"),
        ("stack/regmap_raw_write/bus-spi/8", "regmap_spi_gather_write"),
    ],
)
def test_the_report_leads_to_the_function_that_hands_over_a_stack(rows, text, function):
    (splat,) = rows[text]["splats"]
    assert function in [frame["function"] for frame in splat["frames"]]


def test_spi_nor_keeps_from_the_controller_what_file_systems_hand_to_mtd(buses):
    log = (buses / "kmsg.log").read_text()
    pattern = r"dmasafe: before: handed to ([\w ]+): linear (\d+), stack (\d+), vmalloc (\d+), other (\d+)"
    told = [(to, tuple(map(int, counts))) for to, *counts in re.findall(pattern, log)]
    assert {to for to, _ in told} == {"MTD", "the controller"}
    at_mtd = [counts for to, counts in told if to == "MTD"]
    assert sum(stack for _, stack, _, _ in at_mtd) > 0 and sum(vmalloc for _, _, vmalloc, _ in at_mtd) > 0
    assert all(counts[1:] == (0, 0, 0) and counts[0] >= 0 for to, counts in told if to == "the controller")
