# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``dmasafe matrix export`` prints is what KCIDB's own schema takes and LAVA's shell understands."""

import dataclasses
import json
import shlex

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kcidb_io import schema
from matrix_samples import FIRST, HIGHMEM, RECEIVE, SEND, STACK, failed, lost, results, run, splat

from dmasafe.cli.matrix_command import command
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.export import KCIDB_LONGEST_EXCERPT, LONGEST_PATH, Origin, Published, kcidb, lava, path_of
from dmasafe.report import json_report
from dmasafe.scenario import SUITES, suite

COMMIT = "0123456789ab" + "c" * 28
GIT = f"https://example.org/linux.git v6.12 ({COMMIT[:12]})"


def submission(*runs, **words):
    found = kcidb([Published(f"cells/{n}/core", one) for n, one in enumerate(runs)], Origin("lab", **words))
    # As it is read on the other side.
    found = json.loads(json.dumps(found, allow_nan=False))
    assert schema.V5_3.is_valid_exactly(found) and schema.V5_3.validate(found)
    for objects in (found["checkouts"], found["builds"], found["tests"]):
        assert len({one["id"] for one in objects}) == len(objects)
    assert {one["checkout_id"] for one in found["builds"]} == {one["id"] for one in found["checkouts"]}
    assert {one["build_id"] for one in found["tests"]} == {one["id"] for one in found["builds"]}
    return found


def statuses(found):
    return {one["misc"]["scenario"]: one["status"] for one in found["tests"] if "scenario" in one.get("misc", {})}


def summary(found):
    (one,) = (one for one in found["tests"] if one["path"] == "dmasafe.core")
    return one["status"]


def test_every_scenario_is_a_test_with_its_verdict():
    found = submission(run(0, {RECEIVE: failed(), SEND: lost()}))
    assert statuses(found) == {RECEIVE: "FAIL", SEND: "ERROR", STACK: "PASS", HIGHMEM: "SKIP"}
    assert summary(found) == "FAIL"
    (one,) = (one for one in found["tests"] if one["status"] == "FAIL" and "log_excerpt" in one)
    assert one["path"] == "dmasafe.core.heap.master_recv.virtio.8"
    assert "damaged: guard-after" in one["comment"] and "expected: SAFE" in one["log_excerpt"]


def test_a_failure_shows_its_splat():
    found = submission(run(0, {SEND: failed(), RECEIVE: failed(why="unexpected")}))
    assert sum("log_excerpt" in one for one in found["tests"]) == 2
    found = submission(run(0, {SEND: dataclasses.replace(failed(), splats=(splat(),))}))
    (excerpt,) = (one["log_excerpt"] for one in found["tests"] if "log_excerpt" in one)
    assert "map-vmalloc-rejected" in excerpt and "payload_map" in excerpt


@pytest.mark.parametrize("more", [{"canary": False}, {"reason": "log records were lost"}])
def test_nothing_of_an_untrusted_run_passes(more):
    untrusted = run(0, **more)
    found = submission(untrusted)
    assert {one["status"] for one in found["tests"]} == {"ERROR", "SKIP"} and summary(found) == "ERROR"
    assert not [line for line in lava([Published(".", untrusted)]) if line.endswith(("pass", "fail"))]


def test_cells_of_one_kernel_share_its_checkout_and_what_is_submitted_again_is_the_same():
    one, other = run(0), run(0, config="kasan", build_s=5.0)
    found = submission(one, other)
    assert [len(found[key]) for key in ("checkouts", "builds")] == [1, 2]
    assert found["checkouts"][0]["start_time"] == FIRST.isoformat()
    assert [build.get("duration") for build in found["builds"]] == [None, 5.0]
    assert found == submission(one, other)


def test_a_checkout_is_what_the_source_and_the_user_say_of_it():
    git = run(0, source=GIT)
    (checkout,) = submission(git)["checkouts"]
    assert checkout["git_repository_url"] == "https://example.org/linux.git"
    # Twelve digits are no commit for KCIDB, and none is made up.
    assert "git_commit_hash" not in checkout and "patchset_hash" not in checkout
    (checkout,) = submission(git, commit=COMMIT, tree="mainline", branch="master")["checkouts"]
    assert (checkout["git_commit_hash"], checkout["patchset_hash"], checkout["tree_name"]) == (COMMIT, "", "mainline")
    with pytest.raises(MatrixError, match="is not what was tested"):
        submission(git, commit="f" * 40)
    with pytest.raises(MatrixError, match="these runs are of 2"):
        submission(git, run(0), tree="mainline")
    # A directory's content is not known: two runs of it are two checkouts.
    assert len(submission(run(0, source="/src/linux"), run(1, source="/src/linux"))["checkouts"]) == 2


def test_files_are_found_below_the_url():
    found = submission(run(0), url="https://example.org/nights/1/")
    (one,) = (one for one in found["tests"] if "log_url" in one)
    assert one["log_url"] == "https://example.org/nights/1/cells/0/core/kmsg.log"
    assert {file["name"] for file in one["output_files"]} == {"results.json", "console.log"}


@pytest.mark.parametrize(
    "words",
    [
        {"name": "My Lab"},
        {"commit": "v6.12"},
        {"repository": "git://example.org/linux"},
        {"url": "https://example.org/x?y"},
        {"url": "/nights"},
    ],
)
def test_what_kcidb_does_not_take_is_refused(words):
    with pytest.raises(MatrixError, match="will not do"):
        Origin(**{"name": "lab", **words})


TEXTS = st.text(st.characters(), max_size=40)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(why=TEXTS, message=TEXTS, release=TEXTS, many=st.booleans())
def test_text_of_a_guest_fits_and_is_visible(why, message, release, many):
    message = message * (2000 if many else 1)
    splats = tuple(splat("f" * (9000 if many else 1), message) for _ in range(3))
    bad = dataclasses.replace(failed(why=why), splats=splats)
    found = submission(run(0, {SEND: bad}, version="6" + release.replace("\0", "")))
    (excerpt,) = (one["log_excerpt"] for one in found["tests"] if "log_excerpt" in one)
    assert len(excerpt) <= KCIDB_LONGEST_EXCERPT
    assert not [character for character in json.dumps(found) if not " " <= character <= "~"]
    assert not [character for character in excerpt if character < " " and character not in "\n\t"]


def test_names_of_tests_fit_and_stay_apart():
    ids = {scenario.id for name in SUITES for scenario in suite(name)} | {"..", "a//b", "ä b", "a" * 200, "a" * 201}
    paths = {path_of(id_) for id_ in ids}
    assert len(paths) == len(ids)
    assert max(map(len, paths)) <= LONGEST_PATH
    path = schema.V5_3.path_re
    assert [one for one in paths if not path.fullmatch(one)] == []


def test_lava_gets_a_test_set_for_each_run():
    lines = [shlex.split(line) for line in lava([Published(".", run(0, {SEND: lost(), RECEIVE: failed()}))])]
    assert lines[0] == ["lava-test-set", "start", "linux-source-6.12-x86_64-default-qemu-core"]
    assert lines[-1] == ["lava-test-set", "stop"]
    assert {line[1]: line[3] for line in lines[1:-1]} == {
        path_of(SEND): "unknown",
        path_of(RECEIVE): "fail",
        path_of(STACK): "pass",
        path_of(HIGHMEM): "skip",
    }
    # It splits at blanks and at "=".
    assert not [word for line in lines for word in line if set(word) & set(" =<>")]


def export(*words):
    return CliRunner().invoke(command, ["export", *map(str, words)], standalone_mode=False)


def test_the_command_reads_directories_and_files(tmp_path):
    for n, config in enumerate(("default", "kasan")):
        directory = tmp_path / "20261101T020000Z-run" / config / "core"
        directory.mkdir(parents=True)
        json_report.write(results(config=config), directory / "results.json")
        (directory / "matrix.json").write_text(json.dumps({"schema": 1, "time": f"2026-11-0{2 - n}"}))
    done = export(tmp_path, "--format", "kcidb", "--origin", "lab", "--url", "https://example.org/a")
    found = json.loads(done.stdout)
    assert schema.V5_3.validate(found) and len(found["builds"]) == 2
    assert [one["log_url"] for one in found["tests"] if "log_url" in one] == [
        f"https://example.org/a/20261101T020000Z-run/{config}/core/kmsg.log" for config in ("kasan", "default")
    ]
    assert export(directory / "results.json", "--format", "lava").stdout.count("lava-test-case") == 4


def test_mistakes_are_sentences(tmp_path):
    for words, sentence in (
        (("--format", "kcidb"), "--origin"),
        (("--format", "lava", "--origin", "lab"), "leave all but --format away"),
    ):
        assert sentence in str(export(tmp_path, *words).exception)
    assert isinstance(export(tmp_path, "--format", "lava").exception, MatrixError)
    json_report.write(results(), tmp_path / "results.json")
    found = json.loads((tmp_path / "results.json").read_text())
    found["kernel"]["arch"] = "X 86"
    (tmp_path / "results.json").write_text(json.dumps(found))
    assert isinstance(export(tmp_path, "--format", "kcidb", "--origin", "lab").exception, MatrixError)
