# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of sabotages: every kind is tried by `make test`, and the documents say what is left to `make selftest`."""

import re
from pathlib import Path

import pytest

from dmasafe.devices.lies import LIES
from dmasafe.selftest.cases import CASES, QUICK
from dmasafe.targets.sabotage import SABOTAGES, SabotageKind

ROOT = Path(__file__).parents[3]


def left_to_selftest(kind):
    return [name for name, case in CASES.items() if case.kind is kind and name not in QUICK]


@pytest.mark.parametrize("kind", SabotageKind)
def test_every_kind_of_sabotage_is_tried_by_make_test(kind):
    assert [name for name in QUICK if CASES[name].kind is kind], f"no {kind.name} in QUICK"


@pytest.mark.parametrize("kind", SabotageKind)
def test_the_documents_say_what_is_left_to_make_selftest(kind):
    quick = ", ".join(f"`{name}`" for name in QUICK if CASES[name].kind is kind)
    left = ", ".join(f"`{name}`" for name in left_to_selftest(kind))
    assert f"| {kind.value} | {quick} | {left} |" in (ROOT / "docs" / "architecture.md").read_text()


def test_the_documents_count_the_sabotages():
    assert f"{len(CASES)} sabotaged runs" in (ROOT / "README.md").read_text()
    assert f"wrecks runs in {len(CASES)} ways" in " ".join((ROOT / "docs" / "architecture.md").read_text().split())


def test_every_lie_of_the_device_is_tried():
    assert all(any(name.startswith(f"device-lies-{lie}-") for name in CASES) for lie in LIES)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_case_says_what_must_be_said(case):
    assert re.compile(case.reason).search("") is None
    assert case.statuses and case.bound_s > 0
    assert case.passes or not case.keeps


@pytest.mark.parametrize("row", SABOTAGES.values(), ids=SABOTAGES)
def test_a_run_that_is_wrecked_in_all_its_boots_passes_nothing_and_any_other_keeps_something(row):
    case = CASES[row.name]
    assert case.passes is (not row.spoils_all) and case.keeps == (0 if row.spoils_all else 1)
    assert case.statuses == ((0,) if row.heals else (2,)) and case.kept


def test_only_a_machine_that_was_slow_for_a_while_costs_nothing_in_the_end():
    assert [row.name for row in SABOTAGES.values() if row.heals] == ["device-starved"]
