# SPDX-License-Identifier: GPL-2.0-or-later
"""What boards showed of a driver: attempts, call chains that reached the controller, the kernel's reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dmasafe.outcome import Frame, Splat
from dmasafe.report.json_report import splat_from_json

_SYMBOL = re.compile(r"(?P<function>\S+?)\+(?P<offset>0x[0-9a-f]+)/(?P<size>0x[0-9a-f]+)(?: \[(?P<module>[\w-]+)\])?")

_ROW = re.compile(
    r"(?P<board>\d+)\t(?P<index>\d+)\t(?P<count>\d+)\t(?P<tx>[^\t]+)\t(?P<rx>[^\t]+)(?P<frames>(?:\t[^\t]+)*)"
)
_END = re.compile(r"end\t(?P<rows>\d+)\t(?P<lost>\d+)")


@dataclass(frozen=True)
class Buffer:
    """Memory of a transfer: ``memory`` is its class, ``owner`` where the code is whose stack frame it is in.

    Of a module's own memory ``owner`` is the symbol that it belongs to.
    """

    memory: str
    owner: str = ""


@dataclass(frozen=True)
class Chain:
    """A call chain that reached the controller, innermost frame first; ``index`` is the transfer's in its message."""

    index: int
    count: int
    tx: Buffer
    rx: Buffer
    frames: tuple[str, ...]


@dataclass(frozen=True)
class Attempt:
    """One board, from making it to its removal. ``said`` has a line a step, ``lost`` is why not all was seen."""

    wish: str
    said: tuple[str, ...]
    chains: tuple[Chain, ...] = ()
    splats: tuple[Splat, ...] = ()
    lost: str = ""

    @property
    def bound(self) -> bool:
        """Whether the driver's probe succeeded."""
        return "bound: 0" in self.said

    def to_json(self) -> dict[str, Any]:
        """What from_json() reads."""
        return {
            "wish": self.wish,
            "said": list(self.said),
            "chains": [asdict(chain) for chain in self.chains],
            "splats": [splat.to_json() for splat in self.splats],
            "lost": self.lost,
        }

    def covers(self, other: Attempt) -> bool:
        """Whether this is the same board, and all was seen of it that ``other`` saw."""
        return self.wish == other.wish and not (self.lost and not other.lost) and self._shown() >= other._shown()

    def _shown(self) -> set[object]:
        # How often a chain came, and when, is another number each time.
        chains = {(one.index, one.tx, one.rx, one.frames) for one in self.chains}
        return chains | {(one.splat_class, *(frame for frame in one.frames if frame.reliable)) for one in self.splats}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Attempt:
        """The attempt that to_json() wrote."""
        chains = (
            Chain(one["index"], one["count"], Buffer(**one["tx"]), Buffer(**one["rx"]), tuple(one["frames"]))
            for one in found["chains"]
        )
        splats = tuple(map(splat_from_json, found["splats"]))
        return cls(found["wish"], tuple(found["said"]), tuple(chains), splats, found["lost"])


def read_chains(text: str, board: int) -> tuple[tuple[Chain, ...], str]:
    """The rows of a board in what dmasafe_prove.ko's file "chains" says; and why they are not all, or ""."""
    *lines, last = text.splitlines() or [""]
    end = _END.fullmatch(last)
    rows = [match for line in lines if (match := _ROW.fullmatch(line)) is not None]
    chains = (
        Chain(int(row["index"]), int(row["count"]), _buffer(row["tx"]), _buffer(row["rx"]), _frames(row["frames"]))
        for row in rows
        if row["board"] == str(board)
    )
    if end is None or not len(rows) == len(lines) == int(end["rows"]):
        return tuple(chains), "the list of call chains was cut off"
    return tuple(chains), "" if end["lost"] == "0" else f"{end['lost']} transfers found the list of call chains full"


def _frames(text: str) -> tuple[str, ...]:
    return tuple(text.split("\t")[1:])


def _buffer(text: str) -> Buffer:
    memory, _, owner = text.partition(":")
    return Buffer(memory, owner)


def frame_of(text: str) -> Frame | None:
    """A place in the code as the kernel prints it (%pS)."""
    match = _SYMBOL.fullmatch(text)
    if match is None:
        return None
    return Frame(match["function"], int(match["offset"], 16), int(match["size"], 16), match["module"])


def text_of(frame: Frame) -> str:
    """What frame_of() reads."""
    module = f" [{frame.module}]" if frame.module is not None else ""
    return f"{frame.function}+{frame.offset or 0:#x}/{frame.size or 0:#x}{module}"
