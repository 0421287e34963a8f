# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs made at random: what is unsafe is found, and what is safe is left alone."""

from pathlib import Path

import pytest

from dmasafe.audit import Level
from dmasafe.check import check_files
from dmasafe.check.programs import GIVEN, file_of, programs, said


@pytest.mark.parametrize("seed", [1])
def test_the_checker_says_of_each_program_what_is_true_of_it(seed):
    written = programs(seed, 400)
    checked = check_files(["programs.c"], Path("/nonexistent"), {"programs.c": file_of(written).encode()})
    results = said(checked.results)
    found = {name: {result.kind for result in some} for name, some in results.items()}
    wrong = [
        f"{one.name}: {one.what}: found {found.get(one.name, set()) or 'nothing'}, true is {one.kind or 'nothing'}"
        for one in written
        if one.limit is None and found.get(one.name, set()) != ({one.kind} if one.kind else set())
    ]
    assert not wrong, "\n".join(wrong)
    certain = {name for name, some in results.items() if any(one.level is Level.ERROR for one in some)}
    assert certain and not [one.what for one in written if one.name in certain and one.bad != frozenset(GIVEN)]
