# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``dmasafe conform`` says beside its differences, and its exit status."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from dmasafe.check.programs import programs
from dmasafe.cli import conform_command
from dmasafe.cli.conform_command import _Report, _table
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.scenario import parse_scenario
from dmasafe.targets import check_conform, conform
from dmasafe.targets.base import TargetRun
from dmasafe.targets.conform import Comparison, Difference
from tests.in_process import dmasafe

KERNEL = KernelInfo("6.12.117", "x86_64", "default", "test")
FACTS = KernelFacts("x86_64", (6, 12, 117), frozenset())
SCENARIO = parse_scenario("heap/master_send/virtio/8")


def test_the_notes_of_the_kernel_and_of_its_boots_are_told():
    kernel = KernelInfo("7.9.0", "x86_64", "default", "a tree", notes=("7.9.0 is not verified",))
    run = TargetRun(kernel, "tcg", True, {}, notes=("boot 1: slow",))
    lines = list(_table(_Report(7, 1, Comparison(1, (), {}, run), [], "", 1.0)))
    assert [line for line in lines if line.startswith("note")] == ["note: 7.9.0 is not verified", "note: boot 1: slow"]


@pytest.fixture
def compared(monkeypatch):
    """The exit status of ``dmasafe conform``, if this is what the comparison says."""
    prepared = SimpleNamespace(image=None, kernel=KERNEL, facts=FACTS)
    monkeypatch.setattr(conform_command, "prepare", lambda *_: prepared)
    monkeypatch.setattr(conform_command, "QemuTarget", lambda *_: None)

    def status(module, comparison, *words):
        monkeypatch.setattr(module, "compare", lambda *_: comparison)
        return dmasafe("conform", *words, "--no-shrink").returncode

    return status


DIFFERENT = Difference(SCENARIO, ("ret",), {"ret": "8"}, {"ret": "-5"}, SCENARIO)


@pytest.mark.parametrize(
    ("differences", "inconclusive", "canary", "expected"),
    [
        ((), {}, True, 0),
        ((DIFFERENT,), {}, True, 1),
        ((), {SCENARIO.id: "the guest died"}, True, 2),
        ((DIFFERENT,), {SCENARIO.id: "the guest died"}, True, 2),
        ((), {}, False, 2),
    ],
)
def test_the_exit_status_tells_agreement_difference_and_doubt(compared, differences, inconclusive, canary, expected):
    comparison = Comparison(1, differences, inconclusive, TargetRun(KERNEL, "tcg", canary, {}))
    assert compared(conform, comparison, SCENARIO.id) == expected


WRITTEN = programs(0, 1)[0]
SAFE = (check_conform.Run("-", 1, 0, ()),)
BAD = (check_conform.Run("-", 1, -5, ()),)


@pytest.mark.parametrize(
    ("limit", "runs", "inconclusive", "expected"),
    [
        (None, None, {}, 0),
        (None, SAFE, {}, 1),
        ("belong-together", SAFE, {}, 0),
        ("belong-together", BAD, {}, 1),
        (None, None, {"program_1": "the guest died"}, 2),
        (None, SAFE, {"program_1": "the guest died"}, 2),
    ],
)
def test_functions_differ_by_a_fault_not_by_a_limit(compared, limit, runs, inconclusive, expected):
    differences = () if runs is None else (check_conform.Difference(replace(WRITTEN, limit=limit), "why", (), runs),)
    comparison = check_conform.Comparison(KERNEL, "tcg", 1, 0, differences, inconclusive, 1, 1.0)
    assert compared(check_conform, comparison, "--functions", "1") == expected
