# SPDX-License-Identifier: GPL-2.0-or-later
"""The strict machine on the real thing: every fault as expected, and what keeps the rules is left alone."""

import json

import pytest

from tests.qemu.built import needs

pytestmark = needs("strict")
KEEPS_THE_RULES = ("heap/*/virtio/*", "struct-embedded/*/dmasafe:trusting/*")


@pytest.fixture(scope="module")
def rows(dmasafe, tmp_path_factory):
    out = tmp_path_factory.mktemp("strict")
    dmasafe("run", "--config", "strict", "--suite", "faults", "--results", out / "faults", check=0, timeout=1200)
    dmasafe("run", "--config", "strict", *KEEPS_THE_RULES, "--results", out / "rules", check=0)
    found = {}
    for run in ("faults", "rules"):
        results = json.loads((out / run / "latest" / "results.json").read_text())
        assert results["counts"]["fail"] == results["counts"]["inconclusive"] == 0
        found |= {row["id"]: row for row in results["scenarios"]}
    return found


def test_each_report_of_a_devices_own_doing_has_both_stacks(rows):
    row = rows["heap/master_recv_dmasafe/dmasafe:bounce/32+fault=unmap-early"]
    (splat,) = row["splats"]
    assert splat["class"] == "strict-unmapped" and splat["device"] == "0000:00:06.0"
    assert "payload_map" in splat["fields"]["mapped_at"] and "payload_unmap" in splat["fields"]["unmapped_at"]


def test_a_line_that_is_lost_is_reported_with_its_size(rows):
    row = rows["heap/master_recv/dmasafe:bounce/32+fault=write-beside"]
    (splat,) = row["splats"]
    assert (splat["class"], splat["fields"]["lost"], splat["fields"]["cacheline_size"]) == ("strict-line-lost", 8, 64)


def test_what_keeps_the_rules_is_not_reported(rows):
    kept = [row for id_, row in rows.items() if "fault=" not in id_ and row["buffer"] in ("heap", "struct-embedded")]
    assert len(kept) > 20 and all(row["splats"] == [] for row in kept)
