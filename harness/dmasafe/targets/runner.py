# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios through sessions: canaries, controls, dma-debug's own account, and what of it all can be trusted.

The same for a booted guest and for a board; what differs is in the Session. One session takes all scenarios if nothing
breaks. A session that is lost costs the scenario under way; the rest goes on in a new one, if there may be another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from dmasafe.carriers import controller_of
from dmasafe.devices.errors import DevicesError
from dmasafe.dmesg import SPLAT_CLASSES, parse_records
from dmasafe.facts import NOT_ASKED, KernelFacts, KernelInfo, MachineFacts
from dmasafe.guest import GuestError
from dmasafe.guest.agent import Message, integer
from dmasafe.outcome import STRICT_PREFIX, BusMessage, Observation, Outcome, Splat, direct, noticed, outcome_of
from dmasafe.progress import Progress
from dmasafe.qemu import QemuError
from dmasafe.scenario import Scenario, parse_scenario
from dmasafe.targets import untouched
from dmasafe.targets.base import TargetRun, unchecked
from dmasafe.targets.canaries import canaries
from dmasafe.targets.errors import BootLost, HostTrouble
from dmasafe.targets.gathered import LOST_LOG, OUTSIDE
from dmasafe.targets.interrupt import by_whom, interrupt_deferred, interrupt_once
from dmasafe.targets.journal import Journal, Machine, Seen
from dmasafe.targets.session import KMSG_LOG, LIMITS, STRICT_PARAMETERS, WINDOW, Limits, Session
from dmasafe.targets.wire import in_vain, line, observation, settings

# What a killed process may lose.
KEEP_EVERY_S = 0.5
# What Ctrl-C leaves for the answers under way and the checks at the end; both take a tenth of a second as a rule.
_INTERRUPTED_S = 5.0
# How often a scenario is tried again that was lost because the machine was too slow.
_TRIES = 3
_RETRIES_SHOWN = 3
_UNEXPLAINED = "a boot was lost in one of several scenarios, and in none of them again"

# Known to go well on every kernel: where one does not, the device, its controller's driver or the way between lies,
# and a scenario's wrong data says nothing.
CONTROLS = tuple(
    parse_scenario(f"heap/{operation}/{place}/8")
    for place in ("dmasafe:pio", "virtio")
    for operation in ("master_send", "master_recv")
)
_ETIMEDOUT = 110
# A driver that is cut off waits for all its time-outs (i2c-qup: 4.4 s and 1 s).
_UNBOUND_TIMEOUT_MS = 10_000
# err_printk() in kernel/dma/debug.c counts each of its reports; giving up is a message of another kind.
_COUNTED = {slug for slug, row in SPLAT_CLASSES.items() if row.source.startswith("kernel/dma/debug.c")}
_COUNTED -= {"debug-disabled"}
# active_cacheline_inc_overlap() warns by itself, in the class of a report that is counted.
_UNCOUNTED_FIELD = "overlaps"
_STRICT_FILES = ("attached", "full", "unread", "reports")
_STRICT_SLUGS = frozenset(slug for slug in SPLAT_CLASSES if slug.startswith(STRICT_PREFIX))
_DMA_DEBUG_FILES = ("disabled", "driver_filter", "num_free_entries", "error_count", "all_errors")


@dataclass
class _State:
    """One run's growing results."""

    journal: Journal
    observations: dict[str, Observation] = field(default_factory=dict)
    untrusted: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    canary_splatted: bool | None = None
    boot_s: float | None = None
    boots: int = 0
    # By controller the boots in which scenarios of it were answered.
    booted: dict[str, set[int]] = field(default_factory=dict)
    done: int = 0
    # No other session is tried.
    over: bool = False
    # Each answer must come before the next scenario begins: a session was lost, and it must be clear in which.
    exact: bool = False
    machine: MachineFacts = NOT_ASKED
    # Why the newest session ended before its time.
    loss: str | None = None
    # Why another try may tell more of a scenario: somebody lost patience with a slow machine.
    hasty: dict[str, str] = field(default_factory=dict)
    # Such tries: what they saw the last one must see, too.
    tried: dict[str, list[Observation]] = field(default_factory=dict)
    # See TargetRun; of those whose boot was lost, and of those one of which lost it.
    unchecked: dict[str, str] = field(default_factory=dict)
    unexplained: dict[str, str] = field(default_factory=dict)

    def lost(self, why: str) -> None:
        """Keep it for the reader, and for the scenarios that were not reached."""
        self.loss = why
        self.notes.append(why)


#: Makes a session for these scenarios, which writes the kernel's log to the file.
SessionFactory = Callable[[BinaryIO, Sequence[Scenario]], AbstractContextManager[Session]]


class Runner:
    """Runs scenarios in sessions that ``sessions`` makes.

    ``word`` is what a session is called in notes and stages; ``accel`` is QEMU's accelerator, ``qemu`` its
    version, if any.
    """

    def __init__(
        self,
        sessions: SessionFactory,
        kernel: KernelInfo,
        facts: KernelFacts,
        log_directory: Path,
        limits: Limits = LIMITS,
        word: str = "boot",
        accel: str | None = None,
        qemu: str | None = None,
    ) -> None:
        self._sessions = sessions
        self._kernel = kernel
        self._facts = facts
        self._log_directory = log_directory
        self._limits = limits
        self._word = word
        self._accel = accel
        self._qemu = qemu

    def run(self, scenarios: Sequence[Scenario], destructive: frozenset[str], progress: Progress) -> TargetRun:
        """See :class:`dmasafe.targets.base.Target`. Ctrl-C ends the run and keeps what was measured."""
        # The agent changes the controller's policy as rarely as this order lets it.
        places = {(s.controller, s.policy): n for n, s in enumerate(scenarios)}
        todo = ordered = sorted(scenarios, key=lambda s: (s.id in destructive, places[s.controller, s.policy]))
        state = _State(Journal(self._log_directory))
        total = len(todo)
        started = time.monotonic()
        fruitless = tries = 0
        log = self._log_directory / KMSG_LOG
        try:
            # A second Ctrl-C must not cost what the first one kept.
            with interrupt_once(), log.open("wb") as kmsg_log:
                while todo and fruitless < self._limits.fruitless_boots and state.boots < self._limits.boots:
                    now, later = _for_one_boot(todo)
                    exact = state.exact
                    left = self._run_session(now, destructive, total, state, kmsg_log, progress)
                    if state.exact == exact:
                        fruitless = fruitless + 1 if len(left) >= len(now) - (len(now) > 1) else 0
                    todo = left + later
                    if state.over:
                        break
                    if not todo and tries < _TRIES:
                        tries += 1
                        todo = [scenario for scenario in ordered if scenario.id in state.hasty]
                        state.notes += _tried_again(todo, state.hasty)
                        total += len(todo)
        except KeyboardInterrupt as error:
            state.lost(f"interrupted by {by_whom(error)}")
        except HostTrouble as error:
            state.lost(str(error))
        except OSError as error:
            # The log's own: what is still buffered is written when it is closed.
            if state.loss is None:
                state.lost(str(HostTrouble.writing(log, error)))
        for scenario in scenarios:
            if scenario.id not in state.observations:
                state.untrusted.setdefault(scenario.id, f"not reached: {state.loss or 'the run ended before'}")
        boot_s = state.boot_s or 0.0
        return TargetRun(
            kernel=self._kernel,
            accel=self._accel,
            canary_splatted=bool(state.canary_splatted),
            observations=state.observations,
            untrusted=state.untrusted,
            boot_s=boot_s,
            scenarios_s=max(0.0, time.monotonic() - started - boot_s),
            boots=state.boots,
            notes=tuple(state.notes),
            facts=replace(self._facts, running=state.machine),
            qemu=self._qemu,
            doubts=state.unchecked | state.unexplained,
            rebooted=frozenset(name for name, boots in state.booted.items() if len(boots) > 1),
        )

    def _run_session(
        self,
        todo: list[Scenario],
        destructive: frozenset[str],
        total: int,
        state: _State,
        kmsg_log: BinaryIO,
        progress: Progress,
    ) -> list[Scenario]:
        """One boot; returns what is still to do. A lost boot costs the scenario that was under way, if it is known."""
        state.boots += 1
        progress.stage(self._word if state.boots == 1 else f"{self._word} {state.boots}")
        batch = _Batch(todo)
        try:
            with self._sessions(kmsg_log, todo) as session:
                state.boot_s = session.boot_s if state.boot_s is None else state.boot_s
                reason = self._check_release(session)
                batch.outside_before = len(session.gathered.records.get(OUTSIDE, ()))
                session.prepare()
                batch.lazy = session.can_be_lazy and not state.exact
                batch.reports_before = session.reports_before
                batch.strict_before = session.strict_before
                reason = reason or self._canary(session, batch)
                lie = self._controls(session, batch)
                if lie is not None:
                    raise BootLost(lie)
                batch.reason = reason
                progress.stage("scenarios")
                try:
                    reason = self._perform_all(session, batch, destructive, total, state, progress) or reason
                    # Bounded, and an answer that nobody waits for any more would be one to nothing asked.
                    with interrupt_deferred():
                        reason = reason or self._trailing_checks(session, batch, state)
                        batch.checked = True
                except BootLost as error:
                    if batch.lazy and len(batch.under_way) > 1:
                        # Any of them: answers may have been held back.
                        state.exact = True
                        batch.broken_why = str(error)
                        suspects = (scenario.id for scenario in batch.under_way.values())
                        state.unexplained |= dict.fromkeys(suspects, f"{_UNEXPLAINED}: {error}")
                    else:
                        batch.lost(str(error))
                        if state.unexplained.keys() & {scenario.id for _, scenario in batch.broken}:
                            # It explains the earlier one, too.
                            state.unexplained.clear()
                    state.lost(f"{self._word} {state.boots}: {error}")
                    batch.trace_ends_at = _rescue_trace(session)
                except (HostTrouble, KeyboardInterrupt) as error:
                    why = str(error) if isinstance(error, HostTrouble) else f"interrupted by {by_whom(error)}"
                    if isinstance(error, KeyboardInterrupt) and not batch.checked:
                        reason = self._check_interrupted(session, batch, state, reason)
                    batch.lost(why)
                    state.lost(why)
                    state.over = True
                    batch.trace_ends_at = _rescue_trace(session)
                if not batch.checked:
                    state.unchecked |= unchecked((scenario.id for _, scenario, _ in batch.replies), batch.broken_why)
                with interrupt_deferred():
                    self._collect(session, batch, session.gathered.distrust or reason, state)
        except (DevicesError, GuestError, QemuError) as error:
            # At first it is a user error; after that it must not cost what was measured.
            if state.boots == 1:
                raise
            state.lost(f"{self._word} {state.boots}: {error}")
        except BootLost as error:
            state.lost(f"{self._word} {state.boots}: {error}")
        return batch.todo

    def _check_release(self, session: Session) -> str | None:
        if session.release != self._kernel.release:
            return f"the guest runs {session.release}, not the kernel that was built, {self._kernel.release}"
        return None

    def _canary(self, session: Session, batch: _Batch) -> str | None:
        """Provoke the known splats; the reason why this boot cannot be trusted if one does not come."""
        if self._facts.untouched:
            return self._memory_canary(session, batch)
        if "dmasafe" not in session.adapters:
            return "the canary needs the dmasafe controller, whose adapter did not appear"
        for canary in canaries(self._facts):
            number, reply = self._ask(session, batch, canary.scenario)
            records = session.gathered.records.pop(number, [])
            seen = observation(canary.scenario, reply, records, (), session.memory)
            batch.other_splats += seen.splats
            if canary.splat_class not in {splat.splat_class for splat in seen.splats}:
                outcome = outcome_of(seen)[0] if seen.lost is None else seen.lost
                batch.canary_splatted = False
                cause = self._dma_debug_state(session, batch) if canary.splat_class in _COUNTED else None
                return f"the canary {canary.scenario.id} did not splat {canary.splat_class} ({cause or outcome})"
        batch.canary_splatted = True if batch.canary_splatted is None else batch.canary_splatted
        return None

    def _memory_canary(self, session: Session, batch: _Batch) -> str | None:
        """The same of a kernel without a module of the harness's: have the hardware write to memory that is free."""
        host = self._prover(session)
        batch.canary_splatted = False
        if host is None:
            return "the canary needs a controller whose driver frees what it reads into, and no adapter of one appeared"
        canary = untouched.canary(host)
        session.fail_hardware(host, canary.hardware)
        number, _reply = self._ask(session, batch, canary)
        untouched.let_it_write(session)
        session.fail_hardware(host, None)
        untouched.inspect(session, number)
        session.sync_device()
        trace = session.gathered.trace.pop(number, ())
        if not untouched.is_proved(session.gathered.records.pop(number, ()), trace, self._facts.iommu):
            who = "the IOMMU refuse" if self._facts.iommu else "SLUB report"
            return f"the canary {canary.id} did not have {who} a write to memory that is free"
        batch.canary_splatted = True
        return None

    def _prover(self, session: Session) -> str | None:
        return next((name for name in untouched.provers(self._facts) if name in session.adapters), None)

    def _ask(self, session: Session, batch: _Batch, scenario: Scenario) -> tuple[int, Message]:
        """One scenario outside the batch: its number and the reply. Raises BootLost."""
        number = batch.next_number()
        session.send(_run_message(number, scenario, bool(self._facts.strict_line)))
        while True:
            for reply in session.replies():
                # What was lost costs the first scenario of the batch.
                session.gathered.lost_log = reply.pop(LOST_LOG, None) or session.gathered.lost_log
                if reply.get("re") == "run" and integer(reply, "seq") == number:
                    return number, reply
                _unasked(session, reply)

    def _controls(self, session: Session, batch: _Batch) -> str | None:
        """Do what must go well by every oracle; what that says against this session. Raises BootLost."""
        host = self._prover(session) if self._facts.untouched else None
        controls = CONTROLS if host is None else untouched.controls(host)
        possible = [control for control in controls if control.controller in session.adapters]
        asked: list[tuple[Scenario, int, Message]] = []
        before = len(session.gathered.records.get(OUTSIDE, ()))
        for control in possible:
            asked.append((control, *self._ask(session, batch, control)))
            if _timed_out(asked[-1][2]):
                break
        if self._facts.strict_line:
            # A device that works on when it has answered does so by then.
            session.read(f"{STRICT_PARAMETERS}/settled")
            session.request("kmsg")
            belated = _belated(parse_records(session.gathered.records.get(OUTSIDE, ())[before:]))
            if belated is not None:
                return belated
        session.sync_device()
        for control, number, reply in asked:
            records = session.gathered.records.pop(number, ())
            trace = session.gathered.trace.pop(number, ())
            seen = observation(control, reply, records, trace, session.memory)
            outcome, how = outcome_of(seen)
            if seen.lost is not None or outcome is not Outcome.SAFE:
                return f"the control {control.id} went wrong ({seen.lost or how}{_late(session)})"
        return None

    def _perform_all(
        self,
        session: Session,
        batch: _Batch,
        destructive: frozenset[str],
        total: int,
        state: _State,
        progress: Progress,
    ) -> str | None:
        """The batch, what is destructive last; why the boot cannot be trusted, if that shows. Raises BootLost."""
        harmless = sum(scenario.id not in destructive for scenario in batch.todo)
        reason = self._perform(session, batch, harmless, total, state, progress)
        batch.lazy = False
        if batch.todo and reason is None:
            with interrupt_deferred():
                session.mute_console(True)
            reason = self._perform(session, batch, len(batch.todo), total, state, progress)
            with interrupt_deferred():
                session.mute_console(False)
        return reason

    def _perform(
        self, session: Session, batch: _Batch, count: int, total: int, state: _State, progress: Progress
    ) -> str | None:
        """Send the next ``count`` scenarios in a sliding window and keep each answer. Raises BootLost.

        A time-out lets the window run empty, for the controls to say whether the device is to blame; if so, that is it.
        """
        last = batch.performed + count
        doubt = False
        while batch.performed < last:
            with interrupt_deferred():
                if doubt and not batch.under_way:
                    doubt = False
                    lie = self._controls(session, batch)
                    if lie is not None:
                        return lie
                # Many at once: each message is an interrupt in the guest.
                if not doubt and len(batch.under_way) <= session.window // 2:
                    most = min(session.window, last - batch.performed)
                    messages = batch.next_messages(most, bool(self._facts.strict_line))
                    _set_hardware(session, batch)
                    session.send(*messages)
            # The guest is at work: nobody waits for this.
            batch.read_reports(session)
            # Here Ctrl-C takes effect: what is under way will be answered.
            session.wait()
            with interrupt_deferred():
                for answered, reply in batch.take(session):
                    if self._facts.untouched:
                        untouched.inspect(session, reply["seq"])
                    if answered.hardware and not batch.under_way:
                        session.fail_hardware(answered.controller, None)
                        batch.failing = None
                    state.done += 1
                    # Of hardware that fails a time-out says nothing new.
                    doubt = doubt or (_timed_out(reply) and not (answered.hardware or answered.meanwhile))
                    progress.advance(state.done, total, answered.id)
                # Hardware that is late would be waited for, once for each of those under way.
                late = any(scenario.hardware for scenario in batch.under_way.values())
                if not late and time.monotonic() >= batch.keep_at:
                    session.sync_device()
                    self._keep(session, batch, state)
        return None

    def _check_interrupted(self, session: Session, batch: _Batch, state: _State, reason: str | None) -> str | None:
        """Take the answers that are on the way and make the trailing checks, if there is time; as these."""
        session.hurry(_INTERRUPTED_S)
        batch.lazy = False
        try:
            while batch.under_way:
                state.done += len(list(batch.take(session)))
            reason = reason or self._trailing_checks(session, batch, state)
            batch.checked = True
        except (BootLost, HostTrouble, KeyboardInterrupt):
            # The interruption says more; and the verdicts that there are lack the checks.
            pass
        return reason

    def _keep(self, session: Session, batch: _Batch, state: _State) -> None:
        """Onto the disk what is new, in case that this process is killed; the device's trace of it must be here."""
        reason = session.gathered.distrust or batch.reason
        new = [
            _seen(session, number, scenario, reply, batch.doubt(session, reason, number, scenario, reply))
            for number, scenario, reply in batch.replies[batch.kept :]
        ]
        with interrupt_deferred():
            state.journal.keep(self._machine(session, batch, state), new)
            batch.kept = len(batch.replies)
        batch.keep_at = time.monotonic() + KEEP_EVERY_S

    def _machine(self, session: Session, batch: _Batch, state: _State) -> Machine:
        """What the journal has to know besides answers."""
        facts = replace(self._facts, running=_running(session, state))
        splatted = state.canary_splatted is not False and batch.canary_splatted is not False
        return Machine(self._kernel, facts, self._accel, self._qemu, splatted)

    def _trailing_checks(self, session: Session, batch: _Batch, state: _State) -> str | None:
        """After the last scenario: canary and controls again, then dma-debug's own account. Raises BootLost."""
        if batch.spends_boot and (self._facts.has("DMA_API_DEBUG") or self._facts.strict_line):
            # dma-debug is gone, or no bus address is left, as was asked for; the canary before proves that they worked.
            session.sync_device()
            self._keep(session, batch, state)
            session.request("kmsg")
            return session.gathered.lost_log
        reason = self._canary(session, batch) or self._controls(session, batch)
        session.sync_device()
        self._keep(session, batch, state)
        session.request("kmsg")
        # No scenario comes after it that could answer for it, and whose records they were is not known.
        reason = reason or session.gathered.lost_log
        if self._facts.strict_line:
            reason = reason or self._strict_state(session, batch)
        return reason or (self._dma_debug_state(session, batch) if self._facts.has("DMA_API_DEBUG") else None)

    def _strict_state(self, session: Session, batch: _Batch) -> str | None:
        """Why the strict machine's word cannot be taken, or None."""
        values = {name: session.read(f"{STRICT_PARAMETERS}/{name}") for name in _STRICT_FILES}
        batch.strict_count = values["reports"]
        if values["attached"] in (None, "0"):
            return "the strict machine is not attached to any device"
        if values["unread"] != "0":
            return f"the strict machine lost {values['unread']} reports"
        if values["full"] != "0":
            return f"the strict machine had no bus address left for {values['full']} mappings"
        return None

    def _dma_debug_state(self, session: Session, batch: _Batch) -> str | None:
        """Why dma-debug's word cannot be taken, or None."""
        base = "/sys/kernel/debug/dma-api"
        values = {name: session.read(f"{base}/{name}") for name in _DMA_DEBUG_FILES}
        batch.error_count = values["error_count"]
        if values["disabled"] is None:
            return f"dma-debug's files are missing below {base}"
        if values["disabled"] != "N":
            return "dma-debug is disabled (switched off, or out of entries)"
        if values["driver_filter"]:
            return f"dma-debug's driver filter hides all drivers but {values['driver_filter']}"
        if values["all_errors"] in (None, "0"):
            return "dma-debug's all_errors is not set: it prints the first error only"
        return None

    def _collect(self, session: Session, batch: _Batch, reason: str | None, state: _State) -> None:
        """Join answers, records and trace into observations, and say which cannot be trusted."""
        gathered = session.gathered
        state.machine = _running(session, state)
        state.notes.extend(f"{self._word} {state.boots}: {text}" for text in gathered.violations[:3])
        observed: dict[str, Observation] = {}
        for number, scenario, reply in batch.replies:
            trace: Sequence[BusMessage] = gathered.trace.get(number, ())
            records = gathered.records.get(number, ())
            splats = batch.splats(number, records)
            state.booted.setdefault(scenario.controller, set()).add(state.boots)
            observed[scenario.id] = observation(scenario, reply, records, trace, session.memory, splats)
        state.observations |= observed
        of_none = gathered.records.get(OUTSIDE, ())
        reason = reason or _belated(parse_records(of_none[batch.outside_before :]))
        reason = reason or batch.uncounted(observed.values(), parse_records(of_none))
        doubted: list[Seen] = []
        for number, scenario, reply in batch.replies:
            seen = observed[scenario.id]
            state.hasty.pop(scenario.id, None)
            state.untrusted.pop(scenario.id, None)
            why = batch.distrust(session, reason, number, scenario)
            if why is None and batch.trace_ends_at is not None and number >= batch.trace_ends_at:
                why = f"the device's trace ends before this scenario: {batch.broken_why}"
            haste = batch.in_haste(session, number, reply)
            if why is None and (haste is not None or seen.hasty):
                state.hasty[scenario.id] = str(seen.lost) if seen.hasty else str(haste)
            why = why or haste or _not_again(state.tried.get(scenario.id, ()), seen)
            if scenario.id in state.hasty:
                state.tried.setdefault(scenario.id, []).append(seen)
            if why is not None:
                state.untrusted[scenario.id] = why
                doubted.append(_seen(session, number, scenario, reply, why))
        # What was found out at the end stands behind what was kept before.
        state.journal.keep(self._machine(session, batch, state), doubted)
        for number, scenario in batch.broken:
            # Who loses a boot is not tried until it goes well.
            state.hasty.pop(scenario.id, None)
            state.untrusted[scenario.id] = batch.broken_why
            records = gathered.records.get(number, ())
            if records:
                state.observations[scenario.id] = observation(scenario, {}, records, (), session.memory)
        if batch.canary_splatted is not None:
            previous = True if state.canary_splatted is None else state.canary_splatted
            state.canary_splatted = previous and batch.canary_splatted


# The number of a scenario, which it is, and the agent's reply.
_Answered = tuple[int, Scenario, Message]


class _Batch:
    """The bookkeeping of one boot: what was sent, answered, broken."""

    def __init__(self, todo: list[Scenario]) -> None:
        self.todo = list(todo)
        self.under_way: dict[int, Scenario] = {}
        # Which controller's hardware has been told to fail, and how.
        self.failing: tuple[str, str] | None = None
        self.replies: list[_Answered] = []
        self.broken: list[tuple[int, Scenario]] = []
        self.broken_why = ""
        # Why none of it can be trusted, as far as that is known before the first scenario.
        self.reason: str | None = None
        self.lost_log: dict[int, str] = {}
        self.performed = 0
        self.canary_splatted: bool | None = None
        # The scenario from which on the device's trace may be incomplete; None if it is whole.
        self.trace_ends_at: int | None = None
        # What the canaries splatted, and dma-debug's own count of its reports, as its file says it.
        self.other_splats: list[Splat] = []
        self.error_count: str | None = None
        # The same of the strict machine.
        self.strict_count: str | None = None
        self.reports_before = 0
        self.strict_before = 0
        # How many log records of no scenario's are older than the run: in a shared boot they are a test's.
        self.outside_before = 0
        # How many of the replies the journal has, and when it is given more.
        self.kept = 0
        # The same of their logs that were parsed; by a scenario's number how many records that were, and the splats.
        self._read = 0
        self._reports: dict[int, tuple[int, list[Splat]]] = {}
        self.keep_at = time.monotonic() + KEEP_EVERY_S
        # Whether the agent may hold back an answer while there is more to do.
        self.lazy = False
        # What timed out last on a controller that stumbles then; what it still does is in the next, of this number.
        self._stumbling: _Answered | None = None
        self._stumbled: dict[int, _Answered] = {}
        # Whether the checks at the end were made.
        self.checked = False
        self.spends_boot = any(_spends_boot(scenario) for scenario in todo)
        self._number = 0

    def uncounted(self, observed: Iterable[Observation], outside: Sequence[Splat]) -> str | None:
        """Why the log cannot be whole: dma-debug, or the strict machine, counted other reports than were read.

        None if neither did.
        """
        splats = [splat for seen in observed for splat in seen.splats]
        told = sum(splat.splat_class in _STRICT_SLUGS for splat in (*splats, *outside, *self.other_splats))
        if self.strict_count not in (None, str(self.strict_before + told)):
            before = f", {self.strict_before} of them before the run;" if self.strict_before else ","
            return f"the strict machine counted {self.strict_count} reports{before} the log has {told}"
        if self.error_count is None:
            return None
        read = sum(_is_counted(splat) for splat in (*splats, *outside, *self.other_splats))
        if self.error_count == str(self.reports_before + read):
            return None
        if self.reports_before:
            before = f", {self.reports_before} of them before the run"
            return f"dma-debug counted {self.error_count} reports{before}; the log has {read}"
        return f"dma-debug counted {self.error_count} reports, the log has {read}"

    def doubt(
        self, session: Session, reason: str | None, number: int, scenario: Scenario, reply: Message
    ) -> str | None:
        """Why an answer cannot be trusted; ``reason`` is why none of them can."""
        return self.distrust(session, reason, number, scenario) or self.in_haste(session, number, reply)

    def distrust(self, session: Session, reason: str | None, number: int, scenario: Scenario) -> str | None:
        """The same, where another try would not tell more."""
        broken_rule = None if scenario.fault else session.gathered.broken_rules.get(number)
        return self.lost_log.get(number) or reason or broken_rule

    def in_haste(self, session: Session, number: int, reply: Message) -> str | None:
        """Why an answer cannot be trusted that came from a machine that was too slow for somebody, or None."""
        if _timed_out(reply) and session.gathered.late_s:
            return f"the transfer timed out{_late(session)}"
        if number in self._stumbled and not self._in_vain(session, *self._stumbled[number]):
            return "the transfer before it timed out: what its driver and hardware still did may be in this one"
        return None

    def _in_vain(self, session: Session, number: int, scenario: Scenario, reply: Message) -> bool:
        """Whether it is known why this one timed out: see wire.in_vain(). The driver has reset its hardware then."""
        splats = self.splats(number, session.gathered.records.get(number, ()))
        answer = reply.get("answer")
        ret = integer(answer, "ret") if isinstance(answer, dict) else None
        return in_vain(scenario, ret, splats, session.gathered.trace.get(number, ()))

    def read_reports(self, session: Session) -> None:
        """Parse the log of the scenarios that were answered since."""
        for number, _, _ in self.replies[self._read :]:
            records = session.gathered.records.get(number)
            if records:
                self._reports[number] = (len(records), parse_records(records))
        self._read = len(self.replies)

    def splats(self, number: int, records: Sequence[str]) -> list[Splat]:
        """What is in a scenario's log, all of which is here by now."""
        count, found = self._reports.get(number, (0, []))
        return found if count == len(records) else parse_records(records)

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def next_messages(self, most: int, strict: bool) -> list[Message]:
        """The requests that follow, until so many scenarios are under way."""
        messages = []
        while len(self.under_way) < most:
            scenario = self.todo[len(self.under_way)]
            before = next(iter(self.under_way.values()), scenario)
            if _broken_hardware(before) != _broken_hardware(scenario):
                # While hardware fails nothing else is under way.
                break
            number = self.next_number()
            self.under_way[number] = scenario
            messages.append(_run_message(number, scenario, strict))
            # While the guest goes on with the other half of the window, the host is to have something to do.
            if self.lazy and not scenario.hardware and (self.performed + len(self.under_way)) % (WINDOW // 2):
                messages[-1]["lazy"] = 1
        return messages

    def take(self, session: Session) -> Iterator[tuple[Scenario, Message]]:
        """The answers that are here, kept one by one. Raises BootLost."""
        for reply in session.replies():
            number = integer(reply, "seq")
            if reply.get("re") != "run" or number is None or number not in self.under_way:
                _unasked(session, reply)
                continue
            lost_log = reply.pop(LOST_LOG, None)
            if lost_log is not None:
                self.lost_log[number] = lost_log
            answered = self.under_way.pop(number)
            self.todo.pop(0)
            self.performed += 1
            self.replies.append((number, answered, reply))
            if self._stumbling is not None and self._stumbling[1].controller == answered.controller:
                self._stumbled[number] = self._stumbling
            # Who was bound anew, or fails as it was told to, has nothing left to do.
            told = answered.hardware or answered.meanwhile
            stumbles = controller_of(answered.controller).stumbles and _timed_out(reply) and not told
            self._stumbling = (number, answered, reply) if stumbles else None
            yield answered, reply

    def lost(self, why: str) -> None:
        """The boot is lost: the oldest scenario under way is taken to be the cause, the others go back."""
        self.broken_why = why
        if self.under_way:
            number = min(self.under_way)
            scenario = self.under_way[number]
            self.broken.append((number, scenario))
            self.todo.remove(scenario)


def _broken_hardware(scenario: Scenario) -> tuple[str, str] | None:
    """Which controller's hardware has to fail for this scenario, and how."""
    return (scenario.controller, scenario.hardware) if scenario.hardware else None


def _set_hardware(session: Session, batch: _Batch) -> None:
    """Have the hardware fail as the scenarios under way want it to. Raises BootLost."""
    broken = next(map(_broken_hardware, batch.under_way.values()), None)
    if broken not in (None, batch.failing):
        session.fail_hardware(*broken)
        batch.failing = broken


def _running(session: Session, state: _State) -> MachineFacts:
    """What this session's machine has told; only its device says how long the queue is, and not in every session."""
    return replace(session.machine, queue_entries=session.gathered.queue_entries or state.machine.queue_entries)


def _belated(outside: Sequence[Splat]) -> str | None:
    """Why nothing is believed where the strict machine reported what no scenario did: a device works by itself."""
    late = next((splat for splat in outside if splat.splat_class in _STRICT_SLUGS), None)
    return None if late is None else f"the strict machine reported {late.splat_class} outside any scenario"


def _unasked(session: Session, reply: Message) -> None:
    """An answer to nothing that was asked: no other answer can be believed to be the one to its question."""
    why = f"an answer to nothing asked: {str(reply)[:80]}"
    session.gathered.violation(why)
    session.gathered.distrust = session.gathered.distrust or why


def _seen(session: Session, number: int, scenario: Scenario, reply: Message, doubt: str | None) -> Seen:
    gathered = session.gathered
    return Seen(scenario.id, reply, gathered.records.get(number, ()), gathered.trace.get(number, ()), doubt)


def _is_counted(splat: Splat) -> bool:
    """Whether dma-debug's error_count counts this report."""
    return splat.splat_class in _COUNTED and _UNCOUNTED_FIELD not in splat.fields


def _rescue_trace(session: Session) -> int | None:
    """After a lost boot: fetch what the device still has to tell; None if that is all of it.

    A device that died took the end of its trace with it. Records come in order, so everything before the newest
    scenario seen is complete.
    """
    try:
        session.sync_device()
    except BootLost:
        return max(session.gathered.trace, default=0)
    return None


def _tried_again(todo: Sequence[Scenario], hasty: Mapping[str, str]) -> list[str]:
    shown = [f"tried again: {one.id}: {hasty[one.id]}" for one in todo[:_RETRIES_SHOWN]]
    return shown if len(todo) <= _RETRIES_SHOWN else [*shown, f"tried again: {len(todo)} scenarios in all"]


def _not_again(tries: Iterable[Observation], last: Observation) -> str | None:
    """Why the last try is not believed, or None: what one before it saw against the driver is no matter of haste."""
    for seen in tries:
        missed = [word for word in _against(seen) if word not in _against(last)]
        if {direct(seen), direct(last)} >= {True, False}:
            missed.append("the payload went another way")
        if missed:
            return f"an earlier try saw what the last one did not: {', '.join(missed)}"
    return None


def _against(seen: Observation) -> list[str]:
    """What was seen against the driver; its return value is what haste spoils, and the payload's way may be right."""
    said = replace(noticed(seen), returned=())
    words = [word for oracle in said.words() for word in oracle if word != "other buffer"]
    return [*words, *seen.wrong, *(["the system slept while the transfer was under way"] if seen.slept else [])]


def _timed_out(reply: Message) -> bool:
    """Whether somebody lost patience: the driver with the device, or the agent with the call."""
    answer = reply.get("answer")
    return "hung" in reply or (isinstance(answer, dict) and integer(answer, "ret") == -_ETIMEDOUT)


def _late(session: Session) -> str:
    late_s = session.gathered.late_s
    return f", and the emulated device's process did not run for {late_s:.1f} s" if late_s else ""


def _spends_boot(scenario: Scenario) -> bool:
    return scenario.fault is not None and scenario.fault.spends_boot


def _for_one_boot(todo: list[Scenario]) -> tuple[list[Scenario], list[Scenario]]:
    """What shares the next boot, and what comes later: controllers for which it has no room, and what spends a boot.

    The latter comes last, each with one of its own.
    """
    sharing = [scenario for scenario in todo if not _spends_boot(scenario)]
    spending = [scenario for scenario in todo if _spends_boot(scenario)]
    if not sharing:
        return spending[:1], spending[1:]
    rows = [controller_of(name) for name in dict.fromkeys(scenario.controller for scenario in sharing)]
    room = next((row.room for row in rows if row.room), 0)
    here = {row.name for row in rows if not row.room} | {row.name for row in [r for r in rows if r.room == room][:room]}
    now = [scenario for scenario in sharing if scenario.controller in here]
    return now, [scenario for scenario in sharing if scenario.controller not in here] + spending


def _run_message(number: int, scenario: Scenario, strict: bool = False) -> Message:
    message: Message = {
        "op": "run",
        "seq": number,
        "adapter": scenario.controller if controller_of(scenario.controller).has_adapter else "",
        "set": settings(scenario),
        "line": line(scenario, strict),
    }
    if scenario.fault is not None and scenario.fault.rebinds:
        message["rebind"] = 1
    if scenario.meanwhile is not None:
        message |= {"meanwhile": scenario.meanwhile, "timeout_ms": _UNBOUND_TIMEOUT_MS}
    return message
