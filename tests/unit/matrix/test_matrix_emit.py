# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``dmasafe matrix emit`` writes is what the CI systems take, by their own schemas."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from click.testing import CliRunner
from jsonschema.validators import validator_for

from dmasafe.cli.matrix_command import command
from dmasafe.kernel import project_root
from dmasafe.matrix import emit, selections
from dmasafe.matrix.errors import MatrixError

TEMPLATES = project_root() / "docs" / "ci"
LAB = emit.Lab("https://example.org/dmasafe.git", "v1")
# Debian's package lava-common is for Debian's own Python.
SYSTEM_PYTHON = Path("/usr/bin/python3")
LAVA_CHECK = """
import sys, yaml
from voluptuous import Invalid
from lava_common import schemas
from lava_common.schemas.test import testdef
jobs, definition = yaml.safe_load(sys.stdin)
for job in jobs:
    schemas.validate(job)
testdef.validate(definition)
try:
    schemas.validate({**jobs[0], "visibility": "secret"})
except Invalid:
    print("valid")
"""


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
    job, *_ = emit.ci_jobs("quick", known.cells("quick"), ["6.12=git:https://example.org/linux@v6.12 rc"])
    assert shlex.split(job.command)[-2:] == ["--source", "6.12=git:https://example.org/linux@v6.12 rc"]
    assert shlex.split(yaml.safe_load(emit.gitlab([job]))["6.12 x86_64 default"]["variables"]["DMASAFE_COMMAND"])[
        -1
    ].endswith("rc")


def emit_lava(*words):
    options = ("emit", "quick", "--format", "lava", *map(str, words))
    return CliRunner().invoke(command, options, standalone_mode=False)


def test_lava_takes_the_jobs(jobs):
    known = subprocess.run([SYSTEM_PYTHON, "-c", "import lava_common.schemas"], capture_output=True, check=False)
    if known.returncode:
        pytest.skip("LAVA's schemas are not installed: apt-get install lava-common")
    documents = [[yaml.safe_load(emit.lava(job, LAB)) for job in jobs], load(TEMPLATES / "lava.yml")]
    # The schema would notice, says the last line.
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", LAVA_CHECK], input=json.dumps(documents), capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("valid\n", 0), done.stderr


def lava_script(definition, parameters):
    """run.sh, as lava_dispatcher/actions/deploy/testdef.py writes it: no value is escaped."""
    values = {**definition["params"], **parameters}.items()
    return "\n".join([*(f"{name}='{value}'" for name, value in values), "set -e", *definition["run"]["steps"]])


def run_lava(directory, job, status, make="exit 0"):
    """What a job prints on its device; dmasafe ends with ``status``, and leaves its arguments in the file "seen"."""
    test = yaml.safe_load(emit.lava(job, LAB))["actions"][-1]["test"]["definitions"][0]
    assert test["path"] == "docs/ci/lava.yml" and test["revision"] == "v1"
    programs = {
        # It prints what a guest may have printed, and has results to export.
        ".venv/bin/dmasafe": 'if [ "$2" = export ]; then echo "lava-test-case $5"; exit; fi; '
        'printf "%s\\0" "$@" > seen; '
        f'echo "<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=forged RESULT=pass>" >&2; exit {status}',
        "bin/lava-test-case": 'echo "case $*"',
        "bin/lava-test-raise": 'echo "raise $*"; exit 1',
        "bin/make": f'echo "make $*"; {make}',
    }
    for name, text in programs.items():
        program = directory / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", lava_script(load(TEMPLATES / "lava.yml"), test["parameters"])],
        cwd=directory, env={**os.environ, "PATH": f"{directory / 'bin'}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.parametrize("status, result", [(0, "pass"), (1, "fail"), (2, "unknown"), (137, "unknown")])
def test_a_lava_job_does_what_it_was_made_of(tmp_path, status, result):
    sources = ['6.12=git:https://example.org/linux@v6.12 $(rc) "x" `y` \\\\z;']
    job, *_ = emit.ci_jobs("quick", selections.load().with_sources(sources).cells("quick"), sources)
    assert run_lava(tmp_path, job, status) == [
        "make packages .venv/.stamp-run DMASAFE_ARCH=x86_64",
        "< LAVA_SIGNAL_TESTCASE TEST_CASE_ID=forged RESULT=pass>",
        f"case dmasafe --result {result}",
        f"case out/matrix/{job.key}",
    ]
    seen = (tmp_path / "seen").read_text().split("\0")[:-1]
    assert seen == [*shlex.split(job.command), "--no-record", "--run", job.key]


def test_a_lava_job_that_cannot_begin_says_so(tmp_path, jobs):
    found = run_lava(tmp_path, jobs[0], 0, make="exit 2")
    assert found == ["make packages .venv/.stamp-run DMASAFE_ARCH=x86_64", "raise dmasafe-make"]


def test_lava_jobs_are_files_of_a_directory_of_their_own(tmp_path):
    words = ("--repository", LAB.repository, "--out", tmp_path / "new" / "jobs")
    assert emit_lava(*words).exception is None
    path, *_ = sorted((tmp_path / "new" / "jobs").iterdir())
    assert path.name == "6.12-x86_64-default.yaml"
    assert yaml.safe_load(path.read_text())["job_name"] == "dmasafe 6.12 x86_64 default"
    assert "is not empty" in str(emit_lava(*words).exception)


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("--out", "jobs"), "need --repository"),
        (("--repository", "https://example.org/x", "--out", "/dev/null/x"), "cannot write"),
        (("--repository", "~/dmasafe", "--out", "jobs"), "clone dmasafe from"),
        (("--repository", "https://example.org/x", "--out", "jobs", "--image", "Debian 12"), "container image"),
        (("--repository", "https://example.org/x", "--out", "jobs", "--source", "6.12=git:https://e/x@it's"), "quote"),
    ],
)
def test_what_lava_cannot_take_is_refused_before_anything_is_written(tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    assert sentence in str(emit_lava(*words).exception)
    assert not list(tmp_path.iterdir())


def test_options_of_lava_are_refused_elsewhere():
    done = CliRunner().invoke(
        command, ["emit", "quick", "--format", "github", "--image", "debian:13"], standalone_mode=False
    )
    assert isinstance(done.exception, MatrixError)
