# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe series`` with a bench whose kernels do what is written in them (tests/unit/series/series_rig.py).

RECIPE_LOG names a file that gets a line for each build and run. Results of the base are kept as the real ones are.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "series"))

from series_rig import FakeBench

from dmasafe.cli import main, series_command
from dmasafe.report import json_report


class Bench(FakeBench):
    def __init__(self, repository, series, _jobs, _accel, _progress):
        super().__init__(repository, series)

    def place(self, one, job):
        return self.repository.cache.path("series", f"{one.tree}-{job.suite}.json")

    def known(self, one, job):
        place = self.place(one, job)
        return json_report.load(place) if place.exists() else None

    def compile(self, one, cell):
        super().compile(one, cell)
        note(f"build {one.subject}")

    def perform(self, one, job, ids=()):
        found = super().perform(one, job, ids)
        note(f"run {job.suite} {one.subject}")
        if one == self.series.base and not ids:
            json_report.write(found, self.place(one, job))
        return found


def note(line):
    with Path(os.environ["RECIPE_LOG"]).open("a") as log:
        log.write(f"{line}\n")


series_command.QemuBench = Bench
main()
