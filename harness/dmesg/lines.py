# SPDX-License-Identifier: GPL-2.0-or-later
"""From a line of some log to the kernel's own text: what consoles, dmesg and log daemons put around it goes.

Each way to write a prefix is one row of PREFIXES.
"""

from __future__ import annotations

import re

from harness.dmesg.kmsg import parse_record

_COLOURS = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")

# The dictionary of a /dev/kmsg record: no text of the kernel's log.
_DICTIONARY = re.compile(r" (?:SUBSYSTEM|DEVICE)=")

# A line longer than this is not the kernel's (LOG_LINE_MAX is 1024, a record's text at most 4 times that escaped).
LONGEST_LINE_CHARS = 16384

# Tried in order, each at most once. A group named "caller" is CONFIG_PRINTK_CALLER's task or processor.
PREFIXES = (
    # syslog, journalctl -o short and -o short-iso
    re.compile(
        r"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d[T ][\d:.,+-]{8,24}Z?) \S{1,80} kernel(?:\[\d+\])?: ?"
    ),
    # the raw console's level: loglevel prefixes of /proc/kmsg and "dmesg -r"
    re.compile(r"<\d{1,3}>"),
    # dmesg -T
    re.compile(r"\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\] ?"),
    # CONFIG_PRINTK_TIME, kernel/printk/printk.c print_time()
    re.compile(r"\[ {0,8}\d{1,12}\.\d{1,9}\] ?"),
    # CONFIG_PRINTK_CALLER, print_caller()
    re.compile(r"\[ {0,12}(?P<caller>[TC]\d{1,10})\] ?"),
)


def read_line(line: str) -> list[tuple[str, str]]:
    """The kernel's text in one line of a log, as (caller, text), without surrounding space.

    One line of a log is one line of text, but for a /dev/kmsg record, whose text may hold several.
    """
    line = line[:LONGEST_LINE_CHARS]
    if "\x1b" in line:
        line = _COLOURS.sub("", line)
    if _DICTIONARY.match(line):
        return []
    line = line.strip()
    if line[:1].isdigit():
        record = parse_record(line)
        if record is not None:
            return [(record.caller, part.strip()) for part in record.text.splitlines()]
    caller = ""
    for prefix in PREFIXES:
        match = prefix.match(line)
        if match is not None:
            line = line[match.end() :]
            caller = match.groupdict().get("caller") or caller
    return [(caller, line.strip())]
