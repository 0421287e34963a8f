# SPDX-License-Identifier: GPL-2.0-or-later
"""A selection as the jobs of a CI system: one for each kernel, so that none is built twice."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from harness.matrix.plan import slug
from harness.matrix.selections import PlannedCell

# GitHub's own limit on the jobs of one matrix.
GITHUB_MAX_JOBS = 256


@dataclass(frozen=True)
class CiJob:
    """``name`` is for people, ``key`` for caches and artefacts; ``arguments`` go to "dmasafe matrix run"."""

    name: str
    key: str
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        return shlex.join(("matrix", "run", *self.arguments))


def ci_jobs(selection: str, cells: Iterable[PlannedCell], sources: Iterable[str] = ()) -> list[CiJob]:
    """The jobs of a selection; ``sources`` are those of the command line, which a job must be told again."""
    kernels: dict[tuple[str, str, str], list[PlannedCell]] = {}
    for cell in cells:
        kernels.setdefault((cell.source.name, cell.arch, cell.kernel), []).append(cell)
    more = [word for source in sources for word in ("--source", source)]
    return [
        CiJob(
            " ".join(kernel),
            slug(*kernel),
            (selection, *(word for cell in those for word in ("--cell", cell.name)), *more),
        )
        for kernel, those in kernels.items()
    ]


def github(jobs: Iterable[CiJob]) -> str:
    """What ``strategy.matrix`` of a GitHub workflow takes through fromJSON(): one line."""
    include = [{"name": job.name, "key": job.key, "command": job.command} for job in jobs]
    return json.dumps({"include": include}, separators=(",", ":"))


def gitlab(jobs: Iterable[CiJob]) -> str:
    """A child pipeline of GitLab's; it takes its hidden job ``.dmasafe`` from docs/ci/gitlab-job.yml, by include."""
    found: dict[str, Any] = {"include": [{"local": "docs/ci/gitlab-job.yml"}]}
    for job in jobs:
        found[job.name] = {"extends": ".dmasafe", "variables": {"DMASAFE_KEY": job.key, "DMASAFE_COMMAND": job.command}}
    text: str = yaml.safe_dump(found, sort_keys=False, width=1000)
    return text
