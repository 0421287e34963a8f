# SPDX-License-Identifier: GPL-2.0-or-later
"""From lines of text to splats: which lines belong to one report, where it ends, and what it says.

One Reader follows one log. Reports of different callers (CONFIG_PRINTK_CALLER) may be interleaved.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.dmesg import headers
from harness.dmesg.classes import class_of_bug, read_detail, read_message
from harness.dmesg.headers import HEADERS, Header, Kind
from harness.outcome import Frame, Splat

# A report without an end mark is over after so many lines that say nothing more about it.
QUIET_LINES = 32
# After "end trace" only "Mapped at:" or the panic that follows an oops can still belong to it.
TRAIL_LINES = 8
MAX_FRAMES = 256
# dump_stack(), __warn(), warn_slowpath_fmt() and the like.
PRINTING_FRAMES = 12
MAX_MAPPED_FRAMES = 16
MAX_MESSAGE_LINES = 8
MAX_OPEN_REPORTS = 64


@dataclass
class _Report:
    """A report that is being read. ``header`` is None until the line that names its kind has come."""

    kind: Kind
    caller: str
    first_line: int
    last_line: int
    header: str | None = None
    splat_class: str | None = None
    driver: str | None = None
    device: str | None = None
    message: list[str] = field(default_factory=list)
    fields: dict[str, int | str] = field(default_factory=dict)
    file: str | None = None
    line: int | None = None
    place: Frame | None = None
    frames: list[Frame] = field(default_factory=list)
    mapped: list[Frame] = field(default_factory=list)
    traces: int = 0
    traced: bool = False
    mapping: bool = False
    body: bool = False
    died: bool = False
    ended: bool = False

    def splat(self) -> Splat:
        fields = dict(self.fields)
        if self.mapped:
            fields["mapped_at"] = " < ".join(_symbol(frame) for frame in self.mapped)
        return Splat(
            splat_class=self.splat_class or self._class_of_header(),
            device=self.device,
            driver=self.driver,
            message=self._title(),
            fields=fields,
            file=self.file,
            line=self.line,
            function=self.place.function if self.place else None,
            frames=self._all_frames(),
            log_line=self.first_line,
            truncated=self._truncated(),
        )

    def _class_of_header(self) -> str:
        if self.kind is Kind.BUG_AT and self.file is not None and self.line is not None:
            return class_of_bug(self.file, self.line)
        return "other"

    def _title(self) -> str:
        message = " ".join(self.message)
        if self.splat_class is not None:
            return message
        if self.kind is Kind.WARNING:
            where = f"{self.file}:{self.line}" if self.file else ""
            symbol = self.place.function if self.place else ""
            title = " ".join(part for part in ("WARNING at", where, symbol) if part)
            return f"{title}: {message}" if message else title
        return self.header or message or "a report whose beginning is missing"

    def _all_frames(self) -> tuple[Frame, ...]:
        """The trace, with the place of the report itself as the first frame on every architecture.

        x86 leaves that place out of the trace; arm and mips print what prints the report before it.
        """
        here = self.place
        if here is None:
            return tuple(self.frames)
        for index, frame in enumerate(self.frames[:PRINTING_FRAMES]):
            if frame.reliable and frame.function == here.function:
                return tuple(self.frames[index:])
        return (here, *self.frames)

    def _truncated(self) -> bool:
        if self.kind is Kind.HEADLESS or self.header is None:
            return True
        marked = self.kind in headers.FATAL or self.kind in (Kind.WARNING, Kind.CUT)
        return marked and not self.ended


def _symbol(frame: Frame) -> str:
    text = f"{frame.function}+{frame.offset:#x}/{frame.size:#x}"
    return f"{text} [{frame.module}]" if frame.module else text


class Reader:
    """Reads one log: ``feed`` it every line, then ``close`` it; both return the splats that are complete.

    Splats come in the order of their first lines. Memory stays bounded whatever is fed.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Report] = {}
        self._done: list[Splat] = []

    @property
    def idle(self) -> bool:
        """Whether only a line that holds one of headers.ANCHORS can matter now."""
        return not self._open

    def feed(self, number: int, caller: str, text: str) -> list[Splat]:
        """One line of text, read from line ``number`` (1-based) of the log, printed by ``caller`` ("" if unknown)."""
        self._expire(number)
        report = self._open.get(caller)
        if not self._begins(number, caller, text, report) and report is not None and self._continues(report, text):
            report.last_line = number
        return self._ready()

    def close(self) -> list[Splat]:
        """The log is over: all reports are."""
        for caller in list(self._open):
            self._finish(caller)
        return self._ready()

    def _begins(self, number: int, caller: str, text: str, report: _Report | None) -> bool:
        """Take in a line that starts a report, or that gives the open one its header or its message."""
        if not any(anchor in text for anchor in headers.ANCHORS):
            return False
        for header in HEADERS:
            match = header.pattern.match(text)
            if match is None:
                continue
            if report is None or not _takes(report, header, text):
                report = self._start(header.kind, number, caller)
            _head(report, header.kind, match.groupdict(), text)
            report.last_line = number
            return True
        message = read_message(text)
        if message is not None:
            if not message.warns:
                self._done.append(
                    Splat(
                        message.splat_class,
                        message.device,
                        message.driver,
                        message.text,
                        message.fields,
                        log_line=number,
                    )
                )
                return True
            if report is None or not _wants_message(report):
                report = self._start(Kind.MESSAGE, number, caller)
            report.splat_class, report.driver, report.device = message.splat_class, message.driver, message.device
            report.message, report.fields = [message.text], dict(message.fields)
            report.last_line = number
            return True
        if report is None and headers.MIDDLE.match(text):
            report = self._start(Kind.HEADLESS, number, caller)
            self._continues(report, text)
            return True
        if report is None and headers.END.match(text):
            self._start(Kind.HEADLESS, number, caller).ended = True
            return True
        return False

    def _continues(self, report: _Report, text: str) -> bool:
        """Take in a line of the open report; False if it says nothing that is known to belong to one."""
        if headers.MAPPED_AT.match(text):
            report.mapping, report.traced = True, True
            return True
        if report.mapping:
            frame = headers.read_frame(text)
            if frame is None:
                report.mapping = False
                return False
            if len(report.mapped) < MAX_MAPPED_FRAMES:
                report.mapped.append(frame)
            return True
        if headers.END.match(text):
            report.ended, report.traced = True, True
            return True
        if report.ended:
            return False
        if report.splat_class is not None:
            detail = read_detail(report.splat_class, text)
            if detail is not None:
                report.message.append(detail[0])
                report.fields.update(detail[1])
                return True
        return _body(report, text)

    def _start(self, kind: Kind, number: int, caller: str) -> _Report:
        if caller in self._open:
            self._finish(caller)
        elif len(self._open) >= MAX_OPEN_REPORTS:
            self._finish(min(self._open, key=lambda key: self._open[key].last_line))
        report = _Report(kind, caller, number, number)
        self._open[caller] = report
        return report

    def _finish(self, caller: str) -> None:
        report = self._open.pop(caller)
        # The middle of a report counts only once its end has come: a plain stack dump looks the same.
        if report.kind is not Kind.HEADLESS or report.ended:
            self._done.append(report.splat())

    def _expire(self, number: int) -> None:
        for caller, report in list(self._open.items()):
            # x86 prints all registers again between the end of an oops and its panic (oops_end()).
            trailing = report.ended and report.kind not in headers.FATAL
            lines = TRAIL_LINES if trailing else QUIET_LINES
            if number - report.last_line > lines:
                self._finish(caller)

    def _ready(self) -> list[Splat]:
        if not self._done:
            return []
        first_open = min((report.first_line for report in self._open.values()), default=None)
        self._done.sort(key=lambda splat: splat.log_line)
        count = sum(1 for splat in self._done if first_open is None or splat.log_line < first_open)
        if len(self._done) > MAX_OPEN_REPORTS:
            count = max(count, len(self._done) - MAX_OPEN_REPORTS)
        ready, self._done = self._done[:count], self._done[count:]
        return ready


def _takes(report: _Report, header: Header, text: str) -> bool:
    """Whether this header belongs to the open report."""
    if header.kind is Kind.PANIC:
        return report.kind is not Kind.HEADLESS and (not report.ended or report.kind in headers.FATAL)
    if report.ended or report.kind not in header.joins:
        return False
    if header.kind is Kind.FAULT and report.kind is Kind.FAULT:
        return not report.body
    if header.kind is Kind.DIE:
        return not report.died
    return report.header is None and not report.body


def _wants_message(report: _Report) -> bool:
    """Whether a message of the class table belongs to the open report."""
    if report.splat_class is not None or report.ended:
        return False
    return report.kind is Kind.CUT or (report.kind is Kind.WARNING and not report.body)


def _head(report: _Report, kind: Kind, groups: dict[str, str | None], text: str) -> None:
    """Note what a header line says."""
    if kind is Kind.CUT:
        return
    report.died = report.died or kind is Kind.DIE
    if kind is Kind.PANIC and report.header is not None:
        report.traced = True  # what follows is the panic's own trace
        return
    if report.header is None:
        report.header, report.kind = text, kind
    if groups.get("file"):
        report.file, report.line = groups["file"], int(groups["line"] or 0)
    place = groups.get("place")
    if place:
        report.place = headers.read_place(place)


def _body(report: _Report, text: str) -> bool:
    """A line between a report's header and its end."""
    if headers.TRACE.match(text):
        report.body = True
        # What stood before the first mark was no trace of this report's; lockdep's own comes after "stack backtrace:".
        if report.traces == 0 or text.startswith("stack backtrace:"):
            report.frames, report.traced = [], False
            report.traces = 0 if text.startswith("stack backtrace:") else 1
        elif report.frames:
            report.traced = True
        return True
    frame = headers.read_frame(text) if "+0x" in text else None
    if frame is not None:
        report.body = True
        if not report.traced and len(report.frames) < MAX_FRAMES:
            report.frames.append(frame)
        return True
    if report.frames and text.endswith(":"):  # "Allocated by task 35:", another trace's title
        report.traced = True
    counter = headers.PROGRAM_COUNTER.match(text)
    if counter is not None:
        report.body = True
        if report.place is None and report.traces == 0:
            report.place = headers.read_place(counter["place"])
        return True
    if headers.BODY.match(text) or headers.DUMP.match(text):
        report.body = True
        return True
    waiting = report.kind is Kind.CUT or (report.kind is Kind.WARNING and not report.body)
    if waiting and report.splat_class is None and text and len(report.message) < MAX_MESSAGE_LINES:
        report.message.append(text)
        return True
    return False
