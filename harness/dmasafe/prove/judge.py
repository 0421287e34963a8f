# SPDX-License-Identifier: GPL-2.0-or-later
"""Candidates compared with what boards showed of their drivers.

A candidate is proved if the kernel reported a mapping, the call chain goes through the suspected functions at the
suspected line, and the buffer lies in the stack frame of the suspected function (or is the named object).
"""

from __future__ import annotations

import errno
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from dmasafe.check import CheckResult
from dmasafe.dmesg.symbols import Symbols
from dmasafe.outcome import Frame, Splat
from dmasafe.prove.evidence import Attempt, Buffer, Chain, frame_of, text_of


class Status(StrEnum):
    """What became of a candidate."""

    PROVED = "proved"
    REACHED = "reached"
    NOT_REACHED = "not reached"
    REFUTED = "refuted"


#: The reports that show a buffer of this kind.
SHOWN_BY = {
    "stack": frozenset({"map-stack", "map-vmalloc-rejected"}),
    "rodata": frozenset({"map-invalid-area", "map-text-or-rodata"}),
    "module-data": frozenset({"map-invalid-area"}),
}
_MEMORY = {"stack": "stack", "rodata": "module", "module-data": "module"}
_MEMORY_WORDS = {
    "stack": "the stack frame of another function",
    "linear": "memory that DMA may touch",
    "module": "another object of a module",
    "vmalloc": "vmalloc memory",
    "image": "the kernel's image",
}
_ERROR = re.compile(r"(?:spi\d+\.0: probe with driver \S+|probe of spi\d+\.0) failed with error -(?P<errno>\d+)")
_CRASH = re.compile(r"(?P<what>BUG: .*?(?=(?:,| for)? (?:address: |\[#\d))|kernel BUG at [^!]+)|Oops: ")
_OWN_WORDS = re.compile(r"why: \S+ spi\d+\.0: (?P<text>.*)")
_ERRORS_SHOWN = 3


@dataclass(frozen=True)
class Verdict:
    """What became of ``candidate``, and why; ``driver``, ``attempt`` and ``splat`` are the proof's."""

    candidate: CheckResult
    status: Status
    why: str
    driver: str = ""
    attempt: Attempt | None = None
    splat: Splat | None = None


@dataclass(frozen=True)
class _Row:
    """A chain with its frames resolved: ``calls``, innermost first."""

    attempt: Attempt
    chain: Chain
    calls: tuple[Frame, ...]


@dataclass
class Resolver:
    """Frames to functions and lines, inlined ones too, each asked for once."""

    symbols: Symbols
    known: dict[str, tuple[Frame, ...]] = field(default_factory=dict)

    def learn(self, texts: Iterable[str]) -> None:
        """Resolve what is not known yet, all at once: places in modules. Those in the image need no lines."""
        frames = {text: frame for text in texts if text not in self.known and (frame := frame_of(text)) is not None}
        self.known |= {text: (frame,) for text, frame in frames.items() if frame.module is None}
        wanted = {text: frame for text, frame in frames.items() if frame.module is not None}
        splats = [Splat("", None, None, "", frames=(frame,)) for frame in wanted.values()]
        for text, splat in zip(wanted, self.symbols.resolve(splats), strict=True):
            self.known[text] = splat.frames

    def whole(self, splat: Splat) -> Splat:
        """The report with files, lines and inlined calls in the driver's frames."""
        named = {frame: text_of(frame) for frame in splat.frames if frame.module is not None and frame.reliable}
        self.learn(named.values())
        frames = (call for frame in splat.frames for call in (self.calls(named[frame]) if frame in named else (frame,)))
        return replace(splat, frames=tuple(frames))

    def calls(self, text: str) -> tuple[Frame, ...]:
        """The calls at a place, the innermost inlined one first."""
        return self.known.get(text, ())


def judge(
    candidates: Sequence[CheckResult],
    evidence: Sequence[tuple[str, Attempt]],
    resolver: Resolver,
    *,
    served: bool = True,
) -> list[Verdict]:
    """A verdict on each candidate, from the attempts (each with its driver's module) that may concern it.

    ``served`` is whether any driver of the kernel may reach them.
    """
    by_attempt = {id(attempt): driver for driver, attempt in evidence}
    attempts = [attempt for _, attempt in evidence]
    resolver.learn({
        text
        for attempt in attempts
        for chain in attempt.chains
        for text in (*chain.frames, chain.tx.owner, chain.rx.owner)
    })  # fmt: skip
    rows = [
        _Row(attempt, chain, tuple(call for text in chain.frames for call in resolver.calls(text)))
        for attempt in attempts
        for chain in attempt.chains
    ]
    verdicts = []
    crowd = _crowd(candidates)
    for candidate in candidates:
        through = [row for row in rows if _goes_through(row, candidate)]
        shown = [row for row in through if _shows(row, candidate, resolver)]
        mates = len(crowd[_group(candidate)]) if not _has_line(candidate) else 1
        places = {(row.chain.index, _place_of(row, candidate)) for row in shown}
        proof = next(((row, splat) for row in shown if (splat := _report(row, candidate, resolver)) is not None), None)
        if proof is not None and len(places) >= mates:
            row, splat = proof
            driver = by_attempt[id(row.attempt)]
            verdicts.append(
                Verdict(candidate, Status.PROVED, _how(row, candidate), driver, row.attempt, resolver.whole(splat))
            )
        elif proof is not None:
            told = f"the kernel reported {'one' if len(places) == 1 else len(places)} of the {mates} buffers"
            why = f"{told} of {candidate.function}() that no call chain tells apart"
            verdicts.append(Verdict(candidate, Status.REACHED, why, by_attempt[id(proof[0].attempt)], proof[0].attempt))
        elif shown:
            why = "the buffer came to the controller, and the kernel did not report it"
            verdicts.append(Verdict(candidate, Status.REACHED, why, attempt=shown[0].attempt))
        elif through:
            verdicts.append(_unshown(candidate, through))
        else:
            why = _stopped(attempts) if served else "no module of this kernel has an SPI driver for it"
            verdicts.append(Verdict(candidate, Status.NOT_REACHED, why))
    return verdicts


def direction(candidate: CheckResult) -> str:
    """Which buffer of a transfer the candidate is about: ``tx`` or ``rx``."""
    return "rx" if candidate.sink in ("spi_read()", "spi_transfer.rx_buf") else "tx"


def _buffer(row: _Row, candidate: CheckResult) -> Buffer:
    return row.chain.rx if direction(candidate) == "rx" else row.chain.tx


def _has_line(candidate: CheckResult) -> bool:
    """Whether the candidate's line is that of a call, which a backtrace has."""
    here = [step for step in candidate.steps if (step.function, step.line) == (candidate.function, candidate.line)]
    return bool(here) and here[-1].what.endswith("()")


def _is_here(call: Frame, function: str, file: str) -> bool:
    # The compiler's copy of a function has a suffix: .isra.0, .constprop.0.
    return call.function.partition(".")[0] == function and (call.file or "").endswith(file)


def _goes_through(row: _Row, candidate: CheckResult) -> bool:
    """Whether a chain goes through the suspected function, at its line, to the function that hands over."""
    last = candidate.steps[-1]
    inner = next((at for at, call in enumerate(row.calls) if _is_here(call, last.function, last.file)), None)
    if inner is None:
        return False
    for call in row.calls[inner:]:
        if _is_here(call, candidate.function, candidate.file):
            if not _has_line(candidate):
                return True
            # A call next to it may be given another buffer.
            if call.line == candidate.line:
                return True
    return False


def _shows(row: _Row, candidate: CheckResult, resolver: Resolver) -> bool:
    """Whether the buffer is the suspected one: in the function's own frame, or the named object."""
    buffer = _buffer(row, candidate)
    if buffer.memory != _MEMORY.get(candidate.kind):
        return False
    if candidate.kind == "stack":
        return any(_is_here(call, candidate.function, candidate.file) for call in resolver.calls(buffer.owner))
    return buffer.owner.partition("+")[0].partition(".")[0] == candidate.name.partition("[")[0].strip("&")


def _report(row: _Row, candidate: CheckResult, resolver: Resolver) -> Splat | None:
    """The kernel's report of a chain: of the right class, and through the same places from the function outwards."""
    inside = next(
        at
        for at, text in enumerate(row.chain.frames)
        if any(_is_here(call, candidate.function, candidate.file) for call in resolver.calls(text))
    )
    frames = [frame for text in row.chain.frames[inside:] if (frame := frame_of(text)) is not None]
    places = [(frame.function, frame.offset) for frame in frames]
    for splat in row.attempt.splats:
        if splat.splat_class in SHOWN_BY[candidate.kind]:
            # In their order: whatever else the backtrace has stands between them.
            have = iter([(frame.function, frame.offset) for frame in splat.frames if frame.reliable])
            if all(place in have for place in places):
                return splat
    return None


def _place_of(row: _Row, candidate: CheckResult) -> tuple[object, ...]:
    return next(
        ((call.file, call.line) for call in row.calls if _is_here(call, candidate.function, candidate.file)), ()
    )


def _group(candidate: CheckResult) -> tuple[str, ...]:
    # A named object is told by its symbol.
    name = "" if candidate.kind == "stack" else candidate.name
    return candidate.file, candidate.function, direction(candidate), candidate.steps[-1].function, name


def _crowd(candidates: Sequence[CheckResult]) -> dict[tuple[str, ...], set[tuple[int, str]]]:
    """The candidates that a chain alone does not tell apart."""
    found: dict[tuple[str, ...], set[tuple[int, str]]] = defaultdict(set)
    for candidate in candidates:
        if not _has_line(candidate):
            found[_group(candidate)].add((candidate.line, candidate.name))
    return found


def _how(row: _Row, candidate: CheckResult) -> str:
    call = next(call for call in row.calls if _is_here(call, candidate.function, candidate.file))
    if call.offset is not None or candidate.kind != "stack":
        return f"the kernel reported it in {candidate.function}()"
    calls = list(row.calls)
    parent = next((other.function for other in calls[calls.index(call) :] if other.offset is not None), "its caller")
    return f"the kernel reported it in {parent}(), into which {candidate.function}() is inlined"


def _unshown(candidate: CheckResult, through: Sequence[_Row]) -> Verdict:
    classes = {_buffer(row, candidate).memory for row in through}
    attempt = through[0].attempt
    if classes == {"linear"} and _has_line(candidate):
        why = "the chain goes through this call, and the buffer is in memory that DMA may touch"
        return Verdict(candidate, Status.REFUTED, why, attempt=attempt)
    if classes == {"-"}:
        return Verdict(candidate, Status.NOT_REACHED, "the function was reached, this transfer of it was not")
    words = " or ".join(_MEMORY_WORDS.get(one, one) for one in sorted(classes - {"-"}))
    why = f"the chain goes through {candidate.function}(), where the buffer is in {words}"
    return Verdict(candidate, Status.REACHED, why, attempt=attempt)


def _stopped(attempts: Sequence[Attempt]) -> str:
    """Why a candidate was not reached, from the attempts that came furthest."""
    if not attempts:
        return "its driver was not tried yet"
    bound = [attempt for attempt in attempts if attempt.bound]
    if bound:
        return f"the driver bound in {len(bound)} of {len(attempts)} attempts, and nothing that was tried led there"
    errors = list(dict.fromkeys(error for attempt in attempts for error in _errors(attempt)))[:_ERRORS_SHOWN]
    told = ", ".join(errors) or "no error in the log, as after ENODEV, ENXIO, or if it does not know the chip"
    words = list(dict.fromkeys(text for attempt in attempts for text in _words(attempt)))[:_ERRORS_SHOWN]
    return f"the driver's probe failed in all {len(attempts)} attempts: {told}" + "".join(f"; {one}" for one in words)


def _words(attempt: Attempt) -> Iterator[str]:
    """What the driver itself said of its chip, without what is the core's."""
    for line in attempt.said:
        if (own := _OWN_WORDS.match(line)) and not _ERROR.search(line):
            yield own["text"]


def _errors(attempt: Attempt) -> Iterator[str]:
    """What the log says of a probe that failed, without what is another in each attempt."""
    crashed = False
    for line in [line.removeprefix("why: ") for line in attempt.said if line.startswith("why: ")]:
        if error := _ERROR.search(line):
            number = int(error["errno"])
            yield errno.errorcode.get(number, f"error -{number}")
        elif crash := _CRASH.search(line):
            # The oops that follows says less.
            if not crashed:
                yield f"the kernel crashed ({crash['what'] or 'oops'})"
            crashed = True
        elif line.startswith("insmod: "):
            yield line
    if attempt.lost:
        yield attempt.lost
