# SPDX-License-Identifier: GPL-2.0-or-later
"""What a step leaves becomes GOOD, BAD or SKIP; never GOOD or BAD without a result that says so."""

import json
import subprocess
import sys
from dataclasses import asdict
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from matrix_samples import SEND, failed, lost, results

from dmasafe.audit import AuditFinding, Judgement, Level, Record
from dmasafe.cli.bisect_command import command
from dmasafe.errors import DmasafeError
from dmasafe.kernel.errors import BuildError
from dmasafe.matrix import bisect
from dmasafe.matrix.bisect import Job, Word
from dmasafe.matrix.errors import BisectError
from dmasafe.targets.audit import Outcome

RECORD = Record((), 64, 8, frozenset(), 1, 1, 0, 0, 0, True, True, True)
FINDING = AuditFinding("flagged-unsafe", Level.ERROR, None, "it is the stack")


@pytest.mark.parametrize(
    ("changes", "word"), [({}, Word.GOOD), ({SEND: failed()}, Word.BAD), ({SEND: lost()}, Word.SKIP)]
)
def test_a_runs_verdict_is_the_commits(changes, word):
    assert bisect.word_of_results(results(changes))[0] is word


def test_without_a_result_there_is_no_verdict(tree, tmp_path, monkeypatch):
    commits(tree, ["good"])
    job = {**asdict(Job("default", "x86_64", scenarios=(SEND,))), "tree": str(tree)}
    (tmp_path / bisect.JOB).write_text(json.dumps(job))
    for error, why in (
        (BuildError("make failed; its last lines are\n  x.c: error: y\n"), "make failed: x.c: error: y"),
        (DmasafeError("there is no such tree"), "there is no such tree"),
        (KeyError("a bug of ours"), "KeyError: 'a bug of ours'"),
    ):
        monkeypatch.setattr(bisect, "prepare", Mock(side_effect=error))
        step = bisect.perform(tmp_path)
        assert (step.word, step.why) == (Word.SKIP, why)
    assert [step.word for step in bisect._journal(tmp_path)] == [Word.SKIP] * 3


def test_a_run_without_canary_is_skipped():
    assert bisect.word_of_results(results(canary=False))[0] is Word.SKIP


@pytest.mark.parametrize(
    ("distrust", "command_status", "findings", "word"),
    [
        ((), 0, (), Word.GOOD),
        ((), 0, (FINDING,), Word.BAD),
        ((), 1, (FINDING,), Word.BAD),
        # The driver did not bind: nothing was shown.
        ((), 1, (), Word.SKIP),
        (("a log line is missing",), 0, (), Word.SKIP),
        # What was found is not less found.
        (("a log line is missing",), 0, (FINDING,), Word.BAD),
    ],
)
def test_an_audits_verdict_is_the_commits(distrust, command_status, findings, word):
    outcome = Outcome(RECORD, status=command_status)
    assert bisect.word_of_audit(outcome, Judgement(findings, distrust))[0] is word


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
        "from types import SimpleNamespace\n"
        "from dmasafe import audit\n"
        "from dmasafe.outcome import Splat\n"
        "from dmasafe.targets import audited, prepare\n"
        "from dmasafe.targets.audit import Outcome\n"
        "def audit_guest(prepared, task, logs, progress):\n"
        "    word = (task.modules[0] / 'value').read_text().split()[0]\n"
        "    if word == 'odd':\n"
        "        raise audit.AuditError('it does not build')\n"
        "    return Outcome(None, (Splat('other', None, None, 'bad'),) if word == 'bad' else (), 0)\n"
        "audited.audit_guest = audit_guest\n"
        "audit.judge = lambda record, release: audit.Judgement(())\n"
        "prepare.prepare = lambda *_, **__: SimpleNamespace(kernel=SimpleNamespace(release='6.12'))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    def run(tree):
        code = (
            "import sys, pathlib; from dmasafe.matrix.bisect import *\n"
            "job = Job('default', 'x86_64', module='.', command='true')\n"
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
    job = Job("default", "x86_64")
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
    with pytest.raises(DmasafeError, match=sentence):
        CliRunner().invoke(
            command, ["--good", "a", "--bad", "b", "--kdir", str(tmp_path), *words], standalone_mode=False,
            catch_exceptions=False,
        )  # fmt: skip
