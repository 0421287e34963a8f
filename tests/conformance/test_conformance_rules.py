# SPDX-License-Identifier: GPL-2.0-or-later
"""A wrong rule in the model does not go unnoticed. The whole package is tried by ``make mutants``."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_recordings_notice_each_deliberate_change_of_a_rule():
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--rules"], cwd=ROOT, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stdout + done.stderr
