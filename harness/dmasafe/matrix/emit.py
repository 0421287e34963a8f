# SPDX-License-Identifier: GPL-2.0-or-later
"""A selection as the jobs of a CI system: one for each kernel, so that none is built twice."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.plan import slug
from dmasafe.matrix.selections import PlannedCell

# GitHub's own limit on the jobs of one matrix.
GITHUB_MAX_JOBS = 256
# The run of one kernel: its build, and a boot for each cell and suite.
LAVA_TEST_H = 6
LAVA_OTHER_ACTION_MINUTES = 15
LAVA_CONNECTION_MINUTES = 5
LAVA_LONGEST_NAME = 200


@dataclass(frozen=True)
class CiJob:
    """``name`` is for people, ``key`` for caches and artefacts; ``arguments`` go to "dmasafe matrix run".

    ``arch`` says whose compilers and QEMU the job needs.
    """

    name: str
    key: str
    arch: str
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
            kernel[1],
            (selection, *(word for cell in those for word in ("--cell", cell.name)), *more),
        )
        for kernel, those in kernels.items()
    ]


def github(jobs: Iterable[CiJob]) -> str:
    """What ``strategy.matrix`` of a GitHub workflow takes through fromJSON(): one line."""
    include = [{"name": job.name, "key": job.key, "arch": job.arch, "command": job.command} for job in jobs]
    return json.dumps({"include": include}, separators=(",", ":"))


def gitlab(jobs: Iterable[CiJob]) -> str:
    """A child pipeline of GitLab's; it takes its hidden job ``.dmasafe`` from docs/ci/gitlab-job.yml, by include."""
    found: dict[str, Any] = {"include": [{"local": "docs/ci/gitlab-job.yml"}]}
    for job in jobs:
        variables = {"DMASAFE_KEY": job.key, "DMASAFE_ARCH": job.arch, "DMASAFE_COMMAND": job.command}
        found[job.name] = {"extends": ".dmasafe", "variables": variables}
    text: str = yaml.safe_dump(found, sort_keys=False, width=1000)
    return text


@dataclass(frozen=True)
class Lab:
    """What the jobs of a LAVA instance have in common: where it fetches dmasafe, and what they run in.

    Raises MatrixError for what LAVA would refuse.
    """

    repository: str
    revision: str | None = None
    image: str = "debian:12"
    device_type: str = "docker"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z+]+://\S+", self.repository):
            raise MatrixError(f"'{self.repository}' is no URL that a LAVA dispatcher could clone dmasafe from")
        if not re.fullmatch(r"[a-z0-9][a-z0-9._/:-]*[a-z0-9](:\w[\w.-]*)?", self.image, re.ASCII):
            raise MatrixError(f"'{self.image}' is no name of a container image that LAVA takes, such as debian:12")
        if not 0 < len(self.device_type) <= LAVA_LONGEST_NAME:
            raise MatrixError("name the type of LAVA's devices that run containers, such as docker")


def lava(job: CiJob, lab: Lab) -> str:
    """A LAVA job definition for a device of type docker: the test definition in docs/ci/lava.yml, with parameters."""
    source = {"repository": lab.repository, "from": "git", "path": "docs/ci/lava.yml", "name": "dmasafe"}
    words = ("matrix", "run", *job.arguments, "--no-record", "--run", job.key)
    test = {
        "timeout": {"hours": LAVA_TEST_H},
        "definitions": [
            {
                **source,
                **({"revision": lab.revision} if lab.revision else {}),
                "parameters": {
                    "DMASAFE_MAKE": f"packages .venv/.stamp-run DMASAFE_ARCH={job.arch}",
                    "DMASAFE_COMMAND": " ".join(map(_without_quotes, words)),
                    "DMASAFE_RESULTS": f"out/matrix/{job.key}",
                },
            }
        ],
    }
    definition = {
        "job_name": f"dmasafe {job.name}"[:LAVA_LONGEST_NAME],
        "device_type": lab.device_type,
        "visibility": "public",
        "priority": "medium",
        "timeouts": {
            "job": {"hours": LAVA_TEST_H + 1},
            "action": {"minutes": LAVA_OTHER_ACTION_MINUTES},
            "connection": {"minutes": LAVA_CONNECTION_MINUTES},
        },
        "actions": [
            {"deploy": {"to": "docker", "os": "debian", "image": lab.image}},
            {"boot": {"method": "docker", "command": "bash", "prompts": ["root@lava:"]}},
            {"test": test},
        ],
    }
    text: str = yaml.safe_dump(definition, sort_keys=False, width=1000)
    return text


def _without_quotes(word: str) -> str:
    """A word for a shell to read twice: LAVA puts single quotes around a parameter, and escapes nothing in it."""
    if "'" in word or "\n" in word:
        raise MatrixError(f"LAVA cannot hand on {word!r}: it has a quote or a new line in it")
    return re.sub(r"([^\w@%+=:,./-])", r"\\\1", word, flags=re.ASCII)
