# SPDX-License-Identifier: GPL-2.0-or-later
"""Files as typed objects: what is wrong is named with the file and the key."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dmasafe.decode import convert, read_json, read_toml
from dmasafe.errors import DmasafeError


@dataclass(frozen=True)
class Absence:
    symbol: str
    versions: tuple[str, ...] = ()

    def __post_init__(self):
        if self.symbol.startswith("CONFIG_"):
            raise ValueError("write the symbol without CONFIG_")


@dataclass(frozen=True)
class File:
    absence: tuple[Absence, ...] = ()
    limits: dict[str, int] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ("[[absence]]\nsymbol = 'A'\n[[absence]]\nsymbol = 'B'\nversoins = []", "unknown key 'absence[1].versoins'", 5),
        ("[[absence]]", "absence[0]: key 'symbol' is missing", 1),
        ("[[absence]]\nsymbol = 7", "absence[0].symbol: Expected `str`, got `int`", 2),
        ("[[absence]]\nsymbol = 'A'\nversions = '6.1'", "absence[0].versions: Expected `array`, got `str`", 3),
        ("[[absence]]\nsymbol = 'CONFIG_A'", "absence[0]: write the symbol without CONFIG_", 1),
        ("limits = { boots = true }", "limits[...]: Expected `int`, got `bool`", 1),
        ("other = 1", "unknown key 'other'", 1),
        ("limits = { boots = 1 }\n\n[other]", "unknown key 'other'", 3),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(tmp_path: Path, text: str, says: str, line: int) -> None:
    path = tmp_path / "file.toml"
    path.write_text(text)
    with pytest.raises(DmasafeError) as caught:
        read_toml(path, File, DmasafeError)
    assert str(caught.value) == f"{path}:{line}: {says}"


def test_lists_become_tuples_and_defaults_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "file.toml").write_text("[[absence]]\nsymbol = 'A'\nversions = ['6.1', '6.12']")
    assert read_toml(tmp_path / "file.toml", File, DmasafeError) == File((Absence("A", ("6.1", "6.12")),))


def test_a_later_versions_keys_are_let_through_where_they_may_come() -> None:
    value = {"absence": [{"symbol": "A", "new": 1}], "newer": 2}
    assert convert(value, File, "x", DmasafeError, extra=True) == File((Absence("A"),))
    with pytest.raises(DmasafeError, match=r"x: unknown key 'absence\[0\].new'"):
        convert(value, File, "x", DmasafeError)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "cannot read .*: Expecting value: line 1"),
        ("[" * 100_000, "cannot read .*(recursion|Stack overflow)"),
        (json.dumps({"schema": 1, "text": "x" * 100}), "cannot read .*: it has more than 64 bytes"),
        ("3", "has no 'schema': it was not written by dmasafe"),
        ('{"schema": 2}', "has schema 2, this dmasafe reads 1: use the one that wrote it"),
    ],
)
def test_json_that_is_not_ours_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(DmasafeError, match=says) as caught:
        read_json(path, 1, DmasafeError, 1_000_000 if text[:2] == "[[" else 64)
    assert "\n" not in str(caught.value)
