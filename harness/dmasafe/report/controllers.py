# SPDX-License-Identifier: GPL-2.0-or-later
"""What each of upstream's controller drivers with DMA does with a buffer: the tables of docs/controllers.md.

By reading, from the policies of devices/hosts; by measurement, from runs of suite hosts.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import wrap

from dmasafe.devices.hosts import hosts
from dmasafe.devices.hosts.others import UNMODELLED
from dmasafe.host_policy import Ending, HostPolicy, Path, Rule, Version
from dmasafe.outcome import Verdict
from dmasafe.report import ReportError
from dmasafe.report.buses import Fate
from dmasafe.report.results import Results
from dmasafe.vocabulary import BUFFER_KINDS, OPERATIONS

# Of a document.
WIDTH = 100
VERSIONS: tuple[Version, ...] = ((6, 12), (7, 3))
_WORDS = {
    Path.HELPER: "helper",
    Path.MAPS: "**maps it**",
    Path.PIO: "PIO",
    Path.OWN: "own buffer",
    Path.REFUSED: "refused",
}
# Where buffers lie as is_vmalloc_addr() and the mark tell them apart, for the columns by measurement.
_PLACES: Mapping[str, tuple[str, ...]] = {
    "kmalloc() and its like": tuple(k for k in BUFFER_KINDS if k not in ("stack", "vmalloc") and "module" not in k),
    "stack": ("stack",),
    "vmalloc()": ("vmalloc",),
    "a module's data": ("module-data", "module-rodata"),
}


def policies() -> dict[str, tuple[HostPolicy, str]]:
    """Every driver's policy by the name of its host, and why there is no hardware for it, or nothing."""
    return dict(sorted({**{name: (host.policy, "") for name, host in hosts().items()}, **UNMODELLED}.items()))


def by_reading() -> Iterator[str]:
    """Lines of Markdown: a row for each driver."""
    yield _row("driver", "not marked", "marked", "not acknowledged", "time-out")
    yield _row(*["---"] * 5)
    for name, (policy, _why) in policies().items():
        cells = [_versions(policy, marked) for marked in (False, True)]
        endings = [_ending(endings) for endings in (policy.nak, policy.timeout)]
        yield _row(f"[{name}](#{name})", *cells, *endings)


def each_driver() -> Iterator[str]:
    """Lines of Markdown: a section for each driver, with the lines at which it was read."""
    for name, (policy, why) in policies().items():
        yield f"\n### {name}\n"
        if why:
            yield from (*_item(f"No emulated hardware: {why}."), "")
        for rule in policy.rules:
            yield from _item(f"{_since(rule.since, rule.until)}{_whom(rule)}: {rule.path} ({rule.line})")
        for what, endings in (
            ("Not acknowledged", policy.nak),
            ("A byte that is not acknowledged", policy.nak_data),
            ("Arbitration lost", policy.lost),
            ("Time-out", policy.timeout),
        ):
            for ending in endings:
                since = _since(ending.since, ending.until)
                yield from _item(f"{what}: {since}-{_code(ending)}; {ending.what} ({ending.line})")
        for note in policy.notes:
            yield from _item(f"{note[0].upper()}{note[1:]}")


def _item(text: str) -> list[str]:
    return wrap(
        text, WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _whom(rule: Rule) -> str:
    """Which messages a rule is for."""
    way = {True: "reads", False: "writes", None: "messages"}[rule.reads]
    lengths = f"of {rule.least} to {rule.most} bytes" if rule.most is not None else f"of {rule.least} bytes and more"
    if rule.most == 0:
        lengths = "without data"
    elif rule.most is None and not rule.least:
        lengths = ""
    mark = {True: "marked", False: "not marked", None: ""}[rule.marked]
    place = {True: "in vmalloc space", False: "not in vmalloc space", None: ""}[rule.vmalloc]
    return " ".join(word for word in (way, mark, place, lengths) if word)


def by_measurement(runs: Sequence[Results]) -> Iterator[str]:
    """Lines of Markdown: a row for each host and kernel. Raises ReportError if nothing of suite hosts was run.

    The cells are of what happened as it was read; the last column says how much that is.
    """
    columns = [(place, kinds, marked) for place, kinds in _PLACES.items() for marked in (False, True)]
    head = (f"{place}, {'marked' if marked else 'not marked'}" for place, _, marked in columns)
    yield _row("driver", "kernel", *head, "as read")
    yield _row(*["---"] * (3 + len(columns)))
    verdicts: dict[tuple[str, str], Counter[Verdict]] = {}
    for run in runs:
        for row in run.rows:
            if row.controller in hosts() and row.judgement.verdict is not Verdict.SKIP:
                verdicts.setdefault((row.controller, run.kernel.release), Counter())[row.judgement.verdict] += 1
    if not verdicts:
        raise ReportError("there is no scenario of suite hosts in these results")
    for (name, release), counts in sorted(verdicts.items()):
        found = [_fates(runs, name, release, kinds, marked) for _place, kinds, marked in columns]
        smbus = hosts()[name].policy.smbus
        if any(found) or smbus:
            told = counts[Verdict.PASS] + counts[Verdict.FAIL]
            untold = f", {counts.total() - told} cannot be told" if counts.total() > told else ""
            # Buffers of every kind are for I2C messages.
            cells = ["SMBus calls only", *[""] * (len(found) - 1)] if smbus else list(map(_cell, found))
            yield _row(f"`{name}`", release, *cells, f"{counts[Verdict.PASS]} of {told}{untold}")


def _fates(
    runs: Iterable[Results], name: str, release: str, kinds: Sequence[str], marked: bool
) -> list[tuple[int, str]]:
    """(length, what became of it) of these scenarios, in order of length."""
    found = []
    for run in runs:
        for row in run.rows if run.kernel.release == release else ():
            judgement, operation = row.judgement, OPERATIONS.get(row.operation)
            mine = row.controller == name and row.buffer in kinds and operation is not None
            if not mine or operation is None or operation.marked is not marked or judgement.verdict is not Verdict.PASS:
                continue
            assert judgement.outcome is not None
            classes = tuple(splat.splat_class for splat in judgement.splats)
            found.append((row.length, Fate(judgement.outcome, classes, judgement.direct).text))
    return sorted(found)


def _cell(fates: Sequence[tuple[int, str]]) -> str:
    """Lengths that fare alike together."""
    parts: list[tuple[int, int, str]] = []
    by_length: dict[int, list[str]] = {}
    for length, text in fates:
        by_length.setdefault(length, []).append(text)
    for length, texts in by_length.items():
        text = " or ".join(dict.fromkeys(texts))
        if parts and parts[-1][2] == text:
            parts[-1] = (parts[-1][0], length, text)
        else:
            parts.append((length, length, text))
    if len(parts) == 1:
        return parts[0][2]
    return "; ".join(f"{text} ({first if first == last else f'{first} to {last}'})" for first, last, text in parts)


def _versions(policy: HostPolicy, marked: bool) -> str:
    """One cell, with the versions in it if they differ."""
    texts = {version: _way(policy, version, marked) for version in VERSIONS}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{major}.{minor}: {text}" for (major, minor), text in texts.items())


def _way(policy: HostPolicy, version: Version, marked: bool) -> str:
    """Which way messages go by their length, and which way those of vmalloc() if it is another."""
    ways = {vmalloc: _ranges(policy, version, marked, vmalloc) for vmalloc in (False, True)}
    return ways[False] if ways[False] == ways[True] else f"{ways[False]}; vmalloc(): {ways[True]}"


def _ranges(policy: HostPolicy, version: Version, marked: bool, vmalloc: bool) -> str:
    both = [_of_one_way(policy, version, marked, vmalloc, reads) for reads in (True, False)]
    return both[0] if both[0] == both[1] else f"read {both[0]}, write {both[1]}"


def _of_one_way(policy: HostPolicy, version: Version, marked: bool, vmalloc: bool, reads: bool) -> str:
    starts = [1, *(start for start in policy.thresholds(version) if start > 1)]
    parts: list[tuple[int, str]] = []
    for start in starts:
        rule = policy.rule(version, start, reads, marked, vmalloc)
        if not parts or parts[-1][1] != _WORDS[rule.path]:
            parts.append((start, _WORDS[rule.path]))
    return ", ".join(text if start == 1 else f"{text} from {start} bytes" for start, text in parts)


def _ending(endings: Sequence[Ending]) -> str:
    """One cell, with the versions in it if they differ."""
    texts = [f"-{_code(ending)}{' **!**' if ending.unsafe else ''}" for ending in endings]
    if len(set(texts)) == 1:
        return texts[0]
    return "; ".join(_since(ending.since, ending.until) + text for ending, text in zip(endings, texts, strict=True))


def _code(ending: Ending) -> str:
    return errno.errorcode.get(ending.errno, str(ending.errno))


def _since(since: Version, until: Version | None) -> str:
    if until is not None:
        return f"before {until[0]}.{until[1]}: "
    return f"since {since[0]}.{since[1]}: " if since > (0, 0) else ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
