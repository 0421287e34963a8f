# SPDX-License-Identifier: GPL-2.0-or-later
"""Which cells there are to run: kernel-configs/selections.toml, read, checked, and its patterns resolved.

A pattern is three words, source, architecture and configuration, each as a shell knows it: ``6.* x86_64 default``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from dmasafe.decode import convert, read_toml
from dmasafe.errors import unknown
from dmasafe.kernel import KernelError, Matrix, load_matrix, parse_source, project_root
from dmasafe.matrix.errors import MatrixError
from dmasafe.scenario import SUITES

FILE = "selections.toml"
DEFAULT_SUITES = ("core",)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_VERSION = re.compile(r"\d+\.\d+(\.\d+)?")


@dataclass(frozen=True)
class NamedSource:
    """A kernel source with the short name that cells have it by; ``version`` is "" if only fetching it will tell."""

    name: str
    spec: str
    version: str = ""


@dataclass(frozen=True)
class Include:
    """Cells by patterns, and the suites that run in each."""

    cells: tuple[str, ...]
    suites: tuple[str, ...] = DEFAULT_SUITES

    def __post_init__(self) -> None:
        if not self.cells or not self.suites:
            raise ValueError("an include needs cells and suites")
        check_suites(self.suites, "suites")
        for pattern in self.cells:
            _words(pattern, "cells")


@dataclass(frozen=True)
class Selection:
    name: str
    include: tuple[Include, ...]
    exclude: tuple[str, ...] = ()
    what: str = ""

    def __post_init__(self) -> None:
        if not self.include:
            raise ValueError(f"it needs at least one [[selection.{self.name}.include]]")
        for pattern in self.exclude:
            _words(pattern, "exclude")


@dataclass(frozen=True)
class _SelectionsFile:
    source: Mapping[str, dict[str, Any]]
    selection: Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class PlannedCell:
    """One point of the matrix with the suites that run there; ``kernel`` is the configuration it is built as."""

    source: NamedSource
    arch: str
    config: str
    kernel: str
    suites: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.source.name} {self.arch} {self.config}"

    def running(self, suites: tuple[str, ...]) -> PlannedCell:
        return replace(self, suites=suites)


@dataclass(frozen=True)
class Selections:
    """The file, with what configurations and architectures there are."""

    sources: Mapping[str, NamedSource]
    selections: Mapping[str, Selection]
    matrix: Matrix

    def with_sources(self, words: Iterable[str]) -> Selections:
        """The same with more sources, or others under known names, each given as NAME=SPEC. Raises MatrixError."""
        sources = dict(self.sources)
        for word in words:
            name, equals, spec = word.partition("=")
            if not equals or not spec:
                raise MatrixError(f"'{word}' names no source: write NAME=SPEC, as in mine=~/linux")
            sources[name] = _source(name, {"spec": spec}, f"--source {name}")
        return replace(self, sources=sources)

    def cells(self, name: str) -> tuple[PlannedCell, ...]:
        """The cells of a selection, in its order, each once. Raises MatrixError if it names what does not exist."""
        if name not in self.selections:
            raise MatrixError(unknown("selection", name, self.selections))
        selection = self.selections[name]
        found: dict[tuple[str, str, str], tuple[str, ...]] = {}
        for include in selection.include:
            for pattern in include.cells:
                for key in self._matching(pattern, name):
                    found[key] = tuple(dict.fromkeys((*found.get(key, ()), *include.suites)))
        for pattern in selection.exclude:
            # One that names nothing takes nothing away: no reason to stop, unlike an include.
            for key in self._keys(_words(pattern, name)):
                found.pop(key, None)
        if not found:
            raise MatrixError(f"the selection {name} excludes every cell that it includes")
        return tuple(self._cell(key, suites) for key, suites in found.items())

    def chosen(self, patterns: Sequence[str], suites: Sequence[str]) -> tuple[PlannedCell, ...]:
        """Cells by pattern, without a selection. Raises MatrixError."""
        keys = dict.fromkeys(key for pattern in patterns for key in self._matching(pattern, "on the command line"))
        return tuple(self._cell(key, tuple(suites)) for key in keys)

    def _matching(self, pattern: str, where: str) -> list[tuple[str, str, str]]:
        keys = self._keys(_words(pattern, where))
        if not keys:
            there = (
                ", ".join(self.sources),
                ", ".join(self.matrix.architectures),
                ", ".join(self.matrix.configurations),
            )
            raise MatrixError(
                f"no cell is called '{pattern}' ({where}): sources are {there[0]}; architectures {there[1]}; "
                f"configurations {there[2]}, of which not each is for every architecture and version"
            )
        return keys

    def _keys(self, words: Sequence[str]) -> list[tuple[str, str, str]]:
        return [key for key in self._all() if all(map(fnmatchcase, key, words))]

    def _all(self) -> Iterator[tuple[str, str, str]]:
        for source in self.sources.values():
            # A version that is not known yet: the build will say if it cannot be.
            version = source.version or "999.0"
            for arch, architecture in self.matrix.architectures.items():
                for config, row in self.matrix.configurations.items():
                    if architecture.makes_sense(version) and row.makes_sense(version, arch):
                        yield source.name, arch, config

    def _cell(self, key: tuple[str, str, str], suites: tuple[str, ...]) -> PlannedCell:
        source, arch, config = key
        kernel = self.matrix.configurations[config].kernel_name
        return PlannedCell(self.sources[source], arch, config, kernel, suites)


def load(path: Path | None = None, matrix: Matrix | None = None) -> Selections:
    """Read and check ``path`` (the project's own if None). Raises MatrixError, ConfigError."""
    matrix = matrix or load_matrix()
    path = path or project_root() / "kernel-configs" / FILE
    data = read_toml(path, _SelectionsFile, MatrixError)
    sources = {name: _source(name, row, f"{path}: source.{name}") for name, row in data.source.items()}
    found = {
        name: convert({**row, "name": name}, Selection, f"{path}: selection.{name}", MatrixError)
        for name, row in data.selection.items()
    }
    return Selections(sources, found, matrix)


def _source(name: str, row: Mapping[str, Any], place: str) -> NamedSource:
    if not _NAME.fullmatch(name):
        raise MatrixError(f"{place}: '{name}' is no name for a source: use letters, digits and . _ + -")
    source = convert({**row, "name": name}, NamedSource, place, MatrixError)
    if source.version and not _VERSION.fullmatch(source.version):
        raise MatrixError(f"{place}: version must be a text such as '6.12'")
    try:
        spec = str(parse_source(source.spec))
    except KernelError as error:
        raise MatrixError(f"{place}: {error}") from error
    guess = re.fullmatch(r"apt:linux-source-(\d+\.\d+)", spec)
    return NamedSource(name, spec, source.version or (guess[1] if guess else ""))


def check_suites(names: Iterable[str], place: str) -> None:
    """Raises MatrixError for a suite that there is not."""
    for name in names:
        if name not in SUITES:
            raise MatrixError(f"{place}: {unknown('suite', name, SUITES)}")


def _words(pattern: str, place: str) -> list[str]:
    words = pattern.split()
    if len(words) != 3:
        raise MatrixError(
            f"{place}: '{pattern}' is no cell: write SOURCE ARCHITECTURE CONFIGURATION, as in '6.* x86_64 *'"
        )
    return words
