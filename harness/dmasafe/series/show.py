# SPDX-License-Identifier: GPL-2.0-or-later
"""A verdict on a series for people and for machines: terminal, JSON, JUnit and KTAP, SARIF, a check of Patchwork's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

from dmasafe.audit import Level, Rule
from dmasafe.check import CHECK_RULES
from dmasafe.facts import KernelInfo
from dmasafe.outcome import Judgement
from dmasafe.outcome import Verdict as Word
from dmasafe.report import json_report, sarif
from dmasafe.report.check import sarif_result
from dmasafe.report.formats import formats
from dmasafe.report.results import Results, Row
from dmasafe.report.text import one_line, plural
from dmasafe.series.choose import Choice
from dmasafe.series.differ import BAD, UNTRUSTED, Kind
from dmasafe.series.run import Finding, Verdict
from dmasafe.series.tree import Commit

SCHEMA = 1
SCHEMA_FILE = Path(__file__).with_name("series.schema.json")
#: What Patchwork takes for the name of a check.
CONTEXT = "dmasafe"
_PATCHWORK = {0: "success", 1: "fail", 2: "warning"}
_ENDINGS = {0: ("nothing is worse", "green"), 1: ("worse", "bold red"), 2: ("it cannot be said", "bold yellow")}
_STYLE = {**dict.fromkeys(BAD, "bold red"), **dict.fromkeys(UNTRUSTED, "bold yellow"), Kind.BETTER: "green"}
_RULES = {
    Kind.BROKEN: Rule(
        True, "A commit does not build", "Every commit of a series must build.", "Move what mends it into the commit."
    ),
    Kind.WORSE: Rule(
        True, "The kernel does worse than at the base", "The same call on the same hardware went better at the base.",
        "Run the scenario on both, and read what is reported.",
    ),
    Kind.FLAKY: Rule(
        True, "The kernel does not do the same each time", "At the base it did.", "Look for a race."
    ),
    Kind.SLOWER: Rule(
        True, "A call takes longer than at the base", "Beside all other calls of the run, each time.",
        "Look at what the call does now.",
    ),
}  # fmt: skip


def ending(verdict: Verdict) -> str:
    """The whole in a line."""
    counts = {kind: len(verdict.of({kind})) for kind in Kind if kind is not Kind.OTHER}
    told = [f"{count} {kind}" for kind, count in counts.items() if count]
    if not verdict.runs and not verdict.checked_files and not told:
        return "nothing of it is built or checked here: nothing is worse"
    return f"{', '.join(told) or 'no difference'}: {_ENDINGS[verdict.exit_status][0]}"


def table(verdict: Verdict) -> Iterator[Text]:
    """Lines for a terminal: what was run and why, each difference with the commit it is of, the end."""
    series = verdict.series
    yield Text(f"{plural(len(series.commits), 'commit')} on {_named(series.base)}, {series.based_on}", "bold")
    yield from (Text(f"note: {note}") for note in series.notes)
    yield from (Text(f"  {line}", "dim") for line in chosen(verdict.choice))
    for kind in Kind:
        findings = verdict.of({kind})
        if findings:
            yield Text(f"\n{kind.upper()}", _STYLE.get(kind, ""))
        for one in findings:
            yield from _finding(one)
    yield Text()
    if verdict.compared:
        yield Text(f"{plural(verdict.compared, 'verdict')} compared")
    if verdict.broken_in_both:
        yield Text(f"{plural(verdict.broken_in_both, 'row')} not as expected at the base, and alike now: not counted")
    if verdict.tried:
        yield Text(f"{plural(verdict.tried, 'commit')} built, one after the other")
    elif any(len(one.suspects) > 1 for one in verdict.findings):
        yield Text("with --each the commits are told apart")
    yield Text(ending(verdict), _ENDINGS[verdict.exit_status][1])


def chosen(choice: Choice) -> Iterator[str]:
    """What is run, and why."""
    yield from map(one_line, choice.reasons)
    if choice.checked:
        yield f"source only: {_some(choice.checked)}: nothing here runs it"
    if choice.nothing:
        yield f"nothing: {_some(choice.nothing)}"


def _finding(one: Finding) -> Iterator[Text]:
    yield Text(f"  {one_line(one.what)}")
    yield from (Text(f"    {one_line(line)}") for line in details(one))
    yield Text(f"    {of_commits(one)}")


def details(one: Finding) -> Iterator[str]:
    """What else is known of a finding, line by line."""
    if one.why:
        yield one.why
    if one.blame:
        yield f"blame: {one.blame}"
    if one.ids:
        yield f"{one.where}; in {one.again[0]} of {one.again[1]} runs"
    if one.unexpected and one.kind in (Kind.BETTER, Kind.OTHER):
        yield "the model expects what the base does: it has to learn this"


def of_commits(one: Finding) -> str:
    """``of 0123456789ab (its subject)``, or of which of several."""
    names = [_named(commit) for commit in one.suspects]
    if len(names) < 2:
        return f"of {names[0]}" if names else "of no commit alone"
    return f"of one of {len(names)} commits, {names[0]} to {names[-1]}"


def _named(commit: Commit) -> str:
    return f"{commit.sha[:12]} ({one_line(commit.subject)})"


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def to_json(verdict: Verdict) -> dict[str, Any]:
    """See series.schema.json and docs/series.md."""
    series, choice = verdict.series, verdict.choice
    return {
        "schema": SCHEMA,
        "status": verdict.exit_status,
        "base": _commit(series.base),
        "based_on": series.based_on,
        "commits": [_commit(commit) for commit in series.commits],
        "notes": list(series.notes),
        "reasons": list(choice.reasons),
        "source_only": list(choice.checked),
        "nothing": list(choice.nothing),
        "jobs": [
            {
                "suite": run.job.suite,
                "config": run.job.configuration,
                "arch": run.job.arch,
                "only": list(run.job.only),
                "base": _kernel(run.before[0]),
                "tip": _kernel(run.after[0]),
                "runs": len(run.after),
            }
            for run in verdict.runs
        ],
        "checked_files": verdict.checked_files,
        "compared": verdict.compared,
        "broken_in_both": verdict.broken_in_both,
        "commits_built": verdict.tried,
        "findings": [
            {
                "kind": one.kind.name.lower(),
                "where": one.where,
                "what": one.what,
                "why": one.why,
                "blame": one.blame,
                "scenarios": list(one.ids),
                "seen": {"runs": one.again[1], "times": one.again[0]},
                "commits": [commit.sha for commit in one.suspects],
                "file": one.file or None,
                "line": one.line or None,
                "unexpected": one.unexpected,
                "check": one.checked.to_json() if one.checked else None,
            }
            for one in verdict.findings
        ],
        "seconds": round(verdict.seconds, 3),
    }


def _commit(commit: Commit) -> dict[str, Any]:
    told = {"commit": commit.sha, "subject": commit.subject, "author": commit.author}
    return told | ({"message_id": commit.message_id} if commit.message_id else {})


def _kernel(results: Results) -> str:
    return f"{results.kernel.release}, {results.kernel.source}"


def as_results(verdict: Verdict, command: str) -> Results:
    """The differences as rows, and one row for each job: what the report formats take."""
    places: dict[str, list[Finding]] = {run.job.name: [] for run in verdict.runs}
    if verdict.checked_files:
        places.setdefault("source", [])
    for one in verdict.findings:
        places.setdefault(one.where, []).append(one)
    rows = []
    for place, findings in places.items():
        bad = [one for one in findings if one.kind in BAD | UNTRUSTED]
        for one in findings:
            why = "; ".join((*details(one), of_commits(one)))
            rows.append(_row(place, one.what, one.kind, why, command))
        if not bad:
            rows.append(_row(place, f"{place}: nothing is worse", None, "as at the base", command))
    first = next((run.after[0] for run in verdict.runs), None)
    kernel = first.kernel if first else KernelInfo("none", "none", "none", verdict.series.tip.sha)
    accel = first.accel if first else None
    return Results("series", "qemu", kernel, accel, True, tuple(rows), total_s=verdict.seconds)


def _row(place: str, name: str, kind: Kind | None, why: str, command: str) -> Row:
    word = Word.FAIL if kind in BAD else Word.INCONCLUSIVE if kind in UNTRUSTED else Word.PASS
    judgement = Judgement(word, None, None, why if kind is None else f"{kind}: {why}")
    return Row(name, "", kind.name.lower() if kind else "same", place, None, 0, judgement, command=command)


def to_sarif(verdict: Verdict) -> str:
    """A SARIF 2.1.0 log of what is bad; each result is where it shows, else at the change that is shown for it."""
    bad = verdict.of(BAD)
    slugs = list(dict.fromkeys(one.checked.rule if one.checked else one.kind.name.lower() for one in bad))
    told = {kind.name.lower(): rule for kind, rule in _RULES.items()} | dict(CHECK_RULES)
    rules = [sarif.rule(slug, told[slug]) for slug in slugs]
    return sarif.document(rules, [_sarif(one, slugs) for one in bad])


def _sarif(one: Finding, slugs: list[str]) -> dict[str, Any]:
    if one.checked is not None:
        return sarif_result(one.checked, slugs)
    file, line = one.file, one.line
    if not file and one.hunks:
        file, line = one.hunks[0].file, one.hunks[0].line
    slug = one.kind.name.lower()
    return {
        "ruleId": slug,
        "ruleIndex": slugs.index(slug),
        "level": str(Level.ERROR),
        "message": {"text": one_line("; ".join((one.what, *details(one), of_commits(one))))},
        # A log for GitHub needs a place.
        "locations": [{"physicalLocation": sarif.physical(file or "Makefile", line or 1)}],
    }


def patchwork(verdict: Verdict, url: str | None) -> dict[str, Any]:
    """What is posted to /api/patches/ID/checks/."""
    told = {"state": _PATCHWORK[verdict.exit_status], "context": CONTEXT, "description": ending(verdict)[:255]}
    return told | ({"target_url": url} if url else {})


def files(verdict: Verdict, command: str, mail: str) -> Mapping[str, str]:
    """All that lies in the directory of results."""
    results = as_results(verdict, command)
    found = {
        "series.json": json.dumps(to_json(verdict), indent=1) + "\n",
        "series.sarif": to_sarif(verdict),
        "mail.txt": mail,
        **{each.FILE: each.render(results) for each in formats().values()},
    }
    for number, run in enumerate(verdict.runs, 1):
        for side, all_ in (("base", run.before), ("tip", run.after)):
            name = f"{number}-{run.job.suite}-{run.job.arch}-{run.job.configuration}-{side}.json"
            found[name.replace("/", "_")] = json_report.render(all_[0])
    return found
