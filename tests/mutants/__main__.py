# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutation testing of harness/dmasafe/model: ``python -m tests.mutants``. Survivors are listed, file:line.

Exit status 1 if fewer than WANTED_PERCENT are noticed.
"""

import argparse
import random
import sys
import time

from tests.mutants import mutations, oracle
from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.rules import RULES

WANTED_PERCENT = 90.0


def _rules(jobs: int) -> int:
    oracle.prepare()
    results = list(oracle.try_rules([oracle.Rule(*row) for row in RULES], jobs))
    for rule, noticed in results:
        if not noticed:
            print(f"survived: {rule}")
    print(f"{sum(noticed for _rule, noticed in results)} of {len(results)} wrong rules noticed")
    return not all(noticed for _rule, noticed in results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="of harness/dmasafe/model; default: all")
    parser.add_argument("--sample", type=int, help="so many of them, by lot")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--rules", action="store_true", help="only the deliberate changes of rules.py: all must be noticed"
    )
    options = parser.parse_args()
    if options.rules:
        sys.exit(_rules(options.jobs))
    files = options.files or sorted(path.name for path in oracle.MODEL.glob("*.py"))
    found = [m for name in files for m in mutations.find(name, (oracle.MODEL / name).read_text())]
    if options.sample is not None:
        found = random.Random(options.seed).sample(found, min(options.sample, len(found)))
    oracle.prepare()
    print(f"{len(found):,} mutants", flush=True)
    started = time.monotonic()
    survivors = []
    tally: dict[str, list[int]] = {name: [0, 0] for name in files}
    for number, (mutation, noticed) in enumerate(oracle.try_all(found, options.jobs), 1):
        equivalent = any(mutation.file == file and text in mutation.text for file, text, _why in EQUIVALENT)
        tally[mutation.file][0] += noticed or equivalent
        tally[mutation.file][1] += 1
        if not noticed and not equivalent:
            survivors.append(mutation)
            print(f"survived: {mutation}", flush=True)
        if number % 100 == 0:
            print(f"  {number:,} of {len(found):,}, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    took = time.monotonic() - started
    for name, (killed, all_of_them) in tally.items():
        if all_of_them:
            print(f"{name:<18}{killed:>6} of {all_of_them:>5}  {100 * killed / all_of_them:5.1f} %")
    percent = 100.0 * (len(found) - len(survivors)) / len(found)
    print(f"{len(found) - len(survivors):,} of {len(found):,} noticed: {percent:.1f} %, {took:.0f} s")
    sys.exit(percent < WANTED_PERCENT)


main()
