# SPDX-License-Identifier: GPL-2.0-or-later
"""How far the model agrees with the kernel in one cell: every oracle of every row, beside the verdicts.

A verdict holds outcome, splat classes and the way of the payload against the model's prediction; this holds all that
was seen (return values, data, addresses, damage) too. It is kept beside results.json, in model.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dmasafe.facts import KernelFacts
from dmasafe.matrix.errors import RecordError
from dmasafe.report.files import failure, write_text
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


@dataclass(frozen=True)
class Agreement:
    """``compared`` rows, of which ``differing`` differ; ``unsaid`` rows could not be trusted."""

    compared: int
    differing: int
    unsaid: int
    differences: tuple[Difference, ...] = ()

    @property
    def percent(self) -> float | None:
        return 100.0 * (self.compared - self.differing) / self.compared if self.compared else None


def agreement(run: TargetRun, scenarios: Sequence[Scenario], facts: KernelFacts) -> Agreement | None:
    """Hold a run against the model; None where faults were seeded, which the model's drivers do not make."""
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
    """What a model.json says, None if there is none. Raises RecordError, ReportError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise failure("read", path, error) from error
    try:
        found = json.loads(data) if len(data) <= MAX_BYTES else None
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise ValueError(f"it is not of schema {SCHEMA}")
        return from_json(found)
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} cannot be read: {error} (docs/matrix.md)") from error


def from_json(found: dict[str, Any]) -> Agreement:
    """The way back from the JSON. Raises ValueError, KeyError, TypeError."""
    compared, differing, unsaid = (found[key] for key in ("compared", "differing", "unsaid"))
    if not all(type(number) is int and number >= 0 for number in (compared, differing, unsaid)) or differing > compared:
        raise ValueError("its numbers cannot be")
    differences = tuple(_row(one) for one in found["differences"][:MAX_DIFFERENCES])
    return Agreement(compared, differing, unsaid, differences)


def _row(one: dict[str, Any]) -> Difference:
    fields, model, kernel = (tuple(str(value) for value in one[key]) for key in ("fields", "model", "kernel"))
    if not len(fields) == len(model) == len(kernel):
        raise ValueError("a difference has not as many values as fields")
    return Difference(str(one["scenario"]), fields, model, kernel, None if one["known"] is None else str(one["known"]))
