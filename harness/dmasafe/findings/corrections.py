# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a finding's patch corrects it: the proof before and after, and everything else as before.

A patch is never called good for want of evidence: the proof must be seen without it, the run with it must be one that
can be trusted, and no scenario may come out worse.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dmasafe import kernel as kernels
from dmasafe.expect.client_drivers import Phase
from dmasafe.expect.clients import DEFAULT_PLACES, ClientScenario, parse_client, parse_client_scenario
from dmasafe.facts import KernelInfo
from dmasafe.findings.catalogue import Finding
from dmasafe.findings.evidence import UNTRUSTED, Evidence
from dmasafe.findings.reproduce import Where, by_program, by_rows, run_rows, where_of
from dmasafe.kernel import Kernel, NotBuilt
from dmasafe.kernel.patched import PatchError, patched
from dmasafe.outcome import Outcome, Verdict
from dmasafe.progress import Progress
from dmasafe.report.results import Results, Row
from dmasafe.scenario import core_suite, hosts_suite, parse_scenario, upstream_suite
from dmasafe.targets.prepare import build_kernel

# From the best to the worst.
_ORDER = (Outcome.SAFE, Outcome.REFUSED, Outcome.CAUGHT, Outcome.SILENT)
_SHOWN = 5
# So often what differs is run again.
_TRIES = 3
#: Where a client's phases are looked at beside a program's proof.
_PLACES = tuple(place for place in DEFAULT_PLACES if place.name in ("dmasafe:bounce", "virtio"))


@dataclass(frozen=True)
class Correction:
    """One finding's patch on one kernel. ``corrected`` is None where that cannot be told; ``why`` has the reason.

    ``before`` and ``after`` are what the proof showed, ``kept`` how many scenarios and phases came out as before.
    ``seen`` is the whole evidence without the patch; None in what was read from a record.
    """

    finding: Finding
    kernel: KernelInfo
    source: str
    patches: tuple[str, ...]
    corrected: bool | None
    why: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    kept: int = 0
    seen: Evidence | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Corrections:
    """Everything that was tried."""

    all: tuple[Correction, ...]

    @property
    def status(self) -> int:
        """0 every patch corrects, 1 one does not, 2 one cannot be told or nothing was tried."""
        seen = {each.corrected for each in self.all}
        if False in seen:
            return 1
        return 0 if seen == {True} else 2


#: What scenarios and phases came to without a patch, by kernel: it is the same for all findings.
_Kept = dict[tuple[str, Where], dict[str, Row]]


def correct(findings: Sequence[Finding], sources: Iterable[str], progress: Progress) -> Iterator[Correction]:
    """Try each finding's patch on each of these kernels that it is for. Raises KernelError, QemuError, TargetError."""
    kept: _Kept = {}
    for source in sources:
        for finding in findings:
            if finding.patches(source):
                yield _correct(finding, source, kept, progress)


def _correct(finding: Finding, source: str, kept: _Kept, progress: Progress) -> Correction:
    files = finding.patches(source)
    names = tuple(path.name for path in files)
    where = where_of(finding)
    asked = KernelInfo(source, where.arch, where.config, source)
    assert finding.patch is not None
    if finding.patch.untested:
        return Correction(finding, asked, source, names, None, finding.patch.untested)
    try:
        base = build_kernel(source, where.config, where.arch, progress)
        before = _proof(finding, source, where, progress)
        if before.reproduced is not True:
            why = f"without the patch: {before.why}"
            return Correction(finding, before.kernel, source, names, None, why, before.facts, seen=before)
        with patched(base, files, kernels.open_cache(), progress) as kernel:
            after = _proof(finding, source, where, progress, kernel)
            first = after
            if not after.reproduced:
                # A busy machine, or a flaw of the emulated hardware's that comes and goes, is not the patch's.
                after = _proof(finding, source, where, progress, kernel)
            told = Correction(
                finding,
                after.kernel,
                source,
                names,
                after.reproduced,
                after.why,
                before.facts,
                after.facts,
                seen=before,
            )
            if after is not first and after.reproduced:
                told = replace(told, after=(*after.facts, f"In a first run: {first.why}"))
            return _else_as_before(told, where, kernel, kept, progress) if told.corrected else told
    except (PatchError, NotBuilt) as error:
        return Correction(finding, asked, source, names, None, str(error))


def _proof(finding: Finding, source: str, where: Where, progress: Progress, kernel: Kernel | None = None) -> Evidence:
    if finding.proof.program:
        return by_program(source, finding, progress, kernel)
    return by_rows(source, where, [finding], bool(finding.proof.client), progress, kernel)[finding.id]


def _else_as_before(told: Correction, where: Where, kernel: Kernel, kept: _Kept, progress: Progress) -> Correction:
    """What its scenarios and phases and suite core say of a kernel on which the proof is gone."""
    where = where._replace(cmdline=())
    assert told.finding.patch is not None
    changes = told.finding.patch.changes
    same = untold = 0
    for clients, names in ((False, _scenarios(told.finding)), (True, _phases(told.finding))):
        if not names:
            continue
        before = kept.setdefault((told.source, where), {})
        missing = tuple(name for name in names if name not in before)
        if missing:
            before |= _rows(run_rows(told.source, where, missing, clients, progress)[0])
            lost = _lost(before, missing)
            before |= _rows(run_rows(told.source, where, lost, clients, progress)[0]) if lost else {}
        untold += len(_lost(before, names))
        mine = {name: before[name] for name in names if name in before}
        found = compare(mine, _rows(run_rows(told.source, where, names, clients, progress, kernel)[0]), changes)
        for _ in range(_TRIES):
            again = (*found.worse, *found.doubts)
            if not again:
                break
            # On a busy machine a transfer may be too slow, and so may be those after it. What is worse counts if it is
            # worse again.
            mine = {name: mine[name] for name in again}
            second = compare(mine, _rows(run_rows(told.source, where, again, clients, progress, kernel)[0]))
            found = Difference(found.same + second.same, second.worse, second.doubts)
            if found.worse:
                break
        if found.worse:
            why = f"the proof is gone, but {_some(found.worse)}"
            return replace(told, corrected=False, why=why)
        if found.doubts or not found.same:
            why = f"the proof is gone; of the rest, {_some(found.doubts) or 'nothing can be compared'}"
            return replace(told, corrected=None, why=why)
        same += found.same
    more = f" ({untold} rows could not be trusted without the patch)" if untold else ""
    return replace(told, why=f"the proof is gone, and nothing else is worse{more}", kept=same)


def _lost(rows: Mapping[str, Row], names: Sequence[str]) -> tuple[str, ...]:
    """Which of these could not be trusted."""
    lost = (Verdict.INCONCLUSIVE, Verdict.ERROR)
    return tuple(name for name in names if name in rows and rows[name].judgement.verdict in lost)


def _scenarios(finding: Finding) -> tuple[str, ...]:
    """Suite core, and all that the suites have for the proof's controllers."""
    controllers = {parse_scenario(row.scenario).controller for row in finding.proof.scenario}
    own = [each.id for each in (*upstream_suite(), *hosts_suite()) if each.controller in controllers]
    return tuple(dict.fromkeys([*(each.id for each in core_suite()), *own]))


def _phases(finding: Finding) -> tuple[str, ...]:
    """All phases of the proof's clients, at its places."""
    rows = [parse_client_scenario(row.scenario) for row in finding.proof.client]
    pairs = [(row.client, row.place) for row in rows]
    named = finding.patch.clients if finding.patch is not None else ()
    pairs += [(parse_client(name), place) for name in named for place in _PLACES]
    return tuple(ClientScenario(client, phase, place).id for client, place in dict.fromkeys(pairs) for phase in Phase)


@dataclass(frozen=True)
class Difference:
    """How a run compares with one before: how many rows are as good as before, which are worse or cannot be told.

    The latter by their ids, each with the reason.
    """

    same: int
    worse: Mapping[str, str]
    doubts: Mapping[str, str]


def _rows(results: Results) -> dict[str, Row]:
    return {row.id: row for row in results.rows}


def compare(before: Mapping[str, Row], after: Mapping[str, Row], changes: Sequence[str] = ()) -> Difference:
    """The rows of two runs by their ids; those that match a pattern of ``changes`` are left out.

    What could not be trusted before says nothing. A row is worse if its outcome is; with the same outcome, if the
    kernel reports what it did not, or if it passed and fails.
    """
    old = {id_: row.judgement for id_, row in before.items() if row.judgement.verdict not in UNTRUSTED}
    new = {id_: row.judgement for id_, row in after.items()}
    same = 0
    worse: dict[str, str] = {}
    doubts: dict[str, str] = {}
    for id_, was in old.items():
        now = new.get(id_)
        if any(fnmatch.fnmatchcase(id_, pattern) for pattern in changes):
            continue
        if now is None or now.verdict in UNTRUSTED or was.outcome is None or now.outcome is None:
            doubts[id_] = "it was not run" if now is None else now.why
            continue
        more = {splat.splat_class for splat in now.splats} - {splat.splat_class for splat in was.splats}
        failed = was.verdict is Verdict.PASS and now.verdict is Verdict.FAIL
        rank = _ORDER.index(now.outcome) - _ORDER.index(was.outcome)
        if rank > 0 or (rank == 0 and (more or (failed and was.direct is now.direct))):
            worse[id_] = f"it is {now.outcome}, and was {was.outcome}: {now.why}"
        else:
            same += 1
    return Difference(same, worse, doubts)


def _some(rows: Mapping[str, str]) -> str:
    more = f" (and {len(rows) - _SHOWN} more)" if len(rows) > _SHOWN else ""
    return "; ".join(f"{id_}: {why}" for id_, why in list(rows.items())[:_SHOWN]) + more
