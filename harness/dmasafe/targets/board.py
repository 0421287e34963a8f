# SPDX-License-Identifier: GPL-2.0-or-later
"""Targets ``ssh:``, ``serial:``, ``local`` and ``labgrid:``: scenarios on somebody's board, which stays as it was.

The agent and the modules are copied into a private directory on the board; images/board/run starts the agent there and
tidies up behind it, also when nobody is left to tell it to. What the board cannot do is skipped, with the reason.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from dmasafe.carriers import Where, controller_of
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.guest.link import Link
from dmasafe.kernel.config import STRICT_LINE_BYTES, parse_config
from dmasafe.kernel.kdir import (
    VERMAGIC_SYMBOLS,
    BoardFiles,
    KernelDirectory,
    config_differences,
    make_arch_of,
)
from dmasafe.outcome import Observation
from dmasafe.progress import Progress
from dmasafe.scenario import Scenario
from dmasafe.targets.base import TargetRun
from dmasafe.targets.board_session import BoardSession, Place
from dmasafe.targets.errors import TargetError
from dmasafe.targets.kconfig import facts_from_config
from dmasafe.targets.runner import Runner
from dmasafe.targets.session import Limits

# No second session after a lost one: the user decides, with --resume, when the board is well again.
LIMITS = Limits(boots=1, fruitless_boots=1)
MAX_CONFIG_BYTES = 1 << 20
_SHOWN_DIFFERENCES = 5
# As it is called since 6.12, and before.
_OPERATIONS = ("ARCH_HAS_DMA_OPS", "DMA_OPS")
_EOPNOTSUPP = 95
_FUNCTION = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
# Where a board's architecture has no PCI or no I2C, the globs stay as they are, and nothing is found.
_PROBE = r"""
echo "release=$(uname -r)"
echo "machine=$(uname -m)"
[ -O /proc/1 ] && echo root=1
echo "oops=$(cat /proc/sys/kernel/panic_on_oops 2>/dev/null)"
for d in /sys/bus/pci/devices/*; do
[ "$(cat $d/vendor 2>/dev/null)$(cat $d/device 2>/dev/null)" = 0x1af40x1062 ] && echo "function=${d##*/}"
done
for d in /sys/bus/i2c/devices/i2c-*; do [ -e $d ] && echo "bus=${d##*-}"; done
for d in /sys/bus/i2c/devices/*-*/driver; do
[ -e $d ] && n=${d%/driver} && l=$(readlink $d) && echo "claimed=${n##*/} ${l##*/}"
done
true
"""
_CONFIG = r"""
b=base64; command -v base64 >/dev/null || b="busybox base64"
if [ -r /proc/config.gz ]; then $b /proc/config.gz
elif [ -r /boot/config-$(uname -r) ]; then gzip -c /boot/config-$(uname -r) | $b
fi
"""


@dataclass(frozen=True)
class BoardOptions:
    """What the user allows: a bus and addresses on it, the devices' trace socket, scenarios that kill a task.

    ``strict``: DMA operations of the strict machine's.
    """

    bus: int | None = None
    addresses: tuple[int, ...] = ()
    oracle: Path | None = None
    destructive: bool = False
    strict: bool = False


@dataclass(frozen=True)
class Board:
    """What a board says of itself. ``claimed`` maps "bus-address" (as sysfs writes it) to the driver that has it."""

    release: str
    machine: str
    functions: tuple[str, ...] = ()
    buses: frozenset[int] = frozenset()
    claimed: Mapping[str, str] = field(default_factory=dict)
    panics: bool = False
    config: str | None = None


def probe(link: Link) -> Board:
    """Look at a board without changing anything. Raises LinkError, TargetError."""
    values: dict[str, list[str]] = {}
    for line in link.command(_PROBE).output.splitlines():
        key, _, value = line.partition("=")
        values.setdefault(key, []).append(value.strip())
    release, machine = values.get("release", [""])[0], values.get("machine", [""])[0]
    if not release or not machine:
        raise TargetError(f"{link.name}: the board does not say what it runs: is it a Linux system with a shell?")
    if "root" not in values:
        raise TargetError(f"{link.name}: loading modules takes root: log in as root")
    config = link.command(_CONFIG, 120.0)
    return Board(
        release,
        machine,
        tuple(sorted(name for name in values.get("function", ()) if _FUNCTION.fullmatch(name))),
        frozenset(int(nr) for nr in values.get("bus", ()) if nr.isascii() and nr.isdigit()),
        dict(line.split(" ", 1) for line in values.get("claimed", ()) if " " in line),
        values.get("oops", [""])[0] == "1",
        _unpacked(config.output),
    )


def _unpacked(text: str) -> str | None:
    """A .config out of gzip and base64; None for anything else."""
    with contextlib.suppress(OSError, EOFError, ValueError, binascii.Error):
        packed = base64.b64decode("".join(text.split()), validate=True)
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            config = file.read(MAX_CONFIG_BYTES).decode(errors="replace")
        return config if parse_config(config) else None
    return None


def check(board: Board, kdir: KernelDirectory, link_name: str) -> tuple[str, ...]:
    """Notes on differences between a board's kernel and KDIR. Raises TargetError for those that matter."""
    if board.release != kdir.release:
        raise TargetError(
            f"{link_name} runs {board.release}, but {kdir.path} is for {kdir.release}: modules for one do not load "
            "into the other; name the board's own build tree or headers by --kdir"
        )
    if make_arch_of(board.machine) != kdir.make_arch:
        raise TargetError(f"{link_name} is {board.machine}, but {kdir.path} is configured for {kdir.make_arch}")
    different = () if board.config is None else config_differences(kdir.config, board.config)
    fatal = [name for name in different if name in VERMAGIC_SYMBOLS]
    shown = ", ".join(f"CONFIG_{name}" for name in different[:_SHOWN_DIFFERENCES])
    if fatal:
        raise TargetError(
            f"{link_name} and {kdir.path} are both {board.release}, but differ in {shown}: such modules do not load"
        )
    more = f" and {len(different) - _SHOWN_DIFFERENCES} more" if len(different) > _SHOWN_DIFFERENCES else ""
    return (
        (f"the board's configuration is not that of {kdir.path}: {shown}{more}; the board's counts",) if shown else ()
    )


class BoardTarget:
    """Runs scenarios on a board; logs go to ``log_directory``. ``board`` must have passed check()."""

    def __init__(
        self,
        link: Link,
        board: Board,
        kdir: KernelDirectory,
        files: BoardFiles,
        runner_script: Path,
        log_directory: Path,
        options: BoardOptions,
        notes: tuple[str, ...] = (),
        limits: Limits = LIMITS,
    ) -> None:
        if options.bus is not None and options.bus not in board.buses:
            there = ", ".join(str(nr) for nr in sorted(board.buses)) or "none"
            raise TargetError(f"{link.name} has no I2C bus {options.bus}: it has {there}")
        self.name = link.name
        self._link = link
        self._board = board
        self._options = options
        self._log_directory = log_directory
        self._limits = limits
        self._notes = notes
        config = board.config or kdir.config
        self._facts = facts_from_config(config, board.machine, board.release)
        if options.strict:
            _require_operations(link.name, self._facts, options)
            self._facts = replace(self._facts, strict_line=STRICT_LINE_BYTES)
        sha = hashlib.sha256(config.encode()).hexdigest()
        self.kernel = KernelInfo(board.release, board.machine, f"config-{sha[:12]}", str(kdir.path), sha)
        self._place = self._placed(files, runner_script)

    def _placed(self, files: BoardFiles, runner_script: Path) -> Place:
        """Which controller sits where: emulated ones need their trace, the engine has its own."""
        functions = self._board.functions if self._options.oracle is not None else ()
        return Place(
            files=(runner_script, files.agent, *files.modules),
            virtio=functions[0] if functions else None,
            dmasafe=functions[1] if len(functions) > 1 else None,
            bus=self._options.bus,
            oracle=self._options.oracle,
            strict_line=self._facts.strict_line,
        )

    def facts(self) -> KernelFacts:
        return self._facts

    def cannot(self, scenario: Scenario) -> str | None:
        return controller_of(scenario.controller).not_at(Where.BOARD)

    def run(self, scenarios: Sequence[Scenario], destructive: frozenset[str], progress: Progress) -> TargetRun:
        """See :class:`dmasafe.targets.base.Target`."""
        skipped = {s.id: why for s in scenarios if (why := self._refuses(s, s.id in destructive)) is not None}
        possible = [scenario for scenario in scenarios if scenario.id not in skipped]
        if not possible:
            return TargetRun(self.kernel, None, False, {}, notes=self._notes, skipped=skipped)
        sessions: list[BoardSession] = []

        def session(kmsg_log: BinaryIO, _todo: object) -> BoardSession:
            sessions.append(BoardSession(self._link, self._place, kmsg_log, self._limits))
            return sessions[-1]

        runner = Runner(session, self.kernel, self._facts, self._log_directory, self._limits, "session")
        run = runner.run(possible, destructive, progress)
        for id_, why in _refused(possible, run.observations).items():
            skipped[id_] = why
        farewells = tuple(note for each in sessions for note in each.notes)
        return replace(run, skipped=skipped, notes=(*self._notes, *run.notes, *farewells))

    def session(self, kmsg_log: BinaryIO) -> BoardSession:
        """A session for other work than scenarios."""
        return BoardSession(self._link, self._place, kmsg_log, self._limits)

    def _refuses(self, scenario: Scenario, destructive: bool) -> str | None:
        """Why the board cannot or must not do this; None if it can."""
        row = controller_of(scenario.controller)
        if row.own_bus:
            return self._bus_refuses(scenario)
        if row.always and row.name not in self._place.adapters:
            if not self._board.functions:
                return "the board has no virtio I2C function (1af4:1062)"
            return "there is no trace of the virtio device: name its socket by --oracle"
        if scenario.fault is not None and scenario.fault.spends_boot:
            return "it leaves a kernel without dma-debug, and a board is not rebooted"
        if destructive and not self._options.destructive:
            return "it kills a task in the board's kernel, and may cost it the adapter until it reboots: --destructive"
        if destructive and self._board.panics:
            return "it oopses, and the board panics on an oops (kernel.panic_on_oops)"
        return None

    def _bus_refuses(self, scenario: Scenario) -> str | None:
        if self._options.bus is None:
            return "no bus is named that may be used: --bus N --address 0xNN"
        if scenario.address not in self._options.addresses:
            return f"address {scenario.address:#04x} is not among those named by --address"
        driver = self._board.claimed.get(f"{self._options.bus}-{scenario.address:04x}")
        return None if driver is None else f"address {scenario.address:#04x} belongs to driver {driver}"


def _require_operations(name: str, facts: KernelFacts, options: BoardOptions) -> None:
    """Raises TargetError where a board cannot be strict."""
    if options.oracle is not None:
        raise TargetError("--strict needs the controller's own engine: hardware that --oracle asks cannot be told")
    if not any(map(facts.has, _OPERATIONS)):
        raise TargetError(
            f"{name} cannot be strict: its kernel gives no device DMA operations of its own "
            f"(CONFIG_{_OPERATIONS[0]}, which GART_IOMMU or XEN selects)"
        )


def _refused(scenarios: Sequence[Scenario], observations: Mapping[str, Observation]) -> dict[str, str]:
    """Scenarios on the board's own bus that its adapter is not made for."""
    return {
        scenario.id: "the bus's adapter cannot do that (EOPNOTSUPP)"
        for scenario in scenarios
        if controller_of(scenario.controller).own_bus
        and (seen := observations.get(scenario.id)) is not None
        and seen.ret == -_EOPNOTSUPP
        and not seen.splats
    }
