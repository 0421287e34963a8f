# SPDX-License-Identifier: GPL-2.0-or-later
"""Each recipe for a series in docs/ci does what it promises, and is as its system takes it."""

import argparse
import http.server
import importlib.util
import json
import os
import shutil
import subprocess
import threading
from types import SimpleNamespace

import jinja2
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema.validators import validator_for
from series_rig import commit, git, mails

from tests.ci.systems import RECIPES, ROOT, GitHub, System, check_out, load

LKP = RECIPES / "lkp"


@pytest.fixture
def system(tmp_path):
    return System(tmp_path / "system")


@pytest.fixture
def worse(tree):
    """A series with a refactoring and a commit that is worse."""
    commit(tree, "core: Refactor", base="second\n")
    commit(tree, "smbus: Lose the flag", core="WORSE\n")
    return tree


def violations(name, document):
    schema = get_builtin_schema(f"vendor.{name}")
    return [error.message for error in validator_for(schema)(schema).iter_errors(document)]


def ran(lines):
    """Which commits were built or run, without the rest of the log."""
    return [line for line in lines if line.startswith(("build ", "run "))]


def test_github_looks_at_a_pull_request_and_knows_the_base_the_next_time(system, worse):
    workflow = load("github-series.yml")
    assert violations("github-workflows", workflow) == []
    event = {"pull_request": {"base": {"sha": "v6.12.117"}, "head": {"sha": git(worse, "rev-parse", "HEAD")}}}
    for number in range(2):
        github = GitHub(system, {"linux": worse}, str(number) * 40, event)
        assert github.run("github-series.yml", {}) == {"series": "failure"}
        did = ran(system.did())
        assert any("smbus: Lose the flag" in line for line in did)
        # Once its results are known, the base is run for rows that differ only.
        assert did.count("run smoke Linux 6.12.117") == (0 if number else 1)
        found = json.loads((github.artefacts["results"] / "out" / "latest" / "series.json").read_text())
        assert {tuple(one["commits"]) for one in found["findings"]} == {(git(worse, "rev-parse", "HEAD"),)}


def test_gitlab_looks_at_a_merge_request(system, worse, tmp_path):
    pipeline = load("gitlab-series.yml")
    assert violations("gitlab-ci", pipeline) == []
    tool = tmp_path / "tool"
    check_out(tool)
    git(tool, "init", "--quiet")
    git(tool, "add", "--all", ".")
    git(tool, "commit", "--quiet", "-m", "dmasafe")
    job = pipeline["dmasafe-series"]
    variables = {**job["variables"], "DMASAFE": f"file://{tool}", "DMASAFE_CACHE": str(worse / ".dmasafe" / "cache")}
    environment = {**system.environment(), **variables, "CI_MERGE_REQUEST_DIFF_BASE_SHA": "v6.12.117"}
    done = system.shell("\n".join([*job["before_script"], *job["script"]]), worse, environment)
    assert done.returncode == 1, done.stderr
    report = worse / job["artifacts"]["reports"]["junit"]
    assert "smbus: Lose the flag" in report.read_text()
    assert len(list((worse / job["cache"]["paths"][1]).iterdir())) == 3


class Patchwork(http.server.BaseHTTPRequestHandler):
    """Patchwork's API, as far as the poller asks it."""

    def do_GET(self):
        server = self.server
        if self.path.startswith("/api/1.2/series/?"):
            assert "project=linux-i2c" in self.path
            mbox = f"http://127.0.0.1:{server.server_port}/mbox"
            rest = {"mbox": mbox, "name": "a series"}
            series = [
                {"id": number, "received_all": number != 9, "patches": [{"id": 10 * number}], **rest}
                for number in (9, 8, 7)
            ]
            data = json.dumps(series).encode()
        else:
            data = server.mbox
        self.send_response(200)
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, self.headers["Authorization"], body))
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_patchwork_gets_a_check_for_each_new_series(system, worse, tmp_path, monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Patchwork) as server:
        server.mbox, server.posted = mails(worse, tmp_path, "v6.12.117..mine").read_bytes(), []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        git(worse, "checkout", "--quiet", "master")
        state = tmp_path / "state"
        state.write_text("7\n")
        url = f"http://127.0.0.1:{server.server_port}"
        words = ["--server", url, "--kdir", worse, "--state", state, "--out", tmp_path / "out"]
        words += ["--url", "https://example.org", "--dmasafe", system.home / "tools" / "dmasafe"]
        environment = {**system.environment(), "PATCHWORK_TOKEN": "secret", "DMASAFE_CACHE": str(tmp_path / "cache")}
        for _ in range(2):
            subprocess.run([RECIPES / "patchwork.py", *words], check=True, env={**environment}, timeout=300)
        server.shutdown()
    # 7 was seen before, 9 is not complete, 8 is reported once.
    ((path, token, check),) = server.posted
    assert (path, token) == ("/api/1.2/patches/80/checks/", "Token secret")
    assert check["state"] == "fail" and check["target_url"] == "https://example.org/8/"
    assert "Subject: Re: [PATCH 2/2] smbus: Lose the flag" in (tmp_path / "out" / "8" / "reply.txt").read_text()


def test_a_series_that_does_not_apply_is_no_check(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("poller", RECIPES / "patchwork.py")
    poller = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(poller)
    monkeypatch.setattr(poller, "fetch", lambda url: b"")
    arguments = argparse.Namespace(out=tmp_path, dmasafe="false", kdir="/nowhere", url=None)
    assert poller.look({"id": 1, "mbox": "http://example.org"}, arguments) is None


def test_lkp_runs_it_and_reads_what_came_of_it(system, worse, tmp_path):
    job = yaml.safe_load((LKP / "jobs" / "dmasafe.yaml").read_text())
    assert job["testcase"] == job["suite"] == "dmasafe"
    program = LKP / "programs" / "dmasafe"
    # doc/add-testcase.md of lkp-tests: a parameter of the job is a comment "# - name" of the program.
    parameters = [
        line.removeprefix("# - ") for line in (program / "run").read_text().splitlines() if line[:4] == "# - "
    ]
    assert parameters == list(job["dmasafe"])
    assert all(os.access(program / name, os.X_OK) for name in ("run", "parse"))
    tools = tmp_path / "benchmarks" / "dmasafe" / ".venv"
    tools.mkdir(parents=True)
    (tools / "bin").symlink_to(system.home / "tools")
    environment = {
        **system.environment(), "BENCHMARK_ROOT": str(tmp_path / "benchmarks"), "TMP_RESULT_ROOT": str(tmp_path),
        "DMASAFE_CACHE": str(tmp_path / "cache"), "kdir": str(worse), "range": "v6.12.117..HEAD",
    }  # fmt: skip
    done = subprocess.run([program / "run"], env=environment, capture_output=True, text=True, check=True)
    read = subprocess.run([program / "parse"], input=done.stdout, capture_output=True, text=True, check=True).stdout
    lines = [line.rpartition(": ") for line in read.splitlines()]
    assert lines and all(value == "1" and " " not in key for key, _, value in lines)
    assert any(key.endswith(".fail") for key, *_ in lines)
    # What cannot be said is neither.
    ktap = "    not ok 1 a b # ERROR inconclusive: lost\n    ok 2 c # SKIP no\nok 1 group\n"
    read = subprocess.run([program / "parse"], input=ktap, capture_output=True, text=True, check=True).stdout
    assert read.split("\n")[:2] == ["dmasafe.a_b.error: 1", "dmasafe.c.skip: 1"] and read.count("\n") == 2


def test_tuxsuite_takes_the_plan():
    schema = pytest.importorskip("tuxsuite.schema", reason="TuxSuite's schema is not installed: pip install tuxsuite")
    plan = yaml.safe_load((RECIPES / "tuxsuite.yaml").read_text())
    schema.plan()(plan)
    with pytest.raises(schema.SchemaError):
        schema.plan()({**plan, "version": 2})


def test_the_plan_of_tuxsuite_is_whole():
    plan = yaml.safe_load((RECIPES / "tuxsuite.yaml").read_text())
    assert plan["version"] == 1 and plan["jobs"]
    for build in plan["jobs"][0]["builds"]:
        assert {"toolchain", "target_arch", "kconfig"} <= set(build)
        assert all(one == "tinyconfig" or one.startswith("CONFIG_") for one in build["kconfig"])


def test_kernelci_takes_the_job_and_its_place_in_the_schedule():
    """What kernelci-pipeline's tests/validate_yaml.py asks of a configuration."""
    found = yaml.safe_load((RECIPES / "kernelci" / "dmasafe.yaml").read_text())
    for name, job in found["jobs"].items():
        assert job["kind"] == "job" and job["kcidb_test_suite"] and job["template"], name
        assert (RECIPES / "kernelci" / job["template"]).exists()
    for entry in found["scheduler"]:
        assert entry["job"] in found["jobs"]
        assert {"channel", "state", "kind"} <= set(entry["event"]) and entry["runtime"]["type"]


BASE_TEMPLATE = """
{% block python_imports %}import os{% endblock %}
{% block python_local_imports %}{% endblock %}
{% block python_globals %}{% endblock %}
class BaseJob:
    def __init__(self, node, workspace):
        self._node, self._workspace, self._api = node, workspace, None
{% block python_job %}{% endblock %}
"""


def test_kernelcis_job_reports_each_finding(system, worse, tmp_path, monkeypatch):
    params = yaml.safe_load((RECIPES / "kernelci" / "dmasafe.yaml").read_text())["jobs"]["dmasafe-series"]["params"]
    template = (RECIPES / "kernelci" / "dmasafe.jinja2").read_text()
    loader = jinja2.DictLoader({"base/python.jinja2": BASE_TEMPLATE, "dmasafe.jinja2": template})
    words = {**params, "base_url": f"file://{worse}"}
    program = jinja2.Environment(loader=loader).get_template("dmasafe.jinja2").render(words)
    submitted = []
    helper = SimpleNamespace(APIHelper=lambda api: SimpleNamespace(submit_results=lambda *each: submitted.append(each)))
    for name in ("kernelci", "kernelci.api", "kernelci.api.helper"):
        monkeypatch.setitem(__import__("sys").modules, name, SimpleNamespace(api=SimpleNamespace(helper=helper)))
    for name, value in {**system.environment(), "DMASAFE_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    there: dict[str, object] = {}
    exec(compile(program, "dmasafe.py", "exec"), there)
    place = tmp_path / "workspace"
    place.mkdir()
    revision = {"url": f"file://{worse}", "commit": git(worse, "rev-parse", "mine")}
    node = {"name": "dmasafe-series", "id": "1", "data": {"kernel_revision": revision}}
    job = there["Job"](node, str(place))
    result = job._run(None)
    job._submit(result)
    assert result["node"]["result"] == "fail" and submitted[0][0]["node"]["name"] == "dmasafe-series"
    (child,) = result["child_nodes"]
    assert "CAUGHT" in child["node"]["name"]
    # A tip that cannot be fetched is no verdict.
    shutil.rmtree(place / "linux")
    shutil.rmtree(place / "out")
    revision["commit"] = git(worse, "rev-parse", "v6.12.117")
    assert job._run(None)["node"]["result"] == "incomplete"


def test_every_recipe_says_whose_it_is_and_is_named_in_the_documents():
    text = (ROOT / "docs" / "series.md").read_text()
    for name in ("github-series.yml", "gitlab-series.yml", "patchwork.py", "tuxsuite.yaml", "lkp", "kernelci"):
        assert f"ci/{name}" in text, name
