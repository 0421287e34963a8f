# SPDX-License-Identifier: GPL-2.0-or-later
"""What the device saw, one JSON line per I2C message, and the way back to outcome.BusMessage.

Written in the device's process, read by whoever runs it (dmasafe/targets).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dmasafe.devices.errors import TraceError

if TYPE_CHECKING:
    from dmasafe.outcome import BusMessage


_EMPTY = '""'
_FOUND = '{"address":%d,"length":%d,"stray":false}'
_STRAY = '{"address":%d,"length":%d,"stray":true}'
_TRANSLATED = '{"address":%d,"length":%d,"stray":false,"physical":%d}'


class Segment(NamedTuple):
    """A descriptor, or the part of one that holds a header or payload: guest address, bytes, outside memory or not.

    ``physical`` is where an IOMMU leads it, None if there is none.
    """

    address: int
    length: int
    stray: bool = False
    physical: int | None = None


class Record(NamedTuple):
    """One I2C message.

    ``seq`` is the scenario under way (the mailbox, docs/agent-protocol.md), ``length`` the payload's bytes as asked
    for, ``data`` the bytes that were on the wire, ``segments`` where the payload lay, ``headers`` where request header
    and status lay.
    """

    controller: str
    seq: int | None
    address: int
    read: bool
    length: int
    data: bytes
    ok: bool
    why: str
    segments: Sequence[Segment]
    headers: Sequence[Segment]


def line(record: Record) -> str:
    """The record as one JSON line, newline included. By hand: json.dumps() takes three times as long."""
    controller, seq, address, read, length, data, ok, why, segments, headers = record
    return (
        f'{{"ev":"message","controller":"{controller}","seq":{"null" if seq is None else seq},"addr":{address},'
        f'"read":{"true" if read else "false"},"len":{length},"data":"{data.hex()}","ok":{"true" if ok else "false"},'
        f'"why":{json.dumps(why) if why else _EMPTY},"segments":[{_list(segments)}],"headers":[{_list(headers)}]}}\n'
    )


def parse(event: Mapping[str, Any]) -> tuple[int | None, str, BusMessage]:
    """(seq, controller, message) of a decoded message line. Raises TraceError if it is none."""
    # Here, not above: the device's process does not need it, and it must start quickly.
    from dmasafe.outcome import BusMessage, DmaSegment

    try:
        if event["ev"] != "message":
            raise TraceError(f"a trace line of kind {event['ev']!r} is no message")
        message = BusMessage(
            address=int(event["addr"]),
            read=bool(event["read"]),
            data=bytes.fromhex(event["data"]),
            ok=bool(event["ok"]),
            segments=tuple(
                DmaSegment(int(s.get("physical", s["address"])), int(s["length"]), bool(s["stray"]))
                for s in event["segments"]
            ),
            why=str(event["why"]),
        )
        seq = event["seq"]
        return (None if seq is None else int(seq)), str(event["controller"]), message
    except (KeyError, TypeError, ValueError) as error:
        raise TraceError(f"a trace line lacks something or holds nonsense ({error!r}): {dict(event)!r:.200}") from error


def _list(segments: Sequence[Segment]) -> str:
    return ",".join(
        [
            (_STRAY if stray else _FOUND) % (address, length)
            if physical is None
            else _TRANSLATED % (address, length, physical)
            for address, length, stray, physical in segments
        ]
    )
