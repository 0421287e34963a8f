# SPDX-License-Identifier: GPL-2.0-or-later
"""Each recipe of docs/ci/ does what it promises, twice: the second night builds no kernel."""

import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess

import pytest
import yaml

from dmasafe.kernel import DEFAULT_SOURCE, fetch, find_kernel, open_cache, parse_source
from dmasafe.matrix import emit, selections
from tests.ci.systems import (
    RECIPES,
    ROOT,
    GitHub,
    System,
    check_out,
    copy,
    evaluate,
    load,
    run_gitlab,
    run_jenkins,
    wait_until,
)
from tests.slow import slow

BOUND_S = 300

pytestmark = pytest.mark.timeout(4 * BOUND_S)


@pytest.fixture
def system(tmp_path):
    return System(tmp_path)


def counted(lines):
    """How many kernels were built, and how many guests booted."""
    return tuple(sum(line.startswith(f"{word} ") for line in lines) for word in ("build", "boot"))


def nights(system, run, report):
    """Two nights of the selection quick; what runs is as expected in both, and the second one is warm."""
    results = run()
    # There is nothing yet that it could be compared with.
    assert results.pop(report) == "failure" and set(results.values()) == {"success"}, results
    assert counted(system.did()) == (2, 3)
    system.a_day_passes()
    results = run()
    assert results.pop(report) == "success" and set(results.values()) == {"success"}, results
    assert counted(system.did()) == (0, 3)


def nights_of(history):
    """How many runs a history has."""
    with contextlib.closing(sqlite3.connect(history)) as connection:
        return connection.execute("select count(*) from run").fetchone()[0]


@slow
def test_gitlab_builds_a_kernel_once_and_compares_the_nights(system):
    nights(system, lambda: run_gitlab(system, "quick"), "regressions")
    assert nights_of(system.kept["dmasafe-history"] / "history.sqlite3") == 6


@slow
def test_jenkins_builds_a_kernel_once_and_compares_the_nights(system):
    nights(system, lambda: run_jenkins(system, "quick"), "report")
    assert nights_of(system.home / "archive" / "history.sqlite3") == 6


def test_github_builds_a_kernel_once_and_compares_the_nights_those_that_fail_too(system):
    github = GitHub(system, {})
    (system.home / "fail").touch()
    results = github.run("github.yml", {"selection": "quick"})
    cells = ("cells 6.12-x86_64-default", "cells 6.12-x86_64-strict")
    assert results == {"plan": "success", **dict.fromkeys(cells, "failure"), "report": "failure"}
    assert counted(system.did()) == (2, 3)
    system.a_day_passes()
    (system.home / "fail").unlink()
    results = github.run("github.yml", {"selection": "quick"})
    # The same kernel gave FAIL and PASS: to be looked at.
    assert results == {"plan": "success", **dict.fromkeys(cells, "success"), "report": "failure"}
    assert counted(system.did()) == (0, 3)
    assert nights_of(list(system.kept.values())[-1] / "history.sqlite3") == 6
    # The name of what is kept is its content: nothing new came, so nothing was kept again.
    assert len([name for name in system.kept if name.startswith("dmasafe-6.12")]) == 2


def test_a_kernel_tree_is_built_once_for_a_commit_and_its_objects_are_kept(system, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\n")
    for sha, text, expected in (("a", "", (1, 1)), ("a", "", (0, 1)), ("b", "# changed\n", (1, 1))):
        (tree / "Makefile").write_text((tree / "Makefile").read_text() + text)
        github = GitHub(system, {"linux": tree}, sha)
        assert github.run("github-kernel.yml", {}) == {"dma-safety": "success"}
        assert counted(system.did()) == expected
        assert set(github.artefacts) == {"results"}
        system.a_day_passes()
    # The compiler's cache of both, and of what boots only what was used last.
    kept = system.kept["dmasafe@b\0cache/store\ncache/ccache"] / "cache"
    assert len(list((kept / "ccache").iterdir())) == 2
    assert len(list((kept / "store" / "bundles").iterdir())) == 1


def test_a_drivers_kernel_is_kept_once_also_where_its_tests_fail(system, tmp_path):
    driver = tmp_path / "driver"
    driver.mkdir()
    # As the tests of a driver, which fail: what they build is in the cache.
    (system.home / "tools" / "pytest").write_text(
        """#!/bin/sh
mkdir -p "$DMASAFE_CACHE/kernels" "$DMASAFE_CACHE/ccache"
test -e "$DMASAFE_CACHE/kernels/one" || echo build one >> "$RECIPE_LOG"
touch "$DMASAFE_CACHE/kernels/one" "$DMASAFE_CACHE/ccache/object" ../junit.xml
exit 1"""
    )
    for expected in ((1, 0), (0, 0)):
        github = GitHub(system, {"driver": driver})
        assert github.run("github-driver.yml", {}) == {"dma-safety": "failure"}
        assert counted(system.did()) == expected
        assert set(github.artefacts) == {"results"}
    (kept,) = system.kept.values()
    assert [path.name for path in (kept / "cache").iterdir()] == ["kernels"]


@slow
def test_a_drivers_tests_pass_on_the_kernel_that_was_kept(system):
    """In a guest. What was kept is what this machine's cache has of the kernel."""
    cache = open_cache()
    kernel = find_kernel(fetch(parse_source(DEFAULT_SOURCE), cache), "default", "x86_64", cache)
    if kernel is None:
        pytest.skip("first: dmasafe kernel build")
    kept = system.home / "first-run"
    for name in ("agents", "configs", "initramfs", "resolutions", "accelerators.json"):
        copy(cache.path(name), kept / "cache" / name)
    for name in ("kernels", "modules"):
        for path in cache.path(name).glob(f"{kernel.key}*"):
            # The driver is built where its copy lies now.
            if not (path / "src" / "thermo.c").exists():
                copy(path, kept / "cache" / name / path.name)
    source = kernel.build_dir.parents[1]
    (kept / "cache" / "sources").mkdir()
    (kept / "cache" / "sources" / source.name).symlink_to(source)
    (step,) = [one["with"] for one in load("github-driver.yml")["jobs"]["dma-safety"]["steps"] if "id" in one]
    place = system.workspace()
    check_out(place / "dmasafe")
    words = evaluate(step, {}, place)
    system.kept[f"{words['key']}\0{words['path']}"] = kept
    github = GitHub(system, {"driver": ROOT / "docs" / "examples"})
    for program in ("sudo", "id", "hostname"):
        (system.home / "tools" / program).unlink()
    assert github.run("github-driver.yml", {}) == {"dma-safety": "success"}
    assert len(system.kept) == 1
    logs = [path.name for path in (system.home / f"job-{system.jobs}" / "cache" / "logs").iterdir()]
    assert not [name for name in logs if "modules" not in name], logs


@pytest.mark.parametrize("name", ["github-kernel.yml", "github-driver.yml"])
def test_a_small_recipe_is_twenty_lines_beside_its_comment(name):
    lines = [line for line in (RECIPES / name).read_text().splitlines() if not line.startswith("#")]
    steps = lines[lines.index("    steps:") :]
    assert len(steps) <= 20, len(steps)


def test_each_job_installs_the_compilers_and_the_machine_of_its_cells(system):
    jobs = emit.ci_jobs("nightly", selections.load().cells("nightly"))
    foreign = {job.arch: job for job in jobs if job.arch != os.uname().machine}
    assert {"arm", "arm64", "i386", "riscv64"} <= set(foreign)
    steps = {
        "github.yml": [step.get("run", "") for step in load("github.yml")["jobs"]["cells"]["steps"]],
        "Jenkinsfile": re.findall(r'sh "(.*)"', (RECIPES / "Jenkinsfile").read_text()),
        "gitlab-job.yml": load("gitlab-job.yml")[".dmasafe"]["before_script"],
        "lava.yml": [f"make {yaml.safe_load(emit.lava(foreign['arm64'], emit.Lab('https://e/x')))}"],
    }
    lava = yaml.safe_load(emit.lava(foreign["arm64"], emit.Lab("https://example.org/x")))
    parameters = lava["actions"][-1]["test"]["definitions"][0]["parameters"]
    steps["lava.yml"] = [f"make {parameters['DMASAFE_MAKE']}"]
    for name, words in steps.items():
        (line,) = [word for word in words if word.startswith("make packages")]
        line = re.sub(r"\$\{+ ?(matrix|job)\.arch ?\}+", "arm64", line)
        place = system.workspace()
        for part in ("Makefile", "pyproject.toml", "scripts", "images", "kernel-configs"):
            (place / part).symlink_to(ROOT / part)
        environment = {**system.environment(), **({"DMASAFE_ARCH": "arm64"} if "gitlab" in name else {})}
        assert system.shell(line, place, environment).returncode == 0
        installed = [line for line in system.did() if line.startswith("apt-get") and " install " in line]
        assert "gcc-aarch64-linux-gnu" in installed[-1] and "qemu-system-arm" in installed[-1], name
        assert " ccache" in installed[0], name


def test_no_key_of_a_cache_begins_with_another():
    jobs = emit.ci_jobs("full", selections.load().cells("full"))
    restore = next(
        step["with"] for step in load("github.yml")["jobs"]["cells"]["steps"] if "restore" in step.get("uses", "")
    )
    keys = [restore["restore-keys"].replace("${{ matrix.key }}", job.key) for job in jobs]
    assert not [(one, two) for one in keys for two in keys if one != two and two.startswith(one)]


def test_only_what_boots_is_kept():
    caches = [
        step["with"]["path"]
        for step in load("github.yml")["jobs"]["cells"]["steps"]
        if step.get("uses", "").startswith("actions/cache")
    ]
    assert caches == ["cache/store"] * 2
    assert load("gitlab-job.yml")[".dmasafe"]["cache"]["paths"] == ["cache/store"]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def group_of(command, **more):
    """A process and all below it, which are gone afterwards."""
    with subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, **more) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def is_gone(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@slow
def test_slurms_cluster_lasts_as_long_as_the_run(system):
    place = system.workspace()
    (place / ".venv").mkdir()
    (place / ".venv" / "bin").symlink_to(system.home / "tools")
    environment = {**system.environment(), "SLURM_JOB_ID": str(free_port() % 10000), "TMPDIR": str(place)}
    run = f"slurm-{environment['SLURM_JOB_ID']}"
    # The second time as after the time limit; the run is complete.
    for more, expected in ((["quick", "--run", run, "--store", place / "store"], (2, 3)), (["--run", run], (0, 0))):
        command = [RECIPES / "slurm.sh", *more, "--no-record"]
        with group_of(command, cwd=place, env=environment) as process:
            assert process.wait(BOUND_S) == 0
            wait_until(lambda pid=process.pid: is_gone(pid), BOUND_S)
        assert counted(system.did()) == expected
    assert len(list((place / "out" / "matrix" / run / "cells").glob("*/core/results.json"))) == 3


@slow
def test_kuberneteses_workers_end_with_the_run(system):
    place = system.workspace()
    (place / ".venv").mkdir()
    (place / ".venv" / "bin").symlink_to(system.home / "tools")
    words = {"/shared": str(place), "8786": str(free_port()), "tcp://dmasafe:": "tcp://localhost:", "nightly": "quick"}
    text = (RECIPES / "kubernetes.yaml").read_text()
    for word, value in words.items():
        assert word in text
        text = text.replace(word, value)
    service, *jobs = yaml.safe_load_all(text)
    assert service["spec"]["selector"] == {"job-name": jobs[0]["metadata"]["name"]}
    run, worker = (job["spec"]["template"]["spec"]["containers"][0]["command"] for job in jobs)
    environment = {**system.environment(), "DMASAFE_CACHE": str(place / "cache")}
    # The worker may be there first.
    with group_of(worker, cwd=place, env=environment) as working:
        with group_of(run, cwd=place, env=environment) as running:
            assert running.wait(BOUND_S) == 0
        # A container ends with its first process.
        assert working.wait(BOUND_S) == 0
    assert counted(system.did()) == (2, 3)
    assert nights_of(place / "history.sqlite3") == 2
