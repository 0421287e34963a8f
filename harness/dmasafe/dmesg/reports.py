# SPDX-License-Identifier: GPL-2.0-or-later
"""From lines of text to splats: which lines belong to one report, where it ends, and what it says.

One Reader follows one log. Reports of different callers (CONFIG_PRINTK_CALLER) may be interleaved; without callers,
what a line says (task, place, class) tells whose it is, and a trace that cannot be told apart is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from dmasafe.dmesg import headers
from dmasafe.dmesg.anchors import may_matter
from dmasafe.dmesg.classes import (
    MAX_PIECES,
    SPLAT_CLASSES,
    Message,
    class_of_bug,
    class_of_function,
    is_checker,
    join_detail,
    join_message,
    may_begin_detail,
    may_begin_message,
    read_message,
)
from dmasafe.dmesg.headers import HEADERS, Header, HeaderKind
from dmasafe.outcome import Frame, Splat

# A report without an end mark is over after so many lines that say nothing more about it.
QUIET_LINES = 32
# After "end trace" only "Mapped at:" or the panic that follows an oops can still belong to it.
TRAIL_LINES = 8
# Two processors that print at the same time take turns more often than this.
INTERLEAVED_LINES = 8
MAX_FRAMES = 256
# dump_stack(), __warn(), warn_slowpath_fmt() and the like.
PRINTING_FRAMES = 12
MAX_MAPPED_FRAMES = 16
MAX_MESSAGE_LINES = 8
MAX_OPEN_REPORTS = 64
# Reports without callers that may be open at the same time.
MAX_INTERLEAVED = 4
# A WARNING header is wrapped over so many lines at the most.
MAX_HEADER_LINES = 3
# Mail and terminals wrap lines; what follows a shorter one without a stamp is somebody's sentence.
SHORTEST_WRAPPED_CHARS = 40
# What is complete without an end mark.
_UNMARKED = frozenset({HeaderKind.REPORT, HeaderKind.UBSAN, HeaderKind.PANIC})


@dataclass
class _Report:
    """A report that is being read. ``header`` is None until the line that names its kind has come.

    ``last_fed`` counts lines of text as Reader._fed does. ``raw`` are the lines of the message as they were read,
    ``partial`` says that it was cut at the end of its line, ``weak`` that its words alone are no report, ``over`` that
    no more of it can come, ``locked`` that the next line is the place, ``doubted`` that the next frame is marked ``?``.
    ``counted`` says that the program counter was printed, ``chosen`` that the frames are those of headers.ORIGIN,
    ``alive`` that lines of this report came after another one had begun, ``listing`` whose stack of ``memory`` is
    being read, ``mixed`` that its trace cannot be told from another's.
    """

    kind: HeaderKind
    caller: str
    first_line: int
    last_fed: int
    header: str | None = None
    splat_class: str | None = None
    driver: str | None = None
    device: str | None = None
    message: list[str] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    partial: bool = False
    weak: bool = False
    over: bool = False
    stamped: bool = False
    locked: bool = False
    doubted: bool = False
    detail: list[str] = field(default_factory=list)
    fields: dict[str, int | str] = field(default_factory=dict)
    file: str | None = None
    line: int | None = None
    place: Frame | None = None
    pid: str | None = None
    frames: list[Frame] = field(default_factory=list)
    frame_text: str = ""
    mapped: list[Frame] = field(default_factory=list)
    unmapped: list[Frame] = field(default_factory=list)
    memory: dict[str, list[Frame]] = field(default_factory=dict)
    listing: str = ""
    traces: int = 0
    traced: bool = False
    chosen: bool = False
    mapping: bool = False
    unmapping: bool = False
    body: bool = False
    counted: bool = False
    died: bool = False
    ended: bool = False
    alive: bool = False
    mixed: bool = False

    @property
    def in_trace(self) -> bool:
        return self.traces > 0 and not self.ended and not self.traced

    def explain(self, message: Message) -> None:
        """Note what a message of the class table says."""
        self.splat_class, self.driver, self.device = message.splat_class, message.driver, message.device
        self.message, self.fields, self.partial = [message.text], dict(message.fields), not message.complete
        self.raw = [message.line]

    def join(self) -> None:
        """Put a wrapped message together, as far as it has come."""
        joined = join_message(self.raw) if self.splat_class is None or self.partial else None
        if joined is not None and joined.complete:
            self.explain(joined)

    def goes_on(self, text: str) -> bool:
        """Whether a line can be the rest of the known message that was cut at the end of the line before."""
        joined = join_message([*self.raw, text])
        if joined is None or joined.splat_class != self.splat_class:
            return False
        return joined.complete or len(joined.fields) > len(self.fields) or len(joined.text) > len(self.message[0])

    def counts(self) -> bool:
        """Whether this is a report at all, once nothing more can come."""
        if self.splat_class is None or self.partial:
            cut = join_message(self.raw)
            if cut is not None and (self.splat_class is None or len(cut.fields) > len(self.fields)):
                self.explain(cut)
        detail = join_detail(self.splat_class, self.detail) if self.splat_class and self.detail else None
        if detail is not None:
            self.message.append(detail.text)
            self.fields.update(detail.values)
        if self.kind is HeaderKind.HEADLESS:  # a plain stack dump looks the same
            return self.ended or bool(self.mapped) or self._class_of_place() is not None
        if self.weak and self.header is None:
            return False
        return self.kind is not HeaderKind.MESSAGE or self.splat_class is not None

    def splat(self) -> Splat:
        fields = dict(self.fields)
        stacks = {**self.memory, "mapped_at": self.mapped, "unmapped_at": self.unmapped}
        fields |= {name: " < ".join(map(_symbol, frames)) for name, frames in stacks.items() if frames}
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
        if self.kind is HeaderKind.BUG_AT and self.file is not None and self.line is not None:
            return class_of_bug(self.file, self.line)
        return self._class_of_place() or "other"

    def _class_of_place(self) -> str | None:
        """What dma-debug's functions and "Mapped at:" tell of a report whose message is lost."""
        if self.kind not in (HeaderKind.WARNING, HeaderKind.HEADLESS, HeaderKind.CUT) or self.message:
            return None
        frames = [self.place] if self.place else [frame for frame in self.frames[:PRINTING_FRAMES] if frame.reliable]
        for frame in frames:
            if is_checker(frame.function):
                return class_of_function(frame.function) or "dma-debug-cut"
        debug = self.file is not None and self.file.endswith(("kernel/dma/debug.c", "lib/dma-debug.c"))
        return "dma-debug-cut" if self.mapped or debug else None

    def _title(self) -> str:
        message = " ".join(self.message)
        if self.splat_class is not None:
            return message
        if self.kind is HeaderKind.WARNING:
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
        if self.mixed:
            return (here,) if here else ()
        if here is None:
            return tuple(self.frames)
        for index, frame in enumerate(self.frames[:PRINTING_FRAMES]):
            if frame.reliable and frame.function == here.function:
                return tuple(self.frames[index:])
        return (here, *self.frames)

    def _truncated(self) -> bool:
        if self.kind in (HeaderKind.HEADLESS, HeaderKind.PART) or self.header is None:
            return True
        if self.splat_class is None and self._class_of_place() is not None:
            return True
        marked = self.kind in headers.FATAL or self.kind in (HeaderKind.WARNING, HeaderKind.CUT)
        return marked and not self.ended


def _symbol(frame: Frame) -> str:
    text = frame.function
    if frame.offset is not None:
        text += f"+{frame.offset:#x}/{frame.size or 0:#x}"
    return f"{text} [{frame.module}]" if frame.module else text


@dataclass
class _Half:
    """A WARNING header whose place has not come yet: its lines, and what they can be together."""

    caller: str
    lines: list[tuple[int, str, bool]]
    joined: list[str]


class Reader:
    """Reads one log: ``feed`` it every line, then ``close`` it; both return the splats that are complete.

    Splats come in the order of their first lines. Memory stays bounded whatever is fed.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Report] = {}
        # Older reports without a caller that may still go on, oldest first; the newest is in _open.
        self._aside: list[_Report] = []
        self._half: _Half | None = None
        self._caller = ""
        self._fed = 0
        self._done: list[Splat] = []

    @property
    def idle(self) -> bool:
        """Whether only a line that holds one of anchors.ANCHORS can matter now."""
        return not self._open and self._half is None

    def feed(self, number: int, caller: str, text: str, stamped: bool = True) -> list[Splat]:
        """One line of text (lines.Line), read from line ``number`` (1-based) of the log."""
        self._fed += 1
        self._expire()
        if stamped or caller:
            self._caller = caller
        else:  # the rest of a wrapped line
            caller = self._caller
        if not self._completes_half(number, caller, text, stamped):
            if _is_half(text):
                self._half = _Half(caller, [(number, text, stamped)], [text])
            else:
                self._take(number, caller, text, stamped)
        return self._ready()

    def flush(self) -> list[Splat]:
        """No line has come for a while: give out all that needs no more of them (a splat of a later line may be first).

        A report that waits for its end mark stays open.
        """
        self._release_half()
        for report in self._reports():
            if report.ended or report.kind in _UNMARKED:
                self._finish(report)
        return self._ready(wait=False)

    def close(self) -> list[Splat]:
        """The log is over: all reports are."""
        self._release_half()
        for report in self._reports():
            self._finish(report)
        return self._ready()

    def _completes_half(self, number: int, caller: str, text: str, stamped: bool) -> bool:
        """Take in the rest of a wrapped header."""
        half = self._half
        if half is None:
            return False
        if caller == half.caller and not stamped and len(half.lines) < MAX_HEADER_LINES and not may_matter(text):
            half.joined = [whole + glue + text for whole in half.joined for glue in (" ", "")]
            half.lines.append((number, text, stamped))
            for whole in half.joined:
                if _names_place(whole):
                    self._half = None
                    self._take(half.lines[0][0], caller, whole, half.lines[0][2])
                    return True
            return True
        self._release_half()
        return False

    def _release_half(self) -> None:
        half, self._half = self._half, None
        if half is not None:
            for number, text, stamped in half.lines:
                self._take(number, half.caller, text, stamped)

    def _take(self, number: int, caller: str, text: str, stamped: bool) -> None:
        report = self._whose(caller, text)
        begun = self._begins(number, caller, text, stamped, report)
        if not begun and report is not None and self._continues(report, text, stamped):
            report.last_fed = self._fed

    def _begins(self, number: int, caller: str, text: str, stamped: bool, report: _Report | None) -> bool:
        """Take in a line that starts a report, or that gives the open one its header or its message."""
        if not _may_matter(text):
            return False
        found = _header_in(text)
        if found is None and "   " in text:  # a terminal that wrapped has filled its lines with spaces
            narrow = " ".join(text.split())
            found = _header_in(narrow)
            text = narrow if found is not None else text
        if found is not None:
            header, groups = found
            if report is None or not _takes(report, header, text):
                report = self._start(header.kind, number, caller)
                report.stamped = stamped
            _head(report, header.kind, groups, text)
            report.last_fed = self._fed
            return True
        message = read_message(text)
        if message is not None:
            if not message.warns:
                splat = Splat(
                    message.splat_class, message.device, message.driver, message.text, message.fields, log_line=number
                )
                self._done.append(splat)
                return True
            if report is None or not _wants_message(report):
                report = self._start(HeaderKind.MESSAGE, number, caller)
                report.weak, report.stamped = not message.named and not stamped, stamped
            report.explain(message)
            report.last_fed = self._fed
            return True
        if report is not None:
            return False
        if headers.MIDDLE.match(text):
            self._continues(self._start(HeaderKind.HEADLESS, number, caller), text, True)
            return True
        if headers.END.match(text):
            self._start(HeaderKind.HEADLESS, number, caller).ended = True
            return True
        if headers.MAPPED_AT.match(text):
            self._start(HeaderKind.HEADLESS, number, caller).mapping = True
            return True
        if may_begin_message(text):
            report = self._start(HeaderKind.MESSAGE, number, caller)
            report.message, report.raw, report.stamped = [text], [text], stamped
            return True
        return False

    def _continues(self, report: _Report, text: str, stamped: bool) -> bool:
        """Take in a line of the open report; False if it says nothing that is known to belong to one."""
        if headers.MAPPED_AT.match(text) or (report.mapping and headers.UNMAPPED_AT.match(text)):
            report.unmapping = bool(headers.UNMAPPED_AT.match(text))
            report.mapping, report.traced = True, True
            return True
        if report.mapping:
            frame = headers.read_frame(text)
            if frame is None:
                report.mapping = False
                return False
            frames = report.unmapped if report.unmapping else report.mapped
            if len(frames) < MAX_MAPPED_FRAMES:
                frames.append(frame)
            return True
        if headers.END.match(text):
            report.ended, report.traced = True, True
            return True
        if report.ended:
            return False
        if report.kind is HeaderKind.REPORT and _memory(report, text):
            return True
        if report.splat_class is not None and _takes_detail(report, report.splat_class, text, stamped):
            return True
        return _body(report, text, stamped)

    def _whose(self, caller: str, text: str) -> _Report | None:
        """The open report that a line belongs to."""
        current = self._open.get(caller)
        if caller or not self._aside or current is None:
            return current
        reports = [*self._aside, current]
        chosen = _claim(reports, text) or current
        if chosen is not current and not chosen.alive:
            chosen.alive = True
            if chosen.in_trace:
                for later in reports[reports.index(chosen) + 1 :]:
                    later.mixed = later.mixed or later.traces > 0
        return chosen

    def _start(self, kind: HeaderKind, number: int, caller: str) -> _Report:
        open_report = self._open.get(caller)
        if open_report is not None:
            if _may_go_on(open_report, kind) and self._fed - open_report.last_fed <= INTERLEAVED_LINES:
                self._aside.append(open_report)
                if len(self._aside) >= MAX_INTERLEAVED:
                    self._finish(self._aside[0])
            else:
                self._finish(open_report, promote=False)
        elif len(self._open) >= MAX_OPEN_REPORTS:
            self._finish(min(self._open.values(), key=lambda report: report.last_fed))
        report = _Report(kind, caller, number, self._fed)
        self._open[caller] = report
        return report

    def _reports(self) -> list[_Report]:
        return [*self._aside, *self._open.values()]

    def _finish(self, report: _Report, promote: bool = True) -> None:
        if self._open.get(report.caller) is report:
            del self._open[report.caller]
            if self._aside and promote and not report.caller:
                self._open[""] = self._aside.pop()
        else:
            self._aside = [other for other in self._aside if other is not report]
        if report.counts():
            self._done.append(report.splat())

    def _expire(self) -> None:
        if not self._open:
            return
        for report in self._reports():
            # x86 prints all registers again between the end of an oops and its panic (oops_end()).
            trailing = report.ended and report.kind not in headers.FATAL
            if self._fed - report.last_fed > (TRAIL_LINES if trailing else QUIET_LINES):
                self._finish(report)

    def _ready(self, wait: bool = True) -> list[Splat]:
        if not self._done:
            return []
        first_open = min((report.first_line for report in self._reports()), default=None) if wait else None
        self._done.sort(key=lambda splat: splat.log_line)
        count = sum(1 for splat in self._done if first_open is None or splat.log_line < first_open)
        if len(self._done) > MAX_OPEN_REPORTS:
            count = max(count, len(self._done) - MAX_OPEN_REPORTS)
        ready, self._done = self._done[:count], self._done[count:]
        return ready


# The reports of one run have most of their lines in common.
_may_matter = lru_cache(maxsize=1024)(may_matter)


def _header_in(text: str) -> tuple[Header, dict[str, str | None]] | None:
    """The first row whose line this is, with its groups."""
    for header in HEADERS:
        match = header.pattern.match(text)
        if match is not None:
            return header, match.groupdict()
    return None


def _warning_place(text: str) -> str | None:
    """The place that a WARNING header names, None if the line is no such header."""
    for header in HEADERS:
        match = header.pattern.match(text) if header.kind is HeaderKind.WARNING else None
        if match is not None:
            return match["place"]
    return None


def _names_place(text: str) -> bool:
    if text.startswith("kernel BUG at "):
        return text.endswith("!")
    place = _warning_place(text)
    return place is not None and headers.read_place(text[text.find(place) :]) is not None


def _is_half(text: str) -> bool:
    """Whether a line is a header of WARNING or BUG without the place that every such header ends with."""
    return headers.WRAPPED_HEADER.match(text) is not None and not _names_place(text)


def _may_go_on(report: _Report, kind: HeaderKind) -> bool:
    """Whether lines of this report may come after the first line of another that no caller tells from it."""
    return (
        not report.caller
        and kind in (HeaderKind.CUT, HeaderKind.WARNING, HeaderKind.MESSAGE)
        and report.kind in (HeaderKind.CUT, HeaderKind.WARNING, HeaderKind.MESSAGE)
        and not report.ended
    )


def _claim(reports: list[_Report], text: str) -> _Report | None:
    """Which of several interleaved reports (oldest first) a line belongs to; None if it does not say."""
    newest_first = reports[::-1]
    if _warning_place(text) is not None:
        return _claim_header(newest_first, text)
    task = headers.TASK.match(text)
    if task is not None:
        return _first(report for report in newest_first if report.pid == task["pid"])
    if headers.END.match(text):
        return _first(report for report in reports if report.alive and report.body and not report.ended)
    if headers.TRACE.match(text):
        return _claim_trace(newest_first)
    counter = headers.PROGRAM_COUNTER.match(text)
    if counter is not None:
        place = headers.read_place(counter["place"])
        name = place.function if place else None
        return _first(report for report in newest_first if report.place and report.place.function == name)
    if may_matter(text) and read_message(text) is not None:
        return _first(report for report in newest_first if _wants_message(report))
    if headers.MAPPED_AT.match(text):
        return max((report for report in reports if report.ended), key=lambda report: report.last_fed, default=None)
    if headers.read_frame(text) is not None:
        mapping = _first(report for report in reports if report.mapping)
        return mapping or _first(report for report in newest_first if report.in_trace)
    if headers.BODY.match(text) or headers.DUMP.match(text):
        return _first(report for report in newest_first if report.header is not None and not report.ended)
    return None


def _claim_header(newest_first: list[_Report], text: str) -> _Report | None:
    """A WARNING header goes to the report whose message that function prints, else to one that has no message."""
    waiting = [report for report in newest_first if report.header is None and not report.body]
    for report in waiting:
        source = SPLAT_CLASSES[report.splat_class].source if report.splat_class else ""
        if any(name in text for name in headers.FUNCTION.findall(source)):
            return report
    return _first(report for report in waiting if report.splat_class is None) or _first(iter(waiting))


def _claim_trace(newest_first: list[_Report]) -> _Report | None:
    """A trace begins: that of the report whose registers were printed. Of two traces at a time no frame can be told."""
    living = [report for report in newest_first if report.alive or report is newest_first[0]]
    waiting = [report for report in newest_first if report.body and report.traces == 0 and not report.ended]
    waiting = [report for report in waiting if report.counted] or waiting
    # A report that was cut off waits too, but another's trace is not its.
    waiting = [report for report in waiting if any(report is other for other in living)] or waiting
    running = [report for report in living if report.in_trace]
    if len(waiting) > 1 or (waiting and running):
        for report in waiting:
            report.mixed = True
        for report in running:
            report.traced = True
    return waiting[-1] if waiting else None


def _first(reports: Iterator[_Report]) -> _Report | None:
    return next(reports, None)


def _takes(report: _Report, header: Header, text: str) -> bool:
    """Whether this header belongs to the open report."""
    if header.kind is HeaderKind.PART:
        return report.kind in (HeaderKind.REPORT, HeaderKind.PART) and not report.ended
    if text.startswith("unreferenced object"):
        return report.header is not None and "memory leak" in report.header and not report.frames
    if header.kind is HeaderKind.PANIC:
        return report.kind is not HeaderKind.HEADLESS and (not report.ended or report.kind in headers.FATAL)
    if _places_again(report, header.kind, text):
        return True
    if report.ended or report.kind not in header.joins:
        return False
    if header.kind is HeaderKind.FAULT and report.kind is HeaderKind.FAULT:
        return not report.body
    if header.kind is HeaderKind.DIE:
        return not report.died
    return report.header is None and not report.body


def _places_again(report: _Report, kind: HeaderKind, text: str) -> bool:
    """Whether this is the same header again, now with the function that the one before was inlined into."""
    if report.header is None or report.body or kind is not report.kind or headers.INLINED not in report.header:
        return False
    return report.header.split()[:2] == text.split()[:2]


def _wants_message(report: _Report) -> bool:
    """Whether a message of the class table belongs to the open report."""
    if report.splat_class is not None or report.ended:
        return False
    if report.kind is HeaderKind.MESSAGE:
        return False
    return report.kind is HeaderKind.CUT or (report.kind is HeaderKind.WARNING and not report.body)


def _head(report: _Report, kind: HeaderKind, groups: dict[str, str | None], text: str) -> None:
    """Note what a header line says."""
    if kind is HeaderKind.CUT:
        return
    report.died = report.died or kind is HeaderKind.DIE
    if kind is HeaderKind.PANIC and report.header is not None:
        report.traced = True  # what follows is the panic's own trace
        return
    if report.header is None or _places_again(report, kind, text):
        report.header, report.kind = text, kind
    file = groups.get("file")
    if file:
        report.file, report.line = headers.in_tree(file), int(groups["line"] or 0)
    if groups.get("pid"):
        report.pid = groups["pid"]
    place = groups.get("place")
    if place:
        report.place = headers.read_place(text[text.find(place) :])


def _body(report: _Report, text: str, stamped: bool) -> bool:
    """A line between a report's header and its end."""
    if text == "?":  # a wrapped frame that the kernel is not sure of
        report.doubted = True
        return True
    doubted, report.doubted = report.doubted and not stamped, False
    if _locks(report, text):
        return True
    if headers.ORIGIN.match(text) and not report.frames:
        report.chosen, report.place, report.traces = True, None, 1
        return True
    if report.chosen and headers.read_frame(text) is None:
        report.traced = report.traced or bool(report.frames)
        report.body = True
        return True
    if headers.TRACE.match(text):
        report.body = True
        # What stood before the first mark was no trace of this report's; lockdep's own comes after "stack backtrace:".
        if report.traces == 0 or text.startswith("stack backtrace:"):
            report.frames, report.traced = [], False
            report.traces = 0 if text.startswith("stack backtrace:") else 1
        elif report.frames:
            report.traced = True
        return True
    frame = headers.read_frame(text)
    if frame is not None and (frame.offset is not None or report.body):
        report.body = True
        if not report.traced and len(report.frames) < MAX_FRAMES:
            report.frames.append(replace(frame, reliable=False) if doubted else frame)
            report.frame_text = text
        return True
    if not stamped and _ends_symbol(report, text):
        return True
    if report.frames and text.endswith(":"):  # "Allocated by task 35:", another trace's title
        report.traced = True
    counter = headers.PROGRAM_COUNTER.match(text)
    if counter is not None:
        report.body = report.counted = True
        if text.endswith(headers.INLINED):
            return True
        place = headers.read_place(counter["place"])
        if report.place is None and report.traces == 0:
            report.place = place
        elif place is not None and report.in_trace and place != report.place and len(report.frames) < MAX_FRAMES:
            report.frames.append(place)  # what an interrupt has stopped
        return True
    if text.startswith("Hardware name:") and not report.body and not report.message:
        return True  # x86 printed it before the message until 3.9
    if headers.BODY.match(text) or headers.DUMP.match(text):
        report.body = True
        return True
    if report.body or report.over or len(report.message) >= MAX_MESSAGE_LINES:
        return False
    if not stamped and (not text or _is_mail(report, text)):
        # Whatever comes next is the mail's.
        report.over = report.header is not None or report.splat_class is not None
        return False
    if not text:
        return False
    if report.splat_class is None:
        waiting = report.kind in (HeaderKind.CUT, HeaderKind.WARNING, HeaderKind.MESSAGE)
    else:
        waiting = report.partial and not stamped and report.goes_on(text)
    if waiting:
        report.message.append(text)
        report.raw.append(text)
        report.join()
    return waiting


def _memory(report: _Report, text: str) -> bool:
    """Take in a line of the stacks that say where a sanitizer's memory was allocated and freed."""
    whose = headers.MEMORY_OF.match(text)
    if whose is not None:
        report.listing = f"{whose['what'].lower()}_at"
        report.body = report.traced = True
        report.memory.setdefault(report.listing, [])
        return True
    frame = headers.read_frame(text) if report.listing else None
    if frame is None:
        report.listing = ""
        return False
    frames = report.memory[report.listing]
    if frame.offset is not None and len(frames) < MAX_MAPPED_FRAMES:
        frames.append(frame)
    return True


def _is_mail(report: _Report, text: str) -> bool:
    """Whether a line without a stamp is a mail's rather than the rest of the message before it."""
    if headers.MAIL.match(text):
        return True
    before = report.raw[-1] if report.raw else report.header or ""
    short = report.stamped and 0 < len(before) < SHORTEST_WRAPPED_CHARS
    return short and not before.endswith(":") and not may_begin_message(before)


def _locks(report: _Report, text: str) -> bool:
    """Note where lockdep says that the lock was to be taken, before any trace."""
    if report.place is not None or report.header is None or report.kind is not HeaderKind.REPORT:
        return False
    if text.endswith(headers.INLINED) and (report.locked or headers.LOCKED_AT.match(text)):
        return True
    if report.locked:
        report.locked = False
        report.place = headers.read_place(text) or headers.read_frame(text)
        return report.place is not None
    if not headers.LOCKING.match(report.header) or report.traces:
        return False
    match = headers.LOCKED_AT.match(text)
    if match is None:
        return False
    if match["place"] is None:
        report.locked = "is trying to release" in text
        return report.locked
    report.place = headers.read_place(match["place"])
    return True


def _takes_detail(report: _Report, slug: str, text: str, stamped: bool) -> bool:
    """Take in a line after the first one of this class, or the rest of a wrapped one."""
    if may_begin_detail(slug, text):
        report.detail = [text]
        return True
    if not report.detail or stamped or len(report.detail) >= MAX_PIECES or report.body:
        return False
    found = join_detail(slug, report.detail)
    if found is not None and found.complete:
        return False
    if headers.BODY.match(text) or headers.DUMP.match(text):
        return False
    report.detail.append(text)
    return True


def _ends_symbol(report: _Report, text: str) -> bool:
    """Take in the module of the symbol before, where mail or a terminal has put it on a line of its own."""
    if not headers.WRAPPED_MODULE.match(text):
        return False
    if report.frames and not report.traced:
        for glue in (" ", ""):
            frame = headers.read_frame(report.frame_text + glue + text)
            if frame is not None and frame.module is not None:
                report.frames[-1] = frame
                return True
    elif report.place is not None and not report.body and report.place.module is None and text.startswith("["):
        report.place = replace(report.place, module=text[1:].split("]")[0].split(" ")[0])
        return True
    return False
