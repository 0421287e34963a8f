# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutation testing: ``python -m tests.mutants [GROUP | FILE ...]``. Survivors are listed, file:line.

Groups are the rows of groups.py, and layouts; a FILE is one of theirs, as its path below harness/dmasafe. Exit status 1
if fewer of a group's mutants are noticed than its row wants, or any of the layouts' is not.
"""

import argparse
import multiprocessing
import random
import sys
import time

from tests.mutants import mutations, oracle
from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.groups import GROUPS, PACKAGE, Group
from tests.mutants.rules import RULES

LAYOUTS = "layouts"


def _rules(jobs: int) -> int:
    model = GROUPS["model"]
    oracle.prepare(model)
    results = list(oracle.try_rules(model, [oracle.Rule(*row) for row in RULES], jobs))
    for rule, noticed in results:
        if not noticed:
            print(f"survived: {rule}")
    print(f"{sum(noticed for _rule, noticed in results)} of {len(results)} wrong rules noticed")
    return not all(noticed for _rule, noticed in results)


def _chosen(words: list[str]) -> dict[str, list[str]]:
    """The files of each group that is asked for. Raises ValueError."""
    files: dict[str, list[str]] = {}
    for word in words or GROUPS:
        if word in GROUPS:
            files[word] = GROUPS[word].mutated()
            continue
        owner = next((name for name, group in GROUPS.items() if word in group.mutated()), None)
        if owner is None:
            raise ValueError(f"'{word}' is none of the groups {', '.join([*GROUPS, LAYOUTS])} and no file of theirs")
        files.setdefault(owner, []).append(word)
    return files


def _try(group: Group, files: list[str], options: argparse.Namespace) -> None:
    found = [m for name in files for m in mutations.find(name, (PACKAGE / name).read_text())]
    if options.sample is not None:
        found = random.Random(options.seed).sample(found, min(options.sample, len(found)))
    oracle.prepare(group)
    print(f"{group.name}: {len(found):,} mutants of {group.what}", flush=True)
    started = time.monotonic()
    survivors = []
    tally: dict[str, list[int]] = {name: [0, 0] for name in files}
    for number, (mutation, noticed) in enumerate(oracle.try_all(group, found, options.jobs), 1):
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
            print(f"{name:<26}{killed:>6} of {all_of_them:>5}  {100 * killed / all_of_them:5.1f} %")
    percent = 100.0 * (len(found) - len(survivors)) / len(found)
    print(f"{group.name}: {len(found) - len(survivors):,} of {len(found):,} noticed: {percent:.1f} %, {took:.0f} s")
    sys.exit(percent < group.wanted_percent)


def main() -> None:
    groups = [f"{group.name}: {group.what} (at least {group.wanted_percent:g} % noticed)" for group in GROUPS.values()]
    groups.append(f"{LAYOUTS}: every value of [memory] in kernel-configs/arch/ (all noticed; not with --sample)")
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description=__doc__,
        epilog="groups:\n  " + "\n  ".join(groups),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="*", metavar="GROUP|FILE", help="groups, or files of theirs; default: all groups")
    parser.add_argument("--sample", type=int, help="so many of each group, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="what chooses them; default: 0")
    parser.add_argument("--jobs", type=int, default=2, help="so many processes; default: 2")
    parser.add_argument(
        "--rules", action="store_true", help="only the deliberate changes of rules.py: all must be noticed"
    )
    options = parser.parse_args()
    if options.rules:
        sys.exit(_rules(options.jobs))
    try:
        named = [word for word in options.what if word != LAYOUTS]
        chosen = _chosen(named) if named or not options.what else {}
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    failed = False
    for name, files in chosen.items():
        # In a process of its own: what one group has imported is mutated in another.
        process = multiprocessing.get_context("fork").Process(target=_try, args=(GROUPS[name], files, options))
        process.start()
        process.join()
        failed |= process.exitcode != 0
    if LAYOUTS in options.what or not (options.what or options.sample):
        # Not above: it imports what the groups' processes mutate before they import it.
        from tests.mutants import layouts

        failed |= layouts.main([]) != 0
    sys.exit(failed)


main()
