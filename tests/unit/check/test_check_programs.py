# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs made at random: what is unsafe is found, and what is safe is left alone."""

from pathlib import Path

import pytest

from dmasafe.check import check_files
from dmasafe.check.programs import file_of, programs, said


@pytest.mark.parametrize("seed", [1])
def test_the_checker_says_of_each_program_what_is_true_of_it(seed):
    written = [one for one in programs(seed, 400) if one.limit is None]
    checked = check_files(["programs.c"], Path("/nonexistent"), {"programs.c": file_of(written).encode()})
    found = {name: {result.kind for result in results} for name, results in said(checked.results).items()}
    wrong = [
        f"{one.name}: {one.what}: found {found.get(one.name, set()) or 'nothing'}, true is {one.kind or 'nothing'}"
        for one in written
        if found.get(one.name, set()) != ({one.kind} if one.kind else set())
    ]
    assert not wrong, "\n".join(wrong)
