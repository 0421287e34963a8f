# SPDX-License-Identifier: GPL-2.0-or-later
"""The findings that were reproduced, for people (Markdown) and machines (JSON)."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from dmasafe.architecture import REFERENCE_ARCH
from dmasafe.findings.catalogue import Finding
from dmasafe.findings.evidence import Evidence, Report
from dmasafe.outcome import Frame, Splat
from dmasafe.report.splat_text import blamed
from dmasafe.report.text import one_line

FORMAT = 1
_FRAMES = 12
_FACTS = 12
_HEAD = """<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
<!-- Written by "dmasafe findings --output docs/findings.md". -->
# Findings

What unmodified kernels do wrong, or cannot see. Each finding was reproduced by its command, on the
kernels named with it. A finding that was not reproduced is not on this page. Files and lines are
those of the newest kernel.
"""


def to_markdown(report: Report, findings: Sequence[Finding]) -> str:
    """The page: a table of what was reproduced, then each finding with its evidence."""
    proved = [(finding, found) for finding in findings if (found := report.proved(finding))]
    parts = [_HEAD, "| finding | rule | kernels |\n|---|---|---|\n" + "".join(_row(*each) for each in proved)]
    parts += [_section(finding, found) for finding, found in proved]
    return "\n".join(parts)


def _row(finding: Finding, found: Sequence[Evidence]) -> str:
    return f"| [{finding.title}](#{finding.id}) | {finding.rule} | {', '.join(_kernels(found))} |\n"


def _kernels(found: Sequence[Evidence]) -> list[str]:
    return list(dict.fromkeys(each.kernel.release for each in found))


def _where(each: Evidence) -> str:
    kernel = each.kernel
    machine = "" if kernel.arch == REFERENCE_ARCH else f", {kernel.arch}"
    return f"{kernel.release} ({kernel.config}{machine})"


def _section(finding: Finding, found: Sequence[Evidence]) -> str:
    newest = found[-1]
    lines = [
        f"## {finding.id}",
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
        f"- **Known?** {_item(finding.known)}",
        "",
        f"Seen on {newest.kernel.release}:",
        "",
        *(f"- {fact}" for fact in newest.facts[:_FACTS]),
        "",
    ]
    if newest.splats:
        lines += ["```", *_splat(newest.splats[0], finding.proof.frames), "```", ""]
    return "\n".join(lines)


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


def to_json(report: Report) -> str:
    """Everything that was tried, reproduced or not."""
    rows = [
        {
            "finding": each.finding.id,
            "rule": each.finding.rule,
            "kernel": {
                "release": each.kernel.release,
                "arch": each.kernel.arch,
                "config": each.kernel.config,
                "source": each.kernel.source,
            },
            "command": each.finding.command(each.source),
            "reproduced": each.reproduced,
            "why": each.why,
            "facts": list(each.facts),
            "splats": [splat.to_json() for splat in each.splats],
        }
        for each in report.evidence
    ]
    return json.dumps({"format": FORMAT, "status": report.status, "findings": rows}, indent=2) + "\n"
