# SPDX-License-Identifier: GPL-2.0-or-later
"""From cells to a graph: fetch -> configure -> build -> image -> boot, each stage that cells share in it once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dmasafe.matrix.selections import PlannedCell


class StageKind(StrEnum):
    """The kinds of stages, in the order of the way through them."""

    FETCH = "fetch"
    CONFIGURE = "configure"
    BUILD = "build"
    IMAGE = "image"
    BOOT = "boot"


@dataclass(frozen=True)
class Stage:
    """One step of a run. ``name`` tells it from all others of the run and is fit for a file's name."""

    kind: StageKind
    name: str
    needs: tuple[str, ...]
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One boot, and so one results.json: a suite in a cell. ``stages`` are all that lead to it, itself included."""

    cell: PlannedCell
    suite: str
    boot: str
    stages: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.cell.name} {self.suite}"

    @property
    def directory(self) -> str:
        return f"{slug(self.cell.source.name, self.cell.arch, self.cell.config)}/{self.suite}"


@dataclass(frozen=True)
class Plan:
    """Stages by name, each after those that it needs, and the jobs they lead to."""

    stages: dict[str, Stage]
    jobs: tuple[Job, ...]


def plan(cells: Iterable[PlannedCell]) -> Plan:
    stages: dict[str, Stage] = {}
    jobs = []
    for cell in cells:
        way = _kernel_stages(cell)
        for stage in way:
            stages.setdefault(stage.name, stage)
        for suite in cell.suites:
            arguments = {"source": cell.source.spec, "arch": cell.arch, "config": cell.config, "suite": suite}
            name = f"{StageKind.BOOT}-{slug(cell.source.name, cell.arch, cell.config, suite)}"
            stages[name] = Stage(StageKind.BOOT, name, (way[-1].name,), arguments)
            jobs.append(Job(cell, suite, name, (*(stage.name for stage in way), name)))
    return Plan(stages, tuple(jobs))


def _kernel_stages(cell: PlannedCell) -> list[Stage]:
    name = f"{StageKind.FETCH}-{slug(cell.source.name)}"
    way = [Stage(StageKind.FETCH, name, (), {"source": cell.source.spec})]
    arguments = {"source": cell.source.spec, "arch": cell.arch, "config": cell.kernel}
    for kind in (StageKind.CONFIGURE, StageKind.BUILD, StageKind.IMAGE):
        name = f"{kind}-{slug(cell.source.name, cell.arch, cell.kernel)}"
        way.append(Stage(kind, name, (way[-1].name,), arguments))
    return way


def slug(*words: str) -> str:
    """Words as a file's name; a short hash tells apart what would become the same."""
    plain = "-".join(words)
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "_", plain)
    return safe if safe == plain else f"{safe}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"
