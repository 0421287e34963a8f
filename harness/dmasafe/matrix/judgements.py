# SPDX-License-Identifier: GPL-2.0-or-later
"""What came of a scenario, without what differs from run to run: addresses, times, whole logs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from dmasafe.dmesg import blame
from dmasafe.outcome import Outcome, Splat, Verdict
from dmasafe.report import text
from dmasafe.report.text import one_line

LONGEST_WHY = 300
LONGEST_NAME = 100
# Distinct splats of one scenario that count; a flooded log is not to fill the history.
MAX_SIGNATURES = 20

TRUSTED = frozenset({Verdict.PASS, Verdict.FAIL})
UNTRUSTED = frozenset({Verdict.INCONCLUSIVE, Verdict.ERROR})


class Signature(NamedTuple):
    """A class of splat and the function to blame for it, "" if the report names nobody."""

    splat_class: str
    function: str

    def __str__(self) -> str:
        return f"{self.splat_class} in {self.function}" if self.function else self.splat_class


def signature_of(splat: Splat) -> Signature:
    found = blame(splat)
    return Signature(
        shortened(splat.splat_class, LONGEST_NAME), shortened(found.function if found else "", LONGEST_NAME)
    )


def shortened(text: str, longest: int) -> str:
    """``text`` as one visible line of at most ``longest`` characters."""
    line = one_line(text[: 4 * longest])
    return line if len(line) <= longest else line[: longest - 3] + "..."


def general(why: str) -> str:
    """A reason without the numbers that only this run has, so that the same reason is the same text every night."""
    return shortened(text.general(why), LONGEST_WHY)


@dataclass(frozen=True)
class StoredJudgement:
    """One judgement, as the history keeps it. ``signatures`` are sorted, each once."""

    verdict: Verdict
    outcome: Outcome | None
    expected: Outcome | None
    direct: bool | None
    signatures: tuple[Signature, ...]
    why: str

    @cached_property
    def observed(self) -> tuple[object, ...]:
        """What the kernel did, whatever was expected of it."""
        return self.outcome, self.direct, tuple(sorted({one.splat_class for one in self.signatures}))

    def to_text(self) -> str:
        """Canonical JSON: the same finding is the same text."""
        found = [self.verdict, self.outcome, self.expected, self.direct, self.signatures, self.why]
        return json.dumps(found, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> StoredJudgement:
        verdict, outcome, expected, direct, signatures, why = json.loads(text)
        return cls(
            Verdict(verdict),
            None if outcome is None else Outcome(outcome),
            None if expected is None else Outcome(expected),
            direct,
            tuple(Signature(*one) for one in signatures),
            why,
        )
