# SPDX-License-Identifier: GPL-2.0-or-later
"""The first lines of reports, their last ones, and the lines of a backtrace: one row for each way to write them.

All patterns are matched against text without timestamp and surrounding space, and take linear time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

from dmasafe.outcome import Frame


class HeaderKind(Enum):
    """What opened a report, and so what may belong to it."""

    CUT = "cut here"
    MESSAGE = "a message of the class table, its header lost"
    WARNING = "WARNING"
    BUG_AT = "kernel BUG at"
    FAULT = "a fault that an Oops line follows"
    DIE = "Oops"
    PANIC = "panic"
    UBSAN = "UBSAN"
    REPORT = "any report that is complete in itself"
    PART = "a part of SLUB's report, whose first line may be lost"
    HEADLESS = "the middle of a report"


# Reports that end in the death of a task: a panic right after them is their consequence.
FATAL = frozenset({HeaderKind.BUG_AT, HeaderKind.FAULT, HeaderKind.DIE})


@dataclass(frozen=True)
class Header:
    """One row: the kind, its first line, and which report, still without a header of its own, takes it in.

    Named groups ``file``, ``line`` and ``place`` (a symbol) are where the kernel says it happened.
    """

    kind: HeaderKind
    pattern: re.Pattern[str]
    joins: frozenset[HeaderKind] = frozenset()


def _header(kind: HeaderKind, pattern: str, *joins: HeaderKind) -> Header:
    return Header(kind, re.compile(pattern), frozenset(joins))


_AT = r"(?:(?P<file>[^\s:]{1,200}):(?P<line>\d{1,9}) )?"
_PLACE = r"(?P<place>[^\s(),]{1,200}(?:\(\))?(?: \[[^\]\n]{1,120}\])?)"

# What a report has before its own header.
_OPENED = (HeaderKind.CUT, HeaderKind.MESSAGE)

HEADERS = (
    # include/asm-generic/bug.h CUT_HERE; arch/arm/mm/fault.c prints the second form before a fault.
    _header(HeaderKind.CUT, r"-{6,20}\[ cut here \]-{6,20}|8<--- cut here ---", HeaderKind.MESSAGE),
    # kernel/panic.c __warn(): to 6.18 or so; then since; before 3.11 without CPU and PID.
    _header(
        HeaderKind.WARNING,
        r"WARNING: (?:CPU: \d+ )?PID: (?P<pid>\d{1,9}) at " + _AT + _PLACE,
        *_OPENED,
    ),
    _header(
        HeaderKind.WARNING,
        r"WARNING: CPU: \d+ at " + _AT + _PLACE,
        *_OPENED,
    ),
    _header(
        HeaderKind.WARNING,
        r"WARNING: (?:\[[^\]\n]{1,200}\] )?(?:(?P<file>[^\s:]{1,200}):(?P<line>\d{1,9}) )?at "
        + _PLACE
        + r"(?: [^\s:,]{1,200}:\d{1,9})?(?: \[inline\])?, CPU#\d+: "
        r"(?:.{0,64}/(?P<pid>\d{1,9})$)?",
        *_OPENED,
    ),
    # The same, trimmed of CPU and task.
    _header(
        HeaderKind.WARNING,
        r"WARNING: (?P<file>[^\s:]{1,200}):(?P<line>\d{1,9}) at "
        r"(?P<place>[\w.$]{1,200}\+0x[0-9a-f]{1,16}/0x[0-9a-f]{1,16}(?: \[[^\]\n]{1,120}\])?)",
        *_OPENED,
    ),
    _header(
        HeaderKind.WARNING,
        r"WARNING: at (?P<file>[^\s:]{1,200}):(?P<line>\d{1,9}) " + _PLACE,
        *_OPENED,
    ),
    # lib/bug.c __report_bug()
    _header(
        HeaderKind.BUG_AT,
        r"kernel BUG at (?:(?P<file>[^\s:]{1,200}):(?P<line>\d{1,9})!|" + _PLACE + r")",
        *_OPENED,
    ),
    _header(HeaderKind.UBSAN, r"UBSAN: ", HeaderKind.CUT),
    # arch/*/mm/fault.c
    _header(
        HeaderKind.FAULT,
        r"BUG: (?:[Uu]nable to handle|(?:[Kk]ernel|user) NULL pointer|(?:TASK |IRQ )?stack guard page)"
        r"|(?:CPU \d+ )?Unable to handle kernel |Unhandled fault: |[Kk]ernel attempted to ",
        HeaderKind.CUT,
        HeaderKind.FAULT,  # powerpc prints two such lines
    ),
    # arch/*/kernel/{dumpstack,traps}.c; x86 has had "Oops: " in front of the trap's name since 6.10.
    _header(
        HeaderKind.DIE,
        r"(?:Oops|Internal error|Kernel BUG|Kernel bug detected)\b[^\n]{0,300}?\[#\d+\]"
        r"|[a-z][\w ,./()-]{2,120}: [0-9a-f]{4} \[#\d+\]",
        HeaderKind.CUT,
        HeaderKind.BUG_AT,
        HeaderKind.FAULT,
    ),
    _header(HeaderKind.PANIC, r"Kernel panic - not syncing"),
    # KASAN, KCSAN, KMSAN, KFENCE, slab and page checks, scheduling while atomic, soft lockups, ...
    _header(
        HeaderKind.REPORT,
        r"(?:(?:NMI )?watchdog: )?BUG: \S|BUG \S{1,80} \([^)\n]{1,80}\): |\[ BUG: "
        r"|(?:NMI )?watchdog: (?:CPU\d+: )?Watchdog detected hard LOCKUP"
        r"|\[? ?INFO: (?:possible |inconsistent lock state|suspicious RCU usage|[A-Z_]{4,12}-(?:safe|READ-safe|W) -> )"
        r"|INFO: trying to register non-static key|PANIC: double fault|unreferenced object 0x[0-9a-f]"
        r"|WARNING: (?:possible |suspicious |inconsistent lock state|bad |held lock freed|[Nn]ested lock was not taken"
        r"|lock held |[A-Z]{4,9}-(?:safe|READ-safe) -> |\S+/\d+ still has locks held)"
        r"|INFO: task [^\n]{1,60}? (?:(?:is )?blocked |can't die )"
        r"|(?:rcu: )?INFO: (?:rcu\w*|RCU) (?:self-)?detected ",
    ),
    # mm/slub.c print_track(), print_page_info(), before 5.13 or so with INFO: in front.
    _header(
        HeaderKind.PART, r"INFO: (?:Slab 0x|Object 0x|(?:Allocated|Freed) in |0x[0-9a-f]{4,16}-0x[0-9a-f]{4,16}\b)"
    ),
)

END = re.compile(r"-{3}\[ end (?:trace|Kernel panic)")
# kernel/dma/debug.c dump_entry_trace(); without "DMA-API: " before 5.0.
MAPPED_AT = re.compile(r"(?:DMA-API: )?Mapped at:\s*$")
# images/strict/ says that too.
UNMAPPED_AT = re.compile(r"Unmapped at:\s*$")
TRACE = re.compile(r"Call [Tt]race:|Backtrace:|backtrace(?: \(crc [0-9a-f]{1,8}\))?:|Stack [Tt]race:|stack backtrace:")
# A stack before the report's own trace that tells more than that: where a page came from (mm/page_owner.c
# __dump_page_owner()), where a lock was taken in an interrupt (kernel/locking/lockdep.c print_bad_irq_dependency()).
ORIGIN = re.compile(r"page last allocated via |\.\.\. which became \S+ at:")
# mm/kasan/report.c, mm/kfence/report.c: whose memory it was.
MEMORY_OF = re.compile(r"(?P<what>[Aa]llocated|[Ff]reed) by task \d{1,9}\b")
# What crash databases end a line with whose function was inlined into that of the next such line.
INLINED = " [inline]"
# Where it happened, from the registers: x86 (before 4.10 with addresses), arm64, arm, riscv, mips, powerpc.
PROGRAM_COUNTER = re.compile(
    r"(?:[ER]?IP:? (?:is at )?(?:[0-9a-f]{4}: ?)?(?:\[<[0-9a-f]{1,16}>\] {0,4}){0,2}"
    r"|pc : (?:\[<[0-9a-f]{1,16}>\] {0,4})?|PC is at |epc {0,3}: (?:[0-9a-f]{8,16} )?"
    r"|NIP \[[0-9a-f]+\] )(?P<place>[^\s:\[][^\n]{0,200})"
)
# kernel/locking/lockdep.c print_lock(): where a lock was to be taken, and the reports in which the first one counts
# (of an order of locks, where no stack tells which of them an interrupt takes).
LOCKED_AT = re.compile(r"[^\n]{0,400}?\bat:(?: (?:\[<[0-9a-f]{1,16}>\] )?(?P<place>[A-Za-z_$.][^\n]{0,200}))?$")
LOCKING = re.compile(
    r"[^\n]{0,40}(?:possible (?:circular|recursive|irq lock)|inconsistent lock state|-(?:safe|W) -> |held lock freed"
    r"|ha[sv]e? locks held|lock held when|bad unlock balance|[Nn]ested lock)"
)
# What x86 prints before a frame where stacks meet, until 4.10 on the frame's own line.
STACK_MARK = re.compile(r"<(?:/?(?:TASK|IRQ|EOI|NMI|SOFTIRQ|UNK|ENTRY\w{0,20}|#DF|#DB|#MC))>\s*")
# Registers, modules and the like: the middle of a report whose beginning is lost.
MIDDLE = re.compile(r"Modules linked in:|(?:CPU: \d+ )(?:UID: \d+ )?PID: \d+ Comm: |RIP: [0-9a-f]{4}:\S|Call [Tt]race:")
# The end of the lines between a WARNING's header and its registers, where arm and mips print the message.
BODY = re.compile(
    r"Modules linked in:|CPU: \d+ |Hardware name:|Call [Tt]race:|Backtrace:|pc : |PC is at |E?RIP: |EIP: |Tainted: "
    r"|epc {0,3}: |NIP |Code: |Workqueue: |Stack ?: "
)
# A mail's own lines: trailers, quoting, headers.
MAIL = re.compile(
    r"[A-Z][a-z]+(?:-[a-z]+)*-(?:by|of|to|id): |(?:Link|Cc|Fixes|Closes|From|To|Subject|Date): "
    r"|On .{1,200} wrote:$|-- ?$"
)
# Who prints: the third line or so of every report.
TASK = re.compile(r"(?:CPU: \d+ )(?:UID: \d+ )?PID: (?P<pid>\d{1,9}) Comm: ")
# A WARNING header whose place is on the next line: mail and narrow terminals wrap it.
WRAPPED_HEADER = re.compile(r"WARNING: (?:CPU: \d|at \S|[^\s/]{1,100}/)|kernel BUG at(?:$| [^!]{0,200}$)")
# The functions that a row of the class table names as the source of its message.
FUNCTION = re.compile(r"(\w+)\(\)")
# The module of the symbol at the end of the line before.
WRAPPED_MODULE = re.compile(r"\[?[\w-]{1,64}(?: [0-9a-f]{8,64})?\]$")
# Registers and memory dumps, which can be hundreds of lines long (arm's "Stack:").
DUMP = re.compile(r"(?:[0-9a-f]{4,16}|GPR\d\d|[A-Za-z]\w{1,3})\s?: {0,2}[0-9a-f]{4,16}\b")

# A line that can change anything while no report is open holds one of these; many lines that hold one change nothing.
# ESC stands for the colon where "dmesg --color" has coloured the words before it (print_record() of util-linux).
ANCHORS = (
    "cut here",
    "WARNING: ",
    "WARNING\x1b",
    "WARNING  ",
    "WARNING :",
    "BUG: ",
    "BUG\x1b",
    "BUG ",
    # Where mail has wrapped the line.
    "WARNING:\n",
    "WARNING:\r",
    "BUG:\n",
    "BUG:\r",
    "DMA-API",
    "rejecting ",
    "sg segment",
    "cacheline tracking",
    "swiotlb buffer is full",
    "swiotlb: coherent",
    "SWIOTLB buffer earlier",
    "SW-IOMMU space",
    "Invalid sizes (",
    "Access before mapping",
    "unreferenced object",
    "apped at:",
    "double fault",
    "Oops",
    *(f"[#{digit}" for digit in range(10)),
    "nable to handle",
    "Unhandled fault",
    "ernel attempted",
    "Kernel panic",
    "UBSAN: ",
    "UBSAN\x1b",
    "INFO: possible ",
    "INFO: inconsistent ",
    "INFO: suspicious ",
    "INFO: trying to register",
    "INFO: task ",
    "INFO: rcu",
    "INFO: RCU",
    "INFO: Slab ",
    "INFO: Object ",
    "INFO: Allocated ",
    "INFO: Freed ",
    "INFO: 0x",
    "INFO\x1b",
    "INFO  ",
    "afe -> ",
    "LOCKUP",
    "overflow ",
    "is on stack",
    "dma capable",
    "end trace",
    "end Kernel panic",
    "Modules linked in:",
    "Modules linked in\x1b",
    "Comm: ",
    "RIP: ",
    "RIP\x1b",
    "all Trace:",
    "all trace:",
    # How mails say that what follows is not the text itself (lines.py).
    "quoted-printable",
    "QUOTED-PRINTABLE",
    "ncoding: base64",
    "ncoding: BASE64",
    "ncoding: 7bit",
    "ncoding: 8bit",
    "multipart/alternative",
    "text/html",
)

_SYMBOL = r"(?P<function>[A-Za-z_$.][\w$.]{0,199})\+0x(?P<offset>[0-9a-f]{1,16})/0x(?P<size>[0-9a-f]{1,16})"
# "[mod]"; "[mod <build id>]" under CONFIG_STACKTRACE_BUILD_ID; taint flags of arm64 and others: "(P)".
_AFTER = r"(?:\(\))?(?: \[(?P<module>[\w-]{1,64})(?: [0-9a-f]{8,64})?\])?"
SYMBOL = re.compile(_SYMBOL + _AFTER)

_ADDRESSES = r"(?:\[<?[0-9a-fx]{1,18}>?\] ?){0,2}\s*"
# The common shape, with and without "[<address>]": x86, arm64, riscv, mips, powerpc, "Mapped at:".
_FRAME = re.compile(_ADDRESSES + r"(?P<doubt>\? )?\(?" + SYMBOL.pattern + r"\)?(?P<rest>[^\n]{0,200})$")
# arm: "[<addr>] (dump_stack) from [<addr>] (__warn+0xe8/0x118)"; since 5.19 "dump_stack from __warn+0xe8/0x118".
_FRAME_FROM = re.compile(
    r"(?:\[<[0-9a-f]{8}>\] )?\(?[A-Za-z_$.][^\s()]{0,259}(?: \[[\w-]{1,64}\])?\)? from "
    r"(?:\[<[0-9a-f]{8}>\] )?\(?" + SYMBOL.pattern
)
# What tools make of a frame. scripts/decode_stacktrace.sh: "? fn (a.h:12 b.c:34 (discriminator 2)) mod", the inlined
# calls first. syzkaller: "fn+0x1/0x2 b.c:34", and "fn a.h:12 [inline]" for an inlined call of its own.
_PLACED = re.compile(
    _ADDRESSES + r"(?P<doubt>\? )?(?P<function>[A-Za-z_$.][\w$.]{0,199}) "
    r"\((?P<places>(?:[^\s:()]{1,200}:\d{1,9}|\?\?:\?)[^\n]{0,800})\)"
    r"(?: \[?(?P<module>[\w-]{1,64})(?: [0-9a-f]{8,64})?\]?)?$"
)
_INLINE = re.compile(
    r"(?P<doubt>\? )?(?P<function>[A-Za-z_$.][\w$.]{0,199}) (?P<file>[^\s:]{1,200}\.\w):(?P<line>\d{1,9}) \[inline\]$"
)
_SOURCE = re.compile(r"([^\s:()]{1,200}\.\w):(\d{1,9})")
# Folders at the top of a kernel tree: those whose names hardly stand above one, and the others.
_TELLING_FOLDER = re.compile(r"(?:^|/)((?:arch|drivers|include)/.*)")
_FOLDER = re.compile(
    r"(?:^|.*/)((?:block|certs|crypto|fs|init|io_uring|ipc|kernel|lib|mm|net|rust|samples|security|sound|virt)/.*)"
)
# Cheap to look for: a line of a trace without any of these is no frame.
_FRAME_MARKS = ("+0x", " (", "[inline]")


def in_tree(file: str) -> str:
    """The path of a source file in the kernel's tree, where the kernel was built outside of it (``make O=``)."""
    if not file.startswith((".", "/")):
        return file
    match = _TELLING_FOLDER.search(file) or _FOLDER.match(file)
    return match[1] if match else file


def read_place(text: str) -> Frame | None:
    """The symbol that a header or a program counter names, as a frame; None for a bare address."""
    match = SYMBOL.match(text)
    return _frame(match, True) if match else read_frame(text)


# Traces of one run go through the same functions again and again.
@lru_cache(maxsize=1024)
def read_frame(text: str) -> Frame | None:
    """One line of a backtrace (surrounding space removed); None if it is something else."""
    if not any(mark in text for mark in _FRAME_MARKS):
        return None
    if text.startswith("<"):
        text = STACK_MARK.sub("", text, count=1)
    match = _FRAME_FROM.match(text)
    if match is not None:
        return _frame(match, True)
    match = _FRAME.match(text)
    if match is not None:
        frame = _frame(match, match["doubt"] is None and "(unreliable)" not in match["rest"])
        source = _SOURCE.match(match["rest"].strip())
        return replace(frame, file=source[1], line=int(source[2])) if source else frame
    match = _PLACED.match(text)
    if match is not None:
        sources = _SOURCE.findall(match["places"])
        file, line = sources[-1] if sources else (None, 0)
        return Frame(
            match["function"],
            module=match["module"],
            reliable=match["doubt"] is None,
            file=file,
            line=int(line) if file else None,
        )
    match = _INLINE.match(text)
    if match is not None:
        return Frame(match["function"], reliable=match["doubt"] is None, file=match["file"], line=int(match["line"]))
    return None


def _frame(match: re.Match[str], reliable: bool) -> Frame:
    return Frame(
        function=match["function"],
        offset=int(match["offset"], 16),
        size=int(match["size"], 16),
        module=match["module"],
        reliable=reliable,
    )
