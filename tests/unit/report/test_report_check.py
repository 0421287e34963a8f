# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages of the check say one thing: the counts, the list of errors, and the errors that were judged by reading."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
LISTED = (ROOT / "docs" / "check-results.md").read_text()
COUNTED = (ROOT / "docs" / "check.md").read_text().partition("<!-- table: dmasafe check")[2]
LABELS = (ROOT / "tests" / "fixtures" / "check" / "labels-7.3.4.tsv").read_text().splitlines()


def listed():
    """Place, function, buffer, memory and sink of each error."""
    return [tuple(line.strip("| ").split(" | ")) for line in LISTED.splitlines() if re.match(r"\| \S+:\d+ \|", line)]


def test_the_counts_are_those_of_the_list():
    by_bus = COUNTED.partition("| bus |")[2].partition("\n\n")[0]
    counts = [int(line.rpartition("| ")[2].split(" / ")[0]) for line in by_bus.splitlines()[2:]]
    assert sum(counts) == len(listed()) and sum(counts) > 300


def test_what_was_judged_is_listed_and_is_right():
    rows = [line.split("\t") for line in LABELS if line.startswith(("right\t", "wrong\t"))]
    assert len(rows) == 200 and sum(row[0] == "right" for row in rows) >= 190
    assert not {tuple(row[1:]) for row in rows} - set(listed())
