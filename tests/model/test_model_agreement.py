# SPDX-License-Identifier: GPL-2.0-or-later
"""The model's predictions held against the rows of harness/expectation.py, which it is to replace."""

from collections.abc import Callable

import pytest

from harness.expectation import KernelFacts, expect
from harness.model import Config, predict
from harness.outcome import Expectation, Skip
from harness.scenario import Scenario, suite

DEFAULT = Config().symbols
CELLS = {
    "default": DEFAULT,
    "no-vmap-stack": DEFAULT - {"VMAP_STACK"},
    "debug-sg": DEFAULT | {"DEBUG_SG"},
    "debug-sg-no-vmap-stack": DEFAULT - {"VMAP_STACK"} | {"DEBUG_SG"},
    "no-dma-debug": DEFAULT - {"DMA_API_DEBUG"},
}


# A known difference is a row with its reason; what is not in it is a bug of one of the two.
KNOWN: tuple[Callable[[Scenario, Expectation, Expectation], bool], ...] = ()


def differs(expected, found):
    if isinstance(expected, Skip) or isinstance(found, Skip):
        return type(expected) is not type(found)
    if (expected.outcome, set(expected.classes)) != (found.outcome, set(found.classes)):
        return True
    if expected.destructive != found.destructive:
        return True
    # None is "do not care" in a row; a call that never returned has no payload to ask for.
    return expected.direct is not None and not found.destructive and expected.direct is not found.direct


@pytest.mark.parametrize("version", [(5, 10, 223), (6, 1, 176), (6, 1, 192), (6, 12, 117), (7, 2, 13)])
@pytest.mark.parametrize("cell", CELLS)
def test_the_model_agrees_with_the_rows_but_for_the_known_differences(cell, version):
    facts = KernelFacts("x86_64", version, CELLS[cell])
    unknown = []
    for scenario in suite("core") + suite("smoke"):
        expected, found = expect(scenario, facts), predict(scenario, facts)
        if differs(expected, found) and not any(known(scenario, expected, found) for known in KNOWN):
            unknown.append((scenario.id, expected, found))
    assert unknown == []


def test_what_another_version_reports_differs_where_its_source_does():
    overlap = "coherent/master_recv_dmasafe/dmasafe:bounce/8"
    by_version = {
        version: predict(_scenario(overlap), Config(version=version)).classes
        for version in ((5, 10), (6, 1), (6, 12), (7, 2))
    }
    # 5.10 does not report overlaps, 7.2 only where devices cannot see the caches: not on x86.
    assert by_version == {(5, 10): (), (6, 1): ("cacheline-overlap",), (6, 12): ("cacheline-overlap",), (7, 2): ()}


@pytest.mark.parametrize(("version", "outcome"), [((5, 10), "SAFE"), ((6, 1), "SAFE"), ((6, 12), "REFUSED")])
def test_an_empty_block_is_refused_since_the_length_check(version, outcome):
    text = "user/i2cdev_smbus/dmasafe:bounce/0@40+command=18+protocol=block_data+rd=0"
    assert predict(_scenario(text), Config(version=version)).outcome == outcome


def _scenario(text):
    from harness.scenario import parse_scenario

    return parse_scenario(text)
