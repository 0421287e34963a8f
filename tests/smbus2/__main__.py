# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m tests.smbus2``: the smbus2 suite on the model and in a guest, on both controllers, compared.

Prints a table of all cases, or with --format json what each saw. Exit status: 0 all agree, 1 some differ, 2 no result.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from dmasafe.errors import DmasafeError
from dmasafe.kernel import DEFAULT_SOURCE
from dmasafe.report.progress import ProgressDisplay
from dmasafe.targets.machine import BoardGuest, board_image
from tests.smbus2.board import Board
from tests.smbus2.compare import compare
from tests.smbus2.model_system import run_on_model


def run_both(board, adapter, bus):
    """(rows, results on the model, results in the guest) for one controller, ``bus`` being its number there."""
    in_guest = board.suite(bus, adapter)
    on_model = run_on_model(adapter, version=board.version, queue_entries=board.queue_entries())
    return compare(adapter, on_model, in_guest), on_model, in_guest


def print_table(release, tables):
    print(f"The smbus2 suite on the model and on Linux {release}\n")
    print(f"{'case':<76} {'virtio':<8} dmasafe")
    by_case = {}
    for adapter, rows in tables.items():
        for row in rows:
            by_case.setdefault(row.case, {})[adapter] = "agree" if row.agrees else "DIFFER"
    for case, cells in by_case.items():
        print(f"{case:<76} {cells.get('virtio', '-'):<8} {cells.get('dmasafe', '-')}")
    for adapter, rows in tables.items():
        for row in rows:
            for what, model, guest in row.differences:
                print(f"\nDIFFERENCE {row.case} on {adapter}, {what}\n  model: {model}\n  guest: {guest}")
        agreeing = sum(row.agrees for row in rows)
        print(f"\n{adapter}: {agreeing} of {len(rows)} cases agree")


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.smbus2", description=__doc__)
    parser.add_argument("--kernel", default=DEFAULT_SOURCE, help="the kernel's source (default: %(default)s)")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    options = parser.parse_args()
    tables, seen = {}, {}
    with tempfile.TemporaryDirectory(prefix="dmasafe-") as logs:
        with ProgressDisplay() as progress:
            image = board_image(progress, source=options.kernel)
        with BoardGuest(image, Path(logs)) as guest, Board(guest) as board:
            release = board.run("uname -r").strip()
            for adapter, bus in board.bind_all(guest.functions).items():
                tables[adapter], on_model, in_guest = run_both(board, adapter, bus)
                seen[adapter] = {"model": on_model, "guest": in_guest}
    differ = any(not row.agrees for rows in tables.values() for row in rows)
    if options.format == "json":
        json.dump({"schema": 1, "release": release, "agree": not differ, "adapters": seen}, sys.stdout, indent=2)
    else:
        print_table(release, tables)
    return 1 if differ else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DmasafeError as error:
        print(f"python -m tests.smbus2: {error}", file=sys.stderr)
        sys.exit(2)
