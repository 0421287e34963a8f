# SPDX-License-Identifier: GPL-2.0-or-later
"""``python3 -m smbus2_suite --bus N --adapter virtio|dmasafe``: a JSON object a case, on this machine's bus.

Of an adapter with another name only the calls' data count, not its error numbers. With --mark the kernel's log says
which case begins.
"""

import argparse
import json
import sys
from pathlib import Path

from . import calls
from .case import System
from .files import FUNCTIONALITY
from .run import MODULES, all_cases, case_name, run_case


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bus", type=int, required=True)
    parser.add_argument("--adapter", required=True)
    parser.add_argument("--unchecked-lengths", action="store_true", help="this kernel sends blocks of no bytes")
    parser.add_argument("--mark", action="store_true")
    options = parser.parse_args()
    failed = 0
    modules = MODULES if options.adapter in FUNCTIONALITY else (calls,)
    system = System(options.bus, options.adapter, not options.unchecked_lengths)
    for case in all_cases(system, modules):
        if options.mark:
            Path("/dev/kmsg").write_text(f"smbus2: begin {case_name(case)}")
        result = run_case(case)
        failed += not result["passed"]
        print(json.dumps(result), flush=True)
    return 1 if failed else 0


sys.exit(main())
