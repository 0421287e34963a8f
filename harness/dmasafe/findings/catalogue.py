# SPDX-License-Identifier: GPL-2.0-or-later
"""The catalogue of findings: catalogue.toml, read and checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmasafe.architecture import REFERENCE_ARCH
from dmasafe.decode import read_toml
from dmasafe.errors import DmasafeError
from dmasafe.expect.clients import parse_client_scenario
from dmasafe.outcome import Outcome
from dmasafe.scenario import ScenarioError, parse_scenario

HERE = Path(__file__).parent
CATALOGUE = HERE / "catalogue.toml"
PROGRAMS = HERE / "programs"
PATCHES = HERE / "patches"
VERSION = re.compile(r"\d+\.\d+")


class CatalogueError(DmasafeError):
    """A finding that is not in the catalogue, or a catalogue that cannot be read."""


@dataclass(frozen=True)
class Corrected:
    """What must be seen of a ProofScenario with the patch; outcome None is the usual one.

    ``unreached`` is why there is nothing to be seen of a client's phase: its driver refuses before.
    """

    outcome: Outcome | None = None
    unreached: str = ""
    classes: tuple[str, ...] = ()
    direct: bool | None = None


@dataclass(frozen=True)
class ProofScenario:
    """One scenario (or phase of a client, as ``dmasafe clients`` names it), and what must be seen of it.

    ``classes`` must be exactly what was reported. ``frame`` must be in the first report's trace, ``why`` in the reason
    of the outcome. ``direct`` is whether the payload came straight from the caller's buffer; None asks for nothing.
    ``corrected`` says what differs with the
    finding's patch; without it, outcome SAFE (REFUSED where hardware fails) and no report.
    """

    scenario: str
    outcome: Outcome
    classes: tuple[str, ...] = ()
    frame: str | None = None
    direct: bool | None = None
    why: str = ""
    corrected: Corrected | None = None

    @property
    def with_patch(self) -> ProofScenario:
        """What must be seen of it with the finding's patch."""
        usual = Outcome.REFUSED if "+hardware=" in self.scenario else Outcome.SAFE
        wanted = self.corrected or Corrected()
        outcome = wanted.outcome or usual
        return ProofScenario(self.scenario, outcome, wanted.classes, None, wanted.direct, corrected=self.corrected)


@dataclass(frozen=True)
class Proof:
    """How a finding is shown: by scenarios, by phases of clients, or by a program in the guest.

    A program is a file in programs/, and its arguments. It prints lines of JSON, which together must say what ``says``
    says; the kernel must report ``classes``, with ``frame`` in the traces. ``modules`` are directories of images/ whose
    modules the guest gets too; ``slaves`` (addresses, with names or import paths) replace those on its buses.
    ``cmdline`` are words for the kernel's command line.
    """

    config: str
    arch: str = REFERENCE_ARCH
    cmdline: tuple[str, ...] = ()
    scenario: tuple[ProofScenario, ...] = ()
    client: tuple[ProofScenario, ...] = ()
    program: tuple[str, ...] = ()
    says: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    frame: str | None = None
    modules: tuple[str, ...] = ()
    slaves: tuple[tuple[int, str], ...] = ()

    def __post_init__(self) -> None:
        if [bool(way) for way in (self.scenario, self.client, self.program)].count(True) != 1:
            raise ValueError("a proof is by scenarios, by clients or by a program")
        if self.program and (self.arch != REFERENCE_ARCH or self.cmdline):
            raise ValueError(f"a program runs on {REFERENCE_ARCH}, with the command line of its configuration")
        if self.program and not (PROGRAMS / self.program[0]).is_file():
            raise ValueError(f"there is no {self.program[0]} in {PROGRAMS.name}/")
        try:
            canonical = [parse_scenario(row.scenario).id for row in self.scenario]
            canonical += [parse_client_scenario(row.scenario).id for row in self.client]
        except ScenarioError as error:
            raise ValueError(str(error)) from error
        for row, name in zip(self.rows, canonical, strict=True):
            if row.scenario != name:
                raise ValueError(f"write '{name}', not '{row.scenario}'")

    @property
    def rows(self) -> tuple[ProofScenario, ...]:
        """Those of scenarios or of clients, whichever it is."""
        return self.scenario or self.client

    @property
    def frames(self) -> frozenset[str]:
        """The functions that must be in traces."""
        return frozenset(f for f in (self.frame, *(row.frame for row in self.rows)) if f is not None)


@dataclass(frozen=True)
class PatchTest:
    """What is asked of a finding's patch besides that the proof is gone.

    ``clients`` (with a program only) are those whose phases must be as before. ``changes`` are patterns of scenarios
    and phases that it changes on purpose; ``says`` is what the proof's program says then. ``needs`` are patches that
    must be applied first. ``untested`` is why no guest can show it.
    """

    clients: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    says: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    untested: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that upstream gets wrong.

    ``versions`` are the stable branches in which it is expected; ``known`` says what was found of it in public.
    ``patch`` is there where PATCHES has one; else ``decision`` is why its maintainers have to decide first.
    ``corrected_in`` is the first version here in which upstream has corrected it.
    """

    id: str
    title: str
    rule: str
    where: str
    what: str
    remedy: str
    known: str
    versions: tuple[str, ...]
    proof: Proof
    patch: PatchTest | None = None
    decision: str = ""
    corrected_in: str = ""

    def __post_init__(self) -> None:
        if (self.patch is not None) != bool(list(self._files())):
            raise ValueError(f"{self.id}: [finding.patch] and a patch in {PATCHES.name}/ come together")

    def concerns(self, source: str) -> bool:
        """Whether it is expected in a kernel of this source; one whose version cannot be told may have it."""
        return VERSION.search(source) is None or any(version in source for version in self.versions)

    def command(self, source: str) -> str:
        """What reproduces it on the kernel of this source."""
        return f"dmasafe findings {self.id} --kernel {source}"

    def patches(self, source: str) -> list[Path]:
        """The patches for the kernel of this source, in the order of applying them; none if there are none for it.

        ID.patch, or ID.PART.patch where several files are corrected; with @VERSION for one version alone.
        """
        if self.patch is None or not self.concerns(source):
            return []
        found: dict[str, Path] = {}
        for path, part, version in sorted(self._files(), key=lambda file: file[2]):
            if not version or version in source:
                found[part] = path
        return [*(PATCHES / name for name in self.patch.needs), *(found[part] for part in sorted(found))]

    def _files(self) -> Iterator[tuple[Path, str, str]]:
        """Its files in PATCHES: path, part, version."""
        pattern = re.compile(rf"{re.escape(self.id)}(?:\.([a-z0-9]+))?(?:@(\d+\.\d+))?\.patch")
        for path in PATCHES.glob(f"{self.id}[.@]*"):
            match = pattern.fullmatch(path.name)
            if match is not None:
                yield path, match[1] or "", match[2] or ""


@dataclass(frozen=True)
class _Catalogue:
    finding: tuple[Finding, ...]


def load(wanted: Sequence[str] = (), path: Path = CATALOGUE) -> list[Finding]:
    """The findings with these ids, all if none are named. Raises CatalogueError."""
    found = {row.id: row for row in read_toml(path, _Catalogue, CatalogueError).finding}
    for name in wanted:
        if name not in found:
            raise CatalogueError(f"no finding is called '{name}'; there are {', '.join(found)}")
    return [finding for name, finding in found.items() if not wanted or name in wanted]
