# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``dmasafe matrix emit`` writes is what the CI systems take: held against their own schemas."""

import json
import shlex
from pathlib import Path

import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from click.testing import CliRunner
from jsonschema.validators import validator_for

from harness.cli.matrix_command import command
from harness.kernel import project_root
from harness.matrix import emit, selections

TEMPLATES = project_root() / "docs" / "ci"


def violations(name, document):
    schema = get_builtin_schema(f"vendor.{name}")
    return [error.message for error in validator_for(schema)(schema).iter_errors(document)]


def load(path):
    # YAML 1.1 reads the key "on" as a truth value; the CI systems do not.
    document = yaml.safe_load(Path(path).read_text())
    return {"on" if key is True else key: value for key, value in document.items()}


@pytest.fixture(scope="module")
def jobs():
    return emit.ci_jobs("nightly", selections.load().cells("nightly"))


def test_every_cell_is_in_one_job_and_every_kernel_in_one(jobs):
    cells = selections.load().cells("nightly")
    words = [word for job in jobs for word in shlex.split(job.command)]
    assert sorted(words[n + 1] for n, word in enumerate(words) if word == "--cell") == sorted(
        cell.name for cell in cells
    )
    assert len(jobs) == len({(cell.source, cell.arch, cell.kernel) for cell in cells})
    assert len({job.key for job in jobs}) == len(jobs)


def test_a_job_means_the_cells_that_it_was_made_of(jobs):
    for job in jobs[:3]:
        arguments = shlex.split(job.command)[2:]
        listed = CliRunner().invoke(command, ["list", *arguments, "--json"], standalone_mode=False)
        found = {f"{one['source']} {one['arch']} {one['config']}" for one in json.loads(listed.output)}
        assert found == {arguments[n + 1] for n, word in enumerate(arguments) if word == "--cell"}


def test_github_takes_the_matrix(jobs):
    workflow = load(TEMPLATES / "github.yml")
    assert violations("github-workflows", workflow) == []
    # What fromJSON() makes of it at run time.
    workflow["jobs"]["cells"]["strategy"]["matrix"] = json.loads(emit.github(jobs))
    assert violations("github-workflows", workflow) == []
    assert "\n" not in emit.github(jobs)
    # The schema would notice.
    workflow["jobs"]["cells"]["strategy"]["matrix"] = {"include": "nothing to run over"}
    assert violations("github-workflows", workflow)


def test_gitlab_takes_the_child_pipeline(jobs):
    pipeline = yaml.safe_load(emit.gitlab(jobs))
    assert violations("gitlab-ci", pipeline) == []
    assert len(pipeline) == 1 + len(jobs)
    for name in ("gitlab.yml", "gitlab-job.yml"):
        assert violations("gitlab-ci", load(TEMPLATES / name)) == []
    included = Path(project_root(), pipeline["include"][0]["local"])
    assert {job["extends"] for name, job in pipeline.items() if name != "include"} <= set(load(included))


def test_the_jobs_of_a_source_of_ones_own_are_told_of_it():
    known = selections.load().with_sources(["6.12=git:https://example.org/linux@v6.12 rc"])
    (job,) = emit.ci_jobs("quick", known.cells("quick"), ["6.12=git:https://example.org/linux@v6.12 rc"])
    assert shlex.split(job.command)[-2:] == ["--source", "6.12=git:https://example.org/linux@v6.12 rc"]
    assert shlex.split(yaml.safe_load(emit.gitlab([job]))["6.12 x86_64 default"]["variables"]["DMASAFE_COMMAND"])[
        -1
    ].endswith("rc")
