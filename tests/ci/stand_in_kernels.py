# SPDX-License-Identifier: GPL-2.0-or-later
"""``dmasafe`` with kernels that are a few bytes: what is kept, where, and under which name is as it is.

RECIPE_LOG names a file that gets a line for each kernel built, image packed and guest booted. Dask's workers preload
this module, so that their stages are these too.
"""

import hashlib
import os
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from distributed import Worker

from dmasafe import kernel as kernels
from dmasafe.kernel.cache import Kernel, load_kernel, save_kernel
from dmasafe.kernel.source import LocalSource
from dmasafe.matrix import bundle, engine, stages, tasks
from dmasafe.matrix import run as runs
from dmasafe.matrix.store import Store
from dmasafe.progress import SILENT
from dmasafe.report import directory
from tests.unit.matrix.matrix_samples import SEND, failed, results


def beside(name):
    """A file with which a test says something."""
    return Path(os.environ["RECIPE_LOG"]).with_name(name)


def today():
    """Later than now by the days that passed."""
    return datetime.now(UTC) + timedelta(days=len(beside("days").read_text()))


def note(*words):
    with Path(os.environ["RECIPE_LOG"]).open("a") as log:
        log.write(" ".join(words) + "\n")


def fetch(source, cache, progress=SILENT, **_):
    identity = str(source)
    if isinstance(source, LocalSource):
        identity = hashlib.sha256((source.path / "Makefile").read_bytes()).hexdigest()[:16]
    note("fetch", str(source))
    return kernels.SourceTree(Path("/nowhere"), identity, "6.12.117", str(source), Path("/nowhere"))


def key_of(tree, config, arch, *_):
    return f"6.12-{hashlib.sha256(tree.identity.encode()).hexdigest()[:8]}-{arch}-{config}"


def build_kernel(tree, config, arch, cache, *_, **__):
    key = key_of(tree, config, arch)
    note("build", key)
    home = cache.path("kernels", key)
    home.mkdir(parents=True)
    files = {name: home / name for name in ("vmlinux", "config", "System.map")}
    for name, path in files.items():
        path.write_text(f"{name} of {key}")
    paths = (files["vmlinux"], files["vmlinux"], files["config"], files["System.map"], home)
    save_kernel(cache, Kernel(key, "6.12.117", "6.12.117", arch, config, tree.description, tree.identity, *paths))
    # What a compiler's cache would have.
    cache.path("ccache", key).touch()
    return load_kernel(cache, key)


def pack_initrd(kernel, *_):
    note("image", kernel.key)
    path = kernels.open_cache().path("initramfs", kernel.key)
    path.write_text("initrd")
    return path


def boot(arguments, progress):
    store = Store(arguments["store"])
    found = bundle.pull(arguments["known"]["bundle"], kernels.open_cache(), store)
    assert found.kernel.read_text() == f"vmlinux of {found.facts.key}"
    note("boot", found.facts.key, arguments["config"], arguments["suite"])
    out = kernels.open_cache().path("tmp", f"{os.getpid()}-{arguments['name']}")
    out.mkdir()
    changes = {SEND: failed()} if beside("fail").exists() else None
    made = results(changes, config=arguments["config"], suite=arguments["suite"], boot_s=2.0 + time.time() % 0.1)
    directory.write_all(made, out)
    archive = f"runs/{arguments['run']}/{arguments['name']}.tar.gz"
    store.put(archive, bundle.pack(out))
    return {"archive": archive, "time": today().timestamp()}


def in_process(request, left, known, records, store, tell):
    """tasks._in_process() without a process of its own."""
    for stage in left:
        arguments = {**stage["arguments"], "known": dict(known), "name": stage["name"]}
        result = stages.STAGES[stage["kind"]](
            {**arguments, "run": request.run, "store": request.store, "parent": os.getpid()}, SILENT
        )
        known = {**known, **result}
        records[stage["name"]] = {"result": result, "seconds": 0.0, "host": "here", "end": time.time()}
        tell({"began": stage["name"], "stage": stage["name"]})


def dask_setup(worker):
    """For Dask's --preload: importing this module has done it."""


kernels.fetch = fetch
runs.begin = partial(runs.begin, now=today())
kernels.kernel_key = key_of
kernels.find_kernel = lambda tree, config, arch, cache: load_kernel(cache, key_of(tree, config, arch))
kernels.build_kernel = build_kernel
stages.pack_initrd = pack_initrd
stages.STAGES["boot"] = boot
tasks._in_process = in_process
# In this process, which has the stages above.
engine.Nanny = Worker

if __name__ == "__main__":
    from dmasafe.cli import main

    main()
