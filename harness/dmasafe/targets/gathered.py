# SPDX-License-Identifier: GPL-2.0-or-later
"""What a boot has said so far, by the agent's lines and the device's trace: sorted, bounded, none of it trusted.

It knows no process and no socket: Boot feeds it, QemuTarget takes from it, and a fuzzer can do both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from dmasafe.carriers import CONTROLLERS
from dmasafe.devices.errors import DevicesError
from dmasafe.devices.trace import parse as parse_trace
from dmasafe.devices.vring import What
from dmasafe.guest.agent import Message, integer
from dmasafe.outcome import BusMessage
from dmasafe.targets.errors import HostTrouble

MAX_TRACE_PER_SCENARIO = 256
MAX_RECORDS_PER_SCENARIO = 20_000
MAX_SCENARIOS = 100_000
MAX_VIOLATIONS = 100
OUTSIDE = -1
# What a scenario's reply is given where records were lost before it.
LOST_LOG = "lost log"
# Upstream drivers do these, and nothing that they carry is the worse for it: i2c-virtio marks the last message that
# fitted into its queue as followed by another, and before 5.18 does not know zero-length requests.
_UPSTREAM_HABITS = frozenset({What.GROUP_UNFINISHED, What.FEATURE_MISSING})
# Of the other controllers nobody asks how long their queue is.
_QUEUING = tuple(row.name for row in CONTROLLERS.values() if row.queues)
# What hardware in the guest can say.
_AGENTS_EVENTS = ("message", "violation", "dropped")


@dataclass
class Gathered:
    """What has come in so far, by scenario number; OUTSIDE is everything between scenarios.

    ``violations`` are notes for the reader. ``distrust`` is why nothing of this boot can be trusted, ``broken_rules``
    why single scenarios cannot; ``lost_log`` is what was lost since the last scenario's reply. ``queue_entries`` is the
    length of i2c-virtio's queue, ``late_s`` the longest time for which the device's process did not run,
    ``stalled`` why nothing can be believed that a PCI function's driver has read since.
    """

    kmsg_log: BinaryIO
    records: dict[int, list[str]] = field(default_factory=dict)
    trace: dict[int, list[BusMessage]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    broken_rules: dict[int, str] = field(default_factory=dict)
    distrust: str | None = None
    lost_log: str | None = None
    queue_entries: int | None = None
    late_s: float = 0.0
    stalled: str | None = None
    _last_sequence: int | None = None

    def take_message(self, message: Message) -> Message | None:
        """One of the agent's: an event is kept here, a reply given back. Raises HostTrouble if it cannot be logged."""
        event = message.get("ev")
        if event == "kmsg":
            self._take_records(message)
        elif event == "kmsg-lost":
            self.lost_log = "the kernel overwrote log records before they were read"
        elif event == "trace":
            self.take_agents_trace(message.get("trace"))
        else:
            if "trace" in message:
                self.take_agents_trace(message.pop("trace"))
            if "log" in message:
                self._take_sequence(integer(message, "log"))
            if self.lost_log is not None and message.get("re") == "run" and message.get("seq"):
                message[LOST_LOG], self.lost_log = self.lost_log, None
            return message
        return None

    def take_agents_trace(self, events: object) -> None:
        """What hardware in the guest itself saw (the module's engine): a list of events as take_event() knows them."""
        for event in events if isinstance(events, list) else [events]:
            try:
                self.take_event(_at_memory(event))
            except (DevicesError, OverflowError, TypeError, ValueError, AttributeError) as error:
                self.distrust = self.distrust or f"the agent's trace makes no sense: {str(error)[:200]}"

    def take_event(self, event: Mapping[str, object]) -> None:
        """One of the device's. Raises TraceError."""
        match event.get("ev"):
            case "message":
                number, _, message = parse_trace(event)
                self._take_trace(number, message)
            case "violation":
                self._take_violation(event)
            case "late":
                seconds = event.get("seconds")
                self.late_s = max(self.late_s, seconds if isinstance(seconds, float) else 0.0)
            case "stalled":
                self.stalled = (
                    f"the emulated device's process did not run for {event.get('seconds')} s: QEMU answered the guest "
                    "in the place of a PCI function"
                )
            case "queue" if event.get("controller") in _QUEUING and isinstance(event.get("entries"), int):
                self.queue_entries = int(str(event["entries"]))
            case "dropped":
                self.distrust = "the device saw more than the harness could take: its trace has gaps"

    def violation(self, what: str) -> None:
        """Keep a sentence for the reader, unless there are too many already."""
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(what)

    def _take_records(self, message: Message) -> None:
        number = integer(message, "seq", OUTSIDE)
        number = OUTSIDE if number is None else number
        found = message.get("records")
        texts = [text if isinstance(text, str) else "" for text in (found if isinstance(found, list) else [""])]
        try:
            self.kmsg_log.write("\n".join((*texts, "")).encode("latin-1", "replace"))
        except OSError as error:
            raise HostTrouble.writing(self.kmsg_log.name, error) from error
        if number not in self.records and len(self.records) >= MAX_SCENARIOS:
            self.lost_log = "log records of more scenarios than there are"
            return
        for text in texts:
            # "priority,sequence,time,flags;text": the parser reads the rest, once.
            fields = text.split(",", 2)
            # A kernel's number has 64 bits; int() refuses to read one of thousands of digits.
            if len(fields) < 3 or not (fields[1].isascii() and fields[1].isdecimal() and len(fields[1]) <= 20):
                self.violation(f"no kernel log record: {text[:80]!r}")
                continue
            self._take_sequence(int(fields[1]))
            records = self.records.setdefault(number, [])
            if len(records) < MAX_RECORDS_PER_SCENARIO:
                records.append(text)
            elif number != OUTSIDE:
                self.lost_log = f"more than {MAX_RECORDS_PER_SCENARIO} log records in one scenario"

    def _take_sequence(self, sequence: int | None) -> None:
        """The number of a record that was read, or of the mark at a scenario's end: gaps are lost records."""
        if sequence is None:
            self.lost_log = "a scenario's log has no end"
            return
        if self._last_sequence is not None and sequence != self._last_sequence + 1:
            self.lost_log = f"log records {self._last_sequence + 1} to {sequence - 1} are missing"
        self._last_sequence = sequence

    def _take_trace(self, number: int | None, message: BusMessage) -> None:
        stray = next((segment for segment in message.segments if segment.stray), None)
        if number is None and stray is not None:
            self.distrust = self.distrust or f"a driver sent stray DMA outside any scenario, to {stray.address:#x}"
        number = OUTSIDE if number is None else number
        if number not in self.trace and len(self.trace) >= MAX_SCENARIOS:
            return
        trace = self.trace.setdefault(number, [])
        if len(trace) < MAX_TRACE_PER_SCENARIO:
            trace.append(message)

    def _take_violation(self, event: Mapping[str, object]) -> None:
        what, why, number = event.get("what"), f"device: {event.get('why')}", event.get("seq")
        # Of what is always so a reader learns nothing.
        if what in _UPSTREAM_HABITS:
            return
        self.violation(why)
        if isinstance(number, int):
            self.broken_rules.setdefault(number, f"a driver or the device broke the rules: {why}")
        elif self.distrust is None:
            self.distrust = f"a driver or the device broke the rules: {why}"


def _at_memory(event: Any) -> dict[str, object]:
    """The event with physical addresses, as callers tell theirs, where the platform's DMA addresses are others.

    Raises ValueError, TypeError or AttributeError for what is no event.
    """
    found = dict(event)
    if found.get("ev") not in _AGENTS_EVENTS:
        raise ValueError(f"no event of hardware: {event!r:.100}")
    if isinstance(found.get("segments"), list):
        found["segments"] = [{**s, "address": s.get("physical", s.get("address"))} for s in event["segments"]]
    return found
