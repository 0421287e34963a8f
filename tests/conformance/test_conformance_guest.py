# SPDX-License-Identifier: GPL-2.0-or-later
"""The model against a real kernel in QEMU, on scenarios that nobody chose."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCENARIOS = 400
# The first run may have to build the kernel.
TIMEOUT_S = 1500


@pytest.mark.qemu
@pytest.mark.timeout(TIMEOUT_S)
def test_the_model_agrees_with_a_guest_on_scenarios_by_lot():
    seed = random.SystemRandom().randrange(1 << 32)
    command = ["conform", "--scenarios", str(SCENARIOS), "--seed", str(seed), "--format", "json"]
    print("dmasafe", *command)
    done = subprocess.run(
        [sys.executable, "-m", "dmasafe.cli", *command],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, f"seed {seed}\n{done.stdout[-5000:]}\n{done.stderr[-3000:]}"
    assert json.loads(done.stdout)["compared"] == SCENARIOS
