# SPDX-License-Identifier: GPL-2.0-or-later
"""What the stages of a run do; dmasafe/matrix/stage_process.py has them done."""

from __future__ import annotations

import time
from pathlib import Path

from dmasafe import kernel as kernels
from dmasafe import scratch
from dmasafe.kernel.cache import load_kernel
from dmasafe.matrix import agreement, bundle
from dmasafe.matrix.errors import MatrixError
from dmasafe.matrix.stage_process import Arguments, Reporter, Result, Stage, interrupted
from dmasafe.matrix.store import Store
from dmasafe.report import directory
from dmasafe.scenario import suite
from dmasafe.targets.boot import CONSOLE_LOG
from dmasafe.targets.judged import observe_and_judge
from dmasafe.targets.prepare import bootable, described, pack_initrd
from dmasafe.targets.qemu import QemuTarget
from dmasafe.targets.session import KMSG_LOG


class StageError(MatrixError):
    """A stage that cannot be done."""


def fetch(arguments: Arguments, progress: Reporter) -> Result:
    tree = _tree(arguments, progress)
    return {"identity": tree.identity, "version": tree.version}


def configure(arguments: Arguments, progress: Reporter) -> Result:
    tree = _tree(arguments, progress)
    key = kernels.kernel_key(tree, arguments["config"], arguments["arch"], kernels.open_cache(), progress)
    return {"kernel": key}


def build(arguments: Arguments, progress: Reporter) -> Result:
    """Build the kernel, unless it is here, or what boots of it is in the store."""
    cache, tree = kernels.open_cache(), _tree(arguments, progress)
    config, arch = arguments["config"], arguments["arch"]
    if kernels.find_kernel(tree, config, arch, cache) is not None:
        return {"made": False}
    there = bundle.indexed(arguments["known"]["kernel"], Store(arguments["store"]))
    if there is not None:
        return {"made": False, "bundle": there}
    kernel = kernels.build_kernel(tree, config, arch, cache, progress)
    return {"made": True, "kernel": kernel.key}


def image(arguments: Arguments, progress: Reporter) -> Result:
    """Modules, agent and initramfs; with the kernel they go to the store."""
    known, cache, store = arguments["known"], kernels.open_cache(), Store(arguments["store"])
    if known.get("bundle") is not None:
        return {"bundle": known["bundle"]}
    kernel = load_kernel(cache, known["kernel"])
    if kernel is None:
        # It was built on another machine, or pruned meanwhile.
        tree = _tree(arguments, progress)
        kernel = kernels.build_kernel(tree, arguments["config"], arguments["arch"], cache, progress)
    made = bundle.make(kernel, pack_initrd(kernel, kernels.MINIMAL, progress), cache)
    bundle.push(made, store)
    bundle.index(made, store)
    return {"bundle": made.name}


def boot(arguments: Arguments, progress: Reporter) -> Result:
    """Run the suite, judge it, and put the results into the store."""
    started, began = time.monotonic(), time.time()
    arch, config = arguments["arch"], arguments["config"]
    store = Store(arguments["store"])
    found = bundle.pull(arguments["known"]["bundle"], kernels.open_cache(), store)
    guest = bootable(found.kernel, found.initrd, arch, config, None)
    known = found.facts
    info, facts = described(guest, found.config, known.release, arch, config, known.source, known.notes)
    scenarios = suite(arguments["suite"])
    with scratch.directory() as temporary:
        logs, out = Path(temporary, "logs"), Path(temporary, "out")
        logs.mkdir()
        out.mkdir()
        target = QemuTarget(guest, info, facts, logs)
        results, run = observe_and_judge(target, scenarios, arguments["suite"], progress, started)
        # Ctrl-C keeps what a guest did so far; here half a run must be run again.
        if interrupted():
            raise KeyboardInterrupt
        progress.stage("judging")
        directory.write_all(results, out, logs / CONSOLE_LOG, logs / KMSG_LOG)
        agreed = agreement.agreement(run, scenarios, facts)
        if agreed is not None:
            agreement.write(agreed, out / agreement.MODEL_JSON)
        archive = f"runs/{arguments['run']}/{arguments['name']}.tar.gz"
        store.put(archive, bundle.pack(out))
    return {"archive": archive, "time": began}


def _tree(arguments: Arguments, progress: Reporter) -> kernels.SourceTree:
    source = arguments["source"]
    tree = kernels.fetch(kernels.parse_source(source), kernels.open_cache(), progress)
    identity = arguments["known"].get("identity", tree.identity)
    if tree.identity != identity:
        raise StageError(f"{source} is {tree.identity} now and was {identity} when this run began: start another run")
    return tree


STAGES: dict[str, Stage] = {function.__name__: function for function in (fetch, configure, build, image, boot)}
