# SPDX-License-Identifier: GPL-2.0-or-later
"""A cell of the matrix as the history knows it, and how its name is read off a kernel's source."""

from __future__ import annotations

import re
from typing import NamedTuple

_USUAL_TARGET, _USUAL_SUITE = "qemu", "core"
_COMMIT = re.compile(r"(?P<label>.+) \((?P<commit>[0-9a-f]{12,40})\)")
_PACKAGE = re.compile(r"(?P<label>linux-[\w.+-]+) (?P<version>\d\S*)")


class Cell(NamedTuple):
    """``source`` names what is followed over time (a package, a branch), not one version of it.

    Target and suite belong to it: only runs of the same scenarios in the same kind of place can be compared. A target
    in QEMU has QEMU's version behind a space: another version may be another machine.
    """

    source: str
    arch: str
    config: str
    target: str
    suite: str

    @property
    def family(self) -> Cell:
        """The cell whatever QEMU's version is."""
        return self._replace(target=self.target.partition(" ")[0])

    @property
    def name(self) -> str:
        """For people: the usual target and suite go without saying."""
        parts = [self.source, self.arch, self.config]
        parts += [self.target] if self.target != _USUAL_TARGET else []
        parts += [self.suite] if self.suite != _USUAL_SUITE else []
        return " ".join(parts)


def label_of(source: str) -> str:
    """What a kernel's source is called without its version: the same next month.

    >>> label_of("linux-source-6.12 6.12.117-1~deb12u1")
    'linux-source-6.12'
    """
    match = _PACKAGE.fullmatch(source) or _COMMIT.fullmatch(source)
    return match["label"] if match else source


def identity_of(source: str, release: str) -> str:
    """The exact source, "" where the description does not say: a directory's content changes under its name."""
    known = _PACKAGE.fullmatch(source) or _COMMIT.fullmatch(source) or "://" in source
    return f"{source} ({release})" if known else ""
