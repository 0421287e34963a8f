# SPDX-License-Identifier: GPL-2.0-or-later
"""What a step's command leaves becomes GOOD, BAD or SKIP; never GOOD or BAD without a result that says so."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from matrix_samples import SEND, failed, lost, results

from dmasafe.cli.bisect_command import command
from dmasafe.matrix import bisect
from dmasafe.matrix.bisect import Job, Word
from dmasafe.matrix.errors import BisectError
from dmasafe.report import json_report
from dmasafe.report.results import exit_status


def done(status, stdout="", stderr=""):
    return subprocess.CompletedProcess([], status, stdout, stderr)


@pytest.mark.parametrize(
    ("changes", "word"), [({}, Word.GOOD), ({SEND: failed()}, Word.BAD), ({SEND: lost()}, Word.SKIP)]
)
def test_a_runs_verdict_is_the_commits(tmp_path, changes, word):
    made = results(changes)
    json_report.write(made, tmp_path / "results.json")
    assert bisect._read_results(done(exit_status(made)), tmp_path)[0] is word
    # A command that says another thing than its file is not believed.
    assert bisect._read_results(done(1 - exit_status(made) if word is not Word.SKIP else 0), tmp_path)[0] is Word.SKIP


def test_without_a_result_there_is_no_verdict_whatever_the_status(tmp_path):
    for status in (0, 1, 2, -9):
        word, why = bisect._read_results(
            done(status, stderr="dmasafe: make failed; its last lines are\n  x.c: error: y\n"), tmp_path
        )
        assert (word, why) == (Word.SKIP, "make failed: x.c: error: y")
    (tmp_path / "results.json").write_text("{")
    assert bisect._read_results(done(1), tmp_path)[0] is Word.SKIP
    assert bisect._read_audit(done(1, "Traceback"), tmp_path)[0] is Word.SKIP


def test_a_run_without_canary_is_skipped(tmp_path):
    json_report.write(results(canary=False), tmp_path / "results.json")
    assert bisect._read_results(done(2), tmp_path)[0] is Word.SKIP


@pytest.mark.parametrize(
    ("status", "command_status", "findings", "word"),
    [
        (0, 0, [], Word.GOOD),
        (1, 0, [{"rule": "flagged-unsafe", "why": "it is the stack"}], Word.BAD),
        (1, 1, [{"rule": "flagged-unsafe", "why": "it is the stack"}], Word.BAD),
        # The driver did not bind: nothing was shown.
        (0, 1, [], Word.SKIP),
        (2, 0, [], Word.SKIP),
    ],
)
def test_an_audits_verdict_is_the_commits(tmp_path, status, command_status, findings, word):
    found = {"status": status, "command_status": command_status, "findings": findings, "splats": [], "distrust": []}
    assert bisect._read_audit(done(status, json.dumps(found)), tmp_path)[0] is word


def git(tree, *words):
    subprocess.run(
        ["git", "-C", tree, "-c", "user.name=A", "-c", "user.email=a@example.org", *words],
        check=True,
        capture_output=True,
    )


@pytest.fixture
def tree(tmp_path):
    """Twenty commits; ``value`` says what the step's command is to find there."""
    made = tmp_path / "tree"
    made.mkdir()
    git(made, "init", "--quiet")
    return made


def commits(tree, words):
    for number, word in enumerate(words):
        (tree / "value").write_text(f"{word} {number}")
        git(tree, "add", ".")
        git(tree, "commit", "--quiet", "-m", f"Change {number}")


@pytest.fixture
def judged_by_value(monkeypatch, tmp_path):
    """Steps that read the verdict off the tree, in the processes that git starts too."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import json, subprocess\n"
        "_run = subprocess.run\n"
        "def run(words, **more):\n"
        "    if 'dmasafe.cli' in words:\n"
        "        word = open(words[-1] + '/value').read().split()[0]\n"
        "        status = {'good': 0, 'bad': 1}.get(word, 2)\n"
        "        rest = {'findings': [], 'splats': [], 'distrust': []}\n"
        "        text = json.dumps({'status': status, 'command_status': 0, **rest})\n"
        "        return subprocess.CompletedProcess(words, status, text, '')\n"
        "    return _run(words, **more)\n"
        "subprocess.run = run\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    def run(tree):
        code = (
            "import sys, pathlib; from dmasafe.matrix.bisect import *\n"
            "job = Job((TREE,), 'audit')\n"
            "found = bisect(pathlib.Path(sys.argv[1]), 'HEAD~19', 'HEAD', job, lambda step: None)\n"
            "print(found.subject, len(found.steps))"
        )
        words = [sys.executable, "-c", code, tree]
        return subprocess.run(words, env=bisect._environment(), capture_output=True, text=True, timeout=250)

    return run


def test_skipped_commits_are_gone_around(tree, judged_by_value):
    commits(tree, ["good"] * 9 + ["odd", "odd"] + ["good"] * 3 + ["bad"] * 6)
    ended = judged_by_value(tree)
    assert ended.stdout.startswith("Change 14 "), ended.stderr
    assert int(ended.stdout.split()[-1]) < 12


def test_what_only_skipped_commits_could_tell_is_not_told(tree, judged_by_value):
    commits(tree, ["good"] * 12 + ["odd"] * 3 + ["bad"] * 5)
    ended = judged_by_value(tree)
    assert "the first bad commit cannot be told" in ended.stderr
    worktrees = subprocess.run(["git", "-C", tree, "worktree", "list"], capture_output=True, text=True).stdout
    assert worktrees.count("\n") == 1


def test_ends_are_looked_at_before_anything_is_built(tree, tmp_path):
    commits(tree, ["good", "good"])
    job = Job((), "audit")
    for good, bad, sentence in (
        ("nothing", "HEAD", "no revision 'nothing'"),
        ("HEAD", "HEAD~1", "does not lie before"),
        ("HEAD", "HEAD", "does not lie before"),
        ("--help", "HEAD", "no revision '--help'"),
    ):
        with pytest.raises(BisectError, match=sentence):
            bisect.bisect(tree, good, bad, job, lambda step: None)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "name the scenario"),
        (["stack/nothing/virtio/8"], "no operation 'nothing'"),
        (["heap/master_send/virtio/8", "--policy", "pio"], "goes with --module"),
        (["heap/master_send/virtio/8"], "not a kernel tree"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, words, sentence):
    from dmasafe.errors import DmasafeError

    with pytest.raises(DmasafeError, match=sentence):
        CliRunner().invoke(
            command, ["--good", "a", "--bad", "b", "--kdir", str(tmp_path), *words], standalone_mode=False,
            catch_exceptions=False,
        )  # fmt: skip
