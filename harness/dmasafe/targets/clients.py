# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's client drivers in a guest: made, used, suspended, unbound, removed, each phase an observation.

The guest is a SharedBoot, with its checks: what happened on a controller counts only if canaries and controls said
before and after that it can be believed. dmasafe_audit.ko watches the messages meanwhile.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dmasafe.audit import AuditError, MessageKind, Record
from dmasafe.audit import judge as judge_audit
from dmasafe.carriers import controller_of
from dmasafe.devices.errors import DevicesError
from dmasafe.dmesg import parse_records
from dmasafe.expect.client_drivers import CLIENT_DRIVERS, PRELUDE, ClientDriver, Look, Phase, Sent
from dmasafe.expect.clients import ClientScenario, Place, expect_client
from dmasafe.guest.hands import Hands, Refused
from dmasafe.outcome import Observation, Skip
from dmasafe.progress import Progress
from dmasafe.qemu.versions import version_text
from dmasafe.report.results import Results
from dmasafe.targets import audit
from dmasafe.targets.base import TargetRun, unchecked
from dmasafe.targets.boot import plugged_for
from dmasafe.targets.errors import BootLost, TargetError
from dmasafe.targets.interrupt import by_whom
from dmasafe.targets.judged import judged
from dmasafe.targets.prepare import Prepared, plugged
from dmasafe.targets.qemu import QemuTarget
from dmasafe.targets.shared_boot import SharedBoot

SUITE = "clients"
SOURCES = "clients"
MODULE = "dmasafe_clients"
#: What the guest's image needs beside the usual.
MODULES = (audit.SOURCES, SOURCES)
# Two are needed where there are USB bridges.
BOOTS = 5
# The guest's clock: under TCG on a busy machine PMBus's probe of 17 pages takes minutes.
_COMMAND_S = 300.0
# What a driver's work queue may take to send what was asked for.
_SETTLE_TRIES = 40
_AUDIT_ROWS = 1024
_SHOWN = 200
# The audit's classes for the buffer kinds that drivers use.
_CLASSES = {"stack": {"stack"}, "rodata": {"rodata", "image", "reserved"}}
_HEAP = {"slab", "pages"}

_MAKE = 'echo "$B $A {chip} {words}" > $D/new || exit 1'
# A probe may be asynchronous. Without a driver's link for 20 looks, nobody probes (any more).
_AWAIT = """
n=0 gone=0
while :; do
	set -- {ready}
	[ -e "$1" ] && break
	if [ -e $C/driver ]; then gone=0; else gone=$((gone + 1)); fi
	n=$((n + 1))
	[ $gone -lt 20 ] && [ $n -lt 2000 ] || {{ echo "the driver did not bind"; exit 1; }}
	{pull}
	sleep 0.05
done
"""
_SUSPEND = """
echo 0 > /sys/module/suspend/parameters/pm_test_delay && echo devices > /sys/power/pm_test || exit 1
echo freeze > /sys/power/state
s=$?
echo none > /sys/power/pm_test
exit $s
"""
_UNBIND = "echo $N > /sys/bus/i2c/drivers/{driver}/unbind && [ ! -e $C/driver ]"
_BIND = "echo $N > /sys/bus/i2c/drivers/{driver}/bind &"
_REMOVE = 'echo "$B $A" > $D/delete && [ ! -e $C ]'


def run_clients(
    prepared: Prepared, scenarios: Sequence[ClientScenario], logs: Path, progress: Progress, started: float
) -> tuple[Results, list[Record]]:
    """Perform what can exist on this kernel, judge it, and say which messages were seen; ``prepared`` has MODULES.

    The logs of each boot go below ``logs``.
    """
    expectations = {scenario.id: expect_client(scenario, prepared.facts) for scenario in scenarios}
    performer = Performer(prepared, logs, progress)
    run = performer.perform([each for each in scenarios if not isinstance(expectations[each.id], Skip)])
    results = judged(QemuTarget.name, run, scenarios, expectations, SUITE, progress, started)
    return results, performer.records


class Performer:
    """Boots guests from ``prepared`` and takes clients through their phases; logs go below ``directory``."""

    def __init__(self, prepared: Prepared, directory: Path, progress: Progress) -> None:
        self._image = prepared.image
        self._kernel = prepared.kernel
        self._facts = prepared.facts
        self._directory = directory
        self._progress = progress
        self._boots = 0
        self._observations: dict[str, Observation] = {}
        self._untrusted: dict[str, str] = {}
        self._notes: list[str] = []
        self._canary_splatted = False
        self._boot_s = 0.0
        #: What the audit saw, controller by controller.
        self.records: list[Record] = []

    def perform(self, scenarios: Sequence[ClientScenario]) -> TargetRun:
        """All phases, controller by controller. What a lost boot leaves undone is untrusted, with the reason."""
        started = time.monotonic()
        # A suspended guest binds USB drivers anew, whose adapters are then probed for sensors: a boot of their own.
        todo = sorted(dict.fromkeys(scenario.place for scenario in scenarios), key=_apart)
        shared: SharedBoot | None = None
        interrupted = None
        try:
            for place in todo:
                mine = [scenario for scenario in scenarios if scenario.place == place]
                if shared is not None and self._plugged(todo, place) != shared.boot.image.controllers:
                    shared = self._end(shared)
                if shared is None and self._boots < BOOTS:
                    shared = self._new_boot(self._plugged(todo, place))
                if shared is None or not self._at(shared, place, mine):
                    shared = self._end(shared)
        except KeyboardInterrupt as error:
            interrupted = f"interrupted by {by_whom(error)}"
            self._notes.append(interrupted)
        finally:
            self._end(shared)
        why = self._notes[-1] if self._notes else "the run ended before"
        for scenario in scenarios:
            if scenario.id not in self._observations:
                self._untrusted.setdefault(scenario.id, f"not reached: {why}")
        return TargetRun(
            self._kernel,
            self._image.accelerator,
            self._canary_splatted,
            self._observations,
            self._untrusted,
            boot_s=self._boot_s,
            scenarios_s=max(0.0, time.monotonic() - started - self._boot_s),
            boots=self._boots,
            notes=tuple(self._notes),
            qemu=version_text(self._image.machine.binary, self._image.machine.debian_package),
            doubts={} if interrupted is None else unchecked(self._observations, interrupted),
        )

    @staticmethod
    def _end(shared: SharedBoot | None) -> None:
        if shared is not None:
            shared.end()

    def _plugged(self, places: Sequence[Place], place: Place) -> tuple[str, ...]:
        """What is plugged in when it is ``place``'s turn."""
        if controller_of(place.controller).room:
            return plugged_for((place.controller,), self._facts)
        return plugged_for((p.controller for p in places), self._facts) if _apart(place) else ()

    def _new_boot(self, controllers: tuple[str, ...]) -> SharedBoot | None:
        self._boots += 1
        self._progress.stage("boot" if self._boots == 1 else f"boot {self._boots}")
        directory = self._directory / f"boot-{self._boots}"
        directory.mkdir()
        self._image = plugged(self._image, controllers, self._facts, self._progress)
        shared = SharedBoot(self._image, self._kernel, self._facts, directory)
        try:
            with contextlib.ExitStack() as undo:
                undo.callback(shared.end)
                shared.start()
                self._boot_s = self._boot_s or shared.boot.boot_s
                reason = shared.distrust()
                if reason is not None:
                    raise BootLost(reason)
                self._canary_splatted = True
                self._load(shared)
                undo.pop_all()
        except (BootLost, DevicesError) as error:
            self._notes.append(f"boot {self._boots}: {error}")
            return None
        return shared

    @staticmethod
    def _load(shared: SharedBoot) -> None:
        try:
            Hands(shared.boot.request).load(f"/modules/{MODULE}.ko")
        except Refused as error:
            raise TargetError(f"{error}; it needs --config upstream") from error

    def _at(self, shared: SharedBoot, place: Place, scenarios: Sequence[ClientScenario]) -> bool:
        """Every client of one controller; whether the boot can go on."""
        self._progress.stage(place.name)
        reason: str | None = None
        alive = True
        try:
            shared.begin(f"clients at {place.name}")
            audit.begin(shared.boot, f"/modules/{audit.MODULE}.ko", _AUDIT_ROWS)
            if place.policy is not None:
                shared.set_policy(place.policy, 1)
            number = shared.boot.adapters.get(place.controller)
            clients = list(dict.fromkeys(scenario.client.name for scenario in scenarios))
            for client in clients if number is not None else ():
                assert number is not None
                life = _Life(
                    shared, CLIENT_DRIVERS[client], number, self._facts.version, self._observations, self._untrusted
                )
                life.live([scenario for scenario in scenarios if scenario.client.name == client])
            if number is None:
                reason = f"the adapter of {place.controller} did not appear"
            else:
                self._hold_messages(shared, place, number, scenarios)
            shared.boot.device.plug(None)
            reason = reason or shared.distrust()
        except (BootLost, AuditError, DevicesError, TargetError) as error:
            reason, alive = str(error), False
            self._notes.append(f"{place.name}: {error}")
        if reason is not None:
            self._untrusted |= {scenario.id: reason for scenario in scenarios}
        return alive and reason is None

    def _hold_messages(
        self, shared: SharedBoot, place: Place, number: int, scenarios: Sequence[ClientScenario]
    ) -> None:
        record = audit.finish(shared.boot)
        kinds = tuple(kind for kind in record.kinds if kind.adapter == number)
        distrust = judge_audit(record, self._kernel.release).distrust
        self.records.append(record)
        for scenario in scenarios:
            if scenario.phase is not Phase.MESSAGES:
                continue
            mine = [kind for kind in kinds if kind.address == scenario.client.address]
            wanted = scenario.client.sends(self._facts.version)[Phase.MESSAGES]
            self._observations[scenario.id] = Observation(
                0, wrong=tuple(differences(wanted, mine)), lost=next(iter(distrust), None)
            )


def _apart(place: Place) -> bool:
    row = controller_of(place.controller)
    return bool(row.room) or not row.survives_suspend


def differences(wanted: Sequence[Sent], kinds: Sequence[MessageKind]) -> Iterator[str]:
    """What the audit saw of a driver, compared with its row, in words."""
    rows = {(frozenset(_CLASSES.get(sent.buffer, _HEAP)), sent.read, sent.marked): sent for sent in wanted}
    met = set()
    for kind in kinds:
        row = next(
            (r for r in rows if kind.memory_class in r[0] and (kind.read, kind.dma_safe) == r[1:]),
            None,
        )
        met.add(row)
        if row is None:
            who = kind.blamed.function if kind.blamed is not None else "somebody"
            how = f"{'marked' if kind.dma_safe else 'unmarked'} {'read' if kind.read else 'write'}"
            yield f"{who} sends a {how} of up to {kind.max_bytes} bytes, {kind.memory.what}, not in its row"
    for row, sent in rows.items():
        if row not in met:
            yield f"its row has a {sent.words}, which was not sent"


class _Failed(Exception):
    """A step that did not do what it should, in words."""


class _Life:
    """One client on one adapter, from its making to its removal."""

    def __init__(
        self,
        shared: SharedBoot,
        client: ClientDriver,
        bus: int,
        version: tuple[int, ...],
        observations: dict[str, Observation],
        untrusted: dict[str, str],
    ) -> None:
        self._shared = shared
        self._client = client
        self._bus = bus
        self._version = version
        self._observations = observations
        self._untrusted = untrusted
        self._slave: Any = client.slave()
        self._wrong: list[str] = []
        self._binds = 0
        self._bound = False

    def live(self, scenarios: Sequence[ClientScenario]) -> None:
        """The phases that are asked for; PROBE and REMOVE are always done. Raises BootLost, DevicesError."""
        asked = {scenario.phase: scenario.id for scenario in scenarios}
        steps: dict[Phase, Callable[[], None]] = {
            Phase.PROBE: self._probe,
            Phase.USE: self._use,
            Phase.SUSPEND: self._suspend,
            Phase.UNBIND: self._unbind,
            Phase.REMOVE: self._remove,
        }
        self._shared.boot.device.plug({self._client.address: self._slave})
        for phase, step in steps.items():
            if phase in (Phase.PROBE, Phase.REMOVE) or (phase in asked and self._bound):
                reached = phase is Phase.PROBE or self._bound
                observation = self._observed(step)
                if phase in asked and reached:
                    self._observations[asked[phase]] = observation
            if phase is Phase.PROBE and not self._bound:
                for later, id_ in asked.items():
                    if later is not Phase.PROBE:
                        self._untrusted[id_] = f"not reached: {observation.error or 'the driver did not bind'}"

    def _observed(self, step: Callable[[], None]) -> Observation:
        self._shared.rearm()
        self._shared.flush()
        records, messages = len(self._shared.records()), len(self._shared.seen.messages)
        self._wrong, error = [], None
        try:
            step()
        except _Failed as failure:
            error = str(failure)
        self._shared.flush()
        strays = [s for m in self._shared.seen.messages[messages:] for s in m.segments if s.stray]
        self._wrong += [f"stray DMA to {stray.address:#x}" for stray in strays[:1]]
        self._wrong += self._shared.seen.slave_errors
        splats = tuple(parse_records(self._shared.records()[records:]))
        return Observation(0, splats=splats, wrong=tuple(self._wrong), error=error)

    def _probe(self) -> None:
        client = self._client
        self._bind(_MAKE.format(chip=client.chip, words=client.words))

    def _bind(self, begin: str) -> None:
        self._binds += 1
        pull = "pull" if self._client.interrupt else ":"
        self._command("probe", begin + _AWAIT.format(ready=self._client.ready, pull=pull))
        self._bound = True
        self._look(self._client.probe)

    def _use(self) -> None:
        self._look(self._client.use)

    def _suspend(self) -> None:
        self._command("suspend", _SUSPEND)
        self._look(self._client.use)

    def _unbind(self) -> None:
        self._command("unbind", _UNBIND.format(driver=self._client.driver))
        self._bind(_BIND.format(driver=self._client.driver))

    def _remove(self) -> None:
        self._command("remove", _REMOVE)

    def _look(self, looks: Sequence[Look]) -> None:
        for look in looks:
            if self._version < look.since:
                continue
            if look.change is not None:
                self._shared.boot.device.update_slaves()
                look.change(self._slave)
                self._shared.boot.device.plug({self._client.address: self._slave})
            heard = look.heard(self._command(look.what, look.command))
            held = self._held(look, heard)
            if heard != held:
                self._wrong.append(f"{look.what}: the guest says {heard[:_SHOWN]!r}, the slave holds {held[:_SHOWN]!r}")

    def _held(self, look: Look, heard: str) -> str:
        """What the slave holds, given the time that a driver's work queue takes."""
        held = ""
        for _ in range(_SETTLE_TRIES):
            self._shared.boot.sync_device()
            self._shared.boot.device.update_slaves()
            held = look.holds(self._slave)
            if held == heard:
                break
            self._shared.boot.request("kmsg")
        return held

    def _command(self, what: str, script: str) -> str:
        """The output of a shell command that knows the client. Raises _Failed, BootLost."""
        name = f"{self._bus}-{self._client.address:04x}"
        settings = (
            f"B={self._bus} A={self._client.address:#04x} N={name} C=/sys/bus/i2c/devices/{name} BINDS={self._binds}"
        )
        hands = Hands(self._shared.boot.request, lambda refused: _Failed(f"{what}: {refused.why}"))
        done = hands.run(f"{settings}\n{PRELUDE}\n{script}", _COMMAND_S)
        if done.status != 0:
            last = done.output.strip().splitlines()[-1:] or [f"status {done.status}"]
            raise _Failed(f"{what}: {last[0][:_SHOWN]}")
        return done.output
