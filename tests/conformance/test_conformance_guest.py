# SPDX-License-Identifier: GPL-2.0-or-later
"""The model, and the checker, against a real kernel in QEMU, on scenarios and functions that nobody chose."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCENARIOS = 400
# They are compiled anew for each seed.
FUNCTIONS = 25
# The first run may have to build the kernel.
TIMEOUT_S = 1500


@pytest.mark.qemu
@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize(("option", "count"), [("--scenarios", SCENARIOS), ("--functions", FUNCTIONS)])
def test_model_and_checker_agree_with_a_guest_on_what_nobody_chose(option, count):
    seed = random.SystemRandom().randrange(1 << 32)
    command = ["conform", option, str(count), "--seed", str(seed), "--format", "json"]
    print("dmasafe", *command)
    done = subprocess.run(
        [sys.executable, "-m", "dmasafe.cli", *command],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, f"seed {seed}\n{done.stdout[-5000:]}\n{done.stderr[-3000:]}"
    assert json.loads(done.stdout)["compared"] == count
