# SPDX-License-Identifier: GPL-2.0-or-later
"""What a Runner needs of a running system, be it a booted guest or a board; and the conversation with its agent."""

from __future__ import annotations

import contextlib
import math
import re
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmasafe.closing import Closing
from dmasafe.facts import NOT_ASKED, MachineFacts
from dmasafe.guest import ChannelClosed
from dmasafe.guest.agent import AgentChannel, Message, integer
from dmasafe.guest.hands import Hands, Refused
from dmasafe.targets.errors import BootLost
from dmasafe.targets.gathered import Gathered
from dmasafe.targets.interrupt import interrupt_deferred

KMSG_LOG = "kmsg.log"
CLIENT_MODULE = "dmasafe_client"
MODULES = (CLIENT_MODULE, "dmasafe_controller")
# Needs the client, and a kernel that has those buses.
# vmlinux objects that nobody needs after boot: a table of init's arguments, and the compressed .config.
BORROWED = ("argv_init", "kernel_config_data", "kernel_config_data_end")
# The number of what is asked before any scenario; those begin at 1.
_OWN = 0
IOMEM = "/proc/iomem"
STRICT_PARAMETERS = "/sys/module/dmasafe_strict/parameters"
_SYSTEM_RAM = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM$", re.MULTILINE)
_ARGV_INIT_BYTES = {8: 272, 4: 136}


@dataclass(frozen=True)
class Limits:
    """After how many seconds something is taken for lost, and how often a lost session is tried again.

    ``boot_s``: from power-on to the agent's first word. ``request_s``: a small question to the agent. ``silence_s``:
    the next answer while scenarios run; the agent gives up on one after 5 s and then rebinds the adapter, which it
    bounds to 3 s. ``sync_s``: the device's process. ``last_words_s``: a panic ends QEMU (-no-reboot), which closes the
    agent's channel first; the reason may come so much later. ``fruitless_boots``: in a row, without a scenario done.
    """

    boot_s: float = 60.0
    request_s: float = 15.0
    silence_s: float = 20.0
    sync_s: float = 5.0
    last_words_s: float = 1.0
    fruitless_boots: int = 3
    boots: int = 40


LIMITS = Limits()
WINDOW = 32


class Conversation:
    """Requests and their replies; ``pump`` waits for anything to arrive and raises BootLost at its deadline."""

    def __init__(self, limits: Limits, send: Callable[[Message], None], pump: Callable[[float, str], None]) -> None:
        self._limits = limits
        self._send = send
        self._pump = pump
        self.waiting: deque[Message] = deque()
        #: On the monotonic clock; nobody waits longer.
        self.ends_at = math.inf

    def request(self, op: str, **arguments: object) -> Message:
        """One request's reply; a command gets its own ``timeout_ms`` besides. Raises BootLost if none comes in time."""
        self._send({"op": op, **arguments})
        patience_s = self._limits.request_s + (integer(arguments, "timeout_ms") or 0) / 1000
        return self.wait_for(lambda message: message.get("re") == op, patience_s, f"the reply to '{op}'")

    def wait(self) -> None:
        """Until a reply is here. Raises BootLost after too long a silence."""
        deadline = min(time.monotonic() + self._limits.silence_s, self.ends_at)
        while not self.waiting:
            self._pump(deadline, "an answer")

    def replies(self) -> Iterator[Message]:
        """The replies that are here, after waiting for at least one. Raises BootLost after too long a silence."""
        self.wait()
        while self.waiting:
            yield self.waiting.popleft()

    def wait_for(self, wanted: Callable[[Message], bool], timeout_s: float, what: str) -> Message:
        """The first reply that is ``wanted``; those before it are dropped. Raises BootLost."""
        deadline = min(time.monotonic() + timeout_s, self.ends_at)
        while True:
            while self.waiting:
                message = self.waiting.popleft()
                if wanted(message):
                    return message
            self._pump(deadline, what)


class Session(Closing, ABC):
    """A system whose agent takes scenarios. Whatever ends it is raised as BootLost.

    ``adapters`` maps controllers to their I2C adapters' numbers, ``reports_before`` is dma-debug's error_count before
    the session, ``strict_before`` the strict machine's count of reports.
    """

    agent: AgentChannel
    # How many scenarios may be under way: enough to hide the way there and back, little enough to lose.
    window = WINDOW
    # Whether answers may be held back while there is more to do: then it is not known in which scenario it was lost.
    can_be_lazy = False

    def __init__(self, gathered: Gathered, limits: Limits) -> None:
        self.gathered = gathered
        self.limits = limits
        self.adapters: dict[str, int] = {}
        self.release = ""
        self.machine = NOT_ASKED
        self.boot_s = 0.0
        self.reports_before = 0
        self.strict_before = 0
        self.hands = Hands(self.request, lost)
        self._stack = contextlib.ExitStack()
        self._talk = Conversation(limits, self.send, self._pump)

    def close(self) -> None:
        self._stack.close()

    @property
    def memory(self) -> tuple[range, ...]:
        """Where memory lies."""
        return self.machine.memory

    @abstractmethod
    def prepare(self) -> None:
        """Load the modules, bind the adapters."""

    @abstractmethod
    def sync_device(self) -> None:
        """Make sure that the trace of everything done so far is here."""

    @abstractmethod
    def mute_console(self, muted: bool) -> None:
        """Keep an expected oops off the console, or no longer."""

    @abstractmethod
    def _pump(self, deadline: float, what: str) -> None:
        """Wait for anything to arrive and sort it. Raises BootLost at the deadline or when somebody is gone."""

    @abstractmethod
    def _lost(self, symptom: str) -> BootLost:
        """The best reason for a lost system, or the symptom."""

    def fail_hardware(self, controller: str, name: str | None) -> None:
        """From now on a controller's emulated hardware has this fault, or none."""
        raise BootLost(f"the hardware of {controller} cannot fail here")

    def request(self, op: str, **arguments: object) -> Message:
        """One request's reply. Raises BootLost if none comes in time."""
        return self._talk.request(op, **arguments)

    def read(self, path: str) -> str | None:
        """A file's contents, stripped, or None if it cannot be read."""
        return self.hands.text(path)

    def replies(self) -> Iterator[Message]:
        """The replies that are here, after waiting for at least one. Raises BootLost after too long a silence."""
        return self._talk.replies()

    def wait(self) -> None:
        """Until a reply is here: what may be interrupted, as nothing is lost by it. Raises BootLost."""
        self._talk.wait()

    def hurry(self, seconds: float) -> None:
        """Whoever waits longer than so many seconds from now on gets BootLost."""
        self._talk.ends_at = time.monotonic() + seconds

    def send(self, *messages: Message) -> None:
        """Queue requests. Raises BootLost if the system is gone."""
        try:
            self.agent.send(*messages)
        except ChannelClosed as error:
            raise self._lost(str(error)) from error

    def _exchange_lines(self) -> None:
        """Send the agent what is queued, and take what it has said. Raises BootLost if its channel is closed."""
        try:
            # What was read and not sorted would be missing: a report that was logged, and the driver blamed.
            with interrupt_deferred():
                self.agent.flush()
                for message in self.agent.receive():
                    reply = self.gathered.take_message(message)
                    if reply is not None:
                        self._talk.waiting.append(reply)
        except ChannelClosed as error:
            raise self._lost(str(error)) from error

    def _ask_machine(self) -> None:
        """Have the system say what no table can know of it; the client module must be loaded. Raises BootLost."""
        reply = self.request("run", seq=_OWN, line="op=predicates buffer=heap len=64")
        answer = reply.get("answer")
        self._ask_memory(integer(answer, "dma_alignment") if isinstance(answer, dict) else None)

    def _ask_memory(self, alignment: int | None = None) -> None:
        """Have the system say where its memory lies. Raises BootLost."""
        memory = ram_of(self.read(IOMEM) or "")
        if not memory:
            raise BootLost(f"{IOMEM} does not say where memory lies: a stray DMA could not be told from a right one")
        self.machine = MachineFacts(memory=memory, dma_alignment=alignment)

    def _hear_hello(self, started: float) -> None:
        """Wait for the agent's first word; ``started`` is when the system began, on the monotonic clock."""
        hello = self._talk.wait_for(is_hello, self.limits.boot_s, "the agent's first word")
        self.boot_s = time.monotonic() - started
        self.release = str(hello.get("release", ""))


def ram_of(iomem: str) -> tuple[range, ...]:
    """Where memory lies, by the text of /proc/iomem; empty if it does not say (not to every user)."""
    found = (range(int(start, 16), int(end, 16) + 1) for start, end in _SYSTEM_RAM.findall(iomem))
    return tuple(part for part in found if len(part) > 1)


def lost(refused: Refused) -> BootLost:
    """What cannot be done without is missing: the failure of a boot's Hands."""
    return BootLost(str(refused))


def is_hello(message: Message) -> bool:
    """Whether this is the agent's first word, or its answer to 'hello'."""
    return message.get("re") == "hello"


def linked_symbols(system_map: str, words: Sequence[str]) -> dict[str, int]:
    """Where BORROWED are by a kernel's System.map, if it is told (``words``) to stay where it was linked to."""
    if "nokaslr" not in words:
        return {}
    wanted = re.compile(rf"^([0-9a-f]+) \w ({'|'.join(BORROWED)})$", re.MULTILINE)
    return {name: int(address, 16) for address, name in wanted.findall(system_map)}


def borrowed_objects(symbols: Mapping[str, Any]) -> str:
    """Parameters that tell the client module which vmlinux objects (BORROWED) it may borrow."""
    words = []
    symbols = dict(symbols)
    rodata, end = integer(symbols, "kernel_config_data"), integer(symbols, "kernel_config_data_end")
    if rodata and end and end > rodata:
        words.append(f"rodata_address={rodata:#x} rodata_size={end - rodata}")
    data = integer(symbols, "argv_init")
    if data:
        pointer_bytes = 8 if data > 0xFFFFFFFF else 4
        words.append(f"data_address={data:#x} data_size={_ARGV_INIT_BYTES[pointer_bytes]}")
    return " ".join(words)
