# SPDX-License-Identifier: GPL-2.0-or-later
"""A boot that many tests share: what came in since a test began, and the harness's own checks between tests.

The checks are the Runner's: canaries, controls, dma-debug's state and its account of reports, here around one harmless
scenario in a boot that stays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from dmasafe.audit import MESSAGE_POINTS, AuditError, Record
from dmasafe.devices.trace import parse as parse_trace
from dmasafe.devices.vfio_user import Broken
from dmasafe.facts import KernelFacts, KernelInfo
from dmasafe.outcome import BusMessage, Outcome, outcome_of
from dmasafe.progress import SILENT
from dmasafe.scenario import Scenario, parse_scenario
from dmasafe.targets import audit
from dmasafe.targets.base import TargetRun
from dmasafe.targets.boot import Boot, GuestImage
from dmasafe.targets.errors import BootLost, TargetError
from dmasafe.targets.gathered import MAX_RECORDS_PER_SCENARIO, OUTSIDE, Gathered
from dmasafe.targets.runner import Runner
from dmasafe.targets.session import LIMITS, MODULES, STRICT_PARAMETERS, Limits

MAX_MESSAGES_PER_TEST = 65536
# What most drivers of controllers with DMA do: the helpers, for messages of every length.
DEFAULT_POLICY = ("bounce", 1)
PROBE = parse_scenario("heap/master_send/dmasafe:pio/8")
# What a PCI function in Python does wrong is its test's.
_FUNCTIONS_OWN = (Broken.FUNCTION_FAILED, Broken.FUNCTION_SLOW)
_ONE_BOOT = Limits(fruitless_boots=1, boots=1)
_ERROR_COUNT = "/sys/kernel/debug/dma-api/error_count"
_STRICT_COUNT = f"{STRICT_PARAMETERS}/reports"
_REARM = ("/sys/kernel/debug/clear_warn_once", *(f"/sys/module/{name}/parameters/rearm" for name in MODULES))


class SeenRecords(Gathered):
    """As Gathered, but a driver's doings outside scenarios are the test's: its stray DMA is what is looked for."""

    def __init__(self, kmsg_log: BinaryIO) -> None:
        super().__init__(kmsg_log)
        self.messages: list[BusMessage] = []
        self.slave_errors: list[str] = []
        self.function_errors: list[str] = []
        self.undeclared: list[tuple[int, int, int, bool]] = []
        self.overflow: str | None = None

    def take_event(self, event: Mapping[str, object]) -> None:
        if event.get("ev") == "slave":
            self.slave_errors.append(str(event.get("why"))[:500])
            return
        if event.get("ev") == "violation" and event.get("what") in _FUNCTIONS_OWN:
            self.function_errors.append(str(event.get("why"))[:500])
            return
        if event.get("ev") == "undeclared":
            bar, offset, size = (int(str(event.get(field))) for field in ("bar", "offset", "size"))
            self.undeclared.append((bar, offset, size, bool(event.get("write"))))
            return
        if event.get("ev") == "message":
            number, _, message = parse_trace(event)
            if number is None:
                if len(self.messages) < MAX_MESSAGES_PER_TEST:
                    self.messages.append(message)
                else:
                    self.overflow = f"more than {MAX_MESSAGES_PER_TEST} I2C messages in one test"
                return
        super().take_event(event)

    def outside(self) -> list[str]:
        """The log records that belong to no scenario."""
        records = self.records.get(OUTSIDE, [])
        if len(records) >= MAX_RECORDS_PER_SCENARIO:
            self.overflow = f"more than {MAX_RECORDS_PER_SCENARIO} log records in one test"
        return records


class SharedBoot:
    """A ``boot`` for tests. ``directory`` takes its logs; the first check prepares it."""

    def __init__(self, image: GuestImage, kernel: KernelInfo, facts: KernelFacts, directory: Path) -> None:
        self._own_log = (directory / "kmsg.log").open("wb")
        self.seen = SeenRecords(self._own_log)
        self.boot = Boot(image, directory, self._own_log, LIMITS, self.seen)
        self.directory = directory
        self._kernel = kernel
        self._facts = facts
        self._earlier: list[str] = []
        self.ended = False
        # Why no buffers are audited; None while dmasafe_audit.ko watches.
        self.unaudited: str | None = "the audit was not asked for"
        # Modules that lie in the guest already, by the file they were built as.
        self.uploaded: dict[Path, str] = {}

    def start(self) -> None:
        """Power on. Raises BootLost, DevicesError."""
        self.boot.__enter__()

    def end(self) -> None:
        """Power off; safe to call twice."""
        if not self.ended:
            self.ended = True
            self.boot.__exit__(None, None, None)
            self._own_log.close()

    def watch(self) -> None:
        """From here on the audit's module, which must be in the image, looks at every I2C message. Raises BootLost."""
        try:
            audit.begin(self.boot, f"/modules/{audit.MODULE}.ko")
            record = audit.peek(self.boot)
        except AuditError as error:
            self.unaudited = str(error)
            return
        missing = [point for point in MESSAGE_POINTS if point not in record.points]
        self.unaudited = f"this kernel has no tracepoint {', '.join(missing)}" if missing else record.check or None

    def record(self) -> Record | None:
        """What the audit saw since begin(), None if it does not watch. Raises AuditError, BootLost."""
        return None if self.unaudited is not None else audit.peek(self.boot)

    def begin(self, name: str) -> None:
        """From here on records and messages are the next test's. Raises AuditError, BootLost."""
        self.flush()
        self.clear()
        self.rearm()
        self.set_policy(*DEFAULT_POLICY)
        self._count()
        if self.unaudited is None:
            audit.forget(self.boot)
        label = name.encode("ascii", "backslashreplace").decode()[:200]
        self.boot.request("write", path="/dev/kmsg", data=f"dmasafe: test {label}\n")

    def rearm(self) -> None:
        """Once-only warnings warn once more. Raises BootLost."""
        for path in _REARM:
            if self.boot.request("write", path=path, data="1").get("errno") != 0:
                raise BootLost(f"once-only warnings could not be re-armed: {path} cannot be written")

    def set_policy(self, policy: str, threshold: int) -> None:
        """The dmasafe controller's, until a scenario sets another. Raises TargetError, BootLost."""
        # By a scenario that does nothing: the agent keeps account of what is set.
        settings = f"policy={policy} threshold={threshold} fault=none"
        line = "op=predicates buffer=heap len=8"
        self.boot.send({"op": "run", "seq": 0, "adapter": "dmasafe", "set": settings, "line": line})
        reply = next(iter(self.boot.replies()))
        if not isinstance(reply.get("answer"), dict):
            raise TargetError(f"the controller refuses {settings}: {str(reply.get('error', reply))[:200]}")

    def clear(self) -> None:
        """Forget what was seen so far."""
        self._earlier = []
        self.seen.records.clear()
        self.seen.trace.clear()
        self.seen.messages = []
        self.seen.slave_errors = []
        self.seen.function_errors = []
        self.seen.undeclared = []

    def flush(self) -> None:
        """Returns when all that the guest and the device have said is here. Raises BootLost."""
        self.boot.sync_device()
        self.boot.request("kmsg")

    def records(self) -> list[str]:
        """The test's log records so far."""
        return [*self._earlier, *self.seen.outside()]

    def run(self, scenarios: Sequence[Scenario]) -> TargetRun:
        """Scenarios with all checks around them, in this boot; whatever is wrong with it is in the TargetRun."""
        runner = Runner(
            lambda _log, _todo: contextlib.nullcontext(self.boot),
            self._kernel,
            self._facts,
            self.directory / "checks",
            _ONE_BOOT,
            accel=self.boot.image.accelerator,
        )
        (self.directory / "checks").mkdir(exist_ok=True)
        run = runner.run(scenarios, frozenset(), SILENT)
        if any(note.startswith("interrupted by ") for note in run.notes):
            raise KeyboardInterrupt
        with contextlib.suppress(BootLost):
            self._count()
        # Counted by the run: the next one begins after them.
        self._earlier += self.seen.outside()
        self.seen.records.clear()
        self.seen.trace.clear()
        return run

    def _count(self) -> None:
        """Note how many reports dma-debug and the strict machine have counted so far. Raises BootLost."""
        self.boot.reports_before = self._read_count(_ERROR_COUNT)
        self.boot.strict_before = self._read_count(_STRICT_COUNT) if self._facts.strict_line else 0

    def _read_count(self, path: str) -> int:
        count = self.boot.read(path)
        return int(count) if count is not None and count.isdecimal() else 0

    def distrust(self) -> str | None:
        """Why what happened since the last check cannot be trusted, None if it can."""
        lost = self.seen.lost_log
        run = self.run([PROBE])
        reason = (
            run.untrusted.get(PROBE.id) or run.doubts.get(PROBE.id) or lost or self.seen.lost_log or self.seen.overflow
        )
        if reason is not None:
            return reason
        probe = run.observations.get(PROBE.id)
        if probe is None or not run.canary_splatted:
            return "the canary was not reached" if probe is None else "the canary did not splat"
        outcome, how = outcome_of(probe)
        if outcome is not Outcome.SAFE:
            return f"the control {PROBE.id} went wrong ({how})"
        return None


def trusted_boot(image: GuestImage, kernel: KernelInfo, facts: KernelFacts, directory: Path) -> SharedBoot:
    """A new boot that the harness's own checks have found trustworthy; its ``directory`` is made for it.

    Raises BootLost, DevicesError.
    """
    directory.mkdir()
    shared = SharedBoot(image, kernel, facts, directory)
    with contextlib.ExitStack() as undo:
        undo.callback(shared.end)
        shared.start()
        reason = shared.distrust()
        if reason is not None:
            raise BootLost(reason)
        undo.pop_all()
    return shared
