# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs for the reports to render: one as large as a real one, and small ones made to order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from report_samples import judgement_of, make_splat

from dmasafe.facts import KernelInfo
from dmasafe.outcome import Judgement, Verdict
from dmasafe.progress import Stage
from dmasafe.report.results import Results, Row
from dmasafe.scenario import core_suite, parse_scenario


@pytest.fixture(scope="session")
def passing() -> Results:
    """The core suite, all as expected, as the qemu target reports it."""
    splat = make_splat()
    blank = Judgement(Verdict.PASS, None, None, "")
    rows = [Row.of(scenario, blank) for scenario in core_suite()]
    return Results(
        suite="core",
        target="qemu",
        kernel=KernelInfo("6.12.117", "x86_64", "default", "apt:linux-source-6.12"),
        accel="tcg",
        canary_splatted=True,
        rows=tuple(replace(row, judgement=judgement_of(row, splat)) for row in rows),
        boot_s=1.074,
        scenarios_s=2.25,
        total_s=4.5,
        stages=(Stage("kernel", 0.125), Stage("boot", 1.074), Stage("scenarios", 2.25)),
    )


WithRows = Callable[..., Results]


@pytest.fixture
def with_rows(passing: Results) -> WithRows:
    """``with_rows(judgement, ...)``: a run of as many rows with these judgements, the rest as in ``passing``."""

    def make(*judgements: Judgement, **changes: object) -> Results:
        scenarios = [parse_scenario(f"stack/master_send/dmasafe:bounce/{number}") for number in range(len(judgements))]
        rows = tuple(Row.of(scenario, found) for scenario, found in zip(scenarios, judgements, strict=True))
        return replace(passing, rows=rows, **changes)  # type: ignore[arg-type]

    return make
