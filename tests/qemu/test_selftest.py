# SPDX-License-Identifier: GPL-2.0-or-later
"""The harness under fire: every way to wreck a run is noticed in time, for the right reason, with nothing left over."""

import json
import os

import pytest

from dmasafe.selftest.cases import CASES, QUICK

TIMEOUT_S = 900
# DMASAFE_SELFTEST=all, or `make selftest`, runs the whole table.
CHOSEN = tuple(CASES) if os.environ.get("DMASAFE_SELFTEST") == "all" else QUICK


@pytest.fixture(scope="module")
def findings(guest, dmasafe):
    only = [word for name in CHOSEN for word in ("--only", name)]
    done = dmasafe("selftest", "--format", "json", *only, timeout=TIMEOUT_S)
    assert done.returncode in (0, 1), done.stderr[-3000:]
    return {finding["sabotage"]: finding for finding in json.loads(done.stdout)}


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("name", CHOSEN)
def test_it_is_noticed_in_time_for_the_right_reason_and_nothing_is_left(findings, name):
    finding = findings[name]
    assert finding["wrong"] == [], finding
    assert finding["took_s"] < finding["bound_s"]


def test_a_sabotage_that_is_not_known_is_one_sentence(dmasafe):
    done = dmasafe("run", "--sabotage", "nothing", "--suite", "smoke")
    assert done.returncode == 2
    assert "no sabotage 'nothing'" in done.stderr and "Traceback" not in done.stderr
