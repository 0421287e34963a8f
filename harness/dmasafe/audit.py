# SPDX-License-Identifier: GPL-2.0-or-later
"""What dmasafe_audit.ko saw, and what it means: a record of I2C messages in, findings out.

The record is the module's lines of JSON (docs/audit.md). Nothing in it is trusted: what is not as it must be is an
AuditError, and what the module itself could not see is a reason not to trust the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from dmasafe.errors import DmasafeError
from dmasafe.outcome import Frame, Splat

FORMAT = 1
# From here on a copy costs more than the flag: what upstream's drivers give i2c_get_dma_safe_msg_buf() is 8 to 64.
DEFAULT_BOUNCE_BYTES = 64
#: The tracepoints without which there is no audit.
MESSAGE_POINTS = ("i2c_write", "i2c_read", "i2c_result")
_MAP_POINTS = ("dma_map_page", "dma_map_phys")
_FRAME = re.compile(
    r"(?P<function>[^\s+]{1,128})\+0x(?P<offset>[0-9a-f]{1,16})/0x(?P<size>[0-9a-f]{1,16})"
    r"(?: \[(?P<module>[^\s\]]{1,64})[^\]]*\])?"
)
_MAX_FRAMES = 10
_MAX_TEXT = 512


class AuditError(DmasafeError):
    """An audit that cannot be made, or a record that cannot be read."""


class Dma(StrEnum):
    """Whether DMA may touch memory of a class. UNKNOWN: the class alone does not say."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    UNKNOWN = "unknown"
    NOTHING = "nothing"


@dataclass(frozen=True)
class MemoryClass:
    """What the module can tell of a buffer, in words."""

    dma: Dma
    what: str


#: As in images/audit/audit_memory.c.
MEMORY_CLASSES: Mapping[str, MemoryClass] = {
    "slab": MemoryClass(Dma.SAFE, "kmalloc() or kmem_cache_alloc() memory"),
    "pages": MemoryClass(Dma.SAFE, "whole pages (or large kmalloc() memory)"),
    "stack": MemoryClass(Dma.UNSAFE, "the stack of the calling task"),
    "other-stack": MemoryClass(Dma.UNSAFE, "the stack of another task"),
    "vmalloc": MemoryClass(Dma.UNSAFE, "vmalloc() memory (or percpu or coherent memory mapped there)"),
    "percpu": MemoryClass(Dma.UNSAFE, "percpu memory"),
    "kmap": MemoryClass(Dma.UNSAFE, "a kmap() address"),
    "fixmap": MemoryClass(Dma.UNSAFE, "a fixed mapping (kmap_local_page())"),
    "module": MemoryClass(Dma.UNSAFE, "a module's memory"),
    "module-text": MemoryClass(Dma.UNSAFE, "a module's code"),
    "module-rodata": MemoryClass(Dma.UNSAFE, "a module's read-only data"),
    "module-data": MemoryClass(Dma.UNSAFE, "a module's static data"),
    "image": MemoryClass(Dma.UNSAFE, "vmlinux's memory"),
    "text": MemoryClass(Dma.UNSAFE, "vmlinux's code"),
    "rodata": MemoryClass(Dma.UNSAFE, "vmlinux's read-only data"),
    "data": MemoryClass(Dma.UNSAFE, "vmlinux's static data"),
    "user": MemoryClass(Dma.UNSAFE, "a user space address"),
    "reserved": MemoryClass(Dma.UNKNOWN, "reserved memory"),
    "unknown": MemoryClass(Dma.UNKNOWN, "memory of no known kind"),
    "none": MemoryClass(Dma.NOTHING, "no buffer (no length)"),
}


class Level(StrEnum):
    """How bad a finding is, in SARIF's words. A note is no reason to fail."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Rule:
    """A kind of finding. ``at_caller``: the caller must correct it, else the controller's driver."""

    at_caller: bool
    short: str
    text: str
    fix: str


FLAGGED_UNSAFE = "flagged-unsafe"
MAPS_UNFLAGGED = "maps-unflagged"
KNOWN_TO_MAP = "known-to-map"
SHARED_LINE = "shared-line"
NEEDLESS_BOUNCE = "needless-bounce"

RULES: Mapping[str, Rule] = {
    FLAGGED_UNSAFE: Rule(
        True,
        "A message is marked I2C_M_DMA_SAFE, and its buffer is not",
        "I2C_M_DMA_SAFE promises memory that DMA may touch. A controller driver that does DMA believes it, and sends "
        "its device to an address that is not the buffer's.",
        "Take the buffer from kmalloc(), or leave the mark out (i2c_master_send() instead of its _dmasafe sibling).",
    ),
    MAPS_UNFLAGGED: Rule(
        False,
        "A controller driver maps the buffer of a message that is not marked I2C_M_DMA_SAFE",
        "Without the mark nobody promises that DMA may touch the buffer: callers have it on the stack, and may. The "
        "audit saw the buffer itself mapped for DMA during the transfer.",
        "Use i2c_get_dma_safe_msg_buf() and i2c_put_dma_safe_msg_buf(), or DMA for marked messages only.",
    ),
    KNOWN_TO_MAP: Rule(
        False,
        "An unsafe buffer goes to a controller driver that is known to use DMA whatever the mark says",
        "That driver hands msg->buf to DMA without asking for I2C_M_DMA_SAFE in this version of the kernel.",
        "Use i2c_get_dma_safe_msg_buf() in the controller driver; until then, only safe buffers work with it.",
    ),
    SHARED_LINE: Rule(
        True,
        "A marked buffer shares its first cache line with other data of the same object",
        "Where DMA is not coherent with the caches, a read loses what the CPU meanwhile wrote to the rest of that "
        "line, or the bytes just read. A buffer inside a struct is the usual cause.",
        "Allocate the buffer by itself, or align it in its struct: __aligned(ARCH_DMA_MINALIGN), behind all else.",
    ),
    NEEDLESS_BOUNCE: Rule(
        True,
        "A long message in safe memory is not marked I2C_M_DMA_SAFE",
        "A controller driver that does DMA copies it once more, although DMA could have its buffer.",
        "Mark the message, or call i2c_master_send_dmasafe() or i2c_master_recv_dmasafe().",
    ),
}


@dataclass(frozen=True)
class Trusting:
    """A controller driver that is known, from its source, to do DMA with unmarked messages.

    ``adapter`` is what its adapters' names begin with; not every one of them has a parent to tell the driver by.
    """

    adapter: str
    driver: str
    min_bytes: int
    until: tuple[int, int]
    why: str


#: Read in 5.10, 6.1, 6.12 and 7.2; ``until`` is the first of these versions that no longer does it.
TRUSTING = (
    Trusting("OSIF at bus ", "i2c-robotfuzz-osif", 1, (99, 0), "it hands msg->buf to usb_control_msg()"),
    Trusting("STM32F7 I2C(", "i2c-stm32f7", 0x16, (6, 12), "with DMA channels it maps msg->buf from 22 bytes on"),
)


@dataclass(frozen=True)
class MessageKind:
    """All messages that are alike to the module, with their numbers. Lengths in bytes.

    ``mapped``: how many had their own buffer mapped for DMA. ``before`` and ``after``: how many shared their first or
    last cache line with other bytes of the same object. ``object_size`` is None where it is not known; it and
    ``offset`` are the first message's. ``frames`` begins with the first outside the I2C core; ``caller`` is the index
    of the one that the messages are booked under.
    """

    adapter: int
    adapter_name: str
    adapter_driver: str
    address: int
    ten_bit: bool
    read: bool
    dma_safe: bool
    recv_len: bool
    memory_class: str
    count: int
    min_bytes: int
    max_bytes: int
    mapped: int = 0
    before: int = 0
    after: int = 0
    alignment: int = 0
    object_size: int | None = None
    offset: int = 0
    cache: str | None = None
    symbol: str | None = None
    task: str = ""
    client: str | None = None
    client_driver: str | None = None
    frames: tuple[Frame, ...] = ()
    caller: int = 0

    @property
    def memory(self) -> MemoryClass:
        return MEMORY_CLASSES[self.memory_class]

    @property
    def blamed(self) -> Frame | None:
        """The caller: the innermost frame of a driver, None if the stack could not be read."""
        return self.frames[self.caller] if self.frames else None

    @property
    def identity(self) -> tuple[object, ...]:
        """What two records of the same kernel have in common for the same kind of message."""
        at = self.blamed
        caller = None if at is None else (at.function, at.offset, at.module)
        return (
            self.adapter, self.adapter_name, self.address, self.ten_bit, self.read, self.dma_safe, self.recv_len,
            self.memory_class, caller,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """See docs/audit.md."""
        return {**self.__dict__, "frames": [frame.to_json() for frame in self.frames]}


@dataclass(frozen=True)
class Record:
    """One reading of the module's table. ``line`` is the cache line that sharing is judged by, in bytes."""

    kinds: tuple[MessageKind, ...]
    line: int
    dma_alignment: int
    points: frozenset[str]
    messages: int
    transfers: int
    failed: int
    lost: int
    unmapped: int
    callers: bool
    image: bool
    objects: bool
    check: str = ""
    incomplete: tuple[str, ...] = ()

    @property
    def sees_mappings(self) -> bool:
        """Whether it would have been noticed that a buffer was mapped for DMA."""
        return any(point in self.points for point in _MAP_POINTS)


@dataclass(frozen=True)
class AuditFinding:
    """One thing that is wrong with one kind of message; ``also`` are more kinds of the same caller's and memory."""

    rule: str
    level: Level
    kind: MessageKind
    why: str
    also: tuple[MessageKind, ...] = ()

    @property
    def kinds(self) -> tuple[MessageKind, ...]:
        return (self.kind, *self.also)

    def tells(self, splat: Splat) -> bool:
        """Whether a report of the kernel's is of the same bug: its trace goes through the caller at fault."""
        at = self.kind.blamed
        return at is not None and any((at.function, at.module) == (f.function, f.module) for f in splat.frames)


@dataclass(frozen=True)
class Judgement:
    """An audit's end: what was found, why it cannot be trusted (if so), and what it could not see.

    ``void``: what it found cannot be trusted either. Otherwise an error that was found outweighs what was missed.
    """

    findings: tuple[AuditFinding, ...]
    distrust: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    void: bool = False

    def status(self, strict: bool = False, splats: Sequence[Splat] = ()) -> int:
        """0 nothing found, 1 something (with ``strict`` a note too), 2 it cannot be trusted.

        ``splats`` are the kernel's own reports, each as good as an error.
        """
        error = bool(splats) or any(finding.level is Level.ERROR for finding in self.findings)
        if self.void or (self.distrust and not error):
            return 2
        return int(error or any(strict or finding.level is not Level.NOTE for finding in self.findings))


# ---- the record


def parse(text: str) -> Record:
    """The module's lines as a record. Raises AuditError for anything but those."""
    lines = [_object(line) for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or lines[0].get("audit") != FORMAT:
        raise AuditError("the audit's record is not one: it has no head; is dmasafe_audit.ko another version's?")
    head, *rows, end = lines
    if end.get("end") != len(rows) or _number(head, "rows") != len(rows):
        raise AuditError(f"the audit's record is cut short: {len(rows)} rows came of {head.get('rows')!s:.20}")
    points = head.get("points")
    if not isinstance(points, list):
        raise AuditError("the audit's record does not say what was watched")
    return Record(
        kinds=tuple(_kind(row) for row in rows),
        line=_number(head, "line"),
        dma_alignment=_number(head, "dma_alignment"),
        points=frozenset(str(point)[:_MAX_TEXT] for point in points),
        messages=_number(head, "messages"),
        transfers=_number(head, "transfers"),
        failed=_number(head, "failed"),
        lost=_number(head, "lost"),
        unmapped=_number(head, "unmapped"),
        callers=bool(_number(head, "callers")),
        image=bool(_number(head, "image")),
        objects=bool(_number(head, "objects")),
        check=_text(head, "check") or "",
    )


def merge(records: Sequence[Record], incomplete: Iterable[str] = ()) -> Record:
    """Several boots of one kernel as one record. Raises AuditError if there is none."""
    if not records:
        raise AuditError("nothing was recorded")
    kinds: dict[tuple[object, ...], MessageKind] = {}
    for record in records:
        for kind in record.kinds:
            known = kinds.get(kind.identity)
            kinds[kind.identity] = kind if known is None else _sum(known, kind)
    first = records[0]
    return replace(
        first,
        kinds=tuple(kinds.values()),
        points=frozenset.intersection(*(record.points for record in records)),
        messages=sum(record.messages for record in records),
        transfers=sum(record.transfers for record in records),
        failed=sum(record.failed for record in records),
        lost=sum(record.lost for record in records),
        unmapped=sum(record.unmapped for record in records),
        check=next((record.check for record in records if record.check), ""),
        incomplete=(*(why for record in records for why in record.incomplete), *incomplete),
    )


def _sum(one: MessageKind, other: MessageKind) -> MessageKind:
    return replace(
        one,
        count=one.count + other.count,
        min_bytes=min(one.min_bytes, other.min_bytes),
        max_bytes=max(one.max_bytes, other.max_bytes),
        mapped=one.mapped + other.mapped,
        before=one.before + other.before,
        after=one.after + other.after,
        alignment=min(one.alignment, other.alignment),
    )


def _object(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise AuditError(f"the audit's record has a line that is no JSON object: {line[:80]!a}")
    return found


def _number(row: Mapping[str, Any], key: str) -> int:
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise AuditError(f"the audit's record has no number for '{key}'")
    return value


def _text(row: Mapping[str, Any], key: str) -> str | None:
    """Bytes of the kernel's travel as one code point each."""
    value = row.get(key)
    if not isinstance(value, str):
        return None
    return value[:_MAX_TEXT].encode("latin-1", "replace").decode(errors="replace")


def _kind(row: Mapping[str, Any]) -> MessageKind:
    memory_class = _text(row, "class") or ""
    if memory_class not in MEMORY_CLASSES:
        raise AuditError(f"the audit's record has memory of a class that nobody knows: {memory_class[:40]!a}")
    texts = [text for number in range(_MAX_FRAMES) if (text := _text(row, f"frame{number}")) is not None]
    frames = tuple(_frame(text) for text in texts)
    caller = _number(row, "caller")
    return MessageKind(
        adapter=_number(row, "adapter"),
        adapter_name=_text(row, "adapter_name") or "",
        adapter_driver=_text(row, "adapter_driver") or "",
        address=_number(row, "address"),
        ten_bit=bool(_number(row, "ten")),
        read=bool(_number(row, "rd")),
        dma_safe=bool(_number(row, "dma_safe")),
        recv_len=bool(_number(row, "recv_len")),
        memory_class=memory_class,
        count=_number(row, "count"),
        min_bytes=_number(row, "min"),
        max_bytes=_number(row, "max"),
        mapped=_number(row, "mapped"),
        before=_number(row, "before"),
        after=_number(row, "after"),
        alignment=_number(row, "alignment"),
        object_size=_number(row, "object") or None,
        offset=_number(row, "offset"),
        cache=_text(row, "cache"),
        symbol=_object_name(row),
        task=_text(row, "task") or "",
        client=_text(row, "client"),
        client_driver=_text(row, "client_driver"),
        frames=frames,
        caller=caller if caller < len(frames) else 0,
    )


def _object_name(row: Mapping[str, Any]) -> str | None:
    """The static object that holds the buffer. Its size, before 6.4, is nonsense for a module's last one."""
    text = _text(row, "symbol")
    return None if text is None else re.sub(r"/0x[0-9a-f]+", "", text)


def _frame(text: str) -> Frame:
    """``fn+0x1/0x2 [module]``; an address that kallsyms did not know stays as it is."""
    match = _FRAME.fullmatch(text)
    if match is None:
        return Frame(text)
    return Frame(match["function"], int(match["offset"], 16), int(match["size"], 16), match["module"])


# ---- the judgement


def judge(record: Record, release: str, bounce_bytes: int = DEFAULT_BOUNCE_BYTES) -> Judgement:
    """Compare every kind of message with the rules. ``release`` is uname -r of the audited kernel."""
    version = _version(release)
    findings = [
        finding for kind in record.kinds for finding in _findings(kind, record.dma_alignment, version, bounce_bytes)
    ]
    worst = {Level.ERROR: 0, Level.WARNING: 1, Level.NOTE: 2}
    findings.sort(key=lambda finding: worst[finding.level])
    void = bool(record.check) or _miscounted(record)
    return Judgement(tuple(_once(findings)), tuple(_distrust(record)), tuple(_notes(record)), void)


def _once(findings: Iterable[AuditFinding]) -> Iterator[AuditFinding]:
    """One finding for all messages that one function sent from memory of one class: one bug."""
    bugs: dict[tuple[object, ...], list[AuditFinding]] = {}
    for number, finding in enumerate(findings):
        kind, at = finding.kind, finding.kind.blamed
        whose = number if at is None else (at.function, at.module)
        bugs.setdefault((finding.rule, whose, kind.memory_class, kind.symbol, kind.adapter), []).append(finding)
    for first, *others in bugs.values():
        yield replace(first, also=tuple(other.kind for other in others))


def _miscounted(record: Record) -> bool:
    return sum(kind.count for kind in record.kinds) + record.lost != record.messages


def _findings(
    kind: MessageKind, dma_alignment: int, version: tuple[int, int], bounce_bytes: int
) -> Iterator[AuditFinding]:
    if kind.dma_safe and kind.memory.dma is Dma.UNSAFE:
        mapped = f"; {kind.mapped} of {kind.count} were mapped for DMA" if kind.mapped else ""
        yield AuditFinding(
            FLAGGED_UNSAFE, Level.ERROR, kind, f"marked I2C_M_DMA_SAFE, but it is {kind.memory.what}{mapped}"
        )
    if kind.mapped and not kind.dma_safe:
        why = f"{kind.mapped} of {kind.count} unmarked messages had their own buffer mapped: {kind.memory.what}"
        yield AuditFinding(MAPS_UNFLAGGED, Level.ERROR, kind, why)
    elif not kind.dma_safe and kind.memory.dma is Dma.UNSAFE:
        yield from _known_to_map(kind, version)
    if kind.dma_safe and kind.memory.dma is Dma.SAFE and kind.before:
        level = Level.ERROR if dma_alignment > 1 else Level.NOTE
        where = f"{kind.offset} bytes into an object of {kind.object_size}" if kind.object_size else "inside its page"
        here = "" if dma_alignment > 1 else "; harmless on this machine, where DMA is coherent"
        yield AuditFinding(SHARED_LINE, level, kind, f"it begins {where}, not at a cache line{here}")
    if not kind.dma_safe and kind.memory.dma is Dma.SAFE and kind.max_bytes >= bounce_bytes:
        why = f"{kind.max_bytes} bytes in {kind.memory.what}, but not marked: copied where there is DMA"
        yield AuditFinding(NEEDLESS_BOUNCE, Level.NOTE, kind, why)


def _known_to_map(kind: MessageKind, version: tuple[int, int]) -> Iterator[AuditFinding]:
    for row in TRUSTING:
        if kind.adapter_name.startswith(row.adapter) and kind.max_bytes >= row.min_bytes and version < row.until:
            yield AuditFinding(KNOWN_TO_MAP, Level.WARNING, kind, f"{kind.memory.what} goes to {row.driver}: {row.why}")


def _version(release: str) -> tuple[int, int]:
    match = re.match(r"(\d{1,4})\.(\d{1,4})", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _distrust(record: Record) -> Iterator[str]:
    """Why nothing can be concluded from what was not found."""
    missing = [point for point in MESSAGE_POINTS if point not in record.points]
    if missing:
        yield f"this kernel has no tracepoint {', '.join(missing)}: it takes CONFIG_TRACEPOINTS, as with CONFIG_FTRACE"
    if record.check:
        yield f"the classification of memory does not hold on this kernel: {record.check}"
    if record.lost:
        yield f"{record.lost} of {record.messages} messages found no room in the table: load it with more rows (--rows)"
    unknown = sum(kind.count for kind in record.kinds if kind.dma_safe and kind.memory.dma is Dma.UNKNOWN)
    if unknown:
        yield f"{unknown} marked messages are in memory of which cannot be told whether DMA may touch it"
    if _miscounted(record):
        counted = sum(kind.count for kind in record.kinds)
        yield f"the module counted {record.messages} messages, its table has {counted}"
    if not record.messages and not missing:
        yield "no I2C message was sent: nothing was audited"
    yield from record.incomplete


def _notes(record: Record) -> Iterator[str]:
    """What the audit could not see, without which it is still worth something."""
    if not record.sees_mappings:
        yield (
            "this kernel has no tracepoints for DMA mappings (they came with 6.12): that a controller driver maps "
            "unmarked messages is not seen"
        )
    elif record.unmapped:
        yield f"of {record.unmapped} messages it was not seen whether they were mapped for DMA"
    if not record.callers:
        yield "this kernel cannot name callers: it takes CONFIG_STACKTRACE and CONFIG_KALLSYMS"
    if not record.objects:
        yield "slab objects' sizes are not asked for (slub_debug, KASAN, no SLUB): buffers in structs go unseen"
    if not record.image:
        yield "vmlinux's sections are not known (CONFIG_KALLSYMS_ALL): its data may be called reserved or image"
