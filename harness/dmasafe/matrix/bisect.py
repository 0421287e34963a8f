# SPDX-License-Identifier: GPL-2.0-or-later
"""``git bisect run`` on somebody's tree, without touching it: all of it happens in a worktree of our own.

A step builds, boots and judges what is checked out there. Only its result makes a commit good or bad; whatever else
comes of it (no build, no result, INCONCLUSIVE) makes git skip the commit.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from dmasafe import scratch
from dmasafe.audit import Judgement as AuditJudgement
from dmasafe.audit import judge as judge_audit
from dmasafe.errors import DmasafeError, to_install
from dmasafe.kernel.process import clean_environment
from dmasafe.matrix.errors import BisectError
from dmasafe.outcome import Judgement, Verdict
from dmasafe.progress import SILENT
from dmasafe.report import audit as report_audit
from dmasafe.report.results import Results, exit_status
from dmasafe.scenario import select
from dmasafe.targets.audit import SOURCES, Outcome
from dmasafe.targets.audited import AuditTask, audit_guest
from dmasafe.targets.judged import run_and_judge
from dmasafe.targets.prepare import prepare
from dmasafe.targets.qemu import QemuTarget

JOURNAL = "steps.jsonl"
JOB = "job.json"
# git bisect run's own: this commit cannot be judged.
_SKIP_STATUS = 125
_BROKEN_STATUS = 255
_STEP_MODULE = "dmasafe.matrix.bisect"


class Word(Enum):
    """What a commit is, with the exit status that tells git so."""

    GOOD = 0
    BAD = 1
    SKIP = _SKIP_STATUS


@dataclass(frozen=True)
class Step:
    """One commit that was looked at, or tried."""

    commit: str
    word: Word
    why: str
    seconds: float


@dataclass(frozen=True)
class Job:
    """What a step does: ``scenarios`` on the kernel in the worktree, or the audit of ``command`` with a module of it.

    ``module`` is that module's directory in the worktree, None for a kernel tree; ``kernel_source`` and ``policy`` go
    with it.
    """

    configuration: str
    arch: str
    accel: str | None = None
    scenarios: tuple[str, ...] = ()
    module: str | None = None
    command: str = ""
    policy: str | None = None
    kernel_source: str = ""


@dataclass(frozen=True)
class Found:
    """The end of a bisection: the first bad commit, with its subject, and the way there."""

    commit: str
    subject: str
    steps: tuple[Step, ...]


def bisect(tree: Path, good: str, bad: str, job: Job, tell: Callable[[Step], None]) -> Found:
    """Find the first bad commit between two revisions of the git repository at ``tree``.

    Both ends are tried first. Raises BisectError if they are not what they are said to be, or if what is left cannot be
    judged.
    """
    ends = {Word.GOOD: _commit(tree, good), Word.BAD: _commit(tree, bad)}
    if not _is_ancestor(tree, ends[Word.GOOD], ends[Word.BAD]):
        raise BisectError(f"{good} does not lie before {bad} in {tree}: name an older good and a newer bad revision")
    with _worktree(tree, ends[Word.BAD]) as (work, private):
        (private / JOB).write_text(json.dumps({**asdict(job), "tree": str(work)}), encoding="utf-8")
        told = 0
        for word, revision in ((Word.BAD, bad), (Word.GOOD, good)):
            _git(work, "checkout", "--quiet", "--detach", ends[word])
            step = perform(private)
            tell(step)
            told += 1
            if step.word is not word:
                called = word.name.lower()
                raise BisectError(f"{revision} is called {called}, and comes out as {step.word.name}: {step.why}")
        found, output = _run(work, private, ends, told, tell)
        steps = _journal(private)
        if found is None:
            raise BisectError(_unfound(output, steps))
        return Found(found, _git(work, "show", "--no-patch", "--format=%s", found), steps)


def _run(
    work: Path, private: Path, ends: dict[Word, str], told: int, tell: Callable[[Step], None]
) -> tuple[str | None, str]:
    """git bisect run, from start to reset: the commit it found, and what it said. ``told`` steps are known."""
    _git(work, "bisect", "start", ends[Word.BAD], ends[Word.GOOD])
    process = subprocess.Popen(
        ["git", "bisect", "run", sys.executable, "-m", _STEP_MODULE, str(private)],
        cwd=work, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    )  # fmt: skip
    said = []
    try:
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                new = _journal(private)[told:]
                told += len(new)
                for step in new:
                    tell(step)
        # Its sentences differ from version to version: 2.55 quotes the terms.
        found = _git(work, "rev-parse", "--verify", "refs/bisect/bad") if process.returncode == 0 else None
    except BaseException:
        # The steps got the terminal's Ctrl-C too, and end by themselves.
        process.wait()
        raise
    finally:
        _git(work, "bisect", "reset", ends[Word.BAD])
    return found, "".join(said)


def _unfound(output: str, steps: Sequence[Step]) -> str:
    skipped = [step for step in steps if step.word is Word.SKIP]
    if skipped:
        return (
            f"the first bad commit cannot be told: {len(skipped)} of {len(steps)} commits could not be judged, the "
            f"last ({skipped[-1].commit[:12]}) because {skipped[-1].why}"
        )
    last = output.strip().splitlines()[-1] if output.strip() else "nothing"
    return f"git bisect found no commit; its last word was: {last}"


# ---- one step


def perform(private: Path) -> Step:
    """Judge the commit that is checked out in the worktree, and write it into the journal."""
    found = json.loads((private / JOB).read_text(encoding="utf-8"))
    work = Path(found.pop("tree"))
    job = Job(**{**found, "scenarios": tuple(found["scenarios"])})
    started = time.monotonic()
    commit = _git(work, "rev-parse", "HEAD")
    judge_commit = _judge_kernel if job.module is None else _judge_module
    with tempfile.TemporaryDirectory(dir=private) as logs:
        try:
            word, why = judge_commit(job, work, Path(logs))
        except Exception as error:
            # Whatever it is, a commit without a verdict is neither good nor bad.
            word, why = Word.SKIP, in_a_line(error)
    step = Step(commit, word, why, time.monotonic() - started)
    with (private / JOURNAL).open("a", encoding="utf-8") as file:
        file.write(json.dumps({**asdict(step), "word": word.name}) + "\n")
    return step


def _judge_kernel(job: Job, work: Path, logs: Path) -> tuple[Word, str]:
    prepared = prepare(str(work), job.configuration, job.arch, job.accel, SILENT)
    target = QemuTarget(prepared.image, prepared.kernel, prepared.facts, logs)
    results = run_and_judge(target, select(job.scenarios), "bisect", SILENT, time.monotonic())
    # Ctrl-C keeps what a guest did so far; here half a run judges nothing.
    if "interrupted by the user" in results.notes:
        raise KeyboardInterrupt
    return word_of_results(results)


def word_of_results(results: Results) -> tuple[Word, str]:
    """What a run says of its commit."""
    if exit_status(results) not in (0, 1):
        reason = results.reason or next((row.judgement.why for row in results.rows if _open(row.judgement)), "")
        return Word.SKIP, f"INCONCLUSIVE: {reason or 'nothing was judged'}"
    failed = [row for row in results.rows if row.judgement.verdict is Verdict.FAIL]
    return (Word.BAD, f"{failed[0].id}: {failed[0].judgement.why}") if failed else (Word.GOOD, "as expected")


def _open(judgement: Judgement) -> bool:
    return judgement.verdict in (Verdict.INCONCLUSIVE, Verdict.ERROR)


def _judge_module(job: Job, work: Path, logs: Path) -> tuple[Word, str]:
    assert job.module is not None
    source, configuration = job.kernel_source, job.configuration
    prepared = prepare(source, configuration, job.arch, job.accel, SILENT, extra_modules=SOURCES)
    task = AuditTask(job.command, modules=(work / job.module,), policy=job.policy)
    outcome = audit_guest(prepared, task, logs, SILENT)
    return word_of_audit(outcome, judge_audit(outcome.record, prepared.kernel.release))


def word_of_audit(outcome: Outcome, judgement: AuditJudgement) -> tuple[Word, str]:
    """What an audit says of its commit."""
    status = report_audit.status(judgement, outcome.splats, strict=False)
    if status not in (0, 1):
        return Word.SKIP, f"INCONCLUSIVE: {judgement.distrust[0]}"
    if status == 1:
        found = [f"{one.rule}: {one.why}" for one in judgement.findings]
        found += [f"{one.splat_class}: {one.message}" for one in outcome.splats]
        return Word.BAD, found[0]
    if outcome.status != 0:
        why = f"the command ended with status {outcome.status}, so nothing was audited of what it was to show"
        return Word.SKIP, why
    return Word.GOOD, "nothing found"


def in_a_line(error: Exception) -> str:
    """An error in a line of the journal: its sentence, and the first error of the compiler that it shows."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not isinstance(error, DmasafeError) or not lines:
        return f"{type(error).__name__}: {lines[0] if lines else ''}"
    # What a compiler said stands below.
    shown = next((f": {line}" for line in lines[1:] if "error" in line), "")
    return lines[0].removesuffix("; its last lines are") + shown


def _journal(private: Path) -> tuple[Step, ...]:
    path = private / JOURNAL
    if not path.exists():
        return ()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(Step(row["commit"], Word[row["word"]], row["why"], row["seconds"]) for row in rows)


# ---- git


@contextlib.contextmanager
def _worktree(tree: Path, commit: str) -> Iterator[tuple[Path, Path]]:
    """A checkout of the repository beside the user's own, and a directory for notes; both are gone afterwards."""
    with scratch.directory("bisect-") as directory:
        work, private = directory / tree.resolve().name, directory / ".notes"
        private.mkdir()
        _git(tree, "worktree", "add", "--quiet", "--detach", str(work), commit)
        try:
            yield work, private
        finally:
            _git(tree, "worktree", "remove", "--force", str(work))


def top(directory: Path) -> Path:
    """The checkout that a directory is in. Raises BisectError."""
    return Path(_git(directory, "rev-parse", "--show-toplevel"))


def _commit(tree: Path, revision: str) -> str:
    try:
        return _git(tree, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").split()[-1]
    except BisectError as error:
        raise BisectError(f"{tree} has no revision '{revision}'") from error


def _is_ancestor(tree: Path, older: str, newer: str) -> bool:
    try:
        _git(tree, "merge-base", "--is-ancestor", older, newer)
    except BisectError:
        return False
    return older != newer


def _git(directory: Path, *words: str) -> str:
    if shutil.which("git") is None:
        raise BisectError(f"bisecting needs git: {to_install('git')}")
    done = subprocess.run(
        ["git", "-C", str(directory), *words],
        env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        raise BisectError(f"'git {words[0]}' failed in {directory}: {last}")
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return clean_environment({"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))})


def main() -> None:
    """What git bisect run calls. A step that breaks must not look like a bad commit: above 127 git gives up."""
    status = _BROKEN_STATUS
    try:
        # Of git's own variables none may reach the tools that a step calls.
        environment = _environment()
        os.environ.clear()
        os.environ.update(environment)
        status = perform(Path(sys.argv[1])).word.value
    finally:
        sys.stdout.flush()
        # Not sys.exit(): an exception on its way would make it 1, which says BAD.
        if status == _BROKEN_STATUS:
            traceback.print_exc()
        os._exit(status)


if __name__ == "__main__":
    main()
