# SPDX-License-Identifier: GPL-2.0-or-later
"""A finding as mail to its maintainers: text for the user to read, change and send. Nothing here sends anything."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from dmasafe.findings.catalogue import Finding
from dmasafe.findings.corrections import Correction
from dmasafe.findings.evidence import LEGEND, Evidence, plain
from dmasafe.kernel.process import query
from dmasafe.report.text import one_line

WIDTH = 72
_FACTS = 4
_FOR_THE_USER = """\
For you, not for the mail: read Documentation/process/threat-model.rst and decide whether this is a vulnerability
(security-bugs.rst) or a bug. Add a Fixes: tag, for the sources at hand have no history, and your own Signed-off-by:."""
_FILE = re.compile(r"\b[a-z][\w-]*(?:/[\w.-]+)+\.[ch]\b")


def mails(finding: Finding, evidence: Sequence[Evidence], corrections: Sequence[Correction], tree: Path) -> str:
    """The mail, or one for each patch, with whom ``tree``'s get_maintainer.pl names. Raises KernelError.

    ``evidence`` and ``corrections`` are what was seen of this finding, the newest kernel last.
    """
    seen = _evidence(finding, evidence, corrections)
    patches = finding.patches(corrections[-1].source) if corrections else finding.patches("")
    if not patches:
        files = [name for name in dict.fromkeys(_FILE.findall(finding.where)) if (tree / name).is_file()]
        head = _head(f"[BUG] {finding.title}", _people(tree, [f"-f {name}" for name in files]))
        remedy = [*_wrapped(f"What would correct it: {finding.remedy}"), "", *_wrapped(finding.decision)]
        return _text([_note(), head, *_wrapped(finding.what), "", *seen, "", *remedy])
    parts = [_note()]
    for number, path in enumerate(patches, 1):
        subject, body, rest = _split(path.read_text(encoding="utf-8"))
        if len(patches) > 1:
            subject = subject.replace("[PATCH]", f"[PATCH {number}/{len(patches)}]")
        parts.append(
            _text(
                [
                    _head(subject, _people(tree, [str(path)])),
                    body,
                    "---",
                    *_evidence(finding, evidence, corrections),
                    rest,
                ]
            )
        )
    return "\n".join(parts)


def _note() -> str:
    return "\n".join(_wrapped(_FOR_THE_USER, "# ")) + "\n"


def _split(patch: str) -> tuple[str, str, str]:
    """Subject, message, and what follows its "---"."""
    head, _, rest = patch.partition("\n---\n")
    header, _, body = head.partition("\n\n")
    subject = next(line.removeprefix("Subject: ") for line in header.splitlines() if line.startswith("Subject: "))
    return subject, body, rest


def _head(subject: str, people: Sequence[tuple[str, str]]) -> str:
    to = [who for who, role in people if "list" not in role]
    lists = [who for who, role in people if "list" in role]
    lines = ["From: (you)", *(f"To: {who}" for who in to), *(f"Cc: {who}" for who in lists), f"Subject: {subject}"]
    return "\n".join(lines) + "\n"


def _people(tree: Path, arguments: Iterable[str]) -> list[tuple[str, str]]:
    """Whom get_maintainer.pl names for patches or files: address and role."""
    found: dict[str, str] = {}
    for argument in arguments:
        words = argument.split(" ", 1)
        said = query(["perl", "scripts/get_maintainer.pl", "--no-git", "--no-git-fallback", *words], cwd=tree)
        for line in said.splitlines():
            who, _, role = line.partition(" (")
            found.setdefault(who.strip(), role.rstrip(")"))
    return list(found.items())


def _evidence(finding: Finding, evidence: Sequence[Evidence], corrections: Sequence[Correction]) -> list[str]:
    """What was seen, how to see it, and what the patch changes."""
    lines = []
    if evidence:
        newest = evidence[-1]
        machines = ", ".join(f"{each.kernel.release} ({each.kernel.arch})" for each in evidence)
        lines += _wrapped(f"Seen on {machines}, unmodified, on emulated hardware (dmasafe). On the newest of them:")
        lines += _facts(newest.facts)
        for splat in newest.splats[:1]:
            lines += _wrapped(one_line(f"{splat.splat_class}: {splat.message}"), "  ")
        if finding.proof.rows:
            lines += ["", *_wrapped(LEGEND)]
        lines += ["", "To see it:", "", f"  {finding.command(newest.source)}", ""]
    good = [each for each in corrections if each.corrected]
    if good:
        kernels = ", ".join(f"{each.kernel.release} ({each.kernel.arch})" for each in good)
        text = f"With the patch, on {kernels}: {good[-1].why}, of {good[-1].kept:,} calls that were compared."
        lines += [*_wrapped(text), *_facts(good[-1].after), ""]
    for each in corrections:
        if not each.corrected:
            lines += [*_wrapped(f"NOT shown to correct it on {each.kernel.release}: {one_line(each.why)}"), ""]
    if finding.patch is not None and not corrections:
        lines += [*_wrapped(f"The patch was not tested. {finding.patch.untested}"), ""]
    lines += _wrapped(f"Searched: {finding.known}")
    return [*lines, ""]


def _facts(facts: Iterable[str]) -> list[str]:
    return [line for fact in list(facts)[:_FACTS] for line in _wrapped(one_line(plain(fact)), "  ")]


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()), WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _text(parts: Sequence[str]) -> str:
    return "\n".join(parts).rstrip() + "\n"
