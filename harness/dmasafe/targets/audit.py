# SPDX-License-Identifier: GPL-2.0-or-later
"""Auditing a running system: dmasafe_audit.ko loaded into a session, a workload, and the record read back.

Works on whatever speaks the Session protocol: a booted guest or a board.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from dmasafe.audit import AuditError, MessageKind, Record, parse
from dmasafe.dmesg import Symbols, parse_records
from dmasafe.guest.agent import Message, integer
from dmasafe.guest.hands import Hands, Refused
from dmasafe.outcome import Splat
from dmasafe.progress import Progress
from dmasafe.targets.boot import Boot, GuestImage
from dmasafe.targets.errors import BootLost
from dmasafe.targets.gathered import MAX_RECORDS_PER_SCENARIO, OUTSIDE, Gathered
from dmasafe.targets.interrupt import interrupt_deferred
from dmasafe.targets.session import LIMITS, Limits, Session

MODULE = "dmasafe_audit"
#: The directory of images/ that it is built from.
SOURCES = "audit"
DEFAULT_ROWS = 512
MAX_OUTPUT_BYTES = 1 << 20
MAX_RECORD_BYTES = 64 << 20

_DEBUGFS = "/sys/kernel/debug/dmasafe_audit"
_MESSAGES, _WATCH = f"{_DEBUGFS}/messages", f"{_DEBUGFS}/watch"
# As audit_main.c wants them: pairs of start and end.
_IMAGE = ("_stext", "_etext", "__start_rodata", "__end_rodata", "_sdata", "_edata", "__bss_start", "__bss_stop")
_PERCPU = ("__per_cpu_start", "__per_cpu_end")
# A board takes a host that is silent for longer for gone.
_LOOK_S = 0.2
_TALK_S = 1.0
_START_S = 5.0
# i2c_master_send_dmasafe(), regmap_update_bits() and the like: nobody's own line.
_INLINE_API = ("include/linux/i2c.h", "include/linux/regmap.h")


@dataclass(frozen=True)
class Outcome:
    """What a workload left: the record, the kernel's own reports meanwhile, the command's end (None: no command)."""

    record: Record
    splats: tuple[Splat, ...] = ()
    status: int | None = None
    output: str = ""


# ---- the module


def begin(session: Session, module: str, rows: int = DEFAULT_ROWS) -> None:
    """Load the module from ``module``, a path on the audited system. Raises AuditError, BootLost."""
    symbols = session.request("symbols", names=",".join((*_IMAGE, *_PERCPU)))
    _hands(session).load(module, parameters(symbols, session.read("/proc/cmdline"), rows))


def parameters(symbols: Message, cmdline: str | None, rows: int) -> str:
    """The module's parameters: where vmlinux's sections are, and whether the allocator may be asked for sizes."""
    words = [f"rows={rows}"]
    for name, wanted in (("image", _IMAGE), ("percpu", _PERCPU)):
        found = [integer(symbols, symbol) for symbol in wanted]
        if all(address is not None for address in found):
            words.append(f"{name}={','.join(f'{address:#x}' for address in found)}")
    # Under slub_debug=U asking for the size of what is no object's start damages memory (since 6.1).
    if cmdline is not None and "slub_debug" not in cmdline and "slab_debug" not in cmdline:
        words.append("object_sizes=1")
    return " ".join(words)


def forget(session: Session) -> None:
    """What was seen so far is not asked for: the harness's own preparations, for one. Raises AuditError, BootLost."""
    _hands(session).write(_MESSAGES, "1")


def peek(session: Session) -> Record:
    """The record so far. Raises AuditError, BootLost."""
    return parse(_hands(session).read(_MESSAGES, MAX_RECORD_BYTES).decode(errors="replace"))


def finish(session: Session) -> Record:
    """Stop watching, read the record, unload the module. Raises AuditError, BootLost."""
    _hands(session).write(_WATCH, "0")
    record = peek(session)
    session.request("unload", name=MODULE)
    return record


def load(session: Session, file: Path) -> None:
    """Load somebody's module from this machine. Raises AuditError, BootLost."""
    path = f"/tmp/dmasafe-{secrets.token_hex(4)}-{file.name}"
    hands = _hands(session)
    hands.append(path, file.read_bytes())
    try:
        hands.load(path)
    finally:
        session.request("command", command=f"rm -f {shlex.quote(path)}", timeout_ms=2000)


def load_all(session: Session, files: Sequence[Path]) -> None:
    """Load modules that may need each other: those whose turn has not come are tried again. Raises like load()."""
    left = list(files)
    while left:
        failed = []
        for file in left:
            try:
                load(session, file)
            except AuditError:
                failed.append(file)
        if len(failed) == len(left):
            load(session, failed[0])
        left = failed


def _hands(session: Session) -> Hands:
    return Hands(session.request, _failure)


def _failure(refused: Refused) -> AuditError:
    if refused.errno == errno.ENOENT and refused.what.startswith(_DEBUGFS):
        return AuditError(f"{refused}: is debugfs mounted?")
    return AuditError(f"{refused}; the kernel's log may say more")


# ---- workloads

Workload = Callable[[Session, Progress], tuple[int | None, str]]


def waiting(seconds: float | None) -> Workload:
    """Watch what happens by itself, for so long or until Ctrl-C."""

    def watch(session: Session, progress: Progress) -> tuple[int | None, str]:
        progress.stage("watching" if seconds is not None else "watching, Ctrl-C ends it")
        until = None if seconds is None else time.monotonic() + seconds
        with contextlib.suppress(KeyboardInterrupt):
            while until is None or time.monotonic() < until:
                time.sleep(min(_TALK_S, max(0.0, until - time.monotonic())) if until is not None else _TALK_S)
                with interrupt_deferred():
                    session.request("kmsg")
        return None, ""

    return watch


def running(command: str, timeout_s: float) -> Workload:
    """Run a shell command; ``$DMASAFE_BUS`` and ``$VIRTIO_BUS`` are the numbers of the emulated adapters."""

    def run(session: Session, progress: Progress) -> tuple[int | None, str]:
        progress.stage("the command")
        name = f"/tmp/dmasafe-{secrets.token_hex(4)}"
        group = _start(session, command, name)
        late = False
        try:
            status = _await_status(session, f"{name}.status", timeout_s)
            late = status is None
        except KeyboardInterrupt:
            status = None
        with interrupt_deferred():
            if status is None:
                session.request("command", command=f"kill -KILL -{group}", timeout_ms=2000)
            output = session.read(f"{name}.out") or ""
            session.request("command", command=f"rm -f {name}.out {name}.status", timeout_ms=2000)
        if late:
            raise AuditError(f"the command did not end within {timeout_s:g} s: give it more with --timeout")
        return status, output[:MAX_OUTPUT_BYTES]

    return run


def _start(session: Session, command: str, name: str) -> int:
    """Begin the command in the background; its process group. Raises AuditError, BootLost."""
    buses = " ".join(f"{controller.upper()}_BUS={number}" for controller, number in session.adapters.items())
    # The agent gives every command a process group of its own, with the shell's number.
    script = (
        f"( {buses} sh -c {shlex.quote(command)} > {name}.out 2>&1 < /dev/null; echo $? > {name}.status ) "
        "> /dev/null 2>&1 & echo $$"
    )
    try:
        group = Hands(session.request).run(script, _START_S).output.strip()
    except Refused as error:
        why = "there is no shell" if error.errno == errno.ENOENT else error.why
        raise AuditError(f"the command could not be started: {why}") from error
    if not group.isdecimal():
        raise AuditError(f"the command could not be started: its process group would be {group[:80]!r}")
    return int(group)


def _await_status(session: Session, path: str, timeout_s: float) -> int | None:
    """The command's exit status, None if it takes too long. Raises BootLost."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        said = session.read(path)
        if said is not None and said.isdecimal() and len(said) < 4:
            return int(said)
        session.request("kmsg")
        time.sleep(_LOOK_S)
    return None


def audit(
    session: Session,
    module: str,
    workload: Workload,
    progress: Progress,
    rows: int = DEFAULT_ROWS,
    before: Callable[[Session], None] = lambda session: None,
) -> Outcome:
    """Load the module into a prepared session, run the workload, read the record. Raises AuditError, BootLost.

    ``before`` is done once the module watches: what it sends is part of the audit.
    """
    begin(session, module, rows)
    session.request("kmsg")
    session.gathered.records.pop(OUTSIDE, None)
    session.gathered.lost_log = None
    before(session)
    status, output = workload(session, progress)
    with interrupt_deferred():
        record = finish(session)
        session.request("kmsg")
    splats = parse_records(session.gathered.records.get(OUTSIDE, ()))
    incomplete = tuple(_incomplete(session.gathered, status))
    return Outcome(replace(record, incomplete=incomplete), tuple(splats), status, output)


def _incomplete(gathered: Gathered, status: int | None) -> Iterator[str]:
    """Why less was audited than was asked for, or the kernel may have reported more than is known."""
    if status:
        yield f"the command ended with status {status}: what it left undone was not audited"
    if gathered.lost_log is not None:
        yield f"the kernel's own reports may be incomplete: {gathered.lost_log}"
    if len(gathered.records.get(OUTSIDE, ())) >= MAX_RECORDS_PER_SCENARIO:
        yield f"the kernel's log has more than {MAX_RECORDS_PER_SCENARIO} records: its own reports may be incomplete"


# ---- suites


class Audited:
    """The records of the boots of a suite; ``boot`` is the factory that QemuTarget takes."""

    def __init__(self, rows: int = DEFAULT_ROWS) -> None:
        self.records: list[Record] = []
        self.incomplete: list[str] = []
        self._rows = rows

    def boot(self, image: GuestImage, log_directory: Path, kmsg_log: BinaryIO, limits: Limits = LIMITS) -> Boot:
        return _AuditedBoot(image, log_directory, kmsg_log, limits, self, self._rows)

    def take(self, session: Session) -> None:
        """The record of a session that is about to end; that there is none is remembered."""
        try:
            self.records.append(finish(session))
        except (AuditError, BootLost) as error:
            self.incomplete.append(f"what a lost boot sent is not in the record: {error}")


class _AuditedBoot(Boot):
    """A boot with the audit's module in it from prepare() on."""

    def __init__(
        self, image: GuestImage, logs: Path, kmsg_log: BinaryIO, limits: Limits, audited: Audited, rows: int
    ) -> None:
        super().__init__(image, logs, kmsg_log, limits)
        self._audited = audited
        self._rows = rows
        self._begun = False

    def prepare(self) -> None:
        super().prepare()
        begin(self, f"/modules/{MODULE}.ko", self._rows)
        self._begun = True

    def close(self) -> None:
        try:
            if self._begun:
                with interrupt_deferred():
                    self._audited.take(self)
        finally:
            super().close()


# ---- source lines


def with_lines(record: Record, symbols: Symbols) -> Record:
    """The record with files and lines in its frames, where the objects have debug information."""
    # Only splats have frames that can be resolved; an inlined function becomes a frame before its caller's.
    resolved = symbols.resolve(_as_splat(kind) for kind in record.kinds)
    return replace(record, kinds=tuple(_lined(kind, splat) for kind, splat in zip(record.kinds, resolved, strict=True)))


def _as_splat(kind: MessageKind) -> Splat:
    return Splat("other", None, None, "", frames=kind.frames)


def _lined(kind: MessageKind, splat: Splat) -> MessageKind:
    """The caller becomes the innermost call at its place that is not one of the inline functions of I2C or regmap."""
    at, inlined = 0, 0
    for index, frame in enumerate(splat.frames):
        if frame.offset is None and frame.file is not None:
            inlined += not frame.file.endswith(_INLINE_API)
            continue
        if at == kind.caller:
            return replace(kind, frames=splat.frames, caller=index - inlined)
        at, inlined = at + 1, 0
    return replace(kind, frames=splat.frames)


def splats_with_lines(splats: Iterable[Splat], symbols: Symbols) -> tuple[Splat, ...]:
    """The kernel's own reports, likewise."""
    return tuple(symbols.resolve(splats))
