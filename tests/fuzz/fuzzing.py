# SPDX-License-Identifier: GPL-2.0-or-later
"""What the fuzz targets share: libFuzzer's loop by atheris where it is installed, else a seeded random one.

A target is check(data), which raises if something gives way and returns how much it tried. Its corpus lies in
corpus/NAME; atheris adds to build/fuzz/NAME.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import random
import resource
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

Check = Callable[[bytes], int]
Step = tuple[int, bytes, int]

CORPUS = Path(__file__).parent / "corpus"
GROWN = Path(__file__).parents[2] / "build" / "fuzz"
# One input is milliseconds of work: more than this is a loop without end.
INPUT_TIMEOUT_S = 20
MAX_INPUT_BYTES = 4096
MAX_GROWTH_KIB = 128 << 10
# Inputs between two looks at memory, descriptors and the clock.
ROUND = 512
# More than the longest answer of a wire.
MAX_RECEIVED_BYTES = 1 << 21
_EDGES = (0, 1, 7, 8, 15, 16, 127, 128, 254, 255)


def instrumented() -> contextlib.AbstractContextManager[object]:
    """What is imported within is watched, if this is a guided run."""
    if (
        "--count" not in sys.argv
        and Path(sys.argv[0]).resolve().parent == Path(__file__).parent
        and atheris is not None
    ):
        return atheris.instrument_imports(include=["dmasafe"])
    return contextlib.nullcontext()


def seeds(name: str) -> list[bytes]:
    """The target's corpus."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def decode(data: bytes, session: Sequence[Step], at_most: int) -> list[Step]:
    """The messages of an input, as (kind, payload, choice of descriptors).

    A kind below 0x80 is taken as it is, one above is a step of ``session``.
    """
    found: list[Step] = []
    at = 0
    while at + 2 < len(data) and len(found) < at_most:
        kind, choice, size = data[at], data[at + 1], data[at + 2]
        payload = data[at + 3 : at + 3 + size]
        at += 3 + size
        if kind >= 0x80:
            kind, payload, choice = session[kind % len(session)]
            at -= size
        found.append((int(kind), payload, choice))
    return found


def received(connection: socket.socket) -> bytes | None:
    """What has come, at once; None at the end of the stream."""
    try:
        return connection.recv(MAX_RECEIVED_BYTES, socket.MSG_DONTWAIT) or None
    except BlockingIOError:
        return b""
    except OSError:
        return None


def mutated(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """``data`` with a few small changes, or the beginning of one and the end of another."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
        place = rng.randrange(len(changed) + 1)
        match rng.randrange(7):
            case 0 if changed:
                changed[place % len(changed)] ^= 1 << rng.randrange(8)
            case 1 if changed:
                changed[place % len(changed)] = rng.choice(_EDGES)
            case 2:
                changed[place:place] = rng.randbytes(rng.randrange(1, 9))
            case 3:
                del changed[place : place + rng.randrange(1, 17)]
            case 4:
                other = rng.choice(others)
                start = rng.randrange(len(other) + 1)
                changed[place:] = other[start:]
            case 5:
                start = rng.randrange(len(changed) + 1)
                changed[place:place] = changed[start : start + rng.randrange(1, 65)]
            case 6:
                changed[place : place + 8] = struct.pack("<Q", rng.choice((0, 1, 1 << 31, 1 << 32, 1 << 63, 2**64 - 1)))
    return bytes(changed[:MAX_INPUT_BYTES])


def hammer(
    check: Check, name: str, seed: int, count: int | None = None, seconds: float | None = None
) -> tuple[int, float]:
    """Random inputs until ``count`` things were tried or ``seconds`` are over: (things tried, seconds taken).

    Raises what check() raises, with the input that did it on standard error, and AssertionError for a leak.
    """
    rng = random.Random(seed)
    corpus = seeds(name)
    started = time.monotonic()
    tried = 0
    at_first: tuple[int, int] | None = None
    while (count is None or tried < count) and (seconds is None or time.monotonic() - started < seconds):
        # Python cannot be interrupted in a loop of C code: this says where it was.
        faulthandler.dump_traceback_later(INPUT_TIMEOUT_S, exit=True, file=sys.__stderr__)
        for _ in range(ROUND):
            data = rng.randbytes(rng.randrange(200)) if rng.random() < 0.2 else mutated(rng.choice(corpus), corpus, rng)
            try:
                tried += check(data)
            except BaseException:
                print(f"{name}: seed {seed}: this input did it: {data!r}", file=sys.stderr)
                raise
            if count is not None and tried >= count:
                break
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(list(Path("/proc/self/fd").iterdir()))
        if at_first is None:
            at_first = now
        assert now[0] - at_first[0] < MAX_GROWTH_KIB, f"memory grew from {at_first[0]} to {now[0]} KiB"
        assert now[1] <= at_first[1] + 8, f"descriptors grew from {at_first[1]} to {now[1]}"
    faulthandler.cancel_dump_traceback_later()
    return tried, time.monotonic() - started


def main(check: Check, name: str, what: str) -> None:
    """The command line of a target. ``what`` is what is counted."""
    parser = argparse.ArgumentParser(description=f"Fuzz with {what}. Without --count, by atheris if it is installed.")
    parser.add_argument("--count", type=int, help=f"try so many {what}, at random, and print the rate")
    parser.add_argument("--seconds", type=float, help="how long; without --count, default: for ever")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments, rest = parser.parse_known_args()
    if arguments.count is None and atheris is not None:
        _guided(check, name, arguments.seconds, rest)
    print(f"{name}: seed {arguments.seed}", flush=True)
    tried, took_s = hammer(check, name, arguments.seed, arguments.count, arguments.seconds)
    print(f"{name}: {tried:,} {what} in {took_s:.1f} s, {tried / took_s:,.0f} a second; nothing gave way")


def _guided(check: Check, name: str, seconds: float | None, rest: Sequence[str]) -> None:
    """libFuzzer; ends the process."""
    grown = GROWN / name
    grown.mkdir(parents=True, exist_ok=True)
    options = [f"-timeout={INPUT_TIMEOUT_S}", f"-max_len={MAX_INPUT_BYTES}", f"-artifact_prefix={grown.parent}/"]
    options += [] if seconds is None else [f"-max_total_time={int(seconds)}"]
    folders = [] if any(not word.startswith("-") for word in rest) else [str(grown), str(CORPUS / name)]

    def test_one_input(data: bytes) -> None:
        check(data)

    atheris.Setup([sys.argv[0], *options, *rest, *folders], test_one_input)
    atheris.Fuzz()
