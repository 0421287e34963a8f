# SPDX-License-Identifier: GPL-2.0-or-later
"""An architecture is one data file: kernel-configs/arch/NAME.toml says how its kernel is built and what it boots on.

The rooms ``kernel`` and ``qemu`` make rows of their own tables; here the files are found, read and checked.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from dmasafe.errors import DmasafeError

_Row = TypeVar("_Row")
_WORDS = {str: "text in quotes", int: "a number", bool: "true or false", tuple: "a list of texts"}
_NEEDED = {"uname", "debian", "kernel", "machine"}
_TABLES = _NEEDED | {"debian_suite", "variation"}


class ArchitectureError(DmasafeError):
    """There is no such architecture, or its file says something that it cannot say."""


def project_root() -> Path:
    """The directory that holds kernel-configs/ and images/: the checkout, or dmasafe/project where one is installed."""
    package = Path(__file__).resolve().parent
    # An installed package has its own copy; in a checkout the package lies in harness/.
    for root in (package / "project", package.parents[1]):
        if (root / "kernel-configs" / "matrix.toml").is_file():
            return root
    raise ArchitectureError(f"there is no kernel-configs/matrix.toml in or beside {package}: install dmasafe again")


def architecture_names(directory: Path | None = None) -> tuple[str, ...]:
    """The architectures that have a file in ``directory``/arch (None: the project's own kernel-configs/)."""
    directory = directory or project_root() / "kernel-configs"
    return tuple(sorted(path.stem for path in (directory / "arch").glob("*.toml")))


def read_architecture(name: str, directory: Path | None = None) -> Mapping[str, Any]:
    """The file of one architecture, with all its tables. Raises ArchitectureError."""
    directory = directory or project_root() / "kernel-configs"
    path = directory / "arch" / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as cause:
        known = ", ".join(architecture_names(directory))
        raise ArchitectureError(f"there is no architecture '{name}': kernel-configs/arch/ has {known}") from cause
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as cause:
        raise ArchitectureError(f"{path} cannot be read: {cause}") from cause
    unknown = sorted(data.keys() - _TABLES)
    missing = sorted(_NEEDED - data.keys())
    if unknown:
        raise ArchitectureError(f"{path} has {', '.join(unknown)}, which no architecture has")
    if missing:
        raise ArchitectureError(f"{path} lacks {', '.join(missing)}")
    for key in ("kernel", "machine", "variation"):
        require_table(data.get(key, {}), f"{path}: {key}")
    return data


def require_table(value: object, place: str) -> Mapping[str, Any]:
    """``value`` if it is a table. Raises ArchitectureError."""
    if not isinstance(value, dict):
        raise ArchitectureError(f"{place} is no table")
    return value


def make_row(kind: type[_Row], values: Mapping[str, Any], place: str) -> _Row:
    """A frozen dataclass from a TOML table: names known, none missing, types right. Raises ArchitectureError."""
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise ArchitectureError(f"{place} has '{name}', but there are only {', '.join(known)}")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ArchitectureError(f"{place} lacks '{name}'")
    return kind(**{name: _converted(value, hints[name], f"{place}: '{name}'") for name, value in values.items()})


def _converted(value: object, hint: Any, place: str) -> object:
    kind = get_origin(hint) or hint
    if kind is UnionType:
        # X | None: TOML has no null, so what is there is an X.
        hint = get_args(hint)[0]
        kind = get_origin(hint) or hint
    if kind is tuple and isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if kind is not tuple and type(value) is kind:
        return value
    raise ArchitectureError(f"{place} must be {_WORDS[kind]}, not {value!r}")
