# SPDX-License-Identifier: GPL-2.0-or-later
"""What the stages do, and the process of its own in which a worker has them done: ``python -m harness.matrix.stages``.

The worker writes the request, as JSON, to its standard input, and reads lines of JSON from its standard output:
progress, and what came of each stage. The process ends with its worker, and on SIGTERM, and leaves nothing running.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from harness import kernel as kernels
from harness.errors import DmasafeError
from harness.kernel.cache import load_kernel
from harness.matrix import agreement, bundle
from harness.matrix.errors import MatrixError
from harness.matrix.store import Store
from harness.matrix.verdicts import observe_and_judge
from harness.report import directory
from harness.report.progress import Progress
from harness.scenario import suite
from harness.targets.base import KernelInfo
from harness.targets.boot import CONSOLE_LOG, KMSG_LOG
from harness.targets.kconfig import facts_from_config
from harness.targets.machine import bootable, pack_initrd
from harness.targets.qemu import make_target

_PR_SET_PDEATHSIG = 1
_TELL_EVERY_S = 0.5

Arguments = dict[str, Any]
Result = dict[str, Any]


class StageError(MatrixError):
    """A stage that cannot be done."""


class Reporter(Progress):
    """Progress as lines of JSON, at most a few a second."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._answers = stream
        self._told = 0.0

    def advance(self, done: float, total: float | None = None, text: str = "") -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            tell(self._answers, {"done": done, "total": total, "text": text})

    def _say(self, line: str) -> None:
        tell(self._answers, {"doing": line})


def tell(stream: TextIO, what: Result) -> None:
    stream.write(json.dumps(what) + "\n")
    stream.flush()


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
    facts = facts_from_config(found.config, arch, found.facts.release, guest.machine.coherent)
    sha256 = hashlib.sha256(found.config.encode()).hexdigest()
    info = KernelInfo(found.facts.release, arch, config, found.facts.source, sha256)
    scenarios = suite(arguments["suite"])
    with tempfile.TemporaryDirectory(prefix="dmasafe-") as temporary:
        logs, out = Path(temporary, "logs"), Path(temporary, "out")
        logs.mkdir()
        out.mkdir()
        target = make_target(guest, info, facts, logs)
        results, run = observe_and_judge(target, scenarios, arguments["suite"], progress, started)
        # Ctrl-C keeps what a guest did so far; here half a run is to be run again.
        if _interrupted:
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


STAGES: dict[str, Callable[[Arguments, Reporter], Result]] = {
    function.__name__: function for function in (fetch, configure, build, image, boot)
}

_interrupted = False


def _stop(_signal: int, _frame: FrameType | None) -> None:
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


def end_with(parent: int) -> None:
    """Be stopped when the process ``parent`` ends, however it ends."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise KeyboardInterrupt


def perform(request: Arguments, answers: TextIO) -> None:
    """Do the stages of a request, one after the other, and tell what came of each; the first failure ends it.

    What a stage finds out is known to those after it.
    """
    known = dict(request["known"])
    for stage in request["stages"]:
        started = time.monotonic()
        tell(answers, {"began": stage["name"]})
        reporter = Reporter(answers)
        arguments = {**stage["arguments"], "known": known, "name": stage["name"]}
        arguments |= {key: request[key] for key in ("run", "store")}
        result = STAGES[stage["kind"]](arguments, reporter)
        known |= result
        tell(answers, {"finished": stage["name"], "result": result, "seconds": time.monotonic() - started})


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever prints must not look like an answer.
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    # Nobody may be there any more to read it: no reason for a traceback.
    with contextlib.suppress(BrokenPipeError):
        try:
            end_with(request["parent"])
            perform(request, answers)
        except DmasafeError as error:
            tell(answers, {"failed": str(error)})
        except KeyboardInterrupt:
            tell(answers, {"interrupted": True})


if __name__ == "__main__":
    main()
