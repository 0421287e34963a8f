# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of tests/mutants follow the code: every path is there, every reason is about a line that exists."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.groups import GROUPS, PACKAGE

SURVIVORS = Path(__file__).parents[2] / "mutants" / "survivors.txt"
FILES = Counter(file for group in GROUPS.values() for file in group.mutated())


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_a_group_has_files_and_tests(group):
    assert all((PACKAGE / file).is_file() for file in group.mutated())
    assert group.tested_by() and len(set(group.tested_by())) == len(group.tested_by())
    assert set(group.best) <= set(group.mutated())
    for file in group.mutated():
        if file in group.best:
            assert any(group.best_for(file) in path.name for path in group.tested_by()), file


def test_no_file_is_in_two_groups():
    assert [file for file, count in FILES.items() if count > 1] == []


@pytest.mark.parametrize("column", ["files", "tests", "recordings", "without"])
def test_a_path_that_leads_nowhere_is_an_error(column):
    wrong = replace(GROUPS["model"], **{column: ("model/nothing_*.py",)})
    with pytest.raises(FileNotFoundError, match=r"groups\.py: nothing is at \S+/model/nothing_\*\.py"):
        wrong.mutated(), wrong.tested_by(), wrong.recorded()


@pytest.mark.parametrize(("file", "text", "why"), EQUIVALENT)
def test_what_nobody_can_notice_is_a_line_that_exists(file, text, why):
    assert file in FILES and why
    assert text in (PACKAGE / file).read_text()


def test_survivors_are_of_files_that_exist():
    lines = [line for line in SURVIVORS.read_text().splitlines() if line and not line.startswith("#")]
    assert {line.split(":")[0] for line in lines} <= set(FILES)
