# SPDX-License-Identifier: GPL-2.0-or-later
"""A verdict on a series as a plain-text reply, as one would write it: who reads it wants the patch, the fact, the way.

It is written for the user, who reads, edits and sends it; nothing here sends anything.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from dmasafe.prove.candidates import is_candidate
from dmasafe.report.text import plural
from dmasafe.series.differ import BAD, UNTRUSTED, Kind
from dmasafe.series.run import Finding, Verdict, by_commit
from dmasafe.series.tree import Commit

WIDTH = 72
_WORDS = {
    "SAFE": "right data, and no report of the kernel's",
    "CAUGHT": "the kernel reported it",
    "SILENT": "wrong data, or memory damaged, and no report",
    "REFUSED": "an error, and nothing was transferred",
}
#: Scenarios that are named in full.
NAMED = 3


def render(verdict: Verdict, command: str, sender: str) -> str:
    """The mail, with headers. ``sender`` is the user as git knows him, ``command`` what he typed."""
    series = verdict.series
    guilty = [commit for one in verdict.of(BAD) for commit in one.suspects[:1] if len(one.suspects) == 1]
    answered = guilty[0] if len(set(guilty)) == 1 else series.commits[0]
    lines = [f"From: {sender}"] if sender else []
    lines.append(f"Subject: Re: {_numbered(series.commits, answered)}")
    if answered.message_id:
        lines += [f"In-Reply-To: {answered.message_id}", f"References: {answered.message_id}"]
    body = [_opening(verdict)]
    order = {commit: number for number, commit in enumerate(series.commits)}
    groups = sorted(by_commit(verdict.of(BAD)).items(), key=lambda each: [order[commit] for commit in each[0]])
    for commits, findings in groups:
        body += _of(series.commits, commits, findings)
    body += _rest(verdict)
    if verdict.exit_status == 0 and verdict.runs:
        cells = ", ".join(dict.fromkeys(f"{arch} {name}" for name, arch in verdict.choice.cells))
        body.append(f"Tested-by: {sender or 'NAME <ADDRESS>'} # dmasafe, {cells}")
    body.append(f"Tested with:\n  {command}")
    body += _legend("\n".join(body))
    return "\n".join(lines) + "\n\n" + "\n\n".join(body) + "\n"


def _opening(verdict: Verdict) -> str:
    base, bad = verdict.series.base, verdict.of(BAD)
    judged = f" {plural(verdict.compared, 'verdict')} could be compared." if verdict.compared else ""
    cells = " and ".join(dict.fromkeys(f"{arch} {name}" for name, arch in verdict.choice.cells))
    ran = f"with dmasafe in QEMU ({cells})" if cells else "with dmasafe, in its source only"
    if bad:
        end = f"With the series {plural(len(bad), 'thing')} {'is' if len(bad) == 1 else 'are'} worse:"
    elif verdict.of(UNTRUSTED):
        end = "Whether something is worse cannot be said:"
    else:
        end = "Nothing is worse with the series."
    first = f'I compared this series with its base, {base.sha[:12]} ("{base.subject}"), {ran}.'
    return _wrapped(f"{first}{judged} {end}")


def _of(series: Sequence[Commit], commits: tuple[Commit, ...], findings: Iterable[Finding]) -> Iterator[str]:
    findings = list(findings)
    if len(commits) == 1:
        yield f"# {_numbered(series, commits[0])}"
    elif commits:
        ends = f"{_numbered(series, commits[0])} to {_numbered(series, commits[-1])}"
        yield _wrapped(f"# one of {len(commits)} commits, {ends}")
    shown: set[str] = set()
    for one in findings:
        for hunk in one.hunks:
            if hunk.text not in shown:
                shown.add(hunk.text)
                text = f"--- a/{hunk.file}\n{hunk.text.rstrip()}"
                yield "\n".join(f"> {line}".rstrip() for line in text.split("\n"))
        yield from _said(one)


def _said(one: Finding) -> Iterator[str]:
    if one.kind in (Kind.BROKEN, Kind.CHECKED):
        text = one.what.partition(") does not build")[2] if one.kind is Kind.BROKEN else f" {one.what}"
        head = f"This does not build{text}:" if one.kind is Kind.BROKEN else f"The source check says{text}:"
        yield _wrapped(head) + "\n" + _wrapped(one.why, "  ")
        if one.checked is not None and is_candidate(one.checked):
            yield f"To see it in a boot:\n  dmasafe prove --kernel . {one.file}:{one.line}"
        return
    times = f", in {one.again[0]} of {one.again[1]} runs" if one.again[1] > 1 else ""
    if one.kind is Kind.SLOWER:
        yield _wrapped(f"{one.what} ({one.where}{times}).")
        return
    before, _, after = one.what.partition(": ")[2].partition(" -> ")
    head = _wrapped(f"{plural(len(one.ids), 'scenario')} of {one.where}{times}:")
    told = [head, f"  base: {before}", f"  now:  {after}"]
    if one.blame:
        told.append(_wrapped(f"blame: {one.blame}", "  "))
    if one.why:
        told.append(_wrapped(one.why, "  "))
    yield "\n".join(told)
    yield "\n".join(["To see it:", *(f"  {line}" for line in again(one))])


def again(one: Finding) -> list[str]:
    """Commands that show it on the tree that is checked out, by the first few of its scenarios."""
    arch, configuration = one.where.rpartition(" on ")[2].split(" ", 1)
    options = "" if configuration == "default" else f" --config {configuration}"
    if one.where.startswith("clients"):
        client, phase, place = one.ids[0].split("/", 2)
        return [
            f"dmasafe clients {client} --phase {phase} --place {place} \\",
            f"  --kernel . --config {configuration}",
        ]
    *more, last = [f"  '{id_}'" for id_ in one.ids[:NAMED]]
    return [f"dmasafe run --kernel . --arch {arch}{options} \\", *(f"{line} \\" for line in more), last]


def _rest(verdict: Verdict) -> Iterator[str]:
    for one in verdict.of(UNTRUSTED):
        yield _wrapped(f"Nothing can be said of {one.what} ({one.where}): {one.why}")
    better = verdict.of({Kind.BETTER})
    if better:
        yield "\n".join(["Better than before:", *(_wrapped(one.what, "  ") for one in better)])
    if verdict.broken_in_both:
        both = plural(verdict.broken_in_both, "scenario")
        yield _wrapped(f"{both} went wrong at the base, too: not counted.")
    if verdict.tried:
        yield _wrapped(f"Each of the {plural(verdict.tried, 'commit')} was built.")


def _legend(said: str) -> Iterator[str]:
    """What the words mean that the mail has."""
    words = [f"{word}: {meaning}" for word, meaning in _WORDS.items() if f" {word}" in said]
    if words:
        yield "\n".join(map(_wrapped, words))


def _numbered(series: Sequence[Commit], commit: Commit) -> str:
    number = series.index(commit) + 1 if commit in series else 0
    return f"[PATCH {number}/{len(series)}] {commit.subject}" if len(series) > 1 else f"[PATCH] {commit.subject}"


def _wrapped(text: str, indent: str = "") -> str:
    """Paragraphs of 72 columns; what has no blank stays whole."""
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )  # fmt: skip
