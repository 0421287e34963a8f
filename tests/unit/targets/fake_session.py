# SPDX-License-Identifier: GPL-2.0-or-later
"""A Session without a system: it answers each scenario at once, as a sound kernel and device would.

A System says what is different in one boot; ``does`` replaces the answer to single scenarios.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from dmasafe.facts import KernelFacts, KernelInfo, MachineFacts
from dmasafe.guest.agent import Message
from dmasafe.guest.hands import Hands
from dmasafe.scenario import Scenario, parse_scenario
from dmasafe.targets import untouched
from dmasafe.targets.base import TargetRun
from dmasafe.targets.canaries import canaries
from dmasafe.targets.errors import BootLost
from dmasafe.targets.gathered import Gathered
from dmasafe.targets.runner import CONTROLS, Runner
from dmasafe.targets.session import STRICT_PARAMETERS, WINDOW, Limits
from dmasafe.targets.wire import line, settings

RELEASE = "6.12.117"
KERNEL = KernelInfo(RELEASE, "x86_64", "default", "made up")
FACTS = KernelFacts("x86_64", (6, 12, 117), frozenset({"DMA_API_DEBUG", "VMAP_STACK", "MODULES"}))
WITHOUT_DMA_DEBUG = KernelFacts("x86_64", (6, 12, 117), frozenset({"VMAP_STACK", "MODULES"}))
STRICT = replace(FACTS, strict_line=64)
BASE = "/sys/kernel/debug/dma-api"
PLACE = "dmasafe_controller 0000:00:06.0"
# Reports that error_count counts, and one that it does not.
INVALID_AREA = f"DMA-API: {PLACE}: device driver maps memory from invalid area [addr=0000000000001234] [len=8]"
ON_STACK = f"DMA-API: {PLACE}: device driver maps memory from stack [addr=0000000000001234]"
OVERLAP = f"DMA-API: {PLACE}: cacheline tracking EEXIST, overlapping mappings aren't supported"
TOO_MANY_OVERLAPS = "DMA-API: exceeded 7 overlapping mappings of cacheline 0x1"
DISABLED = "DMA-API: debugging out of memory - disabling"
REJECTED = f"{PLACE}: rejecting DMA map of vmalloc memory"
REFUSED = (
    f"dmasafe-strict: BUG: {PLACE}: device wrote to memory that is not mapped to it "
    "[device address=0x0000000000001000] [size=32 bytes]"
)
REPORTS = {
    "map-invalid-area": INVALID_AREA, "map-stack": ON_STACK, "map-vmalloc-rejected": REJECTED,
    "strict-unmapped": REFUSED,
}  # fmt: skip
COUNTED = (INVALID_AREA, ON_STACK, OVERLAP)
MEMORY = range(1 << 12, 256 << 20)
TOLD = MachineFacts(memory=(MEMORY,), dma_alignment=1)
# Where the caller's buffer lies, and another one through which policies take it.
BUFFER, BOUNCED = 0x5000, 0x9000
TIMED_OUT: Message = {"answer": {"ret": -110, "transferred": False, "msgs": []}}
OUTSIDE = -1


Answer = Callable[["FakeSession", int, Scenario], Message]


@dataclass(frozen=True)
class System:
    """One boot. ``files`` (dma-debug, strict machine; None: not there) are those that are not as they should be.

    ``enter``, ``leave``, ``prepare`` and ``sync`` are raised there; ``sync`` from the call number ``sync_from`` on.
    ``does`` maps a scenario's id to what happens instead of a sound answer, ``request`` happens at any other request.
    ``said_before`` is in the log when the session begins, ``strict_before`` the strict machine's count without that.
    ``at_once`` is how many answers come together. ``interrupts`` is the scenario whose answer somebody waits for when
    Ctrl-C comes, once; ``takes_s`` how long any answer lets wait for itself.
    """

    release: str = RELEASE
    adapters: Mapping[str, int] = field(default_factory=lambda: {"virtio": 0, "dmasafe": 1})
    files: Mapping[str, str | None] = field(default_factory=dict)
    reports_before: int = 0
    strict_before: int = 0
    said_before: Sequence[str] = ()
    facts: KernelFacts = FACTS
    enter: BaseException | None = None
    leave: BaseException | None = None
    prepare: BaseException | None = None
    request: Callable[[FakeSession, int], object] | None = None
    sync: BaseException | None = None
    sync_from: int = 1
    does: Mapping[str, Answer] = field(default_factory=dict)
    boot_s: float = 1.5
    at_once: int = 1
    can_be_lazy: bool = False
    interrupts: str | None = None
    takes_s: float = 0.0


class FakeSession:
    """See :class:`dmasafe.targets.session.Session`."""

    def __init__(self, system: System, kmsg_log: BinaryIO, scenarios: Sequence[Scenario]) -> None:
        self.system = system
        self.gathered = Gathered(kmsg_log)
        self.adapters: dict[str, int] = {}
        self.release = system.release
        self.boot_s = system.boot_s
        self.machine = TOLD
        self.reports_before = 0
        self.strict_before = system.strict_before
        self.sent: list[Message] = []
        self.asked: list[str] = []
        self.failing: tuple[str, str] | None = None
        self.asked_while: dict[str, tuple[str, str] | None] = {}
        self.answered: Counter[str] = Counter()
        self.muted: list[bool] = []
        self.requests: list[str] = []
        self.counted, self.strict_counted = 0, system.strict_before
        self.most_waiting = 0
        self.can_be_lazy = system.can_be_lazy
        self.window = 1 if system.facts.untouched else WINDOW
        self.hands = Hands(self.request)
        self.interrupted = False
        self.hurried_s: float | None = None
        self._waiting: deque[Message] = deque()
        self._sequence = 0
        self._syncs = 0
        self._told_later: deque[dict[str, object]] = deque()
        self._canaries = {canary.scenario.id: canary.splat_class for canary in canaries(system.facts)}
        for text in system.said_before:
            self.log(OUTSIDE, text)
        for host in untouched.provers(system.facts):
            scenarios = [*scenarios, untouched.canary(host), *untouched.controls(host)]
        known = [*scenarios, *CONTROLS, *(canary.scenario for canary in canaries(system.facts))]
        self._known = {(line(one, bool(system.facts.strict_line)), settings(one)): one for one in known}

    @property
    def memory(self) -> tuple[range, ...]:
        return self.machine.memory

    def prepare(self) -> None:
        if self.system.prepare is not None:
            raise self.system.prepare
        self.adapters = dict(self.system.adapters)
        self.reports_before = self.counted = self.system.reports_before

    def request(self, op: str, **arguments: object) -> Message:
        self.requests.append(op)
        if self.system.request is not None:
            self.system.request(self, OUTSIDE)
        return {"re": op, "errno": 0}

    def read(self, path: str) -> str | None:
        folder, _, name = path.rpartition("/")
        assert folder in (BASE, STRICT_PARAMETERS)
        sound = {
            "disabled": "N", "driver_filter": "", "num_free_entries": "65536", "all_errors": "1",
            "error_count": str(self.counted), "attached": "2", "full": "0", "unread": "0", "settled": "1",
            "reports": str(self.strict_counted),
        }  # fmt: skip
        return {**sound, **self.system.files}[name]

    def send(self, *messages: Message) -> None:
        assert all(message["op"] == "run" for message in messages)
        self.sent += messages
        self._waiting += messages
        self.most_waiting = max(self.most_waiting, len(self._waiting))

    def hurry(self, seconds: float) -> None:
        self.hurried_s = seconds

    def wait(self) -> None:
        if not self._waiting and self.hurried_s is not None:
            # The interrupted scenario's, which is lost.
            raise BootLost("the guest hung: an answer did not come in time")
        assert self._waiting, "somebody waits for an answer to nothing"
        message = self._waiting[0]
        scenario = self._known.get((message["line"], message["set"]))
        if scenario is not None and scenario.id == self.system.interrupts and not self.interrupted:
            self.interrupted = True
            raise KeyboardInterrupt
        if self.hurried_s is not None:
            self.hurried_s -= self.system.takes_s
            if self.hurried_s < 0:
                raise BootLost("the guest hung: an answer did not come in time")

    def replies(self) -> Iterator[Message]:
        self.wait()
        for _ in range(min(self.system.at_once, len(self._waiting))):
            message = self._waiting.popleft()
            scenario = self._known[message["line"], message["set"]]
            self.asked.append(scenario.id)
            self.asked_while[scenario.id] = self.failing
            answer = self.system.does.get(scenario.id, sound)
            reply = answer(self, message["seq"], scenario)
            self.answered[scenario.id] += 1
            answered = self.gathered.take_message({"re": "run", "seq": message["seq"], **reply})
            assert answered is not None
            yield answered

    def sync_device(self) -> None:
        self._syncs += 1
        if self.system.sync is not None and self._syncs >= self.system.sync_from:
            raise self.system.sync
        self.tell()

    def mute_console(self, muted: bool) -> None:
        self.muted.append(muted)

    def fail_hardware(self, controller: str, name: str | None) -> None:
        assert all("at91" in message["adapter"] for message in self._waiting), "others are under way"
        self.failing = None if name is None else (controller, name)

    # What an answer is made of

    def tell(self) -> None:
        """The device tells what it has seen so far, unasked."""
        while self._told_later:
            self.gathered.take_event(self._told_later.popleft())

    def log(self, number: int, text: str, gap: int = 0, counted: bool | None = None) -> None:
        """One record of the kernel's log; dma-debug counts it if it is a report of its own."""
        self._sequence += 1 + gap
        self.gathered.take_message({"ev": "kmsg", "seq": number, "records": [f"4,{self._sequence},1,-;{text}"]})
        self.counted += text in COUNTED if counted is None else counted
        self.strict_counted += text == REFUSED

    def trace(self, number: int | None, data: bytes, read: bool = False, address: int = BUFFER) -> None:
        """One message on the bus, which the device tells when it is asked."""
        segment = {"address": address, "length": len(data), "stray": address not in MEMORY}
        self._told_later.append({
            "ev": "message", "controller": "dmasafe", "seq": number, "addr": 0x30, "read": read, "data": data.hex(),
            "ok": True, "why": "", "segments": [segment],
        })  # fmt: skip

    @property
    def first_time(self) -> bool:
        """Whether the scenario under way was not answered before, in this boot."""
        return not self.answered[self.asked[-1]]


def sound(session: FakeSession, number: int, scenario: Scenario, **changes: object) -> Message:
    """What a sound system does: a canary splats, everything else transfers what it should."""
    splat_class = session._canaries.get(scenario.id)
    if splat_class is not None:
        session.log(number, REPORTS[splat_class])
        return {"answer": {"ret": -5, "transferred": False, "msgs": []}}
    read = "recv" in scenario.operation
    data = bytes(range(scenario.length))
    session.trace(number, data, read, BUFFER if scenario.policy in (None, "trusting") else BOUNCED)
    message = {"rd": int(read), "data": data.hex(), "pa": hex(BUFFER), "dma_safe": 0, **changes}
    return {"answer": {"ret": scenario.length, "ns": 1500, "transferred": True, "msgs": [message]}}


def splats(*texts: str) -> Answer:
    """The call fails, and the kernel says so."""

    def answer(session: FakeSession, number: int, scenario: Scenario) -> Message:
        for text in texts:
            session.log(number, text)
        return {"answer": {"ret": -5, "transferred": False, "msgs": []}}

    return answer


def raises(error: BaseException) -> Answer:
    def answer(session: FakeSession, number: int, scenario: Scenario) -> Message:
        raise error

    return answer


def then(act: Callable[[FakeSession, int], object]) -> Answer:
    """A sound answer, and ``act`` before it."""

    def answer(session: FakeSession, number: int, scenario: Scenario) -> Message:
        act(session, number)
        return sound(session, number, scenario)

    return answer


def only_once_more(act: Answer) -> Answer:
    """Sound the first time, ``act`` after that: for canaries and controls, which are asked before and after."""
    return lambda session, number, scenario: (sound if session.first_time else act)(session, number, scenario)


def only_at_first(act: Answer) -> Answer:
    """``act`` the first time, sound after that."""
    return lambda session, number, scenario: (act if session.first_time else sound)(session, number, scenario)


class Heard:
    """A Progress that keeps everything."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.advances: list[tuple[int, int | None, str]] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def advance(self, done: int, total: int | None, text: str) -> None:
        self.advances.append((done, total, text))


@dataclass
class Rig:
    """A Runner over Systems, one a boot; the last one answers for all boots after it."""

    systems: Sequence[System]
    directory: Path
    facts: KernelFacts = FACTS
    limits: Limits = field(default_factory=Limits)
    sessions: list[FakeSession] = field(default_factory=list)
    heard: Heard = field(default_factory=Heard)
    accel: str | None = "fake"
    word: str = "boot"

    def run(self, *ids: str, destructive: Sequence[str] = ()) -> TargetRun:
        scenarios = [parse_scenario(id_) for id_ in ids]

        @contextlib.contextmanager
        def boots(kmsg_log: BinaryIO, _todo: object) -> Iterator[FakeSession]:
            system = self.systems[min(len(self.sessions), len(self.systems) - 1)]
            session = FakeSession(system, kmsg_log, scenarios)
            self.sessions.append(session)
            if system.enter is not None:
                raise system.enter
            yield session
            if system.leave is not None:
                raise system.leave

        runner = Runner(boots, KERNEL, self.facts, self.directory, self.limits, self.word, self.accel)
        return runner.run(scenarios, frozenset(destructive), self.heard)
