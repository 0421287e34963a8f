# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe matrix`` as a user types it."""

import json

import pytest
from matrix_samples import SEND, failed, results

from dmasafe.report import json_report
from tests import in_process


def dmasafe(*arguments, **environment):
    return in_process.dmasafe("matrix", *arguments, environment=environment)


@pytest.fixture(autouse=True)
def no_commit_of_ci(monkeypatch):
    for name in ("GITHUB_SHA", "CI_COMMIT_SHA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def out(tmp_path):
    """Three nights of results, the last one with a failure of another kernel."""
    for night, (changes, version) in enumerate([({}, "1"), ({}, "1"), ({SEND: failed()}, "2")], 1):
        directory = tmp_path / "out" / f"2026110{night}T020000Z-core"
        directory.mkdir(parents=True)
        json_report.write(
            results(changes, version=f"6.12.{version}-1", boot_s=1 + night / 8), directory / "results.json"
        )
    return tmp_path / "out"


def test_record_compare_regressions_report(out, place, tmp_path):
    recorded = dmasafe("record", out, "--db", place, GITHUB_SHA="abc123")
    assert (recorded.returncode, recorded.stdout.splitlines()[-1].split(":")[0]) == (0, "3 runs recorded"), (
        recorded.stderr
    )
    assert "0 runs recorded, 3 there already" in dmasafe("record", out, "--db", place, GITHUB_SHA="abc123").stdout
    same = dmasafe("compare", "2026-11-01", "2026-11-02", "--db", place)
    assert (same.returncode, same.stdout.splitlines()[-1]) == (0, "no change: nothing new")
    worse = dmasafe("regressions", "--db", place, "--format", "json")
    told = json.loads(worse.stdout)
    assert (worse.returncode, told["status"]) == (1, 1)
    assert [(one["kind"], one["scenario"]) for one in told["changes"]] == [("new failure", SEND)]
    written = dmasafe("report", tmp_path / "site", "--db", place)
    assert written.returncode == 0, written.stderr
    assert "New failure: 1" in (tmp_path / "site" / "index.html").read_text()


def test_the_environment_names_the_history(out, tmp_path):
    place = str(tmp_path / "state" / "deep" / "history.sqlite3")
    assert dmasafe("record", out, DMASAFE_HISTORY=place).returncode == 0
    assert dmasafe("compare", "latest~2", "latest~1", DMASAFE_HISTORY=place).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "latest~1", "latest"], "there is no history at"),
        (["regressions"], "there is no history at"),
        (["report", "site"], "there is no history at"),
        (["record", "nothing"], "cannot read nothing"),
        (["record", "."], "there is no results.json in"),
    ],
)
def test_a_users_mistake_is_one_sentence(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = dmasafe(*arguments, "--db", tmp_path / "h.sqlite3")
    assert done.returncode == 2
    assert words in done.stderr and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_one_bad_file_among_good_ones_is_named(out, tmp_path):
    (out / "20261101T020000Z-core" / "results.json").write_text("{")
    done = dmasafe("record", out, "--db", tmp_path / "h.sqlite3")
    assert done.returncode == 2 and "20261101T020000Z-core" in done.stderr


@pytest.mark.parametrize("name", ["compare", "record", "regressions", "report"])
def test_every_subcommand_has_help_with_an_example(name):
    shown = dmasafe(name, "--help")
    assert shown.returncode == 0 and "Example" in shown.stdout
    assert f"  {name} " in dmasafe("--help").stdout
