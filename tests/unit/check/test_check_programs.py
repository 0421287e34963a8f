# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs made at random: what is unsafe is found, and what is safe is left alone."""

import re
from pathlib import Path

import pytest

from dmasafe.audit import Level
from dmasafe.check import check_files
from tests.unit.check.programs import programs


@pytest.mark.parametrize("seed", [1])
def test_the_checker_says_of_each_program_what_is_true_of_it(seed):
    text, truth = programs(seed, 400)
    checked = check_files(["programs.c"], Path("/nonexistent"), {"programs.c": text.encode()})
    found: dict[int, set[str]] = {}
    for result in checked.results:
        number = re.search(r"_(\d+)(?:_\d+)?$", result.function)
        if number and result.level is not Level.NOTE:
            found.setdefault(int(number[1]), set()).add(result.kind)
    wrong = [
        f"{number}: {what}: found {found.get(number, set()) or 'nothing'}, true is {true or 'nothing'}"
        for number, (true, what) in truth.items()
        if found.get(number, set()) != ({true} if true else set())
    ]
    assert not wrong, "\n".join(wrong)
