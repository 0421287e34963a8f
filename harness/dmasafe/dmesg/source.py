# SPDX-License-Identifier: GPL-2.0-or-later
"""One log's own ways: what this source puts around the kernel's text, learnt from the lines whose beginning is known.

lines.py knows the prefixes that many logs have. Where one begins in none of them, the kernel's words (BEGINS) are
found, and the shape of what stands before them is this log's prefix: from then on it is taken off every line.
"""

from __future__ import annotations

import binascii
import html
import json
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ahocorasick_rs import AhoCorasick

from dmasafe.dmesg import headers
from dmasafe.dmesg.anchors import may_matter
from dmasafe.dmesg.kmsg import HEADER
from dmasafe.dmesg.lines import (
    DICTIONARY,
    INNER_STAMP,
    LONGEST_LINE_BYTES,
    LONGEST_LINE_CHARS,
    Line,
    decoded,
    plain_text,
    read_line,
    strip_prefixes,
)
from dmasafe.dmesg.unpack import PackedError, Unpacker
from dmasafe.dmesg.wrapped import Unwrapper, told

# So many prefixes one log may have (a loader's, a daemon's, a console's); an older one is forgotten.
MAX_SHAPES = 8
LONGEST_PREFIX_CHARS = 300
MAX_NOTES = 16
# Base64 is decoded in pieces of at least so many characters.
BASE64_CHARS = 1 << 16
# A line that goes on in the next one is joined with so many at the most.
MAX_JOINED = 8
# Quoted-printable breaks lines at 76 characters, and no mailer breaks them much earlier.
QP_LINE_CHARS = range(60, 77)
# A log in one string of JSON: so many lines of it.
MAX_ESCAPED_LINES = 20_000
# LOG_LINE_MAX of kernel/printk/printk.c: what is longer does not go on.
LONGEST_TAIL_CHARS = 1024

# What the kernel begins lines of reports with; nothing else does.
BEGINS = re.compile(
    r"-{3,20}\[ (?:cut here|end trace|end Kernel panic)|8<--- cut here"
    r"|[\w.-]{1,40} [^\s:]{0,30}(?:[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.\d|\d[^\s:]{0,20})(?::\d\.\d)?"
    r": DMA-API: (?:device driver|mapping sg|cpu touching|exceeded|cacheline)"
    r"|DMA-API: |WARNING: (?:CPU: \d|PID: \d|at \S+:\d|[^\s:]{1,200}:\d+ at |possible |suspicious |inconsistent )"
    r"|BUG: (?:KASAN|KMSAN|KCSAN|KFENCE|unable|kernel NULL|sleeping|spinlock|soft lockup|workqueue|memory leak"
    r"|using |scheduling|Bad )|kernel BUG at |UBSAN: |Unable to handle kernel |Internal error: |Oops: "
    r"|Kernel panic - not|general protection fault|divide error: |INFO: (?:task |rcu|possible |trying )"
    r"|(?:rcu|watchdog): (?:INFO|BUG): "
    r"|Modules linked in:|CPU: \d+ (?:UID: \d+ )?PID: \d+ |Hardware name: |[ER]IP: [0-9a-f]{4}:|Call [Tt]race:"
    r"|DMA: Out of SW-IOMMU"
)
# Cheap to look for: a line without any of these is no such beginning.
_MAY_BEGIN = (
    "[ ", "cut here", "DMA-API", "WARNING", "BUG", "UBSAN", "Unable to", "Internal error", "Oops", "Kernel panic",
    "general protection", "divide error", "INFO: ", "Modules linked", "PID: ", "Hardware name", "IP: ", "Call ",
    "DMA: Out",
)  # fmt: skip
# What a prefix, an encoding or a mail is told by.
_ODD = AhoCorasick(
    (*_MAY_BEGIN, *'=&<\\"', " :", "[0", "[ ", *(f"[{n}" for n in range(1, 10)), "ncoding", "multipart", "text/")
)
# Only these are sure to be no sentence's.
_SURE = re.compile(r"-{3,20}\[ (?:cut here \]-{3}|end trace [0-9a-f]{16} \]-{3})")
# What a clock, a process or a level looks like before a line.
_STAMP = re.compile(r"\d[:.,]\d|[\[(<{][^\])>}]{0,80}[\])>}]|[=|\t]|\d[\"',;]")
# What syslog puts before another program's words.
_PROGRAM = re.compile(r"(?<![\w.-])(?!kernel\[)[A-Za-z][\w./-]{0,40}\[\d{1,8}\]:\s*$")
_WORDS = re.compile(r"[^\W\d_]{2,}")
# A prefix of more words than a date, a host and a program is a sentence.
_MAX_WORDS = 6
_TOKENS = re.compile(
    r"\[[^\]\n]{0,120}\]|\([^)\n]{0,120}\)|<[^>\n]{0,120}>|\s+|\b(?:[A-Z]|emerg|alert|crit|err|error|warn|warning|notice|info"
    r"|debug)\b|\w+|."
)
_FULLER = str.maketrans(
    {
        "\u00a0": " ",
        "\u2002": " ",
        "\u2003": " ",
        "\u2009": " ",
        "\u202f": " ",
        "\u3000": " ",
        "\u2018": "'",
        "\u2019": "'",
        "\u201a": "'",
        "\u02bc": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u2010": "-",
        "\u2011": "-",
        "\u2012": "-",
        "\u2013": "--",
        "\u2014": "---",
        "\u2212": "-",
        "\u2026": "...",
        "\u200b": None,
        "\u200e": None,
        "\u2060": None,
        "\u00ad": None,
        "\ufeff": None,
    }
)
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|nbsp|ldquo|rdquo|lsquo|rsquo|ndash|mdash|#\d{1,6}|#x[0-9a-fA-F]{1,6});")
_TAG = re.compile(r"</?(?:br|p|pre|span|div|td|tr|li|ul|ol|code|font|b|i|u|a|tt|h\d)(?:\s[^<>]{0,300}|\s?/)?>")
_MARKED = re.compile(r"(-{1,24})\[ ?(cut here|end (?:trace|Kernel panic)[^\]]{0,120}) ?\](-{1,24})")
_QP = re.compile(r"(?:=[0-9A-F]{2})+")
_QP_MARK = re.compile(r"=3D|=20$|=E2=80")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{1,998}={0,2}$")
_QP_HEADER = re.compile(r"Content-Transfer-Encoding:\s{0,8}(\S{1,20})", re.IGNORECASE)
_ESCAPED_LINE = re.compile(r"(?:\\+r)?\\+n|(?:\\+u000d)?\\+u000a")
# A line that ends within a string, and one that begins or ends within it: where a terminal has wrapped the string.
_OPEN_STRING = re.compile(r"\"\s{0,8}:\s{0,8}\"(?=(?:[^\"\\]|\\.)*\\?$)")
_ESCAPED_STAMP = re.compile(r"\\n(?=(?:<\d{1,3}>)?\[(?:$| {0,8}\d))")
_ESCAPES = re.compile(r"\\+(u[0-9a-fA-F]{4}|[\"'/t\\])")
_ESCAPED = {"t": "\t", "\\": "\\"}
# journalctl -o export and verbose: FIELD=value.
_FIELD = re.compile(r"(_{0,2}[A-Z][A-Z0-9_]{1,60})=(.*)")
_JOURNAL_STAMP = re.compile(r"\S{2,12} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S* \S{1,8} \[s=")
# logcat's tag is the kernel's text up to its colon, filled up to eight characters.
_TAGGED = re.compile(r"([A-Z][\w -]{1,40}?) {1,8}: ?")
_KEY = re.compile(r"\"([^\"\\]{1,60})\"\s{0,8}:\s{0,8}\"")
_QUOTES = "\"'`"


class _Shape(NamedTuple):
    """An inferred prefix; the quote that it ends with, if any; whether it stands after a known one.

    ``telling`` is False if it can also stand in the middle of a line, as a quote can.
    """

    pattern: re.Pattern[str]
    quote: str
    stamped: bool
    telling: bool


class Source:
    """Reads one log's lines. ``notes`` says how it was read where that was inferred, in sentences, once each.

    ``waiting`` says whether no report is open, so that most lines of a part in base64 can be passed over.
    """

    def __init__(self, waiting: Callable[[], bool] = lambda: False) -> None:
        self._waiting = waiting
        self.notes: dict[str, None] = {}
        self._shapes: list[_Shape] = []
        # The beginning of a line in a string that a terminal has wrapped.
        self._tail: str | None = None
        self._number = 0
        self._keys: list[str] = []
        self._before = ""
        self._fields = False
        self._quoted_printable = False
        # The beginning of a line that goes on: number, text, how many lines it has.
        self._held: tuple[int, str, int] | None = None
        self._open: tuple[int, Line, int] | None = None
        # Of a mail: a part in base64, whether the same text comes as HTML too, whether that is passed over.
        self._part: _Part | None = None
        self._alternative = False
        self._passing = False
        self._unwrapper = Unwrapper(self._begins, self.note)

    @property
    def idle(self) -> bool:
        """Whether no line waits for its other half, and no part of a mail is being read."""
        return (
            self._unwrapper.idle
            and self._held is None
            and self._open is None
            and self._tail is None
            and self._part is None
            and not self._passing
        )

    def read(self, number: int, raw: bytes | str, matters: bool = True) -> Iterator[tuple[int, Line]]:
        """The kernel's text in one line of the log, with the number of the line where it begins.

        A line comes out when the next one has come. ``matters`` is False if it is of no interest but as the rest of
        the line before.
        """
        line = decoded(raw) if isinstance(raw, bytes) else raw
        line = line[:LONGEST_LINE_BYTES].rstrip("\r\n")
        if self._part is not None and self._unwrapper.idle:
            yield from self._read(number, line)
            return
        for begun, whole in self._unwrapper.take(number, line, matters):
            text = plain_text(whole)
            if text is not None and self._part is None and self._is_plain(text):
                yield begun, Line("", text.strip())
            else:
                yield from self._read(begun, whole)

    def flush(self) -> Iterator[tuple[int, Line]]:
        """The line that may go on, where no more come for a while."""
        for begun, whole in self._unwrapper.flush():
            yield from self._read(begun, whole)

    def _begins(self, line: str) -> bool:
        """Whether a line begins as this log's lines do, so that it is not the rest of the one before."""
        if plain_text(line) is not None:
            return True
        rest = strip_prefixes(line)
        text = rest.text.lstrip()
        if (
            self._tail is not None
            or rest.stamped
            or text[:1] == "{"
            or INNER_STAMP.search(line, 0, LONGEST_PREFIX_CHARS)
        ):
            return True
        if HEADER.match(text) or DICTIONARY.match(line):
            return True
        if (text[:1] == '"' and _KEY.match(text)) or text.startswith(("- {", "[{")):
            return True
        if (match := _FIELD.match(text)) is not None and (self._fields or match[1] == "MESSAGE"):
            return True
        return any(shape.telling and shape.pattern.match(rest.text) for shape in self._shapes)

    def _read(self, number: int, line: str) -> Iterator[tuple[int, Line]]:
        self._number = number
        if self._part is not None:
            yield from self._part.take(number, line)
            if not self._part.over:
                return
            self._part = None
        if self._mail(line):
            return
        if self._held is not None:
            number, held, count = self._held
            self._held = None
            line = held + line
        else:
            count = 1
        if line.endswith("=") and count < MAX_JOINED and self._breaks(line, count):
            self._held = (number, line[:-1], count + 1)
            return
        for text in self._plain(line):
            for part in self._lines(text):
                yield from self._joined(number, part)

    def _is_plain(self, text: str) -> bool:
        """Whether nothing of what follows here can change what stands after the kernel's own stamp: most is such."""
        waits = self._held or self._open or self._part or self._passing or self._tail is not None
        if waits or self._shapes or self._keys or self._fields or self._quoted_printable:
            return False
        return text.isascii() and text.isprintable() and not _ODD.find_matches_as_indexes(text)

    def close(self) -> Iterator[tuple[int, Line]]:
        """The line that still waits."""
        yield from self.flush()
        if self._part is not None:
            yield from self._part.close(0)
            self._part = None
        if self._held is not None:
            number, held, _ = self._held
            self._held = None
            for part in self._lines(held):
                yield number, part
        for part in self._tail_over():
            yield self._number, part
        if self._open is not None:
            number, line, _ = self._open
            self._open = None
            yield number, line

    def note(self, text: str) -> None:
        if len(self.notes) < MAX_NOTES:
            self.notes.setdefault(text)

    def _mail(self, line: str) -> bool:
        """Note what a mail says of the part that comes; True for a line of a part that is another one as HTML."""
        if self._passing:
            self._passing = not line.startswith(("--", "From "))
            return self._passing
        if "ncoding:" in line and (header := _QP_HEADER.search(line)) is not None:
            coding = header[1].lower()
            self._quoted_printable = coding == "quoted-printable"
            if coding == "base64":
                self.note("base64")
                self._part = _Part(self.note, self._waiting)
        if "multipart/alternative" in line:
            self._alternative = True
        elif self._alternative and "text/html" in line and line.lower().startswith("content-type:"):
            self._alternative, self._passing, self._part = False, True, None
        return False

    def _breaks(self, line: str, count: int) -> bool:
        """Whether the line is one of quoted-printable that goes on."""
        if not self._quoted_printable and (len(line) not in QP_LINE_CHARS and count == 1):
            return False
        self.note("quoted-printable")
        self._quoted_printable = True
        return True

    def _joined(self, number: int, line: Line) -> Iterator[tuple[int, Line]]:
        """Put lines together that end in a backslash."""
        count = 1
        if self._open is not None:
            number, held, count = self._open
            self._open = None
            line = Line(held.caller or line.caller, f"{held.text} {line.text}", held.stamped)
        if line.text.endswith("\\") and count < MAX_JOINED:
            self.note("lines that end in a backslash joined")
            self._open = (number, line._replace(text=line.text[:-1].rstrip()), count + 1)
            return
        yield number, line

    def _plain(self, line: str) -> list[str]:
        """The line without mail's, browsers' and word processors' ways to write characters."""
        if "=" in line and (self._quoted_printable or _QP_MARK.search(line)):
            self._quoted_printable = True
            self.note("quoted-printable")
            line = _QP.sub(_unquoted, line)
        if "&" in line and _ENTITY.search(line):
            self.note("HTML entities")
            line = html.unescape(html.unescape(line) if "&amp;" in line else line)
        if "<" in line and _TAG.search(line):
            self.note("HTML tags taken out")
            line = _TAG.sub("", line)
        if not line.isascii():
            line = line.translate(_FULLER)
        if "[" in line and ("cut here" in line or "end trace" in line):
            line = _MARKED.sub(r"------------[ \2 ]---", line) if _MARKED.search(line) else line
            line = line.replace("------------[ end", "---[ end").replace("[ cut here ]---", "[ cut here ]------------")
        return [line]

    def _lines(self, line: str) -> list[Line]:
        if self._tail is not None or "\\" in line:
            found = self._string_goes_on(line)
            if found is not None:
                return found
            if self._tail is not None:
                return [*self._tail_over(), *self._lines(line)]
        field = self._field(line)
        if field is not None:
            return [Line("", text.strip()) for text in field]
        if self._keys or '"' in line:
            found = self._record(line)
            if found is not None:
                return found
        if "\\" in line and len(pieces := _ESCAPED_LINE.split(line, maxsplit=MAX_ESCAPED_LINES)) > 2:
            self.note("line ends that were escaped")
            return [part for piece in pieces for part in self._strip(_ESCAPES.sub(_unescaped, piece))]
        return self._strip(line)

    def _string_goes_on(self, line: str) -> list[Line] | None:
        """The lines in a string that a terminal has wrapped, but for the last, which goes on; None if it is none."""
        if self._tail is None:
            begin = _OPEN_STRING.search(line) if line.lstrip().startswith("{") else None
            if "\\n" not in line or not (_ESCAPED_STAMP.search(line) or begin):
                return None
            if begin is None and '"' in line.replace('\\"', ""):
                return None  # a string that also ends here
            self.note("line ends that were escaped")
            line = line[begin.end() :] if begin is not None else line
        elif line.lstrip().startswith("{") or not line.strip() or len(self._tail) > LONGEST_TAIL_CHARS:
            return None
        else:
            line = max((f"{self._tail}{glue}{line}" for glue in (" ", "")), key=_first_told)
        *whole, self._tail = _ESCAPED_LINE.split(line, maxsplit=MAX_ESCAPED_LINES)
        return [part for piece in whole for part in self._strip(_ESCAPES.sub(_unescaped, piece))]

    def _tail_over(self) -> list[Line]:
        """The last line of a wrapped string."""
        tail, self._tail = self._tail, None
        return self._strip(_ESCAPES.sub(_unescaped, tail)) if tail else []

    def _field(self, line: str) -> list[str] | None:
        """The text of a line of journalctl -o export or verbose; None if it is none."""
        text = line.strip()
        match = _FIELD.match(text)
        if match is not None and (self._fields or match[1] == "MESSAGE"):
            if match[1] != "MESSAGE":
                return []
            if not self._fields:
                self.note("journal: MESSAGE=")
            self._fields = True
            return [match[2]]
        if self._fields:
            if not text or _JOURNAL_STAMP.match(text):
                return []
            self._fields = False
        return None

    def _record(self, line: str) -> list[Line] | None:
        """The text in a record of JSON whose key for it is this log's own."""
        for key in self._keys:
            at = line.find(f'"{key}"')
            match = _KEY.match(line, at) if at >= 0 else None
            if match is not None:
                return self._string(line, match.end())
        begin = BEGINS.search(line, 0, LONGEST_LINE_CHARS)
        if begin is None:
            return None
        found = None
        for key_match in _KEY.finditer(line, 0, begin.start()):
            found = key_match
        if found is None or found[1] in ("msg", "MESSAGE", "message", "log"):
            return None
        if '"' in line[found.end() : begin.start()].replace('\\"', ""):
            return None
        self.note(f"JSON: the text is in {found[1]!r}")
        self._keys = [found[1], *self._keys][:MAX_SHAPES]
        return self._string(line, found.end())

    def _string(self, line: str, start: int) -> list[Line]:
        end = start
        while (end := line.find('"', end)) > 0 and line[end - 1] == "\\":
            end += 1
        text = line[start : end if end >= 0 else len(line)]
        try:
            value = str(json.loads(f'"{text}"', strict=False))
        except ValueError:
            value = _ESCAPES.sub(_unescaped, _ESCAPED_LINE.sub("\n", text))
        return [part._replace(stamped=True) for piece in value.splitlines() for part in self._strip(piece)]

    def _strip(self, text: str) -> list[Line]:
        """The lines in a text without any prefix, known or inferred."""
        return [part for line in read_line(text, marks=False) for part in self._inferred(line)]

    def _inferred(self, line: Line) -> list[Line]:
        text = line.text
        may_begin = any(word in text for word in _MAY_BEGIN)
        if not may_begin and not self._shapes and " :" not in text:
            return [line]
        if headers.read_frame(text) is not None:
            return [line]
        begin = BEGINS.search(text, 0, LONGEST_PREFIX_CHARS) if may_begin else None
        limit = begin.start() if begin is not None else len(text)
        if limit == 0:
            return [line]
        for shape in self._shapes:
            match = shape.pattern.match(text) if line.stamped or not shape.stamped else None
            if match is not None and match.end() <= limit:
                return _rest(line, text[match.end() :], shape.quote)
        tagged = _TAGGED.match(text)
        if tagged is not None:
            narrow = f"{tagged[1]}: {text[tagged.end() :]}"
            if BEGINS.match(narrow) or (headers.TRACE.match(narrow) or headers.MAPPED_AT.match(narrow)):
                return [line._replace(text=narrow.strip())]
        if begin is None:
            return [line]
        before = text[:limit]
        found = _shape(before)
        known = found == self._before
        self._before = found
        if not (known or _SURE.match(text, limit) or _is_prefix(before)):
            return [line]
        quote = before.rstrip()[-1:]
        self.note(f"prefix inferred: {before!r}")
        telling = not line.stamped and any(char.isalnum() for char in before)
        self._shapes = [_Shape(re.compile(found), quote, line.stamped, telling), *self._shapes[: MAX_SHAPES - 2]]
        if _STAMP.search(before):
            loose = re.compile(_shape(before, loose=True))
            self._shapes.append(_Shape(loose, quote, line.stamped, telling))
        return _rest(line, text[limit:], quote)


class _Part:
    """A part of a mail in base64: a log of its own, perhaps compressed. ``over`` once a line is not base64."""

    def __init__(self, note: Callable[[str], None], waiting: Callable[[], bool]) -> None:
        self.over = False
        self._body = False
        self._waiting = waiting
        self._source = Source(waiting)
        self._unpacker = Unpacker(note)
        self._rest = b""
        self._letters: list[str] = []
        self._size = 0

    def take(self, number: int, line: str) -> Iterator[tuple[int, Line]]:
        text = line.strip()
        if not self._body:
            # Its other headers, up to an empty line; a boundary says that nothing comes.
            self._body, self.over = not text, text.startswith("--")
            return
        if not _BASE64.match(text):
            self.over = bool(text)
            yield from self.close(number)
            return
        self._letters.append(text)
        self._size += len(text)
        if self._size >= BASE64_CHARS:
            yield from self._decoded(number)

    def close(self, number: int) -> Iterator[tuple[int, Line]]:
        yield from self._decoded(number)
        self.over = True
        for piece in self._unpacker.close():
            yield from self._lines(number, piece)
        yield from self._lines(number, b"\n")
        yield from self._source.close()

    def _decoded(self, number: int) -> Iterator[tuple[int, Line]]:
        letters = "".join(self._letters)
        whole = len(letters) & ~3
        self._letters, self._size = [letters[whole:]], len(letters) - whole
        try:
            for piece in self._unpacker.take(binascii.a2b_base64(letters[:whole])):
                yield from self._lines(number, piece)
        except (binascii.Error, PackedError):
            self.over = True

    def _lines(self, number: int, data: bytes) -> Iterator[tuple[int, Line]]:
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole, self._rest = self._rest + line, b""
            matters = not self._waiting() or may_matter(whole[:LONGEST_LINE_BYTES])
            if matters or not self._source.idle:
                for _, part in self._source.read(number, whole, matters):
                    yield number, part
        self._rest += rest[: LONGEST_LINE_BYTES - len(self._rest)]


def _is_prefix(before: str) -> bool:
    """Whether the text before the kernel's words is what programs put there, and no sentence."""
    if headers.SYMBOL.search(before) or _PROGRAM.search(before):
        return False
    return _STAMP.search(before) is not None and len(_WORDS.findall(before)) <= _MAX_WORDS


def _shape(before: str, loose: bool = False) -> str:
    """A pattern for prefixes like this one: other numbers, levels and what is in brackets; ``loose``, other words."""
    parts: list[str] = []
    for token in _TOKENS.findall(before[-LONGEST_PREFIX_CHARS:]):
        if token[0] in "[(<" and len(token) > 2:
            close = token[-1]
            parts.append(re.escape(token[0]) + rf"[^{re.escape(close)}\n]{{0,120}}" + re.escape(close))
        elif token.isspace():
            parts.append(r"\s+")
        elif token.isdigit():
            parts.append(r"\d+")
        elif any(c.isdigit() for c in token):
            parts.append(r"\w+")
        elif len(token) == 1 and token.isupper():
            parts.append("[A-Z]")
        elif token in ("emerg", "alert", "crit", "err", "error", "warn", "warning", "notice", "info", "debug"):
            parts.append("[a-z]+")
        elif loose and token.isalpha():
            parts.append(r"[^\W\d_]+")
        else:
            parts.append(re.escape(token))
    if parts and parts[-1] == r"\s+":
        parts[-1] = r"(?:\s+|$)"
    return "".join(parts)


def _rest(line: Line, text: str, quote: str) -> list[Line]:
    """What is left of a line: up to the closing quote, if there was an opening one."""
    if quote and quote in _QUOTES and quote in text:
        text = text[: text.rindex(quote)].replace(quote * 2, quote)
    return [part._replace(caller=part.caller or line.caller, stamped=True) for part in read_line(text)]


def _first_told(line: str) -> int:
    return told(_ESCAPED_LINE.split(line, maxsplit=1)[0])


def _unquoted(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("=", "")).decode("utf-8", "replace")


def _unescaped(match: re.Match[str]) -> str:
    name = match[1]
    return chr(int(name[1:], 16)) if name[0] == "u" and len(name) == 5 else _ESCAPED.get(name, name)
