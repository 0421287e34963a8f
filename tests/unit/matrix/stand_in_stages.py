# SPDX-License-Identifier: GPL-2.0-or-later
"""Stages that take no time, for tests of everything around them; in processes of their own as the real ones.

Started by a worker like dmasafe.matrix.stage_main, and loaded by workers (Dask's preload) so that they do. STAND_IN
names a directory: ``log`` there gets a line when a stage begins and ends, ``hold-NAME`` makes one wait until the file
is gone, ``fail-NAME`` makes one fail, ``err-NAME`` is a mistake in it, ``die-NAME`` kills
its process.
"""

import os
import random
import sys
import time
from pathlib import Path

from dmasafe.matrix import stage_process, tasks
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.plan import StageKind

HOLD_LIMIT_S = 300


def note(*words):
    descriptor = os.open(Path(os.environ["STAND_IN"], "log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    os.close(descriptor)


def stand_in(kind):
    def do(arguments, progress):
        name, home = arguments["name"], Path(os.environ["STAND_IN"])
        note("begin", name, os.getpid(), os.getppid())
        progress.stage(f"doing {name}")
        until = time.monotonic() + HOLD_LIMIT_S
        while (home / f"hold-{name}").exists() and time.monotonic() < until:
            time.sleep(0.02)
        if (home / f"die-{name}").exists():
            os._exit(9)
        if (home / f"err-{name}").exists():
            raise IndexError("nobody foresaw this")
        if (home / f"fail-{name}").exists():
            raise MatrixError(f"{name} was told to fail")
        result = {"identity": "6.12", "made": True, "bundle": "none"}
        if kind == "boot":
            result = {"archive": boot(arguments, home / f"archive-{os.getpid()}"), "time": time.time()}
        note("end", name)
        return result

    return do


def boot(arguments, directory):
    # Half a second of imports that no other stage needs.
    from matrix_samples import results

    from dmasafe.matrix import bundle
    from dmasafe.matrix.store import Store
    from dmasafe.report import directory as report

    directory.mkdir()
    # No two boots take as long: recorded twice, they would be two runs.
    made = results(config=arguments["config"], suite=arguments["suite"], boot_s=1 + random.random())
    report.write_all(made, directory)
    archive = f"runs/{arguments['run']}/{arguments['name']}.tar.gz"
    Store(arguments["store"]).put(archive, bundle.pack(directory))
    return archive


def dask_setup(worker):
    tasks.COMMAND = (sys.executable, __file__)


if __name__ == "__main__":
    stage_process.main(lambda: {kind: stand_in(kind) for kind in StageKind})
