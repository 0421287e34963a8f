# SPDX-License-Identifier: GPL-2.0-or-later
"""A run that breaks ends within a bound, keeps what was measured, passes nothing else and leaves nothing behind."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from harness.outcome import Verdict, judge
from harness.scenario import select
from harness.targets import qemu
from harness.targets.boot import Boot
from harness.targets.expected import expect
from harness.targets.qemu import QemuTarget

SCENARIOS = select(["heap/*/dmasafe:bounce/*", "pages/*/dmasafe:bounce/*"])
BOUND_S = 60
AFTER = 20


class Saboteur:
    """A Progress that does something to the boot under way after AFTER scenarios, once."""

    def __init__(self, sabotage):
        self.sabotage, self.boots = sabotage, []

    def stage(self, text):
        pass

    def advance(self, done, total, text):
        if done == AFTER and self.sabotage is not None:
            sabotage, self.sabotage = self.sabotage, None
            sabotage(self.boots[-1])


def sabotaged(guest, tmp_path, monkeypatch, sabotage):
    """A run that is sabotaged in the middle; its TargetRun and how long it took."""
    progress = Saboteur(sabotage)

    class WatchedBoot(Boot):
        def __enter__(self):
            progress.boots.append(self)
            return super().__enter__()

    monkeypatch.setattr(qemu, "Boot", WatchedBoot)
    monkeypatch.setattr(qemu, "SILENCE_LIMIT_S", 3.0)
    target = QemuTarget(guest.image, guest.kernel, guest.facts, tmp_path)
    started = time.monotonic()
    run = target.run(SCENARIOS, frozenset(), progress)
    return run, time.monotonic() - started


def panic(boot):
    boot.send({"op": "write", "path": "/proc/sysrq-trigger", "data": "c"})


SABOTAGES = {
    "QEMU killed": (lambda boot: os.kill(boot.qemu.pid, signal.SIGKILL), "killed by signal 9"),
    "QEMU stopped": (lambda boot: os.kill(boot.qemu.pid, signal.SIGSTOP), "hung"),
    "device process killed": (lambda boot: os.kill(boot.device.pid, signal.SIGKILL), "device"),
    "guest panic": (panic, "Kernel panic - not syncing: sysrq triggered crash"),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_broken_boot_costs_what_was_under_way_and_nothing_passes_for_it(
    guest, tmp_path, monkeypatch, nothing_left, name
):
    sabotage, word = SABOTAGES[name]
    run, seconds = sabotaged(guest, tmp_path, monkeypatch, sabotage)
    assert seconds < BOUND_S
    judged = {
        s.id: judge(expect(s, guest.facts), run.observations.get(s.id), run.untrusted.get(s.id)) for s in SCENARIOS
    }
    lost = [j for j in judged.values() if j.verdict is Verdict.INCONCLUSIVE]
    assert lost and all(word in j.why for j in lost)
    passed = sum(j.verdict is Verdict.PASS for j in judged.values())
    assert passed >= AFTER and passed + len(lost) == len(SCENARIOS)


def test_ctrl_c_keeps_what_was_measured_and_leaves_no_process(guest, tmp_path, nothing_left):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "harness.cli", "run", "--suite", "core", "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + BOUND_S
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("scenarios"):
                break
            assert time.monotonic() < deadline
        # Some scenarios must have been done: wait for the guest to have spent time in them.
        qemus = [p for p in psutil.Process(process.pid).children(recursive=True) if "qemu-system" in p.name()]
        spent = qemus[0].cpu_times().user
        while qemus[0].cpu_times().user < spent + 1.0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=BOUND_S)
    assert process.returncode == 2, output
    counts = json.loads((out / "latest" / "results.json").read_text())["counts"]
    assert counts["pass"] > 100 and counts["inconclusive"] > 0
    assert "interrupted by the user" in output


@pytest.mark.parametrize(
    ("cmdline", "word"),
    [
        (("dma_debug=off",), "canary"),
        (("dma_debug_driver=nobody",), "canary"),
    ],
)
def test_dma_debug_that_does_not_watch_makes_the_whole_boot_inconclusive(guest, tmp_path, nothing_left, cmdline, word):
    image = dataclasses.replace(guest.image, cmdline=cmdline)
    run = QemuTarget(image, guest.kernel, guest.facts, tmp_path).run(SCENARIOS, frozenset(), Saboteur(None))
    assert run.canary_splatted is False
    assert {s.id for s in SCENARIOS} == set(run.untrusted)
    assert all(word in why for why in run.untrusted.values())
