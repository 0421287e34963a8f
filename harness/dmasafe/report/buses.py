# SPDX-License-Identifier: GPL-2.0-or-later
"""Who maps a buffer and who bounces it on the other buses: the table of docs/buses.md, expected or measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dmasafe.buses import BUS_CALLS
from dmasafe.carriers.other_bus import BUSES
from dmasafe.expect import expect
from dmasafe.facts import KernelFacts
from dmasafe.outcome import Expectation, Outcome, Skip, Verdict
from dmasafe.report import ReportError
from dmasafe.report.results import Results
from dmasafe.scenario import BUFFER_KINDS, buses_suite

# Buffer kinds by where they lie; those of one column fare alike on most buses.
_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "stack (in vmalloc space)": ("stack",),
    "vmalloc()": ("vmalloc",),
    "a module's data": ("module-data", "module-rodata"),
}
_LIKE_KMALLOC = tuple(kind for kind in BUFFER_KINDS if not any(kind in kinds for kinds in _ELSEWHERE.values()))
COLUMNS = {"kmalloc() and its like": _LIKE_KMALLOC, **_ELSEWHERE}


@dataclass(frozen=True)
class Fate:
    """What became of one buffer; ``direct`` as in results.json, where nothing was reported."""

    outcome: Outcome
    classes: tuple[str, ...] = ()
    direct: bool | None = None

    @property
    def text(self) -> str:
        match self.outcome:
            case Outcome.CAUGHT:
                return ", ".join(f"`{slug}`" for slug in dict.fromkeys(self.classes))
            case Outcome.SAFE:
                return {True: "mapped", False: "bounced", None: "not by DMA"}[self.direct]
            case _:
                return self.outcome.lower()


def expected(facts: KernelFacts) -> dict[str, Fate]:
    """What must become of each scenario on this kernel, by id."""
    fates = {}
    for scenario in buses_suite():
        found = expect(scenario, facts)
        if isinstance(found, Expectation):
            fates[scenario.id] = Fate(found.outcome, found.classes, found.direct)
        else:
            assert isinstance(found, Skip)
    return fates


def measured(run: Results) -> dict[str, Fate]:
    """What became of each scenario, by id. Raises ReportError if one cannot be told, or none was run."""
    fates = {}
    for row in run.rows:
        judgement = row.judgement
        if row.operation not in BUS_CALLS or judgement.verdict is Verdict.SKIP:
            continue
        if judgement.outcome is None or judgement.verdict not in (Verdict.PASS, Verdict.FAIL):
            raise ReportError(f"of {row.id} the run cannot tell: {judgement.why}")
        classes = tuple(splat.splat_class for splat in judgement.splats)
        fates[row.id] = Fate(judgement.outcome, classes, judgement.direct)
    if not fates:
        raise ReportError("there is no scenario of suite buses in these results")
    return fates


def table(fates: Mapping[str, Fate]) -> Iterator[str]:
    """Lines of Markdown: a row for each call on each bus, a column for each place where buffers lie."""
    yield _row("bus", "call", *COLUMNS)
    yield _row(*["---"] * (2 + len(COLUMNS)))
    for bus in BUSES.values():
        for name in bus.ways:
            # A file's way leads through the page cache: nothing of the caller's is mapped or bounced.
            if BUS_CALLS[name].file_system is not None:
                continue
            prefix = {kind: f"{kind}/{name}/{bus.name}/" for kinds in COLUMNS.values() for kind in kinds}
            found = {
                kind: [fates[f"{start}{n}"] for n in BUS_CALLS[name].lengths if f"{start}{n}" in fates]
                for kind, start in prefix.items()
            }
            cells = [_cell(found, kinds) for kinds in COLUMNS.values()]
            if any(found.values()):
                yield _row(f"`{bus.name}`", f"`{name}`", *cells)


def _cell(found: Mapping[str, Iterable[Fate]], kinds: tuple[str, ...]) -> str:
    """The fates of these kinds, each with its kinds if they differ."""
    by_text: dict[str, list[str]] = {}
    for kind in kinds:
        for text in dict.fromkeys(fate.text for fate in found[kind]):
            by_text.setdefault(text, []).append(kind)
    if len(by_text) <= 1:
        return next(iter(by_text), "")
    return "; ".join(f"{text} ({', '.join(names)})" for text, names in by_text.items())


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
