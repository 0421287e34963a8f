# SPDX-License-Identifier: GPL-2.0-or-later
"""What boards showed of a driver: attempts, call chains that reached the controller, the kernel's reports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dmasafe.outcome import Frame, Splat
from dmasafe.report.json_report import splat_from_json

_SYMBOL = re.compile(r"(?P<function>\S+?)\+(?P<offset>0x[0-9a-f]+)/(?P<size>0x[0-9a-f]+)(?: \[(?P<module>[\w-]+)\])?")


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
    """One board, from making it to its removal. ``said`` has a line a step, ``lost`` is why the guest was lost."""

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

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Attempt:
        """The attempt that to_json() wrote."""
        chains = (
            Chain(one["index"], one["count"], Buffer(**one["tx"]), Buffer(**one["rx"]), tuple(one["frames"]))
            for one in found["chains"]
        )
        splats = tuple(map(splat_from_json, found["splats"]))
        return cls(found["wish"], tuple(found["said"]), tuple(chains), splats, found["lost"])


def read_chains(text: str, board: int) -> Iterator[Chain]:
    """The rows of a board in what dmasafe_prove.ko's file "chains" says."""
    for line in text.splitlines():
        number, *cells = line.split("\t")
        if number != str(board) or len(cells) < 4:
            continue
        index, count, tx, rx, *frames = cells
        yield Chain(int(index), int(count), _buffer(tx), _buffer(rx), tuple(frames))


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
