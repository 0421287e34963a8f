# SPDX-License-Identifier: GPL-2.0-or-later
"""The catalogue of findings: catalogue.toml, read and checked."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dmasafe.errors import DmasafeError
from dmasafe.expect.clients import parse_client_scenario
from dmasafe.outcome import Outcome
from dmasafe.scenario import ScenarioError, parse_scenario

HERE = Path(__file__).parent
CATALOGUE = HERE / "catalogue.toml"
PROGRAMS = HERE / "programs"
VERSION = re.compile(r"\d+\.\d+")


class CatalogueError(DmasafeError):
    """A finding that is not in the catalogue, or a catalogue that cannot be read."""


@dataclass(frozen=True)
class Witness:
    """One scenario (or phase of a client, as ``dmasafe clients`` names it), and what must be seen of it.

    ``classes`` must be exactly what was reported. ``frame`` must be in the first report's trace. ``direct`` is whether
    the payload came straight from the caller's buffer; None asks for nothing.
    """

    scenario: str
    outcome: Outcome
    classes: tuple[str, ...] = ()
    frame: str | None = None
    direct: bool | None = None


@dataclass(frozen=True)
class Proof:
    """How a finding is shown: by scenarios, by phases of clients, or by a program in the guest.

    A program is a file in programs/, and its arguments. It prints lines of JSON, which together must say what ``says``
    says; the kernel must report ``classes``, with ``frame`` in the traces. ``modules`` are directories of images/ whose
    modules the guest gets too; ``slaves`` (addresses, with names or import paths) replace those on its buses.
    """

    config: str
    witnesses: tuple[Witness, ...] = ()
    clients: bool = False
    program: tuple[str, ...] = ()
    says: tuple[tuple[str, Any], ...] = ()
    classes: tuple[str, ...] = ()
    frame: str | None = None
    modules: tuple[str, ...] = ()
    slaves: tuple[tuple[int, str], ...] = ()

    @property
    def frames(self) -> frozenset[str]:
        """The functions that must be in traces."""
        return frozenset(f for f in (self.frame, *(witness.frame for witness in self.witnesses)) if f is not None)


@dataclass(frozen=True)
class Finding:
    """One thing that upstream gets wrong.

    ``versions`` are the stable branches in which it is expected; ``known`` says what was found of it in public.
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

    def concerns(self, source: str) -> bool:
        """Whether it is expected in a kernel of this source; one whose version cannot be told may have it."""
        return VERSION.search(source) is None or any(version in source for version in self.versions)

    def command(self, source: str) -> str:
        """What reproduces it on the kernel of this source."""
        return f"dmasafe findings {self.id} --kernel {source}"


def load(wanted: Sequence[str] = (), path: Path = CATALOGUE) -> list[Finding]:
    """The findings with these ids, all if none are named. Raises CatalogueError."""
    try:
        rows = tomllib.loads(path.read_text())["finding"]
        found = {row["id"]: _finding(row) for row in rows}
    except (OSError, KeyError, TypeError, ValueError, ScenarioError) as error:
        raise CatalogueError(f"{path.name} is not a catalogue of findings: {error}") from None
    for name in wanted:
        if name not in found:
            raise CatalogueError(f"no finding is called '{name}'; there are {', '.join(found)}")
    return [finding for name, finding in found.items() if not wanted or name in wanted]


def _finding(row: dict[str, Any]) -> Finding:
    _only(row, (field.name for field in fields(Finding)))
    texts = {name: _text(row, name) for name in ("id", "title", "rule", "where", "what", "remedy", "known")}
    return Finding(**texts, versions=tuple(row["versions"]), proof=_proof(row["proof"]))


def _proof(row: dict[str, Any]) -> Proof:
    _only(row, ("config", "witness", "client", "program", "says", "classes", "frame", "modules", "slaves"))
    clients = tuple(_witness(witness, _client_id) for witness in row.get("client", ()))
    witnesses = clients or tuple(_witness(witness, _scenario_id) for witness in row.get("witness", ()))
    program = tuple(row.get("program", ()))
    if bool(witnesses) == bool(program):
        raise ValueError("a proof is by witnesses or by a program")
    if program and not (PROGRAMS / program[0]).is_file():
        raise ValueError(f"there is no {program[0]} in {PROGRAMS.name}/")
    return Proof(
        config=row["config"],
        witnesses=witnesses,
        clients=bool(clients),
        program=program,
        says=tuple(row.get("says", {}).items()),
        classes=tuple(row.get("classes", ())),
        frame=row.get("frame"),
        modules=tuple(row.get("modules", ())),
        slaves=tuple((int(address, 0), name) for address, name in row.get("slaves", {}).items()),
    )


def _witness(row: dict[str, Any], id_of: Callable[[str], str]) -> Witness:
    _only(row, (field.name for field in fields(Witness)))
    outcome = Outcome(row["outcome"])
    return Witness(id_of(row["scenario"]), outcome, tuple(row.get("classes", ())), row.get("frame"), row.get("direct"))


def _scenario_id(text: str) -> str:
    return parse_scenario(text).id


def _client_id(text: str) -> str:
    return parse_client_scenario(text).id


def _only(row: dict[str, Any], known: Iterable[str]) -> None:
    strange = sorted(set(row) - set(known))
    if strange:
        raise ValueError(f"unknown: {', '.join(strange)}")


def _text(row: dict[str, Any], name: str) -> str:
    found = row[name]
    if not isinstance(found, str) or not found.strip():
        raise ValueError(f"{name} must be text")
    return found.strip()
