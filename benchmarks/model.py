# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast the model is: scenarios of suite core a second on one core, and how long its import takes.

Seconds depend on the machine; the ratio to making the suite's ids, which anyone can run, does less so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from dmasafe.model import Config, predict
from dmasafe.scenario import suite

ROUNDS = 5
IMPORT_ROUNDS = 5
WANTED_PER_S = 20_000
WANTED_IMPORT_MS = 50

_IMPORT = "import time; t = time.process_time(); import dmasafe.model; print(time.process_time() - t)"


def best_of(rounds: int, work: Callable[[], object]) -> float:
    """The least processor time of several rounds, in seconds: what the others add is the machine's."""
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def import_ms() -> float:
    """Processor time of ``import dmasafe.model`` in a new interpreter, in ms, with its byte code at hand."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = cache
        command = [sys.executable, "-c", _IMPORT]
        rounds = [
            float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
            for _ in range(IMPORT_ROUNDS)
        ]
    return 1000 * min(rounds)


def main() -> None:
    """Print scenarios a second, their ratio to making ids, and the time of an import."""
    scenarios = suite("core")
    config = Config()

    def predictions() -> None:
        for scenario in scenarios:
            predict(scenario, config)

    def ids() -> None:
        for scenario in scenarios:
            scenario.id  # noqa: B018 - making it is the work

    predictions()
    per_s = len(scenarios) / best_of(ROUNDS, predictions)
    baseline = len(scenarios) / best_of(ROUNDS, ids)
    ms = import_ms()
    print(f"model: {per_s:,.0f} scenarios/s of suite core on one core (wanted: {WANTED_PER_S:,})")
    print(f"model: one scenario costs as much as making {baseline / per_s:.1f} scenario ids ({baseline:,.0f}/s)")
    print(f"model: import of dmasafe.model {ms:.0f} ms (wanted: under {WANTED_IMPORT_MS})")


if __name__ == "__main__":
    main()
