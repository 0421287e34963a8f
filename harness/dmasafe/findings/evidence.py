# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a finding was reproduced: what was seen, compared with what the catalogue says must be seen."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dmasafe.dmesg import parse_records
from dmasafe.facts import KernelInfo
from dmasafe.findings.catalogue import Finding, ProofScenario
from dmasafe.outcome import Splat, Verdict
from dmasafe.report.results import Results, Row

# What a program says under this name is the kernel's log.
_LOG = "kmsg"
#: What the lines of evidence say, for a reader who does not know dmasafe.
LEGEND = """\
A line of evidence is one call (memory/call/controller/bytes) or one phase of a driver (driver/phase/controller). SAFE
means that the right bytes were transferred, REFUSED that the caller got an error, CAUGHT that the kernel reported
something, SILENT that something was wrong and nobody said so.
"""
_AS_EXPECTED = re.compile(r"(`: (?:SAFE|REFUSED(?=.*: the hardware fails))(?:, [^:]+)?): .*", re.DOTALL)
_RETURNED = re.compile(r"(`: REFUSED(?:, [^:]+)?): .*; (returned -\d+)", re.DOTALL)
UNTRUSTED = (Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.SKIP)


def plain(fact: str) -> str:
    """A fact for somebody who wants to know what was seen: without why it was, or was not, to be expected."""
    return _RETURNED.sub(r"\1: \2", _AS_EXPECTED.sub(r"\1", fact.partition("; expected")[0]))


@dataclass(frozen=True)
class Evidence:
    """One finding on one kernel, whose source was asked for as ``source``.

    ``reproduced`` is None where that cannot be told; ``why`` then has the reason. ``facts`` are sentences about what
    was seen, ``splats`` what the kernel reported.
    """

    finding: Finding
    kernel: KernelInfo
    source: str
    reproduced: bool | None
    why: str
    facts: tuple[str, ...] = ()
    splats: tuple[Splat, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything that was tried."""

    evidence: tuple[Evidence, ...]

    @property
    def status(self) -> int:
        """0 all reproduced, 1 something was not, 2 something cannot be told or nothing was tried."""
        seen = {each.reproduced for each in self.evidence}
        if False in seen:
            return 1
        return 0 if seen == {True} else 2

    def proved(self, finding: Finding) -> list[Evidence]:
        """The kernels on which this finding was reproduced."""
        return [each for each in self.evidence if each.finding.id == finding.id and each.reproduced]


def from_rows(finding: Finding, results: Results, source: str) -> Evidence:
    """What one run of its scenarios says of a finding."""
    return _from_rows(finding, finding.proof.rows, results, source)


def gone_from_rows(finding: Finding, results: Results, source: str) -> Evidence:
    """What one run of its scenarios on a patched kernel says: ``reproduced`` is whether its effect is gone."""
    return _from_rows(finding, [row.with_patch for row in finding.proof.rows], results, source, gone=True)


def _from_rows(
    finding: Finding, proof: Sequence[ProofScenario], results: Results, source: str, gone: bool = False
) -> Evidence:
    kernel = results.kernel
    rows = {row.id: row for row in results.rows}
    facts: list[str] = []
    splats: list[Splat] = []
    for wanted in proof:
        row = rows.get(wanted.scenario)
        unreached = wanted.corrected.unreached if gone and wanted.corrected is not None else ""
        if unreached and row is not None and row.judgement.why == unreached:
            facts.append(f"`{row.id}`: {unreached}")
            continue
        if row is None or row.judgement.verdict in UNTRUSTED:
            why = "it was not run" if row is None else row.judgement.why
            return Evidence(finding, kernel, source, None, f"{wanted.scenario}: {why}")
        wrong = _contradiction(wanted, row)
        if wrong is not None:
            return Evidence(finding, kernel, source, False, f"{wanted.scenario}: {wrong}")
        facts.append(f"`{row.id}`: {_seen(row)}")
        splats.extend(row.judgement.splats)
    return Evidence(finding, kernel, source, True, "as described", tuple(facts), tuple(splats))


def _contradiction(wanted: ProofScenario, row: Row) -> str | None:
    """How the row differs from what the proof needs, or None."""
    judgement = row.judgement
    if judgement.outcome is not wanted.outcome:
        return f"{judgement.outcome}, not {wanted.outcome}: {judgement.why}"
    classes = sorted({splat.splat_class for splat in judgement.splats})
    if classes != sorted(wanted.classes):
        return f"reported {', '.join(classes) or 'nothing'}, not {', '.join(wanted.classes) or 'nothing'}"
    if wanted.why not in judgement.why:
        return f"'{wanted.why}' is not why it is {judgement.outcome}: {judgement.why}"
    if wanted.direct is not None and judgement.direct is not wanted.direct:
        return f"direct is {judgement.direct}, not {wanted.direct}"
    if wanted.frame is not None and not any(wanted.frame in _functions(splat) for splat in judgement.splats[:1]):
        return f"{wanted.frame}() is not in the report's trace"
    return None


def _functions(splat: Splat) -> set[str]:
    return {frame.function for frame in splat.frames}


def _seen(row: Row) -> str:
    judgement = row.judgement
    ways = {True: ", straight from the caller's buffer", False: ", through another buffer", None: ""}
    return f"{judgement.outcome}{ways[judgement.direct]}: {judgement.why}"


def from_program(finding: Finding, kernel: KernelInfo, output: str, source: str) -> Evidence:
    """What the program in the guest said: lines of JSON (untrusted), the kernel's log among it as ``kmsg``."""
    found, said = _from_program(finding, kernel, finding.proof.says, output, source)
    frame = finding.proof.frame
    reported = parse_records(_texts(said.get(_LOG)))
    splats = tuple(splat for splat in reported if frame is None or frame in _functions(splat))
    missing = sorted(set(finding.proof.classes) - {splat.splat_class for splat in splats})
    if not found.reproduced or not missing:
        return replace(found, splats=splats)
    traces = "" if frame is None else f" with {frame}() in the trace"
    return replace(found, reproduced=False, why=f"the kernel did not report {', '.join(missing)}{traces}")


def gone_from_program(finding: Finding, kernel: KernelInfo, output: str, source: str) -> Evidence:
    """What the program said on a patched kernel: ``reproduced`` is whether the finding's effect is gone.

    None if the log has gaps: silence must be the kernel's own.
    """
    says = finding.patch.says if finding.patch is not None else {}
    found, said = _from_program(finding, kernel, {**finding.proof.says, **says}, output, source)
    if not found.reproduced or not finding.proof.classes:
        return found
    records = _texts(said.get(_LOG))
    numbers = [record.split(",")[1] for record in records if not record.startswith(" ") and record.count(",") > 1]
    if not records or numbers != [str(number) for number in range(len(numbers))]:
        return replace(found, reproduced=None, why="records of the kernel's log are missing")
    splats = tuple(parse_records(records))
    if not splats:
        return found
    why = f"the kernel reports {', '.join(sorted({splat.splat_class for splat in splats}))}"
    return replace(found, reproduced=False, why=why, splats=splats)


def _from_program(
    finding: Finding, kernel: KernelInfo, says: Mapping[str, Any], output: str, source: str
) -> tuple[Evidence, Mapping[str, Any]]:
    """Whether a program said this, and all that it said."""
    said = _said(output)
    log = ((_LOG, None),) if finding.proof.classes else ()
    for name, wanted in (*says.items(), *log):
        if name not in said:
            words = ascii(output[-200:])
            return Evidence(finding, kernel, source, None, f"the program said nothing of {name}, but {words}"), said
        if wanted is not None and said[name] != wanted:
            why = f"{name} is {json.dumps(said[name])}, not {json.dumps(wanted)}"
            return Evidence(finding, kernel, source, False, why), said
    facts = tuple(f"{name}: `{json.dumps(value)}`" for name, value in said.items() if name != _LOG)
    return Evidence(finding, kernel, source, True, "as described", facts), said


def _said(output: str) -> Mapping[str, Any]:
    said: dict[str, Any] = {}
    for line in output.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            said |= found
    return said


def _texts(found: object) -> list[str]:
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []
