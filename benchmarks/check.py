# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast C files are checked: ours, ``grep -r`` for the sinks' names, and tree-sitter's bare parse of the same files.

Whole processes count, by the processor's seconds, the fastest of RUNS. DIRECTORIES of the newest source in the cache.
"""

from __future__ import annotations

import resource
import sys

from benchmarks.measure import fastest
from dmasafe.check.sinks import CALLS
from dmasafe.check.tree import release
from dmasafe.kernel.cache import find_cache

RUNS = 3
DIRECTORIES = ("drivers/iio", "drivers/input", "drivers/mfd", "drivers/net/dsa")
TIMES_THE_PARSE = 3

_PARSE = """
import sys
from pathlib import Path
from tree_sitter import Language, Parser
from tree_sitter_c import language
parser = Parser(Language(language()))
for directory in sys.argv[1:]:
    for path in Path(directory).rglob("*.[ch]"):
        parser.parse(path.read_bytes())
"""


def main() -> None:
    trees = [one for one in find_cache().root.glob("sources/*/tree") if (one / DIRECTORIES[0]).is_dir()]
    if not trees:
        sys.exit("there is no kernel source in the cache: 'dmasafe kernel build' fetches one")
    tree = max(trees, key=lambda one: [int(number) for number in release(one).split(".") if number])
    print(f"{', '.join(DIRECTORIES)} of {tree.parent.name}")
    ours = [sys.executable, "-m", "dmasafe.cli", "check", "--no-cache", "--format", "json"]
    commands = {
        "grep -r": ["grep", "-rlwE", "|".join(sorted(CALLS))],
        "tree-sitter": [sys.executable, "-c", _PARSE],
        "dmasafe check": ours,
    }
    seconds = {}
    for name, command in commands.items():
        seconds[name], _ = fastest([*command, *DIRECTORIES], RUNS, cwd=tree)
        print(f"{name:14} {seconds[name]:6.2f} CPU s", flush=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    times_parse = seconds["dmasafe check"] / seconds["tree-sitter"]
    print(f"{times_parse:.2f} times the parse (at most {TIMES_THE_PARSE}), {peak:.0f} MiB at most")
