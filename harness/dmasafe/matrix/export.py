# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs for KernelCI: a submission to its database (KCIDB), or the test cases of a LAVA job.

They are read as the history reads them, so that nothing of a run that cannot be trusted passes here either. Text of
guests becomes visible characters of bounded length, names of tests what both systems take in a name.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dmasafe.matrix import record
from dmasafe.matrix.cells import Cell
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.judgements import StoredJudgement, shortened
from dmasafe.matrix.plan import slug
from dmasafe.matrix.record import NewRun
from dmasafe.outcome import Verdict
from dmasafe.report.directory import CONSOLE_LOG, KMSG_LOG, RESULTS_JSON
from dmasafe.report.json_report import splat_from_json
from dmasafe.report.splat_text import splat_lines
from dmasafe.report.text import visible

# What is written is of this version of the schema (package kcidb-io); services take it and newer ones.
KCIDB_VERSION = {"major": 5, "minor": 3}
KCIDB_LONGEST_EXCERPT = 16384
# From what decides to what does not, as the schema has them.
KCIDB_PRIORITY = ("FAIL", "ERROR", "MISS", "PASS", "SKIP")
# ERROR: nothing is known of the code; MISS: nor did the test run, for the harness failed.
KCIDB_STATUS = {
    Verdict.PASS: "PASS",
    Verdict.FAIL: "FAIL",
    Verdict.INCONCLUSIVE: "ERROR",
    Verdict.ERROR: "MISS",
    Verdict.SKIP: "SKIP",
}
LAVA_RESULT = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "fail",
    Verdict.INCONCLUSIVE: "unknown",
    Verdict.ERROR: "unknown",
    Verdict.SKIP: "skip",
}
#: LAVA's bound for the name of a test case.
LONGEST_PATH = 100
_LONGEST_COMMENT = 400
_PATH = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_SPELLED = str.maketrans({"/": ".", ":": ".", "+": ".", "@": ".at-", "=": "-", ",": "-"})
_URL = r"://[\w.~:/\[\]@!$&'()*+,;=%-]+"
_WEB = re.compile(f"https?{_URL}", re.ASCII)
_HTTPS = re.compile(f"https{_URL}", re.ASCII)
# How a source of git is described (dmasafe/kernel/source.py), with the release behind it.
_GIT = re.compile(r"(?P<url>\S+) \S+ \((?P<commit>[0-9a-f]{12,40})\) \(.*\)")


@dataclass(frozen=True)
class Published:
    """A run, and where its directory lies below the one that is exported ("." if it is that one)."""

    place: str
    run: NewRun


@dataclass(frozen=True)
class Origin:
    """What results do not say: who submits them, and which checkout of the kernel was tested ("" if nobody said).

    ``url`` is where the directory that is exported can be downloaded. Raises MatrixError for what KCIDB does not take.
    """

    name: str
    tree: str = ""
    repository: str = ""
    branch: str = ""
    commit: str = ""
    url: str = ""

    def __post_init__(self) -> None:
        for value, pattern, sentence in (
            (self.name, re.compile("[a-z0-9_]+"), "an origin is written in lower case, digits and _"),
            (self.repository, _HTTPS, "KCIDB knows a repository by its https:// URL"),
            (self.commit, re.compile("[0-9a-f]{40}"), "KCIDB knows a commit by all of its 40 hexadecimal digits"),
            (self.url, _WEB, "results lie below an http:// or https:// URL without a query"),
        ):
            if value and not pattern.fullmatch(value):
                raise MatrixError(f"'{value}' will not do: {sentence}")

    @property
    def names_checkout(self) -> bool:
        return bool(self.tree or self.repository or self.branch or self.commit)


def read(path: Path) -> list[Published]:
    """The runs of a results.json or below a directory, oldest first, each once. Raises MatrixError, ReportError."""
    base = path if path.is_dir() else path.parent
    found: dict[str, Published] = {}
    for file in record.find([path]):
        run = record.read(file)
        found.setdefault(run.digest, Published(file.parent.relative_to(base).as_posix(), run))
    return sorted(found.values(), key=lambda one: (one.run.time, one.place))


def path_of(id_: str) -> str:
    """A scenario's id as dotted words of letters, digits, _ and -; what would be too long or odd ends in a hash.

    >>> path_of("heap/transfer/dmasafe:bounce/8@50+dma_safe=1")
    'heap.transfer.dmasafe.bounce.8.at-50.dma_safe-1'
    """
    plain = id_.translate(_SPELLED)
    if len(plain) <= LONGEST_PATH and _PATH.fullmatch(plain):
        return plain
    words = [word for word in re.sub(r"[^A-Za-z0-9_.-]+", "_", plain).split(".") if word]
    return f"{'.'.join(words)[: LONGEST_PATH - 9].rstrip('.')}-{_hash(id_)[:8]}"


def lava(runs: Sequence[Published]) -> Iterator[str]:
    """Commands for the shell of a LAVA job: a test set for each run, in it a test case for each scenario."""
    for run in (one.run for one in runs):
        yield shlex.join(("lava-test-set", "start", slug(*run.cell)))
        for id_, finding in run.findings.items():
            yield shlex.join(("lava-test-case", path_of(id_), "--result", LAVA_RESULT[finding.verdict]))
        yield "lava-test-set stop"


def kcidb(runs: Sequence[Published], origin: Origin) -> dict[str, Any]:
    """A submission: the checkouts, their builds, and for each run one test with one below it for each scenario.

    The same runs give the same ids, so that what is submitted again is not there twice. Raises MatrixError.
    """
    sources = {run.source_id or run.cell.source for run in (one.run for one in runs)}
    if origin.names_checkout and len(sources) > 1:
        raise MatrixError(
            f"--tree, --repository, --branch and --commit tell of one kernel, and these runs are of {len(sources)}: "
            "export those of each by themselves"
        )
    checkouts: dict[str, dict[str, Any]] = {}
    builds: dict[str, dict[str, Any]] = {}
    tests: list[dict[str, Any]] = []
    for one in runs:
        checkout = _checkout(one.run, origin)
        build = _build(one.run, origin, checkout["id"])
        # Of several runs the oldest says when it began.
        checkouts.setdefault(checkout["id"], checkout)
        builds.setdefault(build["id"], build)
        tests += _tests(one, origin, build["id"])
    return {
        "version": KCIDB_VERSION,
        "checkouts": list(checkouts.values()),
        "builds": list(builds.values()),
        "tests": tests,
    }


def _checkout(run: NewRun, origin: Origin) -> dict[str, Any]:
    known = _GIT.fullmatch(run.source_id)
    abbreviated = known["commit"] if known else ""
    if origin.commit and not origin.commit.startswith(abbreviated):
        raise MatrixError(f"--commit {origin.commit} is not what was tested: that was {abbreviated}")
    commit = origin.commit or (abbreviated if len(abbreviated) == 40 else "")
    url = known["url"] if known and _HTTPS.fullmatch(known["url"]) else ""
    facts = {
        "tree_name": origin.tree,
        "git_repository_url": origin.repository or url,
        "git_repository_branch": origin.branch,
        "git_commit_hash": commit,
    }
    return {
        "id": _id(origin, commit or run.source_id or run.digest),
        "origin": origin.name,
        "comment": shortened(run.source_id or f"{run.cell.source} ({run.release})", _LONGEST_COMMENT),
        "start_time": _time(run),
        "valid": True,
        **{key: value for key, value in facts.items() if value},
        # KCIDB's way to say that nothing was applied on top of the commit.
        **({"patchset_hash": ""} if commit else {}),
    }


def _build(run: NewRun, origin: Origin, checkout_id: str) -> dict[str, Any]:
    arch, config = run.cell.arch, run.cell.config
    if not re.fullmatch("[a-z0-9_]+", arch):
        raise MatrixError(f"KCIDB has no architecture '{shortened(arch, 60)}': it takes lower case, digits and _")
    return {
        "checkout_id": checkout_id,
        "id": _id(origin, checkout_id, run.release, arch, config),
        "origin": origin.name,
        "architecture": arch,
        "config_name": shortened(config, _LONGEST_COMMENT),
        "comment": run.release,
        "status": "PASS",
        **({} if run.build_s is None else {"duration": run.build_s}),
    }


def _tests(one: Published, origin: Origin, build_id: str) -> Iterator[dict[str, Any]]:
    run = one.run
    common = {
        "build_id": build_id,
        "origin": origin.name,
        "start_time": _time(run),
        "environment": _environment(run.cell, run.accel),
    }
    suite = f"dmasafe.{path_of(run.cell.suite)}"
    statuses = {KCIDB_STATUS[finding.verdict] for finding in run.findings.values()}
    seconds = [part for part in (run.boot_s, run.scenarios_s) if part is not None]
    yield {
        **common,
        "id": _id(origin, run.digest),
        "path": suite,
        "status": min(statuses, key=KCIDB_PRIORITY.index),
        **({"duration": sum(seconds)} if seconds else {}),
        **(_files(origin.url, one.place) if origin.url else {}),
        **({} if run.revision is None else {"misc": {"dmasafe_revision": run.revision}}),
    }
    for id_, finding in run.findings.items():
        yield {
            **common,
            "id": _id(origin, run.digest, id_),
            "path": f"{suite}.{path_of(id_)}",
            "status": KCIDB_STATUS[finding.verdict],
            **_said(run, id_, finding),
        }


def _said(run: NewRun, id_: str, finding: StoredJudgement) -> dict[str, Any]:
    """What came of a scenario, in words; at length only where somebody has to look."""
    misc = {
        "scenario": shortened(id_, _LONGEST_COMMENT),
        "expected": finding.expected,
        "outcome": finding.outcome,
        "splats": sorted({signature.splat_class for signature in finding.signatures}),
    }
    found: dict[str, Any] = {
        "comment": shortened(finding.why, _LONGEST_COMMENT),
        "misc": {key: value for key, value in misc.items() if value},
    }
    if finding.verdict not in (Verdict.PASS, Verdict.SKIP):
        found["log_excerpt"] = visible("\n".join(_explanation(finding, run.told[id_])))[:KCIDB_LONGEST_EXCERPT]
    return found


def _explanation(finding: StoredJudgement, told: Mapping[str, Any]) -> Iterator[str]:
    yield f"expected: {finding.expected or 'nothing'}"
    yield f"happened: {finding.outcome or 'nothing was observed'}"
    yield f"why: {told['why']}"
    for splat in told["splats"]:
        yield from splat_lines(splat_from_json(splat))


def _environment(cell: Cell, accel: str | None) -> dict[str, Any]:
    # Dashboards group by "platform".
    platform = shortened(cell.family.target, _LONGEST_COMMENT)
    return {"comment": f"{platform} ({accel})" if accel else platform, "misc": {"platform": platform}}


def _files(url: str, place: str) -> dict[str, Any]:
    base = url.rstrip("/") if place == "." else f"{url.rstrip('/')}/{quote(place)}"
    others = [{"name": name, "url": f"{base}/{name}"} for name in (RESULTS_JSON, CONSOLE_LOG)]
    return {"log_url": f"{base}/{KMSG_LOG}", "output_files": others}


def _time(run: NewRun) -> str:
    return datetime.fromtimestamp(run.time, UTC).isoformat()


def _id(origin: Origin, *words: str) -> str:
    return f"{origin.name}:{_hash(*words)}"


def _hash(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "backslashreplace")).hexdigest()[:32]
