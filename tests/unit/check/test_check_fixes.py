# SPDX-License-Identifier: GPL-2.0-or-later
"""Buffers that upstream moved, between two kernels: the old place is reported, the new one is not.

tests/fixtures/check/fixes.tsv has them, as ``python -m benchmarks.fixes`` finds them by comparing the two texts.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from dmasafe.check import CheckResult, check_paths
from dmasafe.kernel.cache import find_cache

FIXES = Path(__file__).parents[2] / "fixtures" / "check" / "fixes.tsv"
LEAST = 0.9


class Fix(NamedTuple):
    old: str
    new: str
    file: str
    function: str
    sink: str
    buffer: str
    now: str


ROWS = [Fix(*line.split("\t")) for line in FIXES.read_text().splitlines() if not line.startswith("#")]


def about(result: CheckResult, fix: Fix) -> bool:
    """Whether a result is about the buffer: the function's own, or the member, which any function may hand over."""
    if result.file != fix.file:
        return False
    if fix.buffer.startswith("->"):
        return fix.buffer[2:] in re.split(r"\W+", result.name)
    name = re.findall(r"[A-Za-z_]\w*", re.sub(r"\([^()]*\*\s*\)", "", fix.buffer))[0]
    return result.function == fix.function and result.name.partition(".")[0] == name


def test_the_old_place_is_reported_and_the_new_one_is_not():
    found: dict[str, list[CheckResult]] = {}
    for version in sorted({version for row in ROWS for version in (row.old, row.new)}):
        trees = sorted(find_cache().root.glob(f"sources/apt-linux-source-{version}-*/tree"))
        if not trees:
            pytest.skip(f"there is no source of {version} in the cache")
        files = sorted({row.file for row in ROWS if version in (row.old, row.new)})
        found[version] = list(check_paths([trees[-1] / file for file in files], trees[-1]).results)
    wrong = []
    for row in ROWS:
        before, after = (any(about(one, row) for one in found[version]) for version in (row.old, row.new))
        if not before or after:
            wrong.append(
                f"{row.old} {'reported' if before else 'missed'}, {row.new} {'still' if after else 'clean'}: {row}"
            )
    right = len(ROWS) - len(wrong)
    print("\n".join(wrong))
    assert len(ROWS) >= 40
    assert right / len(ROWS) >= LEAST, f"{right} of {len(ROWS)}:\n" + "\n".join(wrong)
