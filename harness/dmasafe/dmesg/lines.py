# SPDX-License-Identifier: GPL-2.0-or-later
"""From a line of some log to the kernel's own text: what consoles, dmesg, log daemons and CI put around it goes.

Each way to write a prefix is one row of PREFIXES; each way to wrap a line in JSON is one key of _MESSAGE_KEYS.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import NamedTuple

from dmasafe.dmesg.kmsg import caller_and_text

# A line longer than this is not the kernel's (LOG_LINE_MAX is 1024, a record's text at most 4 times that escaped).
LONGEST_LINE_CHARS = 16384
# A log in one string of JSON is one line; no more of it is kept.
LONGEST_LINE_BYTES = 1 << 20
# A progress bar and a kernel line can share what the terminal took for one line.
MAX_PARTS = 16


class Line(NamedTuple):
    """One line of the kernel's text, without surrounding space.

    ``caller`` is the task (``T35``) or processor (``C1``) that printed it, "" if the log does not say. ``stamped`` is
    False if nothing in the log says that a line of the kernel's begins here: it may be the rest of a wrapped one.
    """

    caller: str
    text: str
    stamped: bool = True


@dataclass(frozen=True)
class Prefix:
    """One way to begin a line. A group ``caller`` is CONFIG_PRINTK_CALLER's; ``stamps``: see Line.stamped."""

    what: str
    pattern: re.Pattern[str]
    stamps: bool = True


def _prefix(what: str, pattern: str, stamps: bool = True) -> Prefix:
    return Prefix(what, re.compile(pattern), stamps)


# journalctl and dmesg write days and months in the user's language: jul 28, M\u00e4r 13, 28 d\u00e9c., 11\u6708 28.
_WORD = r"[^\s\[\]:<>|(){}\"'=,;]"
_MONTH_DAY = rf"(?:[^\W\d_]{_WORD}{{1,8}} [ \d]\d|\d{{1,2}}\.? {_WORD}{{2,9}}|\d{{1,2}}\u6708 [ \d]\d)"
_CLOCK = r"\d\d:\d\d:\d\d"
_DATE = r"\d{4}-\d\d-\d\d"

# Tried in order, each at most once: from what was put around the line last to what the kernel printed first.
PREFIXES = (
    _prefix("markdown and mail quotes", r"(?:[>|] ?){1,20}", stamps=False),
    _prefix("gh run view --log: job, step", r"[^\t\n]{1,120}\t[^\t\n]{1,120}\t\ufeff?(?=\d{4}-)", stamps=False),
    _prefix(
        "syslog and journalctl: short, short-precise, short-iso, short-full, short-unix, short-monotonic, RFC 3339",
        rf"(?:<\d{{1,3}}>)?(?:{_MONTH_DAY} {_CLOCK}(?:\.\d{{1,9}})?|{_DATE}[T ][\d:.,+-]{{8,24}}Z?"
        rf"|{_WORD}{{2,9}} {_DATE} {_CLOCK}(?:\.\d{{1,9}})? [A-Z+\d-]{{1,6}}|\d{{9,11}}\.\d{{1,9}}"
        r"|\[ {0,8}\d{1,12}\.\d{1,9}\]) \S{1,80} kernel(?:\[\d+\])?: ?",
    ),
    _prefix(
        "RFC 5424",
        rf"(?:<\d{{1,3}}>)?1 {_DATE}T\S{{8,30}} \S{{1,255}} kernel \S{{1,128}} \S{{1,32}} "
        r"(?:-|(?:\[[^\]]{0,300}\]){1,8}) ?\ufeff?",
    ),
    _prefix(
        "Android logcat: threadtime, brief, time",
        rf"(?:(?:\d{{4}}-)?\d\d-\d\d {_CLOCK}\.\d{{3,9}} {{1,8}}(?:[a-z]\w{{0,11}} {{1,8}})?\d{{1,7}} {{1,8}}\d{{1,7}} "
        rf"[VDIWEF] |(?:\d\d-\d\d {_CLOCK}\.\d{{3,9}} )?[VDIWEF]/(?:kernel)? {{0,8}}\( {{0,6}}\d{{1,7}}\): )"
        r"(?:(?:kernel)? {0,12}: )?",
    ),
    _prefix("dmesg --time-format iso", rf"{_DATE}T{_CLOCK},\d{{1,9}}(?:Z|[+-]\d\d:?\d\d) ?"),
    # GitLab appends a stream's number and letter, and + for a line that continues.
    _prefix(
        "GitHub and GitLab runners, KernelCI, LAVA, docker: RFC 3339",
        rf"\[?{_DATE}T{_CLOCK}(?:\.\d{{1,9}})?(?:Z|[+-]\d\d:?\d\d)?\]? {{0,4}}(?:\d\d[OE][+ ])?",
        stamps=False,
    ),
    _prefix(
        "terminals and loggers of serial lines: host's date or time",
        rf"\[{_DATE}[ T]{_CLOCK}(?:[.,]\d{{1,9}})?\] ?|\[?{_CLOCK}(?:\.\d{{1,9}})?\]? {{1,4}}|{_MONTH_DAY} {_CLOCK} ",
        stamps=False,
    ),
    _prefix(
        "dmesg -x: facility and level",
        r"(?:kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|res\d|local\d) {0,6}:"
        r"(?:emerg|alert|crit|err|warn|notice|info|debug) {0,3}: ?",
    ),
    _prefix("the level: /proc/kmsg, dmesg -r, a raw console", r"<\d{1,3}>"),
    _prefix("dmesg -T", rf"\[{_WORD}{{1,9}} {_MONTH_DAY} {_CLOCK} \d{{4}}\] ?"),
    _prefix("dmesg -e", r"\[(?:[^\W\d_]{2,5}\.?[ \d]\d \d\d:\d\d| {1,6}\+\d{1,6}\.\d{1,9})\] ?"),
    _prefix("dmesg -d, grabserial", r"\[(?: {0,8}\d{1,12}\.\d{1,9})? {0,4}<? {0,8}\d{1,9}\.\d{1,9}>?\] ?"),
    _prefix("CONFIG_PRINTK_TIME: kernel/printk/printk.c print_time()", r"\[ {0,8}\d{1,12}\.\d{1,9}\] ?"),
    _prefix("CONFIG_PRINTK_CALLER: print_caller()", r"\[ {0,12}(?P<caller>[TC]\d{1,10})\] ?"),
)

_LEVEL = next(prefix for prefix in PREFIXES if prefix.what.startswith("the level"))

# Terminal control: CSI, OSC, character sets, single letters; then every other control character but tab and CR.
_CONTROL = re.compile(
    r"\x1b(?:\[[0-9;?]{0,20}[ -/]?[@-~]|\][^\x07\x1b\r\n]{0,200}(?:\x07|\x1b\\)|[()][A-Z0-9]|[78=>cDEHMZ])"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]"
)
# The commonest prefix, where no other can follow: most lines need no more than this one pattern.
_PLAIN_STAMP = re.compile(r"\[ {0,4}\d{1,6}\.\d{6}\] (?=[^\[<{\"'\d])")
MAX_HOST_CHARS = 100
# A kernel line that starts where a prompt, a program or another kernel line had not finished its own.
INNER_STAMP = re.compile(r"(?:<\d{1,3}>)?\[ {0,5}\d{1,6}\.\d{6}\]")
_INNER_MARK = re.compile(r"-{3,20}\[ (?:cut here|end trace)")

# The dictionary of a /dev/kmsg record: no text of the kernel's log.
DICTIONARY = re.compile(r" (?:SUBSYSTEM|DEVICE)=")

# "msg": dmesg --json and LAVA; "MESSAGE": journalctl -o json; "log": docker. Both LAVA quotings.
_MESSAGE_KEYS = re.compile(r"(?:(?<![\\\w])\"(?:msg|MESSAGE|message|log)\"\s{0,8}:|[{,] msg:)\s{0,8}(?=[\"'\[])")
_JSON_LINE = re.compile(r"(?:- )?[{\[]|\"(?:msg|MESSAGE|message|log)\"\s{0,8}:")
# The other lines that dmesg --json prints for a record, and what stands between records.
_JSON_REST = re.compile(r"\"(?!msg\"|MESSAGE\"|message\"|log\")[\w.@-]{1,60}\"\s{0,8}:|[\[\]{},]{1,8}$")
_TRANSPORT = re.compile(r"(?<!\\)\"_TRANSPORT\"\s{0,8}:\s{0,8}\"(?!kernel\")")
# What LAVA says itself; the device's words are "target" and "feedback".
_LAVA_LEVEL = re.compile(r"[\"{ ]lvl\"?: (?!\"?(?:target|feedback))")
_SINGLE_QUOTED = re.compile(r"'((?:[^']|'')*)'?")
_DECODER = json.JSONDecoder(strict=False)


def decoded(line: bytes) -> str:
    """The characters of a line that are looked at."""
    return line[:LONGEST_LINE_BYTES].decode("utf-8", "replace")


def read_line(line: str, marks: bool = True) -> list[Line]:
    """The kernel's text in one line of a log: mostly one line; none if there is none, several if they share it.

    ``marks`` says whether what stands before "cut here" or "end trace" is thrown away, whatever it is.
    """
    line = line[:LONGEST_LINE_CHARS]
    if DICTIONARY.match(line):
        return []
    parts = [line] if line.isprintable() else _CONTROL.sub("", line).split("\r", MAX_PARTS)
    return [text for part in parts if (bare := part.strip()) for text in _read_part(bare, 1, marks)]


def record_lines(text: str) -> list[Line] | None:
    """The kernel's text in one record as /dev/kmsg has it; None if it is no such record."""
    found = caller_and_text(text)
    if found is None:
        return None
    caller, said = found
    if said.isprintable():
        return [Line(caller, said.strip())] if said else []
    return [Line(caller, part.strip()) for part in _CONTROL.sub("", said).splitlines()]


def without_controls(line: str) -> list[str]:
    """The lines in a line of a log that a terminal shows, without what it does not show."""
    return [part.rstrip() for part in _CONTROL.sub("", line).rstrip("\r\n").split("\r", MAX_PARTS)]


class Stripped(NamedTuple):
    """A line without its known prefixes: see Line; ``own`` says that one of them was more than a level."""

    caller: str
    text: str
    stamped: bool
    own: bool


def plain_text(text: str) -> str | None:
    """What follows the kernel's own stamp, where that is the only prefix of PREFIXES; None if it may not be."""
    plain = _PLAIN_STAMP.match(text)
    return text[plain.end() :] if plain is not None and " kernel" not in text[:MAX_HOST_CHARS] else None


def strip_prefixes(text: str) -> Stripped:
    """Take off what PREFIXES know."""
    plain = plain_text(text)
    if plain is not None:
        return Stripped("", plain, True, True)
    caller, stamped, own = "", False, False
    for prefix in PREFIXES:
        match = prefix.pattern.match(text)
        if match is None:
            continue
        # "[" and "<" alone would be taken for a line of JSON or of text: the rest decides.
        text = text[match.end() :]
        caller = match.groupdict().get("caller") or caller
        stamped = stamped or prefix.stamps
        own = own or (prefix.stamps and prefix is not _LEVEL)
    return Stripped(caller, text, stamped, own)


def _read_part(text: str, nesting: int, marks: bool) -> list[Line]:
    """What is between two carriage returns; ``nesting`` is how many layers of JSON may still be around it."""
    caller, text, stamped, own = strip_prefixes(text)
    if text[:1].isdigit():
        lines = record_lines(text)
        if lines is not None:
            return lines
    if nesting and not stamped:
        if _JSON_LINE.match(text):
            found = _read_json(text)
            if found is not None:
                return [inner._replace(stamped=True) for part in found for inner in _read_part(part.strip(), 0, marks)]
        if _JSON_REST.match(text):
            return []
    return _split(caller, text.strip(), stamped, own, marks)


def _split(caller: str, text: str, stamped: bool, own: bool, marks: bool) -> list[Line]:
    """Several lines that share one: each stamp begins one, and what no stamp precedes is not the kernel's."""
    if "[" not in text:
        return [Line(caller, text, stamped)]
    stamp = INNER_STAMP.search(text)
    if stamp is not None:
        starts = [match.start() for match in INNER_STAMP.finditer(text)][:MAX_PARTS]
        head = [Line(caller, text[: starts[0]].strip())] if own and starts[0] else []
        ends = [*starts[1:], len(text)]
        return head + [_stamped(text[start:end]) for start, end in zip(starts, ends, strict=True)]
    mark = _INNER_MARK.search(text) if marks else None
    if mark is not None and mark.start():
        text = text[mark.start() :]
    return [Line(caller, text, stamped)]


def _stamped(text: str) -> Line:
    caller = ""
    for prefix in PREFIXES[-3:]:
        match = prefix.pattern.match(text)
        if match is not None:
            text = text[match.end() :]
            caller = match.groupdict().get("caller") or caller
    return Line(caller, text.strip())


def _read_json(text: str) -> list[str] | None:
    """The text of one record of JSON (or LAVA's YAML) on one line, by lines; None if it is no such record."""
    key = _MESSAGE_KEYS.search(text)
    if key is None:
        return None
    if _TRANSPORT.search(text) or _LAVA_LEVEL.search(text, 0, key.start()):
        return []
    value: object
    if text[key.end()] == "'":
        quoted = _SINGLE_QUOTED.match(text, key.end())
        value = quoted[1].replace("''", "'") if quoted else ""
    else:
        try:
            value, _ = _DECODER.raw_decode(text, key.end())
        except (ValueError, RecursionError):  # cut, or no JSON after all: as much as there is
            value = text[key.end() + 1 :]
    if isinstance(value, list):  # journald: bytes that are not all printable
        value = bytes(byte for byte in value if isinstance(byte, int) and 0 <= byte < 256).decode("utf-8", "replace")
    return _CONTROL.sub("", str(value)).splitlines()
