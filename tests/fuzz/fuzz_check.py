# SPDX-License-Identifier: GPL-2.0-or-later
"""Any bytes as a C file: ``python tests/fuzz/fuzz_check.py --count 1000000``, or --seconds.

Nothing is raised, the same bytes give the same results, and each is at a line of the file.
"""

from __future__ import annotations

import json
from pathlib import Path

import fuzzing

with fuzzing.instrumented():
    from dmasafe.check import check_files
    from dmasafe.report import check as report


def check(data: bytes) -> int:
    """How many lines were read."""
    checked = check_files(["a.c"], Path("/nonexistent"), {"a.c": data})
    assert check_files(["a.c"], Path("/nonexistent"), {"a.c": data}).results == checked.results
    lines = data.count(b"\n") + 1
    assert all(1 <= step.line <= lines for result in checked.results for step in result.steps)
    json.dumps(report.to_json(checked))
    json.loads(report.to_sarif(checked))
    assert len(list(report.lines(checked))) == len(checked.results)
    return lines


if __name__ == "__main__":
    fuzzing.main(check, "check", "lines")
