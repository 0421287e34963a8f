# SPDX-License-Identifier: GPL-2.0-or-later
"""CI systems that are a directory: what brings a step its files, its variables and its caches, and nothing else.

A recipe's own words are run. Only what would change this machine or take long is replaced, on PATH: apt-get, pip.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dmasafe.kernel import project_root

ROOT = project_root()
RECIPES = ROOT / "docs" / "ci"
STAND_IN = Path(__file__).with_name("stand_in_kernels.py")
STAND_IN_SERIES = Path(__file__).with_name("stand_in_series.py")
STEP_TIMEOUT_S = 600
NIGHT_S = 86400
#: What the recipes' steps read of a checkout.
CHECKOUT = ("Makefile", "pyproject.toml", "scripts", "kernel-configs", "images", "docs/ci")

TOOLS = {
    "apt-get": 'echo "apt-get $*" >> "$RECIPE_LOG"',
    # Every package exists, and none is installed.
    "apt-cache": 'shift; for package; do echo "  Candidate: 1"; done',
    "dpkg-query": "exit 1",
    "sudo": "exit 1",
    "id": 'case "$1" in -u) echo 0 ;; *) echo root ;; esac',
    "pip": 'echo "pip $*" >> "$RECIPE_LOG"',
    "python3": """
case "$1 ${2-}" in
"-m venv")
	for last; do :; done
	mkdir -p "$last/bin"
	for tool in python pip dmasafe pytest dask; do ln -sf {tools}/$tool "$last/bin/$tool"; done ;;
"-m pip") echo "$@" >> "$RECIPE_LOG" ;;
*) exec {python} "$@" ;;
esac""",
    "dmasafe": """
test "$1 ${2-}" != "matrix run" || exec {python} {stand_in} "$@"
test "$1" != series || exec {python} {stand_in_series} "$@"
exec {python} -m dmasafe.cli "$@\"""",
    "pytest": 'exec {python} -m pytest -p no:cacheprovider "$@"',
    "dask": 'exec {python} -m dask "$@"',
    "hostname": "echo 127.0.0.1",
    "srun": 'exec "$@"',
}


@dataclass
class System:
    """What outlives a job: ``home`` has the tools, the log of what was done, and what is kept."""

    home: Path
    kept: dict[str, Path] = field(default_factory=dict)
    jobs: int = 0

    def __post_init__(self) -> None:
        tools = self.home / "tools"
        tools.mkdir(parents=True)
        words = {"{tools}": str(tools), "{python}": sys.executable, "{stand_in}": str(STAND_IN)}
        words["{stand_in_series}"] = str(STAND_IN_SERIES)
        for name, text in TOOLS.items():
            for word, value in words.items():
                text = text.replace(word, value)
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
        (tools / "python").symlink_to(tools / "python3")
        self.log = self.home / "log"
        self.log.touch()
        (self.home / "days").touch()

    def workspace(self) -> Path:
        """An empty directory."""
        self.jobs += 1
        path = self.home / f"job-{self.jobs}"
        path.mkdir()
        return path

    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.home / 'tools'}:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.home),
            "CI": "true",
            "PYTHONPATH": str(ROOT),
            "RECIPE_LOG": str(self.log),
            "DASK_DISTRIBUTED__WORKER__PRELOAD": f"['{STAND_IN}']",
        }

    def shell(self, script: str, directory: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a step as the systems do: the first command that fails ends it."""
        done = subprocess.run(
            ["bash", "-e", "-c", script], cwd=directory, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=STEP_TIMEOUT_S, check=False,
        )  # fmt: skip
        print(f"$ {script}\n{done.stdout}{done.stderr}[{done.returncode}]")
        return done

    def did(self) -> list[str]:
        """The lines of the log since the last call."""
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        return lines

    def keep(self, name: str, found: list[Path], directory: Path) -> None:
        """Files and directories below ``directory`` by their relative names; what was kept as ``name`` goes."""
        place = self.kept.pop(name, None) or self.home / "kept" / hashlib.sha256(name.encode()).hexdigest()
        shutil.rmtree(place, ignore_errors=True)
        for path in found:
            copy(path, place / path.relative_to(directory))
        self.kept[name] = place

    def bring(self, name: str, into: Path) -> None:
        copy(self.kept[name], into)

    def a_day_passes(self) -> None:
        with (self.home / "days").open("a") as days:
            days.write(".")
        for place in self.kept.values():
            for path in (place, *place.rglob("*")):
                times = path.stat()
                os.utime(path, (times.st_atime - NIGHT_S, times.st_mtime - NIGHT_S))


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, symlinks=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def check_out(into: Path) -> None:
    """What a checkout of dmasafe brings, as far as recipes read it."""
    for name in CHECKOUT:
        copy(ROOT / name, into / name)


def load(name: str) -> dict[str, Any]:
    # YAML 1.1 reads the key "on" as a truth value; the CI systems do not.
    document = yaml.safe_load((RECIPES / name).read_text())
    return {"on" if key is True else key: value for key, value in document.items()}


# ---- GitHub


class GitHub:
    """Runs a workflow: its jobs in order, each in a directory of its own; ``caches`` outlive it, artefacts do not."""

    def __init__(
        self, system: System, sources: dict[str, Path], sha: str = "a" * 40, event: dict[str, Any] | None = None
    ) -> None:
        """``sources``: what a checkout of the workflow's own repository is; None: dmasafe."""
        self.system, self.sources, self.sha, self.event = system, sources, sha, event or {}
        self.runs = 0

    def run(self, name: str, inputs: dict[str, str]) -> dict[str, str]:
        """The result of each job, by its name and its key in the matrix."""
        workflow = load(name)
        self.runs += 1
        self.artefacts: dict[str, Path] = {}
        self.seen: dict[str, list[str]] = {}
        outputs: dict[str, Any] = {}
        results: dict[str, str] = {}
        for job_id, job in workflow["jobs"].items():
            assert job.get("timeout-minutes"), f"{job_id} may run for ever"
            base = {
                "github": {
                    "sha": self.sha, "run_id": str(self.runs), "run_attempt": "1", "event": self.event,
                    # actions/runner#2058: not the path that a container sees.
                    "workspace": "/host/workspace",
                },
                "inputs": inputs, "needs": {one: {"outputs": outputs[one]} for one in _list(job.get("needs"))},
            }  # fmt: skip
            matrix = evaluate(job.get("strategy", {}).get("matrix", {"include": [{}]}), base, Path())
            for include in matrix["include"]:
                context = {**base, "matrix": include, "steps": {}}
                environment = {**workflow.get("env", {}), **job.get("env", {})}
                result = self._job(job, context, {k: evaluate(v, context, Path()) for k, v in environment.items()})
                results[f"{job_id} {include.get('key', '')}".strip()] = result
                outputs[job_id] = {
                    key: evaluate(value, context, Path()) for key, value in job.get("outputs", {}).items()
                }
        return results

    def _job(self, job: dict[str, Any], context: dict[str, Any], environment: dict[str, str]) -> str:
        place = self.system.workspace()
        files = {name: self.system.home / f"{place.name}-{name}" for name in ("GITHUB_ENV", "GITHUB_OUTPUT")}
        failed = False
        for number, step in enumerate(job["steps"]):
            condition = str(step.get("if", "success()"))
            status = "always()" in condition or not failed
            context["status"] = failed
            if not status or not evaluate(f"${{{{ {condition} }}}}", context, place):
                continue
            for path in files.values():
                path.touch()
            environment |= dict(line.split("=", 1) for line in files["GITHUB_ENV"].read_text().splitlines())
            identity = step.get("id", str(number))
            context["steps"][identity] = {"outputs": {}}
            if "uses" in step:
                words = evaluate(step.get("with", {}), context, place)
                found = self._uses(step["uses"].partition("@")[0], words, place)
            else:
                script = evaluate(step["run"], context, place)
                own = {**environment, **evaluate(step.get("env", {}), context, place)}
                done = self.system.shell(
                    script, place, {**self.system.environment(), **own, **{k: str(v) for k, v in files.items()}}
                )
                failed |= done.returncode != 0
                found = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
                files["GITHUB_OUTPUT"].write_text("")
            context["steps"][identity]["outputs"] = found
        return "failure" if failed else "success"

    def _uses(self, action: str, words: dict[str, str], place: Path) -> dict[str, str]:
        system = self.system
        paths = words.get("path", "").split("\n")
        if action == "actions/checkout":
            target = place / words.get("path", "")
            source = self.sources.get(words.get("path", ""))
            check_out(target) if source is None else copy(source, target)
        elif action == "actions/cache/restore":
            # A cache is one of these very paths; the newest whose key begins as asked.
            version = "\n".join(paths)
            exact = f"{words['key']}\0{version}"
            prefixes = [word for word in words.get("restore-keys", "").split("\n") if word]
            there = [
                name for prefix in prefixes for name in reversed(system.kept)
                if name.endswith(f"\0{version}") and name.startswith(prefix)
            ]  # fmt: skip
            name = exact if exact in system.kept else next(iter(there), None)
            if name is not None:
                system.bring(name, place)
            hit = {} if name is None else {"cache-hit": str(name == exact).lower()}
            return {"cache-primary-key": words["key"], **hit}
        elif action == "actions/cache/save":
            name = f"{words['key']}\0" + "\n".join(paths)
            # One that is there stays.
            if name not in system.kept:
                system.keep(name, _matching(paths, place), place)
        elif action == "actions/upload-artifact":
            found = system.home / f"{place.name}-artefact-{words['name']}"
            for path in _matching(paths, place):
                copy(path, found / path.relative_to(place))
            assert found.exists(), f"nothing to upload at {paths}"
            self.artefacts[words["name"]] = found
        elif action == "github/codeql-action/upload-sarif":
            assert json.loads((place / words["sarif_file"]).read_text())["version"] == "2.1.0"
        elif action == "actions/download-artifact":
            for name, found in self.artefacts.items():
                copy(found, place / words["path"] / name)
        else:
            raise AssertionError(f"nobody knows {action}")
        return {}


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _matching(patterns: list[str], place: Path) -> list[Path]:
    return sorted({path for one in patterns for path in place.glob(one)})


def _below(pattern: str, place: Path) -> list[Path]:
    # "**" at the end is all files; to pathlib, all directories.
    return list(place.glob(f"{pattern}/*" if pattern.endswith("**") else pattern))


def evaluate(value: Any, context: dict[str, Any], place: Path) -> Any:
    """``${{ }}`` in a value of a workflow, as GitHub's expressions: names, strings, &&, ||, !=, functions."""
    if isinstance(value, dict):
        return {key: evaluate(one, context, place) for key, one in value.items()}
    if isinstance(value, list):
        return [evaluate(one, context, place) for one in value]
    if not isinstance(value, str):
        return value

    def hash_files(*patterns: str) -> str:
        files = sorted({path for one in patterns for path in _below(one, place) if path.is_file()})
        contents = [path.read_bytes() for path in files]
        return (
            hashlib.sha256(b"".join(hashlib.sha256(one).digest() for one in contents)).hexdigest() if contents else ""
        )

    functions = {
        "hashFiles": hash_files, "fromJSON": json.loads, "always": lambda: True,
        "success": lambda: not context.get("status"),
    }  # fmt: skip

    def name(match: re.Match[str]) -> str:
        word = match[0]
        if word.startswith("'") or word in functions:
            return word
        found: Any = context
        for part in word.split("."):
            found = found.get(part, "") if isinstance(found, dict) else ""
        return repr(found)

    def expression(match: re.Match[str]) -> Any:
        text = re.sub(r"'[^']*'|[A-Za-z_][\w.-]*", name, match[1])
        return eval(text.replace("&&", " and ").replace("||", " or "), functions)

    whole = re.fullmatch(r"\$\{\{(.*?)\}\}", value, re.DOTALL)
    if whole:
        return expression(whole)
    return re.sub(r"\$\{\{(.*?)\}\}", lambda match: str(expression(match)), value)


# ---- GitLab


def run_gitlab(system: System, selection: str) -> dict[str, str]:
    """The result of each job of the child pipeline."""
    pipeline = load("gitlab.yml")
    plan = _gitlab_job(system, pipeline["plan"], {**pipeline["variables"], "SELECTION": selection}, [])
    assert plan.result == "success"
    (artefact,) = pipeline["cells"]["trigger"]["include"]
    child = yaml.safe_load((plan.artefacts / artefact["artifact"]).read_text())
    for include in child.pop("include"):
        child |= yaml.safe_load((ROOT / include["local"]).read_text())
    stages = {name: {**child.get(job.get("extends"), {}), **job} for name, job in child.items() if name[0] != "."}
    for name, job in child.items():
        if "extends" in job:
            stages[name]["variables"] = {**child[job["extends"]]["variables"], **job["variables"]}
    results: dict[str, str] = {}
    there: list[Path] = []
    for name, job in sorted(stages.items(), key=lambda item: item[1].get("stage") == ".post"):
        if "failure" in results.values() and job.get("when") != "always" and job["stage"] == ".post":
            continue
        done = _gitlab_job(system, job, job.get("variables", {}), there if job["stage"] == ".post" else [])
        results[name] = done.result
        there.append(done.artefacts)
    return results


@dataclass
class GitLabJob:
    result: str
    artefacts: Path


def _gitlab_job(system: System, job: dict[str, Any], variables: dict[str, str], brought: list[Path]) -> GitLabJob:
    assert job["timeout"]
    place = system.workspace()
    check_out(place)
    for path in brought:
        copy(path, place)
    known = {"CI_PROJECT_DIR": str(place)}
    for key, value in variables.items():
        known[key] = _expand(str(value), known)
    environment = {**system.environment(), **known}
    cache = job.get("cache", {})
    key = _expand(cache.get("key", ""), known)
    if key in system.kept:
        system.bring(key, place)
    script = "\n".join([*job.get("before_script", ()), *job["script"]])
    done = system.shell(script, place, environment)
    after = job.get("after_script")
    if after:
        system.shell("\n".join(after), place, environment)
    if cache and (done.returncode == 0 or cache.get("when") == "always"):
        system.keep(key, _matching(cache["paths"], place), place)
    artefacts = system.home / f"{place.name}-artefacts"
    artefacts.mkdir()
    for path in _matching(job.get("artifacts", {}).get("paths", []), place):
        copy(path, artefacts / path.relative_to(place))
    return GitLabJob("failure" if done.returncode else "success", artefacts)


def _expand(text: str, known: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda match: known.get(match[1], ""), text)


# ---- Jenkins


def run_jenkins(system: System, selection: str) -> dict[str, str]:
    """The Jenkinsfile's sh steps: those of the plan, of each job, and of what comes after; an agent's home is kept."""
    text = (RECIPES / "Jenkinsfile").read_text().replace("nightly", selection)
    plan, job, report = text.split("node('debian') {")[1:]
    assert "timeout(" in job
    place = system.workspace()
    check_out(place)
    outputs = [system.shell(step, place, system.environment()).stdout for step in _sh(plan)]
    archive = system.home / "archive"
    results: dict[str, str] = {}
    stashed = []
    for include in json.loads(outputs[-1])["include"]:
        words = {f"${{job.{key}}}": value for key, value in include.items()}
        place = system.workspace()
        check_out(place)
        done = [system.shell(_replace(step, words), place, system.environment()).returncode for step in _sh(job)]
        results[include["key"]] = "failure" if any(done) else "success"
        stashed += [(path, path.relative_to(place)) for path in place.glob("out/matrix/*/cells")]
    place = system.workspace()
    check_out(place)
    steps = _sh(report)
    for step in steps:
        if "record" in step:
            # What stands before it: unstash, copyArtifacts.
            for path, name in stashed:
                copy(path, place / name)
            if archive.exists():
                copy(archive, place)
        done_ = system.shell(step, place, system.environment())
        results["report"] = "failure" if done_.returncode else "success"
        if (place / "history.sqlite3").exists():
            copy(place / "history.sqlite3", archive / "history.sqlite3")
    return results


def _sh(text: str) -> list[str]:
    return [match[2] for match in re.finditer(r"""\bsh(?:\(script:)?\s*(['"])(.*?)\1""", text)]


def _replace(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


# ---- clusters


def wait_until(what: Any, bound_s: float = STEP_TIMEOUT_S) -> None:
    until = time.monotonic() + bound_s
    while not what():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)
