# SPDX-License-Identifier: GPL-2.0-or-later
"""What it means: Observation in, Outcome out, and the one function that compares it with an expectation.

Nothing here knows where a scenario ran; every target fills in the same Observation.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

# Of the classes of dmasafe/dmesg that the strict machine reports (images/strict/).
STRICT_PREFIX = "strict-"


class Outcome(StrEnum):
    """What happened, by all oracles together."""

    SAFE = "SAFE"
    CAUGHT = "CAUGHT"
    SILENT = "SILENT"
    REFUSED = "REFUSED"


class Verdict(StrEnum):
    """An outcome compared with its expectation."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    SKIP = "SKIP"
    ERROR = "ERROR"


@dataclass(frozen=True)
class Frame:
    """One line of a backtrace; ``reliable`` is False for the frames that the kernel marks with ``?``."""

    function: str
    offset: int | None = None
    size: int | None = None
    module: str | None = None
    reliable: bool = True
    file: str | None = None
    line: int | None = None

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Splat:
    """One report of the kernel's.

    ``splat_class`` is a slug of dmasafe/dmesg's table (``class`` in JSON); ``fields`` holds the typed values of
    the message: integers for addresses, sizes and counts, strings for directions and mapping types.
    ``log_line`` is the 1-based number of the report's first line in the log it was read from.
    """

    splat_class: str
    device: str | None
    driver: str | None
    message: str
    fields: Mapping[str, int | str] = field(default_factory=dict)
    file: str | None = None
    line: int | None = None
    function: str | None = None
    frames: tuple[Frame, ...] = ()
    log_line: int = 0
    truncated: bool = False

    def to_json(self) -> dict[str, Any]:
        """The contract's form: see "dmasafe parse" in docs/formats.md."""
        return {
            "class": self.splat_class,
            "device": self.device,
            "driver": self.driver,
            "message": self.message,
            "fields": dict(self.fields),
            "file": self.file,
            "line": self.line,
            "function": self.function,
            "frames": [frame.to_json() for frame in self.frames],
            "log_line": self.log_line,
            "truncated": self.truncated,
        }


class DmaSegment(NamedTuple):
    """One descriptor that the emulated device followed: ``address`` is guest-physical, ``length`` in bytes."""

    address: int
    length: int
    stray: bool = False


class BusMessage(NamedTuple):
    """One I2C message as the device saw it. ``data`` are the bytes on the wire, ``segments`` the data descriptors."""

    address: int
    read: bool
    data: bytes
    ok: bool
    segments: tuple[DmaSegment, ...] = ()
    why: str = ""


class CallerMessage(NamedTuple):
    """One I2C message as the caller saw it.

    ``data`` is what the buffer held: before the call for a write, after it for a read. ``physical`` is the
    buffer's guest-physical address where the guest could tell (None in user space without tracepoints).
    ``prefix`` is True where the slave decides the length (I2C_M_RECV_LEN): the bus may carry more than the caller gets.
    """

    read: bool
    data: bytes
    physical: int | None = None
    flagged: bool | None = None
    prefix: bool = False


@dataclass(frozen=True)
class Observation:
    """All that came back from one scenario.

    ``ret`` is the API's return value, None if the call never returned. ``damage`` names what the guest found
    changed that should not have been: ``guard-before``, ``guard-after``, ``read-only``, ``source``. ``bus`` is None
    where no device side exists. ``lost`` is the reason why nothing of this can be trusted, or None. Where a driver
    made the calls, ``wrong`` says in words which data were not what they must be, ``error`` what did not work.
    ``slept``: the system slept while a transfer was under way. ``hasty``: it is lost because the machine was too slow
    for somebody; another try may tell.
    """

    ret: int | None
    caller: tuple[CallerMessage, ...] = ()
    bus: tuple[BusMessage, ...] | None = None
    splats: tuple[Splat, ...] = ()
    damage: tuple[str, ...] = ()
    transferred: bool = True
    us: float | None = None
    lost: str | None = None
    wrong: tuple[str, ...] = ()
    error: str | None = None
    slept: bool = False
    hasty: bool = False


class Expectation(NamedTuple):
    """What the kernel's source says must happen, and why. ``classes`` are the splat classes of a CAUGHT.

    ``also`` are classes that may come with them: what ran before in the same boot decides. ``instead`` may come in the
    outcome's place: which of two things is faster decides. ``sleeps``: the system may sleep with a transfer under way.
    """

    outcome: Outcome
    why: str
    classes: tuple[str, ...] = ()
    direct: bool | None = None
    destructive: bool = False
    also: tuple[str, ...] = ()
    instead: tuple[Outcome, ...] = ()
    sleeps: bool = False


class Skip(NamedTuple):
    """A scenario that cannot exist on this target, with the reason."""

    why: str


@dataclass(frozen=True)
class Judgement:
    """One row of the results: outcome and verdict, with the reason in words."""

    verdict: Verdict
    outcome: Outcome | None
    expected: Outcome | None
    why: str
    direct: bool | None = None
    splats: tuple[Splat, ...] = ()
    us: float | None = None


def direct(observation: Observation) -> bool | None:
    """Whether the payload came straight from the caller's buffer.

    The payload is the last message (before it come register numbers and commands). True if its descriptor starts at
    the caller's buffer, False if it starts elsewhere in guest memory, None if there was no data descriptor, it was
    stray, or the buffer's address is not known.
    """
    if not observation.bus or len(observation.bus) != len(observation.caller):
        return None
    sent, seen = observation.caller[-1], observation.bus[-1]
    if sent.physical is None or not seen.segments or any(segment.stray for segment in seen.segments):
        return None
    return seen.segments[0].address == sent.physical


def _wrong_data(observation: Observation) -> str | None:
    """The first difference between what the caller meant and what the bus carried, or None."""
    if observation.bus is None:
        return None
    if len(observation.caller) != len(observation.bus):
        return f"{len(observation.caller)} messages were asked for, {len(observation.bus)} seen on the bus"
    for number, (sent, seen) in enumerate(zip(observation.caller, observation.bus, strict=True)):
        if sent.read != seen.read:
            return f"message {number} went the wrong way"
        if len(sent.data) != len(seen.data) and not (sent.prefix and len(sent.data) < len(seen.data)):
            return f"message {number}: {len(sent.data)} bytes at the caller, {len(seen.data)} on the bus"
        if sent.data == seen.data:
            continue
        for offset, (mine, theirs) in enumerate(zip(sent.data, seen.data, strict=False)):
            if mine != theirs:
                side = "the caller got" if sent.read else "the caller sent"
                return f"message {number}, byte {offset}: {side} {mine:#04x}, the bus carried {theirs:#04x}"
    return None


def outcome_of(observation: Observation) -> tuple[Outcome, str]:
    """What happened, with the reason. The order is the order of trust: the kernel's word, then damage, then data."""
    if observation.splats:
        classes = list(dict.fromkeys(splat.splat_class for splat in observation.splats))
        return Outcome.CAUGHT, f"the kernel reported {', '.join(classes)}"
    if observation.damage:
        return Outcome.SILENT, f"damaged without a report: {', '.join(observation.damage)}"
    strays = [s for message in observation.bus or () for s in message.segments if s.stray]
    if strays:
        return Outcome.SILENT, f"stray DMA to {strays[0].address:#x} without a report"
    if observation.wrong:
        return Outcome.SILENT, f"wrong data without a report: {observation.wrong[0]}"
    if observation.error is not None:
        return Outcome.REFUSED, observation.error
    if observation.ret is None:
        return Outcome.SILENT, "the call never returned and nothing was reported"
    if not observation.transferred or observation.ret < 0:
        done = sum(message.ok for message in observation.bus or ())
        what = f"{done} of {len(observation.caller)} messages were transferred" if done else "nothing was transferred"
        return Outcome.REFUSED, f"returned {observation.ret}, {what}"
    wrong = _wrong_data(observation)
    if wrong is not None:
        return Outcome.SILENT, f"wrong data without a report: {wrong}"
    return Outcome.SAFE, "right data, no splat"


@dataclass(frozen=True)
class Noticed:
    """What each oracle has to say against a driver, in words; nothing where it sees nothing wrong.

    ``strict`` are the reports of the strict machine, which the kernel's log holds too.
    """

    kernel: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    device: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    strict: tuple[str, ...] = ()

    def beyond(self, other: Noticed) -> Noticed:
        """What is said here and not there."""
        return Noticed(*(_without(mine, theirs) for mine, theirs in zip(self.words(), other.words(), strict=True)))

    def words(self) -> tuple[tuple[str, ...], ...]:
        """The oracles in the order of the fields."""
        return self.kernel, self.returned, self.device, self.memory, self.strict


def _without(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in mine if word not in theirs)


def noticed(observation: Observation) -> Noticed:
    """Every oracle by itself, unlike outcome_of(), which takes the word of the first."""
    returned: tuple[str, ...] = ()
    if observation.ret is None:
        returned = ("never",)
    elif observation.ret < 0:
        returned = (f"-{errno.errorcode.get(-observation.ret, -observation.ret)}",)
    elif not observation.transferred:
        returned = (str(observation.ret),)
    device = []
    if any(segment.stray for message in observation.bus or () for segment in message.segments):
        device.append("stray DMA")
    elif not returned and _wrong_data(observation) is not None:
        device.append("wrong data")
    if direct(observation) is False:
        device.append("other buffer")
    classes = dict.fromkeys(splat.splat_class for splat in observation.splats)
    # When the machine looks at what hardware refused is a matter of chance.
    strict = tuple(sorted(slug for slug in classes if slug.startswith(STRICT_PREFIX)))
    kernel = tuple(slug for slug in classes if slug not in strict)
    return Noticed(kernel, returned, tuple(device), observation.damage, strict)


def judge(expectation: Expectation | Skip, observation: Observation | None, untrusted: str | None = None) -> Judgement:
    """Compare one observation with its expectation.

    ``untrusted`` is the boot's own reason (no canary, lost log lines, ...): it makes any verdict INCONCLUSIVE,
    never PASS. ``observation`` is None when the scenario was not reached.
    """
    if isinstance(expectation, Skip):
        return Judgement(Verdict.SKIP, None, None, expectation.why)
    expected = expectation.outcome
    if observation is None:
        return Judgement(Verdict.INCONCLUSIVE, None, expected, untrusted or "the scenario was not reached")
    outcome, happened = outcome_of(observation)
    straight = direct(observation)

    def judged(verdict: Verdict, why: str) -> Judgement:
        return Judgement(verdict, outcome, expected, why, straight, observation.splats, observation.us)

    reason = untrusted or observation.lost
    if reason:
        return judged(Verdict.INCONCLUSIVE, reason)
    if observation.slept and not expectation.sleeps:
        return judged(Verdict.FAIL, f"the system slept while the transfer was under way; expected: {expectation.why}")
    unknown = {splat.splat_class for splat in observation.splats} - set(expectation.also)
    if outcome in expectation.instead and outcome is not expected and not unknown:
        return judged(Verdict.PASS, f"{happened}; {expectation.why}")
    if outcome is not expected:
        return judged(Verdict.FAIL, f"{happened}; expected {expected}: {expectation.why}")
    missing = _unexpected_classes(expectation.classes, expectation.also, observation.splats)
    if missing:
        return judged(Verdict.FAIL, f"{missing}; expected: {expectation.why}")
    if expectation.direct is not None and straight is not None and straight is not expectation.direct:
        ways = {True: "straight from the caller's buffer", False: "through another buffer"}
        return judged(Verdict.FAIL, f"the payload went {ways[straight]}; expected: {expectation.why}")
    return judged(Verdict.PASS, expectation.why)


def _unexpected_classes(expected: Sequence[str], also: Sequence[str], splats: Sequence[Splat]) -> str | None:
    """A sentence about splat classes that differ from the expected ones, or None; those of ``also`` may be there."""
    wanted = set(expected)
    seen = {splat.splat_class for splat in splats} - (set(also) - wanted)
    if seen == wanted:
        return None
    parts = []
    if wanted - seen:
        parts.append(f"missing {', '.join(sorted(wanted - seen))}")
    if seen - wanted:
        parts.append(f"unexpected {', '.join(sorted(seen - wanted))}")
    return "splat classes differ: " + ", ".join(parts)
