# SPDX-License-Identifier: GPL-2.0-or-later
"""The parser on logs of this very boot: nothing invented, nothing lost, and what was reported can be reproduced."""

import json
from pathlib import Path

import pytest

from dmasafe.dmesg import SPLAT_CLASSES, explanation, parse_path
from dmasafe.dmesg.explain import provoking
from dmasafe.kernel import list_kernels, open_cache

FIXTURES = sorted((Path(__file__).parents[1] / "fixtures" / "dmesg").glob("recorded-*.log"))


def test_no_boot_log_has_a_splat_before_the_first_scenario(core):
    _, latest = core
    splats = list(parse_path(latest / "kmsg.log"))
    lines = (latest / "kmsg.log").read_text(errors="replace").splitlines()
    # Scenarios have no mark of their beginning; before the first one its module is loaded.
    begin = next(n for n, line in enumerate(lines, 1) if "dmasafe_client: loading" in line)
    assert splats and all(splat.log_line > begin for splat in splats)


def test_the_whole_log_has_the_splats_that_the_scenarios_have(core):
    results, latest = core
    whole = [splat.splat_class for splat in parse_path(latest / "kmsg.log")]
    single = [splat["class"] for row in results["scenarios"] for splat in row["splats"]]
    # Both canaries ran before the first scenario and after the last.
    assert sorted(whole) == sorted([*single, *["map-invalid-area", "map-vmalloc-rejected"] * 2])


def test_the_number_of_reports_is_dma_debugs_own_count(core):
    """The run compares them itself: a difference would have made every verdict INCONCLUSIVE."""
    results, _ = core
    assert results["counts"]["inconclusive"] == 0
    counted = {s for s, row in SPLAT_CLASSES.items() if row.source.startswith("kernel/dma/debug.c")}
    assert any(splat["class"] in counted for row in results["scenarios"] for splat in row["splats"])


def _provocable():
    """One recorded log for each class that some scenario provokes by itself."""
    chosen = {}
    for log in FIXTURES:
        for splat in parse_path(log):
            if provoking(explanation(splat.splat_class)):
                chosen.setdefault(splat.splat_class, log)
    return sorted(chosen.items())


@pytest.mark.parametrize(("slug", "log"), _provocable(), ids=lambda value: getattr(value, "stem", value))
def test_a_recorded_report_is_reproduced(dmasafe, slug, log):
    configuration = explanation(slug).configuration
    if configuration not in {kernel.configuration for kernel in list_kernels(open_cache())}:
        pytest.skip(
            f"the kernel of configuration {configuration} is not built: dmasafe kernel build --config {configuration}"
        )
    done = dmasafe("repro", log, "--format", "json", check=0)
    rows = {row["splat_class"]: row for row in json.loads(done.stdout)}
    assert rows[slug]["shown"] is True and rows[slug]["scenario"]
