# SPDX-License-Identifier: GPL-2.0-or-later
"""``make bench``: the quick benchmarks, or those named on the command line (``cold`` builds three kernels)."""

from __future__ import annotations

import importlib
import sys

NAMES = ("audit", "boot", "check", "dmesg", "functions", "matrix", "model")
LONG = ("cold", "series")


def main() -> None:
    names = sys.argv[1:] or list(NAMES)
    for name in names:
        if name not in NAMES + LONG:
            sys.exit(f"there is no benchmark '{name}': it is one of {', '.join(NAMES + LONG)}")
        print(f"== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
