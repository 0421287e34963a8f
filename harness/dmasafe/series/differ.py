# SPDX-License-Identifier: GPL-2.0-or-later
"""Base and tip compared: which rows differ, in which direction, and how slow they have become.

A direction is one of outcomes, not of verdicts: what a series mends is better, although the model does not know of it.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from dmasafe.devices.hosts import hosts
from dmasafe.dmesg import blame
from dmasafe.outcome import Judgement, Outcome, Splat, Verdict
from dmasafe.report.results import Results, Row
from dmasafe.report.splat_text import blamed
from dmasafe.report.text import general
from dmasafe.vocabulary import ABSENT_ADDRESS

#: What is in doubt is run so often: what is slower, and what went wrong once.
DOUBTFUL_RUNS = 6
#: So much slower than the rest is more than noise, by the best of each row's runs.
SLOWER = 2.0
#: Of so many rows at least.
SLOWER_ROWS = 8
#: So many rows are measured again beside them.
REFERENCES = 40
_TRUSTED = (Verdict.PASS, Verdict.FAIL)
#: Buffer kinds that a device may take as they are.
_FIT = frozenset({"heap", "devm", "kmem-cache", "pages", "user"})
#: Those that no device may take as they are, on any machine.
_UNFIT = frozenset({"stack", "rodata", "module-rodata", "module-data", "vmalloc"})
#: Reports that say of what kind the memory is.
_OF_MEMORY = frozenset({
    "map-stack", "map-vmalloc", "map-vmalloc-rejected", "map-invalid-area", "map-text-or-rodata",
    "usb-buffer-on-stack", "usb-buffer-not-dma-capable", "strict-memory",
})  # fmt: skip
#: Those, and that others share its lines: what may be true of it whoever maps it, unlike a mistake of who does.
_OF_PLACE = _OF_MEMORY | {"cacheline-overlap"}
_ABSENT = f"@{ABSENT_ADDRESS:x}"
_RANK = {Outcome.SAFE: 0, Outcome.REFUSED: 1, Outcome.CAUGHT: 2, Outcome.SILENT: 3}


class Kind(StrEnum):
    """What became of something; the order is that of a report."""

    BROKEN = "does not build"
    WORSE = "worse"
    FLAKY = "not the same each time"
    CHECKED = "found in the source"
    SLOWER = "slower"
    UNSAID = "nothing can be said"
    GONE = "no longer judged"
    OTHER = "otherwise than before, neither better nor worse"
    BETTER = "better"


#: What a series should not do, and what hides whether it does.
BAD = frozenset({Kind.BROKEN, Kind.WORSE, Kind.FLAKY, Kind.CHECKED, Kind.SLOWER})
UNTRUSTED = frozenset({Kind.UNSAID, Kind.GONE})


@dataclass(frozen=True)
class Changed:
    """Rows to which the same happened: ``ids``, with ``before`` and ``after`` in words, and ``why`` of the first.

    ``blame`` is whom a report that is new names, ``function`` that without its place. ``again``: in how many of how
    many runs of the tip. ``unexpected``: the model expects something else, and did not before.
    """

    kind: Kind
    before: str
    after: str
    why: str
    ids: tuple[str, ...]
    blame: str = ""
    function: str = ""
    again: tuple[int, int] = (1, 1)
    unexpected: bool = False


Judgements = Mapping[str, Sequence[Judgement]]


def judgements(runs: Iterable[Results]) -> dict[str, list[Judgement]]:
    """Each row with its judgements of all runs. A run that is not trusted has no word."""
    found: dict[str, list[Judgement]] = {}
    for run in runs:
        doubt = run.reason or (None if run.canary_splatted else "the canary did not splat")
        for row in run.rows:
            judgement = row.judgement
            if doubt is not None and judgement.verdict in _TRUSTED:
                judgement = replace(judgement, verdict=Verdict.INCONCLUSIVE, why=doubt)
            found.setdefault(row.id, []).append(judgement)
    return found


def differing(before: Judgements, after: Judgements) -> dict[str, Kind]:
    """The rows that differ, in the tip's order."""
    kinds = {id_: _kind(id_, before.get(id_, ()), after.get(id_, ())) for id_ in {**after, **before}}
    return {id_: kind for id_, kind in kinds.items() if kind is not None}


def changed(before: Judgements, after: Judgements) -> list[Changed]:
    """What differs, rows of the same kind together."""
    groups: dict[tuple[Kind, str, str, str, str, bool], list[str]] = {}
    whys: dict[str, str] = {}
    counts: dict[str, tuple[int, int]] = {}
    for id_, kind in differing(before, after).items():
        runs = after.get(id_, ())
        was, fresh = _worst(before.get(id_, ())), _fresh(before.get(id_, ()), runs)
        unsaid = [one for one in runs if one.verdict not in _TRUSTED]
        # Of what is not judged, why it is not.
        untold = kind in UNTRUSTED or (not fresh and bool(unsaid))
        if untold:
            now = unsaid[0] if unsaid else _worst(runs)
        else:
            now = _worst_way(id_, was, fresh) if was is not None and was.outcome and fresh else _worst(runs)
        word = was if kind is Kind.UNSAID and not unsaid else now or was
        assert word is not None
        counts[id_] = len(unsaid if untold else fresh), len(runs)
        known = set(map(_key, was.splats)) if was is not None else set()
        new = [one for one in (now.splats if now is not None else ()) if _key(one) not in known]
        unexpected = now is not None and now.verdict is Verdict.FAIL and (was is None or was.verdict is Verdict.PASS)
        whys[id_] = "" if kind is Kind.BETTER else general(word.why)
        place, function = (blamed(new[0]), _key(new[0])[1]) if new else ("", "")
        groups.setdefault((kind, said(was), said(now), place, function, unexpected), []).append(id_)
    found = [
        Changed(kind, was, now, whys[ids[0]], tuple(ids), place, function, min(counts[id_] for id_ in ids), unexpected)
        for (kind, was, now, place, function, unexpected), ids in groups.items()
    ]
    order = list(Kind)
    return sorted(found, key=lambda one: (order.index(one.kind), -len(one.ids)))


def once(before: Judgements, after: Judgements) -> set[str]:
    """The rows that were lost once at the tip, or gave an error once, and never at the base: a busy machine does so."""
    return {id_ for id_ in before.keys() & after.keys() if _once(before[id_], after[id_])}


def _once(before: Sequence[Judgement], after: Sequence[Judgement]) -> bool:
    lost = len(after) - len(_said(after))
    odd = [one for one in _fresh(before, after) if one.outcome is Outcome.REFUSED]
    fresh = len(_fresh(before, after))
    return len(_said(before)) == len(before) > 1 and lost + fresh == 1 and (lost == 1 or len(odd) == 1)


def broken_in_both(before: Judgements, after: Judgements) -> int:
    """How many rows fail at the base and alike at the tip."""
    both = before.keys() & after.keys() - differing(before, after).keys()
    return sum(any(one.verdict is Verdict.FAIL for one in after[id_]) for id_ in both)


def compared(before: Judgements, after: Judgements) -> int:
    """How many rows were judged at both."""
    return sum(bool(_said(before[id_]) and _said(after[id_])) for id_ in before.keys() & after.keys())


def slower(before: Sequence[Results], after: Sequence[Results]) -> dict[str, tuple[float, list[str]]]:
    """Calls on a controller that take longer than at the base, as (times longer, rows), against what all others do.

    A whole run is faster or slower with the machine's load: only what is slower than the rest of it counts. So may be
    a part of it: of several runs, the best of each row that all of them have.
    """
    was, now = _times(before), _times(after)
    ratios = {id_: now[id_][1] / was[id_][1] for id_ in was.keys() & now.keys()}
    if not ratios:
        return {}
    usual = _quartile(ratios.values())
    groups: dict[str, list[str]] = {}
    for id_ in ratios:
        groups.setdefault(now[id_][0], []).append(id_)
    found = {}
    for name, ids in groups.items():
        mine = sorted(ratios[id_] / usual for id_ in ids)
        if len(ids) >= SLOWER_ROWS and _quartile(mine) > SLOWER:
            found[name] = (statistics.median(mine), ids)
    return found


def references(before: Sequence[Results], after: Sequence[Results], slow: Collection[str]) -> set[str]:
    """Rows beside the slow ones, to see them beside: some of each part of the run."""
    others = [id_ for id_ in _times(before).keys() & _times(after).keys() if id_ not in slow]
    return set(sorted(others)[:: max(1, len(others) // REFERENCES)])


def _quartile(ratios: Iterable[float]) -> float:
    """What three of four exceed: one that had to wait is no news."""
    found = sorted(ratios)
    return found[len(found) // 4]


def said(judgement: Judgement | None) -> str:
    """What happened, in words."""
    if judgement is None:
        return "nothing"
    if judgement.outcome is None or judgement.verdict not in _TRUSTED:
        return str(judgement.verdict)
    classes = sorted({splat.splat_class for splat in judgement.splats})
    if classes:
        return f"{judgement.outcome} ({', '.join(classes)})"
    ways = {True: ", straight from the caller's buffer", False: ", through another buffer", None: ""}
    return f"{judgement.outcome}{ways[judgement.direct]}"


def _times(runs: Sequence[Results]) -> dict[str, tuple[str, float]]:
    """The best time of each row that went well in every run, with what it is of."""
    found: dict[str, tuple[str, float]] = {}
    often: Counter[str] = Counter()
    for row in (row for run in runs for row in run.rows):
        us = row.judgement.us
        if us and row.judgement.outcome is Outcome.SAFE:
            name = f"{row.operation} on {row.place}"
            found[row.id] = (name, min(us, found[row.id][1] if row.id in found else us))
            often[row.id] += 1
    return {id_: one for id_, one in found.items() if often[id_] == len(runs)}


def _kind(id_: str, before: Sequence[Judgement], after: Sequence[Judgement]) -> Kind | None:
    was, now = _said(before), _said(after)
    unknown = any(one.verdict is not Verdict.SKIP for one in before)
    if not now:
        if any(one.verdict is not Verdict.SKIP for one in after):
            return Kind.UNSAID
        return Kind.GONE if unknown else None
    if not was:
        failed = [one for one in now if one.verdict is Verdict.FAIL]
        if unknown or not failed:
            return Kind.UNSAID if unknown else None
        return Kind.WORSE if len(failed) == len(now) else Kind.FLAKY
    if len(after) >= DOUBTFUL_RUNS and _once(before, after):
        return Kind.OTHER
    # What is lost now and then, and never was, may be the series' doing.
    quiet = Kind.UNSAID if len(now) < len(after) and len(was) == len(before) else None
    fresh, worst = _fresh(before, after), _worst(was)
    if not fresh or worst is None:
        return quiet
    kind = _direction(id_, worst, _worst_way(id_, worst, fresh))
    if len(fresh) == len(now):
        return kind if kind is Kind.WORSE else quiet or kind
    return Kind.FLAKY if kind is Kind.WORSE else quiet


def _worst_way(id_: str, was: Judgement, fresh: Sequence[Judgement]) -> Judgement:
    """Of what is new, what went the worst way."""
    order = list(Kind)
    return min(sorted(fresh, key=_rank, reverse=True), key=lambda one: order.index(_direction(id_, was, one)))


def _direction(id_: str, was: Judgement, now: Judgement) -> Kind:
    assert was.outcome is not None and now.outcome is not None
    change = _RANK[now.outcome] - _RANK[was.outcome]
    buffer = id_.split("/")[0]
    unfit = buffer in _UNFIT
    classes, known = ({splat.splat_class for splat in one.splats} for one in (now, was))
    # The device took it before, and nobody said so.
    taken = was.direct is True and was.outcome is not Outcome.CAUGHT
    if unfit and not taken and now.direct is True and now.outcome is Outcome.SAFE:
        return Kind.WORSE
    if change > 0:
        reported = now.outcome is Outcome.CAUGHT and now.direct is True and classes <= _OF_MEMORY
        return Kind.BETTER if unfit and taken and reported else Kind.WORSE
    if change < 0:
        # A mistake is seeded, or nobody is there: somebody must notice.
        wrong = "+fault=" in id_ or (now.outcome is Outcome.SAFE and _ABSENT in id_)
        # Nobody reports it any more, and the device takes the same memory as before. What is left mapped by mistake
        # shares its lines with the next mapping, so beside another report that it is shared says nothing.
        of_place = bool(known & _OF_MEMORY) or known <= _OF_PLACE
        unreported = was.outcome is Outcome.CAUGHT and now.direct is True and of_place
        unnoticed = unreported or (wrong and was.outcome is not Outcome.SILENT)
        return Kind.WORSE if unnoticed and now.verdict is Verdict.FAIL else Kind.BETTER
    if "+fault=" not in id_ and classes < known and not (known - classes) & _OF_PLACE:
        return Kind.BETTER
    if was.verdict is now.verdict:
        return Kind.WORSE if now.verdict is Verdict.FAIL and classes - known else Kind.OTHER
    if was.direct is True and now.direct is False and _luck(id_):
        return Kind.OTHER
    if was.direct is False and now.direct is True and buffer in _FIT:
        # A copy less, of memory that needs none.
        return Kind.BETTER
    return Kind.WORSE if now.verdict is Verdict.FAIL else Kind.BETTER


def _luck(id_: str) -> bool:
    """Whether a host's driver that maps the caller's buffer relies on luck: nobody has marked it."""
    _, operation, place, *_ = id_.split("/")
    unmarked = operation in ("master_send", "master_recv", "i2cdev_read", "i2cdev_write") or "+dma_safe=0" in id_
    return unmarked and place in hosts()


def _fresh(before: Sequence[Judgement], after: Sequence[Judgement]) -> list[Judgement]:
    """What was never seen at the base."""
    known = {_doings(one) for one in _said(before)}
    return [one for one in _said(after) if _doings(one) not in known]


def _said(found: Sequence[Judgement]) -> list[Judgement]:
    return [one for one in found if one.verdict in _TRUSTED and one.outcome is not None]


def _worst(found: Sequence[Judgement]) -> Judgement | None:
    told = _said(found) or list(found)
    return max(told, key=_rank, default=None)


def _rank(judgement: Judgement) -> int:
    return -1 if judgement.outcome is None else _RANK[judgement.outcome]


def _doings(judgement: Judgement) -> tuple[object, ...]:
    """What the kernel did: another verdict on the same is the model's."""
    return judgement.outcome, judgement.direct, frozenset(map(_key, judgement.splats))


def _key(splat: Splat) -> tuple[str, str]:
    """A report's class, and the function that it blames."""
    found = blame(splat)
    return splat.splat_class, "" if found is None else found.function


def rows_of(runs: Iterable[Results], ids: Iterable[str]) -> list[Row]:
    """The rows of these ids."""
    wanted = set(ids)
    return [row for run in runs for row in run.rows if row.id in wanted]
