# SPDX-License-Identifier: GPL-2.0-or-later
"""Every unsafe buffer that a running kernel showed in an upstream driver is found in the source, or named with why not.

The rows are those of docs/check.md, "Compared with what ran".
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from dmasafe.audit import TRUSTING
from dmasafe.check import check_paths
from dmasafe.findings.catalogue import load
from dmasafe.kernel.cache import find_cache

PAGE = Path(__file__).parents[3] / "docs" / "check.md"
ROW = re.compile(
    r"^\| (?P<seen>[^|]+) \| (?P<file>\w[^|]+\.c) \| (?P<function>\w+) \| (?P<rule>[\w-]+) \| (?P<found>.+) \|$"
)
# What a function of another file maps for it.
TOGETHER = {"drivers/i2c/busses/i2c-stm32f7.c": ("drivers/i2c/busses/i2c-stm32.c",)}
# Rules of findings that are about where a buffer lies; the others are about what is done with it.
ABOUT_MEMORY = ("unsafe-buffer", "flagged-unsafe", "maps-unflagged", "shared-line")


class Seen(NamedTuple):
    seen: str
    file: str
    function: str
    rule: str
    found: str


ROWS = [Seen(**match.groupdict()) for line in PAGE.read_text().splitlines() if (match := ROW.match(line))]


@pytest.mark.parametrize("version", ["6.12", "7.2", "7.3"])
def test_what_ran_and_was_unsafe_is_found_in_the_source(version):
    trees = sorted(find_cache().root.glob(f"sources/apt-linux-source-{version}-*/tree"))
    if not trees:
        pytest.skip(f"there is no source of {version} in the cache")
    tree = trees[-1]
    files = dict.fromkeys(name for row in ROWS for name in (row.file, *TOGETHER.get(row.file, ())))
    checked = check_paths([tree / name for name in files if (tree / name).is_file()], tree)
    found = {(result.file, result.function, result.rule) for result in checked.results}
    wrong = [
        row
        for row in ROWS
        if ((row.file, row.function, row.rule) in found) is not (version in row.found.partition("(")[0])
    ]
    assert not wrong


def test_each_buffer_that_a_finding_or_the_audit_names_has_a_row():
    named = " ".join(row.seen for row in ROWS)
    findings = [finding.id for finding in load() if finding.rule.startswith(ABOUT_MEMORY)]
    assert [name for name in findings if f"`{name}`" not in named] == []
    assert [row.driver for row in TRUSTING if not any(row.driver in each.file for each in ROWS)] == []
    assert all(row.found[0].isdigit() or row.found.startswith("no: ") for row in ROWS)
