# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways to wreck a run from inside, for ``dmasafe selftest``: a row each, with the reason that the harness must give.

A Saboteur stands between QemuTarget and its boots; without one nothing here is in use. What wrecks the guest from
within is images/sabotage.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from dmasafe.errors import unknown
from dmasafe.guest.agent import AgentChannel
from dmasafe.guest.hands import Hands, Refused
from dmasafe.progress import Progress, Stage
from dmasafe.targets.boot import Boot, GuestImage
from dmasafe.targets.errors import TargetError
from dmasafe.targets.session import Limits

# Short enough for a test, long enough for a busy machine: the agent itself needs 8 s for a call that hangs.
SHORT = Limits(boot_s=40.0, request_s=20.0, silence_s=9.0, sync_s=3.0, fruitless_boots=2, boots=4)
MODULES = "sabotage"
# Answers after which the middle is reached: more scenarios are under way then, and more are to come.
MIDDLE_ANSWERS = 20
# Longer than a driver waits (1 s) and than the device's process may be late (0.5 s).
STARVED_S = 1.6
_SERIAL_FUNCTION = "0000:00:04.0"
_FORGED = "DMA-API: forger 0000:00:06.0: device driver maps memory from invalid area [addr=0000000000001000] [len=8]\n"
_VIRTIO_FUNCTION = "0000:00:0a.0"


class Moment(Enum):
    """When it is done: before the modules are loaded, before the first scenario, between two, or not at run time."""

    BOOTED = "booted"
    READY = "ready"
    MIDDLE = "middle"
    NEVER = "never"


class SabotageKind(Enum):
    """What is wrecked. ``make test`` tries a row of each kind, ``make selftest`` every row."""

    PROCESS = "a process of the run: QEMU, the emulated device"
    LIES = "what the emulated device says"
    GUEST = "the guest's kernel"
    LOG = "the kernel's log"
    DMA_DEBUG = "dma-debug, the strict machine"
    IMAGE = "what is booted"
    AGENT = "the agent and its channel"
    DRIVER = "the driver of a virtio device"
    HOST = "disks, clock and results of this machine"
    INTERRUPT = "the run itself, by Ctrl-C"


@dataclass(frozen=True)
class Sabotage:
    """One way to wreck a run. ``what`` completes "the run in which ...".

    ``reason`` is a regular expression that every INCONCLUSIVE must match. ``cmdline``, ``initrd`` (a function of the
    image's bytes) and ``image`` (its fields) change what is booted, of ``configuration`` if it needs one. ``act`` is
    done at ``moment``: in the first boot only, or in ``every`` one. ``heals``: what it costs is tried again, in a boot
    that it leaves alone.
    """

    name: str
    kind: SabotageKind
    what: str
    reason: str
    moment: Moment = Moment.NEVER
    act: Callable[[Boot], None] | None = None
    every: bool = False
    heals: bool = False
    cmdline: tuple[str, ...] = ()
    initrd: Callable[[bytes], bytes] | None = None
    image: Mapping[str, Any] = field(default_factory=dict)
    configuration: str = ""

    @property
    def spoils_all(self) -> bool:
        """Whether no boot is left in which a scenario may pass."""
        return self.every or self.act is None


def _signal_qemu(number: int, boot: Boot) -> None:
    os.kill(boot.qemu.pid, number)


def _signal_device(number: int, boot: Boot) -> None:
    os.kill(boot.device.pid, number)


def _starve_device(boot: Boot) -> None:
    os.kill(boot.device.pid, signal.SIGSTOP)
    time.sleep(STARVED_S)
    os.kill(boot.device.pid, signal.SIGCONT)


def _pause(boot: Boot) -> None:
    boot.qemu.qmp("stop")


def _sysrq(key: str, boot: Boot) -> None:
    """Not awaited: the guest may not live to answer."""
    boot.send({"op": "write", "path": "/proc/sysrq-trigger", "data": key})


def _failed(refused: Refused) -> TargetError:
    return TargetError(f"the sabotage failed: {refused}")


def _write(path: str, data: str, boot: Boot) -> None:
    Hands(boot.request, _failed).write(path, data)


def _load(act: str, boot: Boot) -> None:
    Hands(boot.request, _failed).load("/modules/dmasafe_sabotage.ko", f"act={act}")


def _load_and_die(act: str, boot: Boot) -> None:
    boot.send({"op": "load", "path": "/modules/dmasafe_sabotage.ko", "params": f"act={act}"})


def _soft_lockup(boot: Boot) -> None:
    _write("/proc/sys/kernel/watchdog_thresh", "1", boot)
    _load_and_die("soft-lockup", boot)


def _spend_error_budget(boot: Boot) -> None:
    # num_errors counts down to 0 only with all_errors unset.
    _write("/sys/kernel/debug/dma-api/num_errors", "0", boot)
    _write("/sys/kernel/debug/dma-api/all_errors", "0", boot)


def _forge_report(boot: Boot) -> None:
    """A report of dma-debug's that dma-debug did not make, as one that is missing would show: the two do not agree."""
    _write("/dev/kmsg", _FORGED, boot)


def _unbind(function: str, driver: str, boot: Boot) -> dict[str, object]:
    """The request that takes the virtio device of a PCI function from its driver."""
    names = boot.hands.names(f"/sys/bus/pci/devices/{function}")
    device = next(name for name in names if name.startswith("virtio"))
    return {"op": "write", "path": f"/sys/bus/virtio/drivers/{driver}/unbind", "data": device}


def _close_port(boot: Boot) -> None:
    boot.send(_unbind(_SERIAL_FUNCTION, "virtio_console", boot))


def _hostile(act: str, boot: Boot) -> None:
    """A driver that breaks virtio's rules takes over the virtio adapter's function."""
    request = _unbind(_VIRTIO_FUNCTION, "i2c_virtio", boot)
    _write(str(request["path"]), str(request["data"]), boot)
    _load(act, boot)


def _lie(controller: str, name: str, boot: Boot) -> None:
    boot.device.set_fault(controller, name)


class _HalfLine:
    """The agent's socket, on which one line loses its second half; and then, if ``ends``, everything."""

    def __init__(self, sock: socket.socket, ends: bool) -> None:
        self._socket = sock
        self._ends = ends
        self._cut = False
        self.setblocking, self.fileno, self.send = sock.setblocking, sock.fileno, sock.send

    def recv(self, size: int) -> bytes:
        if self._cut and self._ends:
            return b""
        data = self._socket.recv(size)
        end = data.find(b"\n")
        if self._cut or end < 2:
            return data
        self._cut = True
        return data[: end // 2] if self._ends else data[: end // 2] + data[end:]


def _halve_line(ends: bool, boot: Boot) -> None:
    boot.agent = AgentChannel(_HalfLine(boot.qemu.agent, ends))


def _replaced(old: bytes, new: bytes, image: bytes) -> bytes:
    """An initramfs (cpio without checksums) with as many bytes, some others."""
    if old not in image or len(old) != len(new):
        raise TargetError(f"the sabotage failed: the initramfs has no {old!r}")
    return image.replace(old, new)


_BOTH = ("dmasafe", "virtio")
_NO_ANSWER = r"control \S+ went wrong \((returned -110|the call did not return)"
# i2c-virtio waits for ever, so there a slow device is none that lies.
_LIES_SEEN = {
    "wrong-bytes": (r"control heap/master_send/\S+ went wrong \(wrong data", _BOTH),
    "wrong-length": (r"claims to have written \d+ bytes into a request with room for \d+", _BOTH),
    "twice": (r"control \S+ went wrong|completed request \d+ more than once", _BOTH),
    "never": (_NO_ANSWER, _BOTH),
    "slow": (_NO_ANSWER, ("dmasafe",)),
    "late-after-timeout": (_NO_ANSWER, ("dmasafe",)),
}
# The canary of a strict machine that does not work names strict-unmapped, too.
_UNMAPPED = "(?<!did not splat )strict-unmapped"
# Where mostly nothing but the strict machine tells; on any other the device just does it.
_SEEN_BY_STRICT = {
    "late": (_UNMAPPED, "virtio"),
    "beyond": ("strict-overrun", "virtio"),
    "reads-receive-buffer": ("strict-direction", "virtio"),
    "writes-send-buffer": ("strict-direction", "virtio"),
    "twice": (_LIES_SEEN["twice"][0], "dmasafe"),
}
_DESCRIPTORS_SEEN = {
    "descriptor-loop": r"more than \d+ descriptors from head 0, or a loop",
    "descriptor-stray": r"stray DMA outside any scenario, to 0xfffff00000000",
    "descriptor-empty": r"a descriptor of no bytes",
    "descriptor-4gib": r"a message of 4294967295 bytes",
    "descriptor-outside": r"descriptor 0 continues at 65520",
    "descriptor-indirect": r"the indirect table at 0xfffff00000000 lies outside guest memory",
}

_LOG_LOST = r"the kernel overwrote log records|log records \d+ to \d+ are missing"
_ROWS: tuple[Sabotage, ...] = (
    Sabotage("qemu-killed", SabotageKind.PROCESS, "QEMU is killed", r"QEMU was killed by signal 9", Moment.MIDDLE,
             partial(_signal_qemu, signal.SIGKILL)),
    Sabotage("qemu-stopped", SabotageKind.PROCESS, "QEMU is stopped (SIGSTOP)", r"QEMU is stopped", Moment.MIDDLE,
             partial(_signal_qemu, signal.SIGSTOP)),
    Sabotage("qemu-paused", SabotageKind.PROCESS, "QEMU is paused (QMP stop)", r"the guest hung: .*QEMU: paused",
             Moment.MIDDLE, _pause),
    Sabotage("guest-panic", SabotageKind.GUEST, "the kernel panics",
             r"Kernel panic - not syncing: sysrq triggered crash", Moment.MIDDLE, partial(_sysrq, "c")),
    Sabotage("guest-hang", SabotageKind.GUEST, "the kernel hangs with interrupts off",
             r"the guest hung: .*QEMU: running", Moment.READY, partial(_load_and_die, "hang")),
    Sabotage("soft-lockup", SabotageKind.GUEST, "the kernel does not come out of a loop", r"watchdog: BUG: soft lockup",
             Moment.READY, _soft_lockup),
    Sabotage("reboot-loop", SabotageKind.GUEST, "the guest reboots, again and again",
             r"the guest rebooted or powered off by itself", Moment.READY, partial(_sysrq, "b"), every=True),
    Sabotage("guest-out-of-memory", SabotageKind.GUEST, "the guest runs out of memory",
             r"Out of memory: Killed process|deadlocked on memory", Moment.READY, partial(_load_and_die, "memory"),
             every=True),
    Sabotage("log-flood", SabotageKind.LOG, "100,000 lines flood the kernel log at once", _LOG_LOST, Moment.READY,
             partial(_load, "flood")),
    Sabotage("log-overrun", SabotageKind.LOG, "100,000 lines overrun the log buffer under a scenario", _LOG_LOST,
             Moment.READY, partial(_load, "flood-later")),
    Sabotage("dma-debug-off", SabotageKind.DMA_DEBUG, "the command line switches dma-debug off",
             r"dma-debug is disabled", cmdline=("dma_debug=off",)),
    Sabotage("dma-debug-out-of-entries", SabotageKind.DMA_DEBUG, "dma-debug runs out of entries",
             r"dma-debug is disabled .*out of entries", Moment.READY, partial(_load, "entries"),
             cmdline=("dma_debug_entries=64",), every=True),
    Sabotage("driver-filter", SabotageKind.DMA_DEBUG, "the command line filters drivers",
             r"driver filter hides all drivers but nobody", cmdline=("dma_debug_driver=nobody",)),
    Sabotage("driver-filter-later", SabotageKind.DMA_DEBUG, "somebody sets the driver filter",
             r"driver filter hides all drivers but nobody", Moment.READY,
             partial(_write, "/sys/kernel/debug/dma-api/driver_filter", "nobody"), every=True),
    Sabotage("error-budget", SabotageKind.DMA_DEBUG, "dma-debug's error budget is spent", r"all_errors is not set",
             Moment.READY, _spend_error_budget, every=True),
    Sabotage("miscount", SabotageKind.LOG, "the log has a report that dma-debug did not count",
             r"dma-debug counted \d+ reports, the log has \d+", Moment.READY, _forge_report, every=True),
    Sabotage("canary-module-missing", SabotageKind.IMAGE, "the initramfs lacks a module",
             r"refused dmasafe_controller.ko: No such file",
             initrd=partial(_replaced, b"modules/dmasafe_controller.ko\0", b"modules/dmasafe_controller.ok\0")),
    Sabotage("foreign-modules", SabotageKind.IMAGE, "the modules are another kernel's",
             r"refused dmasafe_client.ko: Exec format error",
             initrd=partial(_replaced, b"vermagic=6.", b"vermagic=5.")),
    Sabotage("agent-killed", SabotageKind.AGENT, "the agent is killed", r"the agent ended with status 137",
             Moment.READY, partial(_sysrq, "i")),
    Sabotage("agent-port-closed", SabotageKind.AGENT, "the agent's port goes away",
             r"the agent (ended: its port has no host|closed its port)", Moment.READY, _close_port),
    Sabotage("half-line", SabotageKind.AGENT, "half a JSON line comes", r"agent's lines were damaged: no JSON",
             Moment.READY, partial(_halve_line, False)),
    Sabotage("half-line-then-end", SabotageKind.AGENT, "half a JSON line is the last that comes",
             r"closed in the middle of a line", Moment.READY, partial(_halve_line, True)),
    Sabotage("device-killed", SabotageKind.PROCESS, "the device's process is killed",
             r"the emulated device(s|'s process) died", Moment.MIDDLE, partial(_signal_device, signal.SIGKILL)),
    Sabotage("device-stopped", SabotageKind.PROCESS, "the device's process is stopped (SIGSTOP)",
             r"emulated device's process is stopped", Moment.MIDDLE, partial(_signal_device, signal.SIGSTOP)),
    Sabotage("device-starved", SabotageKind.PROCESS, "the device's process does not run for a while",
             r"did not run for [12]\.\d s", Moment.MIDDLE, _starve_device, heals=True),
    *(
        Sabotage(f"device-lies-{lie}-{controller}", SabotageKind.LIES, f"the {controller} device lies: {lie}", reason,
                 Moment.BOOTED, partial(_lie, controller, lie), every=True)
        for lie, (reason, controllers) in _LIES_SEEN.items() for controller in controllers
    ),
    Sabotage("strict-off", SabotageKind.DMA_DEBUG, "the strict machine is switched off",
             r"did not splat strict-unmapped", image={"strict_line": 0}, configuration="strict"),
    Sabotage("strict-bypassed", SabotageKind.DMA_DEBUG, "the strict machine's operations are taken from the devices",
             r"control \S+ went wrong|did not splat strict-unmapped", Moment.READY, partial(_load, "strict-bypass"),
             every=True, configuration="strict"),
    Sabotage("strict-out-of-memory", SabotageKind.DMA_DEBUG, "the strict machine gets no memory",
             r"refused dmasafe_strict.ko: Cannot allocate memory",
             image={"strict_words": ("pages=16384",), "memory_mib": 96}, configuration="strict"),
    Sabotage("strict-full", SabotageKind.DMA_DEBUG, "the strict machine has no address left",
             r"no bus address left for \d+ mappings|did not splat strict-unmapped", Moment.READY,
             partial(_load, "strict-full"), every=True, image={"strict_words": ("pages=1024",)},
             configuration="strict"),
    Sabotage("strict-flood", SabotageKind.DMA_DEBUG, "more rules are broken at a time than the strict machine reports",
             r"strict machine lost 8 reports", Moment.READY, partial(_load, "strict-flood"), every=True,
             configuration="strict"),
    *(
        Sabotage(f"device-lies-{lie}-strict", SabotageKind.LIES, f"the {controller} device trespasses: {lie}", reason,
                 Moment.BOOTED, partial(_lie, controller, lie), every=True, configuration="strict")
        for lie, (reason, controller) in _SEEN_BY_STRICT.items()
    ),
    *(
        Sabotage(act, SabotageKind.DRIVER, f"a hostile driver sends a request: {act}", reason, Moment.READY,
                 partial(_hostile, act), every=True)
        for act, reason in _DESCRIPTORS_SEEN.items()
    ),
)  # fmt: skip
SABOTAGES: dict[str, Sabotage] = {row.name: row for row in _ROWS}


class Saboteur:
    """Carries out one row. ``image`` is what to boot; ``boots`` and ``watch`` are QemuTarget's seams."""

    def __init__(self, sabotage: Sabotage, image: GuestImage, directory: Path) -> None:
        self._sabotage = sabotage
        self._boot: Boot | None = None
        self._done = False
        self.image = dataclasses.replace(image, cmdline=(*image.cmdline, *sabotage.cmdline), **sabotage.image)
        if sabotage.initrd is not None:
            changed = directory / "sabotaged.cpio"
            changed.write_bytes(sabotage.initrd(image.initrd.read_bytes()))
            self.image = dataclasses.replace(self.image, initrd=changed)

    @contextlib.contextmanager
    def boots(self, image: GuestImage, logs: Path, kmsg_log: BinaryIO, limits: Limits) -> Iterator[Boot]:
        """A BootFactory."""
        with Boot(image, logs, kmsg_log, limits) as boot:
            self._boot = boot
            self._done = self._done and not self._sabotage.every
            self._reached(Moment.BOOTED)
            yield boot

    def watch(self, progress: Progress) -> Progress:
        """``progress``, of which nothing is missed."""
        return _Watched(progress, self._reached)

    def _reached(self, moment: Moment) -> None:
        if moment is self._sabotage.moment and not self._done:
            self._done = True
            assert self._boot is not None and self._sabotage.act is not None
            self._sabotage.act(self._boot)


class _Watched:
    """A Progress that tells of the moments it sees pass."""

    def __init__(self, progress: Progress, reached: Callable[[Moment], None]) -> None:
        self._progress = progress
        self._reached = reached

    def stage(self, text: str) -> None:
        self._progress.stage(text)
        if text == "scenarios":
            self._reached(Moment.READY)

    def advance(self, done: int, total: int | None, text: str) -> None:
        self._progress.advance(done, total, text)
        if done == MIDDLE_ANSWERS:
            self._reached(Moment.MIDDLE)

    def stages(self) -> tuple[Stage, ...]:
        return self._progress.stages()


def saboteur(name: str, image: GuestImage, directory: Path) -> Saboteur:
    """The Saboteur of one row. Raises TargetError."""
    if name not in SABOTAGES:
        raise TargetError(unknown("sabotage", name, SABOTAGES))
    return Saboteur(SABOTAGES[name], image, directory)
