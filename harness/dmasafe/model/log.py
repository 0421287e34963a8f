# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's log: reports are noted as they happen and become text, as /dev/kmsg has it, when somebody reads them.

A report carries its splat class beside the kernel's wording; that both say the same is what dmasafe/dmesg and the
tests are for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from dmasafe.architecture import ArchitectureError, architecture_of, architecture_path, read_architecture
from dmasafe.decode import convert
from dmasafe.model.config import Config

CUT_HERE = "------------[ cut here ]------------"
KERN_ALERT, KERN_CRIT, KERN_ERR, KERN_WARNING, KERN_INFO = 1, 2, 3, 4, 6
# kernel/panic.c __warn() put file and line first in 6.19 or so (read in 7.2; 6.12 has the old form).
_WARNING_FORM_SINCE = (6, 19)
# kernel/panic.c: oops_id was a random number before 5.19 or so (read in 5.10; 6.1 prints zeros).
_OOPS_ID_ZERO_SINCE = (5, 19)
_OOPS_ID = 0x6F0D_5AFE_0DDB_A11E
# arch/x86/kernel/dumpstack.c __die_header() says "Oops: " before the trap's name since 6.10.
_OOPS_FORM_SINCE = (6, 10)
# One line of the log after the other; kmsg has microseconds.
_STEP_US = 7


@dataclass(frozen=True)
class Dialect:
    """How an architecture words its reports: the table ``[log]`` of its file (kernel-configs/arch/).

    ``fault`` are the lines of a page fault, ``null_fault`` stands for the first of them below 4 KiB, ``oops`` is the
    line after them: formats of address, error, access, cause, what and prefix. ``registers`` is the line of a WARNING's
    registers that tells the place, if there is one; ``place_first`` says that the place comes before the message, as
    where WARN() is no trap. ``memcpy`` is the function that is found copying.
    """

    fault: tuple[str, ...]
    oops: str
    null_fault: str = ""
    registers: str = ""
    place_first: bool = False
    memcpy: str = "memcpy_orig"


@cache
def dialect_of(machine: str) -> Dialect:
    """The dialect of an architecture that find_layout() knows. Raises ArchitectureError."""
    name = architecture_of(machine) or machine
    return convert(read_architecture(name).log, Dialect, f"{architecture_path(name)}: log", ArchitectureError)


class Place(NamedTuple):
    """Where a report is raised: file, line, function, and the function's module (None for the kernel itself)."""

    file: str
    line: int
    function: str
    module: str | None = None

    def symbol(self) -> str:
        """%pS: the model's functions have no size, so offset and size are zero."""
        text = f"{self.function}+0x0/0x0"
        return text if self.module is None else f"{text} [{self.module}]"


class Report(NamedTuple):
    """One WARNING, BUG or oops. ``text`` is a % format of ``values``; several lines are separated by newlines.

    ``mapped_at`` are the frames that dma-debug recorded for the mapping, None where it prints none.
    """

    splat_class: str
    device: str | None
    driver: str | None
    text: str
    values: tuple[object, ...]
    place: Place
    frames: tuple[str, ...] = ()
    mapped_at: tuple[str, ...] | None = None

    @property
    def message(self) -> str:
        return self.text % self.values


class Line(NamedTuple):
    """One line that is no report. ``splat_class`` is set for those that count as one."""

    level: int
    text: str
    splat_class: str | None = None


class Death(NamedTuple):
    """The lines of a BUG or an oops, whose form is the architecture's."""

    splat_class: str
    lines: tuple[tuple[int, str], ...]
    message: str
    place: Place | None = None


Entry = Report | Line | Death


class KernelLog:
    """Everything said since boot that was not taken yet. ``clock`` is the time since boot in microseconds."""

    def __init__(self, config: Config, who: Callable[[], tuple[str, int]]) -> None:
        self.config = config
        self.dialect = dialect_of(config.arch)
        self._who = who
        self.reset()

    def reset(self) -> None:
        """As at boot, for a kernel that is used again."""
        self.entries: list[Entry] = []
        self._once: set[object] = set()
        self._sequence = 0
        self._us = 1_000_000

    # Writing.

    def printk(self, level: int, text: str, splat_class: str | None = None) -> None:
        self.entries.append(Line(level, text, splat_class))

    def warn(self, report: Report) -> None:
        """WARN(): kernel/panic.c __warn_printk() and __warn()."""
        self.entries.append(report)

    def first_time(self, site: object) -> bool:
        """Whether a once-only report at this call site may be printed; it is marked as printed."""
        if site in self._once:
            return False
        self._once.add(site)
        return True

    def clear_warn_once(self) -> None:
        """debugfs clear_warn_once, and the modules' own ``rearm``: once-only reports come again."""
        self._once.clear()

    def die(self, death: Death) -> None:
        self.entries.append(death)

    # Reading.

    def reports(self) -> list[Entry]:
        """The entries that count as splats, in order."""
        return [entry for entry in self.entries if entry.splat_class is not None]

    def take(self) -> list[str]:
        """The records since the last take(), as read from /dev/kmsg, and forget them."""
        entries, self.entries = self.entries, []
        records = []
        for entry in entries:
            for level, text in self._lines(entry):
                records.append(f"{level},{self._sequence},{self._us},-;{text}")
                self._sequence += 1
                self._us += _STEP_US
        return records

    def text(self) -> str:
        """What dmesg would print of the records that were not taken yet; they stay."""
        us = self._us
        lines = []
        for entry in self.entries:
            for _level, text in self._lines(entry):
                lines.append(f"[{us // 1_000_000:5d}.{us % 1_000_000:06d}] {text}\n")
                us += _STEP_US
        return "".join(lines)

    def _lines(self, entry: Entry) -> list[tuple[int, str]]:
        if isinstance(entry, Line):
            return [(entry.level, entry.text)]
        if isinstance(entry, Death):
            return [*entry.lines, (KERN_WARNING, self._end())]
        return self._warning(entry)

    def _warning(self, report: Report) -> list[tuple[int, str]]:
        comm, pid = self._who()
        symbol = report.place.symbol()
        if self.config.version < _WARNING_FORM_SINCE:
            header = f"WARNING: CPU: 0 PID: {pid} at {report.place.file}:{report.place.line} {symbol}"
        else:
            header = f"WARNING: {report.place.file}:{report.place.line} at {symbol}, CPU#0: {comm}/{pid}"
        message = report.message.split("\n") if report.text else []
        texts = [CUT_HERE]
        texts += [header, *message] if self.dialect.place_first else [*message, header]
        texts.append("Modules linked in: dmasafe_client(O) dmasafe_controller(O)")
        texts.append(f"CPU: 0 PID: {pid} Comm: {comm}")
        if self.dialect.registers:
            texts.append(self.dialect.registers.format(symbol=symbol))
        texts += ["Call Trace:", *(f" {frame}" for frame in report.frames), self._end()]
        if report.mapped_at is not None:
            texts += ["DMA-API: Mapped at:", *(f" {frame}" for frame in report.mapped_at)]
        return [(KERN_WARNING, text) for text in texts]

    def _end(self) -> str:
        oops_id = 0 if self.config.version >= _OOPS_ID_ZERO_SINCE else _OOPS_ID
        return f"---[ end trace {oops_id:016x} ]---"

    @property
    def oops_prefix(self) -> str:
        """What arch/x86/kernel/dumpstack.c __die_header() says before a trap's name."""
        return "Oops: " if self.config.version >= _OOPS_FORM_SINCE else ""
