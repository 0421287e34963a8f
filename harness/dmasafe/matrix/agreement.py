# SPDX-License-Identifier: GPL-2.0-or-later
"""How far the model agrees with the kernel in one cell: every oracle of every row, beside the verdicts.

A verdict holds outcome, splat classes and the way of the payload against the model's prediction; this holds all that
was seen (return values, data, addresses, damage) too. It is kept beside results.json, in model.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dmasafe.decode import convert, read_json
from dmasafe.facts import KernelFacts
from dmasafe.matrix.errors import MatrixError
from dmasafe.report.files import write_text
from dmasafe.scenario import Scenario
from dmasafe.targets import conform
from dmasafe.targets.base import TargetRun

MODEL_JSON = "model.json"
SCHEMA = 1
MAX_BYTES = 64 * 1024 * 1024
# Kept whole; all are counted.
MAX_DIFFERENCES = 100
LONGEST_FACET = 500


@dataclass(frozen=True)
class Difference:
    """A scenario on which model and kernel disagree: the oracles that differ, what each side has to say there.

    ``known`` names the reason where it is understood (dmasafe/targets/conform.py).
    """

    scenario: str
    fields: tuple[str, ...]
    model: tuple[str, ...]
    kernel: tuple[str, ...]
    known: str | None = None

    def __post_init__(self) -> None:
        if not len(self.fields) == len(self.model) == len(self.kernel):
            raise ValueError("a difference has not as many values as fields")


@dataclass(frozen=True)
class Agreement:
    """``compared`` rows, of which ``differing`` differ; ``unsaid`` rows could not be trusted."""

    compared: int
    differing: int
    unsaid: int
    differences: tuple[Difference, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.differing <= self.compared or self.unsaid < 0:
            raise ValueError("its numbers cannot be")

    @property
    def percent(self) -> float | None:
        return 100.0 * (self.compared - self.differing) / self.compared if self.compared else None


def agreement(run: TargetRun, scenarios: Sequence[Scenario], facts: KernelFacts) -> Agreement | None:
    """Compare a run with the model; None where faults were seeded, which the model's drivers do not make."""
    if any(scenario.fault is not None for scenario in scenarios):
        return None
    # What was skipped cannot be compared; what was not reached is unsaid.
    performed = [s for s in scenarios if s.id in run.observations or s.id in run.untrusted]
    found = conform.held(run, performed, facts)
    if not run.canary_splatted:
        return Agreement(0, 0, len(performed))
    return Agreement(
        found.compared,
        len(found.differences),
        len(found.inconclusive),
        tuple(_difference(one) for one in found.differences[:MAX_DIFFERENCES]),
    )


def _difference(one: conform.Difference) -> Difference:
    def told(side: conform.Facets) -> tuple[str, ...]:
        return tuple(side.get(name, "")[:LONGEST_FACET] for name in one.fields)

    return Difference(one.scenario.id, one.fields, told(one.model), told(one.guest), one.known)


def write(found: Agreement, path: Path) -> None:
    """Raises ReportError."""
    write_text(path, json.dumps({"schema": SCHEMA, **asdict(found)}, indent=1) + "\n")


def read(path: Path) -> Agreement | None:
    """What a model.json says, None if there is none. Raises MatrixError."""
    if not path.exists():
        return None
    return from_json(read_json(path, SCHEMA, MatrixError, MAX_BYTES), str(path))


def from_json(found: dict[str, Any], place: str = MODEL_JSON) -> Agreement:
    """The way back from the JSON. Raises MatrixError."""
    agreed = convert(found, Agreement, place, MatrixError, extra=True)
    return replace(agreed, differences=agreed.differences[:MAX_DIFFERENCES])
