# SPDX-License-Identifier: GPL-2.0-or-later
"""One session on a board: from a private directory with the agent in it to a board that is as it was before.

Whatever cuts it short is named and raised as BootLost; the board tidies up by itself then (images/board/run).
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import selectors
import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from dmasafe.carriers import BOARD
from dmasafe.carriers.policy import DMASAFE
from dmasafe.carriers.virtio import VIRTIO
from dmasafe.devices.errors import DevicesError
from dmasafe.devices.trace_socket import TraceListener
from dmasafe.errors import DmasafeError
from dmasafe.guest import GuestError
from dmasafe.guest.agent import AgentChannel, integer
from dmasafe.guest.frame import FramedStream
from dmasafe.guest.hands import Hands, Refused, errno_text
from dmasafe.guest.link import Link, private_name
from dmasafe.targets.errors import BootLost, TargetError
from dmasafe.targets.gathered import OUTSIDE, Gathered
from dmasafe.targets.interrupt import interrupt_deferred
from dmasafe.targets.session import BORROWED, MODULES, Limits, Session, borrowed_objects

RUN_SCRIPT = "run"
AGENT = "agent"
# After so long without a word from the host the board takes the link for lost; the host is less patient.
BOARD_SILENCE_S = 30
LINK_SILENCE_S = 12.0
# Unloading and giving functions back takes the script seconds, if a driver does not want to go.
TIDY_S = 30.0
# A board that was prepared and then left alone goes back by itself after this.
ABANDONED_S = 900
ADAPTER_TRIES = 3
_POLL_S = 0.2
_PANIC = b"Kernel panic - not syncing: "
_LAST_WORD = b"\ndmasafe: "
_ERROR_COUNT = "/sys/kernel/debug/dma-api/error_count"
_PRINTK = "/proc/sys/kernel/printk"
# images/board/run leaves the console this level; 0 keeps oopses off it too.
_QUIET, _MUTE = "1", "0"
ENGINE_DEVICE = "dmasafe-engine.0"


@dataclass(frozen=True)
class Place:
    """What a session works with: the files to copy, the PCI functions that are the emulated controllers.

    Without a ``dmasafe`` function the controller's engine inside the kernel takes its place. ``strict_line`` is
    KernelFacts'.
    """

    files: tuple[Path, ...]
    virtio: str | None
    dmasafe: str | None
    bus: int | None
    oracle: Path | None
    strict_line: int = 0

    @property
    def functions(self) -> tuple[str, ...]:
        return tuple(name for name in (self.virtio, self.dmasafe) if name is not None)

    @property
    def adapters(self) -> dict[str, dict[str, object]]:
        """The controllers that can be had, each with what the agent is told of it."""
        found: dict[str, dict[str, object]] = {}
        if self.virtio is not None:
            found[VIRTIO.name] = {"device": self.virtio, "driver": VIRTIO.driver}
        if self.dmasafe is not None:
            found[DMASAFE.name] = {"device": self.dmasafe, "driver": DMASAFE.driver}
        else:
            found[DMASAFE.name] = {"bus": "platform", "device": ENGINE_DEVICE, "driver": DMASAFE.driver}
        if self.bus is not None:
            found[BOARD.name] = {"nr": self.bus}
        return found


class BoardSession(Session):
    """A session that leaves nothing behind on the board.

    ``notes`` are what its end left to say.
    """

    def __init__(self, link: Link, place: Place, kmsg_log: BinaryIO, limits: Limits) -> None:
        # An answer may be a line of 64 KiB with as much log before it.
        slowness = 4.0 * link.resend_s
        patient = replace(limits, silence_s=limits.silence_s + slowness, request_s=limits.request_s + slowness)
        super().__init__(Gathered(kmsg_log), patient)
        self._link = link
        self._place = place
        self._directory = private_name()
        self._oracle: TraceListener | None = None
        self._stream: FramedStream | None = None
        self._cut = False
        self.notes: list[str] = []

    @property
    def directory(self) -> str:
        """Where on the board the copied files are."""
        return self._directory

    def _start(self) -> None:
        started = time.monotonic()
        if self._place.oracle is not None:
            self._oracle = self._stack.enter_context(contextlib.closing(TraceListener(self._place.oracle)))
        done = self._link.command(_prepare_script(self._directory))
        if done.status != 0:
            raise TargetError(f"{self._link.name}: cannot make {self._directory}: {done.output.strip()[-200:]}")
        self._link.upload({_name_on_board(path): path.read_bytes() for path in self._place.files}, self._directory)
        session = secrets.token_hex(2)
        words = [
            "sh", f"{self._directory}/{RUN_SCRIPT}", self._directory, session, str(int(self._link.resend_s * 1000)),
            str(BOARD_SILENCE_S), str(self._link.window_bytes), *self._place.functions,
        ]  # fmt: skip
        raw = self._link.start(shlex.join(words))
        self._stream = FramedStream(raw, session, self._link.window_bytes, self._link.resend_s, LINK_SILENCE_S)
        self.agent = AgentChannel(self._stream)
        self._selector = self._stack.enter_context(contextlib.closing(selectors.DefaultSelector()))
        self._selector.register(self.agent.fileno(), selectors.EVENT_READ)
        if self._oracle is not None:
            self._selector.register(self._oracle.fileno(), selectors.EVENT_READ)
        self._hear_hello(started)

    def prepare(self) -> None:
        """Load the modules and take the adapters; what the board's log and dma-debug said before is not ours."""
        self.request("kmsg", skip=1)
        before = self.read(_ERROR_COUNT) or "0"
        self.reports_before = int(before) if before.isascii() and before.isdigit() and len(before) < 20 else 0
        # Not there without dma-debug.
        self.request("write", path="/sys/kernel/debug/dma-api/all_errors", data="1")
        borrowed = borrowed_objects(self.request("symbols", names=",".join(BORROWED)))
        if self._place.strict_line:
            self._load("dmasafe_strict", f"line={self._place.strict_line} devices={ENGINE_DEVICE}")
        parameters = {MODULES[0]: borrowed, MODULES[1]: "" if self._place.dmasafe else "engine=1"}
        for module in MODULES:
            self._load(module, parameters[module])
        self._ask_machine()
        for name, arguments in self._place.adapters.items():
            self._take_adapter(name, **arguments)
        if self._oracle is not None:
            mailbox = self.read("/sys/module/dmasafe_client/parameters/mailbox")
            with contextlib.suppress(ValueError):
                self._oracle.set_mailbox(int(mailbox or "", 0))

    def _load(self, module: str, parameters: str) -> None:
        try:
            Hands(self.request).load(f"{self._directory}/{module}.ko", parameters)
        except Refused as error:
            self.request("kmsg")
            said = [text for text in self.gathered.records.get(OUTSIDE, ()) if module in text]
            words = f" ({said[-1].partition(';')[2].strip()[:160]})" if said else ""
            raise BootLost(f"{error}{words}") from error

    def _take_adapter(self, name: str, **arguments: object) -> None:
        for _ in range(ADAPTER_TRIES):
            reply = self.request("adapter", name=name, **arguments)
            # The agent gives a driver 3 s; a busy board may take longer, and is asked again.
            if integer(reply, "errno") != errno.ETIMEDOUT:
                break
        number = integer(reply, "nr")
        if reply.get("errno") == 0 and number is not None:
            self.adapters[name] = number
        else:
            self.gathered.violation(f"controller {name} cannot be had: {errno_text(reply)}")

    def mute_console(self, muted: bool) -> None:
        """Keep expected oopses off the board's console."""
        self.hands.write(_PRINTK, _MUTE if muted else _QUIET)

    def sync_device(self) -> None:
        """Have the device's whole trace here. Raises BootLost."""
        if self._oracle is None:
            return
        with interrupt_deferred():
            try:
                self._oracle.sync(self.limits.sync_s)
            except DevicesError as error:
                raise BootLost(str(error)) from error
            finally:
                self._take_trace()

    def _take_trace(self) -> None:
        assert self._oracle is not None
        try:
            # As with the agent's lines: half a trace is a transfer that was never on the bus.
            with interrupt_deferred():
                for event in self._oracle.receive():
                    self.gathered.take_event(event)
        except DevicesError as error:
            raise BootLost(str(error)) from error

    def _pump(self, deadline: float, what: str) -> None:
        """Wait for anything to arrive and sort it. Raises BootLost at the deadline or when somebody is gone."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise self._lost(f"the board hangs: {what} did not come in time")
        self._exchange(min(left, _POLL_S))
        if self._oracle is not None:
            self._take_trace()
            if not self._oracle.alive:
                raise BootLost("the process that serves the device's trace is gone")
        if self.agent.violations:
            raise BootLost(f"the agent's lines were damaged: {self.agent.violations[0]}")

    def _exchange(self, timeout_s: float) -> None:
        """Wait no longer than that, then take and send what there is. Raises BootLost when the link is cut."""
        assert self._stream is not None
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._stream.unsent else 0)
        with contextlib.suppress(OSError, KeyError):
            self._selector.modify(self.agent.fileno(), events)
        self._selector.select(timeout_s)
        try:
            self._exchange_lines()
        except OSError as error:
            raise self._lost(f"the link is cut: {error.strerror or error}") from error

    def _lost(self, symptom: str) -> BootLost:
        """The best reason for a lost board: its last words, or the symptom."""
        assert self._stream is not None
        self._cut = not self._stream.ended
        noise = bytes(self._stream.noise)
        panic = noise.find(_PANIC)
        if panic >= 0:
            words = noise[panic:].split(b"\r")[0].split(b"\n")[0]
            return BootLost(f"the board died: {words.decode(errors='replace')[:160]}")
        word = self._last_word()
        if word is not None and word.startswith("cannot start"):
            return BootLost(f"{self._link.name}: {word}")
        if self._stream.ended:
            return BootLost(f"the agent on the board ended: {symptom}")
        return BootLost(f"{self._link.name}: {symptom}")

    def _last_word(self) -> str | None:
        """The line with which images/board/run ends, once it is there."""
        if self._stream is None:
            return None
        _, found, rest = b"\n".join([b"", *bytes(self._stream.noise).replace(b"\r", b"").split(b"\n")]).rpartition(
            _LAST_WORD
        )
        word, end, _ = rest.partition(b"\n")
        return word.decode(errors="replace")[:200] if found and end else None

    # The end

    def close(self) -> None:
        try:
            self._say_farewell()
        finally:
            super().close()

    def _say_farewell(self) -> None:
        if self._stream is None:
            # Nothing was started: what is there is the directory and a quiet console, at most.
            with contextlib.suppress(DmasafeError):
                self._link.command(_undo_script(self._directory))
            return
        word = None if self._cut else self._await_last_word()
        if word is None:
            word = self._look_again()
        if word != "clean" and not word.startswith("cannot start"):
            self.notes.append(f"the board: {word}")

    def _await_last_word(self) -> str | None:
        """End the agent in good order, and wait for what the board says of itself then."""
        assert self._stream is not None
        until = time.monotonic() + TIDY_S
        with contextlib.suppress(OSError, GuestError):
            if not self._stream.ended:
                self._stream.end()
            while self._last_word() is None and time.monotonic() < until:
                if not self._stream.ended:
                    with contextlib.suppress(BootLost):
                        self._exchange(_POLL_S)
                    if self._cut:
                        break
                    continue
                self._selector.select(_POLL_S)
                # What comes after the last frame is the script's.
                self._stream.listen()
                if self._stream.raw_ended:
                    break
        return self._last_word()

    def _look_again(self) -> str:
        """After a cut: whether the board has tidied up, looked at through another link; "clean", or what is wrong."""
        until = time.monotonic() + BOARD_SILENCE_S + TIDY_S
        link: Link | None = None
        left = "it cannot be reached any more"
        with contextlib.ExitStack() as stack:
            while time.monotonic() < until:
                try:
                    if link is None:
                        link = stack.enter_context(contextlib.closing(self._link.again()))
                    left = link.command(_look_script(self._directory)).output.strip()
                except DmasafeError as error:
                    left = f"it cannot be reached any more ({error})"
                    if link is not None:
                        break
                if not left:
                    self.notes.append("the link was cut; the board has tidied up")
                    return "clean"
                time.sleep(1.0)
        return f"whether it has tidied up is not known: {left[:200]}"


def _name_on_board(path: Path) -> str:
    """Agents are cached under other names."""
    return path.name if path.suffix == ".ko" or path.name == RUN_SCRIPT else AGENT


def _prepare_script(directory: str) -> str:
    """Makes the directory, quietens the console, and undoes both if nothing comes of it."""
    return f"""
umask 077
d={directory}
[ -d $d ] || mkdir $d || exit 1
[ -e $d/kept-printk ] || cat {_PRINTK} > $d/kept-printk
echo {_QUIET} > {_PRINTK}
[ -e $d/watched ] || {{ : > $d/watched; (
n=0
while [ -d $d ] && [ ! -e $d/started ] && [ $n -lt {ABANDONED_S} ]; do sleep 1; n=$((n + 1)); done
{_undo_script(directory)}
) < /dev/null > /dev/null 2>&1 & }}
"""


def _undo_script(directory: str) -> str:
    return f"""
if [ -d {directory} ] && [ ! -e {directory}/started ]; then
cat {directory}/kept-printk > {_PRINTK}
rm -rf {directory}
fi
"""


def _look_script(directory: str) -> str:
    """Says what is still there of a session."""
    return f"""
[ -e {directory} ] && echo {directory}
while read -r m r; do case $m in dmasafe_*) echo "module $m";; esac; done < /proc/modules
true
"""
