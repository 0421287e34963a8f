# SPDX-License-Identifier: GPL-2.0-or-later
"""What to build: matrix.toml's configurations, the architectures' files, fragments, and the merged .config checked.

The kernel's own tools merge (tinyconfig, merge_config.sh, olddefconfig); then every line is looked up in the result,
because Kconfig drops in silence what it cannot give. Without a required symbol there is no kernel; without another one
there is a note, unless an [[absence]] row knows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dmasafe.architecture import (
    ArchitectureError,
    ArchitectureFile,
    architecture_names,
    architecture_path,
    project_root,
    read_architecture,
)
from dmasafe.decode import convert, located, read_toml
from dmasafe.errors import unknown
from dmasafe.kernel.errors import ConfigError
from dmasafe.kernel.kconfig import Kconfig, enabling, why_not

#: So many symbols are set for the sake of another one, at most.
MAX_ENABLED = 4

_SYMBOL_LINE = re.compile(r"^CONFIG_(\w+)=(.*)$")
_UNSET_LINE = re.compile(r"^# CONFIG_(\w+) is not set$")
_VERSION_TEST = re.compile(r"\s*(<=|>=|<|>|==|=|!=)\s*(\d+)(?:\.(\d+))?\s*$")


@dataclass(frozen=True)
class Architecture:
    """The table ``[kernel]`` of an architecture's file: how its kernel is built.

    ``machine`` is what ``uname -m`` says, ``image`` what boots, below the object directory, ``debian`` Debian's name,
    ``debian_suite`` where its packages are (empty: where everybody's are). ``versions`` (version_matches()) are the
    kernels it is for; all if empty.
    """

    name: str
    fragments: tuple[str, ...]
    make_arch: str
    machine: str
    cross_compile: str
    targets: tuple[str, ...]
    image: str
    agent_cflags: tuple[str, ...]
    steps: int
    debian: str = ""
    debian_suite: str = ""
    versions: str = ""

    def __post_init__(self) -> None:
        _require_test(self.versions)

    def makes_sense(self, version: str) -> bool:
        """Whether there are cells of this kernel version ("6.12.117"). Raises ConfigError."""
        return not self.versions or version_matches(version, self.versions)


@dataclass(frozen=True)
class Configuration:
    """A row of matrix.toml: a kernel, by its ``fragments`` or as another configuration's, and how it is booted.

    ``more`` are further fragments, for an architecture each. ``append`` are words for the kernel's command line,
    ``machine`` is a variation of the machine (dmasafe/qemu); all are empty for most. ``strict_line`` are the bytes of
    a cache line of the strict machine (0: as many as usual). ``architectures`` and ``versions`` (version_matches())
    say where it makes sense; all if empty, but with a ``machine`` those architectures that have such a variation.
    """

    name: str
    fragments: tuple[str, ...] = ()
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kernel: str = ""
    append: tuple[str, ...] = ()
    machine: str = ""
    architectures: tuple[str, ...] = ()
    versions: str = ""
    strict_line: int = 0

    def __post_init__(self) -> None:
        _require_test(self.versions)

    @property
    def kernel_name(self) -> str:
        """The configuration that the kernel is built as: its own name, or that of the one whose kernel it boots."""
        return self.kernel or self.name

    def makes_sense(self, version: str, architecture: str) -> bool:
        """Whether a cell of this kernel version ("6.12.117") and architecture exists. Raises ConfigError."""
        if self.architectures and architecture not in self.architectures:
            return False
        return not self.versions or version_matches(version, self.versions)


#: The fragment of the strict machine: a kernel with it is booted as one (images/strict/).
STRICT_FRAGMENT = "strict"
#: What a cache line has there: as on x86.
STRICT_LINE_BYTES = 64


@dataclass(frozen=True)
class Absence:
    """A symbol that some versions are allowed to lack, and why that is right; of ``architectures`` only, if any."""

    symbol: str
    versions: str
    why: str
    architectures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_test(self.versions)

    def concerns(self, arch: str) -> bool:
        return not self.architectures or arch in self.architectures

    def allows(self, version: str, arch: str = "") -> bool:
        return version_matches(version, self.versions) and self.concerns(arch)


@dataclass(frozen=True)
class Required:
    """Symbols without which a kernel is good for no verdict, where a fragment asks for them, and why."""

    symbols: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class _MatrixFile:
    configuration: Mapping[str, dict[str, Any]]
    absence: tuple[Absence, ...] = ()
    required: tuple[Required, ...] = ()
    verified: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matrix:
    """matrix.toml and the architectures' files, read and checked; ``directory`` has the fragments.

    ``required`` are the symbols of the [[required]] rows, ``verified`` the series ("7.2") that were verified.
    """

    directory: Path
    configurations: Mapping[str, Configuration]
    architectures: Mapping[str, Architecture]
    absences: tuple[Absence, ...]
    required: frozenset[str] = frozenset()
    verified: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """A fragment's line: ``value`` is "n" for "is not set", else what stands right of ``=``; ``place`` is FILE:LINE.

    ``required``: there is no verdict without it.
    """

    symbol: str
    value: str
    place: str
    required: bool = False

    def __str__(self) -> str:
        return f"# CONFIG_{self.symbol} is not set" if self.value == "n" else f"CONFIG_{self.symbol}={self.value}"


@dataclass(frozen=True)
class ConfigRequest:
    """A kernel's configuration for an architecture, resolved: the fragments' joined text and what it asks for.

    ``name`` is the kernel's, which can be another than that of the configuration that was asked for.
    """

    name: str
    architecture: Architecture
    text: str
    wanted: tuple[Wanted, ...]


def load_matrix(directory: Path | None = None) -> Matrix:
    """Read ``directory``/matrix.toml (the project's own kernel-configs/ if None); ConfigError names what is wrong."""
    directory = (directory or project_root() / "kernel-configs").absolute()
    path = directory / "matrix.toml"
    data = read_toml(path, _MatrixFile, ConfigError)
    files = {name: read_architecture(name, directory) for name in architecture_names(directory)}
    configurations = {name: _configuration(name, row, path, files) for name, row in data.configuration.items()}
    absences = data.absence
    for name, file in files.items():
        place = f"{architecture_path(name, directory)}: absence"
        rows = enumerate({**row, "architectures": [name]} for row in file.absence)
        absences += tuple(convert(row, Absence, f"{place}[{number}]", ConfigError) for number, row in rows)
    architectures = {name: _architecture(name, file, directory) for name, file in files.items()}
    required = frozenset(symbol for row in data.required for symbol in row.symbols)
    matrix = Matrix(directory, configurations, architectures, absences, required, data.verified)
    for configuration in configurations.values():
        _check(configuration, matrix)
    return matrix


def _configuration(
    name: str, table: Mapping[str, Any], path: Path, files: Mapping[str, ArchitectureFile]
) -> Configuration:
    row = convert({**table, "name": name}, Configuration, f"{path}: configuration.{name}", ConfigError)
    if not row.machine or row.architectures:
        return row
    having = tuple(arch for arch, file in files.items() if row.machine in file.variation)
    if not having:
        place = located(f"{path}: configuration.{name}", "machine")
        raise ConfigError(f"{place}: no architecture has a machine '{row.machine}'")
    return replace(row, architectures=having)


def _check(row: Configuration, matrix: Matrix) -> None:
    place = located(f"{matrix.directory / 'matrix.toml'}: configuration.{row.name}")
    if bool(row.fragments) == bool(row.kernel):
        raise ConfigError(f"{place}: it needs either 'fragments' or 'kernel'")
    if row.kernel and (row.kernel not in matrix.configurations or matrix.configurations[row.kernel].kernel):
        known = ", ".join(sorted(name for name, other in matrix.configurations.items() if not other.kernel))
        raise ConfigError(f"{place}: there is no kernel '{row.kernel}': those with fragments are {known}")
    missing = sorted(set(row.architectures) - set(matrix.architectures))
    if missing:
        known = ", ".join(matrix.architectures)
        raise ConfigError(f"{place}: there is no architecture '{missing[0]}': kernel-configs/arch/ has {known}")


def _architecture(name: str, file: ArchitectureFile, directory: Path) -> Architecture:
    values = {**file.kernel, "name": name, "machine": file.uname, "debian": file.debian}
    values["debian_suite"] = file.debian_suite
    return convert(values, Architecture, f"{architecture_path(name, directory)}: kernel", ArchitectureError)


def find_configuration(matrix: Matrix, configuration: str, architecture: str, version: str = "") -> Configuration:
    """The row of ``configuration`` (NAME, or NAME+FRAGMENT+...), if it makes sense there (``version`` may be unknown).

    ConfigError lists what there is. Added fragments stay in the row's name, and in that of its kernel unless a
    configuration of the same fragments has one already: ``default+strict`` boots the kernel of ``strict``.
    """
    if architecture not in matrix.architectures:
        known = ", ".join(sorted(matrix.architectures))
        raise ConfigError(f"there is no architecture '{architecture}': kernel-configs/arch/ has {known}")
    target = matrix.architectures[architecture]
    if version and not target.makes_sense(version):
        raise ConfigError(f"the architecture {architecture} is for Linux {target.versions}, not for {version}")
    base, plus, extra = configuration.partition("+")
    if base not in matrix.configurations:
        raise ConfigError(unknown("configuration", base, sorted(matrix.configurations)))
    row = matrix.configurations[base]
    if row.architectures and architecture not in row.architectures:
        raise ConfigError(f"the configuration {base} is for {' and '.join(row.architectures)}, not for {architecture}")
    if row.versions and version and not version_matches(version, row.versions):
        raise ConfigError(f"the configuration {base} is for Linux {row.versions}, not for {version}")
    kernel = f"{row.kernel or base}{plus}{extra}"
    if extra:
        fragments = (*matrix.configurations[row.kernel or base].fragments, *extra.split("+"))
        same = (each for each in matrix.configurations.values() if each.fragments == fragments)
        kernel = next((each.name for each in same if architecture in (each.architectures or (architecture,))), kernel)
    return replace(row, name=configuration, kernel="" if kernel == configuration else kernel)


def strict_line(matrix: Matrix, configuration: Configuration) -> int:
    """The bytes of a strict machine's cache line, 0 if the kernel (find_configuration()) is not one for it."""
    base, *extra = configuration.kernel_name.split("+")
    strict = STRICT_FRAGMENT in (*matrix.configurations[base].fragments, *extra)
    return (configuration.strict_line or STRICT_LINE_BYTES) if strict else 0


def strict_line_of(configuration: str, arch: str) -> int:
    """strict_line() of a configuration by its name. Raises ConfigError."""
    matrix = load_matrix()
    return strict_line(matrix, find_configuration(matrix, configuration, arch))


def has_strict_kernel(configuration: str, arch: str) -> bool:
    """Whether there is a configuration that is this one on the strict machine, but for added fragments.

    Raises ConfigError.
    """
    matrix, base = load_matrix(), configuration.partition("+")[0]
    return find_configuration(matrix, f"{base}+{STRICT_FRAGMENT}", arch).kernel in matrix.configurations


def find_architecture(name: str) -> Architecture:
    """The row of an architecture of the project's own. Raises ArchitectureError, which lists what there is."""
    return _architecture(name, read_architecture(name), project_root() / "kernel-configs")


def resolve(matrix: Matrix, configuration: str, architecture: str, version: str = "") -> ConfigRequest:
    """Find ``configuration`` (NAME, or NAME+FRAGMENT+...) and ``architecture``; ConfigError lists what there is.

    A FRAGMENT is a name in kernel-configs/ or a path (it has a slash or ends in .config). What one of the project's
    means on one architecture only stands in FRAGMENT-ARCHITECTURE.config, which is added to it.
    """
    cell = find_configuration(matrix, configuration, architecture, version)
    row = matrix.architectures[architecture]
    base, *extra = cell.kernel_name.split("+")
    fragments = [*matrix.configurations[base].fragments, *matrix.configurations[base].more.get(architecture, ())]
    # What somebody asks for in a file of his own is what he wants to try.
    of_the_user = [name for name in extra if "/" in name or name.endswith(".config")]
    fragments += [name for name in extra if name not in of_the_user]
    fragments += [f"{name}-{architecture}" for name in fragments if _has(matrix, f"{name}-{architecture}")]
    paths = [(matrix.directory / f"{name}.config", False) for name in dict.fromkeys((*row.fragments, *fragments))]
    paths += [(Path(name).expanduser(), True) for name in of_the_user]
    texts = []
    wanted: dict[str, Wanted] = {}
    for path, own in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as cause:
            known = ", ".join(sorted(found.stem for found in matrix.directory.glob("*.config")))
            raise ConfigError(f"there is no fragment {path}: kernel-configs/ has {known}") from cause
        texts.append(text if text.endswith("\n") else text + "\n")
        for line in parse_fragment(text, path.name):
            # The last line wins, here as in merge_config.sh.
            wanted.pop(line.symbol, None)
            wanted[line.symbol] = replace(line, required=own or line.symbol in matrix.required)
    return ConfigRequest(cell.kernel_name, row, "".join(texts), tuple(wanted.values()))


def _has(matrix: Matrix, fragment: str) -> bool:
    return (matrix.directory / f"{fragment}.config").is_file()


def parse_fragment(text: str, name: str) -> tuple[Wanted, ...]:
    """The lines of a fragment; ConfigError for a line that is neither a symbol nor a comment."""
    found = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if match := _SYMBOL_LINE.match(line):
            found.append(Wanted(match[1], match[2], f"{name}:{number}"))
        elif match := _UNSET_LINE.match(line):
            found.append(Wanted(match[1], "n", f"{name}:{number}"))
        elif line and not line.startswith("#"):
            raise ConfigError(
                f"{name}:{number} is neither CONFIG_X=value, '# CONFIG_X is not set' nor a comment: {line}"
            )
    return tuple(found)


def parse_config(text: str) -> dict[str, str]:
    """A .config's symbols (without CONFIG_) and values as written; those that are not set are left out."""
    return {match[1]: match[2] for line in text.splitlines() if (match := _SYMBOL_LINE.match(line))}


@dataclass(frozen=True)
class Checked:
    """What came of a request: ``absences`` did not take and are known to be missing, ``missed`` are not known."""

    absences: tuple[str, ...]
    missed: tuple[Wanted, ...]


def check(
    wanted: Iterable[Wanted], config: Mapping[str, str], version: str, absences: Sequence[Absence], arch: str = ""
) -> Checked:
    """Compare what fragments want with the merged .config of a kernel ``version`` for an architecture."""
    absent, missed = [], []
    for line in wanted:
        if config.get(line.symbol, "n") == line.value:
            continue
        if any(row.symbol == line.symbol and row.allows(version, arch) for row in absences):
            absent.append(line.symbol)
        else:
            missed.append(line)
    return Checked(tuple(absent), tuple(missed))


def enable_missed(
    missed: Iterable[Wanted], wanted: Iterable[Wanted], config: Mapping[str, str], kconfig: Kconfig
) -> dict[str, tuple[str, ...]]:
    """What else has to be set to y so that lines that did not take can: for each symbol, what it was missing.

    Nothing that a fragment switches off, and no long chains: those are found by a person.
    """
    switched_off = {line.symbol for line in wanted if line.value == "n"}
    symbols = {line.symbol for line in wanted}
    found: dict[str, tuple[str, ...]] = {}
    for line in missed:
        if line.value not in ("y", "m"):
            continue
        way = enabling(kconfig, line.symbol, config, symbols)
        more = tuple(name for name in way or () if name != line.symbol)
        if more and len(more) <= MAX_ENABLED and not switched_off.intersection(more):
            found[line.symbol] = more
    return found


def explain_absent(
    missed: Iterable[Wanted], config: Mapping[str, str], version: str, kconfig: Kconfig
) -> tuple[str, ...]:
    """A note for each line that a kernel of this version is built without."""
    return tuple(
        f"Linux {version} is built without {line} ({line.place}): {why_not(kconfig, line.symbol, line.value, config)}"
        for line in missed
    )


def not_verified(version: str, matrix: Matrix) -> str | None:
    """A note on a version of a series that was not verified, or None."""
    here = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    series = [tuple(int(part) for part in name.split(".")) for name in matrix.verified]
    if not series or here in series:
        return None
    # Expectations are those of the last version that was read.
    nearest = max((name for name in series if name < here), default=min(series))
    return f"Linux {version} is not verified: the nearest verified is {'.'.join(map(str, nearest))}"


def explain_missed(missed: Sequence[Wanted], config: Mapping[str, str], version: str, kconfig: Kconfig) -> ConfigError:
    """The error for required lines that did not take: each with its place and the unmet dependency."""
    clauses = []
    for line in missed:
        got = config.get(line.symbol, "n")
        now = "" if got == "n" else f" (it is {got})"
        clauses.append(f"{line} of {line.place}{now}: {why_not(kconfig, line.symbol, line.value, config)}")
    return ConfigError(
        f"Linux {version} did not take {'; '.join(clauses)}. Correct the fragment, or, if the version may lack it, "
        "add an [[absence]] row to kernel-configs/matrix.toml"
    )


def _require_test(tests: str) -> None:
    """Raises ValueError, as a dataclass does for a value that cannot be, unless ``tests`` are or are empty."""
    try:
        version_matches("0.0", tests or "<1.0")
    except ConfigError as cause:
        raise ValueError(f"versions: {cause}") from cause


def version_matches(version: str, tests: str) -> bool:
    """Whether a version ("6.12.117", "7.0.0-rc1") passes all of the comma-separated ``tests`` (">=5.15,<7.0").

    Only the first two numbers count. ConfigError if a test cannot be read.
    """
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None:
        raise ConfigError(f"'{version}' is not a kernel version")
    this = (int(numbers[1]), int(numbers[2]))
    for test in tests.split(","):
        match = _VERSION_TEST.match(test)
        if match is None:
            raise ConfigError(f"'{test}' is not a version test: write '>=5.15' or '<7.0'")
        that = (int(match[2]), int(match[3] or 0))
        results = {
            "<": this < that, ">": this > that, "<=": this <= that, ">=": this >= that,
            "==": this == that, "=": this == that, "!=": this != that,
        }  # fmt: skip
        if not results[match[1]]:
            return False
    return True
