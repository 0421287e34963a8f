# SPDX-License-Identifier: GPL-2.0-or-later
"""One run: scenarios on a target, and every observation compared with its expectation."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from dmasafe.expect import expect
from dmasafe.facts import KernelFacts
from dmasafe.model.layout import same_machine
from dmasafe.outcome import Expectation, Skip, judge, noticed
from dmasafe.progress import Progress
from dmasafe.report.provenance import provenance
from dmasafe.report.results import Performed, Results, Row
from dmasafe.scenario import Scenario
from dmasafe.targets.base import Target, TargetRun


def run_and_judge(
    target: Target, scenarios: Sequence[Scenario], suite_name: str, progress: Progress, started: float
) -> Results:
    """Run the scenarios that can exist on this target and compare every one with its expectation."""
    return observe_and_judge(target, scenarios, suite_name, progress, started)[0]


def observe_and_judge(
    target: Target, scenarios: Sequence[Scenario], suite_name: str, progress: Progress, started: float
) -> tuple[Results, TargetRun]:
    """run_and_judge(), with all that came back from the target."""
    expectations = {scenario.id: expectation_at(target, scenario) for scenario in scenarios}
    possible = [scenario for scenario in scenarios if not isinstance(expectations[scenario.id], Skip)]
    destructive = frozenset(
        id_ for id_, found in expectations.items() if isinstance(found, Expectation) and found.destructive
    )
    run = target.run(possible, destructive, progress)
    if run.facts is not None and not same_machine(run.facts, target.facts()):
        # The machine has told more than was known before it ran.
        expectations |= {scenario.id: expectation_at(target, scenario, run.facts) for scenario in possible}
    return judged(target.name, run, scenarios, expectations, suite_name, progress, started), run


def expectation_at(target: Target, scenario: Scenario, facts: KernelFacts | None = None) -> Expectation | Skip:
    """What must come of this scenario on this target, or why it cannot exist there; ``facts`` as in TargetRun."""
    why = target.cannot(scenario)
    return expect(scenario, facts or target.facts()) if why is None else Skip(why)


def judged(
    target_name: str,
    run: TargetRun,
    scenarios: Sequence[Performed],
    expectations: Mapping[str, Expectation | Skip],
    suite_name: str,
    progress: Progress,
    started: float,
) -> Results:
    """What came back from a target, every observation compared with the expectation of its id."""
    expectations = {**expectations, **{id_: Skip(why) for id_, why in run.skipped.items()}}
    faulty = any(scenario.fault is not None for scenario in scenarios)
    rows = tuple(_row(scenario, run, expectations[scenario.id], faulty) for scenario in scenarios)
    judgeable = {id_ for id_, expectation in expectations.items() if not isinstance(expectation, Skip)}
    # Of what is a SKIP after all nobody hears why it cannot be trusted.
    untrusted = run.untrusted.keys() & judgeable
    reasons = {run.untrusted[id_] for id_ in untrusted}
    doubt = None if reasons else next(iter(run.doubts.values()), None)
    everything = untrusted == judgeable
    return Results(
        suite=suite_name,
        target=target_name,
        kernel=run.kernel,
        accel=run.accel,
        canary_splatted=run.canary_splatted,
        rows=rows,
        boot_s=run.boot_s,
        scenarios_s=run.scenarios_s,
        total_s=time.monotonic() - started,
        stages=progress.stages(),
        reason=next(iter(reasons)) if everything and len(reasons) == 1 else doubt,
        notes=(*run.kernel.notes, *run.notes),
        provenance=provenance(run.accel, run.qemu),
    )


def _row(scenario: Performed, run: TargetRun, expectation: Expectation | Skip, faulty: bool) -> Row:
    observation = run.observations.get(scenario.id)
    judgement = judge(expectation, observation, run.untrusted.get(scenario.id))
    said = noticed(observation) if faulty and observation is not None else None
    return Row.of(scenario, judgement, said, run.doubts.get(scenario.id))
