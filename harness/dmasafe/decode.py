# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of TOML and JSON as dataclasses, by msgspec: an error names the file, the key and what is wrong there.

What reads is imported when the first file is read: `import dmasafe.model` must stay quick.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from dmasafe.errors import DmasafeError

if TYPE_CHECKING:
    from pathlib import Path

_Kind = TypeVar("_Kind")
_Family = Callable[[str], Exception]
MAX_BYTES = 256 * 1024 * 1024
_TABLE = re.compile(r"\s*(\[\[?)\s*([\w.-]+)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([\w-]+)\s*=")
_MISSING = re.compile(r"Object missing required field `(.*?)`")


def convert(value: object, kind: type[_Kind], place: str, family: _Family, extra: bool = False) -> _Kind:
    """``value``, as TOML or JSON has it, as a ``kind``; ``place`` (FILE: TABLE) says for the error where it stands.

    A key that ``kind`` does not have is a mistake unless ``extra``: a later version's file may have it. Raises an error
    of ``family``, also for a ValueError or DmasafeError of a dataclass's own ``__post_init__``.
    """
    import msgspec

    try:
        found = msgspec.convert(value, kind)
    except DmasafeError as cause:
        raise family(f"{located(place)}: {cause}") from cause
    except msgspec.ValidationError as cause:
        what, _, where = str(cause).partition(" - at `$")
        what = _MISSING.sub(r"key '\1' is missing", what)
        where = where.strip(".`")
        raise family(": ".join(part for part in (located(place, where), where, what) if part)) from cause
    unknown = None if extra else next(_unknown(value, msgspec.to_builtins(found)), None)
    if unknown is not None:
        raise family(f"{located(place, unknown)}: unknown key '{unknown.lstrip('.')}'")
    return found


def located(place: str, key: str = "") -> str:
    """``place`` (FILE: TABLE) with the number of the line behind a TOML file's name that has ``key``, or its table."""
    from pathlib import Path

    file, _, table = place.partition(": ")
    wanted = ".".join(part for part in (table, key.lstrip(".").replace("[...]", "")) if part)
    lines: dict[str, int] = {}
    if file.endswith(".toml") and Path(file).is_absolute() and Path(file).is_file():
        lines = _lines(Path(file).read_text(encoding="utf-8"))
    while wanted and wanted not in lines:
        wanted = re.sub(r"\.?[^.]*$", "", wanted)
    return f"{file}:{lines[wanted]}{place[len(file) :]}" if wanted else place


def _lines(text: str) -> dict[str, int]:
    """The tables and keys of TOML, such as ``absence[1].symbol``, and their lines."""
    found: dict[str, int] = {}
    count: Counter[str] = Counter()
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if heading := _TABLE.match(line):
            table = heading[2]
            if heading[1] == "[[":
                count[table] += 1
                table += f"[{count[table] - 1}]"
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault(f"{table}.{key[1]}".lstrip("."), number)
    return found


def read_toml(path: Path, kind: type[_Kind], family: _Family) -> _Kind:
    """The TOML file ``path`` as a ``kind``. Raises an error of ``family``."""
    import tomllib

    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise family(f"cannot read {path}: {_reason(cause)}") from cause
    return convert(data, kind, str(path), family)


def read_json(path: Path, schema: int, family: _Family, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The JSON object in the file ``path``, if its ``schema`` is this one. Raises an error of ``family``."""
    import json

    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise ValueError(f"it has more than {max_bytes:,} bytes")
        found = json.loads(data)
    except (OSError, ValueError, RecursionError) as cause:
        raise family(f"cannot read {path}: {_reason(cause)}") from cause
    if not isinstance(found, dict) or "schema" not in found:
        raise family(f"{path} has no 'schema': it was not written by dmasafe")
    if found["schema"] != schema:
        raise family(f"{path} has schema {found['schema']}, this dmasafe reads {schema}: use the one that wrote it")
    return found


def _unknown(given: object, kept: object, where: str = "") -> Iterator[str]:
    """The keys of ``given`` that are not in ``kept``, which was made of it."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            yield from _unknown(value, kept[key], f"{where}.{key}") if key in kept else (f"{where}.{key}",)
    elif isinstance(given, list) and isinstance(kept, (list, tuple)):
        for number, (one, other) in enumerate(zip(given, kept, strict=False)):
            yield from _unknown(one, other, f"{where}[{number}]")


def _reason(cause: Exception) -> str:
    return (isinstance(cause, OSError) and cause.strerror) or str(cause)
