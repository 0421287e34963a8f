# SPDX-License-Identifier: GPL-2.0-or-later
"""Random scenarios, and the comparing itself, without a guest: the model plays both sides."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.model import Config, predict
from dmasafe.outcome import Skip
from dmasafe.scenario import OPERATIONS, RECORDER_ADDRESS, STEPS, Scenario, parse_scenario
from dmasafe.targets import conform, generate
from dmasafe.targets.base import TargetRun

FACTS = KernelFacts("x86_64", (6, 12, 117), Config().symbols)
# Hypothesis' own Random, so that what it finds is shrunk.
scenarios = st.builds(generate.scenario, st.randoms(use_true_random=False))


class Silent:
    def stage(self, text):
        """Nobody looks."""

    def advance(self, done, total, text):
        """Nobody looks."""


class Playing:
    """A guest that is the model, with a wrong that a test puts into it."""

    name = "playing"

    def __init__(self, wrong):
        self.wrong = wrong
        self.boots = 0

    def facts(self):
        return FACTS

    def run(self, wanted, destructive, progress):
        self.boots += 1
        side = conform.ModelSide(FACTS)
        ordered = sorted(wanted, key=lambda scenario: scenario.id in destructive)
        observations = {s.id: self.wrong(s, side.perform(s)) for s in ordered}
        return TargetRun(KernelInfo("6.12", "x86_64", "default", "none"), None, True, observations)


@given(scenarios)
@settings(max_examples=300)
def test_an_id_says_all_of_a_scenario(scenario):
    assert parse_scenario(scenario.id) == scenario


@given(scenarios)
@settings(max_examples=300)
def test_the_model_has_an_answer_to_everything(scenario):
    expected = predict(scenario, FACTS)
    if isinstance(expected, Skip):
        return
    found = conform.facets(conform.ModelSide(FACTS).perform(scenario))
    # Where slaves do not judge what they are sent: other bytes, the same outcome.
    if scenario.address == RECORDER_ADDRESS and scenario.operation != "i2cdev_smbus":
        assert found["outcome"] == str(expected.outcome)


@given(scenarios)
@settings(max_examples=100)
def test_simpler_scenarios_come_to_an_end(scenario):
    for _ in range(200):
        scenario = next(generate.simpler(scenario), None)
        if scenario is None:
            return
        assert parse_scenario(scenario.id) == scenario
    pytest.fail("still not the simplest")


def test_the_same_seed_gives_the_same_scenarios():
    drawn = generate.scenarios(200, 5)
    assert drawn == generate.scenarios(200, 5) != generate.scenarios(200, 6)
    assert len({scenario.id for scenario in drawn}) == 200


def test_everything_there_is_to_do_is_drawn():
    drawn = generate.scenarios(3000, 1)
    assert {s.operation for s in drawn} == {op.name for op in OPERATIONS.values() if op.front != "bus"}
    assert {letter for s in drawn for letter in s.option("then")} == set(STEPS)
    assert {s.option("pec") for s in drawn} == {"", "1"}
    assert {n for s in drawn for n in (s.length % 2, s.length == 8192)} == {0, 1}


def test_two_sides_that_agree_have_no_differences():
    drawn = conform.draw(FACTS, 300, 2)
    comparison = conform.compare(Playing(lambda _scenario, seen: seen), drawn, Silent())
    assert comparison.differences == () and comparison.compared == 300 and comparison.inconclusive == {}


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("ret", lambda seen: replace(seen, ret=-5)),
        ("damage", lambda seen: replace(seen, damage=("guard-after",))),
        ("caller", lambda seen: replace(seen, caller=(seen.caller[0]._replace(data=b"wrong"), *seen.caller[1:]))),
        ("marked", lambda seen: replace(seen, caller=(seen.caller[0]._replace(flagged=None), *seen.caller[1:]))),
        ("bus", lambda seen: replace(seen, bus=(seen.bus[0]._replace(data=b"wrong"), *seen.bus[1:]))),
        ("direct", lambda seen: replace(seen, caller=(seen.caller[0]._replace(physical=1),))),
    ],
)
def test_a_difference_in_any_oracle_is_seen(field, wrong):
    scenario = parse_scenario("heap/master_recv_dmasafe/dmasafe:bounce/8")
    (difference,) = conform.compare(Playing(lambda _s, seen: wrong(seen)), [scenario], Silent()).differences
    assert field in difference.fields


def test_what_the_guest_itself_doubts_is_no_difference():
    scenario = parse_scenario("heap/master_recv_dmasafe/dmasafe:bounce/8")
    slow = Playing(lambda _s, seen: replace(seen, ret=-110, lost="a host that is too slow"))
    comparison = conform.compare(slow, [scenario], Silent())
    assert not comparison.differences and comparison.inconclusive == {scenario.id: "a host that is too slow"}


def test_slaves_of_a_second_boot_have_forgotten_what_the_models_remember():
    drawn = [parse_scenario(f"heap/master_recv/{name}/8") for name in ("dmasafe:bounce", "virtio")]
    wrong = Playing(lambda _s, seen: replace(seen, ret=-5))
    run = replace(wrong.run(drawn, frozenset(), Silent()), boots=2, rebooted=frozenset({"virtio"}))
    comparison = conform.held(run, drawn, FACTS)
    assert [difference.scenario for difference in comparison.differences] == drawn[:1]
    assert list(comparison.inconclusive) == [drawn[1].id]


def test_a_difference_is_made_as_small_as_it_gets():
    def wrong(scenario, seen):
        return replace(seen, ret=-5) if scenario.policy == "pio" and scenario.length > 17 and seen.ret else seen

    target = Playing(wrong)
    first = parse_scenario("vmalloc/master_send/dmasafe:pio/300@20+then=Rs+threshold=7")
    (found,) = conform.compare(target, [first], Silent()).differences
    small = conform.shrink(target, found, Silent())
    assert small.scenario == Scenario("heap", "master_send", "dmasafe", "pio", 18)
    assert small.first == first and small.alone is True
    assert target.boots <= conform.MAX_ROUNDS + 1


def test_a_difference_that_needs_company_says_so():
    company = {"n": 0}

    def wrong(scenario, seen):
        company["n"] += 1
        return replace(seen, ret=-5) if company["n"] == 2 else seen

    drawn = [parse_scenario(f"heap/master_send/dmasafe:bounce/{n}") for n in (8, 9, 10)]
    (found,) = conform.compare(Playing(wrong), drawn, Silent()).differences
    assert conform.shrink(Playing(lambda _s, seen: seen), found, Silent()).alone is False
