# SPDX-License-Identifier: GPL-2.0-or-later
"""What arrives at sinks, judged: rules, levels, and the way of each buffer. The rules' names are the audit's.

Level error is for what is certain: one path, and no other memory on it. All else is a warning or a note.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dmasafe.audit import FLAGGED_UNSAFE, MAPS_UNFLAGGED, NEEDLESS_BOUNCE, RULES, SHARED_LINE, Level, Rule
from dmasafe.check.facts import Member, StructType
from dmasafe.check.flow import Arrival, Key, Origin, Program
from dmasafe.check.sinks import BREAKS, DEPENDS, SAFE, STATE, UNSAFE, Sink, words

HANDED_OVER = "unsafe-buffer-handed-over"
CACHE_LINE, LARGEST_LINE = 64, 128
_POINTER_BYTES = 8

CHECK_RULES: Mapping[str, Rule] = {
    HANDED_OVER: Rule(
        True,
        "A buffer that DMA must not touch goes to a function that demands a DMA-safe one",
        "SPI, USB, SDIO, scatterlists and dma_map_single() take memory of the linear map that shares no cache line "
        "with anything else. Variables on the stack, static variables and vmalloc() memory are none.",
        "Use kmalloc() memory, a member that is aligned for DMA, or a call that copies.",
    ),
    FLAGGED_UNSAFE: RULES[FLAGGED_UNSAFE],
    MAPS_UNFLAGGED: RULES[MAPS_UNFLAGGED],
    SHARED_LINE: RULES[SHARED_LINE],
    NEEDLESS_BOUNCE: RULES[NEEDLESS_BOUNCE],
}

#: What no device writes.
_PROCESSOR = words("bool int spinlock_t raw_spinlock_t")
#: Kinds of memory in which a struct with a buffer may lie.
_OBJECTS = frozenset({"param", "unknown", "heap", "devm", "kmem-cache"})


@dataclass(frozen=True)
class Step:
    """One place on a buffer's way; ``code`` is the line there."""

    file: str
    line: int
    function: str
    what: str
    code: str = ""


@dataclass(frozen=True)
class CheckResult:
    """A result: ``line`` is where ``function`` hands the buffer ``name`` over; ``steps`` lead from it to the sink."""

    rule: str
    level: Level
    kind: str
    bus: str
    sink: str
    file: str
    line: int
    function: str
    name: str
    why: str
    fix: str
    document: str
    steps: tuple[Step, ...]

    @property
    def fingerprint(self) -> str:
        """What stays the same when lines move."""
        words = (self.rule, self.file, self.function, self.name, self.sink, *(step.function for step in self.steps))
        return hashlib.sha256("\0".join(words).encode(errors="replace")).hexdigest()[:20]

    def to_json(self) -> dict[str, Any]:
        """See docs/check.md."""
        return {**asdict(self), "level": str(self.level), "fingerprint": self.fingerprint}


_ORDER = {Level.ERROR: 0, Level.WARNING: 1, Level.NOTE: 2}


def judge(program: Program, release: str = "") -> list[CheckResult]:
    """All results of a solved program, by file and line. ``release`` of the kernel: "" may be any."""
    found: dict[tuple[str, int, str, str], CheckResult] = {}
    looking = {path for path, facts in program.files.items() if any(one.looks for one in facts.functions)}
    asking = {path for path, facts in program.files.items() if any(one.asks for one in facts.functions)}
    embedded: dict[tuple[str, str], tuple[Arrival, bool]] = {}
    for key in program.functions():
        for arrival in program.arrivals(key):
            result, sink = None, arrival.use.sink
            if not sink.exists_in(release):
                continue
            if sink.needless:
                result = _needless(program, arrival)
            elif _harmed(arrival.origin, sink):
                result = _unsafe(program, arrival)
            elif arrival.origin.kind == "i2c-message" and key[0] not in asking and not arrival.use.sink.marked:
                result = _message(program, arrival, key[0] not in looking)
            elif arrival.origin.embedded and arrival.origin.kind in _OBJECTS and not arrival.use.sink.weak:
                where = arrival.origin.embedded[-1]
                known = embedded.get(where)
                if known is None or (arrival.use.sink.writes and not known[1]):
                    embedded[where] = (arrival, arrival.use.sink.writes)
            if result is not None:
                place = (result.file, result.line, result.name, result.rule)
                other = found.get(place)
                if other is None or (_ORDER[result.level], len(result.steps)) < (_ORDER[other.level], len(other.steps)):
                    found[place] = result
    results = [*found.values(), *_shared(program, embedded.values())]
    return sorted(results, key=lambda one: (one.file, one.line, one.name, one.rule))


def _steps(program: Program, arrival: Arrival) -> tuple[Step, ...]:
    return tuple(Step(*step) for step in program.steps(arrival.key, arrival.use))


def _harmed(origin: Origin, sink: Sink) -> bool:
    return origin.kind in UNSAFE and not (origin.kind == "coherent" and sink.mapped)


def _needless(program: Program, arrival: Arrival) -> CheckResult | None:
    """A message without the mark, in memory that surely deserves it."""
    origin, sink = arrival.origin, arrival.use.sink
    if any(one.kind not in SAFE or one.embedded or one.kept or not one.sure for one in (origin, *arrival.others)):
        return None
    why = f"{origin.name}() memory is safe, and is not marked: a controller's driver that does DMA copies it once more"
    steps = _steps(program, arrival)
    return result_of(NEEDLESS_BOUNCE, Level.NOTE, arrival.key, arrival.use.line, origin, sink, why, steps)


def _unsafe(program: Program, arrival: Arrival) -> CheckResult:
    origin, sink = arrival.origin, arrival.use.sink
    certain = arrival.use.sure and origin.sure and all(_harmed(one, sink) for one in arrival.others)
    level = Level.ERROR if certain else Level.WARNING
    why = f"{_named(origin)} is {UNSAFE[origin.kind]}: it {BREAKS[origin.kind]}"
    if origin.kind in sink.takes:
        level, why = (
            Level.WARNING,
            f"{_named(origin)} is {UNSAFE[origin.kind]}: only a controller whose core maps takes it",
        )
    elif (
        sink.depends or origin.kind in DEPENDS or (origin.kind in ("rodata", "module-data") and _built_in(origin.file))
    ):
        level = Level.WARNING
    if sink.bus_init and origin.kind == "stack" and not origin.embedded and level is Level.ERROR:
        # One register's worth of bytes is copied, and a static check does not know how many that is.
        level = Level.WARNING
    if sink.weak:
        level, why = Level.NOTE, f"{why}; {sink.document}"
    steps = _steps(program, arrival)
    if origin.line:
        steps = (Step(origin.file, origin.line, arrival.key[1], f"{_named(origin)} is declared"), *steps)
    rule = FLAGGED_UNSAFE if sink.marked else HANDED_OVER
    return result_of(rule, level, arrival.key, arrival.use.line, origin, sink, why, steps)


def result_of(
    rule: str, level: Level, key: Key, line: int, origin: Origin, sink: Sink, why: str, steps: tuple[Step, ...]
) -> CheckResult:
    """A result; ``steps`` lead from the buffer to ``sink``."""
    return CheckResult(
        rule, level, origin.kind, sink.bus, sink.word, key[0], line, key[1], _named(origin), why,
        sink.fix or CHECK_RULES[rule].fix, sink.document, steps,
    )  # fmt: skip


def _named(origin: Origin) -> str:
    name = "a compound literal" if origin.name.startswith("(") else origin.name
    return ".".join([name, *(member for _tag, member in origin.embedded)])


def _built_in(path: str) -> bool:
    """Whether a file is never part of a module."""
    return path.startswith(("arch/", "kernel/", "mm/", "init/"))


def _message(program: Program, arrival: Arrival, blind: bool) -> CheckResult:
    """``blind``: nothing in the file looks what memory a buffer is."""
    level = Level.ERROR if blind and arrival.use.sure and arrival.origin.sure and not arrival.others else Level.WARNING
    why = "a message's buffer may be any memory unless it is marked I2C_M_DMA_SAFE, and nothing in this file asks"
    sink = arrival.use.sink
    if sink.weak:
        level = Level.NOTE
    made = result_of(
        MAPS_UNFLAGGED, level, arrival.key, arrival.use.line, arrival.origin, sink, why, _steps(program, arrival)
    )
    return CheckResult(**{**made.__dict__, "fix": RULES[MAPS_UNFLAGGED].fix, "bus": "i2c-host"})


def _shared(program: Program, arrivals: Iterable[tuple[Arrival, bool]]) -> Iterator[CheckResult]:
    """Buffers inside structs, with and without an annotation: who else is in their cache lines?"""
    for arrival, writes in arrivals:
        path = arrival.key[0]
        chain = [(program.struct(tag, path), name) for tag, name in arrival.origin.embedded if tag]
        known = [(found, name) for found, name in chain if found is not None]
        if not known or len(known) < len(arrival.origin.embedded):
            continue
        where, struct = known[-1][0]
        neighbour = _neighbour([(one[1], name) for one, name in known])
        if neighbour is None:
            continue
        member, why, long = neighbour
        level = Level.WARNING if writes and not long else Level.NOTE
        origin = Origin(
            "struct-embedded", f"struct {struct.tag}", where, member.line, embedded=((struct.tag, known[-1][1]),)
        )
        if not writes:
            why = f"{why}; the device only reads it, so that nothing is lost by that alone"
        steps = (
            Step(where, member.line, f"struct {struct.tag}", f"{known[-1][1]} is a member"),
            *_steps(program, arrival),
        )
        made = result_of(SHARED_LINE, level, arrival.key, arrival.use.line, origin, arrival.use.sink, why, steps)
        yield CheckResult(**{**made.__dict__, "fix": RULES[SHARED_LINE].fix})


def _neighbour(chain: list[tuple[StructType, str]]) -> tuple[Member, str, bool] | None:
    """Why a member shares a cache line with what is no DMA buffer, None if it does not, or nobody can tell.

    True if it does so only where lines have 128 bytes.
    """
    others = False
    buffer: Member | None = None
    for struct, name in chain:
        if struct.union:
            return None
        members = struct.members
        at = next((number for number, one in enumerate(members) if one.name == name), None)
        if at is None:
            return None
        buffer = members[at]
        if buffer.group:
            return _grouped(struct, buffer)
        first = next((one for one in members[at::-1] if one.aligned or one.group), None)
        if first is not None and not first.group:
            return _behind(struct, at) or _before(struct, at, first)
        others |= any(one.form in ("pointer", "user") for number, one in enumerate(members) if number != at)
    if buffer is None or not others or buffer.form in ("pointer", "user"):
        return None
    return buffer, f"{buffer.name} is not aligned for DMA, and shares its cache lines with its neighbours", False


def _written(member: Member) -> bool:
    """Whether a member surely is the processor's own."""
    return (
        member.form in ("pointer", "user")
        or member.tag in _PROCESSOR
        or (member.form == "struct" and member.tag in STATE)
    )


def _grouped(struct: StructType, buffer: Member) -> tuple[Member, str, bool] | None:
    """What is in the group of a buffer, and no buffer."""
    for one in struct.members:
        if one.group == buffer.group and one.name != buffer.name and _written(one):
            ends = "has no end, and so takes in" if buffer.group in struct.open else "has in it"
            return buffer, f"the DMA group of {buffer.name} {ends} {one.name}, which the processor writes", False
    return None


def _behind(struct: StructType, at: int) -> tuple[Member, str, bool] | None:
    """What stands behind an aligned buffer in its last cache line, and is no buffer."""
    buffer = struct.members[at]
    if not buffer.size or buffer.size % LARGEST_LINE == 0:
        return None
    only = buffer.size % CACHE_LINE == 0
    for one in struct.members[at + 1 :]:
        if one.aligned or one.group or one.form in ("array", "struct"):
            return None
        if _written(one):
            why = f"{buffer.name} is aligned for DMA, but {one.name} behind it shares its last cache line"
            return buffer, why + (" where lines have 128 bytes" if only else ""), only
    return None


def _before(struct: StructType, at: int, first: Member) -> tuple[Member, str, bool] | None:
    """What stands before a buffer that is aligned to the processor's lines, where DMA's may be longer."""
    if not first.aligned.startswith("____cacheline"):
        return None
    between = 0
    for one in struct.members[struct.members.index(first) - 1 :: -1] if first is not struct.members[0] else ():
        if _written(one):
            why = (
                f"{first.aligned} aligns {first.name} to 64 bytes on arm64, where {one.name} before it can be in the "
                "same 128 bytes: use ARCH_DMA_MINALIGN"
            )
            return struct.members[at], why, True
        between += one.size or _POINTER_BYTES
        if between >= CACHE_LINE:
            break
    return None
