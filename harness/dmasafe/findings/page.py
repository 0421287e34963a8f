# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of the findings that were reproduced, by subsystem and rule: what became of each, version by version."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Sequence

from dmasafe.architecture import REFERENCE_ARCH
from dmasafe.findings.catalogue import Finding
from dmasafe.findings.corrections import Correction, Corrections
from dmasafe.findings.evidence import LEGEND, Evidence, Report, plain
from dmasafe.outcome import Frame, Splat
from dmasafe.report.splat_text import blamed
from dmasafe.report.text import one_line

#: Where the page's columns come from, oldest first.
VERSIONS = ("6.12", "7.2", "7.3")
_FRAMES = 12
_FACTS = 12
_ELSEWHERE = "Elsewhere"
# Of a finding's first file; the first that fits.
_SUBSYSTEMS = (
    ("drivers/i2c/busses/i2c-robotfuzz-osif.c", "USB bridges to I2C"),
    ("drivers/i2c/busses/i2c-viperboard.c", "USB bridges to I2C"),
    ("drivers/i2c/busses/", "I2C controllers"),
    ("drivers/i2c/", "I2C core"),
    ("drivers/hid/", "HID"),
    ("drivers/hwmon/", "Hardware monitoring"),
    ("drivers/input/", "Input"),
    ("drivers/spi/", "SPI"),
    ("drivers/base/regmap/", "regmap"),
    ("drivers/spmi/", "SPMI, SLIMbus, 1-Wire"),
    ("drivers/dma/", "DMA engines"),
    ("kernel/dma/", "DMA debugging"),
    ("", _ELSEWHERE),
)
_HEAD = """<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
<!-- Written by "dmasafe findings --list --record docs/findings.json --output docs/findings.md". -->
# Findings

What unmodified kernels do wrong, or cannot see. Each finding was reproduced by its command, on the
kernels named with it. A finding that was not reproduced is not on this page. Files and lines are
those of the newest kernel. The same for programs is in docs/findings.json.

From a fresh checkout, `make` makes the command, and one of these repeats what is said here. Kernels
are built where they are missing:

    .venv/bin/dmasafe findings NAME                # reproduce it
    .venv/bin/dmasafe findings NAME --with-patch   # before and after the patch, and all else as before
    .venv/bin/dmasafe findings NAME --mail         # what a maintainer wants to read; nobody is sent anything

A patch is *tested* on a kernel if the proof was seen there without it and is gone with it, and no
scenario of suite core and of the driver's own, and none of its phases as a client, came out worse.
Nobody has signed the patches off: who sends one reads it first, and adds his own.

*Known?* says what public issue threads, web pages and mail archives have. In November 2026 kernel
sources and patches in public repositories were also searched for the changed lines of most patches.
None was found there.

"""
_HEAD += textwrap.fill(LEGEND, 100) + "\n"


def subsystem(finding: Finding) -> str:
    """Whose finding it is."""
    return next(name for prefix, name in _SUBSYSTEMS if finding.where.startswith(prefix))


def to_markdown(report: Report, corrections: Corrections, findings: Sequence[Finding]) -> str:
    """The page: for each subsystem a table of what was reproduced, then each finding with its evidence."""
    proved = [(finding, found) for finding in findings if (found := report.proved(finding))]
    now = [pair for pair in proved if not pair[0].corrected_in]
    past = [pair for pair in proved if pair[0].corrected_in]
    parts = [_HEAD, _summary(proved, corrections)]
    for name in dict.fromkeys(name for _prefix, name in _SUBSYSTEMS):
        mine = sorted((pair for pair in now if subsystem(pair[0]) == name), key=lambda pair: pair[0].rule)
        parts += _chapter(name, mine, report, corrections)
    parts += _chapter("Corrected in a newer kernel", past, report, corrections)
    return "\n".join(parts)


def _summary(proved: Sequence[tuple[Finding, Sequence[Evidence]]], corrections: Corrections) -> str:
    tested = {each.finding.id for each in corrections.all if each.corrected}
    ids = {finding.id for finding, _found in proved}
    decisions = sum(bool(finding.decision) for finding, _found in proved)
    return (
        f"{len(ids)} findings. A patch of {len(ids & tested)} of them was tested; {decisions} need a decision of their "
        f"maintainers first.\n"
    )


def _chapter(
    name: str, mine: Sequence[tuple[Finding, Sequence[Evidence]]], report: Report, corrections: Corrections
) -> Iterable[str]:
    if not mine:
        return
    yield f"## {name}\n"
    columns = ("finding", "rule", *VERSIONS, "proved by", "patch")
    yield f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n" + "".join(
        _row(finding, report, corrections) for finding, _found in mine
    )
    for finding, found in mine:
        yield _section(finding, found, [each for each in corrections.all if each.finding.id == finding.id])


def _row(finding: Finding, report: Report, corrections: Corrections) -> str:
    state = [_state(finding, version, report) for version in VERSIONS]
    proof = finding.proof
    by = "a program" if proof.program else "client phases" if proof.client else "scenarios"
    by += "" if proof.arch == REFERENCE_ARCH else f", {proof.arch}"
    cells = (f"[{finding.title}](#{finding.id})", finding.rule, *state, by, _patch_state(finding, corrections))
    return f"| {' | '.join(cells)} |\n"


def _state(finding: Finding, version: str, report: Report) -> str:
    words = {True: "reproduced", False: "not there", None: "cannot be told"}
    seen = {each.reproduced for each in report.evidence if each.finding.id == finding.id and version in each.source}
    if True in seen:
        return words[True]
    if finding.corrected_in and _number(version) >= _number(finding.corrected_in):
        return "corrected"
    return words[seen.pop()] if len(seen) == 1 else "not tried"


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _patch_state(finding: Finding, corrections: Corrections) -> str:
    tested = [each.kernel.release for each in corrections.all if each.finding.id == finding.id and each.corrected]
    if tested:
        return f"tested on {', '.join(dict.fromkeys(tested))}"
    if finding.patch is not None:
        return "written, not shown in a guest"
    return "needs a decision" if finding.decision else "none yet"


def _where(each: Evidence | Correction) -> str:
    kernel = each.kernel
    machine = "" if kernel.arch == REFERENCE_ARCH else f", {kernel.arch}"
    return f"{kernel.release} ({kernel.config}{machine})"


def _section(finding: Finding, found: Sequence[Evidence], corrections: Sequence[Correction]) -> str:
    newest = found[-1]
    lines = [
        f"### {finding.id}",
        "",
        f"**{finding.title}**",
        "",
        finding.what,
        "",
        f"- **Where**: {finding.where}",
        f"- **Rule**: {finding.rule}",
        f"- **Reproduced on**: {', '.join(map(_where, found))}",
        *(f"- **Command**: `{finding.command(each.source)}`" for each in found),
        f"- **Remedy**: {_item(finding.remedy)}",
        *_patch_lines(finding, corrections),
        f"- **Known?** {_item(finding.known)}",
        "",
        f"Seen on {newest.kernel.release}:",
        "",
        *(f"- {plain(fact)}" for fact in newest.facts[:_FACTS]),
        "",
    ]
    if newest.splats:
        lines += ["```", *_splat(newest.splats[0], finding.proof.frames), "```", ""]
    return "\n".join(lines)


def _patch_lines(finding: Finding, corrections: Sequence[Correction]) -> Iterable[str]:
    if finding.corrected_in:
        yield f"- **Corrected in**: {finding.corrected_in}"
    if finding.decision:
        yield f"- **Needs a decision**: {_item(finding.decision)}"
    words = {True: "tested", False: "does NOT correct it", None: "cannot be told"}
    for each in corrections:
        names = ", ".join(f"`{name}`" for name in each.patches)
        kept = f"; {each.kept:,} scenarios and phases as before" if each.kept else ""
        why = "" if each.corrected else f": {one_line(each.why)}"
        yield f"- **Patch** on {_where(each)}: {words[each.corrected]}{kept}{why} ({names})"
    if finding.patch is not None and not corrections:
        yield f"- **Patch**: written, not tried{': ' + _item(finding.patch.untested) if finding.patch.untested else ''}"


def _item(text: str) -> str:
    """The text of a list item, whose further lines are indented."""
    return text.replace("\n", "\n  ")


def _splat(splat: Splat, wanted: Collection[str]) -> list[str]:
    """A report in few lines: what it says, whose it is, how it came about; as far as a frame that was asked for."""
    at = f" at {splat.file}:{splat.line}" if splat.file else ""
    lines = [f"{splat.splat_class}{at}: {one_line(splat.message)}", f"blamed: {blamed(splat)}"]
    frames = [frame for frame in splat.frames if frame.reliable]
    asked = [number for number, frame in enumerate(frames, 1) if frame.function in wanted]
    return lines + [f"  {_frame(frame)}" for frame in frames[: max([_FRAMES, *asked[:1]])]]


def _frame(frame: Frame) -> str:
    module = f" [{frame.module}]" if frame.module else ""
    return one_line(f"{frame.function}{module}" + (f"  {frame.file}:{frame.line}" if frame.file else ""))
