# SPDX-License-Identifier: GPL-2.0-or-later
"""Candidates are named by places, and by results of the check in both its formats."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dmasafe.check import check_paths
from dmasafe.prove import ProveError
from dmasafe.prove.candidates import find_candidates, fingerprints, is_candidate
from dmasafe.report import check as render

SOURCE = """
static int chip_set(struct spi_device *spi)
{
	u8 buf[2];

	return spi_write(spi, buf, 2);
}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "drivers/hwmon").mkdir(parents=True)
    (tmp_path / "drivers/hwmon/chip.c").write_text(SOURCE)
    return tmp_path


def test_a_place_names_a_candidate(tree: Path) -> None:
    for word in ("drivers/hwmon/chip.c", "drivers/hwmon/chip.c:6"):
        assert [one.function for one in find_candidates(tree, [word], tree / "cache")[0]] == ["chip_set"]


def test_a_place_without_a_candidate_is_an_error(tree: Path) -> None:
    with pytest.raises(ProveError, match=r"nothing of drivers/hwmon/chip\.c:7"):
        find_candidates(tree, ["drivers/hwmon/chip.c:7"], tree / "cache")


@pytest.mark.parametrize(
    "other", [{"bus": "i2c"}, {"rule": "needless-bounce"}, {"kind": "vmalloc"}, {"kind": "struct-embedded"}]
)
def test_what_a_board_cannot_show_is_no_candidate(tree: Path, other: dict[str, Any]) -> None:
    (found,) = check_paths([tree / "drivers"], tree).results
    assert is_candidate(found) and not is_candidate(replace(found, **other))


@pytest.mark.parametrize("form", ["json", "sarif"])
def test_results_of_the_check_name_candidates(tree: Path, form: str) -> None:
    checked = check_paths([tree / "drivers"], tree)
    text = json.dumps(render.to_json(checked)) if form == "json" else render.to_sarif(checked)
    result = tree / f"result.{form}"
    result.write_text(text)
    assert fingerprints(result) == {one.fingerprint for one in checked.results}
    assert [one.line for one in find_candidates(tree, [str(result)], tree / "cache")[0]] == [6]


def test_what_is_no_result_is_an_error(tree: Path) -> None:
    (tree / "other").write_text("{}")
    with pytest.raises(ProveError, match="no result"):
        fingerprints(tree / "other")
    with pytest.raises(ProveError, match="cannot read"):
        fingerprints(tree / "missing")
