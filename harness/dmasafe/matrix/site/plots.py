# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the lines and labels of a plot go; the templates draw them as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_STEPS = (1, 2, 2.5, 5, 10)
_TICKS = 4


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Plot:
    """Seconds over nights. ``lines`` are unbroken stretches of points, for nights without a value break a line."""

    width: int
    height: int
    lines: tuple[tuple[Point, ...], ...]
    ticks: tuple[Tick, ...]
    nights: tuple[Tick, ...]
    newest: float | None
    usual: float | None
    summary: str

    @property
    def ratio(self) -> float | None:
        return self.newest / self.usual if self.newest is not None and self.usual else None


def plot(
    name: str, nights: Sequence[str], values: Sequence[float | None], width: int, height: int, margin: int = 0
) -> Plot:
    """``values`` in seconds, one a night, from 0 up; ``margin`` is the room for labels at the left and below."""
    known = [value for value in values if value is not None]
    top, step = _scale(max(known, default=0.0))
    # The topmost label is half above its line.
    room = 8 if margin else 3

    def y(value: float) -> float:
        return round(room + (height - margin - 2 * room) * (1 - value / top), 1)

    def x(number: int) -> float:
        span = width - margin - 2 * room
        return round(margin + room + (span * number / (len(nights) - 1) if len(nights) > 1 else span / 2), 1)

    lines: list[list[Point]] = [[]]
    for number, (night, value) in enumerate(zip(nights, values, strict=True)):
        if value is None:
            lines.append([])
        else:
            lines[-1].append(Point(x(number), y(value), f"{night}: {seconds(value)}"))
    shown = range(0, len(nights), max(1, math.ceil(len(nights) / _TICKS)))
    newest, usual = (known[-1] if known else None), (median(known[:-1]) if known[:-1] else None)
    return Plot(
        width,
        height,
        tuple(tuple(line) for line in lines if line),
        tuple(Tick(y(step * number), seconds(step * number)) for number in range(round(top / step) + 1)),
        tuple(Tick(x(number), nights[number][5:]) for number in shown),
        newest,
        usual,
        _summary(name, known, usual),
    )


def _summary(name: str, known: Sequence[float], usual: float | None) -> str:
    if not known:
        return f"{name}: not measured"
    before = f", median before {seconds(usual)}" if usual is not None else ""
    return f"{name}: {seconds(min(known))} to {seconds(max(known))}, newest {seconds(known[-1])}{before}"


def seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 100 else f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"


def _scale(largest: float) -> tuple[float, float]:
    """The top of the axis and the step between its ticks, both round."""
    if largest <= 0:
        return 1.0, 1.0
    rough = largest / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in _STEPS if factor * power >= rough * 0.999)
    return step * math.ceil(largest / step), step
